//! A PCI function, as it is before anything is done to it.

use super::Port;

/// A PCI function, as it is before anything is done to it.
#[derive(Debug, Clone)]
pub struct Function {
    pub(super) address: String,
    pub(super) upstream: Option<String>,
    pub(super) vendor: u16,
    pub(super) device: u16,
    pub(super) subsystem: (u16, u16),
    pub(super) class: u32,
    pub(super) port: Port,
    pub(super) is_multifunction: bool,
    pub(super) group: Option<u32>,
    pub(super) driver: Option<String>,
    pub(super) card: Option<u32>,
}

impl Function {
    /// An endpoint with ids, on a root bus, in no group, without a driver.
    pub fn new(address: &str, vendor: u16, device: u16, class: u32) -> Self {
        Self {
            address: address.to_owned(),
            upstream: None,
            vendor,
            device,
            subsystem: (0x1af4, 0x1100),
            class,
            port: Port::Endpoint,
            is_multifunction: false,
            group: None,
            driver: None,
            card: None,
        }
    }

    /// A bridge.
    pub fn bridge(address: &str, vendor: u16, device: u16, port: Port) -> Self {
        Self {
            port,
            driver: (port != Port::Conventional).then(|| "pcieport".to_owned()),
            ..Self::new(address, vendor, device, 0x06_0400)
        }
    }

    /// Behind that bridge.
    #[must_use]
    pub fn below(mut self, upstream: &str) -> Self {
        self.upstream = Some(upstream.to_owned());
        self
    }

    /// In that group.
    #[must_use]
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Bound to that driver.
    #[must_use]
    pub fn driver(mut self, driver: &str) -> Self {
        self.driver = Some(driver.to_owned());
        self
    }

    /// One of several functions of its slot.
    #[must_use]
    pub fn multifunction(mut self) -> Self {
        self.is_multifunction = true;
        self
    }

    /// A graphics card: `/dev/dri/cardN` while a DRM driver has it. Linux gives the lowest free
    /// number; here it is the function's own, so that trees can be compared.
    #[must_use]
    pub fn card(mut self, number: u32) -> Self {
        self.card = Some(number);
        self
    }
}
