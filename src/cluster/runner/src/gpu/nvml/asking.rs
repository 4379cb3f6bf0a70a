//! Asking NVML: when a child is started to read it, how long it may take, and that it is not when it
//! must not.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout};
use vfioctl_core::pci::PciAddress;

use super::{Reading, Report};
use crate::limits::{
    NVML_ABSENT_PAUSE, NVML_KILL, NVML_LET_GO, NVML_LONGEST_PAUSE, NVML_MAX_ANSWER_BYTES,
    NVML_PAUSE, NVML_READ, NVML_SHARE,
};

/// NVML, as it is asked by the runner.
#[derive(Debug)]
pub(in crate::gpu) struct Nvml {
    program: PathBuf,
    library: Option<PathBuf>,
    /// Held by a reading, and by a child that does not end.
    turn: Arc<Mutex<()>>,
    /// How many want NVML to be left alone.
    holds: watch::Sender<usize>,
    last: watch::Sender<Arc<Last>>,
}

/// What NVML is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::gpu) struct Asked {
    /// GPUs that NVIDIA's driver has, and that do not sleep.
    pub(in crate::gpu) addresses: BTreeSet<PciAddress>,
    /// Those of them that somebody uses.
    pub(in crate::gpu) in_use: BTreeSet<PciAddress>,
}

/// What has come of readings so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::gpu) struct Last {
    asked: Asked,
    /// When a reading ended last.
    ended: Option<Instant>,
    /// When one ended that had an outcome, how long it took, and what it was.
    came: Option<(Instant, Duration, Outcome)>,
}

/// What a reading has come to: a report, or why there is none.
pub(in crate::gpu) type Outcome = Result<Report, String>;

/// As long as this lives, no reading is begun.
#[derive(Debug)]
pub(in crate::gpu) struct Hold(watch::Sender<usize>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_modify(|holds| *holds = holds.saturating_sub(1));
    }
}

impl Nvml {
    /// NVML, read by a program, out of a library where it is not the system's.
    pub(in crate::gpu) fn new(program: PathBuf, library: Option<PathBuf>) -> Self {
        Self {
            program,
            library,
            turn: Arc::default(),
            holds: watch::Sender::new(0),
            last: watch::Sender::default(),
        }
    }

    /// What the last reading has come to.
    pub(in crate::gpu) fn last(&self) -> Arc<Last> {
        Arc::clone(&self.last.borrow())
    }

    /// Reads where it is time to, and waits so long for the reading that goes on, if any.
    pub(in crate::gpu) async fn read(&self, asked: &Asked, patience: Duration) -> Arc<Last> {
        let mut last = self.last.subscribe();
        let is_due = is_due(&last.borrow_and_update(), asked, Instant::now());
        let turn = Arc::clone(&self.turn).try_lock_owned().ok();
        let is_held = *self.holds.borrow() > 0;
        match turn {
            Some(turn) if is_due && !is_held => self.begin(asked.clone(), turn),
            Some(_) => return self.last(),
            None => {}
        }
        // What comes too late is told the next time.
        let _ = timeout(patience, last.changed()).await;
        self.last()
    }

    /// Begins a reading, which goes on by itself.
    fn begin(&self, asked: Asked, turn: OwnedMutexGuard<()>) {
        let mut command = Command::new(&self.program);
        command
            .arg("nvml")
            .args(asked.addresses.iter().map(ToString::to_string))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(library) = &self.library {
            command.arg("--library").arg(library);
        }
        let (holds, last) = (self.holds.subscribe(), self.last.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let outcome = match command.spawn() {
                Ok(child) => watch_over(child, holds, turn).await,
                Err(error) => Some(Err(format!("cannot start its reader: {error}"))),
            };
            let ended = Instant::now();
            last.send_modify(|last| {
                let came = outcome.map(|outcome| (ended, ended - began, outcome));
                *last = Arc::new(Last {
                    asked,
                    ended: Some(ended),
                    came: came.or_else(|| last.came.clone()),
                });
            });
        });
    }

    /// Ends a reading that goes on, and lets none begin as long as the hold lives.
    ///
    /// # Errors
    /// Where the reading does not end, as a sentence; then the GPUs are open still.
    pub(in crate::gpu) async fn let_go(&self) -> Result<Hold, String> {
        self.holds.send_modify(|holds| *holds += 1);
        let hold = Hold(self.holds.clone());
        match timeout(NVML_LET_GO, self.turn.lock()).await {
            Ok(_) => Ok(hold),
            Err(_) => Err(
                "NVIDIA's driver does not let go of a program of this runner that reads it; the \
                 kernel's log ('dmesg') may say why"
                    .into(),
            ),
        }
    }
}

impl Last {
    /// What the last reading came to that had an outcome, and how long that took; none, where that is
    /// too long ago to be true still.
    pub(in crate::gpu) fn outcome(&self) -> Option<(&Outcome, Duration)> {
        let (came, took, outcome) = self.came.as_ref()?;
        (came.elapsed() <= NVML_LONGEST_PAUSE * 2).then_some((outcome, *took))
    }

    /// What NVML said of each GPU last.
    pub(in crate::gpu) fn readings(&self) -> &[Reading] {
        match self.outcome() {
            Some((Ok(Report::Read { gpus, .. }), _)) => gpus,
            _ => &[],
        }
    }
}

