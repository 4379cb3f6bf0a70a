//! Whole command lines, one per feature. Options that follow one another are on one line here.

use vfioctl_core::machine::{Disk, DiskFormat, FilePath};

use super::*;

const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

fn path(text: &str) -> FilePath {
    FilePath::new(text).unwrap()
}

fn host(accel: Accel) -> Host {
    Host {
        accel,
        qemu: "/usr/bin/qemu".into(),
        runtime_dir: "/run/m".into(),
    }
}

fn spec(boot: Boot) -> MachineSpec {
    MachineSpec {
        name: "m-1".parse().unwrap(),
        memory_mib: 2048,
        cores: 4,
        boot,
        disks: Vec::new(),
        devices: Vec::new(),
        network: Network::None,
    }
}

/// The command line of a machine with KVM: what all have in common, and the end given.
fn line(machine: &str, end: &[&str]) -> Vec<String> {
    let common = [
        [
            "/usr/bin/qemu",
            "-name",
            "guest=m-1",
            "-no-user-config",
            "-nodefaults",
        ]
        .as_slice(),
        &["-sandbox", SANDBOX, "-msg", "timestamp=on"],
        &["-machine", machine, "-cpu", "host", "-m", "2048M"],
        &[
            "-smp",
            "cpus=4,sockets=1,cores=4,threads=1",
            "-display",
            "none",
            "-vga",
            "none",
        ],
        &[
            "-chardev",
            "socket,id=qmp,path=/run/m/qmp.sock,server=on,wait=off",
        ],
        &["-mon", "chardev=qmp,mode=control"],
        &[
            "-chardev",
            "file,id=console,path=/run/m/console.log,append=on",
        ],
        &["-serial", "chardev:console"],
    ]
    .concat();
    common
        .iter()
        .chain(end)
        .map(|text| (*text).to_owned())
        .collect()
}

#[test]
fn bios_with_two_disks() {
    let mut spec = spec(Boot::Bios);
    spec.disks = vec![
        Disk {
            path: path("/srv/a.qcow2"),
            format: DiskFormat::Qcow2,
            read_only: false,
        },
        Disk {
            path: path("/dev/vg/b"),
            format: DiskFormat::Raw,
            read_only: true,
        },
    ];
    let end = [
        "-blockdev",
        r#"{"node-name":"disk0","driver":"qcow2","read-only":false,"discard":"unmap","file":{"driver":"file","filename":"/srv/a.qcow2","discard":"unmap"}}"#,
        "-device",
        "virtio-blk-pci,id=virtio-disk0,drive=disk0,bus=pcie.0,addr=02.0,bootindex=0",
        "-blockdev",
        r#"{"node-name":"disk1","driver":"raw","read-only":true,"discard":"unmap","file":{"driver":"host_device","filename":"/dev/vg/b","discard":"unmap"}}"#,
        "-device",
        "virtio-blk-pci,id=virtio-disk1,drive=disk1,bus=pcie.0,addr=03.0,bootindex=1",
    ];
    assert_eq!(
        arguments(&spec, &host(Accel::Kvm), &[]),
        line("q35,accel=kvm", &end)
    );
}

#[test]
fn uefi_with_and_without_variables() {
    let code = r#"{"node-name":"pflash0","driver":"raw","read-only":true,"discard":"unmap","file":{"driver":"file","filename":"/fw/code.fd","discard":"unmap"}}"#;
    let variables = r#"{"node-name":"pflash1","driver":"raw","read-only":false,"discard":"unmap","file":{"driver":"file","filename":"/fw/vars.fd","discard":"unmap"}}"#;
    let spec_of = |variables: Option<&str>| {
        spec(Boot::Uefi {
            code: path("/fw/code.fd"),
            variables: variables.map(path),
        })
    };
    assert_eq!(
        arguments(&spec_of(Some("/fw/vars.fd")), &host(Accel::Kvm), &[]),
        line(
            "q35,accel=kvm,pflash0=pflash0,pflash1=pflash1",
            &["-blockdev", code, "-blockdev", variables]
        )
    );
    assert_eq!(
        arguments(&spec_of(None), &host(Accel::Kvm), &[]),
        line("q35,accel=kvm,pflash0=pflash0", &["-blockdev", code])
    );
}

#[test]
fn kernel_with_initrd_and_a_disk_has_no_boot_order() {
    let mut spec = spec(Boot::Kernel {
        image: path("/boot/vmlinuz"),
        initrd: Some(path("/boot/initrd,img")),
        append: "-device console=ttyS0,115200 quiet".into(),
    });
    spec.disks = vec![Disk {
        path: path("/srv/a.raw"),
        format: DiskFormat::Raw,
        read_only: false,
    }];
    let end = [
        "-kernel",
        "/boot/vmlinuz",
        "-initrd",
        "/boot/initrd,img",
        "-append",
        "-device console=ttyS0,115200 quiet",
        "-blockdev",
        r#"{"node-name":"disk0","driver":"raw","read-only":false,"discard":"unmap","file":{"driver":"file","filename":"/srv/a.raw","discard":"unmap"}}"#,
        "-device",
        "virtio-blk-pci,id=virtio-disk0,drive=disk0,bus=pcie.0,addr=02.0",
    ];
    assert_eq!(
        arguments(&spec, &host(Accel::Kvm), &[]),
        line("q35,accel=kvm", &end)
    );
}

