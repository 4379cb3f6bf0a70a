//! The authority: the cluster's own, which makes hosts and nodes known to each other.
//!
//! A node makes its key itself and never shows it; what it asks to be called counts for nothing, its
//! name comes from the token that it joins with. A certificate is told by its fingerprint, which stands
//! in the store: a node that is removed has no certificate any more, whatever the certificate says.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use vfioctl_api::NodeName;

use crate::access::digest;
use crate::files::{Files, FilesError};

/// Certificates end with the century's first half: who may come is a matter of the store, and a cluster
/// that stops on a Sunday morning helps nobody.
const LAST_YEAR: i32 = 2049;
/// Clocks differ; certificates of today are valid since then.
const FIRST_YEAR: i32 = 2026;

/// The authority of a cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    fingerprint: String,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    /// The certificate in PEM.
    pub(crate) certificate: String,
    /// SHA-256 of it, in hexadecimal.
    pub(crate) fingerprint: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyAndCertificate {
    pub(crate) key: String,
    pub(crate) certificate: String,
}

/// A certificate could not be made or read.
#[derive(Debug)]
pub struct AuthorityError {
    what: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl AuthorityError {
    fn new(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            what: what.to_owned(),
            source: source.into(),
        }
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.source)
    }
}

impl std::error::Error for AuthorityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl From<FilesError> for AuthorityError {
    fn from(error: FilesError) -> Self {
        Self::new("read or write the authority's files", error)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        write!(f, "Authority({})", self.fingerprint)
    }
}

impl fmt::Debug for KeyAndCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyAndCertificate")
    }
}

const KEY: &str = "authority.key";
const CERTIFICATE: &str = "authority.pem";

impl Authority {
    /// Makes a new one.
    ///
    /// # Errors
    /// Where the machine has no chance to give.
    pub fn make() -> Result<Self, AuthorityError> {
        let failed = |error| AuthorityError::new("make an authority", error);
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params("vfioctl cluster authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        let fingerprint = digest(certificate.der());
        Ok(Self {
            certificate: certificate.pem(),
            issuer: Issuer::new(params, key),
            fingerprint,
        })
    }

    /// Reads one; none where there is none.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, AuthorityError> {
        let files = Files::at(folder);
        let (Some(key), Some(certificate)) = (files.read(KEY)?, files.read(CERTIFICATE)?) else {
            return Ok(None);
        };
        let failed = |error| AuthorityError::new("understand the authority's files", error);
        let key = KeyPair::from_pem(&key).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(failed)?;
        let fingerprint = fingerprint(&certificate)?;
        Ok(Some(Self {
            issuer,
            certificate,
            fingerprint,
        }))
    }

    /// Writes it down: the key for nobody else's eyes.
    ///
    /// # Errors
    /// Where it cannot be written, or is there already.
    pub fn write(&self, folder: &Path) -> Result<(), AuthorityError> {
        let files = Files::at(folder);
        // The key first: a certificate without it would be taken for an authority.
        files.write_secret(KEY, &self.issuer.key().serialize_pem())?;
        files.write(CERTIFICATE, &self.certificate)?;
        Ok(())
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// SHA-256 of its certificate, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// Makes a certificate for a host of these names and addresses.
    pub(crate) fn make_host(&self, names: &[String]) -> Result<KeyAndCertificate, AuthorityError> {
        let failed = |error| AuthorityError::new("make a host's certificate", error);
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(names).map_err(failed)?;
        name(&mut params, "vfioctl-host");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(KeyAndCertificate {
            key: key.serialize_pem(),
            certificate: certificate.pem(),
        })
    }

    /// Makes a certificate for a node, for the key that signed the request.
    pub(crate) fn issue(&self, node: &NodeName, request: &str) -> Result<Issued, AuthorityError> {
        let failed = |error| AuthorityError::new("read a signing request", error);
        let request = CertificateSigningRequestParams::from_pem(request).map_err(failed)?;
        let certificate = node_params(node)
            .signed_by(&request.public_key, &self.issuer)
            .map_err(|error| AuthorityError::new("sign a node's certificate", error))?;
        Ok(Issued {
            fingerprint: digest(certificate.der()),
            certificate: certificate.pem(),
        })
    }

    /// Makes a node's key and certificate at once, for one that runs beside its host.
    pub(crate) fn make_node(
        &self,
        node: &NodeName,
    ) -> Result<(KeyAndCertificate, String), AuthorityError> {
        let failed = |error| AuthorityError::new("make a node's certificate", error);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = node_params(node)
            .signed_by(&key, &self.issuer)
            .map_err(failed)?;
        let fingerprint = digest(certificate.der());
        let made = KeyAndCertificate {
            key: key.serialize_pem(),
            certificate: certificate.pem(),
        };
        Ok((made, fingerprint))
    }
}

fn node_params(node: &NodeName) -> CertificateParams {
    let mut params = params(node.as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    name(&mut params, common_name);
    params
}

fn name(params: &mut CertificateParams, common_name: &str) {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.not_before = date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = date_time_ymd(LAST_YEAR, 12, 31);
    params.use_authority_key_identifier_extension = true;
}

/// SHA-256 of a certificate in PEM, in hexadecimal.
pub(crate) fn fingerprint(pem: &str) -> Result<String, AuthorityError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| AuthorityError::new("read a certificate", error.to_string()))?;
    Ok(digest(&der))
}

/// The names that a host has where none is given: its own, and those of the loopback.
pub(crate) fn default_names(host_name: &str) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    if !host_name.is_empty() && host_name.parse::<IpAddr>().is_err() {
        names.insert(0, host_name.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> (KeyPair, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        (key, request)
    }

    #[test]
    fn what_a_node_asks_to_be_counts_for_nothing() {
        let authority = Authority::make().unwrap();
        let issued = authority
            .issue(&"gpu-1".parse().unwrap(), &request().1)
            .unwrap();
        let pem = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&pem).into_owned();
        assert!(text.contains("gpu-1") && !text.contains("evil"), "{text}");
        // Basic constraints are not in it at all, so it signs nothing.
        assert!(!pem.windows(3).any(|bytes| bytes == [0x55, 0x1d, 0x13]));
        assert_eq!(
            issued.fingerprint,
            fingerprint(&issued.certificate).unwrap()
        );
        assert!(
            authority
                .issue(&"a".parse().unwrap(), "no request")
                .is_err()
        );
    }

    #[test]
    fn it_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Authority::read(folder.path()).unwrap().is_none());
        let made = Authority::make().unwrap();
        made.write(folder.path()).unwrap();
        let read = Authority::read(folder.path()).unwrap().unwrap();
        assert_eq!(
            (read.certificate(), read.fingerprint()),
            (made.certificate(), made.fingerprint())
        );
        assert!(read.issue(&"a".parse().unwrap(), &request().1).is_ok());
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(folder.path().join(KEY))
                .unwrap()
                .permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
}
