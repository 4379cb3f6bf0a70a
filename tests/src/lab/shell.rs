//! A person's shell in the lab, on its virtio console (`/dev/hvc0`).

use std::io::{self, Read, Write};
use std::time::Duration;

use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::error::{Result, Wrap};
use super::{Lab, quote};

/// A shell may stand open for a working day.
pub(crate) const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

impl Lab {
    /// Connects this terminal to a login shell of that user, until the shell ends.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be used, or the machine ends.
    pub fn shell(&self, user: &str) -> Result<()> {
        let _raw = RawTerminal::new()?;
        let to_lab = self
            .terminal
            .try_clone()
            .wrap("duplicate the terminal's socket")?;
        let from_lab = self
            .terminal
            .try_clone()
            .wrap("duplicate the terminal's socket")?;
        // Both end with the program; neither can be woken from a read on a terminal.
        std::thread::spawn(move || copy(io::stdin(), to_lab));
        std::thread::spawn(move || copy(from_lab, io::stdout()));
        let output = self.run(&login_script(user)?, LIFE)?;
        // What the shell wrote last may still be on its way.
        std::thread::sleep(Duration::from_millis(200));
        drop(_raw);
        output.success().map(drop)
    }
}

/// `systemd-run`, because a login needs its terminal as the controlling one, and PAM.
fn login_script(user: &str) -> Result<String> {
    let size = tcgetwinsize(stdin()).wrap("read the size of the terminal")?;
    let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
    Ok(format!(
        "systemd-run --quiet --wait --collect --service-type=exec \
            --property=StandardInput=tty --property=TTYPath=/dev/hvc0 \
            --property=PAMName=login --property=User={user} \
            --property=WorkingDirectory=~ --property=TTYVHangup=yes \
            --property=TTYRows={} --property=TTYColumns={} --setenv=TERM={} \
            bash --login || true",
        size.ws_row,
        size.ws_col,
        quote(&term),
    ))
}

fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..length).unwrap_or_default())?;
        to.flush()?;
    }
}

/// This terminal without echo, lines and signals: all of that is done in the lab.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn new() -> Result<RawTerminal> {
        let before = tcgetattr(stdin()).wrap("use standard input as a terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).wrap("change the terminal's mode")?;
        Ok(RawTerminal { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
