//! SHA-256, of certificates and names.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// SHA-256, in hexadecimal.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// SHA-256 of a certificate in PEM.
///
/// # Errors
/// Where it is none.
pub(crate) fn certificate_fingerprint(pem: &str) -> Result<String, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| format!("what came is not a certificate: {error}"))?;
    Ok(hex_digest(&der))
}
