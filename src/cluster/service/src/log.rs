//! The log: one line for what an administrator wants to know, on standard error. Under systemd it
//! carries a priority in the journal's form (`sd-daemon(3)`).

use std::sync::LazyLock;
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
    let mut stderr = std::io::stderr().lock();
    // A log that cannot be written must not stop the program.
    let _ = match is_journal() {
        true => writeln!(stderr, "<{level}>{text}"),
        false => writeln!(stderr, "{text}"),
    };
}

/// Whether the journal reads it: then this names standard error (`systemd.exec(5)`). The variable alone
/// says nothing, programs of a session inherit it.
fn is_journal() -> bool {
    static IS_JOURNAL: LazyLock<bool> = LazyLock::new(|| {
        let Some(named) = std::env::var_os("JOURNAL_STREAM") else {
            return false;
        };
        let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else {
            return false;
        };
        named == *format!("{}:{}", stat.st_dev, stat.st_ino)
    });
    *IS_JOURNAL
}
