//! Access: who users and nodes are, and what each may.

use serde::{Deserialize, Serialize};

use crate::{Moment, NodeName, UserName};

/// What a user may. Each role may what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Look at nodes, GPUs and tasks.
    Viewer,
    /// Submit work, and end one's own.
    User,
    /// End the work of others, drain nodes.
    Operator,
    /// Users, tokens, nodes.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::User, Self::Operator, Self::Admin];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let role = Self::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or("a role is one of viewer, user, operator, admin")
    }
}

/// A user of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// The name.
    pub name: UserName,
    /// What the user may.
    pub role: Role,
    /// Since when.
    pub created: Moment,
    /// The tokens that are known of the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenView>,
}

/// A token, without what makes it one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// Names it, for revoking.
    pub id: String,
    /// What it is for, in the user's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was made.
    pub created: Moment,
    /// When it ends to be one; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
}

/// A user that shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AddUser {
    /// The name.
    pub name: UserName,
    /// What the user may.
    pub role: Role,
}

/// A token that shall be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How long it is one, in seconds; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_s: Option<u64>,
}

/// A new token: shown once, and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewToken {
    /// What is known of it later.
    #[serde(flatten)]
    pub view: TokenView,
    /// Whose it is.
    pub user: UserName,
    /// The token itself.
    pub token: String,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WhoAmI {
    /// The name.
    pub user: UserName,
    /// What the user may.
    pub role: Role,
}

/// That a node shall join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinTokenRequest {
    /// Its name.
    pub node: NodeName,
    /// How long the token can be used, in seconds; absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_s: Option<u64>,
}

/// A token with which one node can join, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinToken {
    /// The node.
    pub node: NodeName,
    /// The token, with the fingerprint of the authority that the node shall trust.
    pub token: String,
    /// When it ends to be one.
    pub expires: Moment,
}

/// A node joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enrolment {
    /// The token that it was given.
    pub token: String,
    /// A certificate signing request, in PEM; its key never leaves the node.
    pub request: String,
}

/// A node has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enrolled {
    /// Its name.
    pub node: NodeName,
    /// Its certificate, in PEM.
    pub certificate: String,
    /// The authority's, in PEM.
    pub authority: String,
}

/// What answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// The program's version.
    pub version: String,
    /// The API's version.
    pub api: String,
}

/// A change that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditLine {
    /// When.
    pub at: Moment,
    /// Who: a user, or `node NAME`; a dash where nobody proved to be anybody.
    pub who: String,
    /// From where.
    pub from: String,
    /// What: `POST /v1/tasks`.
    pub verb: String,
    /// On what, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What came of it: `done`, or a problem's code.
    pub outcome: String,
}
