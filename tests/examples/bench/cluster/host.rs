//! The host that is measured: the release program on one core, with what it uses of it.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};
use rustix::thread::CpuSet;
use vfioctl_tests::cluster::{ClusterHost, StoreOf};

use crate::Result;

/// Syncs by which the disk is told.
const SYNCS: usize = 30;
/// What a sync writes: a page.
const PAGE: [u8; 4096] = [7; 4096];

/// Which core the host has, and which this program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cores {
    host: usize,
    own: usize,
}

impl Cores {
    /// The last two that this process may use.
    pub(super) fn choose() -> Result<Self> {
        let failed = |error: rustix::io::Errno| format!("look which cores there are: {error}");
        let may = rustix::thread::sched_getaffinity(None).map_err(failed)?;
        let mut last = (0..CpuSet::MAX_CPU).rev().filter(|core| may.is_set(*core));
        let host = last.next().ok_or("there is no core to run on")?;
        let own = last
            .next()
            .ok_or("the host has a core for itself, and there is no other")?;
        Ok(Self { host, own })
    }

    /// Lets this thread use its own core only.
    pub(super) fn keep_to_own(self) -> Result<()> {
        let mut own = CpuSet::new();
        own.set(self.own);
        rustix::thread::sched_setaffinity(None, &own)
            .map_err(|error| format!("keep to core {}: {error}", self.own))
    }
}

/// Takes as many descriptors as there may be: a connection is one, on either side. A host is started
/// with the same.
pub(super) fn raise_descriptors(needed: u64) -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < needed) {
        return Err(format!(
            "{needed} descriptors are needed, and 'ulimit -Hn' allows {}",
            limit.maximum.unwrap_or_default()
        ));
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised)
        .map_err(|error| format!("take more descriptors: {error}"))
}

/// A host.
pub(super) struct Host {
    pub(super) cluster: ClusterHost,
}

/// What a host has used of its core, from some moment on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    began: Instant,
    /// How long that was,
    pub(super) time: Duration,
    /// how much of it the host had the core,
    pub(super) processor: Duration,
    /// and how much it waited for it, since others had it.
    waited: Duration,
}

impl Use {
    /// The part of the time that the host waited for its core, in percent.
    pub(super) fn waited_percent(&self) -> f64 {
        100.0 * self.waited.as_secs_f64() / self.time.as_secs_f64()
    }

    /// The part of the time that it had it, in percent.
    pub(super) fn busy_percent(&self) -> f64 {
        100.0 * self.processor.as_secs_f64() / self.time.as_secs_f64()
    }

    /// Of the host, in microseconds, for one of so many.
    pub(super) fn microseconds_of(&self, count: usize) -> f64 {
        self.processor.as_secs_f64() * 1e6 / count as f64
    }
}

impl Host {
    /// Sets one up and starts it on its core.
    pub(super) fn start(programs: &Path, cores: Cores) -> Result<Self> {
        let program = std::path::absolute(programs.join("vfioctl-host"))
            .map_err(|error| format!("find vfioctl-host: {error}"))?;
        let words = ["taskset", "--cpu-list"].map(OsString::from);
        let mut words = Vec::from(words);
        words.push(cores.host.to_string().into());
        words.push(program.into());
        Ok(Self {
            cluster: ClusterHost::start_program(&StoreOf::File, words),
        })
    }

    fn read(&self, file: &str) -> Result<String> {
        let process = self.cluster.process_id().ok_or("the host does not run")?;
        let path = format!("/proc/{process}/{file}");
        std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
    }

    /// Memory that it has for itself, in KiB (`VmRSS` of `proc_pid_status(5)`).
    pub(super) fn memory_kib(&self) -> Result<f64> {
        let status = self.read("status")?;
        let kib = status.lines().find_map(|line| {
            let rest = line.strip_prefix("VmRSS:")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        kib.ok_or_else(|| "the kernel does not tell VmRSS".into())
    }

    /// What all its threads have had of the core, and how long they have waited for it
    /// (`Documentation/scheduler/sched-stats.rst`); those that have ended are not in it.
    fn core_time(&self) -> Result<(Duration, Duration)> {
        let process = self.cluster.process_id().ok_or("the host does not run")?;
        let folder = format!("/proc/{process}/task");
        let failed = |error: std::io::Error| format!("{folder}: {error}");
        let (mut had, mut waited) = (0, 0);
        for thread in std::fs::read_dir(&folder).map_err(failed)? {
            let path = thread.map_err(failed)?.path().join("schedstat");
            // A thread may end meanwhile.
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let mut numbers = text.split_whitespace().map(str::parse::<u64>);
            let mut next = || numbers.next().and_then(std::result::Result::ok);
            had += next().unwrap_or_default();
            waited += next().unwrap_or_default();
        }
        Ok((Duration::from_nanos(had), Duration::from_nanos(waited)))
    }

    /// Begins to count what it uses.
    pub(super) fn count(&self) -> Result<Use> {
        let (processor, waited) = self.core_time()?;
        Ok(Use {
            began: Instant::now(),
            time: Duration::ZERO,
            processor,
            waited,
        })
    }

    /// What it has used since.
    pub(super) fn used(&self, since: &Use) -> Result<Use> {
        let (processor, waited) = self.core_time()?;
        Ok(Use {
            began: since.began,
            time: since.began.elapsed(),
            processor: processor.saturating_sub(since.processor),
            waited: waited.saturating_sub(since.waited),
        })
    }

    /// How long the disk takes that its store lies on, in milliseconds; none where it is no disk.
    pub(super) fn sync_ms(&self) -> Result<Option<f64>> {
        /// `TMPFS_MAGIC` (`statfs(2)`).
        const TMPFS: i64 = 0x0102_1994;
        let folder = self.cluster.data();
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        let kind = rustix::fs::statfs(&folder).map_err(|error| failed(error.into()))?;
        if kind.f_type == TMPFS {
            return Ok(None);
        }
        let mut file = tempfile::tempfile_in(&folder).map_err(failed)?;
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            let start = Instant::now();
            file.write_all(&PAGE).map_err(failed)?;
            file.sync_data().map_err(failed)?;
            times.push(start.elapsed());
        }
        times.sort();
        let median = times.get(SYNCS / 2).copied().unwrap_or_default();
        Ok(Some(median.as_secs_f64() * 1e3))
    }
}
