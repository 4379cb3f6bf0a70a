//! As much of D-Bus as it takes to ask systemd to start a unit.
//!
//! D-Bus Specification 0.40: authentication `EXTERNAL`, message format, marshalling. Only what
//! goes to and comes from process 1 is here; what comes is bounded and checked like anything else.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::limits::MAX_DBUS_BYTES;

/// A value to send.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    U32(u32),
    U64(u64),
    /// Elements of the type that is named.
    Array(&'static str, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    fn signature(&self) -> String {
        match self {
            Self::Text(_) => "s".into(),
            Self::Bool(_) => "b".into(),
            Self::U32(_) => "u".into(),
            Self::U64(_) => "t".into(),
            Self::Array(of, _) => format!("a{of}"),
            Self::Struct(fields) => {
                format!(
                    "({})",
                    fields.iter().map(Self::signature).collect::<String>()
                )
            }
            Self::Variant(_) => "v".into(),
        }
    }
}

/// Why a call has no reply.
#[derive(Debug)]
pub(super) enum CallError {
    Io(io::Error),
    /// The other side answered with an error: its name and its words.
    Remote(String, String),
    /// What came is no reply.
    Malformed,
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Remote(name, words) if words.is_empty() => f.write_str(name),
            Self::Remote(_, words) => f.write_str(words),
            Self::Malformed => f.write_str("its answer is not understood"),
        }
    }
}

/// Marshalled bytes (section "Marshaling"): everything is aligned to its own size.
#[derive(Debug, Default)]
struct Marshalled(Vec<u8>);

impl Marshalled {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    /// Lengths here are those of our own messages, far below 4 GiB.
    fn len(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        self.len(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0
            .push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text(text),
            Value::Bool(flag) => self.u32(u32::from(*flag)),
            Value::U32(number) => self.u32(*number),
            Value::U64(number) => {
                self.align(8);
                self.0.extend(number.to_le_bytes());
            }
            Value::Array(of, elements) => self.array(of, elements),
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|field| self.value(field));
            }
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }

    fn array(&mut self, of: &str, elements: &[Value]) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        // The padding before the first element is not part of the length.
        self.align(if of.starts_with(['(', '{', 't']) {
            8
        } else {
            4
        });
        let start = self.0.len();
        elements.iter().for_each(|element| self.value(element));
        let len = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        if let Some(slot) = self.0.get_mut(length_at..length_at + 4) {
            slot.copy_from_slice(&len.to_le_bytes());
        }
    }

    /// A header field: its code, then a variant of `signature`.
    fn header_field(&mut self, code: u8, signature: &str, text: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(signature);
        if signature == "g" {
            self.signature(text)
        } else {
            self.text(text)
        }
    }
}

/// The body of a reply.
#[derive(Debug)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    fn u32_at(&self, at: usize) -> Option<u32> {
        read_u32(&self.0, at)
    }

    fn text_at(&self, at: usize) -> Option<String> {
        let len = usize::try_from(self.u32_at(at)?).ok()?;
        let bytes = self.0.get(at + 4..(at + 4).checked_add(len)?)?;
        String::from_utf8(bytes.to_vec()).ok()
    }

    /// The object path that the body is.
    pub(super) fn object_path(&self) -> Option<String> {
        self.text_at(0)
    }

    /// The number in the variant that the body is.
    pub(super) fn variant_u32(&self) -> Option<u32> {
        // Signature "u": its length 1, 'u', NUL; then the number, aligned to four.
        (self.0.get(..3)? == [1, b'u', 0])
            .then(|| self.u32_at(4))
            .flatten()
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at.checked_add(4)?)?
        .try_into()
        .ok()
        .map(u32::from_le_bytes)
}

/// A connection to one other side, without a bus between.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    serial: u32,
}

