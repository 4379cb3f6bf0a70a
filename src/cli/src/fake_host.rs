//! A cluster's host that answers from a list, over TLS, for tests: what the command asks and what
//! it makes of the answers can be seen without a cluster.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::cluster::{ClusterFile, Fingerprint};
use crate::verdict::Verdict;

/// What the command came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status.
    pub(crate) verdict: Verdict,
    /// Standard output.
    pub(crate) answer: String,
    /// Standard error.
    pub(crate) conversation: String,
    /// What the host was asked.
    pub(crate) asked: Vec<Asked>,
}

impl Outcome {
    /// What the host was asked, without bodies: `GET /v1/nodes`.
    pub(crate) fn questions(&self) -> Vec<&str> {
        self.asked
            .iter()
            .map(|asked| asked.question.as_str())
            .collect()
    }

    /// The answer, as a program reads it.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.answer).unwrap()
    }
}

/// A question.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    /// Method and path.
    pub(crate) question: String,
    /// What the token is.
    pub(crate) token: Option<String>,
    /// What was sent.
    pub(crate) body: Value,
}

/// What the host does with a question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Answers with a status and JSON.
    Json(u16, Value),
    /// Answers with bytes, and ends there; or breaks off, where that is true.
    Bytes(Vec<u8>, bool),
    /// Closes the connection without a word.
    Hangs,
}

/// It is done, and this came of it.
pub(crate) fn ok(value: Value) -> Reply {
    Reply::Json(200, value)
}

/// The host says no.
pub(crate) fn problem(status: u16, code: &str) -> Reply {
    Reply::Json(
        status,
        json!({"code": code, "message": "it cannot be", "hint": "do it"}),
    )
}

/// Events about a task, one for each of its states, and then the end of the stream.
pub(crate) fn events(tasks: &[Value]) -> Reply {
    let mut text = ":\n\n".to_owned();
    for (index, task) in tasks.iter().enumerate() {
        let change = json!({"revision": index + 1, "task": task});
        text.push_str(&format!("id: {index}\nevent: task\ndata: {change}\n\n"));
    }
    Reply::Bytes(text.into_bytes(), false)
}

/// A host that listens.
pub(crate) struct FakeHost {
    server: JoinHandle<Vec<Asked>>,
    is_over: Arc<AtomicBool>,
    folder: tempfile::TempDir,
    port: u16,
}

impl FakeHost {
    /// Begins to listen; gives these replies in turn, one for each question, and ends with the last.
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        Self::start_with(replies, certificate("localhost"))
    }

    /// The same with another certificate.
    pub(crate) fn start_with(replies: Vec<Reply>, own: (String, String)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = server_config(&own);
        let folder = tempfile::tempdir().unwrap();
        let file = ClusterFile {
            host: format!("localhost:{port}").parse().unwrap(),
            authority: authority_pem().parse().unwrap(),
            token: "vfioctl_0a_secret".parse().unwrap(),
        };
        file.write(&folder.path().join("cluster.json")).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let server = std::thread::spawn(move || serve(&listener, &config, replies, &over));
        Self {
            server,
            is_over,
            folder,
            port,
        }
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The folder with the file that speaks of it.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Runs the command against it.
    pub(crate) fn run(self, words: &[&str]) -> Outcome {
        let mut arguments = vec!["vfioctl".into()];
        // What is behind '--' is not for this command.
        let own = words
            .iter()
            .position(|word| *word == "--")
            .unwrap_or(words.len());
        let (own, others) = words.split_at(own);
        arguments.extend(own.iter().map(Into::into));
        arguments.push("--cluster".into());
        arguments.push(self.folder.path().join("cluster.json").into_os_string());
        arguments.extend(others.iter().map(Into::into));
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let verdict = crate::run(arguments, &mut answer, &mut conversation);
        Outcome {
            verdict,
            answer: String::from_utf8(answer).unwrap(),
            conversation: String::from_utf8(conversation).unwrap(),
            asked: self.end(),
        }
    }

    /// What it was asked.
    pub(crate) fn end(self) -> Vec<Asked> {
        // Wakes it where it still waits for a question.
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.server.join().unwrap()
    }
}

/// Runs the command against a host that gives these replies in turn.
pub(crate) fn run(words: &[&str], replies: Vec<Reply>) -> Outcome {
    FakeHost::start(replies).run(words)
}

fn serve(
    listener: &TcpListener,
    config: &Arc<ServerConfig>,
    replies: Vec<Reply>,
    is_over: &AtomicBool,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut replies = replies.into_iter();
    let mut reply = replies.next();
    while let Some(now) = reply {
        let (stream, _) = listener.accept().unwrap();
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        match answer(stream, config, &now) {
            Some(question) => asked.push(question),
            // A certificate that was not trusted, or only looked at, is no question.
            None => {
                reply = Some(now);
                continue;
            }
        }
        reply = replies.next();
    }
    asked
}

/// Answers one question, and closes the connection.
fn answer(stream: TcpStream, config: &Arc<ServerConfig>, reply: &Reply) -> Option<Asked> {
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    };
    let len = header("content-length").map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).ok()?;
    let question = head
        .lines()
        .next()
        .unwrap()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let asked = Asked {
        question,
        token: header("authorization")
            .and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned)),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let mut stream = stream.into_inner();
    match reply {
        Reply::Json(status, value) => {
            let body = if *status == 204 {
                String::new()
            } else {
                value.to_string()
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .unwrap();
        }
        Reply::Bytes(bytes, breaks) => {
            stream
                .write_all(
                    b"HTTP/1.1 200 X\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
                )
                .unwrap();
            if !bytes.is_empty() {
                stream
                    .write_all(format!("{:x}\r\n", bytes.len()).as_bytes())
                    .unwrap();
                stream.write_all(bytes).unwrap();
                stream.write_all(b"\r\n").unwrap();
            }
            if !breaks {
                stream.write_all(b"0\r\n\r\n").unwrap();
            }
        }
        Reply::Hangs => {}
    }
    stream.conn.send_close_notify();
    let _ = stream.flush();
    Some(asked)
}

fn issuer() -> &'static CertifiedIssuer<'static, KeyPair> {
    static ISSUER: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    ISSUER.get_or_init(make_issuer)
}

/// An authority that nobody trusts yet.
pub(crate) fn make_issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The certificate of the authority that a fake host has, in PEM.
pub(crate) fn authority_pem() -> String {
    issuer().pem()
}

/// What tells that certificate.
pub(crate) fn authority_fingerprint() -> Fingerprint {
    Fingerprint::of(issuer().der())
}

/// A certificate for a name, by that authority, with its key.
pub(crate) fn certificate(name: &str) -> (String, String) {
    certificate_by(issuer(), name)
}

/// The same by another one.
pub(crate) fn certificate_by(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn server_config((certificate, key): &(String, String)) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}
