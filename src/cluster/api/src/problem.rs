//! Problems: why something was not done, for people and for programs.
//!
//! The form is that of RFC 9457 in spirit, with the words of this project: what and why in
//! `message`, what to try in `hint`, and a `code` that programs can go by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// For programs; never changes.
    pub code: ProblemCode,
    /// What, and because of what, as a sentence.
    pub message: String,
    /// What to try; begins with a verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ProblemCode {
    /// What was sent is not what is asked for.
    BadRequest,
    /// Nobody said who asks, or not truly.
    NotAuthenticated,
    /// Who asks may not.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The name belongs to more than one.
    Ambiguous,
    /// It is there already.
    Exists,
    /// It cannot be done in this state.
    WrongState,
    /// Somebody else has it.
    Taken,
    /// No node could ever do it.
    Impossible,
    /// No node can do it now.
    NoRoom,
    /// The node is not there.
    NodeOffline,
    /// More than is taken at once.
    TooMuch,
    /// The other side must begin anew: register again.
    SessionEnded,
    /// What all is kept in does not answer.
    StoreUnavailable,
    /// A defect of the host.
    Internal,
}

impl ProblemCode {
    /// The status of HTTP that goes with it (RFC 9110, section 15).
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NotAuthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Ambiguous | Self::Exists | Self::WrongState | Self::Taken | Self::NoRoom => 409,
            Self::SessionEnded => 410,
            Self::TooMuch => 429,
            Self::Impossible => 422,
            Self::NodeOffline | Self::StoreUnavailable => 503,
            Self::Internal => 500,
        }
    }

    /// Whether it is a clear no: asking again in a minute will not change it.
    pub fn is_no(self) -> bool {
        matches!(
            self,
            Self::Forbidden
                | Self::Exists
                | Self::WrongState
                | Self::Taken
                | Self::Impossible
                | Self::NoRoom
        )
    }
}

impl Problem {
    /// A problem.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with what to try.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
