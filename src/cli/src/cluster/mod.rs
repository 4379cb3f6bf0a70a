//! The cluster, seen from the command.
//!
//! `access` finds out which host is asked, whom to trust there and what shows who asks: from the
//! command line, the environment, or a `cluster_file` in one of the user's `places`. `connection`
//! speaks HTTPS, and `host` has a method for each thing that can be asked of a cluster. What a host
//! tells as it happens comes as an `event_stream`, and `follow` goes on with it over a restart of the
//! host, with `patience`. Why there is no answer is a `host_error`; where a certificate was not
//! trusted, `presented` finds out which one it was.

mod access;
mod authority;
mod cluster_file;
mod completion;
mod connection;
mod event_stream;
mod follow;
mod host;
mod host_error;
mod host_url;
mod named;
mod patience;
mod places;
mod presented;

pub(crate) use access::{Access, InvalidToken, Named, Token, find_access, read_authority};
pub(crate) use authority::{Authority, Fingerprint, NoCertificate};
pub(crate) use cluster_file::{ClusterFile, read_text, write_private};
pub(crate) use completion::{complete_node, complete_state, complete_target, complete_task};
pub(crate) use connection::{Times, read_authority_unproved};
pub(crate) use follow::{Look, follow_task};
pub(crate) use host::{Host, LogPart};
pub(crate) use host_error::{Distrust, HostError, HostErrorKind, HostProblem, WhyDistrusted};
pub(crate) use host_url::{HostUrl, InvalidHostUrl};
pub(crate) use named::{TaskReference, TokenId};
pub(crate) use patience::Patience;
pub(crate) use places::Places;
