//! `vfioctl groups` for people.

use super::list::{NAME_COLUMNS, id, or_none};
use super::tree::tree_text;
use crate::output::Answered;
use crate::record::{FunctionRecord, GroupRecord, GroupsRecord, SpoilerRecord, ViabilityKind};
use crate::table::Table;
use crate::width::shortened;

impl Answered for GroupsRecord {
    fn text(&self) -> String {
        match &self.tree {
            Some(nodes) => tree_text(nodes),
            None => groups_text(self),
        }
    }
}

fn groups_text(record: &GroupsRecord) -> String {
    let mut text = String::new();
    for group in &record.groups {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!(
            "group {}: {}\n",
            group.group,
            viability_text(group)
        ));
        text.push_str(&members_text(&group.members, "  "));
    }
    if !record.ungrouped.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str("in no group: no IOMMU covers them, so they cannot be given away\n");
        text.push_str(&members_text(&record.ungrouped, "  "));
    }
    text
}

/// Members of a group, a line for each.
pub(super) fn members_text(members: &[FunctionRecord], indent: &str) -> String {
    let mut table = Table::default();
    for member in members {
        let name = shortened(&member.name, NAME_COLUMNS).into_owned();
        let bridge = match member.is_bridge {
            Some(true) => "bridge, stays with the host",
            Some(false) => "",
            None => "cannot see whether it is a bridge",
        };
        let driver = or_none(member.driver.clone());
        table.row([
            member.address.clone(),
            id(member),
            name,
            driver,
            bridge.to_owned(),
        ]);
    }
    table.text(indent)
}

/// Whether VFIO can use a group, with who stands in the way.
pub(super) fn viability_text(group: &GroupRecord) -> String {
    let mut members = group.members.iter();
    if members.all(|member| member.is_bridge == Some(true)) {
        return "only bridges, nothing to give away".to_owned();
    }
    match group.viability {
        ViabilityKind::Viable => "viable, VFIO has it".to_owned(),
        ViabilityKind::Unbound => "no driver stands in the way, VFIO does not have it".to_owned(),
        ViabilityKind::Spoiled => {
            let spoiler =
                |spoiler: &SpoilerRecord| format!("{} has {}", spoiler.driver, spoiler.address);
            let spoilers: Vec<String> = group.spoilers.iter().map(spoiler).collect();
            format!("not viable while {}", spoilers.join(" and "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;
    use crate::sample;
    use crate::verb::groups::groups;
    use crate::view::View;

    #[test]
    fn each_group_says_who_stands_in_the_way() {
        let (seen, names) = (sample::desktop(), Names::default());
        let text = groups(
            View {
                seen: &seen,
                names: &names,
            },
            false,
        )
        .text();
        assert_eq!(
            text,
            "\
group 0: no driver stands in the way, VFIO does not have it
  0000:00:00.0  8086:3ec2  Intel 8th Gen Core Processor Host Bridge/DR…  -

group 1: only bridges, nothing to give away
  0000:00:01.0  8086:1901  Intel 6th-10th Gen Core Processor PCIe Cont…  pcieport  bridge, stays with the host

group 2: only bridges, nothing to give away
  0000:00:02.0  8086:1901  Intel 6th-10th Gen Core Processor PCIe Cont…  pcieport  bridge, stays with the host

group 12: not viable while snd_hda_intel has 0000:01:00.1
  0000:01:00.0  10de:2684  NVIDIA AD102 [GeForce RTX 4090]               vfio-pci
  0000:01:00.1  10de:22ba  NVIDIA AD102 High Definition Audio Controll…  snd_hda_intel

group 13: viable, VFIO has it
  0000:02:00.0  1002:744c  AMD/ATI Navi 31 [Radeon RX 7900 XT/7900 XTX…  vfio-pci

group 14: not viable while nvme has 0000:03:00.0 and xhci_hcd has 0000:03:00.1
  0000:00:03.0  8086:1901  Intel 6th-10th Gen Core Processor PCIe Cont…  pcieport  bridge, stays with the host
  0000:03:00.0  144d:a80a  Samsung Electronics NVMe SSD Controller PM9…  nvme
  0000:03:00.1  1b21:2142  ASMedia Technology ASM2142/ASM3142 USB 3.1…   xhci_hcd

in no group: no IOMMU covers them, so they cannot be given away
  0000:04:00.0  10ec:8168  Realtek Semiconductor RTL8111/8168/8211/841…  -
"
        );
    }
}
