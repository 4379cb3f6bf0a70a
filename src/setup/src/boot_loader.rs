//! The boot loader: which one is set up here, and what makes it start Linux with its IOMMU on.

use vfioctl_core::Answer;

use crate::edit::Edit;
use crate::entry_file::{
    command_line_from, edit_command_line, edit_entry, is_generated, is_linux_entry,
};
use crate::facts::{Facts, Grub, Refresh, SystemdBoot, TextFile};
use crate::grub_file::{GrubFile, Variables};
use crate::parameters::Vendor;
use crate::paths;
use crate::plan::Draft;
use crate::splice::spliced;

/// A boot loader, or what writes the configuration of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootLoader {
    /// GRUB 2.
    Grub,
    /// systemd-boot, with an entry for each kernel.
    SystemdBoot,
    /// `kernel-install`, where it makes images that have the command line inside.
    KernelInstall,
}

/// The boot loader that is set up, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub loader: BootLoader,
    /// Why, as the end of a sentence.
    pub why: String,
}

/// Decides which boot loader is set up.
pub(crate) fn choose(facts: &Facts) -> Option<Chosen> {
    let systemd = &facts.systemd_boot;
    let has_entries = systemd
        .entries
        .iter()
        .any(|entry| is_linux_entry(&entry.bytes));
    let has_line = systemd.has_kernel_install && systemd.command_line.is_some();
    let (other, evidence) = match (has_entries, has_line) {
        (true, _) => (
            BootLoader::SystemdBoot,
            "there are entries in loader/entries/",
        ),
        (false, _) => (BootLoader::KernelInstall, "there is an /etc/kernel/cmdline"),
    };
    let has_other = has_entries || has_line;
    let both = || format!("GRUB is set up here and {evidence} too");
    // GRUB names the kernel on its command line (grub-core/loader/i386/linux.c), systemd-boot does
    // not. What is left of another boot loader starts nothing.
    let (loader, why) = match (&facts.grub, has_other, &facts.machine.command_line) {
        (None, false, _) => return None,
        (None, true, _) => (other, evidence.to_owned()),
        (Some(grub), true, _) if grub.has_grubby => (
            BootLoader::Grub,
            "there is an /etc/default/grub, and grubby looks after its entries".to_owned(),
        ),
        (Some(_), false, _) => (BootLoader::Grub, "there is an /etc/default/grub".to_owned()),
        (Some(_), true, Answer::CannotSee) => (
            BootLoader::Grub,
            format!("{}; which of the two is used cannot be seen", both()),
        ),
        (Some(_), true, Answer::Known(line)) => match line.value("BOOT_IMAGE") {
            Some(_) => (
                BootLoader::Grub,
                format!(
                    "{}; the running kernel was started by GRUB ('BOOT_IMAGE=')",
                    both()
                ),
            ),
            None => (
                other,
                format!(
                    "{}; the running kernel was not started by GRUB (no 'BOOT_IMAGE=')",
                    both()
                ),
            ),
        },
    };
    Some(Chosen { loader, why })
}

/// Plans the kernel command line.
pub(crate) fn plan_boot_loader(
    facts: &Facts,
    vendor: Vendor,
    chosen: Option<&Chosen>,
    draft: &mut Draft,
) {
    let wanted = vendor.wanted().join(" ");
    match (chosen.map(|chosen| chosen.loader), &facts.grub) {
        (Some(BootLoader::Grub), Some(grub)) if grub.has_grubby => {
            // With grubby each entry has a line of its own, which grub-mkconfig does not touch.
            if !runs_with(facts, vendor) {
                draft.by_hand.push(format!(
                    "run 'sudo grubby --update-kernel=ALL --args=\"{wanted}\"': vfioctl does not \
                     edit what grubby looks after"
                ));
            }
        }
        (Some(BootLoader::Grub), Some(grub)) => {
            if let Err(because) = plan_grub(grub, vendor, draft) {
                draft.by_hand.push(format!(
                    "put '{wanted}' into GRUB_CMDLINE_LINUX_DEFAULT and run '{}': {because}",
                    grub.update.join(" ")
                ));
            }
        }
        (Some(BootLoader::SystemdBoot | BootLoader::KernelInstall), _) => {
            plan_systemd_boot(facts, vendor, draft);
        }
        (Some(BootLoader::Grub), None) | (None, _) => {
            // Entries that cannot be seen are not missing ones; the plan says what is hidden.
            let is_hidden = facts.hidden.iter().any(|path| path.ends_with("/entries"));
            if !is_hidden && !runs_with(facts, vendor) {
                draft.by_hand.push(format!(
                    "add '{wanted}' to the kernel command line where your boot loader has it: no \
                     boot loader that vfioctl knows was found (GRUB: /etc/default/grub and \
                     grub-mkconfig; systemd-boot: loader/entries/ in /boot/efi/, /efi/ or /boot/; \
                     kernel-install: /etc/kernel/cmdline)"
                ));
            }
        }
    }
}

/// Whether the running kernel has all that is needed.
fn runs_with(facts: &Facts, vendor: Vendor) -> bool {
    matches!(&facts.machine.command_line,
        Answer::Known(line) if vendor.is_content_with(line.as_str().as_bytes()))
}

/// A file of GRUB's as it becomes.
struct Work {
    file: TextFile,
    is_new: bool,
    after: Vec<u8>,
    said: Vec<String>,
}

