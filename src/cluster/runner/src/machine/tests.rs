//! Every path of a machine's life, with a helper that starts nothing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::watch;
use vfioctl_api::{Exit, Gpu, GpuNumber, GpuTelemetry, LogStream, MemorySize, Phase, Wanted};

use super::fake_helper::{FakeHelper, OnCreate};
use super::folder::Place;
use super::recipe::machine_name;
use super::*;
use crate::configuration::PortRange;
use crate::node::{DeviceNodes, GpuDetail, LetGo};
use crate::world::{BeginHook, Teller};

const POWERED_OFF: Exit = Exit {
    status: 0,
    out_of_memory: false,
};

/// A node with a helper, one image and one GPU.
struct Node {
    folder: tempfile::TempDir,
    helper: FakeHelper,
    gpus: Arc<OneGpu>,
    ports: PortRange,
    machines: Machines,
}

/// A GPU that comes and goes.
#[derive(Debug, Default)]
struct OneGpu {
    address: Mutex<Option<&'static str>>,
    let_go: Arc<AtomicUsize>,
}

#[async_trait]
impl Gpus for OneGpu {
    async fn look(&self) -> Vec<GpuDetail> {
        let address = self.address.lock().unwrap().unwrap_or_default();
        let gpu = json!({
            "number": 0, "present": !address.is_empty(), "address": address, "path": "p",
            "vendor": "amd", "id": "1002:744c", "name": "a GPU",
            "vfio": {"available": true}, "containers": {"available": true},
        });
        let gpu: Gpu = serde_json::from_value(gpu).unwrap();
        let nodes = DeviceNodes::default();
        vec![GpuDetail { gpu, nodes }]
    }

    async fn telemetry(&self) -> Vec<GpuTelemetry> {
        Vec::new()
    }

    async fn let_go(&self, _: GpuNumber) -> Result<LetGo, String> {
        struct Held(Arc<AtomicUsize>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.let_go.fetch_add(1, Ordering::SeqCst);
        Ok(LetGo::of(Held(Arc::clone(&self.let_go))))
    }
}

impl Node {
    /// None where qemu-img is not installed, which makes disks.
    fn new() -> Option<Self> {
        if !Path::new("/usr/bin/qemu-img").exists() {
            eprintln!("SKIPPED: qemu-img is not installed here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["root/sys", "root/proc", "root/etc", "data", "images"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let meminfo = "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n";
        fs::write(folder.path().join("root/proc/meminfo"), meminfo).unwrap();
        let disk = folder.path().join("images/debian-12.qcow2");
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&disk)
            .arg("64M")
            .status();
        assert!(made.unwrap().success());
        let record = json!({
            "schema": 1, "name": "debian-12", "disk_bytes": 64 << 20,
            "file_bytes": fs::metadata(&disk).unwrap().len(), "sha256": "", "created": 0,
            "origin": {"kind": "file", "file": "a", "format": "raw"}, "firmware": "any",
            "distribution": null, "cloud_init": true,
        });
        fs::write(
            folder.path().join("images/debian-12.json"),
            record.to_string(),
        )
        .unwrap();
        let helper = FakeHelper::start();
        let gpus = Arc::new(OneGpu::default());
        *gpus.address.lock().unwrap() = Some("0000:01:00.0");
        let ports = free_ports();
        let machines = open(folder.path(), &helper, &gpus, ports);
        Some(Self {
            folder,
            helper,
            gpus,
            ports,
            machines,
        })
    }

    /// As after a restart of the runner.
    fn restart(&mut self) {
        self.machines = open(self.folder.path(), &self.helper, &self.gpus, self.ports);
    }

    fn path(&self, order: &Order, place: Place) -> PathBuf {
        self.machines.folders.of(&order.task).path(place)
    }

    /// The names of what lies in the folder of machines.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("data/machines")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    async fn start(&self, order: &Order) -> Result<(), StartError> {
        self.machines.start(order, &beginning(|| Ok(()))).await
    }

