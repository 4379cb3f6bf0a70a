//! Reading NVML once: what the child of the runner does, from the first line to the last.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use vfioctl_core::pci::PciAddress;
use vfioctl_scan::SysRoot;

use super::{Reading, Report};

/// The library's name, for the dynamic linker to find.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// The driver's nodes begin so.
const NODES: &str = "/dev/nvidia";

/// Reads GPUs through NVML and prints what it says, as JSON.
///
/// # Errors
/// Where it cannot be printed.
pub(crate) fn run(addresses: &[PciAddress], library: Option<&Path>) -> Result<(), String> {
    let report = read(addresses, library);
    let text = serde_json::to_string(&report).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout().lock(), "{text}").map_err(|error| format!("cannot print: {error}"))
}

fn read(addresses: &[PciAddress], library: Option<&Path>) -> Report {
    let library = library.map_or(OsStr::new(LIBRARY), Path::as_os_str);
    let nvml = match Nvml::builder().lib_path(library).init() {
        Ok(nvml) => nvml,
        Err(error) => return without(&error),
    };
    let gpus = addresses
        .iter()
        .map(|address| read_gpu(&nvml, *address))
        .collect();
    Report::Read {
        gpus,
        open_nodes: read_open_nodes(),
    }
}

fn without(error: &NvmlError) -> Report {
    let reason = error.to_string();
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound | NvmlError::DriverNotLoaded => {
            Report::Absent { reason }
        }
        NvmlError::LibRmVersionMismatch => Report::Failed {
            reason: "NVIDIA's library is of another version than its driver that is loaded; load \
                     the driver anew, or boot"
                .into(),
        },
        _ => Report::Failed { reason },
    }
}

fn read_gpu(nvml: &Nvml, address: PciAddress) -> Reading {
    let mut reading = Reading::of(address);
    // Never by index: the order in which NVML counts is nobody's promise.
    let device = match nvml.device_by_pci_bus_id(bus_id(address)) {
        Ok(device) => device,
        Err(error) => {
            reading.problem = Some(error.to_string());
            return reading;
        }
    };
    fill(&mut reading, &device);
    reading
}

/// An address as NVML has it: the domain with eight digits.
fn bus_id(address: PciAddress) -> String {
    let (domain, bus, device) = (address.domain(), address.bus(), address.device());
    format!(
        "{domain:08x}:{bus:02x}:{device:02x}.{:x}",
        address.function()
    )
}

fn fill(reading: &mut Reading, device: &Device<'_>) {
    let mut lost = None;
    // A card that falls off the bus does so in between, too.
    let mut note = |error: NvmlError| {
        if matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired) {
            lost = Some(error.to_string());
        }
    };
    macro_rules! told {
        ($read:expr) => {
            $read.map_err(&mut note).ok()
        };
    }
    reading.name = told!(device.name());
    reading.uuid = told!(device.uuid());
    reading.minor = told!(device.minor_number());
    let memory = told!(device.memory_info());
    reading.memory_mib = memory.as_ref().map(|memory| memory.total >> 20);
    reading.memory_used_mib = memory.map(|memory| memory.used >> 20);
    // Absent where the GPU is split (MIG): there is no one number for it.
    reading.utilisation_percent = told!(device.utilization_rates()).map(|rates| rates.gpu);
    let temperature = told!(device.temperature(TemperatureSensor::Gpu));
    reading.temperature_c = temperature.and_then(|degrees| i32::try_from(degrees).ok());
    let watts = |milliwatts: u32| milliwatts.saturating_add(500) / 1000;
    reading.power_w = told!(device.power_usage()).map(watts);
    reading.power_limit_w = told!(device.enforced_power_limit()).map(watts);
    reading.problem = lost;
}

/// The driver's nodes that this process has open. What cannot be seen is none.
fn read_open_nodes() -> Vec<String> {
    let Ok(root) = SysRoot::live() else {
        return Vec::new();
    };
    let descriptors = root.proc.list("self/fd").ok().flatten().unwrap_or_default();
    let target = |descriptor: &String| {
        let target = root.proc.read_link(&format!("self/fd/{descriptor}"));
        target.ok().flatten()
    };
    let nodes = descriptors.iter().filter_map(target);
    let mut nodes: Vec<String> = nodes.filter(|node| node.starts_with(NODES)).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_nvml_writes_it() {
        let id = |address: &str| bus_id(address.parse().unwrap());
        assert_eq!(id("0000:0a:1f.7"), "00000000:0a:1f.7");
        assert_eq!(id("10001:c1:00.0"), "00010001:c1:00.0");
    }
}
