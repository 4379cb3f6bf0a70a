//! Sensors of a function: `/sys/bus/pci/devices/ADDRESS/hwmon/hwmonN/`.
//!
//! Kernel: `Documentation/hwmon/sysfs-interface.rst`, `Documentation/gpu/amdgpu/thermal.rst`,
//! `Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon` and `-xe-hwmon`; readable by everyone.
//! Drivers answer with errors of many kinds for what a model does not have, or while it is being reset:
//! what cannot be read is absent here, and no error.

use vfioctl_core::pci::PciAddress;

use crate::function::DEVICES;
use crate::number::read_number;
use crate::{Root, SysRoot};

/// More sensors of one kind than any card has.
const MAX_SENSORS: u32 = 16;

/// What the sensors of a function say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sensors {
    /// Temperature in thousandths of a degree Celsius.
    pub temperature_mc: Option<i64>,
    /// Power draw in microwatts.
    pub power_uw: Option<u64>,
    /// Energy used since some moment, in microjoules; of cards that do not tell their power.
    pub energy_uj: Option<u64>,
    /// Power limit in microwatts.
    pub power_limit_uw: Option<u64>,
}

/// Reads the sensors of a function. Wakes it where it sleeps, as amdgpu and i915 do
/// (`pm_runtime_get_sync`): see [`crate::read_is_asleep`].
pub fn read_sensors(root: &SysRoot, address: PciAddress) -> Sensors {
    let folder = format!("{DEVICES}/{address}/hwmon");
    let names = root.sys.list(&folder).ok().flatten().unwrap_or_default();
    // There is one; a function that has several has been given the others by other subsystems.
    let first = names.iter().find(|name| name.starts_with("hwmon"));
    let dir = first.and_then(|name| root.sys.sub(&format!("{folder}/{name}")).ok().flatten());
    dir.map(|dir| read(&dir)).unwrap_or_default()
}

fn read(dir: &Root) -> Sensors {
    // amdgpu has edge, junction and mem, of which the first is what people mean by its temperature;
    // xe has pkg and vram.
    let temperature = choose(dir, "temp", &["edge", "junction", "pkg"]);
    // xe has the whole card and, of some, only the package.
    let energy = choose(dir, "energy", &["card", "pkg"]);
    Sensors {
        temperature_mc: temperature.and_then(|n| read_number(dir, &format!("temp{n}_input"))),
        power_uw: read_number(dir, "power1_average").or_else(|| read_number(dir, "power1_input")),
        energy_uj: energy.and_then(|n| read_number(dir, &format!("energy{n}_input"))),
        // amdgpu and newer xe have a cap; i915 and older xe a maximum, 0 where it is off.
        power_limit_uw: ["power1_cap", "power1_max"]
            .iter()
            .filter_map(|name| read_number(dir, name))
            .find(|limit| *limit > 0),
    }
}

/// The number of the sensor with the first of these labels that is there; without any of them, the
/// first sensor.
fn choose(dir: &Root, kind: &str, labels: &[&str]) -> Option<u32> {
    let sensors = (1..=MAX_SENSORS).filter(|n| dir.exists(&format!("{kind}{n}_input")));
    let named: Vec<(u32, Option<String>)> = sensors
        .map(|n| (n, text(dir, &format!("{kind}{n}_label"))))
        .collect();
    let labelled = labels.iter().find_map(|label| {
        let mut all = named.iter();
        all.find(|(_, name)| name.as_deref() == Some(label))
    });
    labelled.or_else(|| named.first()).map(|(n, _)| *n)
}

fn text(dir: &Root, name: &str) -> Option<String> {
    dir.read_attribute(name).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::devices;

    fn sensors(files: &[(&str, &str)]) -> Sensors {
        let path = |name: &str| format!("0000:01:00.0/hwmon/hwmon7/{name}");
        let files: Vec<(String, &str)> = files.iter().map(|(name, it)| (path(name), *it)).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, it)| (&**path, *it)).collect();
        let (_folder, root) = devices(&files);
        read_sensors(&root, "0000:01:00.0".parse().unwrap())
    }

    #[test]
    fn a_card_of_amd_tells_edge_power_and_cap() {
        let files = [
            ("temp1_input", "48000"),
            ("temp1_label", "edge"),
            ("temp2_input", "52000"),
            ("temp2_label", "junction"),
            ("power1_average", "31000000"),
            ("power1_cap", "339000000"),
        ];
        let expected = Sensors {
            temperature_mc: Some(48_000),
            power_uw: Some(31_000_000),
            energy_uj: None,
            power_limit_uw: Some(339_000_000),
        };
        assert_eq!(sensors(&files), expected);
    }

    #[test]
    fn an_accelerator_without_an_edge_tells_its_junction() {
        let files = [
            ("temp2_input", "61000"),
            ("temp2_label", "junction"),
            ("temp3_input", "58000"),
            ("temp3_label", "mem"),
            ("power1_input", "120000000"),
        ];
        let expected = Sensors {
            temperature_mc: Some(61_000),
            power_uw: Some(120_000_000),
            ..Sensors::default()
        };
        assert_eq!(sensors(&files), expected);
    }

    #[test]
    fn a_card_of_intel_tells_energy_and_a_limit_that_may_be_off() {
        let files = [
            ("temp2_input", "40000"),
            ("temp2_label", "pkg"),
            ("temp3_input", "44000"),
            ("temp3_label", "vram"),
            ("energy1_input", "900000"),
            ("energy1_label", "card"),
            ("energy2_input", "700000"),
            ("energy2_label", "pkg"),
            ("power1_max", "0"),
        ];
        let expected = Sensors {
            temperature_mc: Some(40_000),
            energy_uj: Some(900_000),
            ..Sensors::default()
        };
        assert_eq!(sensors(&files), expected);
    }

    #[test]
    fn what_is_no_number_or_not_there_is_absent() {
        assert_eq!(
            sensors(&[("temp1_input", "N/A"), ("power1_cap", "")]),
            Sensors::default()
        );
        assert_eq!(sensors(&[]), Sensors::default());
    }
}
