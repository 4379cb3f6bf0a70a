//! Whom to trust: the certificate of a cluster's authority, and the fingerprint that tells it.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, parse_pem};

/// The authority of a cluster: its certificates, and no other authority of the world.
#[derive(Clone)]
pub(crate) struct Authority {
    pem: String,
    certificates: Vec<Certificate<'static>>,
    fingerprint: Fingerprint,
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

/// The text has no certificate in PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoCertificate;

/// The text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidFingerprint;

impl Authority {
    /// Certificates that one file may have: the authority's, and the next one's while they change.
    const MAX: usize = 8;

    /// Its certificates.
    pub(crate) fn certificates(&self) -> &[Certificate<'static>] {
        &self.certificates
    }

    /// The text that it was read from.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// What tells its first certificate.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl FromStr for Authority {
    type Err = NoCertificate;

    fn from_str(pem: &str) -> Result<Self, NoCertificate> {
        let mut certificates = Vec::new();
        for item in parse_pem(pem.as_bytes()).take(Self::MAX) {
            if let PemItem::Certificate(certificate) = item.map_err(|_| NoCertificate)? {
                check_anchor(&certificate)?;
                certificates.push(certificate);
            }
        }
        let first = certificates.first().ok_or(NoCertificate)?;
        let fingerprint = Fingerprint::of(first.der());
        Ok(Self {
            pem: pem.to_owned(),
            certificates,
            fingerprint,
        })
    }
}

/// Makes sure that trust can be put in a certificate: one that is none would be left out later
/// without a word, and everything be distrusted.
fn check_anchor(certificate: &Certificate<'_>) -> Result<(), NoCertificate> {
    let der = CertificateDer::from_slice(certificate.der());
    RootCertStore::empty().add(der).map_err(|_| NoCertificate)
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub(crate) fn of(der: &[u8]) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, der).as_ref());
        Self(bytes)
    }
}

/// With colons or without, in any case, and with or without the name of the digest: as
/// `vfioctl-host init`, `openssl x509 -fingerprint` and join tokens have it.
impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let text = match text.split_once([':', '=']) {
            Some((name, rest)) if name.to_ascii_lowercase().starts_with("sha256") => rest,
            _ => text,
        };
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        if digits.len() != 2 * bytes.len() {
            return Err(InvalidFingerprint);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidFingerprint)?;
            // `from_str_radix` takes a sign.
            let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            let value = u8::from_str_radix(pair, 16).ok().filter(|_| is_hex);
            *byte = value.ok_or(InvalidFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.fingerprint)
    }
}

impl fmt::Display for NoCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no certificate in PEM in it")
    }
}

impl fmt::Display for InvalidFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint is SHA-256 in 64 hexadecimal digits, with or without colons")
    }
}

impl std::error::Error for NoCertificate {}
impl std::error::Error for InvalidFingerprint {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_host;

    #[test]
    fn a_fingerprint_is_taken_as_programs_print_it() {
        // SHA-256 of nothing, from FIPS 180-4's examples.
        let plain = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let fingerprint = Fingerprint::of(b"");
        assert_eq!(fingerprint.to_string(), plain);
        let pairs: Vec<&str> = plain
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap())
            .collect();
        let colons = pairs.join(":").to_uppercase();
        for text in [
            plain.to_owned(),
            colons.clone(),
            format!("SHA256:{plain}"),
            format!("sha256 Fingerprint={colons}"),
        ] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for text in [
            "",
            "e3b0",
            &plain.replace('e', "g"),
            &format!("+{}", &plain[1..]),
            &format!("{plain}0"),
        ] {
            assert_eq!(
                text.parse::<Fingerprint>(),
                Err(InvalidFingerprint),
                "{text}"
            );
        }
    }

    #[test]
    fn an_authority_is_told_by_its_first_certificate() {
        let pem = fake_host::authority_pem();
        let authority: Authority = pem.parse().unwrap();
        assert_eq!(authority.certificates().len(), 1);
        assert_eq!(
            format!("{pem}{pem}")
                .parse::<Authority>()
                .unwrap()
                .certificates()
                .len(),
            2
        );
        for text in [
            "",
            "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n",
            "x",
        ] {
            assert!(text.parse::<Authority>().is_err(), "{text:?}");
        }
    }
}
