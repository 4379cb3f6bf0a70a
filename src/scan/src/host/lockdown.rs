//! `/sys/kernel/security/lockdown`: what the kernel keeps from root (since 5.4).
//!
//! The file reads `none [integrity] confidentiality`. It is absent where the kernel was made
//! without lockdown, and also where securityfs is not mounted, as in containers.

use vfioctl_core::Answer;
use vfioctl_core::check::Lockdown;

use crate::SysRoot;

const FOLDER: &str = "kernel/security";

/// Reads what the kernel keeps from root; `None` where it was made without lockdown.
pub fn read_lockdown(root: &SysRoot) -> Answer<Option<Lockdown>> {
    match root.sys.read_text(&format!("{FOLDER}/lockdown")) {
        Ok(Some(text)) => parse_lockdown(&text)
            .map_or(Answer::CannotSee, |lockdown| Answer::Known(Some(lockdown))),
        // A mounted securityfs always has something in it ('lsm').
        Ok(None)
            if root
                .sys
                .list(FOLDER)
                .is_ok_and(|names| names.is_some_and(|n| !n.is_empty())) =>
        {
            Answer::Known(None)
        }
        Ok(None) | Err(_) => Answer::CannotSee,
    }
}

fn parse_lockdown(text: &str) -> Option<Lockdown> {
    let (_, rest) = text.split_once('[')?;
    let (level, _) = rest.split_once(']')?;
    match level {
        "none" => Some(Lockdown::None),
        "integrity" => Some(Lockdown::Integrity),
        "confidentiality" => Some(Lockdown::Confidentiality),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_in_brackets_is_the_one_in_force() {
        assert_eq!(
            parse_lockdown("none [integrity] confidentiality"),
            Some(Lockdown::Integrity)
        );
        assert_eq!(
            parse_lockdown("[none] integrity confidentiality"),
            Some(Lockdown::None)
        );
        assert_eq!(parse_lockdown("none integrity"), None);
    }
}
