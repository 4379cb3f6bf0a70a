//! Ending a machine: by its power button, by QEMU's monitor, by force.

use std::time::Duration;

use super::registry::{Machine, Phase};
use crate::MethodError;
use crate::limits::{HOME_TIME, QUIT_TIME};
use crate::sys::{Process, kill};

/// How a machine is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The guest is asked, and has this long to follow.
    Powerdown(Duration),
    /// QEMU is ended at once.
    Quit,
}

/// Ends a machine and waits until its devices are home.
pub(crate) fn stop(
    machine: &Machine,
    how: How,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    match machine.phase() {
        Phase::Stopped => return Ok(()),
        // Pinning much memory takes minutes, and nobody should have to wait for the end of that.
        Phase::Starting if how == How::Quit && kill_early(machine) => {}
        Phase::Starting => {
            return Err(MethodError::refused(
                "Starting",
                format!("machine '{}' is still being started", machine.name()),
                "wait until 'vfioctl vm show' says that it runs",
            ));
        }
        Phase::Running | Phase::Stopping => {
            let process = open_process(machine);
            machine.change(|life| life.phase = life.phase.max_stopping());
            if let Some(process) = process {
                end(machine, &process, how, progress)?;
            }
        }
    }
    progress("QEMU has ended; taking the devices home");
    if machine.has_stopped_within(HOME_TIME) {
        return Ok(());
    }
    Err(MethodError::failed(
        "QEMU has ended, but its devices are not home yet",
        "run 'vfioctl recover' and look at the kernel's log ('dmesg')",
        false,
    ))
}

fn open_process(machine: &Machine) -> Option<Process> {
    let process = machine.life().process?;
    Process::open(process.pid)
}

/// Kills a QEMU that has begun and is still starting; whether there is one. Whoever starts it sees that
/// it has ended, and takes its devices home.
fn kill_early(machine: &Machine) -> bool {
    open_process(machine).is_some_and(|process| kill(&process).is_ok())
}

impl Phase {
    /// A machine that has stopped meanwhile stays stopped.
    fn max_stopping(self) -> Self {
        if self == Self::Stopped {
            Self::Stopped
        } else {
            Self::Stopping
        }
    }
}

fn end(
    machine: &Machine,
    process: &Process,
    how: How,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    if let How::Powerdown(timeout) = how {
        match machine.monitor.system_powerdown() {
            Ok(()) => {
                progress("the power button has been pressed");
                if process.has_ended_within(timeout) {
                    return Ok(());
                }
                progress(&format!(
                    "the guest has not powered off within {} s",
                    timeout.as_secs()
                ));
            }
            Err(error) => progress(&format!("the power button cannot be pressed: {error}")),
        }
    }
    match machine.monitor.quit() {
        Ok(()) => progress("QEMU has been told to quit"),
        Err(error) => progress(&format!("QEMU cannot be told to quit: {error}")),
    }
    if process.has_ended_within(QUIT_TIME) {
        return Ok(());
    }
    progress("QEMU does not end; killing it");
    let killed = kill(process);
    if process.has_ended_within(QUIT_TIME) {
        return Ok(());
    }
    let because = killed
        .err()
        .map_or_else(|| "it is stuck in the kernel".into(), |e| e.to_string());
    Err(MethodError::failed(
        format!("QEMU does not end: {because}"),
        "look at the kernel's log ('dmesg'); the devices stay claimed until it has ended",
        false,
    ))
}
