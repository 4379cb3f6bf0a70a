//! A cluster's host: what 10,000 nodes cost it, and how soon and how fast it does what is asked.
//!
//! The host is the release program on one core, with its store in a file. On the other core is this
//! program, and in it thousands of runners, with real certificates, TLS and HTTP, that say what real
//! ones say. A real runner has one connection: on it, it waits for orders, and the host answers after
//! a heartbeat at the latest; then it asks again at once. So the time that a heartbeat takes is what
//! comes on top of the time that the host was asked to wait.

mod beats;
mod host;
mod links;
mod nodes;
mod place;
mod tasks;

use std::time::{Duration, Instant};

use crate::table::{Aim, Table};
use crate::{Bench, Result};

use beats::{Beats, HEARTBEAT, Wait, saturate};
use host::{Cores, Host, Use};
use links::Links;
use nodes::{GPUS, Nodes};
use tasks::{Delays, Submitted, Users, submit_and_start, submit_many};

/// The host of the program that vfioctl can be used instead of, on one core of such a machine: the
/// heartbeats that it took in a second, and MiB resident. Told by who measured it, not measured here.
const ORIGINAL: (f64, f64) = (326.0, 75.0);
const TOLD: &str = "the original's (told)";
/// Sizes of a cluster.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// Nodes of the cluster in which tasks are submitted.
const WITH_TASKS: usize = 1_000;
/// Heartbeats on their way at once where there are as many as the host takes.
const ON_THEIR_WAY: usize = 64;
/// How long that lasts.
const SATURATED: Duration = Duration::from_secs(4);
/// How long runners come as runners do: four heartbeats.
const BEATING: Duration = Duration::from_secs(20);
/// Submissions of which each one is followed to its node.
const FOLLOWED: usize = 200;
/// How long all users submit at once.
const SUBMITTING: Duration = Duration::from_secs(5);
/// Nodes that come once more, over a new connection.
const CAME_AGAIN: usize = 2_000;
/// Descriptors of either side: a connection for each node, and some.
const DESCRIPTORS: u64 = 12_000;
/// Of the time that the host may wait for its core, in percent, before a figure says little.
const MOST_WAITED: f64 = 5.0;
/// How often placing is measured.
const PLACINGS: usize = 7;

pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    placing(&mut bench.table)?;
    let cores = Cores::choose()?;
    host::raise_descriptors(DESCRIPTORS)?;
    let folder = bench.folder.clone();
    let table = &mut bench.table;
    // A thread of its own, so that what is measured afterwards has all cores again.
    std::thread::scope(|scope| {
        let all = scope.spawn(|| {
            cores.keep_to_own()?;
            with_tasks(&mut Host::start(&folder, cores)?, table)?;
            sizes(&Host::start(&folder, cores)?, table)
        });
        all.join().unwrap_or_else(|_| Err("it panicked".into()))
    })
}

fn placing(table: &mut Table) -> Result<()> {
    for (tasks, nodes, aim) in [
        (1_000, 100, Aim::None),
        (1_000, 1_000, Aim::Below(100.0)),
        (1_000, 10_000, Aim::None),
    ] {
        let times: Result<Vec<Duration>> =
            (0..PLACINGS).map(|_| place::place(tasks, nodes)).collect();
        let what = format!("{tasks} tasks placed on {nodes} nodes");
        table.alone(&what, "ms", median(times?), aim);
    }
    Ok(())
}

