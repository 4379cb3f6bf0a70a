//! Which certificate a host presents, where it is not trusted: so that people can compare it with
//! the one that they expect. Nothing is sent there but the greeting of TLS.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::authority::Fingerprint;
use super::host_url::HostUrl;
use crate::limits;

/// Asks a host for its certificate and believes nothing else of it. None where it shows none: what
/// is told of the failure is the same then, only shorter.
pub(super) fn read_presented(host: &HostUrl, provider: Arc<CryptoProvider>) -> Option<Fingerprint> {
    let address = (host.name(), host.port()).to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, limits::PRESENTED).ok()?;
    stream.set_read_timeout(Some(limits::PRESENTED)).ok()?;
    stream.set_write_timeout(Some(limits::PRESENTED)).ok()?;
    let onlooker = Arc::new(Onlooker {
        seen: Mutex::new(None),
        schemes: provider
            .signature_verification_algorithms
            .supported_schemes(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&onlooker) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::try_from(host.name().to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    // Ends with an error always: the onlooker trusts nobody.
    let _ = connection.complete_io(&mut stream);
    *onlooker.seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at a certificate and trusts none.
#[derive(Debug)]
struct Onlooker {
    seen: Mutex<Option<Fingerprint>>,
    schemes: Vec<SignatureScheme>,
}

impl Onlooker {
    fn refused<T>() -> Result<T, Error> {
        Err(Error::General("nothing is trusted here".to_owned()))
    }
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(Fingerprint::of(end_entity));
        Self::refused()
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::refused()
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::refused()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
