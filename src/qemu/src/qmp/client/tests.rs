//! The client against fake peers over socket pairs: honest ones, odd ones and hostile ones.

use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use serde_json::json;

use super::*;
use crate::limits::QMP_EVENTS;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);
const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#;

/// The other end of the client's socket.
struct Peer {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Peer {
    fn say(&mut self, line: &str) {
        self.writer.write_all(line.as_bytes()).unwrap();
        self.writer.write_all(b"\r\n").unwrap();
    }

    /// Reads a command; `Null` once the client has gone.
    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_default()
    }

    /// Reads a command and answers it.
    fn answer(&mut self, value: &Value) -> Value {
        let command = self.hear();
        self.say(&json!({"return": value, "id": command["id"]}).to_string());
        command
    }

    fn greet(&mut self) {
        self.say(GREETING);
        assert_eq!(
            self.answer(&json!({})),
            json!({"execute": "qmp_capabilities", "id": 1})
        );
    }
}

/// Runs a peer in a thread; it hangs up when it returns.
fn with_peer(run: impl FnOnce(&mut Peer) + Send + 'static) -> (UnixStream, JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = thread::spawn(move || {
        let reader = BufReader::new(theirs.try_clone().unwrap());
        run(&mut Peer {
            reader,
            writer: theirs,
        });
    });
    (ours, peer)
}

fn connect(run: impl FnOnce(&mut Peer) + Send + 'static) -> (Client, JoinHandle<()>) {
    let (stream, peer) = with_peer(move |peer| {
        peer.greet();
        run(peer);
    });
    (Client::new(stream, LONG).unwrap(), peer)
}

