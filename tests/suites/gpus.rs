//! The GPUs of a node, as its runner knows them: one story, on the fake kernel and on real ones.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use serde_json::{Value, json};
use vfioctl_api::Gpu;
use vfioctl_runner::gpu::{LiveGpus, Parts, answer_json};
use vfioctl_scan::SysRoot;
use vfioctl_tests::fake::run_helper_if_asked;
use vfioctl_tests::lab::{BootFile, BootOptions, Kernel};
use vfioctl_tests::schema::assert_shape;
use vfioctl_tests::suite::{self, ignored, trial};
use vfioctl_tests::world::{FakeWorld, LabWorld, User, World, is_root};

const GPU: &str = "0000:01:00.0";
/// The only one on its port, so that taking it out moves nothing else.
const TAKEN_OUT: &str = "0000:02:00.0";
/// Two that share a group.
const MATES: [&str; 2] = ["0000:03:00.0", "0000:04:00.0"];
/// All that the lab's machine has, in the order of addresses.
const ALL: [&str; 7] = [
    GPU,
    TAKEN_OUT,
    MATES[0],
    MATES[1],
    "0000:07:00.0",
    "0000:08:00.0",
    "0000:81:00.0",
];
/// Where a user of the lab keeps numbers.
const NUMBERS: &str = "/home/alice/numbers/gpus.json";

fn main() {
    run_helper_if_asked();
    let on_fake = match is_root() {
        true => trial("gpus_of_a_node_on_the_fake_kernel", fake),
        false => ignored(
            "gpus_of_a_node_on_the_fake_kernel",
            "only root can act for several users",
        ),
    };
    suite::run(vec![
        on_fake,
        trial("gpus_of_a_node_in_the_lab", lab),
        trial("numbers_survive_a_boot_of_another_kernel", boot),
    ]);
}