/// Waits for a child's answer, but not for longer than it may take, and not while somebody wants
/// it to end: then there is no outcome. The turn is over when the child has ended, whatever is waited
/// for here.
async fn watch_over(
    mut child: Child,
    mut holds: watch::Receiver<usize>,
    turn: OwnedMutexGuard<()>,
) -> Option<Outcome> {
    let outcome = tokio::select! {
        answer = answer(&mut child) => Some(answer),
        () = tokio::time::sleep(NVML_READ) => Some(Err(format!(
            "NVIDIA's driver has not answered within {} s",
            NVML_READ.as_secs()
        ))),
        // Where nobody is left who could hold it, the runner ends.
        _ = holds.wait_for(|holds| *holds > 0) => None,
    };
    // It has ended already where it has answered.
    let _ = child.start_kill();
    if timeout(NVML_KILL, child.wait()).await.is_err() {
        tokio::spawn(async move {
            let _ = child.wait().await;
            drop(turn);
        });
        return Some(Err(
            "NVIDIA's driver hangs: a program that asks it cannot be ended".into(),
        ));
    }
    outcome
}

async fn answer(child: &mut Child) -> Outcome {
    let failed = |error: io::Error| format!("cannot hear its reader: {error}");
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = stdout.take(NVML_MAX_ANSWER_BYTES);
        stdout.read_to_end(&mut text).await.map_err(failed)?;
    }
    let status = child.wait().await.map_err(failed)?;
    if !status.success() {
        return Err(format!("NVIDIA's library has ended its reader ({status})"));
    }
    serde_json::from_slice(&text).map_err(|error| format!("its reader is not understood: {error}"))
}

/// Whether it is time to read again. Where nobody has a GPU open, the driver starts it for each
/// reading and stops it afterwards, which takes seconds for each GPU; so what takes long is done rarely,
/// and the GPUs are open for a small share of the time at most.
fn is_due(last: &Last, asked: &Asked, now: Instant) -> bool {
    let Some(ended) = last.ended else {
        return !asked.addresses.is_empty();
    };
    let pause = match &last.came {
        Some((_, took, Ok(Report::Read { .. }))) => {
            (*took * NVML_SHARE).clamp(NVML_PAUSE, NVML_LONGEST_PAUSE)
        }
        Some(_) => NVML_ABSENT_PAUSE,
        None => NVML_PAUSE,
    };
    // What has changed is worth a look, though not one after the other.
    let is_news = !asked.addresses.is_subset(&last.asked.addresses)
        || !asked.in_use.is_subset(&last.asked.in_use);
    let pause = if is_news { NVML_PAUSE } else { pause };
    !asked.addresses.is_empty() && now.saturating_duration_since(ended) >= pause
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(addresses: &[&str], in_use: &[&str]) -> Asked {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Asked {
            addresses: all(addresses),
            in_use: all(in_use),
        }
    }

    fn read() -> Outcome {
        Ok(Report::Read {
            gpus: Vec::new(),
            open_nodes: Vec::new(),
        })
    }

    /// Seconds until the next reading.
    fn pause(took: Duration, outcome: Outcome, next: &Asked) -> Option<u64> {
        let ended = Instant::now();
        let last = Last {
            asked: asked(&["01:00.0"], &[]),
            ended: Some(ended),
            came: Some((ended, took, outcome)),
        };
        (0..600).find(|seconds| is_due(&last, next, ended + Duration::from_secs(*seconds)))
    }

    #[test]
    fn what_takes_long_is_done_rarely() {
        let asked = asked(&["01:00.0"], &[]);
        assert_eq!(pause(Duration::from_millis(20), read(), &asked), Some(4));
        assert_eq!(pause(Duration::from_millis(800), read(), &asked), Some(40));
        assert_eq!(pause(Duration::from_secs(20), read(), &asked), Some(120));
    }

    #[test]
    fn what_is_absent_is_looked_for_now_and_then() {
        let asked = asked(&["01:00.0"], &[]);
        let absent = Ok(Report::Absent {
            reason: String::new(),
        });
        for outcome in [absent, Err(String::new())] {
            assert_eq!(pause(Duration::ZERO, outcome, &asked), Some(60));
        }
    }

    #[test]
    fn a_gpu_that_is_new_or_newly_used_is_looked_at_soon() {
        let long = Duration::from_secs(20);
        for asked in [
            asked(&["01:00.0", "02:00.0"], &[]),
            asked(&["01:00.0"], &["01:00.0"]),
        ] {
            assert_eq!(pause(long, read(), &asked), Some(4));
        }
    }

    #[test]
    fn without_a_gpu_of_nvidia_nothing_is_ever_read() {
        assert_eq!(pause(Duration::ZERO, read(), &Asked::default()), None);
        let nvml = Nvml::new("/nonexistent".into(), None);
        assert!(!is_due(&nvml.last(), &Asked::default(), Instant::now()));
        assert!(is_due(
            &nvml.last(),
            &asked(&["01:00.0"], &[]),
            Instant::now()
        ));
    }

    /// What comes of a reader that is this program.
    async fn outcome(program: &str) -> Outcome {
        let nvml = Nvml::new(program.into(), None);
        let asked = asked(&["01:00.0"], &[]);
        let last = nvml.read(&asked, Duration::from_secs(20)).await;
        last.outcome().unwrap().0.clone()
    }

    #[tokio::test]
    async fn a_reader_that_does_not_do_its_work_is_told_of() {
        for (program, words) in [
            ("/nonexistent", "cannot start its reader: "),
            (
                "false",
                "NVIDIA's library has ended its reader (exit status: 1)",
            ),
            ("echo", "its reader is not understood: "),
            // It is not listened to for ever.
            ("yes", "NVIDIA's library has ended its reader (signal: 13"),
        ] {
            let told = outcome(program).await.unwrap_err();
            assert!(told.starts_with(words), "{program}: {told}");
        }
    }
}
