//! What a request may say: everything else is refused, and changes nothing
//! (`docs/threat-model.md`).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use serde_json::{Value, json};
use vfioctl_tests::raw::{assert_answers, connect};
use vfioctl_tests::suite::{self, FakeTest};
use vfioctl_tests::world::{FakeWorld, assert_same};

const ALICE: u32 = 1001;
const BOB: u32 = 1002;
const GPU: &str = "0000:01:00.0";
const BIND: &str = "io.vfioctl.Device.Bind";
const READ_LOG: &str = "io.vfioctl.Machine.ReadLog";
const CLAIM: &str = "io.vfioctl.Container.Claim";
const INVALID: &str = "org.varlink.service.InvalidParameter";

const TESTS: &[FakeTest] = &[
    (
        "unknown_parameters_are_refused_at_every_depth",
        unknown_parameters,
    ),
    ("upgrade_is_refused", upgrade),
    ("garbage_is_answered_or_cut", garbage),
    ("deep_json_is_answered_or_cut", deep_json),
    ("wrong_types_are_refused", wrong_types),
    (
        "methods_and_interfaces_that_are_not_there_are_told",
        not_there,
    ),
    ("service_describes_itself", introspection),
    ("oneway_call_has_no_reply", oneway),
    ("requests_sent_together_are_answered_in_order", pipelined),
];

fn main() {
    suite::run_on_fake(TESTS);
}

fn unknown_parameters(world: &FakeWorld) {
    let before = world.listing();
    let spec = |field: &str, value: Value| {
        let mut spec = json!({
            "name": "a", "memory_mib": 64, "cores": 1, "disks": [], "devices": [GPU],
            "network": "none", "kernel": {"image": "/k"},
        });
        *spec.pointer_mut(field).unwrap() = value;
        json!({"spec": spec})
    };
    let disk = json!({"path": "/d", "format": "raw", "raw": true});
    let cases = [
        (BIND, json!({"address": GPU, "dryrun": true}), "dryrun"),
        (
            "io.vfioctl.Device.Recover",
            json!({"commit": true, "force": 1}),
            "force",
        ),
        ("io.vfioctl.Device.ListClaims", json!({"all": true}), "all"),
        (
            "io.vfioctl.Acs.Set",
            json!({"address": "0000:00:04.0", "bits": "-rr", "offset": 6}),
            "offset",
        ),
        (
            "io.vfioctl.Acs.Isolate",
            json!({"addresses": [], "force": true}),
            "force",
        ),
        (
            CLAIM,
            json!({"name": "c", "addresses": [GPU], "uid": 0}),
            "uid",
        ),
        (
            "io.vfioctl.Container.End",
            json!({"name": "c", "force": true}),
            "force",
        ),
        (
            "io.vfioctl.Machine.Create",
            spec("/kernel", json!({"image": "/k", "path": "/x"})),
            "spec.kernel.path",
        ),
        (
            "io.vfioctl.Machine.Create",
            spec("/disks", json!([{"path": "/d", "format": "raw"}, disk])),
            "spec.disks[1].raw",
        ),
        (
            "io.vfioctl.Machine.Create",
            json!({"spec": {"nam": "a"}}),
            "spec.nam",
        ),
        (
            "io.vfioctl.Machine.Create",
            json!({"spec": {"forwards": [{"port": 1}, {"port": 2, "raw": "x"}]}}),
            "spec.forwards[1].raw",
        ),
        (
            "io.vfioctl.Machine.Start",
            json!({"name": "a", "spec": {}}),
            "spec",
        ),
        (
            "io.vfioctl.Machine.ReadLog",
            json!({"name": "a", "of": "qemu", "offset": 0, "path": "/etc/shadow"}),
            "path",
        ),
    ];
    for (method, parameters, unknown) in cases {
        let reply = connect(world, ALICE).call(method, &parameters).unwrap();
        let expected = json!({"error": INVALID, "parameters": {"parameter": unknown}});
        assert_eq!(reply, expected, "{method} {parameters}");
    }
    assert_same(&world.listing(), &before, "afterwards");
}

