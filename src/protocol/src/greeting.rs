//! The first thing that a caller asks: which helper answers, and whether it knows enough.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::inventory::GetVersion_Reply;
use crate::{Client, ClientError, LEVEL};

/// Why there is no helper to ask.
#[derive(Debug)]
pub enum NoHelper {
    /// It has no answer.
    Unanswered(ClientError),
    /// Its interfaces are older than the caller's; `None` where it cannot even tell its version.
    TooOld(Option<GetVersion_Reply>),
}

/// Connects to a helper's socket and makes sure that the helper is not too old.
///
/// # Errors
/// [`NoHelper`].
pub fn connect_greeted(
    socket: &Path,
    timeout: Duration,
) -> Result<(Client, GetVersion_Reply), NoHelper> {
    let mut client = Client::connect(socket).map_err(NoHelper::Unanswered)?;
    let version: Result<GetVersion_Reply, _> =
        client.call("io.vfioctl.Inventory.GetVersion", json!({}), timeout);
    match version {
        Ok(version) if version.level >= LEVEL => Ok((client, version)),
        Ok(version) => Err(NoHelper::TooOld(Some(version))),
        Err(ClientError::Remote(error)) if is_unknown_method(&error.name) => {
            Err(NoHelper::TooOld(None))
        }
        Err(error) => Err(NoHelper::Unanswered(error)),
    }
}

fn is_unknown_method(name: &str) -> bool {
    matches!(
        name,
        "org.varlink.service.MethodNotFound"
            | "org.varlink.service.InterfaceNotFound"
            | "org.varlink.service.MethodNotImplemented"
    )
}

impl fmt::Display for NoHelper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) => fmt::Display::fmt(error, f),
            Self::TooOld(Some(version)) => write!(
                f,
                "the helper is too old: it knows level {} of the interfaces, and level {LEVEL} is \
                 needed",
                version.level
            ),
            Self::TooOld(None) => f.write_str("the helper is too old: it cannot tell its version"),
        }
    }
}

impl std::error::Error for NoHelper {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its words are this one's already.
            Self::Unanswered(error) => error.source(),
            Self::TooOld(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What a helper that gives this answer is taken for.
    fn greet(answer: &'static str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("helper.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let helper = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let len = stream.read(&mut request).unwrap();
            assert!(request[..len].ends_with(b"\0"));
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(b"\0").unwrap();
        });
        let greeted = connect_greeted(&socket, Duration::from_secs(20));
        helper.join().unwrap();
        greeted.map_or_else(|error| error.to_string(), |(_, version)| version.version)
    }

    #[test]
    fn a_helper_that_knows_enough_is_greeted() {
        let answer = r#"{"parameters": {"version": "9.9", "level": 99}}"#;
        assert_eq!(greet(answer), "9.9");
    }

    #[test]
    fn an_old_helper_is_told_from_none() {
        let old = r#"{"parameters": {"version": "0.0", "level": 0}}"#;
        assert!(greet(old).starts_with("the helper is too old: it knows level 0"));
        let ancient = r#"{"error": "org.varlink.service.MethodNotFound", "parameters": {}}"#;
        assert_eq!(
            greet(ancient),
            "the helper is too old: it cannot tell its version"
        );
        let none = connect_greeted(Path::new("/nonexistent/x"), Duration::from_secs(1));
        assert!(matches!(
            none,
            Err(NoHelper::Unanswered(ClientError::NotRunning(_)))
        ));
    }
}
