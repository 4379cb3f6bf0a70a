use vfioctl_core::check::CommandLine;

use super::*;
use crate::sample::Place;

const INTEL: &str = "GenuineIntel";
const AMD: &str = "AuthenticAMD";

/// The edits as sentences, then the commands, then what is left to the administrator.
fn steps(plan: &Plan) -> Vec<String> {
    let edits = plan.edits.iter().map(Edit::text);
    let commands = plan
        .commands
        .iter()
        .map(|command| format!("run {}", command.text()));
    let by_hand = plan.by_hand.iter().map(|text| format!("by hand: {text}"));
    edits.chain(commands).chain(by_hand).collect()
}

fn chosen(plan: &Plan) -> (&'static str, &str) {
    let chosen = plan.boot_loader.as_ref().unwrap();
    (chosen.loader.name(), &chosen.why)
}

/// Sets up, and makes sure that a second plan is empty and waits for a reboot.
fn set_up(place: &mut Place) {
    place.set_up().unwrap();
    let second = place.plan();
    assert_eq!(steps(&second), Vec::<String>::new());
    assert_eq!(second.reboot, Answer::Known(true));
}

#[test]
fn grub_on_debian_gets_a_file_of_ours() {
    for (vendor, parameters) in [(INTEL, "intel_iommu=on iommu=pt"), (AMD, "iommu=pt")] {
        let mut place = Place::debian(vendor);
        let plan = place.plan();
        let steps = steps(&plan);
        assert_eq!(
            steps,
            [
                format!("write /etc/default/grub.d/vfioctl.cfg: add '{parameters}'"),
                "run /usr/sbin/update-grub".to_owned()
            ]
        );
        assert_eq!(chosen(&plan), ("GRUB", "there is an /etc/default/grub"));
        set_up(&mut place);
        assert_eq!(
            place.read("/etc/default/grub.d/vfioctl.cfg"),
            format!(
                "# Written by 'vfioctl setup'; 'sudo vfioctl setup --undo' takes it away.\n\
                 GRUB_CMDLINE_LINUX_DEFAULT=\"${{GRUB_CMDLINE_LINUX_DEFAULT}} {parameters}\"\n"
            )
        );
        assert_eq!(place.programs.ran, ["/usr/sbin/update-grub"]);
        place.boots_with(&format!("BOOT_IMAGE=/x quiet {parameters}"));
        assert_eq!(place.plan().reboot, Answer::Known(false));
    }
}

#[test]
fn grub_that_does_not_source_the_folder_is_edited_itself() {
    for (vendor, parameters) in [(INTEL, "intel_iommu=on iommu=pt"), (AMD, "iommu=pt")] {
        let mut place = Place::debian(vendor);
        place.remove("/usr/sbin/update-grub");
        place.write("/usr/sbin/grub-mkconfig", b"# the original\n");
        let mkconfig = "run /usr/sbin/grub-mkconfig -o /boot/grub/grub.cfg";
        assert_eq!(
            steps(&place.plan()),
            [
                format!("edit /etc/default/grub: add '{parameters}'"),
                mkconfig.to_owned()
            ]
        );
        set_up(&mut place);
        assert_eq!(
            place.read("/etc/default/grub"),
            format!("GRUB_CMDLINE_LINUX_DEFAULT=\"quiet {parameters}\"\nGRUB_CMDLINE_LINUX=\"\"\n")
        );
    }
}

#[test]
fn a_wrong_value_is_replaced_where_it_stands() {
    let mut place = Place::debian(INTEL);
    let text = b"GRUB_CMDLINE_LINUX='intel_iommu=off \xff'\r\nGRUB_CMDLINE_LINUX_DEFAULT=iommu=pt";
    place.write("/etc/default/grub", text);
    assert_eq!(
        steps(&place.plan()),
        [
            "edit /etc/default/grub: replace 'intel_iommu=off' by 'intel_iommu=on'",
            "run /usr/sbin/update-grub"
        ]
    );
    set_up(&mut place);
}

#[test]
fn what_the_fix_of_an_earlier_version_wrote_is_kept_and_completed() {
    let mut place = Place::debian(INTEL);
    let fix = b"GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX intel_iommu=on\"";
    place.write("/etc/default/grub.d/vfioctl.cfg", fix);
    set_up(&mut place);
    assert_eq!(
        place.read("/etc/default/grub.d/vfioctl.cfg"),
        "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX intel_iommu=on\"\n\
         GRUB_CMDLINE_LINUX_DEFAULT=\"${GRUB_CMDLINE_LINUX_DEFAULT} iommu=pt\"\n"
    );
}

