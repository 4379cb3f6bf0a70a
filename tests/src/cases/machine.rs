//! Machines, as far as one can tell without QEMU: started again in vain, their logs, their command
//! lines. What runs, runs in the lab (`suites/machines.rs`, `restarts.rs`, `connections.rs`).

use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::container::{assert_claimed, assert_ended, claim, end};
use super::{AUDIO, Case, GPU, both, fake_only};
use crate::fake::Fault;
use crate::world::{FakeWorld, User, World, assert_same};

const REASON: &str = "there machines run: suites/restarts.rs";

pub(super) const CASES: &[Case] = &[
    fake_only("start_that_fails_leaves_a_stopped_machine", REASON, fails),
    fake_only(
        "start_with_what_others_have_is_refused_and_changes_nothing",
        REASON,
        refused,
    ),
    fake_only(
        "start_killed_between_any_two_steps_is_recovered",
        REASON,
        killed,
    ),
    fake_only("log_is_read_and_nothing_else_is", REASON, logs),
    both("network_of_a_machine_stays_what_was_asked_for", network),
];

const ENDED: &str = "the guest powered off";

/// A machine of alice's that has stopped, as a helper finds it.
fn stopped(world: &dyn World) -> &FakeWorld {
    let fake = world.fake().unwrap();
    let record = json!({
        "schema": 1, "uid": 1001, "boot_id": "5e3b1b0c-0000-4000-8000-000000000001", "since": 7,
        "spec": {
            "name": "guest", "memory_mib": 64, "cores": 1, "disks": [], "devices": [GPU],
            "network": "none", "kernel": {"image": "/k"},
        },
        "ended": ENDED, "devices_home": ["home"],
    });
    world.kill_helper();
    fake.machine()
        .write("state/machines/1001-guest.json", record.to_string());
    world.start_helper();
    // A helper that has just started still writes the records of machines that it found.
    assert_eq!(shown(world)["state"], "stopped");
    fake
}

fn shown(world: &dyn World) -> Value {
    let shown = world.vfioctl(User::Alice, &["vm", "show", "guest"]).done();
    shown["machine"].clone()
}

const START: [&str; 3] = ["vm", "start", "guest"];

fn fails(world: &dyn World) {
    stopped(world);
    let before = world.picture();
    for _ in 0..2 {
        let answer = world.vfioctl(User::Alice, &START);
        answer.fails(2, "Failed");
        let because = "there is no QEMU on a machine in a folder";
        let undone = "; everything is as it was before";
        assert_eq!(answer.message(), format!("{because}{undone}"));
        let machine = shown(world);
        assert_eq!(machine["state"], "stopped", "{machine:#}");
        let ended = format!("it did not start again: {because}");
        assert_eq!(machine["ended"], ended, "{machine:#}");
        let home = [
            format!("{GPU} is back with bochs-drm"),
            format!("{AUDIO} is back with snd_hda_intel"),
        ];
        assert_eq!(machine["devices_home"], json!(home));
        assert_same(&world.picture(), &before, "afterwards");
    }
    // A machine is its user's, and root runs none.
    for user in [User::Bob, User::Root] {
        for words in [&START[..], &["vm", "restart", "guest"]] {
            world.vfioctl(user, words).fails(2, "NoSuchMachine");
        }
    }
    // A restart of what has stopped is a start.
    world
        .vfioctl(User::Alice, &["vm", "restart", "guest"])
        .fails(2, "Failed");
    world.vfioctl(User::Alice, &["vm", "rm", "guest"]).done();
    world.vfioctl(User::Alice, &START).fails(2, "NoSuchMachine");
}

fn refused(world: &dyn World) {
    let fake = stopped(world);
    let before = fake.listing();
    let is_unchanged = |when: &str| {
        let machine = shown(world);
        let told = (&machine["state"], &machine["ended"], &machine["since"]);
        assert_eq!(
            told,
            (&json!("stopped"), &json!(ENDED), &json!(7)),
            "{when}"
        );
    };
    assert_claimed(&claim(world, User::Bob, "c", &[AUDIO]), false);
    let answer = world.vfioctl(User::Alice, &START);
    answer.fails(1, "InContainer");
    assert!(
        answer.message().contains("container 'c' of user 'bob'"),
        "{answer}"
    );
    is_unchanged("a container uses the card");
    assert_ended(&end(world, User::Bob, "c"));
    world.vfioctl(User::Bob, &["bind", GPU]).done();
    world.vfioctl(User::Alice, &START).fails(1, "Claimed");
    is_unchanged("bob has the card");
    world.vfioctl(User::Bob, &["release", GPU]).done();
    assert_same(&fake.listing(), &before, "afterwards");
}

fn killed(world: &dyn World) {
    let fake = stopped(world);
    let before = world.picture();
    for index in 1..=6 {
        for fault in [Fault::DieBefore, Fault::DieAfter] {
            let when = format!("{index} {fault:?}");
            fake.faults().tell(&[(index, fault)]);
            world.vfioctl(User::Alice, &START).fails(2, "HelperBroken");
            fake.wait_for_helper_end();
            fake.faults().tell(&[]);
            world.start_helper();
            let machine = shown(world);
            assert_eq!(machine["state"], "stopped", "{when}: {machine:#}");
            let ended = "QEMU ended while the helper was away";
            assert_eq!(machine["ended"], ended, "{when}");
            world.vfioctl(User::Alice, &["recover"]).done();
            assert_same(&world.picture(), &before, &when);
        }
    }
}

