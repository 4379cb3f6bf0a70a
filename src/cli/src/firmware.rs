//! UEFI firmware for guests, as distributions ship it.

use vfioctl_core::Answer;
use vfioctl_core::machine::find_plain_firmware;
use vfioctl_scan::SysRoot;
use vfioctl_scan::host::read_guest_firmware;

/// The image of the firmware's code that a machine gets where none is named.
pub(crate) fn find_code(root: &SysRoot) -> Option<String> {
    match read_guest_firmware(root) {
        Answer::Known(images) => find_plain_firmware(&images).map(str::to_owned),
        Answer::CannotSee => None,
    }
}
