//! The address of a PCI function: `domain:bus:device.function`.
//!
//! Kernel: `pci_name()` prints it as `%04x:%02x:%02x.%d`; domains can be wider than four digits
//! (Intel VMD uses 10000 and up).

use std::fmt;
use std::str::FromStr;

/// Where a PCI function sits: `0000:01:00.0`.
///
/// ```
/// use vfioctl_core::pci::PciAddress;
/// let audio: PciAddress = "0000:01:00.1".parse()?;
/// assert_eq!(audio.function(), 1);
/// // As lspci prints it on a machine with one domain.
/// assert_eq!("01:00.1".parse::<PciAddress>()?, audio);
/// # Ok::<(), vfioctl_core::pci::AddressError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Why a text is not a PCI address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// The text has not the form `domain:bus:device.function`.
    Form,
    /// The domain is not one to eight hexadecimal digits.
    Domain,
    /// The bus is not two hexadecimal digits.
    Bus,
    /// The device is not a hexadecimal number up to 1f.
    Device,
    /// The function is not a digit from 0 to 7.
    Function,
}

impl PciAddress {
    /// Builds an address from its numbers.
    ///
    /// # Errors
    /// `Device` above 31, `Function` above 7: the standard has five and three bits for them
    /// (PCI Express Base 6.0, section 2.2.4.2).
    pub fn new(domain: u32, bus: u8, device: u8, function: u8) -> Result<Self, AddressError> {
        if device > 0x1f {
            return Err(AddressError::Device);
        }
        if function > 7 {
            return Err(AddressError::Function);
        }
        Ok(Self {
            domain,
            bus,
            device,
            function,
        })
    }

    /// The PCI domain (segment group).
    pub fn domain(self) -> u32 {
        self.domain
    }

    /// The bus number.
    pub fn bus(self) -> u8 {
        self.bus
    }

    /// The device number on the bus, 0 to 31.
    pub fn device(self) -> u8 {
        self.device
    }

    /// The function number, 0 to 7.
    pub fn function(self) -> u8 {
        self.function
    }

    /// Function 0 of the same device.
    pub fn first_of_slot(self) -> Self {
        Self {
            function: 0,
            ..self
        }
    }

    /// Whether both are functions of one device, as the kernel's `PCI_SLOT` tells it.
    pub fn is_same_slot(self, other: Self) -> bool {
        (self.domain, self.bus, self.device) == (other.domain, other.bus, other.device)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            device,
            function,
        } = self;
        // Padding asked for by a table applies to the whole text.
        f.pad(&format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
    }
}

impl fmt::Debug for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PciAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (rest, function) = text.rsplit_once('.').ok_or(AddressError::Form)?;
        let mut parts = rest.rsplit(':');
        let device = parts.next().ok_or(AddressError::Form)?;
        let bus = parts.next().ok_or(AddressError::Form)?;
        let domain = parts.next().unwrap_or("0");
        if parts.next().is_some() {
            return Err(AddressError::Form);
        }
        let domain = hex(domain, 8).ok_or(AddressError::Domain)?;
        let bus = hex(bus, 2)
            .and_then(|n| u8::try_from(n).ok())
            .ok_or(AddressError::Bus)?;
        let device = hex(device, 2)
            .and_then(|n| u8::try_from(n).ok())
            .ok_or(AddressError::Device)?;
        let function = hex(function, 1)
            .and_then(|n| u8::try_from(n).ok())
            .ok_or(AddressError::Function)?;
        Self::new(domain, bus, device, function)
    }
}

/// Reads hexadecimal digits only: `from_str_radix` would also take a sign.
fn hex(text: &str, longest: usize) -> Option<u32> {
    let is_plain = !text.is_empty()
        && text.len() <= longest
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_plain
        .then(|| u32::from_str_radix(text, 16).ok())
        .flatten()
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "an address has the form 'domain:bus:device.function', as '0000:01:00.0'",
            Self::Domain => "the domain is one to eight hexadecimal digits, as '0000'",
            Self::Bus => "the bus is two hexadecimal digits, '00' to 'ff'",
            Self::Device => "the device is a hexadecimal number from '00' to '1f'",
            Self::Function => "the function is a digit from '0' to '7'",
        })
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printed_address_is_read_back_as_itself() {
        for domain in [0, 1, 0xffff, 0x10000] {
            for bus in [0, 0x7f, 0xff] {
                for device in 0..32 {
                    for function in 0..8 {
                        let address = PciAddress::new(domain, bus, device, function).unwrap();
                        assert_eq!(address.to_string().parse(), Ok(address));
                    }
                }
            }
        }
    }

    #[test]
    fn each_bad_part_is_named() {
        let cases = [
            ("", AddressError::Form),
            ("0000:01:00", AddressError::Form),
            ("1.0", AddressError::Form),
            ("0:0000:01:00.0", AddressError::Form),
            ("000000000:01:00.0", AddressError::Domain),
            ("+000:01:00.0", AddressError::Domain),
            ("0000:001:00.0", AddressError::Bus),
            ("0000:zz:00.0", AddressError::Bus),
            ("0000:01:20.0", AddressError::Device),
            ("0000:01:00.8", AddressError::Function),
            ("0000:01:00.0\n", AddressError::Function),
            ("../../../etc.0", AddressError::Form),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<PciAddress>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn order_is_domain_bus_device_function() {
        let mut addresses: Vec<PciAddress> = [
            "10000:00:00.0",
            "0000:02:00.0",
            "0000:01:1f.7",
            "0000:01:00.1",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        addresses.sort();
        let sorted: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            sorted,
            [
                "0000:01:00.1",
                "0000:01:1f.7",
                "0000:02:00.0",
                "10000:00:00.0"
            ]
        );
    }
}