/// Plans GRUB's files; an error is the reason why they cannot be edited.
fn plan_grub(grub: &Grub, vendor: Vendor, draft: &mut Draft) -> Result<(), String> {
    let mut works = Vec::new();
    let drop_ins = grub.drop_ins.iter().flatten();
    for file in std::iter::once(&grub.default).chain(drop_ins) {
        let explain = |because| format!("'{}' cannot be edited safely: {because}", file.path);
        let parsed = GrubFile::parse(&file.bytes).map_err(explain)?;
        let (splices, said) = parsed.corrections(vendor).map_err(explain)?;
        works.push(Work {
            after: spliced(&file.bytes, splices),
            file: file.clone(),
            is_new: false,
            said,
        });
    }
    let missing = missing(&works, vendor)?;
    if !missing.is_empty() {
        add(grub, &mut works, &missing.join(" "))?;
        if !self::missing(&works, vendor)?.is_empty() {
            return Err(format!(
                "a file in {}/ behind 'vfioctl.cfg' sets it anew",
                paths::GRUB_FOLDER
            ));
        }
    }
    for work in works {
        if !work.is_new && work.after == work.file.bytes {
            continue;
        }
        let mut edit = Edit::change(&work.file, work.after, work.said);
        if work.is_new {
            edit.before = None;
        }
        draft.edit(edit.then(Refresh::Grub));
    }
    Ok(())
}

/// What the kernel would not get from these files.
fn missing(works: &[Work], vendor: Vendor) -> Result<Vec<&'static str>, String> {
    let mut variables = Variables::default();
    for work in works {
        variables.source(&GrubFile::parse(&work.after)?);
    }
    let line = variables.line();
    let words = crate::parameters::words(&line);
    Ok(vendor.missing(words.into_iter().filter_map(|word| line.get(word))))
}

/// Adds parameters: in a file of our own where GRUB sources it, so that nothing of the
/// administrator's is edited.
fn add(grub: &Grub, works: &mut Vec<Work>, parameters: &str) -> Result<(), String> {
    let said = format!("add '{parameters}'");
    if grub.drop_ins.is_none() {
        let Some(work) = works.first_mut() else {
            return Err("there is no such file".to_owned());
        };
        let splice = GrubFile::parse(&work.after)?.added(&work.after, parameters);
        work.after = spliced(&work.after, vec![splice]);
        work.said.push(said);
        return Ok(());
    }
    let line =
        format!("GRUB_CMDLINE_LINUX_DEFAULT=\"${{GRUB_CMDLINE_LINUX_DEFAULT}} {parameters}\"\n");
    let present = works
        .iter_mut()
        .find(|work| work.file.path == paths::GRUB_DROP_IN);
    if let Some(work) = present {
        if !work.after.is_empty() && !work.after.ends_with(b"\n") {
            work.after.push(b'\n');
        }
        work.after.extend_from_slice(line.as_bytes());
        work.said.push(said);
        return Ok(());
    }
    let head = "# Written by 'vfioctl setup'; 'sudo vfioctl setup --undo' takes it away.\n";
    works.push(Work {
        file: TextFile {
            path: paths::GRUB_DROP_IN.to_owned(),
            bytes: Vec::new(),
        },
        is_new: true,
        after: format!("{head}{line}").into_bytes(),
        said: vec![said],
    });
    // As they are sourced; '/etc/default/grub' is before those in the folder by its name, too.
    works.sort_by(|a, b| a.file.path.cmp(&b.file.path));
    Ok(())
}

/// Plans the entries that are there, and the line for kernels to come.
///
/// The entries are edited themselves, and `kernel-install` is not run to write them anew: so every
/// installed kernel gets the parameters, nothing else in the entries changes, and undoing it brings
/// them back byte for byte.
fn plan_systemd_boot(facts: &Facts, vendor: Vendor, draft: &mut Draft) {
    let SystemdBoot {
        entries,
        command_line,
        vendor_command_line,
        has_kernel_install,
        kernels,
    } = &facts.systemd_boot;
    let has_entries = entries.iter().any(|entry| is_linux_entry(&entry.bytes));
    for entry in entries {
        if let Some((after, said)) = edit_entry(&entry.bytes, vendor) {
            draft.edit(Edit::change(entry, after, said));
        }
    }
    if let Some(file) = command_line {
        if let Some((after, said)) = edit_command_line(&file.bytes, vendor) {
            let edit = Edit::change(file, after, said);
            draft.edit(match has_entries {
                true => edit,
                false => edit.then(Refresh::KernelInstall),
            });
        }
    } else if *has_kernel_install && entries.iter().any(|entry| is_generated(&entry.bytes)) {
        let from = match (vendor_command_line, &facts.machine.command_line) {
            (Some(file), _) => Some((file.bytes.clone(), file.path.as_str())),
            (None, Answer::Known(line)) => {
                Some((command_line_from(line.as_str()), "that of the running one"))
            }
            (None, Answer::CannotSee) => None,
        };
        // What is right already would be right for later kernels, too.
        let edited =
            from.and_then(|(line, from)| Some((edit_command_line(&line, vendor)?.0, from)));
        if let Some((line, from)) = edited {
            let said =
                format!("the command line for kernels that are installed later, from {from}");
            draft.edit(Edit::create(paths::KERNEL_CMDLINE, line, said));
        }
    }
    if draft.refreshes.contains(&Refresh::KernelInstall) && kernels.is_empty() {
        draft.by_hand.push(
            "run 'kernel-install add' for each installed kernel: the image of the running one was \
             not found in /boot/ or /usr/lib/modules/"
                .to_owned(),
        );
    }
}