    async fn running(&self, order: &Order) {
        self.start(order).await.unwrap();
        assert_eq!(self.machines.find(order).await, Ok(Found::Running));
    }

    fn spec(&self, order: &Order) -> serde_json::Value {
        self.helper.state().machines[&machine_name(order)]
            .spec
            .clone()
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.helper.state().calls)
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.left(), Vec::<String>::new());
        assert!(self.helper.state().machines.is_empty());
        let first = self.ports.first;
        assert_eq!(
            self.machines.ports.take(&TaskId::new(9, 9), None),
            Ok(first)
        );
        self.machines.ports.give_back(&TaskId::new(9, 9));
    }
}

fn open(folder: &Path, helper: &FakeHelper, gpus: &Arc<OneGpu>, ssh_ports: PortRange) -> Machines {
    Machines::open(Parts {
        configuration: configuration::Machines {
            images: Some(folder.join("images")),
            ssh_ports,
            ..configuration::Machines::default()
        },
        helper: helper.socket.clone(),
        is_own_user: true,
        gpus: Arc::clone(gpus) as Arc<dyn Gpus>,
        root: Arc::new(SysRoot::below(&folder.join("root")).unwrap()),
        data: folder.join("data"),
        address: "127.0.0.1".into(),
        program: "/nonexistent/vfioctl-runner".into(),
        passt: "/nonexistent/passt".into(),
        qemu: "/nonexistent/qemu".into(),
    })
    .unwrap()
}

/// Ports that no other test of this process takes at the same time.
fn free_ports() -> PortRange {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(31_000);
    loop {
        let first = NEXT.fetch_add(4, Ordering::SeqCst);
        let range = PortRange {
            first,
            last: first + 3,
        };
        let is_free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..=range.last).all(is_free) {
            return range;
        }
    }
}

/// A small machine with the node's GPU.
fn order() -> Order {
    let mut order = sample::order();
    order.submission.memory = Some(MemorySize::from_mib(512));
    order
}

fn next_run(order: &Order) -> Order {
    Order {
        run: order.run + 1,
        ..order.clone()
    }
}

#[derive(Debug)]
struct Hook<F>(F);

#[async_trait]
impl<F: Fn() -> Result<(), StartError> + Send + Sync + std::fmt::Debug> BeginHook for Hook<F> {
    async fn begin(&self) -> Result<(), StartError> {
        (self.0)()
    }
}

/// A beginning that does this when it comes to it; it is wanted for as long as the test runs.
fn beginning(hook: fn() -> Result<(), StartError>) -> Begin {
    let (sender, wanted) = watch::channel(Wanted::Run);
    // For as long as the process lives.
    std::boxed::Box::leak(Box::new(sender));
    with_wanted(wanted, hook)
}

fn with_wanted(wanted: watch::Receiver<Wanted>, hook: fn() -> Result<(), StartError>) -> Begin {
    Begin {
        teller: Teller::new(|_| {}),
        wanted,
        begun: Box::new(Hook(hook)),
    }
}

/// What is told of a run that goes on, in order.
fn told() -> (Running, Arc<Mutex<Vec<Phase>>>) {
    let phases = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&phases);
    let teller = Teller::new(move |phase| telling.lock().unwrap().push(phase));
    (Running { teller }, phases)
}

