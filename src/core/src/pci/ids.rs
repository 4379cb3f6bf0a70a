//! What a function says it is: vendor, device, subsystem and class.

use std::fmt;

/// The identity of a function: the numbers of its configuration header.
///
/// Two functions at one address with different identities are different devices: before anything
/// is undone, the identity in the journal is compared with the one at the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Vendor ID (PCI Express Base 6.0, section 7.5.1.1.1).
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Subsystem vendor ID; 0 where the header type has none.
    pub subsystem_vendor: u16,
    /// Subsystem ID; 0 where the header type has none.
    pub subsystem_device: u16,
}

impl Identity {
    /// Whether the device tells who it is. No vendor has either number: a function that reads as
    /// all ones or all zeros does not answer, and whatever sits there next may read the same.
    pub fn is_told(self) -> bool {
        !matches!(self.vendor, 0 | 0xffff)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// The class code: base class, subclass, programming interface (three bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClassCode(u32);

impl ClassCode {
    /// Takes the 24 bits that sysfs prints as `0x030000`; `None` where more bits are set.
    pub fn new(code: u32) -> Option<Self> {
        (code <= 0xff_ffff).then_some(Self(code))
    }

    /// The three bytes as one number.
    pub fn code(self) -> u32 {
        self.0
    }

    /// The base class.
    pub fn base(self) -> u8 {
        self.byte(2)
    }

    /// The subclass.
    pub fn subclass(self) -> u8 {
        self.byte(1)
    }

    /// The programming interface.
    pub fn interface(self) -> u8 {
        self.byte(0)
    }

    /// Whether this is a display controller (base class 0x03: VGA, 3D, other).
    pub fn is_display(self) -> bool {
        self.base() == 0x03
    }

    /// Whether this is what people call a GPU: a display controller, or a processing accelerator
    /// (base class 0x12), which is how compute cards without outputs show themselves.
    pub fn is_gpu(self) -> bool {
        self.is_display() || self.base() == 0x12
    }

    /// Whether this is the machine's own plumbing: a host bridge (0x0600) or an ISA bridge
    /// (0x0601), which have the header of an endpoint and lead to the rest of the machine.
    pub fn is_platform(self) -> bool {
        self.base() == 0x06 && self.subclass() <= 0x01
    }

    fn byte(self, index: usize) -> u8 {
        self.0.to_le_bytes().get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for ClassCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_accelerators_are_gpus_and_bridges_are_not() {
        let is_gpu = |code| ClassCode::new(code).map(ClassCode::is_gpu);
        assert_eq!(is_gpu(0x03_0000), Some(true));
        assert_eq!(is_gpu(0x03_0200), Some(true));
        assert_eq!(is_gpu(0x12_0000), Some(true));
        assert_eq!(is_gpu(0x06_8000), Some(false));
        assert_eq!(is_gpu(0x0100_0000), None);
    }
}
