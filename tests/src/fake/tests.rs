//! The fake kernel against what Linux 6.1 answered on the lab's machine. Each test is a row of
//! that table.

use tempfile::TempDir;

use super::{FakeKernel, Machine, lab_like};

const GPU: &str = "0000:01:00.0";
const AUDIO: &str = "0000:01:00.1";
const NOWHERE: &str = "0000:1f:00.0";

fn kernel() -> (TempDir, Machine, FakeKernel) {
    let folder = tempfile::tempdir().unwrap();
    let machine = lab_like(folder.path());
    let kernel = FakeKernel::of(&machine);
    (folder, machine, kernel)
}

fn driver(machine: &Machine, address: &str) -> Option<String> {
    machine.link_name(address, "driver")
}

fn override_text(machine: &Machine, address: &str) -> String {
    std::fs::read_to_string(machine.device(address).unwrap().join("driver_override")).unwrap()
}

#[test]
fn bind_without_override_or_id_match_is_enodev() {
    let (_folder, machine, kernel) = kernel();
    kernel.unbind("bochs-drm", GPU).unwrap();
    assert_eq!(kernel.bind("vfio-pci", GPU), Err(libc::ENODEV));
    assert_eq!(kernel.bind("snd_hda_intel", GPU), Err(libc::ENODEV));
    assert_eq!(driver(&machine, GPU), None);
}

#[test]
fn bind_of_a_bound_device_is_ebusy_also_to_its_own_driver() {
    let (_folder, _machine, kernel) = kernel();
    assert_eq!(kernel.bind("bochs-drm", GPU), Err(libc::EBUSY));
    kernel.set_override(GPU, "vfio-pci").unwrap();
    assert_eq!(kernel.bind("vfio-pci", GPU), Err(libc::EBUSY));
}

#[test]
fn bind_of_an_unknown_address_is_enodev() {
    let (_folder, _machine, kernel) = kernel();
    assert_eq!(kernel.bind("vfio-pci", NOWHERE), Err(libc::ENODEV));
}

#[test]
fn unbind_through_a_driver_that_does_not_have_it_is_enodev() {
    let (_folder, _machine, kernel) = kernel();
    assert_eq!(kernel.unbind("vfio-pci", GPU), Err(libc::ENODEV));
    assert_eq!(kernel.unbind("bochs-drm", NOWHERE), Err(libc::ENODEV));
}

#[test]
fn bind_to_vfio_of_a_device_in_no_group_is_einval() {
    let (_folder, _machine, kernel) = kernel();
    kernel.unbind("bochs-drm", "0000:81:00.0").unwrap();
    kernel.set_override("0000:81:00.0", "vfio-pci").unwrap();
    assert_eq!(kernel.bind("vfio-pci", "0000:81:00.0"), Err(libc::EINVAL));
}

#[test]
fn bind_to_vfio_of_a_bridge_is_einval() {
    let (_folder, _machine, kernel) = kernel();
    kernel.unbind("pcieport", "0000:00:04.0").unwrap();
    kernel.set_override("0000:00:04.0", "vfio-pci").unwrap();
    assert_eq!(kernel.bind("vfio-pci", "0000:00:04.0"), Err(libc::EINVAL));
}

#[test]
fn bind_to_a_native_driver_beside_a_user_of_vfio_is_ebusy_and_to_pci_stub_it_is_not() {
    let (_folder, machine, kernel) = kernel();
    for (address, native) in [(GPU, "bochs-drm"), (AUDIO, "snd_hda_intel")] {
        kernel.set_override(address, "vfio-pci").unwrap();
        kernel.unbind(native, address).unwrap();
    }
    kernel.bind("vfio-pci", GPU).unwrap();
    kernel.open_group(9);
    kernel.set_override(AUDIO, "").unwrap();
    assert_eq!(kernel.bind("snd_hda_intel", AUDIO), Err(libc::EBUSY));
    kernel.set_override(AUDIO, "pci-stub").unwrap();
    assert_eq!(kernel.bind("pci-stub", AUDIO), Ok(()));
    kernel.unbind("pci-stub", AUDIO).unwrap();
    kernel.set_override(AUDIO, "").unwrap();
    kernel.close_group(9);
    assert_eq!(kernel.bind("snd_hda_intel", AUDIO), Ok(()));
    assert_eq!(driver(&machine, AUDIO).as_deref(), Some("snd_hda_intel"));
}

