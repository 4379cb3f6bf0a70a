//! What an error of etcd's means: above all, whether something was done.

use std::error::Error as StdError;

use etcd_client::Error as EtcdError;
use tonic::{Code, ConnectError, Status};

use crate::{Error, ErrorKind};

/// What an error means where nothing was to be changed.
pub(super) fn of_read(error: EtcdError) -> Error {
    let kind = kind(&error).unwrap_or(ErrorKind::Unavailable);
    Error::new(kind, what(kind)).caused_by(error)
}

/// What an error means where something was to be changed: unless it is sure that it was not, it may
/// have been, and only the answer was lost.
pub(super) fn of_write(error: EtcdError) -> Error {
    let kind = kind(&error).unwrap_or(ErrorKind::Unknown);
    Error::new(kind, what(kind)).caused_by(error)
}

/// Whether another member may take what this one did not: there was no connection to it, or it has
/// lost the others. Nothing was done for sure.
pub(super) fn is_of_one_member(error: &EtcdError) -> bool {
    match error {
        EtcdError::GRpcStatus(status) => has_no_leader(status) || is_unconnected(status),
        EtcdError::TransportError(error) => is_unconnected(error),
        _ => false,
    }
}

/// That a change was not answered in time.
pub(super) fn unanswered() -> Error {
    Error::new(ErrorKind::Unknown, what(ErrorKind::Unknown))
}

/// That a question was not answered in time.
pub(super) fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, what(ErrorKind::Unavailable))
}

/// Whether what was asked for is more than fits into a message.
pub(super) fn is_too_long(error: &EtcdError) -> bool {
    // The words are tonic's, for what the server sent.
    let words = "message length too large";
    matches!(error, EtcdError::GRpcStatus(status)
        if status.code() == Code::OutOfRange && status.message().contains(words))
}

/// What it is for sure; `None` where that cannot be told.
fn kind(error: &EtcdError) -> Option<ErrorKind> {
    match error {
        EtcdError::GRpcStatus(status) => kind_of_status(status),
        EtcdError::TransportError(error) if is_unconnected(error) => Some(ErrorKind::Unavailable),
        EtcdError::InvalidArgs(_) | EtcdError::InvalidUri(_) => Some(ErrorKind::Refused),
        // The client's words for a lease with no time left (`LeaseClient::keep_alive`).
        EtcdError::LeaseKeepAliveError(words) if words == "lease not found" => {
            Some(ErrorKind::LeaseGone)
        }
        _ => None,
    }
}

/// Codes and words are those of etcd's `api/v3rpc/rpctypes/error.go`.
fn kind_of_status(status: &Status) -> Option<ErrorKind> {
    let says = |words: &str| status.message().contains(words);
    match status.code() {
        Code::NotFound if says("lease not found") => Some(ErrorKind::LeaseGone),
        Code::OutOfRange if says("revision") => Some(ErrorKind::Compacted),
        Code::OutOfRange if says("too large lease TTL") => Some(ErrorKind::TooLarge),
        Code::InvalidArgument if says("too large") || says("too many operations") => {
            Some(ErrorKind::TooLarge)
        }
        // A wrong password, or none where one is needed.
        Code::InvalidArgument if says("user") => Some(ErrorKind::Refused),
        Code::Unauthenticated | Code::PermissionDenied => Some(ErrorKind::Refused),
        // Its database is full, or too much waits to be decided.
        Code::ResourceExhausted => Some(ErrorKind::Unavailable),
        _ if has_no_leader(status) || is_unconnected(status) => Some(ErrorKind::Unavailable),
        _ => None,
    }
}

/// This is told before anything is decided, to those who require a leader.
fn has_no_leader(status: &Status) -> bool {
    status.code() == Code::Unavailable && status.message() == "etcdserver: no leader"
}

/// Whether there was no connection, so that nothing was sent.
fn is_unconnected(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn what(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unknown => "etcd did not answer, and may have made the change",
        ErrorKind::Unavailable => "etcd does not answer",
        ErrorKind::LeaseGone => "the lease has ended",
        ErrorKind::Compacted => "etcd no longer knows the changes after that revision",
        ErrorKind::TooLarge => "etcd does not take so much at once",
        _ => "etcd refuses; look whether the certificate, or user and password, may do this there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: Code, message: &str) -> EtcdError {
        EtcdError::GRpcStatus(Status::new(code, message))
    }

    #[test]
    fn what_may_have_been_done_is_unknown() {
        for error in [
            status(Code::Unavailable, "etcdserver: request timed out"),
            status(Code::Unavailable, "etcdserver: leader changed"),
            status(Code::Unavailable, "error reading a body from connection"),
            status(Code::Cancelled, "Timeout expired"),
            status(Code::DeadlineExceeded, ""),
            status(Code::Unknown, "transport error"),
            status(Code::Internal, "h2 protocol error"),
            EtcdError::Internal("new".into()),
        ] {
            assert_eq!(of_write(error).kind(), ErrorKind::Unknown);
        }
    }

    #[test]
    fn what_was_refused_was_not_done() {
        let message = "etcdserver: mvcc: database space exceeded";
        for (error, kind) in [
            (
                status(Code::ResourceExhausted, message),
                ErrorKind::Unavailable,
            ),
            (
                status(Code::Unavailable, "etcdserver: no leader"),
                ErrorKind::Unavailable,
            ),
            (
                status(Code::NotFound, "etcdserver: requested lease not found"),
                ErrorKind::LeaseGone,
            ),
            (
                status(Code::InvalidArgument, "etcdserver: request is too large"),
                ErrorKind::TooLarge,
            ),
            (
                status(Code::InvalidArgument, "etcdserver: user name is empty"),
                ErrorKind::Refused,
            ),
            (
                status(Code::PermissionDenied, "etcdserver: permission denied"),
                ErrorKind::Refused,
            ),
            (
                status(
                    Code::OutOfRange,
                    "etcdserver: mvcc: required revision has been compacted",
                ),
                ErrorKind::Compacted,
            ),
            (
                EtcdError::LeaseKeepAliveError("lease not found".into()),
                ErrorKind::LeaseGone,
            ),
        ] {
            let text = error.to_string();
            assert_eq!(of_write(error).kind(), kind, "{text}");
        }
    }
}
