//! How GPUs fare that tell it in sysfs: those of AMD's and Intel's drivers, and every other that has
//! sensors.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use vfioctl_api::{GpuNumber, GpuTelemetry};
use vfioctl_core::pci::PciAddress;
use vfioctl_scan::{SysRoot, read_amdgpu, read_i915_idle, read_sensors, read_xe};

/// Shortest time between two counts that says something: counters are written some times a second.
const SHORTEST: Duration = Duration::from_millis(500);

/// What counts up, as it was read last of each GPU.
#[derive(Debug, Default)]
pub(super) struct Counters(BTreeMap<PciAddress, Count>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    at: Instant,
    energy_uj: Option<u64>,
    idle_ms: Vec<u64>,
}

/// What a GPU is asked by.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Its number.
    pub(super) number: GpuNumber,
    /// Its address.
    pub(super) address: PciAddress,
    /// Its driver.
    pub(super) driver: String,
}

impl Counters {
    /// Reads how a GPU fares; `now` is when.
    pub(super) fn read(&mut self, root: &SysRoot, gpu: &Asked, now: Instant) -> GpuTelemetry {
        let address = gpu.address;
        let sensors = read_sensors(root, address);
        let mut telemetry = GpuTelemetry {
            number: gpu.number,
            utilisation_percent: None,
            memory_used_mib: None,
            temperature_c: sensors.temperature_mc.and_then(degrees),
            power_w: sensors.power_uw.and_then(watts),
            power_limit_w: sensors.power_limit_uw.and_then(watts),
        };
        let idle_ms = match gpu.driver.as_str() {
            "amdgpu" => {
                let amd = read_amdgpu(root, address);
                telemetry.utilisation_percent = amd.busy_percent.map(|percent| percent.min(100));
                telemetry.memory_used_mib = amd.memory_used_bytes.map(|bytes| bytes >> 20);
                Vec::new()
            }
            "xe" => read_xe(root, address).idle_ms,
            "i915" => read_i915_idle(root, address),
            _ => Vec::new(),
        };
        let count = Count {
            at: now,
            energy_uj: sensors.energy_uj,
            idle_ms,
        };
        self.compare(address, count, &mut telemetry);
        telemetry
    }

    /// Forgets all GPUs but these.
    pub(super) fn keep(&mut self, gpus: &[Asked]) {
        self.0
            .retain(|address, _| gpus.iter().any(|gpu| gpu.address == *address));
    }

    /// What has been counted since the last time.
    fn compare(&mut self, address: PciAddress, count: Count, telemetry: &mut GpuTelemetry) {
        let Some(before) = self.0.get(&address) else {
            self.0.insert(address, count);
            return;
        };
        let passed = count.at.saturating_duration_since(before.at);
        if passed < SHORTEST {
            return;
        }
        let power = before.power_until(&count, passed);
        telemetry.power_w = telemetry.power_w.or(power);
        let busy = before.busy_until(&count, passed);
        telemetry.utilisation_percent = telemetry.utilisation_percent.or(busy);
        self.0.insert(address, count);
    }
}

impl Count {
    /// Power in watts, on the average.
    fn power_until(&self, later: &Self, passed: Duration) -> Option<u32> {
        // A counter that has gone back has begun anew: the driver was loaded again.
        let energy_uj = later.energy_uj?.checked_sub(self.energy_uj?)?;
        let microwatts = u128::from(energy_uj) * 1000 / passed.as_millis().max(1);
        watts(u64::try_from(microwatts).ok()?)
    }

    /// How busy the busiest part was, in percent: for how much of the time it was not switched off.
    fn busy_until(&self, later: &Self, passed: Duration) -> Option<u32> {
        if self.idle_ms.len() != later.idle_ms.len() {
            return None;
        }
        let passed_ms = passed.as_millis().max(1);
        let parts = self.idle_ms.iter().zip(&later.idle_ms);
        let busy = parts.filter_map(|(before, later)| {
            let idle_ms = u128::from(later.checked_sub(*before)?).min(passed_ms);
            u32::try_from((passed_ms - idle_ms) * 100 / passed_ms).ok()
        });
        busy.max()
    }
}

