//! Errors as they are answered: named, in the interface that was called.

use serde_json::json;
use varlink::{CallTrait, Reply};

use crate::MethodError;

/// Answers a call with an error.
pub(super) fn reply_error(
    call: &mut dyn CallTrait,
    interface: &str,
    error: MethodError,
) -> varlink::Result<()> {
    let (name, parameters) = match error {
        MethodError::InvalidParameter(error) => {
            return call.reply_invalid_parameter(error.to_string());
        }
        MethodError::Refused {
            reason,
            message,
            hint,
        } => (
            "Refused",
            json!({ "reason": reason, "message": message, "hint": hint }),
        ),
        MethodError::Failed {
            message,
            hint,
            undone,
        } => (
            "Failed",
            json!({ "message": message, "hint": hint, "undone": undone }),
        ),
        MethodError::NoSuchMachine(name) => {
            let message = format!("you have no machine '{name}'");
            let hint = "run 'vfioctl vm list' to see your machines";
            (
                "NoSuchMachine",
                json!({ "name": name, "message": message, "hint": hint }),
            )
        }
        MethodError::MachineExists(name) => {
            let message = format!("you have a machine '{name}' already");
            let hint = format!("choose another name, or forget it with 'vfioctl vm rm {name}'");
            (
                "MachineExists",
                json!({ "name": name, "message": message, "hint": hint }),
            )
        }
        MethodError::NoSuchContainer(name) => {
            let message = format!("you have no claim for a container '{name}'");
            let hint = "run 'vfioctl list --all --json' to see all claims";
            (
                "NoSuchContainer",
                json!({ "name": name, "message": message, "hint": hint }),
            )
        }
        MethodError::ContainerExists(name) => {
            let message = format!(
                "you have a claim for a container '{name}', of other functions or in another mode"
            );
            let hint = "end that claim first, or choose another name";
            (
                "ContainerExists",
                json!({ "name": name, "message": message, "hint": hint }),
            )
        }
    };
    call.reply_struct(Reply::error(
        format!("{interface}.{name}"),
        Some(parameters),
    ))
}
