//! What `vfioctl` answered.

use std::fmt;

use serde_json::Value;

/// What `vfioctl --json` answered.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Answer {
    /// Exit status.
    pub status: i32,
    /// Standard output as JSON; null where it was empty.
    pub json: Value,
}

impl Answer {
    /// Takes an exit status and standard output.
    pub(crate) fn new(status: i32, stdout: &str) -> Self {
        let json = match stdout.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .unwrap_or_else(|error| panic!("no JSON ({error}): {text}")),
        };
        Self { status, json }
    }

    /// The answer of a call that is to succeed.
    ///
    /// # Panics
    /// Where it did not.
    #[track_caller]
    pub fn done(self) -> Value {
        assert_eq!(self.status, 0, "{self}");
        self.json
    }

    /// Makes sure that the call was refused, or failed, with this exit status and error name.
    ///
    /// # Panics
    /// Where it was not.
    #[track_caller]
    pub fn fails(&self, status: i32, name: &str) {
        let found = self.json["error"]["name"].as_str().unwrap_or("no error");
        assert_eq!((self.status, found), (status, name), "{self}");
    }

    /// The message of the error.
    pub fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }

    /// Texts of a list: `texts("/members")`.
    pub fn texts(&self, pointer: &str) -> Vec<String> {
        let list = self.json.pointer(pointer).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit status {}: {:#}", self.status, self.json)
    }
}
