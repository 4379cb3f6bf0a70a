//! The GPUs of a machine in a folder, looked at by the program as it is, with a fake of NVIDIA's library.
#![expect(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "a test that cannot go on shall end"
)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vfioctl_api::{Gpu, GpuTelemetry};
use vfioctl_runner::gpu::{LiveGpus, Parts};
use vfioctl_runner::node::Gpus as _;
use vfioctl_scan::SysRoot;

/// A machine in a folder.
struct Machine {
    folder: TempDir,
    library: Option<PathBuf>,
}

impl Machine {
    /// Without cards. `fault` is what ails NVIDIA's library; without a word, nothing does.
    fn new(fault: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self {
            library: Some(compile(folder.path(), fault)),
            folder,
        };
        for path in ["proc/1", "data", "sys/bus/pci/devices", "dev"] {
            std::fs::create_dir_all(machine.path(path)).unwrap();
        }
        machine.write("proc/1/mountinfo", "");
        machine.write("proc/swaps", "");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }

    /// Puts a card on a root bus.
    fn add(&self, address: &str, ids: &str, driver: &str) {
        let path = format!("sys/devices/pci0000:{}/{address}", &address[5..7]);
        self.write(
            &format!("{path}/modalias"),
            &format!("pci:{ids}bc03sc00i00"),
        );
        self.write(&format!("{path}/driver_override"), "(null)");
        // Vendor and the rest of a header do not matter, but that it is an endpoint does.
        std::fs::write(self.path(&format!("{path}/config")), [0; 64]).unwrap();
        let device = self.path(&format!("sys/bus/pci/devices/{address}"));
        symlink(format!("../../../{}", &path["sys/".len()..]), device).unwrap();
        self.bind(address, driver);
    }

    fn bind(&self, address: &str, driver: &str) {
        let link = self.path(&format!("sys/bus/pci/devices/{address}/driver"));
        let _ = std::fs::remove_file(&link);
        symlink(format!("../../../../bus/pci/drivers/{driver}"), link).unwrap();
    }

    fn remove(&self, address: &str) {
        std::fs::remove_file(self.path(&format!("sys/bus/pci/devices/{address}"))).unwrap();
    }

    fn gpus(&self) -> LiveGpus {
        LiveGpus::open(Parts {
            root: SysRoot::below(self.folder.path()).unwrap(),
            helper: self.path("helper.sock"),
            data: self.path("data"),
            may_number: Ok(()),
            program: env!("CARGO_BIN_EXE_vfioctl-runner").into(),
            nvml: self.library.clone(),
        })
        .unwrap()
    }
}

const NVIDIA: &str = "v000010DEd00002684sv000010DEsd000016F3";
const AMD: &str = "v00001002d0000744Csv00001DA2sd0000E471";

fn compile(folder: &Path, fault: Option<&str>) -> PathBuf {
    let library = folder.join("libnvidia-ml.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args(fault.map(|fault| format!("-D{fault}")))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nvml.c"))
        .status();
    assert!(
        status.unwrap().success(),
        "the fake library does not compile"
    );
    library
}

/// Two cards, one that is lost, one on vfio-pci, and one of AMD's.
fn five_cards(fault: Option<&str>) -> Machine {
    let machine = Machine::new(fault);
    machine.add("0000:01:00.0", NVIDIA, "nvidia");
    machine.add("0000:02:00.0", NVIDIA, "nvidia");
    machine.add("0000:03:00.0", NVIDIA, "nvidia");
    machine.add("0000:04:00.0", NVIDIA, "vfio-pci");
    machine.add("0000:05:00.0", AMD, "amdgpu");
    let amd = "sys/bus/pci/devices/0000:05:00.0";
    machine.write(&format!("{amd}/gpu_busy_percent"), "3");
    machine.write(&format!("{amd}/mem_info_vram_total"), "17163091968");
    machine.write(&format!("{amd}/drm/renderD128/dev"), "226:128");
    for node in ["nvidia4", "nvidia5", "dri/renderD128", "kfd"] {
        machine.write(&format!("dev/{node}"), "");
    }
    machine
}