fn read_log(world: &dyn World, user: User, of: &str, offset: i64) -> Value {
    let parameters = json!({"name": "guest", "of": of, "offset": offset});
    world.call(user, "io.vfioctl.Machine.ReadLog", &parameters)
}

fn logs(world: &dyn World) {
    let fake = stopped(world);
    let folder = fake
        .machine()
        .folder()
        .join("run/vfioctl/machines/1001/guest");
    let reason = |user, of: &str| {
        let reply = read_log(world, user, of, 0);
        reply["parameters"]["reason"].as_str().map(str::to_owned)
    };
    // As after a reboot.
    assert_eq!(reason(User::Alice, "console").as_deref(), Some("NoLog"));
    std::fs::create_dir_all(folder.join("io")).unwrap();
    let put = |path: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.join(path);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        chown(&path, Some(1001), None).unwrap();
        path
    };
    // Bytes of a guest's: no text, in two parts and more than a line.
    let written: Vec<u8> = (0..70_000_u32)
        .map(|i| (i % 251).to_le_bytes()[0])
        .collect();
    let log = put("io/console.log", &written);
    put("log", b"qemu: \xff\x1b[2J\n");
    let mut all = Vec::new();
    let mut offset = 0;
    for (len, is_end) in [(65_536, false), (70_000, true), (70_000, true)] {
        let reply = read_log(world, User::Alice, "console", offset);
        let part = &reply["parameters"];
        all.extend(vfioctl_protocol::base64::decode(part["data"].as_str().unwrap()).unwrap());
        offset = part["next"].as_i64().unwrap();
        assert_eq!((offset, &part["end"]), (len, &json!(is_end)));
    }
    assert_eq!(all, written);
    let reply = read_log(world, User::Alice, "qemu", 0);
    let data = reply["parameters"]["data"].as_str().unwrap();
    let bytes = vfioctl_protocol::base64::decode(data).unwrap();
    assert_eq!(bytes, b"qemu: \xff\x1b[2J\n");
    // One that was cut goes on at its new start.
    put("io/console.log", b"cut");
    let reply = read_log(world, User::Alice, "console", offset);
    assert_eq!(reply["parameters"]["next"], 3, "{reply:#}");
    for user in [User::Bob, User::Root] {
        let reply = read_log(world, user, "console", 0);
        assert_eq!(reply["error"], "io.vfioctl.Machine.NoSuchMachine");
    }
    // What alice may put in its place, and what is not hers.
    let secret = fake.machine().folder().join("etc/secret");
    std::fs::write(&secret, "secret").unwrap();
    std::fs::remove_file(&log).unwrap();
    symlink(&secret, &log).unwrap();
    assert_eq!(reason(User::Alice, "console").as_deref(), Some("NoLog"));
    std::fs::remove_file(&log).unwrap();
    std::fs::hard_link(&secret, &log).unwrap();
    assert_eq!(reason(User::Alice, "console").as_deref(), Some("NoLog"));
    std::fs::remove_file(&log).unwrap();
    symlink("/dev/zero", &log).unwrap();
    assert_eq!(reason(User::Alice, "console").as_deref(), Some("NoLog"));
}

fn network(world: &dyn World) {
    let before = world.picture();
    let plan = |network: Value| -> Value {
        let mut spec = json!({
            "name": "m", "memory_mib": 64, "cores": 1, "disks": [], "devices": [],
            "kernel": {"image": "/k"},
        });
        let fields = network.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(fields);
        world.call(
            User::Alice,
            "io.vfioctl.Machine.Plan",
            &json!({"spec": spec}),
        )
    };
    let backend = |network: Value| -> String {
        let reply = plan(network);
        let arguments = reply["parameters"]["arguments"].as_array().unwrap().iter();
        let mut values = arguments.skip_while(|argument| *argument != "-netdev");
        values.nth(1).unwrap().as_str().unwrap().to_owned()
    };
    let forwards = json!([
        {"port": 2222, "guest_port": 22},
        {"address": "0.0.0.0", "port": 80, "guest_port": 8080},
    ]);
    assert_eq!(
        backend(json!({"network": "user", "forwards": forwards})),
        "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:0.0.0.0:80-:8080"
    );
    // Whatever stands in the path, it is the path.
    for path in [
        "/run/p.sock",
        "/a,server=on,id=x",
        "/a\",\"server\":true,\"b\":\"",
        "/a\\",
    ] {
        let text = backend(json!({"network": "stream", "socket": path}));
        let value: Value = serde_json::from_str(&text).unwrap();
        let addr = json!({"type": "unix", "path": path});
        let expected = json!({"type": "stream", "id": "net0", "server": false, "addr": addr});
        assert_eq!(value, expected);
    }
    assert_same(&world.picture(), &before, "after plans");
}
