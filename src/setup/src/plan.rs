//! The plan: what is to be edited and run so that this machine can give devices away. Made from
//! facts alone; it looks at nothing and changes nothing.

use std::collections::BTreeSet;

use vfioctl_core::Answer;
use vfioctl_core::check::ModuleState;

use crate::boot_loader::{BootLoader, Chosen, choose, plan_boot_loader};
use crate::edit::Edit;
use crate::facts::{Facts, Refresh, TextFile};
use crate::initramfs::plan_initramfs;
use crate::parameters::Vendor;
use crate::paths;
use crate::read::lines;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The boot loader that is set up; `None` where none is known.
    pub boot_loader: Option<Chosen>,
    /// The parameters that the kernel needs here.
    pub parameters: Vec<&'static str>,
    /// The files to edit, in this order.
    pub edits: Vec<Edit>,
    /// The programs to run after that, in this order.
    pub commands: Vec<Command>,
    /// What cannot be done here and is left to the administrator, as sentences that begin with a
    /// verb.
    pub by_hand: Vec<String>,
    /// What is worth to know, as sentences.
    pub notes: Vec<String>,
    /// Whether the machine has to start again before everything is in effect.
    pub reboot: Answer<bool>,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its path and its arguments.
    pub words: Vec<String>,
}

impl Command {
    /// The command as one would type it.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

impl Plan {
    /// Whether nothing is left to be done.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.commands.is_empty()
    }
}

/// A plan that is being made; each part adds to it.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) edits: Vec<Edit>,
    pub(crate) refreshes: BTreeSet<Refresh>,
    pub(crate) by_hand: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Draft {
    pub(crate) fn edit(&mut self, edit: Edit) {
        self.refreshes.extend(edit.refresh);
        self.edits.push(edit);
    }
}

/// Makes the plan.
pub fn plan(facts: &Facts) -> Plan {
    let mut draft = Draft {
        refreshes: facts.pending.clone(),
        ..Draft::default()
    };
    let vendor = match &facts.machine.vendor {
        Answer::Known(name) => Vendor::of(name),
        Answer::CannotSee => None,
    };
    let boot_loader = choose(facts);
    let reboot = match vendor {
        Some(vendor) => {
            plan_boot_loader(facts, vendor, boot_loader.as_ref(), &mut draft);
            plan_reboot(facts, vendor)
        }
        None => {
            draft.notes.push(
                "no parameters of the kernel are set: which processor this is cannot be seen, or \
                 it is neither Intel's nor AMD's"
                    .to_owned(),
            );
            Answer::Known(false)
        }
    };
    let loads_now = plan_modules(facts, &mut draft);
    plan_limits(facts, &mut draft);
    plan_initramfs(facts, &mut draft);
    if reboot == Answer::Known(false) && facts.machine.is_iommu_on == Answer::Known(false) {
        draft.notes.push(
            "the IOMMU is off although the kernel is told to use it: 'vfioctl check --only iommu' \
             says why"
                .to_owned(),
        );
    }
    if !facts.hidden.is_empty() {
        let note = format!(
            "this user cannot see all that the plan depends on ({}): 'sudo vfioctl setup --plan' \
             shows the whole of it",
            facts.hidden.join(", ")
        );
        draft.notes.push(note);
    }
    let mut commands = Vec::from_iter(loads_now);
    for refresh in std::mem::take(&mut draft.refreshes) {
        commands.extend(refresh_commands(facts, refresh));
    }
    Plan {
        boot_loader,
        parameters: vendor.map_or_else(Vec::new, |vendor| vendor.wanted().to_vec()),
        edits: draft.edits,
        commands,
        by_hand: draft.by_hand,
        notes: draft.notes,
        reboot,
    }
}

