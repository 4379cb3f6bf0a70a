//! `/sys/firmware/efi/efivars/`: whether firmware started this kernel with Secure Boot.
//!
//! UEFI 2.10, section 3.3: the variable `SecureBoot` is one byte, 1 where signatures are
//! enforced. The kernel puts four bytes of attributes before it (`Documentation/filesystems/
//! efivarfs.rst`). Everyone may read it.

use vfioctl_core::Answer;

use crate::SysRoot;

const EFI: &str = "firmware/efi";
const VARIABLE: &str = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

pub(super) fn read_secure_boot(root: &SysRoot) -> Answer<bool> {
    if root.sys.list(EFI).is_ok_and(|names| names.is_none()) {
        // Not started by UEFI.
        return Answer::Known(false);
    }
    match root.sys.read_bytes(VARIABLE, 16) {
        Ok(Some(bytes)) => match bytes.as_slice() {
            [_, _, _, _, value] => Answer::Known(*value == 1),
            _ => Answer::CannotSee,
        },
        // efivarfs is not mounted, or this firmware does not know Secure Boot.
        Ok(None) | Err(_) => Answer::CannotSee,
    }
}