/// What a cluster costs as it grows.
fn sizes(host: &Host, table: &mut Table) -> Result<()> {
    let mut links = Links::new(host.cluster.address())?;
    let mut nodes = Nodes::new(host)?;
    let empty = host.memory_kib()?;
    let what = "memory of a host without nodes";
    let peer = (TOLD, ORIGINAL.1);
    table.compare(what, "MiB", empty / 1024.0, peer, Aim::None);
    for size in SIZES {
        let is_largest = Some(&size) == SIZES.last();
        let growth = grow(host, &mut links, &mut nodes, size)?;
        let a_node = |kib: f64| (kib - empty) / size as f64;
        let of_size = |what: &str| format!("{size} nodes: {what}");
        let what = of_size(&format!("memory of what is known of a node ({GPUS} GPUs)"));
        table.alone(&what, "KiB", a_node(growth.known_kib), Aim::None);

        let mut beats = Beats::begin(0..size, Wait::AtHost);
        beats.settle(&mut links, &mut nodes)?;
        let time = if is_largest { BEATING } else { 2 * HEARTBEAT };
        let course = Course::of(host, &mut beats, &mut links, &mut nodes, time)?;
        beats.end(&mut links, &mut nodes)?;
        let what = of_size("memory a node, that and its connection");
        let aim = if is_largest {
            Aim::Below(20.0)
        } else {
            Aim::None
        };
        table.alone(&what, "KiB", a_node(course.memory_kib), aim);
        if is_largest {
            let what = of_size("memory of the host in all");
            table.alone(&what, "MiB", course.memory_kib / 1024.0, Aim::None);
            growth.tell(table);
            course.tell(table, &of_size("at 5 s, waiting for orders"));
        }
        let what = of_size("processor time of a heartbeat at 5 s");
        table.alone(
            &what,
            "µs",
            course.used.microseconds_of(course.took.len()),
            Aim::None,
        );

        let most = saturate(host, &mut links, &mut nodes, ON_THEIR_WAY, SATURATED)?;
        let aim = if is_largest {
            Aim::None
        } else {
            Aim::AtLeast(15_000.0)
        };
        let (what, peer) = (of_size("most heartbeats"), (TOLD, ORIGINAL.0));
        let a_second = most.count as f64 / most.used.time.as_secs_f64();
        table.compare(&what, "/s", a_second, peer, aim);
        tell_waited(table, &what, &most.used);
        let what = of_size("processor time of one of the most");
        let microseconds = most.used.microseconds_of(most.count);
        table.alone(&what, "µs", microseconds, Aim::None);
    }
    let count = nodes.count();
    let mut beats = Beats::begin(0..count, Wait::AtHome);
    beats.settle(&mut links, &mut nodes)?;
    let course = Course::of(host, &mut beats, &mut links, &mut nodes, BEATING / 2)?;
    beats.end(&mut links, &mut nodes)?;
    course.tell(table, &format!("{count} nodes: at 5 s, answered at once"));
    if nodes.returned > 0 {
        let what = format!("{} times, since its lease had ended", nodes.returned);
        table.note("nodes registered anew", &what);
    }
    Ok(())
}

/// A cluster that has grown.
struct Growth {
    /// Nodes a second that were let in,
    joined: f64,
    /// that connected and registered,
    registered: f64,
    /// and that came once more, for one heartbeat.
    came: f64,
    came_us: f64,
    known_kib: f64,
}

/// Lets nodes in until there are so many, and has all of them come and go.
fn grow(host: &Host, links: &mut Links, nodes: &mut Nodes, size: usize) -> Result<Growth> {
    let from = nodes.count();
    // None of them may be silent for as long as this takes.
    nodes.leave(links);
    let count = (size - from) as f64;
    let start = Instant::now();
    nodes.grow(links, host, size)?;
    let joined = count / start.elapsed().as_secs_f64();
    let start = Instant::now();
    nodes.visit(links, from..size)?;
    let registered = count / start.elapsed().as_secs_f64();
    let since = host.count()?;
    let again = from..size.min(from + CAME_AGAIN);
    let count = again.len();
    nodes.visit(links, again)?;
    let used = host.used(&since)?;
    Ok(Growth {
        joined,
        registered,
        came: count as f64 / used.time.as_secs_f64(),
        came_us: used.microseconds_of(count),
        known_kib: host.memory_kib()?,
    })
}

impl Growth {
    fn tell(&self, table: &mut Table) {
        let mut tell = |what: &str, rate| table.alone(what, "/s", rate, Aim::None);
        tell("nodes let in, with token and certificate", self.joined);
        tell("nodes that connect and register", self.registered);
        tell("heartbeats over a new connection each", self.came);
        let what = "processor time of such a heartbeat";
        table.alone(what, "µs", self.came_us, Aim::None);
    }
}

/// How heartbeats went for a while.
struct Course {
    took: Vec<Duration>,
    used: Use,
    memory_kib: f64,
}

impl Course {
    fn of(
        host: &Host,
        beats: &mut Beats,
        links: &mut Links,
        nodes: &mut Nodes,
        time: Duration,
    ) -> Result<Self> {
        let since = host.count()?;
        let took = beats.run(links, nodes, time)?;
        Ok(Self {
            took,
            used: host.used(&since)?,
            memory_kib: host.memory_kib()?,
        })
    }

