//! Records of setting the machine up.

use serde::Serialize;

/// `vfioctl setup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SetupRecord {
    /// Whether this is only a plan.
    pub(crate) planned: bool,
    /// Whether it is the undoing of what was set up before.
    pub(crate) undo: bool,
    /// The boot loader; null where none is known, and when undoing.
    pub(crate) boot_loader: Option<BootLoaderRecord>,
    /// The parameters that the kernel needs; empty when undoing.
    pub(crate) parameters: Vec<String>,
    /// What is done, or was.
    pub(crate) steps: Vec<SetupStepRecord>,
    /// What is left to the administrator, as sentences.
    pub(crate) by_hand: Vec<String>,
    /// What is worth to know, as sentences.
    pub(crate) notes: Vec<String>,
    /// Files that somebody has edited since and that are left alone, as sentences.
    pub(crate) left: Vec<String>,
    /// Whether the machine has to start again before all is in effect; null where it cannot be
    /// seen.
    pub(crate) reboot: Option<bool>,
}

/// A boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BootLoaderRecord {
    /// Which.
    pub(crate) kind: BootLoaderKind,
    /// Why this one, as a sentence.
    pub(crate) why: String,
}

/// Which boot loader it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BootLoaderKind {
    /// GRUB 2.
    Grub,
    /// systemd-boot.
    SystemdBoot,
    /// `kernel-install`.
    KernelInstall,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SetupStepRecord {
    /// What.
    pub(crate) verb: SetupVerb,
    /// The file; null for a program.
    pub(crate) path: Option<String>,
    /// The program and its arguments; null for a file.
    pub(crate) command: Option<Vec<String>>,
    /// The lines that go and come, with `-` and `+` before them.
    pub(crate) lines: Vec<String>,
    /// The same as a sentence.
    pub(crate) text: String,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SetupVerb {
    /// Writes a new file.
    Write,
    /// Edits a file.
    Edit,
    /// Brings a file back as it was.
    Restore,
    /// Removes a file that was written.
    Remove,
    /// Runs a program.
    Run,
}

impl From<vfioctl_setup::BootLoader> for BootLoaderKind {
    fn from(loader: vfioctl_setup::BootLoader) -> Self {
        match loader {
            vfioctl_setup::BootLoader::Grub => Self::Grub,
            vfioctl_setup::BootLoader::SystemdBoot => Self::SystemdBoot,
            vfioctl_setup::BootLoader::KernelInstall => Self::KernelInstall,
        }
    }
}

impl From<&vfioctl_setup::Edit> for SetupStepRecord {
    fn from(edit: &vfioctl_setup::Edit) -> Self {
        Self {
            verb: match edit.is_new() {
                true => SetupVerb::Write,
                false => SetupVerb::Edit,
            },
            path: Some(edit.path().to_owned()),
            command: None,
            lines: edit.changed_lines(),
            text: edit.text(),
        }
    }
}

impl From<&vfioctl_setup::UndoStep> for SetupStepRecord {
    fn from(step: &vfioctl_setup::UndoStep) -> Self {
        Self {
            verb: match step.is_removal() {
                true => SetupVerb::Remove,
                false => SetupVerb::Restore,
            },
            path: Some(step.path().to_owned()),
            command: None,
            lines: Vec::new(),
            text: step.text(),
        }
    }
}

impl From<&vfioctl_setup::Command> for SetupStepRecord {
    fn from(command: &vfioctl_setup::Command) -> Self {
        Self {
            verb: SetupVerb::Run,
            path: None,
            command: Some(command.words.clone()),
            lines: Vec::new(),
            text: format!("run {}", command.text()),
        }
    }
}

impl SetupRecord {
    /// The record of a plan.
    pub(crate) fn of_plan(plan: &vfioctl_setup::Plan) -> Self {
        let edits = plan.edits.iter().map(SetupStepRecord::from);
        let commands = plan.commands.iter().map(SetupStepRecord::from);
        let boot_loader = plan.boot_loader.as_ref();
        Self {
            planned: true,
            undo: false,
            boot_loader: boot_loader.map(|chosen| BootLoaderRecord {
                kind: chosen.loader.into(),
                why: chosen.why.clone(),
            }),
            parameters: plan.parameters.iter().map(ToString::to_string).collect(),
            steps: edits.chain(commands).collect(),
            by_hand: plan.by_hand.clone(),
            notes: plan.notes.clone(),
            left: Vec::new(),
            reboot: plan.reboot.known(),
        }
    }

    /// The record of a plan to undo.
    pub(crate) fn of_undo(plan: &vfioctl_setup::UndoPlan) -> Self {
        let files = plan.steps.iter().map(SetupStepRecord::from);
        let commands = plan.commands.iter().map(SetupStepRecord::from);
        Self {
            planned: true,
            undo: true,
            boot_loader: None,
            parameters: Vec::new(),
            steps: files.chain(commands).collect(),
            by_hand: Vec::new(),
            notes: Vec::new(),
            left: plan.left.clone(),
            reboot: Some(plan.reboot),
        }
    }
}