async fn look(gpus: &LiveGpus) -> Vec<Gpu> {
    let details = gpus.look().await.into_iter();
    details.map(|detail| detail.gpu).collect()
}

fn text<T: std::fmt::Debug>(all: &[Gpu], field: impl Fn(&Gpu) -> T) -> Vec<T> {
    all.iter().map(field).collect()
}

/// Telemetry, as soon as NVML has told.
async fn telemetry(gpus: &LiveGpus) -> Vec<GpuTelemetry> {
    gpus.look().await;
    gpus.telemetry().await
}

#[tokio::test]
async fn cards_are_told_by_their_address_whatever_nvml_counts() {
    let machine = five_cards(None);
    let gpus = machine.gpus();
    let details = gpus.look().await;
    let all = look(&gpus).await;
    assert_eq!(
        text(&all, |gpu| gpu.name.clone())[..2],
        ["NVIDIA First", "NVIDIA Second"]
    );
    let uuids = text(&all, |gpu| gpu.uuid.clone());
    let expected = [Some("GPU-1"), Some("GPU-2"), None, None, None];
    assert_eq!(uuids, expected.map(|uuid| uuid.map(str::to_owned)));
    let memory = text(&all, |gpu| gpu.memory_mib);
    assert_eq!(memory, [Some(24 << 10), None, None, None, Some(16_368)]);
    let nodes: Vec<Vec<PathBuf>> = details.iter().map(|detail| detail.nodes.all()).collect();
    let expected: [&[&str]; 5] = [
        &["/dev/nvidia5"],
        &["/dev/nvidia4"],
        &[],
        &[],
        &["/dev/dri/renderD128", "/dev/kfd"],
    ];
    assert_eq!(
        nodes,
        expected.map(|all| all.iter().map(PathBuf::from).collect::<Vec<_>>())
    );
    assert_eq!(
        text(&all, |gpu| gpu.containers.available),
        [true, true, false, false, true]
    );
}

