//! How one reaches a virtual machine, in the lab: its network, its logs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use serde_json::json;
use vfioctl_protocol::base64;
use vfioctl_tests::guest::{create, start, vm};
use vfioctl_tests::schema::assert_shape;
use vfioctl_tests::suite::{self, trial};
use vfioctl_tests::world::{LabWorld, User, World};

fn main() {
    suite::run(vec![
        trial("forward_leads_to_the_machine", || {
            forward(&LabWorld::start());
        }),
        trial("network_stream_is_connected", || {
            stream(&LabWorld::start());
        }),
        trial("log_is_read_through_the_helper", || {
            read_log(&LabWorld::start());
        }),
    ]);
}

fn forward(lab: &LabWorld) {
    let network = ["--network", "user", "--forward", "8022:22"];
    let created = create(lab, "wait", &network).done();
    assert_shape("vm", &created);
    // QEMU takes connections for the guest, as its user, and of this host alone.
    let port = "0100007F:1F56 00000000:0000 0A";
    let script = format!("awk '/{port}/ {{ print $8 }}' /proc/net/tcp");
    assert_eq!(lab.root(&script), "1001\n");
    assert_eq!(
        lab.root("exec 3<>/dev/tcp/127.0.0.1/8022 && echo in"),
        "in\n"
    );
    vm(lab, User::Alice, &["restart", "guest", "--force"]).done();
    assert_eq!(lab.root(&script), "1001\n", "after a restart");
    vm(lab, User::Alice, &["stop", "guest", "--force"]).done();
    assert_eq!(lab.root(&script), "");
}

/// A network process of alice's, which she has started before.
fn stream(lab: &LabWorld) {
    const SOCKET: &str = "/tmp/net,work.sock";
    let listening = lab.run_as(
        User::Alice,
        &format!(
            "cd /tmp; (umask 077; exec socat -u UNIX-LISTEN:net.sock,fork /dev/null) \
                </dev/null >/dev/null 2>&1 &
            until [ -S /tmp/net.sock ]; do sleep .1; done; mv /tmp/net.sock '{SOCKET}'"
        ),
    );
    assert_eq!(listening.rc, 0, "{}", listening.text);
    let network = format!("stream={SOCKET}");
    let created = create(lab, "wait", &["--network", &network]).done();
    assert_shape("vm", &created);
    assert_eq!(created["machine"]["spec"]["socket"], SOCKET);
    let pid = created["machine"]["pid"].as_u64().unwrap();
    // Connected: the other end is QEMU's.
    let connected = lab.root(&format!(
        "for i in $(seq 50); do
            socat=$(pgrep -u alice -P $(pgrep -o -u alice -x socat) -x socat) && break; sleep .2
        done
        ls -l /proc/$socat/fd | grep -c socket: ; kill -0 {pid} && echo alive"
    ));
    assert!(
        connected.ends_with("alive\n") && !connected.starts_with('0'),
        "{connected}"
    );
    vm(lab, User::Alice, &["stop", "guest", "--force"]).done();
}

fn read_log(lab: &LabWorld) {
    start(lab, "wait");
    let read = |user, of: &str| {
        let parameters = json!({"name": "guest", "of": of, "offset": 0});
        lab.call(user, "io.vfioctl.Machine.ReadLog", &parameters)
    };
    let reply = read(User::Alice, "console");
    let data = reply["parameters"]["data"].as_str().unwrap();
    let text = String::from_utf8(base64::decode(data).unwrap()).unwrap();
    assert!(text.contains("WAITING"), "{text}");
    assert_eq!(reply["parameters"]["end"], true, "{reply:#}");
    assert_eq!(read(User::Alice, "qemu")["error"], json!(null));
    let strange = read(User::Bob, "console");
    assert_eq!(strange["error"], "io.vfioctl.Machine.NoSuchMachine");
    // The folder is alice's, and what she puts there is not followed.
    let linked = lab.run_as(
        User::Alice,
        "cd /run/vfioctl/machines/1001/guest/io && rm console.log && ln -s /etc/shadow console.log",
    );
    assert_eq!(linked.rc, 0, "{}", linked.text);
    let reply = read(User::Alice, "console");
    assert_eq!(reply["parameters"]["reason"], "NoLog", "{reply:#}");
    vm(lab, User::Alice, &["stop", "guest", "--force"]).done();
}