fn degrees(thousandths: i64) -> Option<i32> {
    i32::try_from(thousandths.checked_add(500)?.div_euclid(1000)).ok()
}

fn watts(microwatts: u64) -> Option<u32> {
    u32::try_from(microwatts.saturating_add(500_000) / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::sample::{at, folder_machine};

    const DEVICE: &str = "sys/bus/pci/devices/0000:03:00.0";

    /// Reads a GPU of that driver, each time with these files and so many milliseconds later.
    fn read(driver: &str, looks: &[(u64, &[(&str, &str)])]) -> Vec<GpuTelemetry> {
        let mut counters = Counters::default();
        let gpu = Asked {
            number: 2.into(),
            address: at("03:00.0"),
            driver: driver.into(),
        };
        let mut now = Instant::now();
        let read_one = |(later_ms, files): &(u64, &[(&str, &str)])| {
            let path = |name: &str| format!("{DEVICE}/{name}");
            let files: Vec<(String, &str)> = files.iter().map(|(n, it)| (path(n), *it)).collect();
            let files: Vec<(&str, &str)> = files.iter().map(|(path, it)| (&**path, *it)).collect();
            let (_folder, root) = folder_machine(&files);
            now += Duration::from_millis(*later_ms);
            counters.read(&root, &gpu, now)
        };
        looks.iter().map(read_one).collect()
    }

    fn nothing() -> GpuTelemetry {
        GpuTelemetry {
            number: 2.into(),
            utilisation_percent: None,
            memory_used_mib: None,
            temperature_c: None,
            power_w: None,
            power_limit_w: None,
        }
    }

    #[test]
    fn a_gpu_of_amd_tells_all_at_once() {
        let files = [
            ("gpu_busy_percent", "37"),
            ("mem_info_vram_used", "1073741824"),
            ("hwmon/hwmon3/temp1_input", "48600"),
            ("hwmon/hwmon3/power1_average", "31400000"),
            ("hwmon/hwmon3/power1_cap", "339000000"),
        ];
        let expected = GpuTelemetry {
            number: 2.into(),
            utilisation_percent: Some(37),
            memory_used_mib: Some(1024),
            temperature_c: Some(49),
            power_w: Some(31),
            power_limit_w: Some(339),
        };
        assert_eq!(read("amdgpu", &[(0, &files)]), [expected]);
    }

    #[test]
    fn power_and_use_of_a_gpu_of_intel_are_told_by_what_was_counted() {
        let energy = "hwmon/hwmon1/energy1_input";
        let (first, second) = (
            "tile0/gt0/gtidle/idle_residency_ms",
            "tile0/gt1/gtidle/idle_residency_ms",
        );
        let told = read(
            "xe",
            &[
                (0, &[(energy, "1000000"), (first, "5000"), (second, "70")]),
                // 2 s later: 50 J more, one part idle for 1.5 s, the other all the time.
                (
                    2000,
                    &[(energy, "51000000"), (first, "6500"), (second, "2090")],
                ),
                // Too soon to tell; and then from the count before that.
                (
                    100,
                    &[(energy, "51000000"), (first, "6600"), (second, "2190")],
                ),
                (
                    900,
                    &[(energy, "51000000"), (first, "6500"), (second, "3090")],
                ),
                // Counters that begin anew say nothing.
                (1000, &[(energy, "0"), (first, "0"), (second, "0")]),
            ],
        );
        let busy: Vec<_> = told.iter().map(|it| it.utilisation_percent).collect();
        assert_eq!(busy, [None, Some(25), None, Some(100), None]);
        let power: Vec<_> = told.iter().map(|it| it.power_w).collect();
        assert_eq!(power, [None, Some(25), None, Some(0), None]);
    }

    #[test]
    fn i915_counts_idleness_too() {
        let rc6 = "drm/card0/gt/gt0/rc6_residency_ms";
        let told = read("i915", &[(0, &[(rc6, "0")]), (1000, &[(rc6, "900")])]);
        assert_eq!(told[1].utilisation_percent, Some(10));
    }

    #[test]
    fn a_driver_that_tells_nothing_is_believed() {
        assert_eq!(
            read("bochs-drm", &[(0, &[]), (1000, &[])]),
            [nothing(), nothing()]
        );
    }
}
