//! Isolation, in the lab: ACS cleared and set, devices grouped anew, on a real kernel.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vfioctl_tests::guest::{assert_gone, console, create, wait_for_end};
use vfioctl_tests::lab::{BootFile, BootOptions, Kernel};
use vfioctl_tests::schema::assert_shape;
use vfioctl_tests::strace::count_server_calls;
use vfioctl_tests::suite::{self, trial};
use vfioctl_tests::world::{Answer, LabWorld, Picture, User, World, assert_same};

const GPU: &str = "0000:01:00.0";
const SECOND: &str = "0000:02:00.0";
/// Two cards behind one switch, and the root port above it.
const LEFT: &str = "0000:07:00.0";
const RIGHT: &str = "0000:08:00.0";
const ROOT_PORT: &str = "0000:00:06.0";

/// As somebody boots who was told to switch redirection off for speed: Linux then leaves two ports
/// of one slot without it, and the cards below them share a group.
const CLEARED: &str = "pci=disable_acs_redir=0000:00:04.0;0000:00:04.1";

fn main() {
    let on_restored =
        |name: &'static str, test: fn(&LabWorld)| trial(name, move || test(&LabWorld::start()));
    suite::run(vec![
        trial("cards_that_share_are_split_and_one_goes_alone_6_1", || {
            guide(Kernel::V6_1);
        }),
        trial("cards_that_share_are_split_and_one_goes_alone_6_12", || {
            guide(Kernel::V6_12);
        }),
        on_restored("switch_is_joined_and_split_while_it_runs", switch),
        on_restored("port_without_acs_is_refused_with_the_truth", refused),
        on_restored("what_the_machine_lives_on_is_not_removed", needed),
        on_restored(
            "reduced_isolation_is_told_and_kept_from_different_people",
            reduced,
        ),
        on_restored("reports_and_dumps_of_the_lab_predict_its_groups", dumps),
        on_restored("override_killed_at_every_system_call_is_recovered", killed),
        trial("configuration_isolates_before_drivers_bind_6_1", || {
            at_boot(
                Kernel::V6_1,
                "[acs]
at_boot = true
",
            );
        }),
        trial("configuration_isolates_before_drivers_bind_6_12", || {
            at_boot(
                Kernel::V6_12,
                "[acs]
at_boot = true
ports = ['00:04.0', '00:04.1']
",
            );
        }),
        trial(
            "configuration_that_is_misspelt_is_told_and_does_nothing",
            misspelt,
        ),
        trial(
            "locked_down_kernel_is_told_what_would_have_been_written",
            locked_down,
        ),
    ]);
}

/// Who shares a group with whom, without numbers.
fn partition(lab: &LabWorld) -> BTreeSet<BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, number) in lab.picture() {
        if let Some(address) = key.strip_prefix("group ") {
            groups.entry(number).or_default().insert(address.to_owned());
        }
    }
    groups.into_values().collect()
}

/// Everything to compare, but numbers of groups: they are given out anew.
fn picture(lab: &LabWorld) -> Picture {
    let mut picture = lab.picture();
    picture.retain(|key, _| !key.starts_with("group "));
    for (number, group) in partition(lab).into_iter().enumerate() {
        picture.insert(format!("group {number:03}"), format!("{group:?}"));
    }
    let ports = lab.root(
        "for port in 04.0 04.1 06.0 07.0; do
            echo $port $(setpci -s 00:$port ECAP_ACS+6.w) $(cat /sys/bus/pci/devices/0000:00:$port/power/control)
        done",
    );
    for line in ports.lines() {
        let (port, text) = line.split_once(' ').unwrap();
        picture.insert(format!("port {port}"), text.to_owned());
    }
    picture
}

fn shares(lab: &LabWorld, one: &str, other: &str) -> bool {
    lab.group(one) == lab.group(other)
}

fn verdict(answer: &Answer, address: &str) -> String {
    let devices = answer.json["devices"].as_array().unwrap();
    let device = devices.iter().find(|device| device["address"] == address);
    device.unwrap()["verdict"].as_str().unwrap().to_owned()
}

