//! The initramfs: a driver that is in it can take a pinned device before the udev rules of the
//! real root are there, so they go into it as well.
//!
//! `initramfs-tools(7)`, hooks; `dracut.conf(5)`, a file of shell that is sourced. Where it cannot
//! be decided whether a driver of GPUs is in the initramfs, it is done: without one it does no
//! harm.

use crate::edit::Edit;
use crate::facts::{Facts, InitramfsWriter, Refresh};
use crate::paths;
use crate::plan::Draft;

/// Drivers that take GPUs and their sound functions.
const DRIVERS: [&str; 8] = [
    "amdgpu",
    "i915",
    "nouveau",
    "nvidia",
    "nvidia_drm",
    "radeon",
    "snd_hda_intel",
    "xe",
];

/// Plans the initramfs.
pub(crate) fn plan_initramfs(facts: &Facts, draft: &mut Draft) {
    if !facts.has_pins {
        return;
    }
    let Some(rules) = &facts.rules else {
        let note = "the initramfs is left as it is: the udev rules of vfioctl are not installed";
        draft.notes.push(note.to_owned());
        return;
    };
    match &facts.initramfs {
        InitramfsWriter::InitramfsTools {
            hook,
            modules,
            named,
            has_splash,
        } => {
            let Some(why) = why_needed(modules.as_deref(), named, *has_splash) else {
                return;
            };
            let edit = Edit::whole(paths::INITRAMFS_HOOK, hook.as_ref(), hook_text(rules), why);
            if let Some(edit) = edit {
                // It is run, and not only read.
                let edit = Edit {
                    mode: 0o755,
                    ..edit
                };
                draft.edit(edit.then(Refresh::Initramfs));
            }
        }
        InitramfsWriter::Dracut { conf } => {
            let why = "pinned devices are to be held before a driver in the initramfs takes them; \
                       whether one is in it cannot be decided from here, and without one this does \
                       no harm";
            let edit = Edit::whole(paths::DRACUT_CONF, conf.as_ref(), dracut_text(rules), why);
            if let Some(edit) = edit {
                draft.edit(edit.then(Refresh::Initramfs));
            }
        }
        InitramfsWriter::Unknown => draft.notes.push(format!(
            "devices are pinned, and what writes the initramfs here is not known: where it holds \
             a driver of GPUs, put {rules}, {}/ and the module vfio-pci into it",
            paths::PINNED
        )),
    }
}

/// Why the initramfs needs our hook; `None` where it holds no driver of GPUs.
fn why_needed(modules: Option<&str>, named: &[String], has_splash: bool) -> Option<String> {
    let hold = "pinned devices are to be held before a driver in the initramfs takes them";
    let is_driver = |name: &&String| DRIVERS.contains(&name.replace('-', "_").as_str());
    if let Some(driver) = named.iter().find(is_driver) {
        return Some(format!(
            "{hold}; {driver} is named in /etc/initramfs-tools/modules"
        ));
    }
    if has_splash {
        return Some(format!(
            "{hold}; the splash screen takes those of GPUs along"
        ));
    }
    match modules {
        Some("dep" | "list") => None,
        _ => Some(format!(
            "{hold}; whether one is in it cannot be decided from here, and without one this does \
             no harm"
        )),
    }
}

fn hook_text(rules: &str) -> String {
    format!(
        "#!/bin/sh
# Written by 'vfioctl setup'; 'sudo vfioctl setup --undo' takes it away.
#
# Puts what holds pinned devices into the initramfs, where a driver could take them first.
set -e

[ \"${{1:-}}\" != prereqs ] || exit 0

. /usr/share/initramfs-tools/hook-functions

for file in {rules} {}/*; do
	if [ -f \"$file\" ]; then
		mkdir -p \"$DESTDIR${{file%/*}}\"
		cp \"$file\" \"$DESTDIR$file\"
	fi
done
force_load vfio-pci
",
        paths::PINNED
    )
}

fn dracut_text(rules: &str) -> String {
    format!(
        "# Written by 'vfioctl setup'; 'sudo vfioctl setup --undo' takes it away.
#
# Puts what holds pinned devices into the initramfs, where a driver could take them first.
add_drivers+=\" vfio-pci \"
install_items+=\" {rules} $(printf '%s ' {}/*) \"
",
        paths::PINNED
    )
}
