//! What people are told where the helper has no answer, or says no.

use std::path::Path;

use vfioctl_protocol::{ClientError, RemoteError};
use vfioctl_scan::SysRoot;

use super::membership::{Membership, read_membership};
use super::{Failure, FailureKind};

/// Refusals that are no clear no: what was asked for is not there, could not be seen, is no
/// longer what it was, or is being worked on.
const COULD_NOT: [&str; 5] = [
    "UnknownAddress",
    "HeaderHidden",
    "StorageHidden",
    "Changed",
    "Busy",
];

/// How an old helper is replaced.
const RESTART: &str =
    "restart it with 'sudo systemctl restart vfioctl-helper.socket vfioctl-helper'";

impl Failure {
    /// Why a call to the helper has no answer.
    pub(crate) fn from_client(error: &ClientError, root: &SysRoot) -> Self {
        match error {
            ClientError::NotRunning(socket) => {
                // What systemd itself says a running systemd is told by: `sd_booted(3)`.
                let has_systemd = root.run.exists("systemd/system");
                unreachable("HelperNotRunning", error).hint(how_to_start(socket, has_systemd))
            }
            ClientError::NotPermitted(socket) => {
                not_permitted(error, socket, read_membership(root))
            }
            ClientError::Broken(_) => unreachable("HelperBroken", error)
                .hint("ask again; what it was doing, 'journalctl -u vfioctl-helper' says"),
            ClientError::TimedOut(_) => unreachable("HelperTimedOut", error).hint(
                "look at what it waits for: 'journalctl -u vfioctl-helper'; \
                 it finishes or undoes what it has begun",
            ),
            ClientError::Remote(remote) => from_remote(remote),
            // Malformed, and what later versions add.
            other => Self::could_not("HelperNotUnderstood", other.to_string()).hint(RESTART),
        }
    }

    /// The helper's interfaces are older than this command's.
    pub(crate) fn helper_too_old(theirs: Option<i64>) -> Self {
        let ours = vfioctl_protocol::LEVEL;
        let level = match theirs {
            Some(theirs) => format!("it knows level {theirs} of the interfaces"),
            None => "it does not know io.vfioctl.Inventory.GetVersion".to_owned(),
        };
        let what = format!(
            "the helper is older than this command: {level}, this command needs level {ours}"
        );
        Self::could_not("HelperTooOld", what).hint(RESTART)
    }
}

fn unreachable(name: &str, error: &ClientError) -> Failure {
    Failure::new(FailureKind::Unreachable, name, error.to_string()).caused_by(error)
}

fn how_to_start(socket: &Path, has_systemd: bool) -> String {
    if has_systemd {
        "start it with 'sudo systemctl start vfioctl-helper.socket'".to_owned()
    } else {
        format!(
            "start it with 'sudo vfioctl-helper --listen {}'",
            socket.display()
        )
    }
}

fn not_permitted(error: &ClientError, socket: &Path, membership: Membership) -> Failure {
    let failure = unreachable("HelperNotPermitted", error);
    match membership {
        Membership::NotInSession => failure
            .because("you are in the group 'vfioctl', but this session began before that")
            .hint("run 'newgrp vfioctl', or log in again"),
        Membership::Outside { user } => failure
            .because(format!("user '{user}' is not in the group 'vfioctl'"))
            .hint(format!(
                "run 'sudo usermod -aG vfioctl {user}', then log in again"
            )),
        Membership::NoGroup => failure.because("this machine has no group 'vfioctl'").hint(
            "make it with 'sudo groupadd --system vfioctl', then restart vfioctl-helper.socket",
        ),
        Membership::Here => failure
            .because("you are in the group 'vfioctl', but the socket or its folder keeps it out")
            .hint(format!(
                "look at 'ls -ld {}': it belongs to root:vfioctl with mode srw-rw----",
                socket.display()
            )),
    }
}

fn from_remote(remote: &RemoteError) -> Failure {
    let short = remote.name.rsplit('.').next().unwrap_or_default();
    let message = remote
        .text("message")
        .unwrap_or("the helper gave no message");
    let hint = remote.text("hint").unwrap_or_default();
    if let Some(of_varlink) = remote.name.strip_prefix("org.varlink.service.") {
        return from_varlink(of_varlink, remote);
    }
    match short {
        "Refused" => {
            let reason = remote.reason().unwrap_or("Refused");
            let kind = if COULD_NOT.contains(&reason) {
                FailureKind::CouldNot
            } else {
                FailureKind::No
            };
            Failure::new(kind, reason, message).hint(hint)
        }
        "MachineExists" => Failure::new(FailureKind::No, short, message).hint(hint),
        "NoSuchMachine" => Failure::could_not(short, message).hint(hint),
        "Failed" => {
            let undone = remote
                .parameters
                .get("undone")
                .and_then(serde_json::Value::as_bool);
            let state = match undone {
                Some(true) => "; everything is as it was before",
                Some(false) => "; not everything could be put back as it was before",
                None => "",
            };
            Failure::could_not(short, format!("{message}{state}")).hint(hint)
        }
        _ => Failure::could_not(short, format!("the helper answered '{}'", remote.name)),
    }
}

