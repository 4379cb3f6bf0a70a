//! `vfioctl show` for people.

use super::groups::{members_text, viability_text};
use super::list::class;
use super::tree::acs_text;
use crate::output::Answered;
use crate::record::{BarRecord, OwnerRecord, ShowRecord, SriovRecord};
use crate::table::Table;
use crate::width::plain;

const CANNOT_SEE: &str = "cannot see";

impl Answered for ShowRecord {
    fn text(&self) -> String {
        let function = &self.function;
        let mut table = Table::default();
        let vendor = function.vendor.as_deref().unwrap_or("not known");
        let device = function.device.as_deref().unwrap_or("not known");
        table.row(["vendor", &format!("{vendor} ({})", function.vendor_id)]);
        table.row(["device", &format!("{device} ({})", function.device_id)]);
        table.row(["subsystem", &self.subsystem_text()]);
        table.row([
            "class",
            &format!("{} ({})", class(function), function.class_code),
        ]);
        table.row(["revision", &self.revision]);
        table.row(["state", &function.state.text]);
        for container in function.containers.iter().flatten() {
            table.row(["container", &container_text(container)]);
        }
        for pin in self.pins.iter().flatten() {
            let whose = plain(&pin.owner.text()).into_owned();
            let text = match &pin.problem {
                None => format!("by {whose}: stays on vfio-pci over restarts"),
                Some(problem) => {
                    format!("by {whose}, not kept: {} ({})", pin.text(), plain(problem))
                }
            };
            table.row(["pinned", &text]);
        }
        for host_use in &self.host_uses {
            table.row(["host", host_use]);
        }
        table.row(["driver", function.driver.as_deref().unwrap_or("none")]);
        let driver_override = self.driver_override.as_deref().unwrap_or("none");
        table.row([
            "driver override",
            self.or_cannot_see("driver_override", driver_override),
        ]);
        let group = match &self.group {
            Some(group) => format!("{}: {}", group.group, viability_text(group)),
            None => "none: no IOMMU covers it".to_owned(),
        };
        table.row(["IOMMU group", &group]);
        let kind = self.pcie_type.as_deref().unwrap_or("conventional PCI");
        table.row(["PCIe type", self.or_cannot_see("pcie_type", kind)]);
        let acs = self
            .acs
            .as_ref()
            .map_or_else(|| "none".to_owned(), acs_text);
        table.row(["ACS", self.or_cannot_see("acs", &acs)]);
        table.row(["SR-IOV", &self.sriov_text()]);
        let node = self
            .numa_node
            .map_or_else(|| "none".to_owned(), |node| node.to_string());
        table.row(["NUMA node", &node]);
        table.row([
            "power state",
            self.power_state.as_deref().unwrap_or("not told"),
        ]);
        if let Some(is_boot_vga) = self.boot_vga {
            table.row(["boot display", if is_boot_vga { "yes" } else { "no" }]);
        }
        table.row(["reset", &self.reset_text()]);
        table.row(["config space", &self.config_text()]);
        let mut text = format!("{}  {}\n", function.address, plain(&function.name));
        text.push_str(&table.text("  "));
        if let Some(group) = &self.group {
            text.push_str(&format!("\nmembers of group {}\n", group.group));
            text.push_str(&members_text(&group.members, "  "));
        }
        text.push_str(&self.windows_text());
        text.push_str(&self.upstream_text());
        text.push_str(&self.problems_text());
        text
    }
}

impl ShowRecord {
    fn or_cannot_see<'a>(&self, field: &str, text: &'a str) -> &'a str {
        if self.hidden.contains(&field) {
            CANNOT_SEE
        } else {
            text
        }
    }

    fn subsystem_text(&self) -> String {
        let id = format!("{}:{}", self.subsystem_vendor_id, self.subsystem_device_id);
        match &self.subsystem {
            Some(name) => format!("{name} ({id})"),
            None if id == "0000:0000" => "none".to_owned(),
            None => id,
        }
    }

    fn sriov_text(&self) -> String {
        match &self.sriov {
            None => "none".to_owned(),
            Some(SriovRecord::Virtual { physical }) => format!("virtual function of {physical}"),
            Some(SriovRecord::Physical {
                virtual_functions,
                total,
            }) => {
                let now = virtual_functions.len();
                match virtual_functions.is_empty() {
                    true => format!("physical function, none of {total} virtual functions made"),
                    false => format!(
                        "physical function, {now} of {total} virtual functions made: {}",
                        virtual_functions.join(" ")
                    ),
                }
            }
        }
    }

    fn reset_text(&self) -> String {
        match self.reset_methods.is_empty() {
            true => "none: the kernel cannot reset it".to_owned(),
            false => self.reset_methods.join(", "),
        }
    }

    fn config_text(&self) -> String {
        let bytes = self.config_bytes_seen;
        match bytes {
            64 => "64 bytes seen; the rest is for root".to_owned(),
            _ => format!("{bytes} bytes seen"),
        }
    }

    fn windows_text(&self) -> String {
        if self.bars.is_empty() {
            return String::new();
        }
        let mut table = Table::default();
        for bar in &self.bars {
            let (name, kind) = bar_text(bar);
            table.row([name, size_text(bar.size_bytes), kind]);
        }
        format!("\nwindows\n{}", table.text("  "))
    }

    fn upstream_text(&self) -> String {
        if self.upstream.is_empty() {
            return "\npath\n  on a root bus, no bridge above\n".to_owned();
        }
        let mut table = Table::default();
        for bridge in self.upstream.iter().rev() {
            let kind = bridge.pcie_type.as_deref().unwrap_or("bridge");
            table.row([&bridge.address, kind, &bridge.name]);
        }
        table.row([&self.function.address, "", &self.function.name]);
        format!("\npath\n{}", table.text("  "))
    }

    fn problems_text(&self) -> String {
        if self.problems.is_empty() {
            return String::new();
        }
        let mut table = Table::default();
        for problem in &self.problems {
            table.row([&problem.subject, &problem.because]);
        }
        format!("\ncould not be read\n{}", table.text("  "))
    }
}

