//! Firmware: which of the images that a distribution ships a machine gets.

/// The image of UEFI code that a machine gets where none is named: a plain image, not made for Secure
/// Boot (which refuses to start without its own variables), the larger one first.
pub fn find_plain_firmware(images: &[String]) -> Option<&str> {
    let is_plain = |path: &&String| {
        let name = file_name(path).to_ascii_lowercase();
        let is_other = [
            "secboot", "secure", "-ms", ".ms", "snakeoil", "csm", "sev", "tdx", "debug",
        ]
        .iter()
        .any(|word| name.contains(word));
        !is_other && !name.ends_with(".qcow2")
    };
    let is_large = |path: &&String| path.to_ascii_lowercase().contains("4m");
    let plain = || images.iter().filter(is_plain);
    let found = plain().find(is_large).or_else(|| plain().next());
    found.map(String::as_str)
}

/// Where the variables lie that belong to an image of code, as distributions call them. A machine has a
/// copy of its own.
pub fn variables_beside(code: &str) -> Option<String> {
    let name = file_name(code);
    let folder = code.strip_suffix(name)?;
    let variables = match name {
        // QEMU's own: both kinds of processor share one file.
        "edk2-x86_64-code.fd" => "edk2-i386-vars.fd".to_owned(),
        _ if name.contains("CODE") => name.replace("CODE", "VARS"),
        _ if name.contains("code") => name.replace("code", "vars"),
        _ => return None,
    };
    Some(format!("{folder}{variables}"))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str]) -> Option<String> {
        let images: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        find_plain_firmware(&images).map(str::to_owned)
    }

    #[test]
    fn a_plain_image_is_taken_and_the_larger_one_first() {
        let debian = [
            "/usr/share/OVMF/OVMF_CODE.fd",
            "/usr/share/OVMF/OVMF_CODE_4M.fd",
            "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
            "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
        ];
        assert_eq!(found(&debian).as_deref(), Some(debian[1]));
        let qemu = [
            "/usr/share/qemu/edk2-x86_64-code.fd",
            "/usr/share/qemu/edk2-x86_64-secure-code.fd",
        ];
        assert_eq!(found(&qemu).as_deref(), Some(qemu[0]));
        assert_eq!(found(&["/usr/share/OVMF/OVMF_CODE_4M.qcow2"]), None);
    }

    #[test]
    fn variables_are_called_like_their_code() {
        for (code, variables) in [
            (
                "/usr/share/OVMF/OVMF_CODE_4M.fd",
                Some("/usr/share/OVMF/OVMF_VARS_4M.fd"),
            ),
            (
                "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
                Some("/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
            ),
            (
                "/usr/share/qemu/ovmf-x86_64-code.bin",
                Some("/usr/share/qemu/ovmf-x86_64-vars.bin"),
            ),
            (
                "/usr/share/qemu/edk2-x86_64-code.fd",
                Some("/usr/share/qemu/edk2-i386-vars.fd"),
            ),
            ("/a/CODE/firmware.fd", None),
        ] {
            assert_eq!(variables_beside(code).as_deref(), variables, "{code}");
        }
    }
}