fn upgrade(world: &FakeWorld) {
    let before = world.listing();
    let mut raw = connect(world, ALICE);
    raw.request(&json!({"method": BIND, "parameters": {"address": GPU}, "upgrade": true}));
    assert_eq!(raw.reply().unwrap()["error"], INVALID);
    assert_same(&world.listing(), &before, "afterwards");
}

fn garbage(world: &FakeWorld) {
    let before = world.listing();
    // A fixed sequence of bytes that looks like nothing (a linear congruence).
    let mut state = 1_u32;
    let mut noise = vec![0; 100_000];
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = u8::try_from(state >> 24).unwrap();
    }
    for bytes in [
        &noise[..],
        &[0; 1000],
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n\0",
        b"{}\0",
        b"[]\0",
        b"null\0",
        b"\"io.vfioctl.Device.Bind\"\0",
        b"{\"method\":5}\0",
        b"{\"method\":\"\"}\0",
        b"{\"method\":\"Bind\"}\0",
        b"{\"method\":\"..\xff\"}\0",
        b"{\"method\":\"io.vfioctl.Device.Bind\",\"method\":\"x.y\"}\0",
    ] {
        let mut raw = connect(world, ALICE);
        raw.try_send(bytes);
        assert_answers(world, BOB);
    }
    assert_same(&world.listing(), &before, "afterwards");
}

