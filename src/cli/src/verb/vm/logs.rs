//! `vfioctl vm logs`: what a machine wrote, and what QEMU said.
//!
//! The files lie in the machine's folder, `/run/vfioctl/machines/UID/NAME/`: `log` is QEMU's own,
//! `io/console.log` the serial console. They belong to the machine's user, so they are read
//! without the helper's help.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use vfioctl_protocol::machine::{Info, Info_state};

use crate::Done;
use crate::command_line::Logs;
use crate::failure::Failure;
use crate::limits;
use crate::session::Session;
use crate::terminal_text::harmless;
use crate::verdict::Verdict;

/// Answers `vfioctl vm logs`.
pub(super) fn run(arguments: &Logs, session: &mut Session<'_>) -> Done {
    let name = arguments.machine.name.as_str();
    let mut helper = session.helper()?;
    let machine = helper
        .machine(name)
        .map_err(|error| session.failure(&error))?;
    let path = path(&session.machines_dir(), &machine, arguments.qemu);
    let mut log = open(&path, name)?;
    let is_terminal = std::io::stdout().is_terminal();
    let mut looks = 0;
    let mut is_running = machine.state != Info_state::stopped;
    loop {
        let is_heard = copy(&mut log, &path, is_terminal, session)?;
        if !is_heard || !arguments.follow || !is_running {
            return Ok(Verdict::Yes);
        }
        std::thread::sleep(limits::LOG_INTERVAL);
        looks += 1;
        if looks % limits::LOG_LOOKS_A_QUESTION == 0 {
            let machine = helper
                .machine(name)
                .map_err(|error| session.failure(&error))?;
            // What was written until its end is still copied.
            is_running = machine.state != Info_state::stopped;
        }
    }
}

fn path(machines: &Path, machine: &Info, of_qemu: bool) -> PathBuf {
    let file = if of_qemu { "log" } else { "io/console.log" };
    machines
        .join(machine.uid.to_string())
        .join(&machine.name)
        .join(file)
}

fn open(path: &Path, name: &str) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        let what = format!("cannot read the log '{}'", path.display());
        Failure::could_not("CannotRead", what)
            .because(error.to_string())
            .hint(format!("look at the machine with 'vfioctl vm show {name}'"))
    })
}

/// Copies what is there to the end. False: nobody reads any more.
fn copy(
    log: &mut File,
    path: &Path,
    is_terminal: bool,
    session: &mut Session<'_>,
) -> Result<bool, Failure> {
    let mut chunk = vec![0; limits::LOG_CHUNK];
    loop {
        let len = log.read(&mut chunk).map_err(|error| {
            Failure::could_not(
                "CannotRead",
                format!("cannot read the log '{}'", path.display()),
            )
            .because(error.to_string())
        })?;
        let bytes = chunk.get(..len).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(true);
        }
        let is_heard = if is_terminal {
            session.output.write(harmless(bytes).as_bytes())?
        } else {
            session.output.write(bytes)?
        };
        if !is_heard {
            return Ok(false);
        }
    }
}