/// The programs that bring something into effect, after an edit or its undoing.
pub(crate) fn refresh_commands(facts: &Facts, refresh: Refresh) -> Vec<Command> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let each: Vec<Vec<String>> = match refresh {
        Refresh::Grub => facts.grub.iter().map(|grub| grub.update.clone()).collect(),
        Refresh::KernelInstall => {
            let install = |kernel: &crate::facts::Kernel| {
                let mut command: Vec<String> =
                    words(&["kernel-install", "add", &kernel.version, &kernel.image]);
                command.extend(kernel.initrd.clone());
                command
            };
            facts.systemd_boot.kernels.iter().map(install).collect()
        }
        Refresh::Initramfs => match facts.initramfs {
            crate::facts::InitramfsWriter::InitramfsTools { .. } => {
                vec![words(&["update-initramfs", "-u", "-k", "all"])]
            }
            crate::facts::InitramfsWriter::Dracut { .. } => {
                vec![words(&["dracut", "--force", "--regenerate-all"])]
            }
            crate::facts::InitramfsWriter::Unknown => Vec::new(),
        },
    };
    each.into_iter().map(|words| Command { words }).collect()
}

/// The running kernel has the parameters or not; how far its files have come does not matter.
fn plan_reboot(facts: &Facts, vendor: Vendor) -> Answer<bool> {
    let line = facts.machine.command_line.as_ref();
    line.map(|line| !vendor.is_content_with(line.as_str().as_bytes()))
}

/// The modules at boot, and now where they are not loaded.
fn plan_modules(facts: &Facts, draft: &mut Draft) -> Option<Command> {
    let state = facts.machine.vfio_pci;
    match state {
        Answer::Known(ModuleState::BuiltIn) => return None,
        Answer::Known(ModuleState::Absent) => {
            draft.notes.push(
                "this kernel has no vfio-pci: start one that was made with CONFIG_VFIO_PCI"
                    .to_owned(),
            );
            return None;
        }
        Answer::Known(ModuleState::Loaded | ModuleState::Available) | Answer::CannotSee => {}
    }
    let names_it = |line: &String| line.replace('-', "_") == "vfio_pci";
    if !facts
        .modules_load
        .iter()
        .flat_map(lines)
        .any(|line| names_it(&line))
    {
        let said = "load vfio-pci at boot; the helper may load no modules";
        let text = b"# Written by 'vfioctl setup'; 'sudo vfioctl setup --undo' takes it away.\n\
                     vfio-pci\nvfio_iommu_type1\n";
        let present = find(&facts.modules_load, paths::MODULES_LOAD);
        draft
            .edits
            .extend(Edit::whole(paths::MODULES_LOAD, present, *text, said));
    }
    (state == Answer::Known(ModuleState::Available)).then(|| Command {
        words: vec!["modprobe".to_owned(), "vfio-pci".to_owned()],
    })
}

/// The limit of locked memory, for those who start QEMU themselves.
fn plan_limits(facts: &Facts, draft: &mut Draft) {
    let Some(files) = &facts.limits else {
        let note = "no limit of locked memory is set: there is no /etc/security/ (pam_limits). \
                    Machines that 'vfioctl vm' starts need none";
        draft.notes.push(note.to_owned());
        return;
    };
    if files
        .iter()
        .flat_map(lines)
        .any(|line| lifts_the_limit(&line))
    {
        return;
    }
    let said = "let members of the group 'vfioctl' lock memory, for QEMU that they start \
                themselves; holds from their next login on";
    let text = "# Written by 'vfioctl setup'; 'sudo vfioctl setup --undo' takes it away.\n\
                @vfioctl - memlock unlimited\n";
    let present = find(files, paths::LIMITS);
    draft
        .edits
        .extend(Edit::whole(paths::LIMITS, present, text, said));
}

/// A line of `limits.conf(5)`: domain, type, item, value.
fn lifts_the_limit(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    matches!(
        words.as_slice(),
        [
            "@vfioctl" | "*",
            "-" | "hard",
            "memlock",
            "unlimited" | "infinity" | "-1"
        ]
    )
}

fn find<'a>(files: &'a [TextFile], path: &str) -> Option<&'a TextFile> {
    files.iter().find(|file| file.path == path)
}

impl BootLoader {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grub => "GRUB",
            Self::SystemdBoot => "systemd-boot",
            Self::KernelInstall => "kernel-install",
        }
    }
}

#[cfg(test)]
mod tests;
