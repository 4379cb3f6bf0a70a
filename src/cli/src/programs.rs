//! Asks programs for their version, with a time limit.
//!
//! `scan` runs no program, so this is here. Programs are found by `PATH`, as the user's own shell
//! would find them.

use std::io::{self, ErrorKind, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use vfioctl_core::check::{ProgramState, Programs};

/// Until a program has told its version. QEMU takes a tenth of a second, on a machine that has
/// just booted from a slow disk a few.
const LIMIT: Duration = Duration::from_secs(5);
/// Most that is read of an answer; a version stands on its first line.
const MAX_ANSWER_BYTES: u64 = 4096;
/// Between two looks at a program that has closed its output and not ended yet.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks the programs that `vfioctl check` wants to know about.
pub(crate) fn ask_programs() -> Programs {
    Programs {
        qemu: ask(Command::new("qemu-system-x86_64").arg("--version"), LIMIT),
        qemu_img: ask(Command::new("qemu-img").arg("--version"), LIMIT),
    }
}

fn ask(command: &mut Command, limit: Duration) -> ProgramState {
    let deadline = Instant::now() + limit;
    command.env("LC_ALL", "C");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return ProgramState::NotFound,
        Err(error) => return ProgramState::Failed(error.to_string()),
    };
    let state = match read_answer(&mut child, deadline) {
        Ok(Some((answer, status))) if status.success() => {
            ProgramState::Answered(answer.lines().next().unwrap_or_default().to_owned())
        }
        Ok(Some((_, status))) => ProgramState::Failed(status.to_string()),
        Ok(None) => ProgramState::TimedOut,
        Err(error) => ProgramState::Failed(error.to_string()),
    };
    // Nothing to do for a program that has ended; one that cannot be killed is not waited for.
    let _ = child.kill();
    let _ = child.try_wait();
    state
}

/// What the program wrote and how it ended; `None` where it did not end in time.
fn read_answer(child: &mut Child, deadline: Instant) -> io::Result<Option<(String, ExitStatus)>> {
    let Some(output) = child.stdout.take() else {
        return Ok(None);
    };
    let (sender, receiver) = mpsc::channel();
    // A read has no time limit of its own. The thread ends with the program's output, at the
    // latest with this process.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes);
        // Nobody listens any more where the time is up.
        let _ = sender.send(read.map(|_| bytes));
    });
    let left = || deadline.saturating_duration_since(Instant::now());
    let Ok(read) = receiver.recv_timeout(left()) else {
        return Ok(None);
    };
    let answer = String::from_utf8_lossy(&read?).into_owned();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some((answer, status)));
        }
        if left().is_zero() {
            return Ok(None);
        }
        thread::sleep(PAUSE.min(left()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask_shell(script: &str, limit: Duration) -> ProgramState {
        ask(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn the_first_line_is_the_answer() {
        let answered = ProgramState::Answered("QEMU emulator version 7.2.13".to_owned());
        let script = "echo QEMU emulator version 7.2.13; echo Copyright";
        assert_eq!(ask_shell(script, LIMIT), answered);
    }

    #[test]
    fn a_program_that_ends_with_an_error_has_failed() {
        let failed = ProgramState::Failed("exit status: 3".to_owned());
        assert_eq!(ask_shell("echo version 1.0; exit 3", LIMIT), failed);
    }

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        let mut command = Command::new("/nonexistent/qemu-img");
        assert_eq!(ask(&mut command, LIMIT), ProgramState::NotFound);
    }

    #[test]
    fn a_program_that_hangs_is_given_up() {
        let limit = Duration::from_millis(50);
        assert_eq!(ask_shell("exec sleep 60", limit), ProgramState::TimedOut);
        assert_eq!(
            ask_shell("exec sleep 60 >&-", limit),
            ProgramState::TimedOut
        );
    }
}
