//! UEFI firmware for guests, as distributions ship it.

use vfioctl_core::Answer;
use vfioctl_scan::SysRoot;
use vfioctl_scan::host::read_host;

/// The image of the firmware's code that a machine gets where none is named: a plain image, not
/// made for Secure Boot (which refuses to start without its own variables), the larger one first.
pub(crate) fn find_code(root: &SysRoot) -> Option<String> {
    match read_host(root).guest_firmware {
        Answer::Known(images) => best(images),
        Answer::CannotSee => None,
    }
}

fn best(images: Vec<String>) -> Option<String> {
    let is_plain = |path: &String| {
        let name = path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let is_other = [
            "secboot", "secure", "-ms", ".ms", "snakeoil", "csm", "sev", "tdx", "debug",
        ]
        .iter()
        .any(|word| name.contains(word));
        !is_other && !name.ends_with(".qcow2")
    };
    let is_large = |path: &String| path.to_ascii_lowercase().contains("4m");
    let plain: Vec<String> = images.into_iter().filter(is_plain).collect();
    plain
        .iter()
        .find(|path| is_large(path))
        .or(plain.first())
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_image_is_taken_and_the_larger_one_first() {
        let images = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let debian = images(&[
            "/usr/share/OVMF/OVMF_CODE.fd",
            "/usr/share/OVMF/OVMF_CODE_4M.fd",
            "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
            "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
        ]);
        assert_eq!(
            best(debian).as_deref(),
            Some("/usr/share/OVMF/OVMF_CODE_4M.fd")
        );
        let qemu = images(&[
            "/usr/share/qemu/edk2-x86_64-code.fd",
            "/usr/share/qemu/edk2-x86_64-secure-code.fd",
        ]);
        assert_eq!(
            best(qemu).as_deref(),
            Some("/usr/share/qemu/edk2-x86_64-code.fd")
        );
        assert_eq!(best(images(&["/usr/share/OVMF/OVMF_CODE_4M.qcow2"])), None);
    }
}
