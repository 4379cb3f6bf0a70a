//! Core's types as they travel, and back.
//!
//! What comes from the wire may be anything: turning it into core's types can fail, and the error
//! names the field.

mod acs;
mod container;
mod device;
mod inventory;
mod machine;

use std::fmt;

pub use acs::{acs_step, bit_names, groups, override_plan, regroup_plan};
use container::container_from_wire;
pub use container::{container_request, container_request_from_wire};
pub use device::{
    claim, claim_from_wire, original, original_from_wire, owner, owner_from_wire, pin,
    pin_from_wire, step,
};
pub use inventory::{snapshot, snapshot_from_wire};
pub use machine::{spec, spec_from_wire};

/// A field that holds something its type does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub because: String,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': {}", self.field, self.because)
    }
}

impl std::error::Error for WireError {}

fn parse<T: std::str::FromStr<Err: fmt::Display>>(
    field: &'static str,
    text: &str,
) -> Result<T, WireError> {
    text.parse().map_err(|error| WireError {
        field,
        because: format!("'{}': {error}", text.escape_debug()),
    })
}

fn number<T: TryFrom<i64>>(field: &'static str, number: i64) -> Result<T, WireError> {
    T::try_from(number).map_err(|_| WireError {
        field,
        because: format!("{number} is out of range"),
    })
}

/// Sizes and times fit: nothing here reaches 2^63.
fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
