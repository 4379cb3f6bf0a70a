//! One PCI function: `/sys/bus/pci/devices/ADDRESS/`.
//!
//! Kernel: `Documentation/ABI/testing/sysfs-bus-pci`. Everything here may be read by anyone, but
//! `config` beyond 64 bytes only with `CAP_SYS_ADMIN` at open.

use vfioctl_core::config::{AcsRegisters, ReadConfig as _};
use vfioctl_core::pci::{
    ClassCode, DriverName, GroupId, Identity, PciAddress, PciFunction, SriovRole,
};
use vfioctl_core::{Answer, Problem};

use crate::config::LiveConfig;
use crate::overrides::{Override, read_overrides};
use crate::resource::parse_resource;
use crate::{ReadError, Root, SysRoot};

/// Where the kernel lists PCI functions, below `/sys`.
pub(crate) const DEVICES: &str = "bus/pci/devices";

/// Reads one function; `None` where nothing sits at the address.
///
/// # Errors
/// Where it is there and not even its identity can be read.
pub fn read_function(
    root: &SysRoot,
    address: PciAddress,
) -> Result<Option<PciFunction>, ReadError> {
    let Some(mut function) = read_all_but_override(root, address)? else {
        return Ok(None);
    };
    let read = read_overrides(root, &[address]).remove(&address);
    set_override(&mut function, read);
    Ok(Some(function))
}

/// Puts a `driver_override` that was read, or why it was not, into its function.
pub(crate) fn set_override(function: &mut PciFunction, read: Option<Override>) {
    match read {
        Some(Ok(answer)) => function.driver_override = answer,
        Some(Err(error)) => {
            let subject = error.path().to_owned();
            function.problems.push(Problem {
                subject,
                because: error.because(),
            });
        }
        None => {}
    }
    if matches!(function.driver_override, Answer::CannotSee) && function.problems.is_empty() {
        let subject = format!("driver_override of {}", function.address);
        let because = "the device is locked in the kernel: a driver does not let go of it".into();
        function.problems.push(Problem { subject, because });
    }
}

/// Reads what takes no lock: everything but `driver_override`, which is `CannotSee` here.
pub(crate) fn read_all_but_override(
    root: &SysRoot,
    address: PciAddress,
) -> Result<Option<PciFunction>, ReadError> {
    let path = format!("{DEVICES}/{address}");
    let Some(dir) = root.sys.sub(&path)? else {
        return Ok(None);
    };
    let mut problems = Problems(Vec::new());
    let Some(basics) = read_basics(&dir)? else {
        return Ok(None);
    };
    let config = match LiveConfig::open(&dir) {
        Ok(config) => config,
        Err(error) => {
            problems.push(&error);
            LiveConfig::default()
        }
    };
    let facts = config.facts();
    let resource = problems
        .note(dir.read_attribute("resource"))
        .unwrap_or_default();
    let upstream = problems
        .note(root.sys.read_link(&path))
        .and_then(|link| upstream_of(&link));
    let mut text = |name| problems.note(dir.read_attribute(name));
    let numa_node = text("numa_node").and_then(|node| node.parse().ok());
    let reset_methods = text("reset_method").unwrap_or_default();
    let power_state = text("power_state").filter(|state| !state.is_empty());
    // Only VGA controllers have the file.
    let is_vga = basics.class.code() >> 8 == 0x0300;
    let boot_vga = if is_vga {
        text("boot_vga").map(|flag| flag == "1")
    } else {
        None
    };
    let driver = problems.note(dir.read_link_name("driver"));
    let group = problems.note(dir.read_link_name("iommu_group"));
    let sriov = read_sriov(&dir, &mut problems);
    Ok(Some(PciFunction {
        address,
        identity: basics.identity,
        class: basics.class,
        revision: config.byte(0x08).unwrap_or_default(),
        upstream,
        header_type: facts.header_type,
        multifunction_bit: facts.multifunction_bit,
        config_bytes_seen: facts.bytes_seen,
        pcie_type: facts.pcie_type,
        acs: facts.acs,
        driver: driver.and_then(|name| name.parse().ok()),
        driver_override: Answer::CannotSee,
        iommu_group: group.and_then(|number| number.parse().ok()).map(GroupId),
        numa_node,
        bars: parse_resource(&resource),
        reset_methods: reset_methods
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        power_state,
        boot_vga,
        sriov,
        problems: problems.0,
    }))
}

/// The driver that a function is bound to now.
///
/// # Errors
/// Where the link is there and cannot be read.
pub fn read_driver(root: &SysRoot, address: PciAddress) -> Result<Option<DriverName>, ReadError> {
    let name = root
        .sys
        .read_link_name(&format!("{DEVICES}/{address}/driver"))?;
    Ok(name.and_then(|name| name.parse().ok()))
}

/// Whether a function is there.
pub fn is_present(root: &SysRoot, address: PciAddress) -> bool {
    root.sys.exists(&format!("{DEVICES}/{address}/modalias"))
}

/// The ACS registers of a function as they are now, and where control lies; `Known(None)` where it
/// has none.
///
/// # Errors
/// Where its config space is there and cannot be read.
pub fn read_acs(
    root: &SysRoot,
    address: PciAddress,
) -> Result<Answer<Option<AcsRegisters>>, ReadError> {
    match root.sys.sub(&format!("{DEVICES}/{address}"))? {
        Some(dir) => Ok(LiveConfig::open(&dir)?.find_acs()),
        None => Ok(Answer::CannotSee),
    }
}

