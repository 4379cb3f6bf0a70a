//! From the start of QEMU's process until its monitor answers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vfioctl_scan::read_locked_memory_kib;

use super::Launched;
use super::lifetime::{finish, identify, save, watch};
use super::plan::MachinePlan;
use super::registry::{Machine, Phase};
use crate::MethodError;
use crate::helper::Helper;
use crate::limits::LOG_TAIL_BYTES;
use crate::sys::Process;

/// How often a starting machine is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often its progress is told.
const TELL: Duration = Duration::from_secs(2);

/// From the start of the process until its monitor answers.
pub(super) fn run(
    helper: &Arc<Helper>,
    machine: &Arc<Machine>,
    planned: &MachinePlan,
    launched: &Launched,
    log: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    let Some(process) = Process::open(launched.pid) else {
        return Err(not_started("QEMU ended at once".into(), log));
    };
    machine.change(|life| {
        life.process = identify(helper, launched.pid);
        life.unit.clone_from(&launched.unit);
    });
    save(helper, machine);
    let outcome = wait_for_monitor(helper, machine, planned, launched, &process, progress);
    if let Err(because) = outcome {
        let _ = crate::sys::kill(&process);
        process.wait(POLL, || {});
        machine.change(|life| life.phase = Phase::Stopping);
        finish(helper, machine);
        return Err(not_started(because, log));
    }
    machine.change(|life| life.phase = Phase::Running);
    save(helper, machine);
    watch(helper, machine, process);
    Ok(())
}

fn wait_for_monitor(
    helper: &Helper,
    machine: &Machine,
    planned: &MachinePlan,
    launched: &Launched,
    process: &Process,
    progress: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let start = Instant::now();
    let mut told = start;
    loop {
        let left = planned.start_timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            let limit = planned.start_timeout.as_secs();
            return Err(format!("QEMU has not started within {limit} s"));
        }
        // Listens at once, greets when its devices are made: pinning memory lies between.
        match machine.monitor.greet(TELL.min(left)) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind() == vfioctl_qemu::qmp::QmpErrorKind::TimedOut => {}
            Err(error) => return Err(format!("QEMU's monitor: {error}")),
        }
        if process.has_ended_within(POLL) {
            return Err("QEMU ended while it started".into());
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let locked = read_locked_memory_kib(&helper.root, launched.pid).unwrap_or_default();
            progress(&format!(
                "QEMU is starting: {} of {} MiB of memory are pinned",
                locked / 1024,
                machine.spec.memory_mib
            ));
        }
    }
}

pub(super) fn not_started(because: String, log: &Path) -> MethodError {
    let said = read_tail(log);
    let message = if said.is_empty() {
        because
    } else {
        format!("{because}; QEMU said: {said}")
    };
    MethodError::failed(
        message,
        "mend what QEMU names and try again; 'vfioctl vm create --plan' prints its command line",
        true,
    )
}

/// The last lines of QEMU's own log, as one.
fn read_tail(log: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let tail = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        let len = file.metadata()?.len();
        let limit = u64::try_from(LOG_TAIL_BYTES).unwrap_or(u64::MAX);
        file.seek(SeekFrom::Start(len.saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = tail().unwrap_or_default();
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" | ")
}
