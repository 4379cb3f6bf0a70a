//! SSH into a container: a server of the runner's own, so that any image can be reached, without a
//! server or a network in it.
//!
//! Each task has a port, a host key and the public keys of its submission. A session is an `exec` in the
//! container, with what its image has: `/bin/bash` or `/bin/sh`, and `sftp-server` for files.

mod door;
mod farewell;
mod guest;
mod host_key;
mod input;
mod introduction;
mod process;
mod throttle;
mod wish;

pub(super) use door::{Door, Place};
pub(super) use host_key::HostKey;
pub(super) use process::Room;

use russh::keys::PublicKey;

/// The user that clients are told to log in as. Sessions run as the container's own user, whatever they
/// call themselves.
pub(super) const USER: &str = "root";

/// The keys that may come in.
///
/// # Errors
/// Where none of them can be used, as a sentence.
pub(super) fn parse_keys(lines: &[String]) -> Result<Vec<PublicKey>, String> {
    let usable = |key: &PublicKey| {
        use russh::keys::Algorithm;
        matches!(
            key.algorithm(),
            Algorithm::Ed25519
                | Algorithm::Ecdsa { .. }
                | Algorithm::SkEd25519
                | Algorithm::SkEcdsaSha2NistP256
        )
    };
    let keys: Vec<PublicKey> = lines
        .iter()
        .filter_map(|line| PublicKey::from_openssh(line).ok())
        .filter(usable)
        .collect();
    if keys.is_empty() {
        return Err("none of its SSH keys can be used: give one of Ed25519 or ECDSA ('ssh-keygen -t ed25519')".into());
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a@b";

    #[test]
    fn of_several_keys_those_are_taken_that_can_be_used() {
        let lines = [
            ED25519.to_owned(),
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ".into(),
        ];
        assert_eq!(parse_keys(&lines).map(|keys| keys.len()), Ok(1));
        assert!(parse_keys(&lines[1..]).is_err());
        assert!(parse_keys(&[]).is_err());
    }
}