    fn tell(&self, table: &mut Table, when: &str) {
        let what = |what: &str| format!("{when}: {what}");
        let a_second = self.took.len() as f64 / self.used.time.as_secs_f64();
        table.alone(&what("heartbeats"), "/s", a_second, Aim::None);
        let busy = self.used.busy_percent();
        table.alone(&what("the host's core is busy"), "%", busy, Aim::None);
        tell_waited(table, when, &self.used);
        let half = percentile(self.took.clone(), 50);
        table.alone(&what("median"), "ms", half, Aim::None);
        let most = percentile(self.took.clone(), 99);
        table.alone(&what("99th percentile"), "ms", most, Aim::Below(20.0));
    }
}

/// How soon a task is at its node, and how many submissions there can be.
fn with_tasks(host: &mut Host, table: &mut Table) -> Result<()> {
    let mut links = Links::new(host.cluster.address())?;
    let mut nodes = Nodes::new(host)?;
    let users = Users::arrive(host, &mut links)?;
    match host.sync_ms()? {
        Some(time) => table.alone("the disk: 4 KiB written and synced", "ms", time, Aim::None),
        None => table.skip(
            "durable",
            "the folder for temporary files is in memory; set TMPDIR",
        ),
    }
    let mut answered = 0;
    for size in [1, WITH_TASKS] {
        let from = nodes.count();
        nodes.grow(&mut links, host, size)?;
        nodes.visit(&mut links, from..size)?;
        let mut beats = Beats::begin(0..size, Wait::AtHost);
        beats.settle(&mut links, &mut nodes)?;
        let delays = submit_and_start(&mut links, &mut nodes, &mut beats, &users, FOLLOWED)?;
        answered += FOLLOWED;
        tell_delays(table, size, delays);
        if size == WITH_TASKS {
            let done = submit_many(host, &mut links, &mut nodes, &mut beats, &users, SUBMITTING)?;
            answered += done.answered;
            tell_submitted(table, size, done);
        }
        beats.end(&mut links, &mut nodes)?;
    }
    host.cluster.kill();
    host.cluster.serve();
    let known = tasks::known(host)?;
    let what = "answered submissions that are gone after the host was killed";
    let lost = answered.saturating_sub(known) as f64;
    table.alone(what, "", lost, Aim::Below(1.0));
    Ok(())
}

fn tell_delays(table: &mut Table, size: usize, delays: Delays) {
    let what = |what: &str| format!("{size} nodes beating: submit -> {what}");
    let answered = median(delays.answered);
    table.alone(
        &what("answer to the user, median"),
        "ms",
        answered,
        Aim::None,
    );
    table.alone(
        &what("order at the runner, median"),
        "ms",
        median(delays.ordered),
        Aim::Below(50.0),
    );
    let started = delays.started;
    let last = percentile(started.clone(), 99);
    table.alone(
        &what("the runner may start, median"),
        "ms",
        median(started),
        Aim::Below(50.0),
    );
    table.alone(
        &what("the runner may start, 99th percentile"),
        "ms",
        last,
        Aim::None,
    );
}

fn tell_submitted(table: &mut Table, size: usize, done: Submitted) {
    let what = |what: &str| {
        let users = Users::count();
        format!("{users} users at once, {size} nodes beating: {what}")
    };
    let count = done.took.len();
    let a_second = count as f64 / done.used.time.as_secs_f64();
    table.alone(
        &what("durable submissions"),
        "/s",
        a_second,
        Aim::AtLeast(2_000.0),
    );
    let processor = done.used.microseconds_of(count);
    table.alone(&what("processor time of one"), "µs", processor, Aim::None);
    table.alone(
        &what("99th percentile"),
        "ms",
        percentile(done.took, 99),
        Aim::None,
    );
}

/// Says so where others had the core that the host was to have for itself.
fn tell_waited(table: &mut Table, what: &str, used: &Use) {
    let waited = used.waited_percent();
    if waited > MOST_WAITED {
        let note =
            format!("the host waited {waited:.0} % of the time for its core, since others had it");
        table.note(what, &note);
    }
}

fn median(times: Vec<Duration>) -> f64 {
    percentile(times, 50)
}

/// In milliseconds; nothing at all takes for ever.
fn percentile(mut times: Vec<Duration>, part: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * part / 100).min(times.len().saturating_sub(1));
    let time = times.get(index);
    time.map_or(f64::INFINITY, |time| time.as_secs_f64() * 1e3)
}