fn fake() {
    let world = FakeWorld::start();
    for number in 0..ALL.len() {
        world.machine().write(&format!("dev/dri/card{number}"), "");
    }
    let data = tempfile::tempdir().unwrap();
    let root = || SysRoot::below(world.machine().folder()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    // A runner that has just started, each time.
    let look = || {
        let gpus = LiveGpus::open(Parts {
            root: root(),
            helper: world.socket(),
            data: data.path().to_owned(),
            may_number: Ok(()),
            // There is no GPU of NVIDIA's.
            program: "/nonexistent".into(),
            nvml: None,
        });
        let answer = runtime.block_on(async { answer_json(&gpus.unwrap()).await });
        gpus_of(&answer.unwrap())
    };
    story(&world, &look);
    world.kernel().remove(TAKEN_OUT).unwrap();
    is_away(&look());
    world.kernel().rescan("0000:00:04.1").unwrap();
    are_all_there(&look());
}

fn lab() {
    let lab = LabWorld::start();
    let look = || look_in(&lab);
    story(&lab, &look);
    lab.root(&format!("echo 1 >/sys/bus/pci/devices/{TAKEN_OUT}/remove"));
    is_away(&look());
    lab.root("echo 1 >/sys/bus/pci/rescan; udevadm settle");
    are_all_there(&look());
}

/// The same numbers, with another kernel and with a card that is on vfio-pci from the start.
fn boot() {
    let before = LabWorld::start();
    are_all_there(&look_in(&before));
    let mut numbers: Value = serde_json::from_str(&before.root(&format!("cat {NUMBERS}"))).unwrap();
    // As if they had been given in another order.
    for gpu in numbers["gpus"].as_array_mut().unwrap() {
        let number = gpu["number"].as_u64().unwrap();
        gpu["number"] = json!(ALL.len() as u64 - 1 - number);
    }
    before
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    let mut files = before.kept_files();
    files.push(BootFile {
        path: NUMBERS.into(),
        content: numbers.to_string().into_bytes(),
        mode: 0o644,
    });
    let lab = LabWorld::boot(&BootOptions {
        kernel: Some(Kernel::V6_12),
        files,
        ..BootOptions::default()
    });
    lab.root("chown -R alice: /home/alice/numbers");
    let gpus = look_in(&lab);
    let reversed: Vec<&str> = ALL.iter().rev().copied().collect();
    assert_eq!(addresses(&gpus), reversed);
    let bound = &gpus[ALL.len() - 1];
    assert_eq!(bound.driver.as_deref(), Some("vfio-pci"));
    assert_eq!(holders(bound), ["user 'alice' of the node"]);
}

/// What a runner of alice's sees in the lab.
fn look_in(lab: &LabWorld) -> Vec<Gpu> {
    let script = "/opt/vfioctl/binaries/vfioctl-runner gpus --json --data /home/alice/numbers";
    let output = lab.run_as(User::Alice, &format!("exec {script} 2>/dev/null"));
    let answer = serde_json::from_str(&output.text);
    gpus_of(&answer.unwrap_or_else(|error| panic!("no JSON ({error}): {output:?}")))
}

fn gpus_of(answer: &Value) -> Vec<Gpu> {
    assert_shape("runner-gpus", answer);
    assert_eq!(answer["problems"], json!([]), "{answer:#}");
    serde_json::from_value(answer["gpus"].clone()).unwrap()
}

fn addresses(gpus: &[Gpu]) -> Vec<&str> {
    gpus.iter().map(|gpu| gpu.address.as_str()).collect()
}

fn holders(gpu: &Gpu) -> Vec<String> {
    gpu.holders.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn are_all_there(gpus: &[Gpu]) {
    assert_eq!(addresses(gpus), ALL);
    for (index, gpu) in gpus.iter().enumerate() {
        assert_eq!(usize::from(gpu.number.get()), index, "{gpu:?}");
        assert!(gpu.present, "{gpu:?}");
    }
}

#[track_caller]
fn is_away(gpus: &[Gpu]) {
    assert_eq!(addresses(gpus), ALL);
    for gpu in gpus {
        assert_eq!(gpu.present, gpu.address != TAKEN_OUT, "{gpu:?}");
    }
}

#[track_caller]
fn reason(gpu: &Gpu) -> &str {
    gpu.vfio.reason.as_deref().unwrap_or_default()
}

fn story(world: &dyn World, look: &dyn Fn() -> Vec<Gpu>) {
    let first = look();
    are_all_there(&first);
    assert_eq!(first[0].path, "pci0000:00/04.0/00.0");
    assert_eq!(first[4].path, "pci0000:00/06.0/00.0/00.0/00.0");
    assert_eq!(first[0].functions, [GPU, "0000:01:00.1"]);
    assert_eq!(first[2].functions, MATES);
    let together: Vec<Vec<u16>> = first
        .iter()
        .map(|gpu| gpu.together.iter().map(|number| number.get()).collect())
        .collect();
    assert_eq!(together[..4], [vec![], vec![], vec![3], vec![2]]);
    for gpu in &first[..6] {
        assert!(gpu.vfio.available && gpu.containers.available, "{gpu:?}");
    }
    assert!(
        reason(&first[6]).contains("in no IOMMU group"),
        "{:?}",
        first[6]
    );
    assert!(first[6].containers.available, "{:?}", first[6]);
    bound(world, look);
    shared(world, look);
    alone(world, look);
    are_all_there(&look());
}

/// A user takes a GPU: nobody else can have it, and it is the same GPU.
fn bound(world: &dyn World, look: &dyn Fn() -> Vec<Gpu>) {
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    let gpus = look();
    are_all_there(&gpus);
    assert_eq!(gpus[0].driver.as_deref(), Some("vfio-pci"));
    assert_eq!(holders(&gpus[0]), ["user 'alice' of the node"]);
    let words = format!("{GPU} belongs to user 'alice'");
    assert_eq!(reason(&gpus[0]), words);
    assert_eq!(gpus[0].containers.reason.as_deref(), Some(&*words));
    // The helper says the same.
    let refused = world.vfioctl(User::Bob, &["bind", GPU]);
    assert_eq!(refused.message(), words);
    world.vfioctl(User::Alice, &["release", GPU]).done();
    let gpus = look();
    assert!(
        gpus[0].vfio.available && gpus[0].containers.available,
        "{:?}",
        gpus[0]
    );
}

/// A container uses a GPU: others may, and no machine can have its group-mate.
fn shared(world: &dyn World, look: &dyn Fn() -> Vec<Gpu>) {
    let call = |method: &str, parameters: Value| {
        let method = format!("io.vfioctl.Container.{method}");
        let reply = world.call(User::Bob, &method, &parameters);
        assert!(reply.get("error").is_none(), "{reply:#}");
    };
    let claim = json!({"name": "train", "addresses": [MATES[0]], "user": "ann"});
    call("Claim", claim);
    let gpus = look();
    assert_eq!(holders(&gpus[2]), ["container 'train' of ann"]);
    assert_eq!(holders(&gpus[3]), [""; 0]);
    for gpu in &gpus[2..4] {
        assert!(gpu.containers.available && !gpu.vfio.available, "{gpu:?}");
        let who = "container 'train' of user 'bob' for 'ann'";
        assert!(reason(gpu).contains(who), "{gpu:?}");
    }
    let refused = world.vfioctl(User::Alice, &["bind", MATES[1]]);
    assert_eq!(refused.message(), reason(&gpus[3]));
    call("End", json!({"name": "train"}));
    assert!(look()[3].vfio.available);
}

/// Without a helper, GPUs are what they are, and no machine can have one.
fn alone(world: &dyn World, look: &dyn Fn() -> Vec<Gpu>) {
    world.stop_helper();
    let gpus = look();
    are_all_there(&gpus);
    for gpu in &gpus {
        let words = "the helper does not answer: nothing listens on '";
        assert!(reason(gpu).starts_with(words), "{gpu:?}");
        assert!(gpu.containers.available, "{gpu:?}");
    }
    world.start_helper();
}
