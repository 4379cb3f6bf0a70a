//! Machines that lie in a folder, and programs that only write down what they are asked.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use vfioctl_core::Answer;
use vfioctl_core::check::{CommandLine, ModuleState};

use crate::error::Error;
use crate::plan::{Command, Plan, plan};
use crate::program::RunProgram;
use crate::{Facts, Machine, apply, apply_undo, paths, plan_undo, read_facts};

/// A machine in a folder.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) machine: Machine,
    pub(crate) programs: Recorder,
}

/// Writes down what it is asked to run; fails where it is told to.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) ran: Vec<String>,
    pub(crate) fails: bool,
}

impl RunProgram for Recorder {
    fn run(&mut self, command: &Command) -> Result<(), Error> {
        self.ran.push(command.text());
        match self.fails {
            true => Err(Error::program("it failed", None)),
            false => Ok(()),
        }
    }
}

/// The command line of a machine that GRUB has started.
const RUNNING: &str = "BOOT_IMAGE=/vmlinuz-6.1 root=UUID=1 ro quiet";

impl Place {
    /// A machine on which only the limits and the modules are set up.
    pub(crate) fn new(vendor: &str) -> Self {
        let machine = Machine {
            vendor: Answer::Known(vendor.to_owned()),
            command_line: Answer::Known(CommandLine::new(RUNNING)),
            kernel_release: Answer::Known("6.1".to_owned()),
            is_iommu_on: Answer::Known(true),
            vfio_pci: Answer::Known(ModuleState::Loaded),
        };
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
            machine,
            programs: Recorder::default(),
        };
        place.write(
            "/etc/security/limits.d/90.conf",
            b"@vfioctl - memlock unlimited\n",
        );
        place.write("/usr/lib/modules-load.d/vfioctl.conf", b"vfio-pci\n");
        place
    }

    /// One with GRUB, as Debian has it.
    pub(crate) fn debian(vendor: &str) -> Self {
        let place = Self::new(vendor);
        place.write(
            "/etc/default/grub",
            b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n",
        );
        place.write("/usr/sbin/update-grub", b"");
        place.write(
            "/usr/sbin/grub-mkconfig",
            b"for x in /etc/default/grub.d/*.cfg; do\n",
        );
        place
    }

    /// One with systemd-boot, and entries that kernel-install has written.
    pub(crate) fn systemd_boot(vendor: &str) -> Self {
        let mut place = Self::new(vendor);
        place.boots_with("initrd=\\initrd root=UUID=1 quiet");
        place.write("/usr/bin/kernel-install", b"");
        for version in ["6.1", "6.5"] {
            let text = format!(
                "title      Debian\nversion    {version}\noptions    root=UUID=1 quiet\n\
                 linux      /id/{version}/linux\n"
            );
            let path = format!("/boot/efi/loader/entries/id-{version}.conf");
            place.write(&path, text.as_bytes());
        }
        place
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the machine again, with another command line.
    pub(crate) fn boots_with(&mut self, line: &str) {
        self.machine.command_line = Answer::Known(CommandLine::new(line));
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let place = paths::below(self.root(), path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        let bytes = fs::read(paths::below(self.root(), path)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(paths::below(self.root(), path)).unwrap();
    }

    pub(crate) fn set_mode(&self, path: &str, mode: u32) {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(paths::below(self.root(), path), mode).unwrap();
    }

    pub(crate) fn facts(&self) -> Facts {
        read_facts(self.root(), self.machine.clone()).unwrap()
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.facts())
    }

    pub(crate) fn set_up(&mut self) -> Result<(), Error> {
        let plan = self.plan();
        apply(self.folder.path(), &plan, &mut self.programs, &mut |_| ())
    }

    /// Undoes it; what was left alone.
    pub(crate) fn undo(&mut self) -> Result<Vec<String>, Error> {
        let plan = plan_undo(self.root(), &self.facts())?;
        apply_undo(self.folder.path(), &plan, &mut self.programs, &mut |_| ())?;
        Ok(plan.left)
    }

    /// Every file and folder but the record: its mode and its bytes.
    pub(crate) fn tree(&self) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut tree = BTreeMap::new();
        let mut folders = vec![self.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let place = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&place).unwrap();
                let bytes = if metadata.is_dir() {
                    folders.push(place.clone());
                    Vec::new()
                } else {
                    fs::read(&place).unwrap()
                };
                let path = place.strip_prefix(self.root()).unwrap();
                tree.insert(path.to_str().unwrap().to_owned(), (metadata.mode(), bytes));
            }
        }
        tree.retain(|path, _| path != "var" && !path.starts_with("var/"));
        tree
    }
}
