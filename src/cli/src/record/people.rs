//! Records of users, tokens, and what was done.

use serde::Serialize;
use vfioctl_api::{AuditLine, NewToken, TokenView, User, WhoAmI};

use super::task::seconds;

/// `vfioctl login`, `logout`, `whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum LoginRecord {
    /// `login`, `whoami`.
    In {
        /// The host.
        host: String,
        /// What tells the authority that is trusted.
        authority: String,
        /// Who asks.
        user: String,
        /// What they may.
        role: &'static str,
        /// The file that says so; null: the command line and the environment do.
        file: Option<String>,
    },
    /// `logout`.
    Out {
        /// The file that is removed; null: there was none.
        forgotten: Option<String>,
    },
}

/// `vfioctl user`, `token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum UsersRecord {
    /// `user list`.
    Many {
        /// The users.
        users: Vec<UserRecord>,
    },
    /// `user add`.
    One {
        /// The user.
        user: UserRecord,
    },
    /// `user token`.
    Token {
        /// The token.
        token: NewTokenRecord,
    },
    /// `user rm`.
    Removed {
        /// Name of the user who is removed.
        removed: String,
    },
    /// `token revoke`.
    Revoked {
        /// ID of the token that is none any more.
        revoked: String,
    },
}

/// A user of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UserRecord {
    /// The name.
    pub(crate) name: String,
    /// What they may.
    pub(crate) role: &'static str,
    /// Since when, in seconds since 1970.
    pub(crate) created: u64,
    /// Their tokens.
    pub(crate) tokens: Vec<TokenRecord>,
}

/// A token, without what makes it one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TokenRecord {
    /// Its ID.
    pub(crate) id: String,
    /// What it is for.
    pub(crate) note: Option<String>,
    /// Since when it is one.
    pub(crate) created: u64,
    /// Until when; null: for ever.
    pub(crate) expires: Option<u64>,
}

/// A new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NewTokenRecord {
    /// Its ID.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) user: String,
    /// The token itself, once.
    pub(crate) token: String,
    /// Until when; null: for ever.
    pub(crate) expires: Option<u64>,
}

/// `vfioctl audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AuditLinesRecord {
    /// The lines, the latest last.
    pub(crate) lines: Vec<AuditLineRecord>,
}

/// A change that somebody made, or was not let make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AuditLineRecord {
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// Who.
    pub(crate) who: String,
    /// From where.
    pub(crate) from: String,
    /// What.
    pub(crate) verb: String,
    /// On what.
    pub(crate) object: Option<String>,
    /// `done`, or a problem's code.
    pub(crate) outcome: String,
}

impl LoginRecord {
    /// Who asks a host.
    pub(crate) fn of(me: WhoAmI, access: &crate::cluster::Access) -> Self {
        Self::In {
            host: access.host.to_string(),
            authority: access.authority.fingerprint().to_string(),
            user: me.user.into(),
            role: me.role.name(),
            file: access.file.as_ref().map(|file| file.display().to_string()),
        }
    }
}

impl From<User> for UserRecord {
    fn from(user: User) -> Self {
        Self {
            name: user.name.into(),
            role: user.role.name(),
            created: seconds(user.created),
            tokens: user.tokens.into_iter().map(TokenRecord::from).collect(),
        }
    }
}

impl From<TokenView> for TokenRecord {
    fn from(view: TokenView) -> Self {
        Self {
            id: view.id,
            note: view.note,
            created: seconds(view.created),
            expires: view.expires.map(seconds),
        }
    }
}

impl From<NewToken> for NewTokenRecord {
    fn from(new: NewToken) -> Self {
        Self {
            id: new.view.id,
            user: new.user.into(),
            token: new.token,
            expires: new.view.expires.map(seconds),
        }
    }
}

impl From<AuditLine> for AuditLineRecord {
    fn from(line: AuditLine) -> Self {
        Self {
            at: seconds(line.at),
            who: line.who,
            from: line.from,
            verb: line.verb,
            object: line.object,
            outcome: line.outcome,
        }
    }
}