fn kind_of<T>(result: Result<T, QmpError>) -> Option<QmpErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn answers_are_matched_and_events_kept() {
    let (mut client, peer) = connect(|peer| {
        let command = peer.hear();
        assert_eq!(command["arguments"], json!({"path": "/machine"}));
        peer.say(r#"{"event": "NEW_EVENT", "data": {"x": 1}}"#);
        peer.say(r#"{"return": "of another", "id": 77}"#);
        peer.say(&json!({"return": ["a"], "id": command["id"], "new-field": 1}).to_string());
        peer.answer(&json!({"status": "prelaunch", "running": false, "singlestep": false}));
    });
    let answer = client.execute("qom-list", json!({"path": "/machine"}), LONG);
    assert_eq!(answer.unwrap(), json!(["a"]));
    let status = Status {
        is_running: false,
        name: "prelaunch".into(),
    };
    assert_eq!(client.status(LONG).unwrap(), status);
    let event = Event {
        name: "NEW_EVENT".into(),
        data: json!({"x": 1}),
        at: None,
    };
    assert_eq!(client.next_event(SHORT).unwrap(), Some(event));
    peer.join().unwrap();
    assert_eq!(kind_of(client.next_event(LONG)), Some(QmpErrorKind::Ended));
}

#[test]
fn a_refusal_is_told_in_qemus_words_and_is_not_the_end() {
    let (mut client, peer) = connect(|peer| {
        let id = peer.hear()["id"].clone();
        peer.say(
            &json!({"error": {"class": "DeviceNotFound", "desc": "no x"}, "id": id}).to_string(),
        );
        peer.hear();
        peer.say(r#"{"error": {"class": "GenericError", "desc": "JSON parse error"}}"#);
        peer.answer(&json!({}));
    });
    let error = client
        .execute("device_del", json!({"id": "x"}), LONG)
        .unwrap_err();
    let words = CommandError {
        class: "DeviceNotFound".into(),
        desc: "no x".into(),
    };
    assert_eq!(
        (error.kind(), error.command_error()),
        (QmpErrorKind::Refused, Some(&words))
    );
    assert_eq!(kind_of(client.status(LONG)), Some(QmpErrorKind::Refused));
    client.system_powerdown(LONG).unwrap();
    peer.join().unwrap();
}

#[test]
fn a_late_answer_is_not_taken_for_the_next_one() {
    let (mut client, peer) = connect(|peer| {
        let late = peer.hear();
        let next = peer.hear();
        for command in [late, next] {
            peer.say(&json!({"return": command["execute"], "id": command["id"]}).to_string());
        }
    });
    assert_eq!(
        kind_of(client.execute("late", Value::Null, SHORT)),
        Some(QmpErrorKind::TimedOut)
    );
    assert_eq!(
        client.execute("next", Value::Null, LONG).unwrap(),
        json!("next")
    );
    peer.join().unwrap();
}

#[test]
fn a_peer_that_hangs_up_before_the_greeting_has_ended() {
    let (stream, peer) = with_peer(|_| {});
    assert_eq!(
        kind_of(Client::new(stream, LONG)),
        Some(QmpErrorKind::Ended)
    );
    peer.join().unwrap();
}

#[test]
fn a_peer_that_never_greets_is_given_up() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    stream.set_nonblocking(true).unwrap();
    let begin = Instant::now();
    assert_eq!(
        kind_of(Client::new(stream, SHORT)),
        Some(QmpErrorKind::TimedOut)
    );
    assert!(begin.elapsed() >= SHORT);
}

#[test]
fn a_peer_that_answers_before_the_greeting_or_talks_nonsense_is_not_qemu() {
    for line in [
        "{\"return\": {}}",
        "HTTP/1.1 400 Bad Request",
        "{}",
        "\u{1b}[2J",
    ] {
        let (stream, peer) = with_peer(move |peer| peer.say(line));
        assert_eq!(
            kind_of(Client::new(stream, LONG)),
            Some(QmpErrorKind::Protocol),
            "{line}"
        );
        peer.join().unwrap();
    }
}

#[test]
fn a_gib_without_line_end_is_refused_early() {
    let (stream, peer) = with_peer(|peer| {
        let piece = vec![b' '; 1024 * 1024];
        // Until the client hangs up.
        for _ in 0..1024 {
            if peer.writer.write_all(&piece).is_err() {
                return;
            }
        }
        unreachable!("the client has read a GiB");
    });
    assert_eq!(
        kind_of(Client::new(stream, LONG)),
        Some(QmpErrorKind::Protocol)
    );
    peer.join().unwrap();
}

#[test]
fn a_peer_that_floods_cannot_hold_a_call_beyond_its_deadline() {
    let (mut client, peer) = connect(|peer| {
        let piece = "{\"event\": \"FLOOD\"}\n".repeat(1000);
        while peer.writer.write_all(piece.as_bytes()).is_ok() {}
    });
    let begin = Instant::now();
    assert_eq!(kind_of(client.status(SHORT)), Some(QmpErrorKind::TimedOut));
    assert!(begin.elapsed() < LONG);
    assert!(client.dropped_events() > 0);
    assert_eq!(
        std::iter::from_fn(|| client.events.pop()).count(),
        QMP_EVENTS
    );
    drop(client);
    peer.join().unwrap();
}

#[test]
fn a_peer_that_does_not_read_cannot_hold_a_command() {
    let (done, wait) = mpsc::channel::<()>();
    let (mut client, peer) = connect(move |_| wait.recv().unwrap_or(()));
    let large = json!("x".repeat(4 * 1024 * 1024));
    assert_eq!(
        kind_of(client.execute("a", large, SHORT)),
        Some(QmpErrorKind::TimedOut)
    );
    // Half of it has been written, so there is no saying what QEMU would make of another.
    assert_eq!(kind_of(client.status(SHORT)), Some(QmpErrorKind::Protocol));
    drop(done);
    peer.join().unwrap();
}

#[test]
fn quit_is_done_when_qemu_answers_and_when_it_is_gone() {
    let (mut client, peer) = connect(|peer| {
        peer.answer(&json!({}));
        peer.say(r#"{"event": "SHUTDOWN", "data": {"guest": false}}"#);
    });
    client.quit(LONG).unwrap();
    peer.join().unwrap();
    assert_eq!(client.next_event(LONG).unwrap().unwrap().name, "SHUTDOWN");
    assert_eq!(kind_of(client.next_event(LONG)), Some(QmpErrorKind::Ended));
    client.quit(LONG).unwrap();

    // Hanging up without reading the command resets the connection.
    let (mut client, peer) = connect(|_| {});
    peer.join().unwrap();
    client.quit(LONG).unwrap();
    let (mut client, peer) = connect(|_| thread::sleep(Duration::from_millis(200)));
    client.quit(LONG).unwrap();
    peer.join().unwrap();
}

#[test]
fn a_status_that_is_no_word_is_refused() {
    let names = [
        json!("running\u{1b}"),
        json!(1),
        json!(""),
        json!("a".repeat(65)),
    ];
    for name in names {
        let (mut client, peer) = connect(move |peer| {
            peer.answer(&json!({"running": true, "status": name}));
        });
        assert_eq!(kind_of(client.status(LONG)), Some(QmpErrorKind::Protocol));
        peer.join().unwrap();
    }
}

#[test]
fn without_time_an_event_that_has_come_is_found() {
    let (mut client, peer) = connect(|peer| peer.say(r#"{"event": "STOP"}"#));
    peer.join().unwrap();
    assert_eq!(
        client.next_event(Duration::ZERO).unwrap().unwrap().name,
        "STOP"
    );
    let (stream, _held) = with_peer(|peer| {
        peer.greet();
        peer.hear();
    });
    let mut client = Client::new(stream, Duration::MAX).unwrap();
    assert_eq!(client.next_event(Duration::ZERO).unwrap(), None);
}