#[tokio::test]
async fn a_machine_is_made_ends_is_started_again_and_goes() {
    let Some(mut node) = Node::new() else { return };
    let first = order();
    node.running(&first).await;
    let calls = ["Show", "Plan", "Create", "Show"];
    assert_eq!(node.calls(), calls, "asked for a plan before it begins");
    let spec = node.spec(&first);
    assert_eq!(spec["devices"], json!(["0000:01:00.0"]));
    let port = node.ports.first;
    assert_eq!(
        spec["forwards"],
        json!([{"address": "127.0.0.1", "port": port, "guest_port": 22}])
    );
    let disk = node.path(&first, Place::Disk);
    let before = fs::metadata(&disk).unwrap().ino();
    assert_eq!(
        node.gpus.let_go.load(Ordering::SeqCst),
        0,
        "held until it is taken"
    );
    node.helper
        .ends(&machine_name(&first), "the guest powered off");
    assert_eq!(
        node.machines.find(&first).await,
        Ok(Found::Ended(POWERED_OFF))
    );
    node.machines.settle(&first).await.unwrap();
    node.machines.settle(&first).await.unwrap();
    assert!(
        node.helper.state().machines.is_empty(),
        "the helper has forgotten it"
    );
    assert_eq!(
        node.machines.find(&first).await,
        Ok(Found::Ended(POWERED_OFF))
    );
    let console = fs::read_to_string(node.path(&first, Place::Console)).unwrap();
    assert_eq!(console, "Linux version 6.1\n");
    let said = fs::read_to_string(node.path(&first, Place::Qemu)).unwrap();
    let expected = "qemu: it said so\nvfioctl: the guest powered off\n\
        vfioctl: 0000:01:00.0 is back with amdgpu\n";
    assert_eq!(said, expected);
    // The card has moved to another bus, and a later runner starts it.
    *node.gpus.address.lock().unwrap() = Some("0000:02:00.0");
    node.restart();
    let second = next_run(&first);
    assert_eq!(node.machines.find(&second).await, Ok(Found::Absent));
    node.running(&second).await;
    assert_eq!(node.spec(&second)["devices"], json!(["0000:02:00.0"]));
    assert_eq!(node.spec(&second)["forwards"], spec["forwards"]);
    assert_eq!(fs::metadata(&disk).unwrap().ino(), before);
    assert!(
        !node.path(&second, Place::Console).exists(),
        "that of the run before"
    );
    node.machines.end(&second, false).await.unwrap();
    assert_eq!(
        node.machines.find(&second).await,
        Ok(Found::Ended(POWERED_OFF))
    );
    node.machines.remove(&second).await.unwrap();
    node.machines.remove(&second).await.unwrap();
    node.assert_nothing_left();
}

#[tokio::test]
async fn a_machine_that_crashed_ended_badly_and_says_how() {
    let Some(node) = Node::new() else { return };
    let order = order();
    node.running(&order).await;
    node.helper
        .ends(&machine_name(&order), "QEMU ended without a word");
    let (running, _) = told();
    let found = node.machines.wait(&order, &running).await.unwrap();
    let Found::Ended(exit) = found else {
        panic!("{found:?}")
    };
    assert_eq!(exit.status, 1);
    node.machines.settle(&order).await.unwrap();
    let said = fs::read_to_string(node.path(&order, Place::Qemu)).unwrap();
    assert!(
        said.contains("vfioctl: QEMU ended without a word\n"),
        "{said}"
    );
}

#[tokio::test]
async fn what_cannot_start_leaves_nothing_and_says_whether_it_ever_can() {
    let Some(node) = Node::new() else { return };
    let with = |change: fn(&mut vfioctl_api::Machine)| {
        let mut order = order();
        if let vfioctl_api::Backend::Machine(machine) = &mut order.submission.backend {
            change(machine);
        }
        order
    };
    let unknown_image = with(|machine| machine.image = "win".parse().ok());
    let mut greedy = order();
    greedy.submission.memory = Some(MemorySize::from_mib(32 << 10));
    let mut odd = order();
    odd.submission.cores = 4096;
    for (order, expected) in [
        (
            unknown_image,
            StartError::never("the node has no image 'win'; it has 'debian-12'"),
        ),
        (
            greedy,
            StartError::not_now(
                "the machine needs 33024 MiB of memory, and 32768 MiB of the node's are free now",
            ),
        ),
        (odd, StartError::never("4096 cores are outside 1 to 288")),
    ] {
        assert_eq!(node.start(&order).await, Err(expected));
        node.assert_nothing_left();
    }
    *node.gpus.address.lock().unwrap() = None;
    let gone = StartError::not_now("GPU 0 of the node is not in its place");
    assert_eq!(node.start(&order()).await, Err(gone));
    node.assert_nothing_left();
    assert!(!node.calls().contains(&"Create".to_owned()));
}

