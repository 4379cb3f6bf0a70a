//! The helper, as one who has machines sees it: `io.vfioctl.Machine`.
//!
//! Each call has a connection and a thread of its own for as long as it takes. The helper takes sixteen
//! connections of one user, so calls wait for each other here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use vfioctl_core::machine::MachineSpec;
use vfioctl_protocol::machine::{
    Create_Reply, Info, List_Reply, Plan_Reply, ReadLog_Reply, Show_Reply, Stop_Reply,
};
use vfioctl_protocol::{ClientError, NoHelper, RemoteError, base64, connect_greeted, wire};

use crate::limits::{HELPER_ANSWER, HELPER_ENDS, HELPER_QUESTIONS, HELPER_STARTS, HELPER_STEP};

/// The helper.
#[derive(Debug, Clone)]
pub(super) struct Helper {
    socket: PathBuf,
    questions: Arc<Semaphore>,
    starts: Arc<Semaphore>,
    ends: Arc<Semaphore>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallError {
    /// It said no, and has done nothing.
    Refused {
        /// Why, for programs.
        reason: String,
        /// Why, and what helps.
        sentence: String,
    },
    /// What was asked for makes no sense to it.
    Invalid(String),
    /// It tried, and failed.
    Failed {
        /// Why, and what helps.
        sentence: String,
        /// Whether everything is as it was before.
        undone: bool,
    },
    /// It knows no such machine of ours.
    NoSuchMachine,
    /// It was not asked.
    NotAsked(String),
    /// It was asked, and what came of it is not known.
    Unknown(String),
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogPart {
    pub(super) bytes: Vec<u8>,
    /// Where to go on.
    pub(super) next: u64,
    /// Whether that is all that is there now.
    pub(super) is_end: bool,
}

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    Console,
    Qemu,
}

/// How a machine is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its power button is pressed, and it has this long.
    Powerdown(Duration),
    /// At once.
    Quit,
}

impl Helper {
    /// The one that listens on a socket.
    pub(super) fn at(socket: &Path) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            socket: socket.to_owned(),
            questions: semaphore(HELPER_QUESTIONS),
            starts: semaphore(HELPER_STARTS),
            ends: semaphore(HELPER_ENDS),
        }
    }

    /// Its version, where it answers and is new enough.
    pub(super) async fn version(&self) -> Result<String, CallError> {
        let socket = self.socket.clone();
        let greeted = in_turn(&self.questions, HELPER_ANSWER, move || {
            connect_greeted(&socket, HELPER_ANSWER).map_err(not_asked)
        });
        greeted.await.map(|(_, version)| version.version)
    }

    /// What a machine would take and run.
    pub(super) async fn plan(&self, spec: &MachineSpec) -> Result<Plan_Reply, CallError> {
        self.ask("Plan", json!({"spec": wire::spec(spec)})).await
    }

    /// Makes a machine and starts it.
    pub(super) async fn create(
        &self,
        spec: &MachineSpec,
        tell: impl Fn(String) + Send + 'static,
    ) -> Result<(), CallError> {
        let tell = move |reply: Create_Reply| {
            if let Some(sentence) = reply.progress {
                tell(sentence);
            }
        };
        let parameters = json!({"spec": wire::spec(spec)});
        let created = self.work(&self.starts, "Create", parameters, tell);
        created.await.map(|_| ())
    }

    /// A machine; none where there is none of that name.
    pub(super) async fn show(&self, name: &str) -> Result<Option<Info>, CallError> {
        let shown: Result<Show_Reply, _> = self.ask("Show", json!({"name": name})).await;
        or_none(shown.map(|reply| reply.machine))
    }

    /// All machines of ours.
    pub(super) async fn list(&self) -> Result<Vec<Info>, CallError> {
        let listed: List_Reply = self.ask("List", json!({})).await?;
        Ok(listed.machines)
    }

    /// Ends a machine; one that is not there has ended.
    pub(super) async fn stop(&self, name: &str, how: End) -> Result<(), CallError> {
        let parameters = match how {
            End::Powerdown(limit) => {
                json!({"name": name, "how": "powerdown", "timeout_s": limit.as_secs()})
            }
            End::Quit => json!({"name": name, "how": "quit"}),
        };
        let stopped = self.work(&self.ends, "Stop", parameters, |_: Stop_Reply| {});
        or_none(stopped.await).map(|_| ())
    }

    /// Forgets a machine that has ended; one that is not there is forgotten.
    pub(super) async fn remove(&self, name: &str) -> Result<(), CallError> {
        let removed: Result<Value, _> = self.ask("Remove", json!({"name": name})).await;
        or_none(removed).map(|_| ())
    }

    /// Has everything taken home that has no living owner.
    pub(super) async fn recover(&self) -> Result<(), CallError> {
        let parameters = json!({"commit": true});
        let recovered: Result<Value, _> = self.call("io.vfioctl.Device.Recover", parameters).await;
        recovered.map(|_| ())
    }

    /// A part of a log, from a byte on; none where the machine or its log is not there.
    pub(super) async fn read_log(
        &self,
        name: &str,
        log: Log,
        offset: u64,
    ) -> Result<Option<LogPart>, CallError> {
        let of = match log {
            Log::Console => "console",
            Log::Qemu => "qemu",
        };
        let parameters = json!({"name": name, "of": of, "offset": offset});
        let part: ReadLog_Reply = match self.ask("ReadLog", parameters).await {
            Ok(part) => part,
            Err(CallError::NoSuchMachine) => return Ok(None),
            Err(CallError::Refused { reason, .. }) if reason == "NoLog" => return Ok(None),
            Err(error) => return Err(error),
        };
        let not_understood = |what: &str| CallError::Unknown(format!("a log {what}"));
        Ok(Some(LogPart {
            bytes: base64::decode(&part.data).map_err(|_| not_understood("that is no base64"))?,
            next: u64::try_from(part.next).map_err(|_| not_understood("before its start"))?,
            is_end: part.end,
        }))
    }

    /// A question about machines.
    async fn ask<R: DeserializeOwned + Send + 'static>(
        &self,
        method: &str,
        parameters: Value,
    ) -> Result<R, CallError> {
        self.call(&full_name(method), parameters).await
    }

    /// A question, with one answer.
    async fn call<R: DeserializeOwned + Send + 'static>(
        &self,
        method: &str,
        parameters: Value,
    ) -> Result<R, CallError> {
        let (socket, method) = (self.socket.clone(), method.to_owned());
        in_turn(&self.questions, HELPER_ANSWER, move || {
            let (mut client, _) = connect_greeted(&socket, HELPER_ANSWER).map_err(not_asked)?;
            client
                .call(&method, parameters, HELPER_ANSWER)
                .map_err(of_client)
        })
        .await
    }

    /// Something that takes its time, and tells how it goes on.
    async fn work<R: DeserializeOwned + Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        method: &str,
        parameters: impl Serialize + Send + 'static,
        tell: impl Fn(R) + Send + 'static,
    ) -> Result<R, CallError> {
        let (socket, method) = (self.socket.clone(), full_name(method));
        // The helper bounds the whole of it; here, each step is.
        in_turn(turns, Duration::MAX, move || {
            let (mut client, _) = connect_greeted(&socket, HELPER_ANSWER).map_err(not_asked)?;
            client
                .call_more(&method, parameters, HELPER_STEP, tell)
                .map_err(of_client)
        })
        .await
    }
}