#[test]
fn kernel_alone() {
    let boot = Boot::Kernel {
        image: path("/k"),
        initrd: None,
        append: String::new(),
    };
    assert_eq!(
        arguments(&spec(boot), &host(Accel::Kvm), &[]),
        line("q35,accel=kvm", &["-kernel", "/k"])
    );
}

#[test]
fn user_network() {
    let mut spec = spec(Boot::Bios);
    spec.network = Network::User {
        forwards: Vec::new(),
    };
    let end = ["-netdev", "user,id=net0", "-device", NIC];
    assert_eq!(
        arguments(&spec, &host(Accel::Kvm), &[]),
        line("q35,accel=kvm", &end)
    );
}

const NIC: &str = "virtio-net-pci,id=nic0,netdev=net0,bus=pcie.0,addr=01.0,romfile=";

#[test]
fn user_network_with_forwards() {
    let mut spec = spec(Boot::Bios);
    spec.network = Network::User {
        forwards: vec![
            "2222:22".parse().unwrap(),
            "0.0.0.0:80:8080".parse().unwrap(),
        ],
    };
    let netdev = "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:0.0.0.0:80-:8080";
    let end = ["-netdev", netdev, "-device", NIC];
    assert_eq!(
        arguments(&spec, &host(Accel::Kvm), &[]),
        line("q35,accel=kvm", &end)
    );
}

#[test]
fn network_stream_to_a_socket() {
    let mut spec = spec(Boot::Bios);
    spec.network = Network::Stream {
        socket: path("/run/user/1001/passt,server=on"),
    };
    let netdev = r#"{"type":"stream","id":"net0","server":false,"addr":{"type":"unix","path":"/run/user/1001/passt,server=on"}}"#;
    let end = ["-netdev", netdev, "-device", NIC];
    assert_eq!(
        arguments(&spec, &host(Accel::Kvm), &[]),
        line("q35,accel=kvm", &end)
    );
}

#[test]
fn large_bars_are_told_to_ovmf_and_to_no_other_firmware() {
    let devices = |count| {
        vec![
            PassedDevice {
                functions: vec!["0000:01:00.0".parse().unwrap()],
                windows_bytes: vec![128 << 30, 32 << 20],
            };
            count
        ]
    };
    let texts = |boot: Boot, accel, count| -> Vec<String> {
        let all = arguments(&spec(boot), &host(accel), &devices(count)).into_iter();
        let is_meant = |text: &String| text.contains("Mmio64") || text.contains("phys-bits");
        all.filter(is_meant).collect()
    };
    let uefi = || Boot::Uefi {
        code: path("/fw/code.fd"),
        variables: None,
    };
    let told = |mib: u32| format!("name=opt/ovmf/X-PciMmio64Mb,string={mib}");
    assert_eq!(texts(uefi(), Accel::Kvm, 1), [told(262_144)]);
    let wide = "host,host-phys-bits=on".to_owned();
    assert_eq!(texts(uefi(), Accel::Kvm, 8), [wide, told(2_097_152)]);
    assert_eq!(texts(uefi(), Accel::Tcg, 8), [told(2_097_152)]);
    assert_eq!(texts(Boot::Bios, Accel::Kvm, 8), Vec::<String>::new());
}

#[test]
fn a_gpu_with_its_audio_and_a_card() {
    let devices = [
        ["0000:01:00.0", "0000:01:00.1"].as_slice(),
        &["0000:05:00.0"],
    ]
    .map(|group| PassedDevice {
        functions: group.iter().map(|text| text.parse().unwrap()).collect(),
        windows_bytes: vec![256 << 20, 32 << 20],
    });
    let end = [
        "-device",
        "pcie-root-port,id=port0,bus=pcie.0,addr=10.0,chassis=1,slot=1,hotplug=off,multifunction=on",
        "-device",
        "vfio-pci,host=0000:01:00.0,id=dev0-0,bus=port0,addr=00.0,multifunction=on",
        "-device",
        "vfio-pci,host=0000:01:00.1,id=dev0-1,bus=port0,addr=00.1",
        "-device",
        "pcie-root-port,id=port1,bus=pcie.0,addr=10.1,chassis=2,slot=2,hotplug=off",
        "-device",
        "vfio-pci,host=0000:05:00.0,id=dev1-0,bus=port1,addr=00.0",
    ];
    assert_eq!(
        arguments(&spec(Boot::Bios), &host(Accel::Kvm), &devices),
        line("q35,accel=kvm", &end)
    );
}

#[test]
fn tcg_has_its_own_processor() {
    let mut expected = line("q35,accel=tcg", &[]);
    for text in &mut expected {
        if text == "host" {
            *text = "max".into();
        }
    }
    assert_eq!(
        arguments(&spec(Boot::Bios), &host(Accel::Tcg), &[]),
        expected
    );
}

#[test]
fn commas_in_the_runtime_folder_are_doubled() {
    let host = Host {
        runtime_dir: "/run/a,server=off \"b\"=".into(),
        ..host(Accel::Kvm)
    };
    let values: Vec<String> = arguments(&spec(Boot::Bios), &host, &[])
        .into_iter()
        .filter(|text| text.contains("/run/"))
        .collect();
    assert_eq!(
        values,
        [
            "socket,id=qmp,path=/run/a,,server=off \"b\"=/qmp.sock,server=on,wait=off",
            "file,id=console,path=/run/a,,server=off \"b\"=/console.log,append=on",
        ]
    );
}
