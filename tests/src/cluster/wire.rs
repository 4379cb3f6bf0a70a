//! A client of HTTP over TLS that sends exactly what it is told.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Answer;

/// How long an answer may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// A way to a host. Each thread has its own connection.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    connection: Option<StreamOwned<ClientConnection, TcpStream>>,
}

impl Wire {
    /// To a host that an authority vouches for, as nobody or as a node.
    pub fn new(address: SocketAddr, authority: &str, identity: Option<&Identity>) -> Self {
        Self {
            address,
            config: Arc::new(client_config(authority, identity)),
            connection: None,
        }
    }

    fn connect(&self) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(StreamOwned::new(connection, stream))
    }

    /// Asks; a connection that the host has closed meanwhile is made again.
    ///
    /// # Panics
    /// Where nothing, or no HTTP, comes back.
    pub fn ask(&mut self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        if let Some(token) = token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        if method != "GET" || !body.is_empty() {
            head.push_str("content-type: application/json\r\n");
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Sends bytes, and reads one answer.
    ///
    /// # Errors
    /// Where the connection ends without a whole answer.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<Answer> {
        if let Some(mut connection) = self.connection.take()
            && let Ok(answer) = exchange(&mut connection, bytes)
        {
            self.keep(connection, &answer);
            return Ok(answer);
        }
        let mut connection = self.connect()?;
        let answer = exchange(&mut connection, bytes)?;
        self.keep(connection, &answer);
        Ok(answer)
    }

    fn keep(&mut self, connection: StreamOwned<ClientConnection, TcpStream>, answer: &Answer) {
        if !answer.head.contains("connection: close") {
            self.connection = Some(connection);
        }
    }
}

/// TLS with a host that an authority vouches for, as nobody or as a node.
pub fn client_config(authority: &str, identity: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
            let chain = chain.map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

fn exchange(
    connection: &mut StreamOwned<ClientConnection, TcpStream>,
    bytes: &[u8],
) -> io::Result<Answer> {
    let has_no_body = bytes.starts_with(b"HEAD ");
    // A host that answers before it has read everything may have closed its side.
    let sent = connection
        .write_all(bytes)
        .and_then(|()| connection.flush());
    let mut received = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&received, b"\r\n\r\n") {
            break end;
        }
        if read_some(connection, &mut received)? == 0 {
            sent?;
            return Err(io::Error::other("the connection ended before an answer"));
        }
    };
    let head = String::from_utf8_lossy(received.get(..head_end).unwrap_or_default()).into_owned();
    let mut body = received.split_off(head_end + 4);
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no HTTP: {head}")))?;
    let field = |name: &str| {
        let line = head.lines().find(|line| {
            let (field, _) = line.split_once(':').unwrap_or_default();
            field.eq_ignore_ascii_case(name)
        });
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    if has_no_body {
        body.clear();
    } else if field("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            if read_some(connection, &mut body)? == 0 {
                return Err(io::Error::other("the connection ended within an answer"));
            }
        }
        body = unchunk(&body);
    } else {
        let length: usize = field("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        while body.len() < length {
            if read_some(connection, &mut body)? == 0 {
                return Err(io::Error::other("the connection ended within an answer"));
            }
        }
    }
    Ok(Answer { status, head, body })
}

fn read_some(
    connection: &mut StreamOwned<ClientConnection, TcpStream>,
    received: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    let count = match connection.read(&mut buffer) {
        Ok(count) => count,
        // Closed without a farewell of TLS.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
        Err(error) => return Err(error),
    };
    received.extend_from_slice(buffer.get(..count).unwrap_or_default());
    assert!(received.len() < MAX_ANSWER, "an answer has no end");
    Ok(count)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn unchunk(mut text: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = find(text, b"\r\n") {
        let size = std::str::from_utf8(text.get(..end).unwrap_or_default())
            .ok()
            .and_then(|size| usize::from_str_radix(size.trim(), 16).ok())
            .unwrap_or(0);
        if size == 0 {
            break;
        }
        body.extend_from_slice(text.get(end + 2..end + 2 + size).unwrap_or_default());
        text = text.get(end + 4 + size..).unwrap_or_default();
    }
    body
}
