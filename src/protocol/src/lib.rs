//! What `vfioctl` and its helper say to each other.
//!
//! The interfaces stand in `interfaces/*.varlink`, one file each, every field with its meaning;
//! [`inventory`], [`device`], [`container`], [`acs`] and [`machine`] are made from them when this crate
//! is built. [`wire`] turns core's types into theirs and back. [`shape`] refuses requests with parameters that no
//! interface names. [`base64`] carries bytes. [`Client`] is the caller's side, with a limit on every wait;
//! [`connect_greeted`] makes one to a helper that knows enough.
#![forbid(unsafe_code)]

pub mod base64;
mod client;
mod greeting;
pub mod shape;
pub mod wire;

pub use client::{Client, ClientError, RemoteError};
pub use greeting::{NoHelper, connect_greeted};

/// Number of these interfaces; grows by one with every change of them. A command refuses to work
/// with a helper of a lower level, which may not know what it is asked.
pub const LEVEL: i64 = 3;

/// How a machine ended whose guest powered off, as its `ended` says it: the one end that is a success.
pub const POWERED_OFF: &str = "the guest powered off";

/// Where the helper listens, unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vfioctl/helper.sock";

macro_rules! interface {
    ($module:ident, $file:literal, $doc:literal) => {
        #[doc = $doc]
        #[expect(
            warnings,
            clippy::all,
            clippy::pedantic,
            clippy::restriction,
            reason = "generated"
        )]
        pub mod $module {
            include!(concat!(env!("OUT_DIR"), "/", $file));
        }
    };
}

interface!(
    inventory,
    "io.vfioctl.Inventory.rs",
    "`io.vfioctl.Inventory`, generated."
);
interface!(acs, "io.vfioctl.Acs.rs", "`io.vfioctl.Acs`, generated.");
interface!(
    device,
    "io.vfioctl.Device.rs",
    "`io.vfioctl.Device`, generated."
);
interface!(
    container,
    "io.vfioctl.Container.rs",
    "`io.vfioctl.Container`, generated."
);
interface!(
    machine,
    "io.vfioctl.Machine.rs",
    "`io.vfioctl.Machine`, generated."
);