fn deep_json(world: &FakeWorld) {
    for text in ["[".repeat(200_000), "{\"a\":".repeat(40_000)] {
        let mut raw = connect(world, ALICE);
        raw.try_send(format!("{text}\0").as_bytes());
        let reply = raw.reply();
        assert!(reply.is_none_or(|reply| reply["error"] == INVALID));
        assert_answers(world, BOB);
    }
    let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let mut raw = connect(world, ALICE);
    let request = format!(r#"{{"method":"{BIND}","parameters":{{"address":{nested}}}}}"#);
    raw.send(format!("{request}\0").as_bytes()).unwrap();
    assert_eq!(raw.reply().unwrap()["error"], INVALID);
}

fn wrong_types(world: &FakeWorld) {
    let before = world.listing();
    for (method, parameters) in [
        (BIND, json!({"address": 5})),
        (BIND, json!({"address": null})),
        (BIND, json!({"address": {"bus": 1}})),
        (BIND, json!({"address": GPU, "members": GPU})),
        (BIND, json!({"address": GPU, "members": [1]})),
        (BIND, json!({"address": GPU, "members": ["x"]})),
        (BIND, json!({"address": "../../etc/passwd"})),
        (BIND, json!({"address": format!("{GPU}\n")})),
        (BIND, json!({})),
        (BIND, json!([])),
        (BIND, json!("x")),
        ("io.vfioctl.Device.Recover", json!({"commit": "yes"})),
        (CLAIM, json!({"name": "c"})),
        (CLAIM, json!({"name": "c", "addresses": []})),
        (CLAIM, json!({"name": "c", "addresses": GPU})),
        (CLAIM, json!({"name": "c", "addresses": [GPU, "../1"]})),
        (CLAIM, json!({"name": "c", "addresses": [GPU, "01:00.0"]})),
        (CLAIM, json!({"name": "c", "addresses": addresses(65)})),
        (CLAIM, json!({"name": "c", "addresses": addresses(10_000)})),
        (CLAIM, json!({"name": "", "addresses": [GPU]})),
        (CLAIM, json!({"name": "../c", "addresses": [GPU]})),
        (CLAIM, json!({"name": "c.json", "addresses": [GPU]})),
        (CLAIM, json!({"name": "c\u{0}", "addresses": [GPU]})),
        (CLAIM, json!({"name": "c".repeat(64), "addresses": [GPU]})),
        (
            CLAIM,
            json!({"name": "c", "addresses": [GPU], "exclusive": 1}),
        ),
        (CLAIM, json!({"name": "c", "addresses": [GPU], "user": 0})),
        (CLAIM, json!({"name": "c", "addresses": [GPU], "user": ""})),
        (
            CLAIM,
            json!({"name": "c", "addresses": [GPU], "user": "a\n<3>b"}),
        ),
        (
            CLAIM,
            json!({"name": "c", "addresses": [GPU], "user": "\u{1b}[2J"}),
        ),
        (
            CLAIM,
            json!({"name": "c", "addresses": [GPU], "user": "a".repeat(129)}),
        ),
        ("io.vfioctl.Container.End", json!({"name": "../c"})),
        ("io.vfioctl.Container.End", json!({"name": null})),
        (
            "io.vfioctl.Acs.Set",
            json!({"address": "0000:00:04.0", "bits": "0x1d"}),
        ),
        (
            "io.vfioctl.Acs.Set",
            json!({"address": "../04.0", "bits": "+sv"}),
        ),
        ("io.vfioctl.Acs.Isolate", json!({"addresses": ["x"]})),
        ("io.vfioctl.Acs.Isolate", json!({"addresses": "all"})),
        (
            "io.vfioctl.Acs.Restore",
            json!({"addresses": vec!["0000:00:04.0"; 300]}),
        ),
        (
            "io.vfioctl.Machine.Stop",
            json!({"name": "a", "how": "gently"}),
        ),
        ("io.vfioctl.Machine.Show", json!({"name": "../a"})),
        ("io.vfioctl.Machine.Create", json!({"spec": 1})),
        (
            "io.vfioctl.Machine.Create",
            json!({"spec": {"name": "a", "memory_mib": -1,
            "cores": 1, "disks": [], "devices": [], "network": "none"}}),
        ),
        (
            "io.vfioctl.Machine.Create",
            json!({"spec": {"name": "a", "memory_mib": 1e30,
            "cores": 1, "disks": [], "devices": [], "network": "none"}}),
        ),
        ("io.vfioctl.Machine.Start", json!({"name": "../a"})),
        ("io.vfioctl.Machine.Start", json!({})),
        (READ_LOG, json!({"name": "a", "of": "shadow", "offset": 0})),
        (READ_LOG, json!({"name": "a", "of": "qemu", "offset": -1})),
        (READ_LOG, json!({"name": "a", "of": "qemu", "offset": 1e30})),
        (READ_LOG, json!({"name": "../a", "of": "qemu", "offset": 0})),
        (READ_LOG, json!({"name": "a", "of": "qemu"})),
    ] {
        let reply = connect(world, ALICE).call(method, &parameters).unwrap();
        assert_eq!(reply["error"], INVALID, "{method} {parameters}: {reply}");
    }
    for network in [
        json!({"network": "bridge"}),
        json!({"network": "none", "socket": "/s"}),
        json!({"network": "user", "socket": "/s"}),
        json!({"network": "stream"}),
        json!({"network": "stream", "socket": "s"}),
        json!({"network": "stream", "socket": "/a\nb"}),
        json!({"network": "stream", "socket": "\u{0}abstract"}),
        json!({"network": "stream", "socket": "/s".repeat(54)}),
        json!({"network": "stream", "socket": "/s", "forwards": forwards(1)}),
        json!({"network": "none", "forwards": forwards(1)}),
        json!({"network": "user", "forwards": forwards(33)}),
        json!({"network": "user", "forwards": [{"port": 22}]}),
        json!({"network": "user", "forwards": [{"port": 0, "guest_port": 22}]}),
        json!({"network": "user", "forwards": [{"port": 1, "guest_port": 65536}]}),
        json!({"network": "user", "forwards": [{"port": "1-:1,x=", "guest_port": 1}]}),
        json!({"network": "user", "forwards": forwards_of(&["::1"])}),
        json!({"network": "user", "forwards": forwards_of(&["localhost"])}),
        json!({"network": "user", "forwards": forwards_of(&["127.0.0.1:1-:1,guestfwd=x"])}),
        json!({"network": "user", "forwards": forwards_of(&["127.0.0.1", "127.0.0.1"])}),
    ] {
        let mut spec = json!({"name": "a", "memory_mib": 64, "cores": 1, "disks": [],
            "devices": [GPU], "kernel": {"image": "/k"}});
        let fields = network.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(fields);
        for method in ["io.vfioctl.Machine.Create", "io.vfioctl.Machine.Plan"] {
            let parameters = json!({"spec": spec});
            let reply = connect(world, ALICE).call(method, &parameters).unwrap();
            assert_eq!(reply["error"], INVALID, "{method} {network}: {reply}");
        }
    }
    assert_same(&world.listing(), &before, "afterwards");
    assert_answers(world, ALICE);
}

/// As many forwards, each of another port.
fn forwards(count: u16) -> Vec<Value> {
    let ports = 1..=count;
    ports
        .map(|port| json!({"port": port, "guest_port": 22}))
        .collect()
}

/// A forward of the same port of each address.
fn forwards_of(addresses: &[&str]) -> Vec<Value> {
    let forward = |address: &&str| json!({"address": address, "port": 1, "guest_port": 1});
    addresses.iter().map(forward).collect()
}

/// Addresses of as many functions.
fn addresses(count: usize) -> Vec<String> {
    let at = |number: usize| format!("{:04x}:{:02x}:00.0", number / 256, number % 256);
    (0..count).map(at).collect()
}

fn not_there(world: &FakeWorld) {
    for (method, error) in [
        (
            "io.vfioctl.Device.Explode",
            "org.varlink.service.MethodNotFound",
        ),
        (
            "io.vfioctl.Nothing.Bind",
            "org.varlink.service.InterfaceNotFound",
        ),
    ] {
        let reply = connect(world, ALICE).call(method, &json!({})).unwrap();
        assert_eq!(reply["error"], error, "{method}: {reply}");
    }
    assert_answers(world, ALICE);
}

fn introspection(world: &FakeWorld) {
    let mut raw = connect(world, ALICE);
    let info = raw.call("org.varlink.service.GetInfo", &json!({})).unwrap();
    let interfaces = [
        "io.vfioctl.Acs",
        "io.vfioctl.Container",
        "io.vfioctl.Device",
        "io.vfioctl.Inventory",
        "io.vfioctl.Machine",
        "org.varlink.service",
    ];
    let told = info["parameters"]["interfaces"].as_array().unwrap();
    let mut told: Vec<&str> = told.iter().filter_map(Value::as_str).collect();
    // The crate keeps them in a map without an order.
    told.sort_unstable();
    assert_eq!(told, interfaces, "{info}");
    for interface in interfaces {
        let parameters = json!({"interface": interface});
        let reply = raw
            .call("org.varlink.service.GetInterfaceDescription", &parameters)
            .unwrap();
        let text = reply["parameters"]["description"].as_str().unwrap();
        assert!(text.contains(&format!("interface {interface}")), "{text}");
    }
    let parameters = json!({"interface": "io.vfioctl.Nothing"});
    let reply = raw.call("org.varlink.service.GetInterfaceDescription", &parameters);
    assert!(reply.is_none_or(|reply| reply["error"].is_string()));
    assert_answers(world, ALICE);
}

fn oneway(world: &FakeWorld) {
    let mut raw = connect(world, ALICE);
    raw.request(
        &json!({"method": "io.vfioctl.Device.ListClaims", "parameters": {}, "oneway": true}),
    );
    for _ in 0..2 {
        let reply = raw
            .call("io.vfioctl.Inventory.GetVersion", &json!({}))
            .unwrap();
        assert!(reply["parameters"]["level"].is_i64(), "{reply}");
    }
    // A oneway call is refused as silently as it is answered.
    raw.request(&json!({"method": BIND, "parameters": {"address": "x"}, "oneway": true}));
    raw.request(&json!({"method": BIND, "parameters": {"dryrun": 1}, "oneway": true}));
    assert!(raw.is_answered());
}

fn pipelined(world: &FakeWorld) {
    let mut raw = connect(world, ALICE);
    let version = json!({"method": "io.vfioctl.Inventory.GetVersion", "parameters": {}});
    let claims = json!({"method": "io.vfioctl.Device.ListClaims", "parameters": {}});
    raw.send(format!("{version}\0{claims}\0{version}\0").as_bytes())
        .unwrap();
    assert!(raw.reply().unwrap()["parameters"]["level"].is_i64());
    assert_eq!(raw.reply().unwrap()["parameters"]["claims"], json!([]));
    assert!(raw.reply().unwrap()["parameters"]["level"].is_i64());
}