/// The name of the bus below a bridge, as the kernel has it: `0000:01`.
///
/// # Errors
/// Where the bridge's folder cannot be read.
pub fn read_bus_below(root: &SysRoot, bridge: PciAddress) -> Result<Option<String>, ReadError> {
    let names = root.sys.list(&format!("{DEVICES}/{bridge}/pci_bus"))?;
    // There is one; a broken bridge has none.
    Ok(names.unwrap_or_default().into_iter().next())
}

/// The `driver_override` of a function now.
///
/// # Errors
/// Where it is there and cannot be read.
pub fn read_driver_override(
    root: &SysRoot,
    address: PciAddress,
) -> Result<Option<String>, ReadError> {
    let text = root
        .sys
        .read_attribute(&format!("{DEVICES}/{address}/driver_override"))?;
    Ok(text.and_then(parse_override))
}

struct Problems(Vec<Problem>);

impl Problems {
    fn push(&mut self, error: &ReadError) {
        let subject = error.path().to_owned();
        self.0.push(Problem {
            subject,
            because: error.because(),
        });
    }

    /// The value, where it could be read; otherwise the reason is kept.
    fn note<T>(&mut self, read: Result<Option<T>, ReadError>) -> Option<T> {
        read.unwrap_or_else(|error| {
            self.push(&error);
            None
        })
    }
}

struct Basics {
    identity: Identity,
    class: ClassCode,
}

/// Identity and class, from `modalias`: one file instead of five, and right for virtual functions,
/// whose config space has no vendor. Not from `uevent`, which has the same and is shown under the
/// device's lock, as `driver_override` is (`drivers/base/core.c`, `uevent_show`).
fn read_basics(dir: &Root) -> Result<Option<Basics>, ReadError> {
    let Some(text) = dir.read_attribute("modalias")? else {
        return Ok(None);
    };
    parse_modalias(&text)
        .map(Some)
        .ok_or_else(|| ReadError::form(&dir.display("modalias"), "'pci:v...d...sv...sd...bc...'"))
}

/// `drivers/pci/pci-sysfs.c`, `modalias_show`: each field has its letters and a fixed width.
fn parse_modalias(text: &str) -> Option<Basics> {
    let mut rest = text.strip_prefix("pci:")?;
    let mut field = |tag: &str, digits: usize| {
        let (number, after) = rest.strip_prefix(tag)?.split_at_checked(digits)?;
        rest = after;
        u32::from_str_radix(number, 16).ok()
    };
    let mut id = |tag| u16::try_from(field(tag, 8)?).ok();
    let identity = Identity {
        vendor: id("v")?,
        device: id("d")?,
        subsystem_vendor: id("sv")?,
        subsystem_device: id("sd")?,
    };
    let (base, subclass, interface) = (field("bc", 2)?, field("sc", 2)?, field("i", 2)?);
    let class = ClassCode::new(base << 16 | subclass << 8 | interface)?;
    Some(Basics { identity, class })
}

/// An override that is not set reads as `(null)` (`drivers/pci/pci-sysfs.c`,
/// `driver_override_show`).
pub(crate) fn parse_override(text: String) -> Option<String> {
    (!text.is_empty() && text != "(null)").then_some(text)
}

/// The bridge above, out of `../../../devices/pci0000:00/BRIDGE/ADDRESS`. Right also for virtual
/// functions on a bus of their own, where the kernel's `bus->self` is empty.
fn upstream_of(link: &str) -> Option<PciAddress> {
    link.rsplit('/').nth(1)?.parse().ok()
}

fn read_sriov(dir: &Root, problems: &mut Problems) -> SriovRole {
    let physical = problems.note(dir.read_link_name("physfn"));
    if let Some(physical) = physical.and_then(|name| name.parse().ok()) {
        return SriovRole::Virtual { physical };
    }
    let total = problems.note(dir.read_attribute("sriov_totalvfs"));
    let Some(total) = total.and_then(|number| number.parse().ok()) else {
        return SriovRole::None;
    };
    // `virtfnN` links, N from 0 without gaps (`drivers/pci/iov.c`).
    let virtual_functions = (0..total)
        .map_while(|index| problems.note(dir.read_link_name(&format!("virtfn{index}"))))
        .filter_map(|name| name.parse().ok())
        .collect();
    SriovRole::Physical {
        virtual_functions,
        total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modalias_tells_identity_and_class() {
        let text = "pci:v00001234d00001111sv00001AF4sd00001100bc03sc80i00";
        let basics = parse_modalias(text).unwrap();
        assert_eq!(basics.class.code(), 0x03_8000);
        assert_eq!(
            basics.identity,
            Identity {
                vendor: 0x1234,
                device: 0x1111,
                subsystem_vendor: 0x1af4,
                subsystem_device: 0x1100
            }
        );
        for text in [
            "",
            "pci:",
            "pci:v0000123",
            "pci:v00001234d00001111",
            "pci:vä0000000",
        ] {
            assert!(parse_modalias(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_bridge_above_is_the_parent_folder() {
        let upstream = upstream_of("../../../devices/pci0000:00/0000:00:04.0/0000:01:00.0");
        assert_eq!(upstream, "0000:00:04.0".parse().ok());
        assert_eq!(
            upstream_of("../../../devices/pci0000:00/0000:00:04.0"),
            None
        );
    }

    #[test]
    fn an_override_that_is_not_set_is_none() {
        assert_eq!(parse_override("(null)".into()), None);
        assert_eq!(parse_override(String::new()), None);
        assert_eq!(parse_override("vfio-pci".into()), Some("vfio-pci".into()));
    }
}