#[tokio::test]
async fn a_disk_that_is_smaller_than_its_image_is_refused_for_good() {
    let Some(node) = Node::new() else { return };
    let record = node.folder.path().join("images/debian-12.json");
    let text = fs::read_to_string(&record).unwrap();
    let larger = text.replace("\"disk_bytes\":67108864", "\"disk_bytes\":8589934592");
    assert_ne!(text, larger);
    fs::write(&record, larger).unwrap();
    let mut order = order();
    order.submission.backend = serde_json::from_value(json!({"machine": {"disk_gib": 1}})).unwrap();
    let error = node.start(&order).await.unwrap_err();
    let expected = "a disk of 1GiB is smaller than its image 'debian-12', which has 8192 MiB; \
        ask for a larger disk";
    assert_eq!(error, StartError::never(expected));
    node.assert_nothing_left();
}

#[tokio::test]
async fn a_refusal_of_the_helper_is_told_and_leaves_nothing() {
    let Some(node) = Node::new() else { return };
    node.helper.state().refuses_plan = Some("NeededByHost");
    let refused = StartError::not_now("no: NeededByHost; mend it");
    assert_eq!(node.start(&order()).await, Err(refused));
    node.assert_nothing_left();
    assert!(!node.calls().contains(&"Create".to_owned()));
    node.helper.state().refuses_plan = None;
    for (create, expected) in [
        (OnCreate::Refuse, "no: Claimed; mend it"),
        (OnCreate::Fail, "QEMU ended while it started"),
    ] {
        node.helper.state().create = create;
        let error = node.start(&order()).await.unwrap_err();
        assert_eq!(error, StartError::not_now(expected));
        node.assert_nothing_left();
    }
    // A machine that has run before keeps its disk.
    node.helper.state().create = OnCreate::Run;
    let first = order();
    node.running(&first).await;
    node.machines.end(&first, true).await.unwrap();
    node.machines.settle(&first).await.unwrap();
    let ended = node.machines.find(&first).await;
    node.helper.state().create = OnCreate::Refuse;
    let second = next_run(&first);
    assert!(node.start(&second).await.is_err());
    node.machines.settle(&second).await.unwrap();
    assert!(node.path(&second, Place::Disk).exists());
    assert_eq!(node.machines.find(&second).await, Ok(Found::Absent));
    assert_eq!(node.machines.find(&first).await, ended);
}

#[tokio::test]
async fn what_must_not_begin_does_not() {
    let Some(node) = Node::new() else { return };
    let no = || StartError::not_now("the disk is full");
    let begin = beginning(|| Err(StartError::not_now("the disk is full")));
    assert_eq!(node.machines.start(&order(), &begin).await, Err(no()));
    node.assert_nothing_left();
    let (_sender, wanted) = watch::channel(Wanted::Kill);
    let begin = with_wanted(wanted, || Ok(()));
    assert_eq!(
        node.machines.start(&order(), &begin).await,
        Err(StartError::Cancelled)
    );
    node.assert_nothing_left();
    assert!(!node.calls().contains(&"Create".to_owned()));
}

#[tokio::test]
async fn a_start_that_is_not_wanted_any_more_is_ended() {
    let Some(node) = Node::new() else { return };
    node.helper.state().create = OnCreate::Start;
    let (sender, wanted) = watch::channel(Wanted::Run);
    let begin = with_wanted(wanted, || Ok(()));
    let order = order();
    let starting = node.machines.start(&order, &begin);
    let cancelling = async {
        while !node.helper.state().calls.contains(&"Create".to_owned()) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        sender.send_replace(Wanted::Kill);
    };
    let (started, ()) = tokio::join!(starting, cancelling);
    assert_eq!(started, Err(StartError::Cancelled));
    node.assert_nothing_left();
}