/// The errors of varlink itself (<https://varlink.org/Service>).
fn from_varlink(name: &str, remote: &RemoteError) -> Failure {
    match name {
        "InterfaceNotFound" | "MethodNotFound" | "MethodNotImplemented" => {
            let what = remote.text("method").or_else(|| remote.text("interface"));
            let what = what.unwrap_or("what it was asked");
            let text = format!("the helper is older than this command: it does not know {what}");
            Failure::could_not("HelperTooOld", text).hint(RESTART)
        }
        "InvalidParameter" => {
            let parameter = remote.text("parameter").unwrap_or("unnamed");
            let text = format!("the helper does not take what it was given: {parameter}");
            Failure::could_not("InvalidParameter", text).hint(RESTART)
        }
        "PermissionDenied" => Failure::new(
            FailureKind::No,
            "PermissionDenied",
            "the helper does not let you do that",
        )
        .hint("ask someone who may: the group 'vfioctl' may use the helper"),
        "ExpectedMore" => {
            Failure::could_not(name, "the helper expects a call that takes progress").hint(RESTART)
        }
        _ => Failure::could_not(name, format!("the helper answered '{}'", remote.name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn remote(name: &str, parameters: Value) -> Failure {
        from_remote(&RemoteError {
            name: name.to_owned(),
            parameters,
        })
    }

    #[test]
    fn a_refusal_is_a_clear_no_unless_something_was_not_there_to_see() {
        let status = |reason: &str| {
            let parameters = json!({"reason": reason, "message": "m", "hint": "h"});
            remote("io.vfioctl.Device.Refused", parameters)
                .verdict()
                .status()
        };
        for reason in [
            "Claimed",
            "NeededByHost",
            "Bridge",
            "NoGroup",
            "NotOwner",
            "InMachine",
        ] {
            assert_eq!(status(reason), 1, "{reason}");
        }
        for reason in COULD_NOT {
            assert_eq!(status(reason), 2, "{reason}");
        }
    }

    #[test]
    fn a_refusal_keeps_the_words_of_the_helper() {
        let parameters = json!({"reason": "NoGroup", "message": "no group", "hint": "do it"});
        assert_eq!(
            remote("io.vfioctl.Device.Refused", parameters).text(),
            "vfioctl: no group\n  try: do it\n"
        );
    }

    #[test]
    fn a_failure_says_whether_it_was_undone() {
        let text = |undone: bool| {
            let parameters = json!({"message": "bind failed", "hint": "", "undone": undone});
            remote("io.vfioctl.Machine.Failed", parameters).text()
        };
        assert_eq!(
            text(true),
            "vfioctl: bind failed; everything is as it was before\n"
        );
        assert_eq!(
            text(false),
            "vfioctl: bind failed; not everything could be put back as it was before\n"
        );
    }

    #[test]
    fn a_method_the_helper_does_not_have_means_an_old_helper() {
        let parameters = json!({"method": "io.vfioctl.Device.Bind"});
        assert_eq!(
            remote("org.varlink.service.MethodNotFound", parameters).text(),
            "vfioctl: the helper is older than this command: it does not know \
             io.vfioctl.Device.Bind\n  try: restart it with \
             'sudo systemctl restart vfioctl-helper.socket vfioctl-helper'\n"
        );
    }

    #[test]
    fn each_way_to_be_kept_out_has_its_own_way_in() {
        let socket = Path::new("/run/vfioctl/helper.sock");
        let text = |membership| {
            let error = ClientError::NotPermitted(socket.to_owned());
            not_permitted(&error, socket, membership).text()
        };
        assert_eq!(
            text(Membership::NotInSession),
            "vfioctl: you may not use the helper's socket '/run/vfioctl/helper.sock'\n  \
             because: you are in the group 'vfioctl', but this session began before that\n  \
             try: run 'newgrp vfioctl', or log in again\n"
        );
        assert_eq!(
            text(Membership::Outside { user: "ann".into() }),
            "vfioctl: you may not use the helper's socket '/run/vfioctl/helper.sock'\n  \
             because: user 'ann' is not in the group 'vfioctl'\n  \
             try: run 'sudo usermod -aG vfioctl ann', then log in again\n"
        );
    }

    #[test]
    fn without_systemd_the_helper_is_started_by_hand() {
        let socket = Path::new("/s");
        assert_eq!(
            how_to_start(socket, true),
            "start it with 'sudo systemctl start vfioctl-helper.socket'"
        );
        assert_eq!(
            how_to_start(socket, false),
            "start it with 'sudo vfioctl-helper --listen /s'"
        );
    }
}