/// Calls from a thread that may wait, when it is this call's turn.
async fn in_turn<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    limit: Duration,
    call: impl FnOnce() -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    let turn = Arc::clone(turns).acquire_owned().await;
    let called = tokio::task::spawn_blocking(move || {
        // For as long as it takes, even where nobody waits for it any more.
        let _turn = turn;
        call()
    });
    // Twice: for the greeting, and for the question.
    let waited = tokio::time::timeout(limit.saturating_mul(2), called).await;
    let unknown = |because: &dyn fmt::Display| CallError::Unknown(because.to_string());
    match waited {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(unknown(&error)),
        Err(_) => Err(unknown(&"the helper takes no question")),
    }
}

fn full_name(method: &str) -> String {
    format!("io.vfioctl.Machine.{method}")
}

fn or_none<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Err(CallError::NoSuchMachine) => Ok(None),
        answer => answer.map(Some),
    }
}

fn not_asked(error: NoHelper) -> CallError {
    CallError::NotAsked(error.to_string())
}

fn of_client(error: ClientError) -> CallError {
    match error {
        ClientError::Remote(error) => of_remote(&error),
        error => CallError::Unknown(error.to_string()),
    }
}

fn of_remote(error: &RemoteError) -> CallError {
    let sentence = error.sentence();
    match error.name.rsplit('.').next().unwrap_or_default() {
        "NoSuchMachine" => CallError::NoSuchMachine,
        "Refused" => CallError::Refused {
            reason: error.reason().unwrap_or_default().to_owned(),
            sentence,
        },
        "Failed" => CallError::Failed {
            sentence,
            undone: error.parameters.get("undone").and_then(Value::as_bool) == Some(true),
        },
        "InvalidParameter" => CallError::Invalid(format!(
            "the helper does not take what it is asked: {}",
            error.text("parameter").unwrap_or(&sentence)
        )),
        _ => CallError::Unknown(sentence),
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { sentence, .. }
            | Self::Invalid(sentence)
            | Self::Failed { sentence, .. }
            | Self::NotAsked(sentence)
            | Self::Unknown(sentence) => f.write_str(sentence),
            Self::NoSuchMachine => f.write_str("the helper has no such machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(name: &str, parameters: Value) -> CallError {
        of_remote(&RemoteError {
            name: name.to_owned(),
            parameters,
        })
    }

    #[test]
    fn what_the_helper_says_is_passed_on_with_its_advice() {
        let refused = remote(
            "io.vfioctl.Machine.Refused",
            json!({"reason": "Claimed", "message": "bob has it", "hint": "ask bob"}),
        );
        let expected = CallError::Refused {
            reason: "Claimed".into(),
            sentence: "bob has it; ask bob".into(),
        };
        assert_eq!(refused, expected);
        let failed = remote(
            "io.vfioctl.Machine.Failed",
            json!({"message": "QEMU ended", "hint": "", "undone": true}),
        );
        let expected = CallError::Failed {
            sentence: "QEMU ended".into(),
            undone: true,
        };
        assert_eq!(failed, expected);
        assert_eq!(
            remote("io.vfioctl.Machine.NoSuchMachine", json!({"name": "m"})),
            CallError::NoSuchMachine
        );
        let invalid = remote(
            "org.varlink.service.InvalidParameter",
            json!({"parameter": "'cores': 0"}),
        );
        let because = "the helper does not take what it is asked: 'cores': 0".to_owned();
        assert_eq!(invalid, CallError::Invalid(because));
        assert_eq!(
            remote("a.b", json!({})),
            CallError::Unknown("the helper answered 'a.b'".into())
        );
    }

    #[tokio::test]
    async fn who_cannot_be_asked_has_not_been() {
        let helper = Helper::at(Path::new("/nonexistent/helper.sock"));
        let error = helper.show("m").await.unwrap_err();
        assert!(matches!(error, CallError::NotAsked(_)), "{error}");
    }
}
