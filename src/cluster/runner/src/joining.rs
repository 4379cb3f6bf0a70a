//! Joining a cluster: a key of one's own, and a certificate for it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use crate::command_line::Join;
use crate::configuration::Configuration;
use crate::{https, whole_file};

/// Longest token that is read: one has some 160 bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Joins a cluster and writes down what is needed to come back to it.
pub(crate) async fn join(arguments: &Join, configuration: &Configuration) -> Result<(), String> {
    let token = read_token(arguments.token_file.as_deref())?;
    let key = KeyPair::generate().map_err(|error| format!("cannot make a key: {error}"))?;
    let request = CertificateParams::default()
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .map_err(|error| format!("cannot make a signing request: {error}"))?;
    let enrolled = https::join(&arguments.host, &token, request).await?;
    let data = &configuration.data;
    std::fs::create_dir_all(data)
        .map_err(|error| format!("cannot make '{}': {error}", data.display()))?;
    // The key last: only with it is the rest of any use, and until then the old one is.
    let files = [
        ("authority.pem", enrolled.authority.as_str(), 0o644),
        ("node.name", enrolled.node.as_str(), 0o644),
        ("hosts", arguments.host.as_str(), 0o644),
        ("node.pem", enrolled.certificate.as_str(), 0o644),
        ("node.key", &key.serialize_pem(), 0o600),
    ];
    for (name, text, mode) in files {
        write(&data.join(name), text, mode)?;
    }
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(
        stderr,
        "joined as '{}'; start the runner: systemctl enable --now vfioctl-runner",
        enrolled.node
    );
    Ok(())
}

/// The file with the token; none: it comes from standard input.
///
/// # Errors
/// Where it cannot be opened, as a sentence.
pub(crate) fn open_token(file: Option<&Path>) -> Result<Option<File>, String> {
    match file.filter(|path| *path != Path::new("-")) {
        Some(path) => File::open(path)
            .map(Some)
            .map_err(|error| format!("cannot read '{}': {error}", path.display())),
        None => Ok(None),
    }
}

fn read_token(file: Option<&Path>) -> Result<String, String> {
    let mut text = String::new();
    let read = match open_token(file)? {
        Some(file) => file.take(MAX_TOKEN_BYTES).read_to_string(&mut text),
        None => std::io::stdin()
            .take(MAX_TOKEN_BYTES)
            .read_to_string(&mut text),
    };
    read.map_err(|error| format!("cannot read the token: {error}"))?;
    let token = text.trim().to_owned();
    if token.is_empty() {
        return Err("there is no token; 'vfioctl node invite NAME' makes one".into());
    }
    Ok(token)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    whole_file::write(path, text.as_bytes(), mode)
        .map_err(|error| format!("cannot write '{}': {error}", path.display()))
}
