//! Access Control Services: which bits keep a request from turning round below the IOMMU.

mod change;
mod isolation;
mod parameters;
mod quirk;
mod quirk_table;

use std::fmt;

pub use change::{AcsChange, InvalidAcsChange};
pub use isolation::{Candidate, Isolation, Platform, Reason, judge};
pub use parameters::{AcsOverride, AcsParameters};
pub use quirk::Rule;
pub(crate) use quirk::has_wide_registers;
pub use quirk_table::TABLE_DATE;

/// The bits of the ACS capability and control registers
/// (PCI Express Base 6.0, sections 7.7.11.2 and 7.7.11.3), in the order of the registers.
pub const BIT_NAMES: [(u16, &str); 7] = [
    (1, "sv"),
    (2, "tb"),
    (4, "rr"),
    (8, "cr"),
    (16, "uf"),
    (32, "ec"),
    (64, "dt"),
];

/// The bits Linux asks for before it lets two devices have groups of their own: source
/// validation, request redirect, completion redirect, upstream forwarding
/// (`drivers/iommu/iommu.c`, `REQ_ACS_FLAGS`).
pub const REQUIRED: u16 = 0x1d;

/// The ACS registers of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Acs {
    capability: u16,
    control: u16,
}

impl Acs {
    /// Takes both registers as they were read.
    pub const fn new(capability: u16, control: u16) -> Self {
        Self {
            capability,
            control,
        }
    }

    /// The capability register.
    pub fn capability(self) -> u16 {
        self.capability
    }

    /// The control register.
    pub fn control(self) -> u16 {
        self.control
    }

    /// The required bits that the function could switch on and that are off.
    ///
    /// A bit missing in the capability counts as wired on (`drivers/pci/pci.c`,
    /// `pci_acs_flags_enabled`).
    pub fn missing(self) -> u16 {
        REQUIRED & self.capability & !self.control
    }

    /// The same registers with another value in control.
    #[must_use]
    pub fn with_control(self, control: u16) -> Self {
        Self { control, ..self }
    }

    /// The registers after the kernel has added the function with an IOMMU in use: every required
    /// bit that is offered is on (`drivers/pci/pci.c`, `pci_std_enable_acs`).
    #[must_use]
    pub fn enabled(self) -> Self {
        self.with_control(self.control | (self.capability & REQUIRED))
    }

    /// Whether every required bit that the function has is on.
    pub fn is_isolating(self) -> bool {
        self.missing() == 0
    }
}

impl fmt::Display for Acs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in BIT_NAMES {
            if self.capability & bit != 0 {
                let sign = if self.control & bit != 0 { '+' } else { '-' };
                write!(f, "{separator}{name}{sign}")?;
                separator = " ";
            }
        }
        Ok(())
    }
}

/// Names of some bits, as they are typed and printed: `sv,rr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitNames(pub u16);

impl fmt::Display for BitNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in BIT_NAMES {
            if self.0 & bit != 0 {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_are_not_offered_do_not_count_as_missing() {
        assert!(Acs::new(0x5f, 0x1d).is_isolating());
        assert_eq!(Acs::new(0x5f, 0x11).missing(), 0x0c);
        assert!(Acs::new(0x00, 0x00).is_isolating());
    }

    #[test]
    fn registers_read_as_names() {
        assert_eq!(Acs::new(0x5f, 0x1d).to_string(), "sv+ tb- rr+ cr+ uf+ dt-");
    }
}
