//! The log: one line a change, for the administrator.
//!
//! Lines go to standard error; under systemd they carry a priority in the journal's form
//! (`sd-daemon(3)`).

use std::fmt::Display;

use crate::peer::Peer;

/// Who asked for what on which object, and what came of it.
pub(crate) fn record(peer: &Peer, verb: &str, object: &dyn Display, outcome: &str) {
    let level = if outcome == "done" { 6 } else { 5 };
    line(
        level,
        &format!(
            "uid={} verb={verb} object={object} outcome={outcome}",
            peer.uid
        ),
    );
}

/// A change of state that an administrator wants to know of.
pub(crate) fn info(text: &str) {
    line(6, text);
}

/// Something odd that is passed over.
pub(crate) fn warning(text: &str) {
    line(4, text);
}

/// An action that did not happen.
pub(crate) fn error(text: &str) {
    line(3, text);
}

fn line(level: u8, text: &str) {
    use std::io::Write as _;
    // Text of callers may be in the line: nothing in it may begin another one.
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    // A log that cannot be written must not stop the helper.
    let _ = writeln!(std::io::stderr().lock(), "<{level}>{text}");
}