#[tokio::test]
async fn a_question_without_an_answer_is_no_start() {
    let Some(node) = Node::new() else { return };
    let order = order();
    for at in 0..2 {
        node.helper.state().calls.clear();
        node.helper.be_silent(Some((at, true)));
        let breaking = async {
            while node.helper.state().calls.len() <= at {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            node.helper.be_silent(None);
        };
        let (started, ()) = tokio::join!(node.start(&order), breaking);
        let not_now = StartError::not_now("the connection to the helper broke");
        assert_eq!(started, Err(not_now));
        node.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_start_without_an_answer_has_to_be_looked_for() {
    let Some(node) = Node::new() else { return };
    node.helper.state().create = OnCreate::BreakOff;
    let order = order();
    assert!(matches!(
        node.start(&order).await,
        Err(StartError::Unknown(_))
    ));
    assert_eq!(node.machines.find(&order).await, Ok(Found::Running));
    node.machines.remove(&order).await.unwrap();
    node.assert_nothing_left();
}

/// The runner is killed at each question to the helper, before and after that has done what it was
/// asked; a later runner finds the run or nothing, and nothing is left in the end.
#[tokio::test]
async fn a_runner_that_is_killed_between_any_two_steps_leaves_one_machine_or_none() {
    let calls = {
        let Some(node) = Node::new() else { return };
        node.start(&order()).await.unwrap();
        node.calls().len()
    };
    for at in 0..calls {
        for does in [false, true] {
            let when = format!("call {at}, {does}");
            let Some(mut node) = Node::new() else { return };
            let order = order();
            node.helper.be_silent(Some((at, does)));
            let has_come = async {
                while node.helper.state().calls.len() <= at {
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                // For what it does, too.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            };
            tokio::select! {
                () = has_come => {}
                started = node.start(&order) => panic!("{when}: {started:?}"),
            }
            node.helper.be_silent(None);
            node.restart();
            let has_it = node.helper.state().machines.len();
            let found = node.machines.find(&order).await.unwrap();
            match (has_it, &found) {
                (1, Found::Running) | (0, Found::Absent) => {}
                other => panic!("{when}: {other:?}"),
            }
            if found == Found::Running {
                node.machines.end(&order, true).await.unwrap();
            }
            node.machines.settle(&order).await.unwrap();
            assert!(node.helper.state().machines.is_empty(), "{when}");
            node.machines.remove(&order).await.unwrap();
            node.assert_nothing_left();
        }
    }
}

/// And where it is killed while it makes the folder, which is the rest of what it does.
#[tokio::test]
async fn a_folder_that_was_made_and_not_begun_goes() {
    let Some(mut node) = Node::new() else { return };
    let order = order();
    let begin = beginning(|| Ok(()));
    let gpus = node.machines.parts.gpus.look().await;
    let made = node
        .machines
        .make_folder(&order, &begin, &gpus)
        .await
        .unwrap();
    assert_eq!(made.begun, 0);
    // As a kill leaves one in the making.
    fs::create_dir(node.folder.path().join("data/machines/.new-x")).unwrap();
    assert_eq!(node.left().len(), 2);
    node.restart();
    assert_eq!(node.left(), [order.task.as_str()]);
    assert_eq!(node.machines.find(&order).await, Ok(Found::Absent));
    // Without the helper, too: it was never asked.
    drop(std::fs::remove_file(&node.helper.socket));
    node.machines.settle(&order).await.unwrap();
    node.assert_nothing_left();
}

#[tokio::test]
async fn ports_are_kept_over_restarts_and_never_given_twice() {
    let Some(mut node) = Node::new() else { return };
    let first = order();
    node.running(&first).await;
    node.restart();
    let mut other = order();
    other.task = TaskId::new(2, 2);
    node.running(&other).await;
    let port = |order: &Order| node.spec(order)["forwards"][0]["port"].clone();
    assert_eq!(port(&first), json!(node.ports.first));
    assert_eq!(port(&other), json!(node.ports.first + 1));
    // Somebody else has taken the port meanwhile.
    node.machines.end(&first, true).await.unwrap();
    node.machines.settle(&first).await.unwrap();
    let _busy = std::net::TcpListener::bind(("127.0.0.1", node.ports.first)).unwrap();
    let second = next_run(&first);
    node.running(&second).await;
    assert_eq!(port(&second), json!(node.ports.first + 2));
}

#[tokio::test]
async fn ssh_is_told_when_it_has_spoken_and_the_end_when_it_came() {
    let Some(node) = Node::new() else { return };
    let order = order();
    node.running(&order).await;
    // What listens there takes connections long before the guest has booted.
    let listener = std::net::TcpListener::bind(("127.0.0.1", node.ports.first)).unwrap();
    let (running, phases) = told();
    let speaks = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let spoken = Arc::clone(&speaks);
    std::thread::spawn(move || {
        use std::io::Write as _;
        while let Ok((mut stream, _)) = listener.accept() {
            if spoken.load(Ordering::SeqCst) {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n");
            }
        }
    });
    let acting = async {
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        assert_eq!(
            *phases.lock().unwrap(),
            [Phase::Running {
                progress: Some("booting".into()),
                ssh: None
            }]
        );
        speaks.store(true, Ordering::SeqCst);
        while phases.lock().unwrap().len() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        node.helper
            .ends(&machine_name(&order), "the guest powered off");
    };
    let (found, ()) = tokio::join!(node.machines.wait(&order, &running), acting);
    assert_eq!(found, Ok(Found::Ended(POWERED_OFF)));
    let note = node
        .machines
        .folders
        .of(&order.task)
        .note()
        .unwrap()
        .unwrap();
    let access = vfioctl_api::SshAccess {
        address: "127.0.0.1".into(),
        port: node.ports.first,
        user: "ann".into(),
        host_key: note.host_key,
    };
    let reached = Phase::Running {
        progress: None,
        ssh: Some(access),
    };
    assert_eq!(phases.lock().unwrap().last(), Some(&reached));
}

#[tokio::test]
async fn devices_that_are_not_home_are_told_until_they_are() {
    let Some(node) = Node::new() else { return };
    let order = order();
    node.running(&order).await;
    node.helper.state().is_not_home = true;
    node.machines.end(&order, true).await.unwrap();
    node.machines.settle(&order).await.unwrap();
    assert!(node.calls().contains(&"Recover".to_owned()));
    assert_eq!(
        node.machines.sweep().await,
        ["no: NotHome; mend it; 0000:01:00.0 is back with amdgpu"]
    );
    // Nothing of it may be left before.
    assert!(node.machines.remove(&order).await.is_err());
    node.helper.state().is_not_home = false;
    assert_eq!(node.machines.sweep().await, Vec::<String>::new());
    assert!(node.helper.state().machines.is_empty());
    node.machines.remove(&order).await.unwrap();
    node.assert_nothing_left();
}

#[tokio::test]
async fn machines_of_others_are_left_alone() {
    let Some(node) = Node::new() else { return };
    let order = order();
    node.running(&order).await;
    node.helper
        .ends(&machine_name(&order), "the guest powered off");
    let other = node.helper.state().machines[&machine_name(&order)].clone();
    for name in ["win", "vps-x", "vps-0000000000000"] {
        node.helper
            .state()
            .machines
            .insert(name.into(), other.clone());
    }
    // Nor is one whose end was not noted yet.
    assert_eq!(node.machines.sweep().await, Vec::<String>::new());
    assert_eq!(node.helper.state().machines.len(), 4);
}

async fn read_all(node: &Node, order: &LogOrder) -> String {
    let mut bytes = node.machines.read_log(order).await.unwrap().unwrap();
    let mut text = Vec::new();
    while let Some(part) = bytes.next().await {
        text.extend(part.unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn logs_are_read_from_anywhere_while_it_runs_and_after() {
    let Some(node) = Node::new() else { return };
    let order = order();
    let log = |log, offset, follow| LogOrder {
        stream: "s".into(),
        host: "h".into(),
        task: order.task.clone(),
        log,
        offset,
        follow,
    };
    let none = node
        .machines
        .read_log(&log(LogStream::Stdout, 0, false))
        .await;
    assert!(none.unwrap().is_none(), "it is not a task of ours");
    node.running(&order).await;
    assert_eq!(
        read_all(&node, &log(LogStream::Stdout, 0, false)).await,
        "Linux version 6.1\n"
    );
    assert_eq!(
        read_all(&node, &log(LogStream::Stdout, 6, false)).await,
        "version 6.1\n"
    );
    assert_eq!(
        read_all(&node, &log(LogStream::Stderr, 0, false)).await,
        "qemu: it said so\n"
    );
    let name = machine_name(&order);
    let acting = async {
        node.helper.state().calls.clear();
        node.helper
            .state()
            .machines
            .get_mut(&name)
            .unwrap()
            .console
            .extend(b"login:\n");
        while !node.helper.state().calls.contains(&"ReadLog".to_owned()) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        node.helper.ends(&name, "the guest powered off");
        node.machines.settle(&order).await.unwrap();
    };
    let followed = log(LogStream::Stdout, 0, true);
    let (text, ()) = tokio::join!(read_all(&node, &followed), acting);
    assert_eq!(text, "Linux version 6.1\nlogin:\n");
    let rest = read_all(&node, &log(LogStream::Stdout, 14, true)).await;
    assert_eq!(rest, "6.1\nlogin:\n");
    let said = read_all(&node, &log(LogStream::Stderr, 17, false)).await;
    assert!(
        said.starts_with("vfioctl: the guest powered off\n"),
        "{said}"
    );
}

#[tokio::test]
async fn a_side_tells_what_it_has_and_what_is_wrong() {
    let Some(node) = Node::new() else { return };
    let report = Side::look(&node.machines).await;
    assert_eq!(report.helper.as_deref(), Some("1.2.3"));
    assert_eq!(report.images[0].name.as_str(), "debian-12");
    assert_eq!(report.default_image.unwrap().as_str(), "debian-12");
    assert!(!report.capability.available, "there is no QEMU");
    let slirp = report
        .problems
        .iter()
        .filter(|problem| problem.contains("passt"))
        .count();
    assert_eq!(slirp, 1, "{:?}", report.problems);
    drop(fs::remove_file(&node.helper.socket));
    let report = Side::look(&node.machines).await;
    let reason = report.capability.reason.unwrap();
    assert!(reason.starts_with("the helper does not run"), "{reason}");
}

#[tokio::test]
async fn a_group_that_is_not_there_is_said_and_no_machine_runs() {
    let Some(node) = Node::new() else { return };
    let parts = Parts {
        configuration: configuration::Machines {
            group: Some("vfioctl-machine".into()),
            ..configuration::Machines::default()
        },
        helper: node.helper.socket.clone(),
        is_own_user: false,
        gpus: Arc::clone(&node.gpus) as Arc<dyn Gpus>,
        root: Arc::clone(&node.machines.parts.root),
        data: node.folder.path().join("data"),
        address: "127.0.0.1".into(),
        program: PathBuf::new(),
        passt: PathBuf::new(),
        qemu: PathBuf::new(),
    };
    let error = Machines::open(parts).unwrap_err();
    let expected = "'[runner.machines] group' is 'vfioctl-machine', and there is no such group";
    assert_eq!(error, expected);
}
