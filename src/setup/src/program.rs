//! The programs that bring edits into effect: the boot loader's own, the initramfs's, `modprobe`.

use std::io;
use std::os::fd::AsFd as _;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::Instant;

use crate::error::Error;
use crate::limits::{PROGRAM, PROGRAM_PAUSE};
use crate::plan::Command;

/// Runs programs. The other implementation, in tests, writes down what it is asked.
pub trait RunProgram {
    /// Runs a program until it ends.
    ///
    /// # Errors
    /// Where it cannot be started, ends with an error, or does not end in time.
    fn run(&mut self, command: &Command) -> Result<(), Error>;
}

/// Runs the programs of this machine. What they say goes to standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct LivePrograms;

impl RunProgram for LivePrograms {
    fn run(&mut self, command: &Command) -> Result<(), Error> {
        let text = command.text();
        let failed = |source| Error::program(format!("cannot run '{text}'"), source);
        let Some((program, arguments)) = command.words.split_first() else {
            return Ok(());
        };
        let output = io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| failed(Some(error)))?;
        let mut child = Process::new(program)
            .args(arguments)
            // Of the caller's environment nothing matters to them, and some of it could.
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output)
            .spawn()
            .map_err(|error| failed(Some(error)))?;
        match wait(&mut child).map_err(|error| failed(Some(error)))? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Error::program(
                format!("'{text}' ended with {status}"),
                None,
            )),
            None => {
                // One that cannot be killed is not waited for.
                let _ = child.kill();
                let minutes = PROGRAM.as_secs() / 60;
                let what = format!("'{text}' did not end within {minutes} minutes");
                Err(Error::program(what, None))
            }
        }
    }
}

/// How it ended; `None` where it did not in time.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + PROGRAM;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(PROGRAM_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn run(words: &[&str]) -> Result<(), Error> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        LivePrograms.run(&Command { words })
    }

    #[test]
    fn a_program_runs_or_says_why_not() {
        assert!(run(&["true"]).is_ok());
        let error = run(&["sh", "-c", "exit 3"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Program);
        assert_eq!(
            error.to_string(),
            "'sh -c exit 3' ended with exit status: 3"
        );
        let error = run(&["/nonexistent/update-grub"]).unwrap_err();
        assert_eq!(error.to_string(), "cannot run '/nonexistent/update-grub'");
    }
}
