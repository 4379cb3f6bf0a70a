//! What the codec makes of good lines, odd lines, and lines cut anywhere.

use serde_json::json;

use super::super::QmpErrorKind;
use super::*;

/// A short conversation as QEMU 7.2 has it, with an event and a field no QEMU has.
const CONVERSATION: &str = concat!(
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": []}}"#,
    "\r\n",
    r#"{"return": {}, "id": 1}"#,
    "\r\n\r\n",
    r#"{"timestamp": {"seconds": 1700000000, "microseconds": 5}, "event": "STOP"}"#,
    "\r\n",
    r#"{"event": "NEW_IN_99", "data": {"a": [1]}, "timestamp": {"seconds": -1, "microseconds": -1}}"#,
    "\n",
    r#"{"error": {"class": "GenericError", "desc": "no", "x": 1}, "id": 2, "y": null}"#,
    "\n",
    r#"{"return": null, "id": "else"}"#,
    "\n",
);

fn messages_of_conversation() -> Vec<Message> {
    let event = |name: &str, data, at| {
        Message::Event(Event {
            name: name.into(),
            data,
            at,
        })
    };
    let error = CommandError {
        class: "GenericError".into(),
        desc: "no".into(),
    };
    vec![
        Message::Greeting,
        Message::Reply {
            id: Some(1),
            result: Ok(json!({})),
        },
        event(
            "STOP",
            Value::Null,
            Some(Duration::new(1_700_000_000, 5000)),
        ),
        event("NEW_IN_99", json!({"a": [1]}), None),
        Message::Reply {
            id: Some(2),
            result: Err(error),
        },
        Message::Reply {
            id: Some(0),
            result: Ok(Value::Null),
        },
    ]
}

fn take_all(codec: &mut Codec) -> Vec<Message> {
    std::iter::from_fn(|| codec.next_message().unwrap())
        .map(|(message, _)| message)
        .collect()
}

#[test]
fn a_conversation_reads_the_same_however_it_is_cut() {
    let bytes = CONVERSATION.as_bytes();
    for size in 1..=bytes.len() {
        let mut codec = Codec::new();
        let mut messages = Vec::new();
        for piece in bytes.chunks(size) {
            codec.receive(piece);
            messages.extend(take_all(&mut codec));
        }
        assert_eq!(messages, messages_of_conversation(), "in pieces of {size}");
    }
}

#[test]
fn a_line_with_any_byte_changed_never_panics() {
    // A fixed linear congruence: the same bytes on every run.
    let mut state: u64 = 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap()
    };
    for _ in 0..5000 {
        let mut bytes = CONVERSATION.as_bytes().to_vec();
        for _ in 0..=next() % 4 {
            let at = next() % bytes.len();
            bytes[at] = u8::try_from(next() % 256).unwrap();
        }
        let mut codec = Codec::new();
        codec.receive(&bytes);
        while let Ok(Some(_)) = codec.next_message() {}
    }
}

#[test]
fn what_is_not_qmp_breaks_the_codec_for_good() {
    let deep = "[".repeat(100_000);
    for line in [
        "garbage",
        "[]",
        "{}",
        "1",
        "\"a\"",
        "{\"event\": 1}",
        "\u{0}",
        "{",
        deep.as_str(),
    ] {
        let mut codec = Codec::new();
        codec.receive(line.as_bytes());
        codec.receive(b"\n{\"return\": {}}\n");
        for _ in 0..2 {
            let kind = codec.next_message().map_err(|error| error.kind());
            assert_eq!(kind, Err(QmpErrorKind::Protocol), "{line:.20}");
        }
    }
}

#[test]
fn a_line_may_have_8_mib_and_not_a_byte_more() {
    let line_of = |len: usize| format!("{{\"event\": \"A\"}}{}\n", " ".repeat(len - 14));
    let mut codec = Codec::new();
    codec.receive(line_of(QMP_LINE_BYTES).as_bytes());
    assert_eq!(take_all(&mut codec).len(), 1);
    codec.receive(line_of(QMP_LINE_BYTES + 1).as_bytes());
    assert_eq!(
        codec.next_message().map_err(|error| error.kind()),
        Err(QmpErrorKind::Protocol)
    );
}

#[test]
fn a_line_without_end_is_refused_when_it_passes_the_limit() {
    let mut codec = Codec::new();
    let mut given = 0;
    let piece = [b'x'; 1024 * 1024];
    while codec.next_message().is_ok() {
        codec.receive(&piece);
        given += piece.len();
    }
    assert_eq!(given, QMP_LINE_BYTES + piece.len());
    assert_eq!(codec.received.capacity(), 0);
}

#[test]
fn a_command_is_one_line_with_a_new_number() {
    let mut codec = Codec::new();
    assert_eq!(
        codec.encode("quit", &Value::Null).unwrap(),
        (1, b"{\"execute\":\"quit\",\"id\":1}\n".to_vec())
    );
    let (id, line) = codec.encode("qom-list", &json!({"path": "/a\nb"})).unwrap();
    assert_eq!(id, 2);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        "{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"/a\\nb\"},\"id\":2}\n"
    );
}
