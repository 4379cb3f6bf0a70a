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
use host::{Cores, Host};
use links::Links;
use nodes::{GPUS, Nodes};
use tasks::{Delays, Submitted, Users, submit_and_start, submit_many};

/// The host of the program that vfioctl can be used instead of, on one core of a machine like the one
/// of the first measurements: heartbeats a second, and MiB resident. Told, not measured here.
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
/// Descriptors of either side: a connection for each node, and some.
const DESCRIPTORS: u64 = 12_000;
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
            (if std::env::var_os("ONLY").is_some() {
                Ok(())
            } else {
                with_tasks(&Host::start(&folder, cores)?, table)
            })
            .and_then(|()| sizes(&Host::start(&folder, cores)?, table))
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
    table.alone(
        "memory of a host without nodes",
        "MiB",
        empty / 1024.0,
        Aim::None,
    );
    let mut before = (0, empty);
    for size in SIZES {
        if std::env::var("ONLY").is_ok_and(|m| m.parse().is_ok_and(|m: usize| size > m)) {
            break;
        }
        let from = nodes.count();
        let is_last = Some(&size) == SIZES.last();
        // None of them may be silent for as long as all of this takes.
        nodes.leave(&mut links);
        let start = Instant::now();
        nodes.grow(&mut links, host, size)?;
        let joined = start.elapsed();
        let start = Instant::now();
        nodes.visit(&mut links, from..size, false)?;
        let registered = start.elapsed();
        let known = host.memory_kib()?;
        let start = Instant::now();
        nodes.visit(&mut links, 0..size, true)?;
        let connected = start.elapsed();
        nodes.round(&mut links)?;
        let most = saturate(host, &mut links, &mut nodes, ON_THEIR_WAY, SATURATED)?;
        let memory = host.memory_kib()?;
        let what = |what: &str| format!("{size} nodes: {what}");
        let more = (size - before.0) as f64;
        let aim = if is_last { Aim::Below(20.0) } else { Aim::None };
        table.alone(
            &what(&format!(
                "memory a node ({GPUS} GPUs), of those that were added"
            )),
            "KiB",
            (memory - before.1) / more,
            aim,
        );
        table.alone(
            &what("of that, what is known of the node"),
            "KiB",
            (known - before.1) / more,
            Aim::None,
        );
        let aim = if size == 1_000 {
            Aim::AtLeast(15_000.0)
        } else {
            Aim::None
        };
        table.compare(
            &what("most heartbeats"),
            "/s",
            most.a_second,
            (TOLD, ORIGINAL.0),
            aim,
        );
        table.alone(
            &what("processor time of a heartbeat"),
            "µs",
            most.processor_us,
            Aim::None,
        );
        table.alone(
            &what("the same, 99th percentile of 64 at once"),
            "ms",
            percentile(most.took, 99),
            Aim::None,
        );
        if is_last {
            let added = more / joined.as_secs_f64();
            table.alone(
                "nodes let in, with token and certificate",
                "/s",
                added,
                Aim::None,
            );
            let added = more / registered.as_secs_f64();
            table.alone("nodes that connect and register", "/s", added, Aim::None);
            let added = size as f64 / connected.as_secs_f64();
            table.alone(
                "nodes that connect for one heartbeat",
                "/s",
                added,
                Aim::None,
            );
            let whole = format!("{size} nodes: memory of the host in all");
            let peer = (TOLD, ORIGINAL.1);
            table.compare(&whole, "MiB", memory / 1024.0, peer, Aim::None);
        }
        before = (size, memory);
    }
    for (wait, name) in [
        (Wait::AtHost, "waiting for orders"),
        (Wait::AtHome, "answered at once"),
    ] {
        let count = nodes.count();
        let mut beats = Beats::begin(0..count, wait);
        beats.run(&mut links, &mut nodes, HEARTBEAT)?;
        let spent = host.count()?;
        let took = beats.run(&mut links, &mut nodes, BEATING)?;
        let (processor, elapsed) = host.spent(&spent)?;
        let memory = host.memory_kib()?;
        beats.end(&mut links, &mut nodes)?;
        let what = |what: &str| format!("{count} nodes at 5 s, {name}: {what}");
        let beats = took.len() as f64;
        table.alone(
            &what("heartbeats"),
            "/s",
            beats / elapsed.as_secs_f64(),
            Aim::None,
        );
        table.alone(
            &what("median"),
            "ms",
            percentile(took.clone(), 50),
            Aim::None,
        );
        table.alone(
            &what("99th percentile"),
            "ms",
            percentile(took, 99),
            Aim::Below(20.0),
        );
        let busy = 100.0 * processor.as_secs_f64() / elapsed.as_secs_f64();
        table.alone(&what("busy"), "%", busy, Aim::None);
        let a_node = (memory - empty) / count as f64;
        table.alone(&what("memory a node"), "KiB", a_node, Aim::Below(20.0));
    }
    if nodes.returned > 0 {
        let what = format!(
            "{} registered anew, since their lease had ended",
            nodes.returned
        );
        table.skip("some nodes", &what);
    }
    Ok(())
}

/// How soon a task is at its node, and how many submissions there can be.
fn with_tasks(host: &Host, table: &mut Table) -> Result<()> {
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
    for size in [1, WITH_TASKS] {
        let from = nodes.count();
        nodes.grow(&mut links, host, size)?;
        nodes.visit(&mut links, from..size, true)?;
        let mut beats = Beats::begin(0..size, Wait::AtHost);
        beats.run(&mut links, &mut nodes, HEARTBEAT)?;
        let delays = submit_and_start(&mut links, &mut nodes, &mut beats, &users, FOLLOWED)?;
        tell_delays(table, size, delays);
        if size == WITH_TASKS {
            let done = submit_many(host, &mut links, &mut nodes, &mut beats, &users, SUBMITTING)?;
            tell_submitted(table, size, done);
        }
        beats.end(&mut links, &mut nodes)?;
    }
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
    let count = done.took.len() as f64;
    let a_second = count / done.time.as_secs_f64();
    table.alone(
        &what("durable submissions"),
        "/s",
        a_second,
        Aim::AtLeast(2_000.0),
    );
    let processor = done.processor.as_secs_f64() * 1e6 / count;
    table.alone(&what("processor time of one"), "µs", processor, Aim::None);
    table.alone(
        &what("99th percentile"),
        "ms",
        percentile(done.took, 99),
        Aim::None,
    );
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
