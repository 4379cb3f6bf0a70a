//! Placement: where in the guest the functions of passed devices sit.
//!
//! Each slot of a passed device gets a `pcie-root-port` of its own and keeps its functions
//! together there, so the guest sees a GPU and its audio function as one device, as drivers
//! expect. The ports are functions 0 to 7 of devices 10 and up on the root bus; disks and the
//! network card have the places below (see `arguments.rs`), so no place moves when a device is
//! added.

use vfioctl_core::pci::PciAddress;

/// Most root ports of a machine: functions 0 to 7 of devices 10 to 1e. Device 1f is q35's own.
pub const MAX_ROOT_PORTS: usize = 15 * 8;

/// First device number of the root ports on the root bus.
const FIRST_PORT_DEVICE: usize = 0x10;

/// All functions that are passed together: those of one device, or of one IOMMU group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedDevice {
    /// The functions, in any order; they may sit in several slots.
    pub functions: Vec<PciAddress>,
    /// Sizes of their 64-bit memory windows, in any order.
    pub windows_bytes: Vec<u64>,
}

/// One root port and what sits behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RootPort {
    /// Its number, from 0, unique in the machine.
    index: usize,
    /// Whether other ports share its device number and it is the first of them.
    is_multifunction: bool,
    /// Guest function number and host address, in this order.
    functions: Vec<(u8, PciAddress)>,
}

/// Gives each slot of each device a root port, in the order of the devices.
///
/// More than [`MAX_ROOT_PORTS`] get places that do not exist, which QEMU refuses by name.
pub(crate) fn plan_root_ports(devices: &[PassedDevice]) -> Vec<RootPort> {
    let slots: Vec<Vec<(u8, PciAddress)>> = devices.iter().flat_map(find_slots).collect();
    let count = slots.len();
    let mut ports = Vec::with_capacity(count);
    for (index, functions) in slots.into_iter().enumerate() {
        let is_multifunction = index % 8 == 0 && index + 1 < count;
        ports.push(RootPort {
            index,
            is_multifunction,
            functions,
        });
    }
    ports
}

/// Sorts the functions of a device into slots and numbers them for the guest.
fn find_slots(device: &PassedDevice) -> Vec<Vec<(u8, PciAddress)>> {
    let mut functions = device.functions.clone();
    functions.sort();
    functions.dedup();
    functions
        .chunk_by(|one, other| one.is_same_slot(*other))
        .map(number_functions)
        .collect()
}

/// Keeps the host's function numbers where function 0 is among them. A guest looks for other
/// functions only where function 0 exists (PCI Local Bus 3.0, section 3.2.2.3.4), so a slot
/// without it, as that of a virtual function, is numbered anew from 0.
fn number_functions(slot: &[PciAddress]) -> Vec<(u8, PciAddress)> {
    if slot.iter().any(|address| address.function() == 0) {
        slot.iter()
            .map(|address| (address.function(), *address))
            .collect()
    } else {
        (0..).zip(slot.iter().copied()).collect()
    }
}

impl RootPort {
    /// Values for `-device`: the port, then its functions.
    pub(crate) fn devices(&self) -> Vec<String> {
        let Self {
            index,
            is_multifunction,
            functions,
        } = self;
        let (device, function) = (FIRST_PORT_DEVICE + index / 8, index % 8);
        // Chassis and slot together identify a port (PCI Express Base 6.0, section 7.5.3.9);
        // chassis 0 is QEMU's "not given". Without hotplug the guest has no button with which to
        // give a device back while the journal says that it has it.
        let number = index + 1;
        let mut port = format!(
            "pcie-root-port,id=port{index},bus=pcie.0,addr={device:02x}.{function},\
             chassis={number},slot={number},hotplug=off"
        );
        if *is_multifunction {
            port.push_str(",multifunction=on");
        }
        let is_shared = functions.len() > 1;
        let passed = functions.iter().map(|(function, address)| {
            let host = host_option(*address);
            let mut device = format!(
                "vfio-pci,{host},id=dev{index}-{function},bus=port{index},addr=00.{function}"
            );
            if is_shared && *function == 0 {
                device.push_str(",multifunction=on");
            }
            device
        });
        std::iter::once(port).chain(passed).collect()
    }
}