#[test]
fn files_that_cannot_be_edited_safely_are_left_to_the_administrator() {
    let place = Place::debian(AMD);
    place.write(
        "/etc/default/grub.d/zz.cfg",
        b"GRUB_CMDLINE_LINUX_DEFAULT=quiet\n",
    );
    let by_hand = "by hand: put 'iommu=pt' into GRUB_CMDLINE_LINUX_DEFAULT and run \
                   '/usr/sbin/update-grub': ";
    assert_eq!(
        steps(&place.plan()),
        [format!(
            "{by_hand}a file in /etc/default/grub.d/ behind 'vfioctl.cfg' sets it anew"
        )]
    );
    place.write("/etc/default/grub.d/zz.cfg", b"A=\"\n");
    assert_eq!(
        steps(&place.plan()),
        [format!(
            "{by_hand}'/etc/default/grub.d/zz.cfg' cannot be edited safely: the quote in line 1 is \
             never closed"
        )]
    );
}

#[test]
fn entries_of_systemd_boot_are_edited_and_later_kernels_thought_of() {
    for (vendor, parameters) in [(INTEL, "intel_iommu=on iommu=pt"), (AMD, "iommu=pt")] {
        let mut place = Place::systemd_boot(vendor);
        let plan = place.plan();
        assert_eq!(
            chosen(&plan),
            ("systemd-boot", "there are entries in loader/entries/")
        );
        assert_eq!(
            steps(&plan),
            [
                format!("edit /boot/efi/loader/entries/id-6.1.conf: add '{parameters}'"),
                format!("edit /boot/efi/loader/entries/id-6.5.conf: add '{parameters}'"),
                "write /etc/kernel/cmdline: the command line for kernels that are installed later, \
                 from that of the running one"
                    .to_owned(),
            ]
        );
        set_up(&mut place);
        assert_eq!(
            place.read("/etc/kernel/cmdline"),
            format!("root=UUID=1 quiet {parameters}\n")
        );
        let entry = place.read("/boot/efi/loader/entries/id-6.5.conf");
        assert!(entry.contains(&format!("options    root=UUID=1 quiet {parameters}\n")));
    }
}

#[test]
fn hand_written_entries_are_edited_and_nothing_else() {
    for (vendor, parameters) in [(INTEL, "intel_iommu=on iommu=pt"), (AMD, "iommu=pt")] {
        let mut place = Place::new(vendor);
        place.boots_with("root=x");
        place.write(
            "/boot/loader/entries/arch.conf",
            b"linux /vmlinuz-linux\noptions root=x",
        );
        place.write("/boot/loader/entries/memtest.conf", b"efi /memtest.efi\n");
        assert_eq!(
            steps(&place.plan()),
            [format!(
                "edit /boot/loader/entries/arch.conf: add '{parameters}'"
            )]
        );
        set_up(&mut place);
    }
}

#[test]
fn the_line_of_the_vendor_is_the_one_for_later_kernels() {
    let mut place = Place::systemd_boot(AMD);
    place.write("/usr/lib/kernel/cmdline", b"root=LABEL=vendor iommu=off\n");
    set_up(&mut place);
    assert_eq!(
        place.read("/etc/kernel/cmdline"),
        "root=LABEL=vendor iommu=pt\n"
    );
}

#[test]
fn kernel_install_alone_makes_its_images_anew() {
    for (vendor, parameters) in [(INTEL, "intel_iommu=on iommu=pt"), (AMD, "iommu=pt")] {
        let mut place = Place::new(vendor);
        place.boots_with("root=x");
        place.write("/usr/bin/kernel-install", b"");
        place.write("/etc/kernel/cmdline", b"root=x");
        let edit = format!("edit /etc/kernel/cmdline: add '{parameters}'");
        let plan = place.plan();
        assert_eq!(steps(&plan).first(), Some(&edit));
        assert_eq!(
            plan.by_hand.len(),
            1,
            "there is no image of the running kernel"
        );
        place.write("/boot/vmlinuz-6.1", b"");
        place.write("/boot/initrd.img-6.1", b"");
        let run = "run kernel-install add 6.1 /boot/vmlinuz-6.1 /boot/initrd.img-6.1".to_owned();
        assert_eq!(steps(&place.plan()), [edit, run]);
        set_up(&mut place);
    }
}

