//! A helper that answers from a list, for tests: what the command asks and what it makes of the
//! answers can be seen without a machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::verdict::Verdict;

/// What the command came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The exit status.
    pub(crate) verdict: Verdict,
    /// Standard output.
    pub(crate) answer: String,
    /// Standard error.
    pub(crate) conversation: String,
    /// What the helper was asked, after the greeting: method and parameters.
    pub(crate) asked: Vec<(String, Value)>,
}

/// A reply: its parameters, and whether more follow; or an error with its name.
pub(crate) fn more(parameters: Value) -> Value {
    json!({"parameters": parameters, "continues": true})
}

/// The last reply of a call.
pub(crate) fn last(parameters: Value) -> Value {
    json!({"parameters": parameters})
}

/// A refusal of `io.vfioctl.Device`.
pub(crate) fn refused(reason: &str) -> Value {
    json!({
        "error": "io.vfioctl.Device.Refused",
        "parameters": {"reason": reason, "message": "it cannot be", "hint": "do it"},
    })
}

/// Runs the command against a helper of a level, which gives these replies in turn.
pub(crate) fn run(level: i64, words: &[&str], replies: Vec<Value>) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("helper.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let helper = serve(listener, level, replies);
    let mut arguments = vec!["vfioctl".into(), "--socket".into(), socket.clone().into()];
    arguments.extend(words.iter().map(Into::into));
    let (mut answer, mut conversation) = (Vec::new(), Vec::new());
    let verdict = crate::run(arguments, &mut answer, &mut conversation);
    let asked = helper.join().unwrap();
    Outcome {
        verdict,
        answer: String::from_utf8(answer).unwrap(),
        conversation: String::from_utf8(conversation).unwrap(),
        asked,
    }
}

fn serve(
    listener: UnixListener,
    level: i64,
    replies: Vec<Value>,
) -> JoinHandle<Vec<(String, Value)>> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut replies = replies.into_iter();
        let mut asked = Vec::new();
        loop {
            let mut frame = Vec::new();
            reader.read_until(0, &mut frame).unwrap();
            let Some(0) = frame.pop() else { return asked };
            let mut call: Value = serde_json::from_slice(&frame).unwrap();
            let method = call["method"].as_str().unwrap().to_owned();
            if method == "io.vfioctl.Inventory.GetVersion" {
                send(
                    &mut stream,
                    &last(json!({"version": "0.1.0", "level": level})),
                );
                continue;
            }
            asked.push((method, call["parameters"].take()));
            for reply in replies.by_ref() {
                send(&mut stream, &reply);
                if reply.get("continues").is_none() {
                    break;
                }
            }
        }
    })
}

fn send(stream: &mut std::os::unix::net::UnixStream, reply: &Value) {
    let mut bytes = reply.to_string().into_bytes();
    bytes.push(0);
    stream.write_all(&bytes).unwrap();
}