impl Connection {
    /// Connects and authenticates as the user that this process is. `timeout` bounds each wait.
    pub(super) fn open(socket: &Path, timeout: Duration) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte)?;
            line.extend(byte);
            if line.len() > 1024 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.write_all(b"BEGIN\r\n")?;
        Ok(Self { stream, serial: 0 })
    }

    /// Calls a method and waits for its reply; signals that come between are passed over.
    pub(super) fn call(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        arguments: &[Value],
    ) -> Result<Reply, CallError> {
        self.serial += 1;
        let mut body = Marshalled::default();
        arguments.iter().for_each(|argument| body.value(argument));
        let signature: String = arguments.iter().map(Value::signature).collect();
        let mut fields = Marshalled::default();
        fields.header_field(1, "o", path);
        fields.header_field(2, "s", interface);
        fields.header_field(3, "s", member);
        fields.header_field(6, "s", destination);
        if !signature.is_empty() {
            fields.header_field(8, "g", &signature);
        }
        // Little endian, method call, no flags, protocol version 1.
        let mut message = Marshalled(vec![b'l', 1, 0, 1]);
        message.len(body.0.len());
        message.u32(self.serial);
        message.len(fields.0.len());
        message.0.extend(fields.0);
        message.align(8);
        message.0.extend(body.0);
        self.stream.write_all(&message.0)?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply, CallError> {
        // As many messages as systemd could send between question and answer, and then some.
        for _ in 0..10_000 {
            let message = self.message()?;
            if message.reply_serial != Some(self.serial) {
                continue;
            }
            return match message.kind {
                2 => Ok(Reply(message.body)),
                3 => {
                    let words = Reply(message.body).text_at(0).unwrap_or_default();
                    Err(CallError::Remote(
                        message.error_name.unwrap_or_default(),
                        words,
                    ))
                }
                _ => continue,
            };
        }
        Err(CallError::Malformed)
    }

    fn message(&mut self) -> Result<Message, CallError> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let number = |at| read_u32(&head, at).and_then(|n| usize::try_from(n).ok());
        let [b'l', kind, ..] = head else {
            return Err(CallError::Malformed);
        };
        let (Some(body_len), Some(fields_len)) = (number(4), number(12)) else {
            return Err(CallError::Malformed);
        };
        if body_len > MAX_DBUS_BYTES || fields_len > MAX_DBUS_BYTES {
            return Err(CallError::Malformed);
        }
        let mut fields = vec![0; fields_len.next_multiple_of(8)];
        self.stream.read_exact(&mut fields)?;
        fields.truncate(fields_len);
        let mut body = vec![0; body_len];
        self.stream.read_exact(&mut body)?;
        let mut message = Message {
            kind,
            body,
            reply_serial: None,
            error_name: None,
        };
        message.read_fields(&fields).ok_or(CallError::Malformed)?;
        Ok(message)
    }
}

#[derive(Debug)]
struct Message {
    kind: u8,
    body: Vec<u8>,
    reply_serial: Option<u32>,
    error_name: Option<String>,
}

impl Message {
    /// Header fields: code, variant; aligned to eight. The field array begins at offset 16, so
    /// offsets within it are aligned as those of the message.
    fn read_fields(&mut self, fields: &[u8]) -> Option<()> {
        let mut at = 0;
        while at < fields.len() {
            let code = *fields.get(at)?;
            let kind = *fields.get(at + 2)?;
            // Length 1, the type, NUL: every header field has a type of one letter.
            let value = (at + 4).next_multiple_of(4);
            let end = match kind {
                b'u' => {
                    if code == 5 {
                        self.reply_serial = Some(read_u32(fields, value)?);
                    }
                    value + 4
                }
                b's' | b'o' => {
                    let len = usize::try_from(read_u32(fields, value)?).ok()?;
                    let text = fields.get(value + 4..(value + 4).checked_add(len)?)?;
                    if code == 4 {
                        self.error_name = Some(String::from_utf8_lossy(text).into_owned());
                    }
                    value + 4 + len + 1
                }
                b'g' => at + 4 + usize::from(*fields.get(at + 4)?) + 2,
                _ => return None,
            };
            at = end.next_multiple_of(8);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned_as_the_specification_says() {
        let mut bytes = Marshalled::default();
        let property = Value::Struct(vec![
            Value::Text("A".into()),
            Value::Variant(Box::new(Value::U64(7))),
        ]);
        bytes.value(&Value::Array("(sv)", vec![property]));
        let expected = [
            24, 0, 0, 0, 0, 0, 0, 0, // length without padding, padding to the struct
            1, 0, 0, 0, b'A', 0, // text
            1, b't', 0, 0, 0, 0, 0, 0, 0, 0, // signature, padding to the number
            7, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(bytes.0, expected);
        assert_eq!(Value::Array("(sasb)", Vec::new()).signature(), "a(sasb)");
    }

    #[test]
    fn hostile_header_fields_end_in_an_error_and_not_in_a_panic() {
        let empty = || Message {
            kind: 2,
            body: Vec::new(),
            reply_serial: None,
            error_name: None,
        };
        assert_eq!(empty().read_fields(&[]), Some(()));
        for byte in 0..=255 {
            for len in [1, 3, 4, 7, 8, 9, 64] {
                let _ = empty().read_fields(&vec![byte; len]);
            }
        }
        let huge = [4, 1, b's', 0, 0xff, 0xff, 0xff, 0xff, 0];
        assert_eq!(empty().read_fields(&huge), None);
    }
}