#[test]
fn of_two_boot_loaders_the_one_that_started_the_kernel_is_taken() {
    let mut place = Place::systemd_boot(AMD);
    place.write("/etc/default/grub", b"");
    place.write("/usr/sbin/update-grub", b"");
    place.write("/usr/sbin/grub-mkconfig", b"/etc/default/grub.d");
    let why = "GRUB is set up here and there are entries in loader/entries/ too; the running \
               kernel was not started by GRUB (no 'BOOT_IMAGE=')";
    assert_eq!(chosen(&place.plan()), ("systemd-boot", why));
    place.boots_with("BOOT_IMAGE=/x");
    let why = "GRUB is set up here and there are entries in loader/entries/ too; the running \
               kernel was started by GRUB ('BOOT_IMAGE=')";
    assert_eq!(chosen(&place.plan()), ("GRUB", why));
    place.machine.command_line = Answer::CannotSee;
    let plan = place.plan();
    assert_eq!(chosen(&plan).0, "GRUB");
    assert_eq!(plan.reboot, Answer::CannotSee);
}

#[test]
fn what_grubby_looks_after_is_left_to_grubby() {
    let mut place = Place::debian(INTEL);
    place.write("/usr/sbin/grubby", b"");
    assert_eq!(
        steps(&place.plan()),
        [
            "by hand: run 'sudo grubby --update-kernel=ALL --args=\"intel_iommu=on iommu=pt\"': \
          vfioctl does not edit what grubby looks after"
        ]
    );
    place.boots_with("BOOT_IMAGE=/x intel_iommu=on iommu=pt");
    assert_eq!(steps(&place.plan()), Vec::<String>::new());
}

#[test]
fn without_a_boot_loader_the_parameters_are_told() {
    let mut place = Place::new(AMD);
    let plan = place.plan();
    assert_eq!((plan.boot_loader, plan.edits), (None, Vec::new()));
    assert_eq!(
        plan.by_hand,
        [
            "add 'iommu=pt' to the kernel command line where your boot loader has it: no boot loader \
          that vfioctl knows was found (GRUB: /etc/default/grub and grub-mkconfig; systemd-boot: \
          loader/entries/ in /boot/efi/, /efi/ or /boot/; kernel-install: /etc/kernel/cmdline)"
        ]
    );
    place.boots_with("iommu=pt");
    assert_eq!(place.plan().by_hand, Vec::<String>::new());
}

#[test]
fn a_processor_that_is_not_known_gets_no_parameters() {
    let mut place = Place::debian("Apple");
    place.machine.is_iommu_on = Answer::CannotSee;
    let plan = place.plan();
    assert_eq!(steps(&plan), Vec::<String>::new());
    assert_eq!(
        plan.notes,
        [
            "no parameters of the kernel are set: which processor this is cannot be seen, or it is \
          neither Intel's nor AMD's"
        ]
    );
}

#[test]
fn an_iommu_that_stays_off_is_told() {
    let mut place = Place::new(AMD);
    place.machine.command_line = Answer::Known(CommandLine::new("iommu=pt"));
    place.machine.is_iommu_on = Answer::Known(false);
    assert_eq!(
        place.plan().notes,
        [
            "the IOMMU is off although the kernel is told to use it: 'vfioctl check --only iommu' \
          says why"
        ]
    );
}

#[test]
fn modules_are_loaded_at_boot_and_now_unless_they_are_already() {
    let mut place = Place::new(AMD);
    place.boots_with("iommu=pt");
    place.remove("/usr/lib/modules-load.d/vfioctl.conf");
    place.machine.vfio_pci = Answer::Known(ModuleState::Available);
    let load = "write /etc/modules-load.d/vfioctl.conf: load vfio-pci at boot; the helper may load \
                no modules";
    assert_eq!(steps(&place.plan()), [load, "run modprobe vfio-pci"]);
    place.write("/etc/modules", b"# mine\nvfio_pci\n");
    assert_eq!(steps(&place.plan()), ["run modprobe vfio-pci"]);
    place.machine.vfio_pci = Answer::Known(ModuleState::Absent);
    assert_eq!(
        place.plan().notes,
        ["this kernel has no vfio-pci: start one that was made with CONFIG_VFIO_PCI"]
    );
}

