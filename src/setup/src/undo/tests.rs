use vfioctl_core::Answer;
use vfioctl_core::check::ModuleState;

use super::*;
use crate::error::ErrorKind;
use crate::sample::Place;

/// A machine on which nearly everything is to be done.
fn bare() -> Place {
    let mut place = Place::debian("GenuineIntel");
    place.remove("/usr/lib/modules-load.d/vfioctl.conf");
    place.remove("/etc/security/limits.d/90.conf");
    place.write(
        "/etc/default/grub",
        b"GRUB_CMDLINE_LINUX=\"intel_iommu=off \xff\"\r\n#",
    );
    place.set_mode("/etc/default/grub", 0o640);
    place.machine.vfio_pci = Answer::Known(ModuleState::Available);
    place
}

#[test]
fn undoing_brings_every_byte_back() {
    for mut place in [
        bare(),
        Place::systemd_boot("GenuineIntel"),
        Place::systemd_boot("AuthenticAMD"),
        Place::debian("AuthenticAMD"),
    ] {
        let before = place.tree();
        place.set_up().unwrap();
        assert!(place.tree() != before);
        assert_eq!(place.undo().unwrap(), Vec::<String>::new());
        assert_eq!(place.tree(), before);
        assert!(!paths::below(place.root(), paths::STATE_FOLDER).exists());
        let ran = place.programs.ran.len();
        assert_eq!(place.undo().unwrap(), Vec::<String>::new());
        assert_eq!((place.tree(), place.programs.ran.len()), (before, ran));
    }
}

#[test]
fn undoing_runs_the_programs_again() {
    let mut place = bare();
    place.set_up().unwrap();
    assert_eq!(
        place.programs.ran,
        ["modprobe vfio-pci", "/usr/sbin/update-grub"]
    );
    let plan = plan_undo(place.root(), &place.facts()).unwrap();
    let steps: Vec<String> = plan.steps.iter().map(UndoStep::text).collect();
    assert_eq!(
        steps,
        [
            "remove /etc/security/limits.d/vfioctl.conf",
            "remove /etc/modules-load.d/vfioctl.conf",
            "remove /etc/default/grub.d/vfioctl.cfg",
            "bring /etc/default/grub back as it was",
        ]
    );
    assert!(plan.reboot);
    place.programs.ran.clear();
    place.undo().unwrap();
    assert_eq!(place.programs.ran, ["/usr/sbin/update-grub"]);
}

#[test]
fn a_file_that_somebody_edited_since_is_left_alone_and_named() {
    let mut place = bare();
    place.set_up().unwrap();
    place.write("/etc/default/grub", b"mine");
    place.write("/etc/default/grub.d/vfioctl.cfg", b"mine too");
    place.remove("/etc/modules-load.d/vfioctl.conf");
    let left = [
        "/etc/default/grub.d/vfioctl.cfg was edited by somebody since; before 'vfioctl setup' \
         there was none",
        "/etc/default/grub was edited by somebody since; as it was before is in \
         /var/lib/vfioctl/setup/1.before",
    ];
    for _ in 0..2 {
        assert_eq!(place.undo().unwrap(), left);
        assert_eq!(place.read("/etc/default/grub"), "mine");
        assert_eq!(place.read("/etc/default/grub.d/vfioctl.cfg"), "mine too");
    }
    assert!(
        !place
            .root()
            .join("etc/security/limits.d/vfioctl.conf")
            .exists()
    );
    let before = place.read("/var/lib/vfioctl/setup/1.before");
    place.write("/etc/default/grub", before.as_bytes());
    place.remove("/etc/default/grub.d/vfioctl.cfg");
    // The byte that is not UTF-8 was lost on the way through 'read', so this is still foreign.
    assert_eq!(place.undo().unwrap().len(), 1);
}

#[test]
fn two_setups_are_undone_one_after_the_other() {
    let mut place = Place::debian("AuthenticAMD");
    let before = place.tree();
    place.set_up().unwrap();
    place.machine.vendor = Answer::Known("GenuineIntel".to_owned());
    place.set_up().unwrap();
    assert!(
        place
            .read("/etc/default/grub.d/vfioctl.cfg")
            .contains("intel_iommu=on")
    );
    assert_eq!(place.undo().unwrap(), Vec::<String>::new());
    assert_eq!(place.tree(), before);
}

