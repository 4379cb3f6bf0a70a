//! Programs that this crate runs: by their arguments and never through a shell, each with a time
//! limit, and with what they complain about kept for the error.
//!
//! They end with us: `setpriv --pdeathsig` has the kernel end a program when whoever started it
//! does, in any way, so that a run that is killed leaves nobody behind who goes on writing.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_ANSWER_BYTES, MAX_COMPLAINT_BYTES, PROGRAM_PAUSE, SHORT_PROGRAM};

/// Where programs are looked for: the caller's `PATH` is not asked, for root runs them.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A program, and the Debian package that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

pub(crate) const QEMU_IMG: Program = Program::of("qemu-img", "qemu-utils");
pub(crate) const SHA256SUM: Program = Program::of("sha256sum", "coreutils");
const SETPRIV: Program = Program::of("setpriv", "util-linux");

impl Program {
    pub(crate) const fn of(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }

    /// Where it is.
    fn find(self) -> Option<PathBuf> {
        let places = FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(self.name));
        places.into_iter().find(|place| place.is_file())
    }

    /// A call of it.
    pub(crate) fn call(self) -> Call {
        Call {
            program: self,
            arguments: Vec::new(),
            variables: Vec::new(),
            input: Input::Nothing,
            limit: SHORT_PROGRAM,
        }
    }
}

/// Makes sure that programs are there.
///
/// # Errors
/// Where some are not: all of them are named, with their packages.
pub(crate) fn expect_programs(programs: &[Program]) -> Result<(), Error> {
    let is_missing = |program: &&Program| program.find().is_none();
    let missing: Vec<&Program> = programs.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|program| program.name).collect();
    let mut packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let what = format!("not installed: {}", names.join(", "));
    let hint = format!(
        "install the Debian packages: sudo apt install {}",
        packages.join(" ")
    );
    Err(Error::new(ErrorKind::Missing, what).with_hint(hint))
}

/// What a program reads from its standard input.
#[derive(Debug)]
enum Input {
    Nothing,
    Text(String),
    File(std::fs::File),
}

/// A call of a program, in the making.
#[derive(Debug)]
pub(crate) struct Call {
    program: Program,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
    input: Input,
    limit: Duration,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) answer: String,
    complaint: String,
}

impl Call {
    /// One more argument.
    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    pub(crate) fn arguments<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A variable of its environment.
    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Gives it a text to read.
    pub(crate) fn text(self, text: impl Into<String>) -> Self {
        let input = Input::Text(text.into());
        Self { input, ..self }
    }

    /// Gives it a file to read.
    pub(crate) fn file(self, file: std::fs::File) -> Self {
        let input = Input::File(file);
        Self { input, ..self }
    }

    /// Gives it more time, or less.
    pub(crate) fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Runs it until it ends well, and returns what it answered.
    ///
    /// # Errors
    /// Where it cannot be run, ends with an error, or not in time.
    pub(crate) fn run(self) -> Result<String, Error> {
        let program = self.program;
        let ended = self.run_to_any_end()?;
        match ended.status.success() {
            true => Ok(ended.answer),
            false => Err(ended.error(program)),
        }
    }

    /// The same for a program whose status is an answer.
    ///
    /// # Errors
    /// Where it cannot be run, or does not end in time.
    pub(crate) fn run_to_any_end(self) -> Result<Ended, Error> {
        expect_programs(&[self.program, SETPRIV])?;
        let (program, limit) = (self.program, self.limit);
        let failed = |error: io::Error| {
            Error::new(
                ErrorKind::Program,
                format!("cannot run '{}': {error}", program.name),
            )
        };
        let deadline = Instant::now() + limit;
        let mut child = self.start().map_err(failed)?;
        let answer = child.stdout.take().map(read_answer);
        let complaint = child.stderr.take().map(read_complaint);
        let ended = wait(&mut child, deadline).map_err(failed)?;
        let Some(status) = ended else {
            // One that cannot be killed is not waited for.
            let _ = child.kill();
            let seconds = limit.as_secs();
            let what = format!("'{}' did not end within {seconds} s", program.name);
            return Err(Error::new(ErrorKind::Program, what));
        };
        Ok(Ended {
            status,
            answer: collect(answer, deadline),
            complaint: collect(complaint, deadline),
        })
    }