fn check(lab: &LabWorld, id: &str) -> String {
    let answer = lab.vfioctl(User::Alice, &["check", "--only", id]);
    let rows = answer.json["checks"].as_array().unwrap();
    rows.iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The guide's own story: shared, checked, overridden, checked, passed.
fn guide(kernel: Kernel) {
    let lab = &LabWorld::boot(&BootOptions {
        kernel: Some(kernel),
        kernel_args: vec![CLEARED.to_owned()],
        ..BootOptions::default()
    });
    assert!(shares(lab, GPU, SECOND));
    let before = picture(lab);
    let audit = lab.vfioctl(User::Alice, &["acs", "audit", GPU]);
    assert_eq!((audit.status, verdict(&audit, GPU)), (1, "shared".into()));
    assert_shape("acs-audit", &audit.json);
    let shared = check(lab, "gpu");
    assert!(shared.contains(SECOND), "{shared}");
    // What is predicted before is what comes.
    let planned = lab
        .vfioctl(User::Alice, &["acs", "override", "--plan", GPU, SECOND])
        .done();
    assert_same(&picture(lab), &before, "after a plan");
    let done = lab
        .vfioctl(User::Alice, &["acs", "override", GPU, SECOND])
        .done();
    assert_shape("acs-change", &done);
    assert_eq!(done["groups_now"], planned["groups_predicted"]);
    assert_eq!(done["steps"], planned["steps"]);
    assert!(!shares(lab, GPU, SECOND));
    assert_eq!(lab.driver(GPU).as_deref(), Some("bochs-drm"));
    let audit = lab.vfioctl(User::Alice, &["acs", "audit", GPU, SECOND]);
    assert_eq!((audit.status, verdict(&audit, GPU)), (0, "isolated".into()));
    let split = check(lab, "gpu");
    assert_ne!(split, shared);
    // The card alone goes into a guest.
    let isolated = lab.picture();
    create(lab, "", &[]).done();
    wait_for_end(lab);
    let text = console(lab);
    assert!(text.contains("1234:1111 class 038000"), "{text}");
    assert!(text.contains("fails=0"), "{text}");
    assert_eq!(lab.driver(SECOND).as_deref(), Some("bochs-drm"));
    assert_gone(lab, &isolated);
    // An override that has nothing to do does nothing.
    let again = lab.vfioctl(User::Alice, &["acs", "override", GPU]).done();
    assert_eq!(again["steps"], json!([]));
    lab.vfioctl(User::Alice, &["acs", "restore"]).done();
    assert!(shares(lab, GPU, SECOND));
    assert_same(&picture(lab), &before, "after a restore");
}

fn switch(lab: &LabWorld) {
    let before = picture(lab);
    lab.vfioctl(
        User::Alice,
        &["acs", "set", ROOT_PORT, "-rr,-cr", "--regroup"],
    )
    .done();
    assert!(shares(lab, LEFT, RIGHT));
    let audit = lab.vfioctl(User::Alice, &["acs", "audit", LEFT]);
    assert_eq!(verdict(&audit, LEFT), "shared");
    let joined = picture(lab);
    let done = lab.vfioctl(User::Alice, &["acs", "override", LEFT]).done();
    assert!(!shares(lab, LEFT, RIGHT));
    // Both cards are alive: a window that found no room would have left one deaf.
    for card in [LEFT, RIGHT] {
        assert_eq!(lab.driver(card).as_deref(), Some("bochs-drm"), "{done:#}");
    }
    // The kernel separates them, and the switch may not: that is said.
    let audit = lab.vfioctl(User::Alice, &["acs", "audit", LEFT]);
    assert_eq!(
        (audit.status, verdict(&audit, LEFT)),
        (1, "open_switch".into())
    );
    assert_ne!(picture(lab), joined);
    lab.vfioctl(User::Alice, &["acs", "restore"]).done();
    assert_same(&picture(lab), &before, "after a restore");
}

fn refused(lab: &LabWorld) {
    let before = picture(lab);
    let answer = lab.vfioctl(User::Alice, &["acs", "override", "03:00.0"]);
    answer.fails(1, "NoAcs");
    for word in ["0000:00:05.0", "no ACS capability"] {
        assert!(answer.message().contains(word), "{answer}");
    }
    let hint = answer.json["error"]["hint"].as_str().unwrap();
    assert!(
        hint.contains("pcie_acs_override=") && hint.contains("asserts"),
        "{hint}"
    );
    let set = |words: &[&str]| lab.vfioctl(User::Alice, &[&["acs", "set"], words].concat());
    set(&["00:05.0", "+sv"]).fails(1, "NoAcsCapability");
    set(&["00:04.0", "+ec"]).fails(1, "BitsNotOffered");
    set(&["00:1e.0", "+sv"]).fails(2, "UnknownAddress");
    assert_eq!(set(&["00:04.0", "0x1d"]).status, 2);
    let bridge = lab.vfioctl(User::Alice, &["acs", "override", "00:04.0"]);
    bridge.fails(1, "Bridge");
    let nobody = lab.run_as(User::Carol, "vfioctl acs override");
    assert_eq!(nobody.rc, 2, "{}", nobody.text);
    assert_same(&picture(lab), &before, "after refusals");
}

fn needed(lab: &LabWorld) {
    let before = picture(lab);
    // The disk under /srv, and the card with the default route.
    for port in ["00:08.0", "00:08.1"] {
        let words = ["acs", "set", port, "-rr", "--regroup"];
        lab.vfioctl(User::Alice, &words).fails(1, "NeededByHost");
    }
    lab.vfioctl(User::Bob, &["bind", SECOND]).done();
    let words = ["acs", "set", "00:04.1", "-rr", "--regroup"];
    lab.vfioctl(User::Alice, &words).fails(1, "Claimed");
    lab.vfioctl(User::Bob, &["release", SECOND]).done();
    assert_same(&picture(lab), &before, "after refusals");
}

fn reduced(lab: &LabWorld) {
    let clear = |user, port: &str| lab.vfioctl(user, &["acs", "set", port, "-rr,-cr"]);
    clear(User::Alice, "00:04.0").done();
    lab.vfioctl(User::Alice, &["bind", GPU]).done();
    // Without the second port they would share; alice has the one, so nobody may do that.
    clear(User::Bob, "00:04.1").fails(1, "WouldJoin");
    lab.vfioctl(User::Alice, &["release", GPU]).done();
    clear(User::Bob, "00:04.1").done();
    let told = check(lab, "isolation");
    assert!(told.contains("isolation is reduced"), "{told}");
    let audit = lab.vfioctl(User::Alice, &["acs", "audit", GPU]);
    assert_eq!((audit.status, verdict(&audit, GPU)), (1, "stale".into()));
    lab.vfioctl(User::Alice, &["bind", GPU]).done();
    lab.vfioctl(User::Bob, &["bind", SECOND])
        .fails(1, "IsolationReduced");
    // One person may have both.
    lab.vfioctl(User::Alice, &["bind", SECOND]).done();
    lab.vfioctl(User::Alice, &["release", SECOND]).done();
    lab.vfioctl(User::Bob, &["acs", "restore"]).done();
    lab.vfioctl(User::Bob, &["bind", SECOND]).done();
    let told = check(lab, "isolation");
    assert!(!told.contains("isolation is reduced"), "{told}");
}

/// What is predicted from a text, here or elsewhere, is what the kernel made.
fn dumps(lab: &LabWorld) {
    let kernel = partition(lab);
    let live = lab.vfioctl(User::Alice, &["groups", "--predict"]);
    assert_eq!(live.status, 0, "{live}");
    assert_shape("prediction", &live.json);
    assert_eq!(live.json["kernel"]["equal"], true, "{live}");
    lab.root(
        "lspci -D -xxxx >/tmp/root.txt; lspci -xxx >/tmp/short.txt; lspci -vvv >/tmp/verbose.txt
        vfioctl report /tmp/report.txt; chmod 644 /tmp/*.txt",
    );
    let written = lab.run_as(User::Alice, "vfioctl report >/tmp/alice.txt 2>/dev/null");
    assert_eq!(written.rc, 0, "{}", written.text);
    let covered: BTreeSet<String> = kernel.iter().flatten().cloned().collect();
    for file in ["root", "verbose", "report", "alice"] {
        let path = format!("/tmp/{file}.txt");
        // Carol sees nothing of this machine but the file.
        let told = lab.vfioctl(User::Carol, &["groups", "--dump", &path]);
        assert_eq!(told.status, 0, "{file}: {told}");
        assert_shape("prediction", &told.json);
        assert_eq!(told.json["partial"], false, "{file}: {told}");
        let groups: Vec<Vec<String>> = serde_json::from_value(told.json["groups"].clone()).unwrap();
        let predicted: BTreeSet<BTreeSet<String>> = groups
            .into_iter()
            .map(|group| {
                group
                    .into_iter()
                    .filter(|at| covered.contains(at))
                    .collect()
            })
            .filter(|group: &BTreeSet<String>| !group.is_empty())
            .collect();
        assert_eq!(predicted, kernel, "{file}");
    }
    // 256 bytes do not reach the capability that decides: that is said, and not guessed.
    let short = lab.vfioctl(User::Carol, &["groups", "--dump", "/tmp/short.txt"]);
    assert_ne!(short.json["uncertain"], json!([]), "{short}");
    let svg = lab.root("vfioctl groups --svg - | head -c 200");
    assert!(svg.contains("<svg"), "{svg}");
}

/// Boots with two ports cleared and with this configuration; tells what the unit said.
fn boot_with(kernel: Kernel, text: &str) -> (LabWorld, String) {
    let lab = LabWorld::boot(&BootOptions {
        kernel: Some(kernel),
        kernel_args: vec![CLEARED.to_owned()],
        files: vec![BootFile {
            path: "/etc/vfioctl/vfioctl.toml".into(),
            content: text.as_bytes().to_vec(),
            mode: 0o644,
        }],
        ..BootOptions::default()
    });
    let log = lab.root("journalctl -b -u vfioctl-acs.service --no-pager -o cat");
    assert_eq!(lab.driver(GPU).as_deref(), Some("bochs-drm"), "{log}");
    (lab, log)
}

fn at_boot(kernel: Kernel, text: &str) {
    let (lab, log) = boot_with(kernel, text);
    assert!(!shares(&lab, GPU, SECOND), "{text}\n{log}");
    // Before any driver: the card was found twice, and bochs bound it once.
    let bound = lab.root(&format!(
        "journalctl -b -k --no-pager -o cat | grep -c 'Initialized bochs-drm.*{GPU}' || :"
    ));
    assert_eq!(bound.trim(), "1", "{log}");
    let audit = lab.vfioctl(User::Alice, &["acs", "audit", GPU]);
    assert_eq!(verdict(&audit, GPU), "isolated");
    assert_eq!(audit.json["changes"][0]["user"], "root", "{audit}");
}

fn misspelt() {
    let (lab, log) = boot_with(Kernel::V6_1, "[acs]\nat_bot = true\n");
    assert!(log.contains("line 2") && log.contains("at_bot"), "{log}");
    assert!(shares(&lab, GPU, SECOND), "{log}");
}

fn locked_down() {
    let lab = LabWorld::boot(&BootOptions {
        kernel_args: vec!["lockdown=integrity".to_owned()],
        ..BootOptions::default()
    });
    let before = picture(&lab);
    let answer = lab.vfioctl(User::Alice, &["acs", "set", "00:04.0", "-rr"]);
    answer.fails(1, "Lockdown");
    assert!(
        answer.message().contains("clear the ACS bits rr of"),
        "{answer}"
    );
    assert_same(&picture(&lab), &before, "after a refusal");
    // The rest of the product works.
    lab.vfioctl(User::Alice, &["bind", GPU]).done();
}

/// The calls between which the world outside the helper differs: children that write to sysfs are
/// made, files of its state are complete, in place or gone.
const CALLS: &str = "clone,fsync,renameat,unlinkat";

/// Starts a helper, under strace or plain; waits for its socket.
const START: &str = r"
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

/// The real helper, killed at each of its system calls while it splits two cards behind a switch.
fn killed(lab: &LabWorld) {
    const STRACE: &str = "strace -qq -f -o /run/strace.log -e signal=none";
    let alice = "setpriv --reuid=alice --regid=alice --init-groups vfioctl";
    let join = format!("{alice} acs set {ROOT_PORT} -rr,-cr --regroup >/run/join.out 2>&1");
    let split = format!("{alice} acs override {LEFT} >/run/split.out 2>&1");
    lab.stop_helper();
    lab.root(&format!("{START} start ''; {join}; stop"));
    assert!(shares(lab, LEFT, RIGHT));
    let joined = picture(lab);
    lab.root(&format!(
        "{START} start '{STRACE} -e trace={CALLS}'; {split}; {alice} acs restore; stop"
    ));
    let log = lab.root("cat /run/strace.log; rm -f /run/strace.log");
    lab.root(&format!("{START} start ''; {join}; stop"));
    assert_same(&picture(lab), &joined, "after counting");
    let points = count_server_calls(&log);
    assert!(points.values().sum::<usize>() >= 10, "{points:?}\n{log}");
    let mut killed = 0;
    for (call, count) in &points {
        for at in 1..=*count {
            let when = format!("killed at {call} {at}");
            let text = lab.root(&format!(
                "{START} start '{STRACE} -e trace={call} -e inject={call}:signal=SIGKILL:when={at}'
                {split}; pgrep -x vfioctl-helper >/dev/null && echo alive; stop
                start ''; vfioctl --json recover | tr -d '\\n'; stop"
            ));
            let (alive, recovered) = match text.strip_prefix("alive\n") {
                Some(rest) => (true, rest),
                None => (false, text.as_str()),
            };
            killed += usize::from(!alive);
            let recovered: Value = serde_json::from_str(recovered).unwrap_or_default();
            for one in recovered["recovered"].as_array().into_iter().flatten() {
                assert_eq!(one["home"], true, "{when}: {one:#}");
                assert_eq!(one["leftovers"], json!([]), "{when}: {one:#}");
            }
            if !shares(lab, LEFT, RIGHT) {
                // The override had taken effect, or was not reached by the kill.
                let none = recovered["recovered"].as_array().is_some_and(Vec::is_empty);
                assert!(none, "{when}: {recovered:#}");
                lab.root(&format!("{START} start ''; {join}; stop"));
            }
            assert_same(&picture(lab), &joined, &when);
        }
    }
    eprintln!("override killed at {killed} calls: {points:?}");
    assert!(killed >= 10, "only {killed} kills came to pass: {points:?}");
}