#[test]
fn members_of_the_group_may_lock_memory() {
    let mut place = Place::new(AMD);
    place.boots_with("iommu=pt");
    place.write(
        "/etc/security/limits.d/90.conf",
        b"#@vfioctl - memlock unlimited\n",
    );
    assert_eq!(
        steps(&place.plan()),
        [
            "write /etc/security/limits.d/vfioctl.conf: let members of the group 'vfioctl' lock \
          memory, for QEMU that they start themselves; holds from their next login on"
        ]
    );
    place.set_up().unwrap();
    assert!(place.plan().is_empty());
    place.write(
        "/etc/security/limits.d/vfioctl.conf",
        b"* hard memlock -1 # all\n",
    );
    assert!(place.plan().is_empty());
    std::fs::remove_dir_all(place.root().join("etc/security")).unwrap();
    assert_eq!(place.plan().notes.len(), 1);
}

#[test]
fn the_initramfs_is_written_only_for_pinned_devices_and_drivers_in_it() {
    let mut place = Place::new(AMD);
    place.boots_with("iommu=pt");
    place.write("/usr/sbin/update-initramfs", b"");
    place.write("/usr/lib/udev/rules.d/70-vfioctl.rules", b"");
    place.write("/etc/initramfs-tools/initramfs.conf", b"MODULES=dep\n");
    place.write("/etc/initramfs-tools/modules", b"amdgpu\n");
    assert!(place.plan().is_empty(), "nothing is pinned");
    place.write("/etc/vfioctl/pinned/0000:01:00.0", b"");
    let write = "write /etc/initramfs-tools/hooks/vfioctl: pinned devices are to be held before a \
                 driver in the initramfs takes them; ";
    let run = "run update-initramfs -u -k all".to_owned();
    let named = format!("{write}amdgpu is named in /etc/initramfs-tools/modules");
    assert_eq!(steps(&place.plan()), [named, run.clone()]);
    place.write("/etc/initramfs-tools/modules", b"# amdgpu\n");
    assert!(
        place.plan().is_empty(),
        "MODULES=dep takes what the root needs"
    );
    place.write("/etc/initramfs-tools/initramfs.conf", b"MODULES=most\n");
    let unknown = format!(
        "{write}whether one is in it cannot be decided from here, and without one this does no harm"
    );
    assert_eq!(steps(&place.plan()), [unknown, run]);
    place.set_up().unwrap();
    assert!(place.plan().is_empty());
    let hook = place
        .tree()
        .remove("etc/initramfs-tools/hooks/vfioctl")
        .unwrap();
    assert_eq!(hook.0 & 0o777, 0o755);
    let text = String::from_utf8(hook.1).unwrap();
    assert!(text.contains("\nforce_load vfio-pci\n"));
    assert!(text.contains("in /usr/lib/udev/rules.d/70-vfioctl.rules /etc/vfioctl/pinned/*; do\n"));
}

#[test]
fn dracut_gets_a_file_of_ours() {
    let mut place = Place::new(AMD);
    place.boots_with("iommu=pt");
    place.write("/usr/bin/dracut", b"");
    place.write("/etc/vfioctl/pinned/0000:01:00.0", b"");
    assert_eq!(
        place.plan().notes,
        ["the initramfs is left as it is: the udev rules of vfioctl are not installed"]
    );
    place.write("/usr/lib/udev/rules.d/70-vfioctl.rules", b"");
    place.set_up().unwrap();
    assert_eq!(place.programs.ran, ["dracut --force --regenerate-all"]);
    assert!(
        place
            .read("/etc/dracut.conf.d/vfioctl.conf")
            .contains("add_drivers+=\" vfio-pci \"")
    );
    place.remove("/usr/bin/dracut");
    assert_eq!(place.plan().notes.len(), 1);
}

#[test]
fn very_long_lines_come_out_as_they_went_in() {
    let mut place = Place::debian(AMD);
    place.remove("/usr/sbin/update-grub");
    place.write("/usr/sbin/grub-mkconfig", b"");
    let long = [b"#".as_slice(), &vec![0xfe; 1 << 20]].concat();
    let before = [&long, b"\r\nGRUB_CMDLINE_LINUX_DEFAULT=''".as_slice()].concat();
    place.write("/etc/default/grub", &before);
    set_up(&mut place);
    let after = [
        &long,
        b"\r\nGRUB_CMDLINE_LINUX_DEFAULT='iommu=pt'".as_slice(),
    ]
    .concat();
    assert!(std::fs::read(place.root().join("etc/default/grub")).unwrap() == after);
}
