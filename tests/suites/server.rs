//! Attacks on the helper's server, each of which kills or starves one that is not written against
//! it (`docs/threat-model.md`). The limits themselves are the helper's own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit};
use serde_json::json;
use vfioctl_tests::fake::Fault;
use vfioctl_tests::raw::{Raw, assert_answers, connect};
use vfioctl_tests::suite::{self, FakeTest};
use vfioctl_tests::world::{FakeWorld, User, World};

const ALICE: u32 = 1001;
const BOB: u32 = 1002;
const ROOT: u32 = 0;
const GPU: &str = "0000:01:00.0";
const BIND: &str = "io.vfioctl.Device.Bind";
const DESCRIBE: &str = "io.vfioctl.Inventory.Describe";

/// `helper/src/limits.rs`: of one user, and of all.
const PLACES_OF_A_USER: usize = 16;
const PLACES: usize = 64;

const TESTS: &[FakeTest] = &[
    ("idle_connections_keep_nobody_out", idle),
    ("half_messages_keep_nobody_out_and_are_cut", half_messages),
    ("message_without_end_is_cut_and_not_kept", endless_message),
    (
        "one_user_has_a_bounded_number_of_connections",
        places_of_a_user,
    ),
    (
        "all_users_have_a_bounded_number_of_connections_and_root_comes_in",
        places_of_all,
    ),
    (
        "caller_that_never_reads_is_cut_and_holds_nobody",
        never_reads,
    ),
    ("slow_method_holds_nobody", slow_method),
    (
        "helper_without_descriptors_goes_on_when_it_has_some",
        no_descriptors,
    ),
    (
        "number_of_requests_on_a_connection_is_bounded",
        many_requests,
    ),
    ("caller_that_leaves_does_not_stop_what_it_began", leaves),
];

fn main() {
    suite::run_on_fake(TESTS);
}

fn idle(world: &FakeWorld) {
    let idle: Vec<Raw> = (0..PLACES_OF_A_USER)
        .map(|_| connect(world, ALICE))
        .collect();
    for _ in 0..10 {
        assert_answers(world, BOB);
    }
    drop(idle);
}

fn half_messages(world: &FakeWorld) {
    let half: Vec<Raw> = (0..PLACES_OF_A_USER)
        .map(|_| {
            let mut raw = connect(world, ALICE);
            raw.send(br#"{"method":"io.vfioctl.Inventory.GetVer"#)
                .unwrap();
            raw
        })
        .collect();
    assert_answers(world, BOB);
    for mut raw in half {
        raw.wait_for_hang_up();
    }
    assert_answers(world, ALICE);
}

fn endless_message(world: &FakeWorld) {
    const GIB: usize = 1 << 30;
    let before = peak_memory_kib(world);
    let mut raw = connect(world, ALICE);
    let chunk = vec![b'x'; 1 << 16];
    let sent = (0..GIB / chunk.len())
        .take_while(|_| raw.send(&chunk).is_ok())
        .count();
    let taken = sent * chunk.len();
    assert!(taken < 16 << 20, "it took {taken} bytes");
    assert_answers(world, ALICE);
    let grown = peak_memory_kib(world) - before;
    assert!(grown < 16 << 10, "its memory grew by {grown} KiB");
}

/// `VmHWM` of the helper: `proc(5)`.
fn peak_memory_kib(world: &FakeWorld) -> u64 {
    let path = format!("/proc/{}/status", world.helper_pid().unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

fn places_of_a_user(world: &FakeWorld) {
    let mut all: Vec<Raw> = (0..100).map(|_| connect(world, ALICE)).collect();
    let answered = all
        .iter_mut()
        .map(Raw::is_answered)
        .filter(|is| *is)
        .count();
    assert_eq!(answered, PLACES_OF_A_USER);
    assert_answers(world, BOB);
    drop(all);
    wait_until("alice is let in again", || {
        connect(world, ALICE).is_answered()
    });
}

fn places_of_all(world: &FakeWorld) {
    let users = 3000..3010;
    let mut all: Vec<Raw> = users
        .flat_map(|uid| (0..PLACES_OF_A_USER).map(move |_| uid))
        .map(|uid| connect(world, uid))
        .collect();
    let answered = all
        .iter_mut()
        .map(Raw::is_answered)
        .filter(|is| *is)
        .count();
    assert_eq!(answered, PLACES);
    assert_answers(world, ROOT);
    drop(all);
    wait_until("others are let in again", || {
        connect(world, BOB).is_answered()
    });
}

fn never_reads(world: &FakeWorld) {
    let request = json!({"method": DESCRIBE, "parameters": {}}).to_string() + "\0";
    let mut deaf: Vec<Raw> = (0..4).map(|_| connect(world, ALICE)).collect();
    for raw in &mut deaf {
        // Their answers are some megabytes, more than a socket holds.
        raw.send(request.repeat(200).as_bytes()).unwrap();
    }
    assert_answers(world, BOB);
    assert_answers(world, ALICE);
    for mut raw in deaf {
        wait_until("the deaf are cut", || raw.send(request.as_bytes()).is_err());
    }
}

fn slow_method(world: &FakeWorld) {
    // Reading back waits two seconds for an effect that does not come.
    world.faults().tell(&[(1, Fault::NoEffect)]);
    let mut alice = connect(world, ALICE);
    let (sender, receiver) = channel();
    let calling = std::thread::spawn(move || {
        let reply = alice.call(BIND, &json!({"address": GPU}));
        sender.send(()).unwrap();
        reply.unwrap()
    });
    wait_until("the step is asked for", || {
        !world.faults().asked().is_empty()
    });
    assert_answers(world, BOB);
    let still_waits = receiver.recv_timeout(Duration::ZERO);
    assert_eq!(
        still_waits,
        Err(RecvTimeoutError::Timeout),
        "bob was answered last"
    );
    let reply = calling.join().unwrap();
    assert_eq!(reply["error"], "io.vfioctl.Device.Failed");
}

fn no_descriptors(world: &FakeWorld) {
    let pid = i32::try_from(world.helper_pid().unwrap()).unwrap();
    let limit = |current| {
        let maximum = Some(4096);
        let pid = Pid::from_raw(pid);
        rustix::process::prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap();
    };
    assert_answers(world, ALICE);
    limit(Some(12));
    let many: Vec<Raw> = (0..50).map(|_| connect(world, ROOT)).collect();
    // The helper notices that it has none left, backs off, and neither ends nor spins.
    std::thread::sleep(Duration::from_millis(500));
    drop(many);
    limit(Some(4096));
    wait_until("the helper goes on", || connect(world, ALICE).is_answered());
}

fn many_requests(world: &FakeWorld) {
    let mut raw = connect(world, ALICE);
    let mut answered = 0;
    while raw.is_answered() {
        answered += 1;
        assert!(answered <= 10_000, "one connection may ask for ever");
    }
    assert_eq!(answered, 10_000);
    assert_answers(world, ALICE);
}

fn leaves(world: &FakeWorld) {
    let mut raw = connect(world, ALICE);
    raw.request(&json!({"method": BIND, "parameters": {"address": GPU}, "more": true}));
    drop(raw);
    wait_until("the device is claimed", || {
        world.state() == [format!("claims/{GPU}.json")]
    });
    wait_until("the device can be released", || {
        world.vfioctl(User::Alice, &["release", GPU]).status == 0
    });
}

/// Waits for something that comes soon, and at the latest after a minute.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("in vain: {what}");
}
