//! The record of a failure.

use serde::Serialize;

/// The answer of a call that has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ErrorRecord {
    error: Inner,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Inner {
    name: String,
    message: String,
    hint: Option<String>,
}

impl ErrorRecord {
    /// `name` for programs, `message` and `hint` for people.
    pub(crate) fn new(name: &str, message: String, hint: Option<String>) -> Self {
        Self {
            error: Inner {
                name: name.to_owned(),
                message,
                hint,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;

    #[test]
    fn an_error_has_the_shape_of_its_schema() {
        assert_answer("error", &ErrorRecord::new("X", "x".into(), None));
        assert_answer(
            "error",
            &ErrorRecord::new("X", "x".into(), Some("y".into())),
        );
    }
}
