//! QEMU for machines of Debian: its arguments, and whether a real processor can run them here.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;

use super::guest::{GuestFirmware, GuestOptions, LIFE};
use crate::lab::folder::Folder;
use crate::lab::process::Process;
use crate::lab::qmp::Qmp;

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";

/// QEMU's arguments for a machine whose files are in `place`.
pub(super) fn arguments(
    place: &Path,
    options: &GuestOptions,
    port: u16,
    is_kvm: bool,
) -> Vec<String> {
    let at = |name: &str| place.join(name).display().to_string();
    let (accel, cpu) = if is_kvm {
        ("kvm", "host")
    } else {
        ("tcg", "max")
    };
    let mut words: Vec<String> = vec![
        "-nodefaults".into(),
        "-cpu".into(),
        cpu.into(),
        "-m".into(),
        "1024".into(),
        "-smp".into(),
        "2".into(),
        "-display".into(),
        "none".into(),
    ];
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    let flash = match options.firmware {
        GuestFirmware::Uefi => ",pflash0=code,pflash1=variables",
        GuestFirmware::Bios => "",
    };
    option("-machine", format!("q35,accel={accel}{flash}"));
    if options.firmware == GuestFirmware::Uefi {
        option(
            "-blockdev",
            format!("driver=file,node-name=code,read-only=on,filename={CODE}"),
        );
        let variables = at("variables.fd");
        option(
            "-blockdev",
            format!("driver=file,node-name=variables,filename={variables}"),
        );
    }
    // Nothing in here has to outlive a crash of the machine that the tests run on.
    let disk = at("disk.qcow2");
    option(
        "-drive",
        format!("if=none,id=disk,format=qcow2,cache=unsafe,file={disk}"),
    );
    option("-device", "virtio-blk-pci,drive=disk,bootindex=0".into());
    let seed = at("seed.img");
    option(
        "-drive",
        format!("if=none,id=seed,format=raw,readonly=on,file={seed}"),
    );
    option("-device", "virtio-blk-pci,drive=seed".into());
    option(
        "-netdev",
        format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
    );
    option("-device", "virtio-net-pci,netdev=net".into());
    option("-device", "virtio-rng-pci".into());
    option("-serial", format!("file:{}", at("console")));
    option("-qmp", format!("unix:{},server=on,wait=off", at("qmp")));
    words
}

/// Whether a real processor can run such machines here. A node that is there says little: within
/// some machines KVM opens, and dies of the firmware's first instructions.
pub(crate) fn has_kvm() -> bool {
    static HAS_KVM: OnceLock<bool> = OnceLock::new();
    *HAS_KVM.get_or_init(|| {
        let Ok(folder) = Folder::new() else {
            return false;
        };
        let qmp = folder.path().join("qmp");
        let words = [
            "-nodefaults",
            "-display",
            "none",
            "-m",
            "256",
            "-cpu",
            "host",
            "-machine",
            "q35,accel=kvm,pflash0=code",
            "-blockdev",
            &format!("driver=file,node-name=code,read-only=on,filename={CODE}"),
            "-qmp",
            &format!("unix:{},server=on,wait=off", qmp.display()),
        ]
        .map(str::to_owned);
        if fs::File::options().write(true).open("/dev/kvm").is_err() {
            return false;
        }
        let Ok(mut process) = Process::start(&words, LIFE, folder.path()) else {
            return false;
        };
        // A processor that can do it is far beyond its first instructions by then.
        let has_ended = process.wait(Duration::from_secs(3));
        let is_running = || {
            let mut qmp = Qmp::new(UnixStream::connect(&qmp).ok()?).ok()?;
            let status = qmp.execute("query-status", json!({})).ok()?;
            Some(status["status"] == "running")
        };
        !has_ended && is_running() == Some(true)
    })
}
