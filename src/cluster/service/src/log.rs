//! The log: one line for what an administrator wants to know, on standard error. Under systemd it
//! carries a priority in the journal's form (`sd-daemon(3)`).

use std::sync::atomic::{AtomicBool, Ordering};

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Says nothing from now on: for simulations, whose thousands of hosts and runners have much to say.
pub fn keep_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// A change of state that an administrator wants to know of.
pub fn info(text: &str) {
    line(6, text);
}

/// Something odd that is passed over.
pub fn warning(text: &str) {
    line(4, text);
}

/// An action that did not happen.
pub fn error(text: &str) {
    line(3, text);
}

fn line(level: u8, text: &str) {
    use std::io::Write as _;
    if IS_QUIET.load(Ordering::Relaxed) {
        return;
    }
    // Text of others may be in the line: nothing in it may begin another one.
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    // A log that cannot be written must not stop the program.
    let _ = writeln!(std::io::stderr().lock(), "<{level}>{text}");
}
