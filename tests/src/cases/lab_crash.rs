//! The real helper killed at each of its system calls, on a real kernel.
//!
//! The helper runs under `strace`, which kills it on entry to the n-th call of a kind in a thread
//! (`strace(1)`, `inject`). First one run without a kill tells which calls there are.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Case, GPU, lab_only};
use crate::strace::count_server_calls;
use crate::world::{Answer, LabWorld, World, assert_same};

const REASON: &str = "there it is killed at its steps: bind_killed_between_any_two_steps";

pub(super) const CASES: &[Case] = &[
    lab_only(
        "bind_killed_at_every_system_call_is_recovered",
        REASON,
        |world| {
            killed(world.lab().unwrap(), "bind");
        },
    ),
    lab_only(
        "release_killed_at_every_system_call_is_recovered",
        REASON,
        |world| {
            killed(world.lab().unwrap(), "release");
        },
    ),
    lab_only(
        "pin_killed_at_every_system_call_is_recovered",
        "there its files are taken away: helper_killed_while_it_pins_leaves_a_pin_or_none",
        |world| {
            killed(world.lab().unwrap(), "bind --persist");
        },
    ),
];

/// The calls between which the world outside the helper differs: children that write to sysfs are
/// made (`clone`: every step before it is done, none after), files of its state are complete, in
/// place or gone, nodes have their owner. `wait4` comes while a child writes, which outlives the
/// helper.
const CALLS: &str = "clone,wait4,fsync,renameat,unlinkat,fchownat";

/// A point costs six seconds here, most of them `strace`'s, so every second `wait4` is left out.
fn is_worth_it(call: &str, at: usize) -> bool {
    call != "wait4" || at.is_multiple_of(2)
}

/// Not with `--seccomp-bpf`, which makes it faster: strace 6.1 then counts wrong, and only ever
/// comes to the first call.
pub(super) const STRACE: &str = "strace -qq -f -o /run/strace.log -e signal=none";

/// Starts a helper, under strace or plain; waits for its socket.
pub(super) const START: &str = r"
# The shell would tell of each child that was killed.
exec 2>/dev/null
start() {
    rm -f /run/vfioctl/helper.sock
    $1 setsid /usr/libexec/vfioctl-helper --listen /run/vfioctl/helper.sock --direct \
        </dev/null >/dev/null 2>>/run/helper.err &
    until [ -S /run/vfioctl/helper.sock ] || ! kill -0 $!; do sleep .05; done
}
stop() {
    pkill -KILL -x vfioctl-helper
    while pgrep -x vfioctl-helper; do sleep .05; done >/dev/null
}
";

fn killed(lab: &LabWorld, verb: &str) {
    let before = lab.picture();
    lab.stop_helper();
    let counts = count_calls(lab, verb);
    let points: Vec<(&String, usize)> = counts
        .iter()
        .flat_map(|(call, count)| (1..=*count).map(move |at| (call, at)))
        .filter(|(call, at)| is_worth_it(call, *at))
        .collect();
    // Two files, each written, put in place and made sure of.
    let least = if verb == "bind --persist" { 6 } else { 15 };
    assert!(points.len() >= least, "{counts:?}");
    let mut missed = Vec::new();
    for (call, at) in &points {
        let when = format!("{verb} killed at {call} {at}");
        if !kill_at(lab, verb, call, *at) {
            missed.push(when.clone());
        }
        recover(lab, verb, &when);
        assert_same(&lab.picture(), &before, &when);
    }
    // A device lock that is held for a moment changes the number of tries, and so of calls.
    assert!(
        missed.len() * 10 <= points.len(),
        "never came to: {missed:?}"
    );
    eprintln!(
        "{verb}: killed at {} calls: {counts:?}",
        points.len() - missed.len()
    );
}

/// How often the thread that serves the call makes each system call.
fn count_calls(lab: &LabWorld, verb: &str) -> BTreeMap<String, usize> {
    lab.root(&format!(
        "{START} start ''; {} stop
        start '{STRACE} -e trace={CALLS}'
        {}; stop",
        prepare(verb),
        as_alice(verb)
    ));
    let log = lab.root("cat /run/strace.log");
    let counts = count_server_calls(&log);
    recover(lab, verb, "counting");
    counts
}

/// Runs the verb with a helper that is killed; tells whether it was. A plain one runs before.
fn kill_at(lab: &LabWorld, verb: &str, call: &str, at: usize) -> bool {
    let text = lab.root(&format!(
        "{START} {} stop
        start '{STRACE} -e trace={call} -e inject={call}:signal=SIGKILL:when={at}'
        {}; pgrep -x vfioctl-helper >/dev/null && echo alive; stop",
        prepare(verb),
        as_alice(verb)
    ));
    !text.contains("alive")
}

/// What is done before the helper that is to be killed is started: for a release or a pin, a bind.
fn prepare(verb: &str) -> String {
    match verb {
        "release" | "bind --persist" => format!("{};", as_alice("bind")),
        _ => String::new(),
    }
}

/// A new helper takes home what was left, and stays. Where the kill came after the verb had taken
/// effect, the claim stands, and the devices are released like any others.
fn recover(lab: &LabWorld, verb: &str, when: &str) {
    let text = lab.root(&format!(
        "{START} start ''; vfioctl --json recover | tr -d '\\n'; echo
        [ ! -e /var/lib/vfioctl/claims/{GPU}.json ] || {{ {}; }}",
        as_alice("release")
    ));
    let (recovered, released) = text.split_once('\n').unwrap();
    let recovered = Answer::new(0, recovered);
    match recovered.json["recovered"].as_array().map(Vec::as_slice) {
        Some([]) => {}
        Some([one]) => {
            let found = format!("a {verb} that was not finished");
            assert_eq!(one["found"], found, "{when}: {recovered}");
            assert_eq!(one["home"], true, "{when}: {recovered}");
            assert_eq!(one["leftovers"], json!([]), "{when}: {recovered}");
            assert_eq!(
                released, "",
                "{when}: recovered, and still claimed: {recovered}"
            );
        }
        _ => panic!("{when}: {recovered}"),
    }
}

/// Runs the verb as alice, and prints its exit status.
fn as_alice(verb: &str) -> String {
    format!(
        "setpriv --reuid=alice --regid=alice --init-groups vfioctl {verb} {GPU} \
         >/run/verb.out 2>&1; echo status $?"
    )
}
