//! TLS: the host shows its certificate; a runner shows its node's, and users show none.

use std::fmt;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access::digest;
use crate::authority::KeyAndCertificate;

/// TLS could not be set up.
#[derive(Debug)]
pub(crate) struct TlsError {
    what: &'static str,
    because: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.because)
    }
}

impl std::error::Error for TlsError {}

fn failed(what: &'static str) -> impl Fn(&dyn fmt::Display) -> TlsError {
    move |error| TlsError {
        what,
        because: error.to_string(),
    }
}

/// What agrees on TLS with those who connect.
pub(crate) fn acceptor(own: &KeyAndCertificate, authority: &str) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let wrong = failed("read the authority's certificate");
    let authority =
        CertificateDer::from_pem_slice(authority.as_bytes()).map_err(|error| wrong(&error))?;
    roots.add(authority).map_err(|error| wrong(&error))?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| failed("verify certificates of runners")(&error))?;
    let wrong = failed("read the host's certificate");
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(own.certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(|error| wrong(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// SHA-256 of the certificate that the other end holds the key of.
pub(crate) fn fingerprint(stream: &TlsStream<TcpStream>) -> Option<String> {
    let (_, session) = stream.get_ref();
    session
        .peer_certificates()?
        .first()
        .map(|certificate| digest(certificate))
}
