//! `config`: configuration space of the running machine, read as far as it is asked for.
//!
//! Kernel: `drivers/pci/pci-sysfs.c`, `pci_read_config`: without `CAP_SYS_ADMIN` at open, reads
//! end after 64 bytes and say nothing about it.

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use vfioctl_core::config::{ConfigSpace, ReadConfig};
use vfioctl_core::pci::PciAddress;

use crate::function::DEVICES;
use crate::{ReadError, Root, SysRoot};

/// The header and the capabilities of conventional PCI: read at once, since nearly all of it is
/// looked at.
const FIRST_BYTES: usize = 256;

/// All bytes of a function's config space that this process is given; `None` where nothing sits at
/// the address.
///
/// Unlike everything else here it reads each register of the device, those that no capability
/// names too, as `lspci -xxxx` does.
///
/// # Errors
/// Where it is there and cannot be read.
pub fn read_config(root: &SysRoot, address: PciAddress) -> Result<Option<ConfigSpace>, ReadError> {
    let limit = u64::try_from(ConfigSpace::MAX_BYTES).unwrap_or(u64::MAX);
    let bytes = root
        .sys
        .read_bytes(&format!("{DEVICES}/{address}/config"), limit)?;
    Ok(bytes.map(ConfigSpace::new))
}

/// Configuration space of one function, open.
#[derive(Debug, Default)]
pub(crate) struct LiveConfig {
    file: Option<OwnedFd>,
    first: ConfigSpace,
    bytes_seen: usize,
    /// The last double word beyond the first bytes: a word and its neighbour are asked for in
    /// turn, and each request goes to the device.
    last: RefCell<Option<(usize, u32)>>,
}

impl LiveConfig {
    /// Opens the `config` of a device's folder, and reads its beginning.
    pub(crate) fn open(device: &Root) -> Result<Self, ReadError> {
        let mut config = Self {
            file: device.open_file("config")?,
            first: ConfigSpace::default(),
            bytes_seen: 0,
            last: RefCell::new(None),
        };
        let Some(file) = &config.file else {
            return Ok(config);
        };
        let mut first = [0; FIRST_BYTES];
        let len = rustix::io::pread(file, &mut first, 0)
            .map_err(|errno| ReadError::io(&device.display("config"), errno))?;
        config.first = ConfigSpace::new(first.get(..len).unwrap_or_default().to_vec());
        config.bytes_seen = len;
        // Longer, and this reader is given it: then all of it, for the kernel bounds nothing in
        // between.
        let size =
            rustix::fs::fstat(file).map_or(0, |stat| usize::try_from(stat.st_size).unwrap_or(0));
        if len == FIRST_BYTES && size > FIRST_BYTES && config.fetch(FIRST_BYTES).is_some() {
            config.bytes_seen = size.min(ConfigSpace::MAX_BYTES);
        }
        Ok(config)
    }

    fn fetch(&self, at: usize) -> Option<u32> {
        let mut bytes = [0; 4];
        let offset = u64::try_from(at).ok()?;
        let len = rustix::io::pread(self.file.as_ref()?, &mut bytes, offset).ok()?;
        (len == bytes.len()).then(|| u32::from_le_bytes(bytes))
    }
}

impl ReadConfig for LiveConfig {
    fn bytes_seen(&self) -> usize {
        self.bytes_seen
    }

    fn dword(&self, at: usize) -> Option<u32> {
        if at < FIRST_BYTES {
            return self.first.dword(at);
        }
        if at >= self.bytes_seen {
            return None;
        }
        if let Some((_, value)) = self.last.borrow().filter(|(last, _)| *last == at) {
            return Some(value);
        }
        let value = self.fetch(at)?;
        *self.last.borrow_mut() = Some((at, value));
        Some(value)
    }
}