/// A container that uses the function: its name, whose it is, and how it has the function.
fn container_text(owner: &OwnerRecord) -> String {
    let whose = owner.text();
    let whose = whose.strip_prefix("container ").unwrap_or(&whose);
    let is_alone = owner.container.as_ref().is_some_and(|it| it.exclusive);
    format!("{whose}, {}", if is_alone { "alone" } else { "shared" })
}

fn bar_text(bar: &BarRecord) -> (String, String) {
    let prefetchable = if bar.prefetchable {
        ", prefetchable"
    } else {
        ""
    };
    let kind = match bar.kind {
        "memory32" => "32-bit memory",
        "memory64" => "64-bit memory",
        "io" => "I/O ports",
        _ => return ("ROM".to_owned(), "expansion ROM".to_owned()),
    };
    (
        format!("BAR {}", bar.index),
        format!("{kind}{prefetchable}"),
    )
}

/// A size with the largest binary unit that leaves a whole number.
pub(super) fn size_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units
        .iter()
        .find(|(shift, _)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    match whole {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;
    use crate::sample;
    use crate::view::View;

    fn text(seen: &crate::seen::Seen, address: &str) -> String {
        let names = Names::default();
        let function = seen.snapshot.function(address.parse().unwrap()).unwrap();
        View {
            seen,
            names: &names,
        }
        .show(function)
        .text()
    }

    #[test]
    fn everything_about_a_gpu_is_told() {
        assert_eq!(
            text(&sample::desktop(), "0000:01:00.0"),
            "\
0000:01:00.0  NVIDIA AD102 [GeForce RTX 4090]
  vendor           NVIDIA Corporation (10de)
  device           AD102 [GeForce RTX 4090] (2684)
  subsystem        none
  class            VGA compatible controller (030000)
  revision         a1
  state            yours
  driver           vfio-pci
  driver override  vfio-pci
  IOMMU group      12: not viable while snd_hda_intel has 0000:01:00.1
  PCIe type        endpoint
  ACS              none
  SR-IOV           none
  NUMA node        0
  power state      D0
  boot display     yes
  reset            flr, bus
  config space     4096 bytes seen

members of group 12
  0000:01:00.0  10de:2684  NVIDIA AD102 [GeForce RTX 4090]               vfio-pci
  0000:01:00.1  10de:22ba  NVIDIA AD102 High Definition Audio Controll…  snd_hda_intel

windows
  BAR 0  16 MiB  32-bit memory
  BAR 1  16 GiB  64-bit memory, prefetchable
  BAR 5  128 B   I/O ports

path
  0000:00:01.0  root port  Intel 6th-10th Gen Core Processor PCIe Controller (x16)
  0000:01:00.0             NVIDIA AD102 [GeForce RTX 4090]
"
        );
    }

    #[test]
    fn every_container_is_told() {
        let seen = sample::desktop_shared();
        let lines = |address| -> Vec<String> {
            let text = text(&seen, address);
            let lines = text.lines().filter(|line| line.starts_with("  container"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(
            lines("0000:02:00.0"),
            [
                "  container        'a' of runner for 'bob', shared",
                "  container        'b' of runner for 'cid', shared",
                "  container        'c' of runner for 'dan', shared"
            ]
        );
        assert_eq!(
            lines("0000:04:00.0"),
            ["  container        'z' of runner, alone"]
        );
        assert_eq!(lines("0000:02:00.1"), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_seen_is_not_called_none() {
        let text = text(&sample::desktop_unseen(), "0000:00:01.0");
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(CANNOT_SEE))
            .collect();
        assert_eq!(
            lines,
            [
                "  PCIe type        cannot see",
                "  ACS              cannot see"
            ]
        );
    }

    #[test]
    fn sizes_have_the_largest_whole_unit() {
        for (bytes, expected) in [
            (0, "0 B"),
            (128, "128 B"),
            (4096, "4 KiB"),
            (16 << 30, "16 GiB"),
            (1536, "1536 B"),
        ] {
            assert_eq!(size_text(bytes), expected);
        }
    }
}
