//! Machines that boot a base image of Debian, as users of vfioctl have them.
//!
//! [`base_image`] is the image that `vfioctl image create --from-packages` makes, made once and kept
//! outside the repository. [`Guest`] is a machine with an overlay of it and a seed, which is reached
//! by SSH. Other than the lab, it has none of our harness in it.

mod base_image;
mod emulator;
mod guest;
mod keys;
mod packages;

pub use base_image::base_image;
pub(crate) use emulator::has_kvm;
pub use guest::{Answer, Guest, GuestFirmware, GuestOptions};
pub use keys::KeyPair;
pub(crate) use keys::ssh_options;
pub use packages::need_packages;
