//! `/usr/share/`: images of OVMF, the UEFI firmware of x86 guests.
//!
//! Distributions agree neither on the folder nor on the name. QEMU's own descriptions
//! (`/usr/share/qemu/firmware/*.json`, QEMU `docs/interop/firmware.json`) name images elsewhere.

use std::collections::BTreeSet;

use vfioctl_core::Answer;

use crate::SysRoot;

/// Debian, Ubuntu: OVMF. Fedora: edk2/ovmf (also linked from OVMF). Arch: edk2/x64. Older Arch,
/// Gentoo: edk2-ovmf. openSUSE and QEMU itself: qemu.
const FOLDERS: [&str; 8] = [
    "share/OVMF",
    "share/edk2/ovmf",
    "share/edk2/x64",
    "share/edk2/OvmfX64",
    "share/edk2-ovmf",
    "share/edk2-ovmf/x64",
    "share/ovmf",
    "share/qemu",
];
const DESCRIPTIONS: &str = "share/qemu/firmware";

/// The images of UEFI code for guests, by their paths.
pub fn read_guest_firmware(root: &SysRoot) -> Answer<Vec<String>> {
    if super::seen(root.usr.list("share")) == Answer::CannotSee {
        return Answer::CannotSee;
    }
    let mut images = BTreeSet::new();
    for folder in FOLDERS {
        for name in root.usr.list(folder).ok().flatten().unwrap_or_default() {
            if is_code(&name) {
                images.insert(root.usr.display(&format!("{folder}/{name}")));
            }
        }
    }
    for name in root
        .usr
        .list(DESCRIPTIONS)
        .ok()
        .flatten()
        .unwrap_or_default()
    {
        let text = root
            .usr
            .read_text(&format!("{DESCRIPTIONS}/{name}"))
            .ok()
            .flatten();
        images.extend(described_images(root, &text.unwrap_or_default()));
    }
    Answer::Known(images.into_iter().collect())
}

/// Whether a file is the code half of x86-64 firmware: `OVMF_CODE_4M.fd`, `OVMF_CODE.4m.fd`,
/// `OVMF_CODE_4M.qcow2`, `edk2-x86_64-code.fd`, `ovmf-x86_64-ms-code.bin`.
fn is_code(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_image = [".fd", ".bin", ".qcow2"]
        .iter()
        .any(|end| name.ends_with(end));
    let is_x86_64 = name.starts_with("ovmf") || name.contains("x86_64");
    // 'ovmf-ia32' is for 32-bit guests.
    is_image && is_x86_64 && name.contains("code") && !name.contains("ia32")
}

/// The images that a description of x86-64 UEFI firmware names and that are there.
///
/// The text is not parsed as JSON: of its strings, those that are paths of code images are taken,
/// and only where the file exists, so a misread description cannot bring forth an image.
fn described_images(root: &SysRoot, text: &str) -> Vec<String> {
    let strings: Vec<&str> = text.split('"').collect();
    if !strings.contains(&"uefi") || !strings.contains(&"x86_64") {
        return Vec::new();
    }
    // Opened, not read.
    let opens = |path: &str| matches!(root.usr.read_bytes(path, 0), Ok(Some(_)));
    let is_there = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        is_code(name) && path.strip_prefix("/usr/").is_some_and(opens)
    };
    strings
        .into_iter()
        .filter(|path| is_there(path))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_x86_64_guests_is_told_from_the_rest() {
        for name in [
            "OVMF_CODE_4M.fd",
            "OVMF_CODE.4m.fd",
            "OVMF_CODE_4M.secboot.qcow2",
            "edk2-x86_64-code.fd",
            "ovmf-x86_64-ms-code.bin",
        ] {
            assert!(is_code(name), "{name}");
        }
        for name in [
            "OVMF_VARS_4M.fd",
            "edk2-i386-code.fd",
            "edk2-aarch64-code.fd",
            "ovmf-ia32-code.bin",
            "OVMF_CODE_4M.secboot.pcr",
            "vgabios.bin",
        ] {
            assert!(!is_code(name), "{name}");
        }
    }
}