#[tokio::test]
async fn what_a_card_does_not_tell_is_absent_and_a_lost_one_is_a_problem() {
    let machine = five_cards(None);
    let gpus = machine.gpus();
    let empty = |number: u16| GpuTelemetry {
        number: number.into(),
        utilisation_percent: None,
        memory_used_mib: None,
        temperature_c: None,
        power_w: None,
        power_limit_w: None,
    };
    let first = GpuTelemetry {
        utilisation_percent: Some(37),
        memory_used_mib: Some(3072),
        temperature_c: Some(51),
        power_w: Some(100),
        ..empty(0)
    };
    let amd = GpuTelemetry {
        utilisation_percent: Some(3),
        ..empty(4)
    };
    assert_eq!(telemetry(&gpus).await, [first, empty(1), amd]);
    let problems = gpus.problems().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("GPU 2 at 0000:03:00.0: "),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_card_on_vfio_pci_keeps_who_it_is_and_tells_nothing() {
    let machine = five_cards(None);
    let gpus = machine.gpus();
    let before = look(&gpus).await;
    machine.bind("0000:01:00.0", "vfio-pci");
    // Already before the next look: it may be somebody else's by now.
    let numbers: Vec<u16> = gpus
        .telemetry()
        .await
        .iter()
        .map(|one| one.number.get())
        .collect();
    assert_eq!(numbers, [1, 4]);
    let after = look(&gpus).await.remove(0);
    let kept = |gpu: &Gpu| {
        (
            gpu.number,
            gpu.name.clone(),
            gpu.memory_mib,
            gpu.path.clone(),
        )
    };
    assert_eq!(kept(&after), kept(&before[0]));
    assert_eq!(
        (after.uuid.as_deref(), after.driver.as_deref()),
        (None, Some("vfio-pci"))
    );
    // Also for the next runner, which has never seen it with its own driver.
    let next = look(&machine.gpus()).await.remove(0);
    assert_eq!(kept(&next), kept(&before[0]));
}

#[tokio::test]
async fn numbers_stay_when_cards_go_come_and_move() {
    let machine = five_cards(None);
    look(&machine.gpus()).await;
    machine.remove("0000:01:00.0");
    machine.add("0000:00:03.0", AMD, "amdgpu");
    let gpus = machine.gpus();
    let all = look(&gpus).await;
    let shown = text(&all, |gpu| {
        format!("{} {} {}", gpu.number, gpu.address, gpu.present)
    });
    assert_eq!(
        shown,
        [
            "0 0000:01:00.0 false",
            "1 0000:02:00.0 true",
            "2 0000:03:00.0 true",
            "3 0000:04:00.0 true",
            "4 0000:05:00.0 true",
            "5 0000:00:03.0 true",
        ]
    );
    machine.add("0000:01:00.0", NVIDIA, "nvidia");
    assert!(look(&gpus).await[0].present);
}

#[tokio::test]
async fn a_number_that_cannot_be_written_down_is_not_given() {
    let machine = five_cards(None);
    let gpus = machine.gpus();
    // The place of the file is taken, so that not even root can put it there.
    std::fs::create_dir_all(machine.path("data/gpus.json/full")).unwrap();
    assert_eq!(look(&gpus).await, []);
    assert_eq!(gpus.problems().await.len(), 5);
    std::fs::remove_dir_all(machine.path("data/gpus.json")).unwrap();
    assert_eq!(look(&gpus).await.len(), 5);
    assert!(
        !gpus
            .problems()
            .await
            .iter()
            .any(|problem| problem.contains("no number"))
    );
}

#[tokio::test]
async fn a_library_that_is_not_there_and_a_driver_that_is_not_loaded_are_no_problems() {
    let mut absent = five_cards(None);
    absent.library = Some("/nonexistent/libnvidia-ml.so".into());
    for machine in [absent, five_cards(Some("NO_DRIVER"))] {
        let gpus = machine.gpus();
        let numbers = telemetry(&gpus).await;
        assert_eq!(numbers.len(), 1, "the card of AMD's tells by itself");
        assert_eq!(gpus.problems().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_library_that_does_not_work_is_a_problem_and_no_more() {
    for (fault, words) in [("MISMATCH", "another version"), ("CRASHES", "signal: 11")] {
        let machine = five_cards(Some(fault));
        let gpus = machine.gpus();
        assert_eq!(telemetry(&gpus).await.len(), 1, "{fault}");
        let problems = gpus.problems().await.concat();
        assert!(problems.contains(words), "{fault}: {problems}");
    }
}

#[tokio::test]
async fn a_driver_that_hangs_holds_neither_a_heartbeat_nor_whoever_wants_a_card() {
    let machine = five_cards(Some("HANGS"));
    let gpus = machine.gpus();
    let began = Instant::now();
    assert_eq!(gpus.look().await.len(), 5);
    // It has waited for NVML once, and does not wait longer for the same reading each time.
    let looked = began.elapsed();
    assert!(looked < Duration::from_secs(30), "{looked:?}");
    let began = Instant::now();
    assert_eq!(gpus.telemetry().await.len(), 1);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // Whoever wants a card has it at once.
    let began = Instant::now();
    let _let_go = gpus.let_go(0.into()).await.unwrap();
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(4), "{waited:?}");
}

#[tokio::test]
async fn nothing_is_read_as_long_as_somebody_wants_a_card() {
    let machine = five_cards(None);
    let gpus = machine.gpus();
    let let_go = gpus.let_go(0.into()).await.unwrap();
    let also = gpus.let_go(1.into()).await.unwrap();
    assert_eq!(look(&gpus).await[0].uuid, None);
    drop(let_go);
    assert_eq!(look(&gpus).await[0].uuid, None);
    drop(also);
    assert_eq!(look(&gpus).await[0].uuid.as_deref(), Some("GPU-1"));
}