#[test]
fn any_name_is_an_override_and_none_reads_as_null() {
    let (_folder, machine, kernel) = kernel();
    assert_eq!(override_text(&machine, GPU), "(null)\n");
    kernel.set_override(GPU, "no-such-driver").unwrap();
    assert_eq!(override_text(&machine, GPU), "no-such-driver\n");
    kernel.unbind("bochs-drm", GPU).unwrap();
    assert_eq!(kernel.bind("bochs-drm", GPU), Err(libc::ENODEV));
    kernel.set_override(GPU, "").unwrap();
    assert_eq!(override_text(&machine, GPU), "(null)\n");
    assert_eq!(kernel.bind("bochs-drm", GPU), Ok(()));
}

#[test]
fn an_override_of_a_bound_device_changes_nothing_until_it_is_unbound() {
    let (_folder, machine, kernel) = kernel();
    kernel.set_override(GPU, "vfio-pci").unwrap();
    assert_eq!(driver(&machine, GPU).as_deref(), Some("bochs-drm"));
}

#[test]
fn node_of_a_group_is_there_while_a_member_is_on_vfio() {
    let (folder, _machine, kernel) = kernel();
    let node = folder.path().join("dev/vfio/9");
    for (address, native) in [(GPU, "bochs-drm"), (AUDIO, "snd_hda_intel")] {
        kernel.set_override(address, "vfio-pci").unwrap();
        kernel.unbind(native, address).unwrap();
        kernel.bind("vfio-pci", address).unwrap();
        assert!(node.exists());
    }
    kernel.unbind("vfio-pci", GPU).unwrap();
    assert!(node.exists());
    kernel.unbind("vfio-pci", AUDIO).unwrap();
    assert!(!node.exists());
}

#[test]
fn a_driver_that_is_not_loaded_has_no_files() {
    let (_folder, _machine, kernel) = kernel();
    assert_eq!(kernel.bind("nouveau", GPU), Err(libc::ENOENT));
}

#[test]
fn unbind_and_bind_leave_the_tree_as_it_was() {
    let (folder, _machine, kernel) = kernel();
    let before = super::list(folder.path(), &["sys", "dev"]);
    kernel.unbind("bochs-drm", GPU).unwrap();
    assert_ne!(super::list(folder.path(), &["sys", "dev"]), before);
    kernel.bind("bochs-drm", GPU).unwrap();
    assert_eq!(super::list(folder.path(), &["sys", "dev"]), before);
}

#[test]
fn product_sees_the_machine_as_the_lab_is() {
    let (folder, _machine, _kernel) = kernel();
    let root = vfioctl_scan::SysRoot::below(folder.path()).unwrap();
    let snapshot = vfioctl_scan::read_snapshot(&root, vfioctl_scan::HostView::BestEffort).unwrap();
    assert_eq!(snapshot.problems, []);
    assert_eq!(snapshot.functions.len(), 27);
    let of = |text: &str| snapshot.function(text.parse().unwrap()).unwrap();
    assert!(of("0000:00:04.0").is_bridge().known().unwrap());
    assert!(of("0000:00:04.0").acs.known().unwrap().is_some());
    assert!(of("0000:00:05.0").acs.known().unwrap().is_none());
    assert_eq!(of(GPU).upstream, Some("0000:00:04.0".parse().unwrap()));
    let used: Vec<String> = snapshot.host_uses.keys().map(ToString::to_string).collect();
    assert_eq!(
        used,
        [
            "0000:00:08.0",
            "0000:00:08.1",
            "0000:0c:00.0",
            "0000:0d:00.0"
        ]
    );
}
