//! `vfioctl user` and `token`: what may be typed.

use clap::{Args, Subcommand};
use vfioctl_api::{Role, UserName};

use super::duration::DurationArgument;
use crate::cluster::TokenId;

/// What to do with users of the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// List users, with their tokens.
    List,
    /// Add a user; 'user token' then makes a token for them.
    Add {
        #[command(flatten)]
        user: OneUser,
        /// What they may: viewer, user, operator or admin, each what the ones before it may.
        #[arg(long, value_name = "ROLE")]
        role: Role,
    },
    /// Remove a user and their tokens; their tasks go on.
    Rm(OneUser),
    /// Make a token, and print it this once.
    ///
    /// It is what 'vfioctl login' asks for. Everybody makes tokens for themselves, an administrator
    /// for anybody.
    Token {
        #[command(flatten)]
        user: OneUser,
        /// How long it is one: 12h, 30d; for ever without this.
        #[arg(long, value_name = "TIME")]
        valid: Option<DurationArgument>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

/// The user that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct OneUser {
    /// Name of the user.
    #[arg(value_name = "USER")]
    pub(crate) user: UserName,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token worth nothing.
    Revoke {
        /// ID of the token, as 'vfioctl user list' shows it; it stands in the token itself too.
        #[arg(value_name = "ID")]
        token: TokenId,
    },
}