/// Names the function to vfio-pci. `host=` takes domains of four digits only (measured with QEMU
/// 7.2: "Property 'vfio-pci.host' doesn't take value"), so wider ones are named by their folder;
/// QEMU itself makes the same path from `host=`.
fn host_option(address: PciAddress) -> String {
    if address.domain() > 0xffff {
        format!("sysfsdev=/sys/bus/pci/devices/{address}")
    } else {
        format!("host={address}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(functions: &[&str]) -> PassedDevice {
        PassedDevice {
            functions: functions.iter().map(|text| text.parse().unwrap()).collect(),
            windows_bytes: Vec::new(),
        }
    }

    fn options(devices: &[PassedDevice]) -> Vec<String> {
        plan_root_ports(devices)
            .iter()
            .flat_map(RootPort::devices)
            .collect()
    }

    #[test]
    fn functions_of_one_slot_stay_one_device() {
        assert_eq!(
            options(&[device(&["0000:01:00.3", "0000:01:00.0", "0000:01:00.0"])]),
            [
                "pcie-root-port,id=port0,bus=pcie.0,addr=10.0,chassis=1,slot=1,hotplug=off",
                "vfio-pci,host=0000:01:00.0,id=dev0-0,bus=port0,addr=00.0,multifunction=on",
                "vfio-pci,host=0000:01:00.3,id=dev0-3,bus=port0,addr=00.3",
            ]
        );
    }

    #[test]
    fn each_slot_of_a_group_gets_a_port() {
        assert_eq!(
            options(&[
                device(&["0000:00:1f.3", "0000:00:1e.0"]),
                device(&["0000:02:00.0"])
            ]),
            [
                "pcie-root-port,id=port0,bus=pcie.0,addr=10.0,chassis=1,slot=1,hotplug=off,\
                 multifunction=on",
                "vfio-pci,host=0000:00:1e.0,id=dev0-0,bus=port0,addr=00.0",
                "pcie-root-port,id=port1,bus=pcie.0,addr=10.1,chassis=2,slot=2,hotplug=off",
                "vfio-pci,host=0000:00:1f.3,id=dev1-0,bus=port1,addr=00.0",
                "pcie-root-port,id=port2,bus=pcie.0,addr=10.2,chassis=3,slot=3,hotplug=off",
                "vfio-pci,host=0000:02:00.0,id=dev2-0,bus=port2,addr=00.0",
            ]
        );
    }

    #[test]
    fn a_slot_without_function_0_is_numbered_from_0() {
        assert_eq!(
            number_functions(&device(&["0000:01:10.2", "0000:01:10.6"]).functions)
                .iter()
                .map(|(function, _)| *function)
                .collect::<Vec<_>>(),
            [0, 1]
        );
    }

    #[test]
    fn the_ninth_port_opens_the_next_device_number() {
        let devices: Vec<PassedDevice> = (0..9)
            .map(|bus| device(&[&format!("0000:{bus:02x}:00.0")]))
            .collect();
        let last = options(&devices).into_iter().rev().nth(1).unwrap();
        assert_eq!(
            last,
            "pcie-root-port,id=port8,bus=pcie.0,addr=11.0,chassis=9,slot=9,hotplug=off"
        );
    }

    #[test]
    fn a_wide_domain_is_named_by_its_folder() {
        assert_eq!(
            host_option("10000:01:00.0".parse().unwrap()),
            "sysfsdev=/sys/bus/pci/devices/10000:01:00.0"
        );
    }

    #[test]
    fn a_device_without_functions_takes_no_port() {
        assert_eq!(plan_root_ports(&[device(&[])]), []);
    }
}