#[test]
fn a_program_that_failed_is_run_by_the_next_call() {
    let mut place = bare();
    let before = place.tree();
    place.programs.fails = true;
    assert_eq!(place.set_up().unwrap_err().kind(), ErrorKind::Program);
    place.programs.fails = false;
    place.machine.vfio_pci = Answer::Known(ModuleState::Loaded);
    place.programs.ran.clear();
    place.set_up().unwrap();
    assert_eq!(place.programs.ran, ["/usr/sbin/update-grub"]);
    assert!(place.plan().is_empty());
    place.programs.fails = true;
    assert_eq!(place.undo().unwrap_err().kind(), ErrorKind::Program);
    assert_eq!(place.tree(), before);
    place.programs.fails = false;
    place.programs.ran.clear();
    place.undo().unwrap();
    assert_eq!(place.programs.ran, ["/usr/sbin/update-grub"]);
}

#[test]
fn an_edit_that_fails_leaves_a_record_by_which_the_others_are_undone() {
    let whole = bare().plan().edits.len();
    for fails_at in 0..whole {
        let mut place = bare();
        let before = place.tree();
        let plan = place.plan();
        // Somebody writes one of the files while the plan is being applied.
        let foreign = plan.edits[fails_at].path().to_owned();
        let old = std::fs::read(paths::below(place.root(), &foreign)).ok();
        let root = place.root().to_owned();
        let mut made = 0;
        let result = crate::apply(&root, &plan, &mut place.programs, &mut |_| {
            if made == fails_at {
                let file = paths::below(&root, &foreign);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, "foreign").unwrap();
            }
            made += 1;
        });
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Changed);
        assert_eq!(place.undo().unwrap(), Vec::<String>::new());
        assert_eq!(place.read(&foreign), "foreign");
        match old {
            Some(old) => place.write(&foreign, &old),
            None => place.remove(&foreign),
        }
        let mut after = place.tree();
        // The folder is the one who wrote into it; it was not made by this crate.
        after.retain(|path, _| before.contains_key(path) || !root.join(path).is_dir());
        assert_eq!(after, before, "{fails_at}");
    }
}

#[test]
fn a_crash_between_the_record_and_the_file_is_undone() {
    let mut place = Place::debian("AuthenticAMD");
    let before = place.tree();
    let plan = place.plan();
    let mut folder = RecordFolder::open(place.root()).unwrap();
    folder
        .note(&plan.edits[0], vec!["/etc/default/grub.d".to_owned()])
        .unwrap();
    drop(folder);
    assert_eq!(place.undo().unwrap(), Vec::<String>::new());
    assert_eq!(place.tree(), before);
    assert!(!paths::below(place.root(), paths::STATE_FOLDER).exists());
}

#[test]
fn a_crash_between_the_record_and_the_file_is_gone_over_by_the_next_setup() {
    let mut place = Place::debian("AuthenticAMD");
    let before = place.tree();
    let plan = place.plan();
    let mut folder = RecordFolder::open(place.root()).unwrap();
    folder.note(&plan.edits[0], Vec::new()).unwrap();
    drop(folder);
    place.set_up().unwrap();
    assert!(place.plan().is_empty());
    assert_eq!(place.undo().unwrap(), Vec::<String>::new());
    assert_eq!(place.tree(), before);
}

#[test]
fn what_a_killed_run_left_half_written_goes_too() {
    let mut place = Place::debian("AuthenticAMD");
    let before = place.tree();
    let plan = place.plan();
    let mut folder = RecordFolder::open(place.root()).unwrap();
    folder
        .note(&plan.edits[0], vec!["/etc/default/grub.d".to_owned()])
        .unwrap();
    drop(folder);
    place.write("/etc/default/grub.d/.vfioctl.cfg.vfioctl-new", b"half");
    place.write("/var/lib/vfioctl/setup/.record.json.vfioctl-new", b"half");
    place.write("/var/lib/vfioctl/setup/2.after", b"not on record");
    assert_eq!(place.undo().unwrap(), Vec::<String>::new());
    assert_eq!(place.tree(), before);
    assert!(!paths::below(place.root(), paths::STATE_FOLDER).exists());
}