    fn start(self) -> io::Result<Child> {
        let mut command = Command::new(SETPRIV.find().ok_or(io::ErrorKind::NotFound)?);
        command
            .args(["--pdeathsig", "KILL"])
            .arg(self.program.find().ok_or(io::ErrorKind::NotFound)?)
            .args(self.arguments)
            // Of the caller's environment nothing matters to them, and some of it could.
            .env_clear()
            .env("PATH", FOLDERS.join(":"))
            .env("LC_ALL", "C.UTF-8")
            .envs(self.variables)
            .current_dir("/")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(match &self.input {
                Input::Nothing => Stdio::null(),
                Input::Text(_) => Stdio::piped(),
                Input::File(file) => Stdio::from(file.try_clone()?),
            });
        let mut child = command.spawn()?;
        if let (Input::Text(text), Some(mut input)) = (self.input, child.stdin.take()) {
            // A program that ends before it has read everything says why by its status.
            thread::spawn(move || {
                let _ = input.write_all(text.as_bytes());
            });
        }
        Ok(child)
    }
}

impl Ended {
    /// The error that it ended with: its last words.
    pub(crate) fn error(&self, program: Program) -> Error {
        let complaint = self.complaint.trim();
        let what = match complaint.is_empty() {
            true => format!("'{}' ended with {}", program.name, self.status),
            false => format!("'{}' ended with {}: {complaint}", program.name, self.status),
        };
        Error::new(ErrorKind::Program, what)
    }
}

/// How it ended; `None` where it did not in time.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(PROGRAM_PAUSE);
    }
}

/// What was read so far, once the program has ended. Somebody whom it has started may hold its
/// output open for ever, so this waits no longer than the program may run.
fn collect(bytes: Option<Receiver<Vec<u8>>>, deadline: Instant) -> String {
    let left = deadline.saturating_duration_since(Instant::now());
    let bytes = bytes.and_then(|bytes| bytes.recv_timeout(left).ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

fn read_answer(output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    read_aside(move |bytes| {
        let mut output = output.take(MAX_ANSWER_BYTES);
        // What is cut short does not parse, and says so there.
        let _ = output.read_to_end(bytes);
        let _ = io::copy(&mut output.into_inner(), &mut io::sink());
    })
}

/// The end of what a program complains about; the beginning is often about something else.
fn read_complaint(mut output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    read_aside(move |bytes| {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut chunk) {
            bytes.extend(chunk.iter().take(count));
            let surplus = bytes.len().saturating_sub(MAX_COMPLAINT_BYTES);
            bytes.drain(..surplus);
        }
    })
}

/// A read has no time limit of its own. The thread ends with the program's output, at the latest
/// with this process.
fn read_aside(read: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        read(&mut bytes);
        // Nobody listens any more where the time is up.
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    const SH: Program = Program::of("sh", "dash");

    fn sh(script: &str) -> Call {
        SH.call().arguments(["-c", script])
    }

    #[test]
    fn a_program_answers_what_it_was_given() {
        let answer = sh("cat; echo \"$A\"")
            .text("text ")
            .variable("A", "b")
            .run();
        assert_eq!(answer.unwrap(), "text b\n");
    }

    #[test]
    fn the_end_of_a_complaint_is_kept() {
        let script = "i=0; while [ $i -lt 999 ]; do echo xxxxxxxxxxxxxxxx >&2; i=$((i + 1)); done; \
                      echo last >&2; exit 3";
        let error = sh(script).run().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Program);
        let text = error.to_string();
        assert!(
            text.starts_with("'sh' ended with exit status: 3: x"),
            "{text}"
        );
        assert!(text.ends_with("x\nlast") && text.len() < 5000, "{text}");
    }

    #[test]
    fn a_program_that_hangs_is_given_up_with_what_it_started() {
        let limit = Duration::from_millis(100);
        for script in ["exec sleep 60", "sleep 60 & exec sleep 60"] {
            let error = sh(script).limit(limit).run().unwrap_err();
            assert_eq!(error.to_string(), "'sh' did not end within 0 s");
        }
        let start = Instant::now();
        let answer = sh("sleep 5 & echo here")
            .limit(Duration::from_secs(1))
            .run();
        assert!(answer.is_ok() && start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn programs_that_are_missing_are_named_with_their_packages() {
        let one = Program::of("vfioctl-none-1", "a-package");
        let two = Program::of("vfioctl-none-2", "a-package");
        let error = expect_programs(&[one, SH, two]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert_eq!(
            error.to_string(),
            "not installed: vfioctl-none-1, vfioctl-none-2"
        );
        let hint = "install the Debian packages: sudo apt install a-package";
        assert_eq!(error.hint(), Some(hint));
    }
}
