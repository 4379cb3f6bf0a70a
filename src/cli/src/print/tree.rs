//! The tree of bridges and devices, as one picture.

use super::list::{NAME_COLUMNS, or_none};
use crate::record::{AcsRecord, TreeNodeRecord};
use crate::table::Table;
use crate::width::{plain, shortened};

/// The picture, and below it the groups in which devices are tied together.
pub(super) fn tree_text(nodes: &[TreeNodeRecord]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let mut table = Table::titled(&["ADDRESS", "GROUP", "DRIVER", "NAME", "KIND"]);
    let mut root_bus = None;
    for (index, node) in nodes.iter().enumerate() {
        let bus = bus_of(&node.function.address);
        if node.depth == 0 && root_bus.as_deref() != Some(bus) {
            table.row([format!("root bus {bus}")]);
            root_bus = Some(bus.to_owned());
        }
        table.row([
            format!(
                "{}{}",
                branch(node, is_last_on_bus(nodes, index)),
                node.function.address
            ),
            or_none(node.function.iommu_group.map(|group| group.to_string())),
            or_none(node.function.driver.clone()),
            shortened(&node.function.name, NAME_COLUMNS).into_owned(),
            kind(node),
        ]);
    }
    table.text("") + &shared_text(nodes)
}

/// The domain and bus of an address.
fn bus_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(bus, _)| bus)
}

/// The lines in front of a node. On the lowest level a machine has several root buses, and the
/// line ends with each.
fn branch(node: &TreeNodeRecord, is_last_on_bus: bool) -> String {
    let mut text = String::new();
    for (level, is_open) in node.open_levels.iter().enumerate() {
        let is_open = if level == 0 {
            !is_last_on_bus
        } else {
            *is_open
        };
        text.push_str(if is_open { "│  " } else { "   " });
    }
    let is_last = if node.depth == 0 {
        is_last_on_bus
    } else {
        node.is_last
    };
    text.push_str(if is_last { "└─ " } else { "├─ " });
    text
}

/// Whether no further function of the same root bus follows on the lowest level.
fn is_last_on_bus(nodes: &[TreeNodeRecord], index: usize) -> bool {
    let before = nodes.get(..=index).unwrap_or_default();
    let own = before.iter().rev().find(|node| node.depth == 0);
    let next = nodes.iter().skip(index + 1).find(|node| node.depth == 0);
    match (own, next) {
        (Some(own), Some(next)) => bus_of(&own.function.address) != bus_of(&next.function.address),
        _ => true,
    }
}

/// What a node is: of ports, whether they keep apart what is below them.
fn kind(node: &TreeNodeRecord) -> String {
    let is_hidden = |field: &str| node.hidden.contains(&field);
    let is_bridge = node.function.is_bridge == Some(true);
    let kind = match &node.pcie_type {
        Some(kind) => kind.clone(),
        None if is_hidden("pcie_type") && is_bridge => "bridge".to_owned(),
        None if is_hidden("pcie_type") => "device".to_owned(),
        None if is_bridge => "PCI bridge".to_owned(),
        None => "PCI device".to_owned(),
    };
    match &node.acs {
        Some(acs) => format!("{kind}, ACS {}", acs_text(acs)),
        None if !is_bridge => kind,
        None if is_hidden("acs") => format!("{kind}, ACS: cannot see"),
        None => format!("{kind}, no ACS"),
    }
}

/// The bits of ACS, and what they come to.
pub(super) fn acs_text(acs: &AcsRecord) -> String {
    let sign = |is_on| if is_on { '+' } else { '-' };
    let bits: Vec<String> = acs
        .bits
        .iter()
        .map(|bit| format!("{}{}", bit.name, sign(bit.is_on)))
        .collect();
    let bits = if bits.is_empty() {
        "no bits".to_owned()
    } else {
        bits.join(" ")
    };
    let off: Vec<&str> = acs
        .bits
        .iter()
        .filter(|bit| bit.is_required && !bit.is_on)
        .map(|bit| bit.name)
        .collect();
    if off.is_empty() {
        format!("{bits}: isolates")
    } else {
        format!("{bits}: does not isolate, {} off", off.join(" "))
    }
}

/// Groups with more than one device in them: what goes together, goes together.
fn shared_text(nodes: &[TreeNodeRecord]) -> String {
    let mut groups: Vec<u32> = nodes
        .iter()
        .filter_map(|node| node.function.iommu_group)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    let mut text = String::new();
    for group in groups {
        let members: Vec<&str> = nodes
            .iter()
            .filter(|node| node.function.iommu_group == Some(group))
            .filter(|node| node.function.is_bridge != Some(true))
            .map(|node| node.function.address.as_str())
            .collect();
        if members.len() > 1 {
            text.push_str(&format!(
                "group {group} ties together {}\n",
                members.join(", ")
            ));
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("\n{}", plain_lines(&text)),
    }
}

fn plain_lines(text: &str) -> String {
    text.lines()
        .map(|line| format!("{}\n", plain(line)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;
    use crate::sample;
    use crate::seen::Seen;
    use crate::view::View;

    fn picture(seen: &Seen) -> String {
        let names = Names::default();
        tree_text(
            &View {
                seen,
                names: &names,
            }
            .tree(),
        )
    }

    #[test]
    fn the_picture_shows_ports_groups_and_what_is_tied_together() {
        assert_eq!(
            picture(&sample::desktop()),
            "\
ADDRESS             GROUP  DRIVER         NAME                                          KIND
root bus 0000:00
├─ 0000:00:00.0     0      -              Intel 8th Gen Core Processor Host Bridge/DR…  root complex endpoint
├─ 0000:00:01.0     1      pcieport       Intel 6th-10th Gen Core Processor PCIe Cont…  root port, ACS sv+ tb- rr+ cr+ uf+: isolates
│  ├─ 0000:01:00.0  12     vfio-pci       NVIDIA AD102 [GeForce RTX 4090]               endpoint
│  └─ 0000:01:00.1  12     snd_hda_intel  NVIDIA AD102 High Definition Audio Controll…  endpoint
├─ 0000:00:02.0     2      pcieport       Intel 6th-10th Gen Core Processor PCIe Cont…  root port, ACS sv+ tb- rr- cr- uf+: does not isolate, rr cr off
│  └─ 0000:02:00.0  13     vfio-pci       AMD/ATI Navi 31 [Radeon RX 7900 XT/7900 XTX…  endpoint
└─ 0000:00:03.0     14     pcieport       Intel 6th-10th Gen Core Processor PCIe Cont…  root port, no ACS
   ├─ 0000:03:00.0  14     nvme           Samsung Electronics NVMe SSD Controller PM9…  endpoint
   └─ 0000:03:00.1  14     xhci_hcd       ASMedia Technology ASM2142/ASM3142 USB 3.1…   endpoint
root bus 0000:04
└─ 0000:04:00.0     -      -              Realtek Semiconductor RTL8111/8168/8211/841…  endpoint

group 12 ties together 0000:01:00.0, 0000:01:00.1
group 14 ties together 0000:03:00.0, 0000:03:00.1
"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_not_called_absent() {
        let text = picture(&sample::desktop_unseen());
        let port = text.lines().find(|line| line.contains("0000:00:01.0"));
        assert_eq!(
            port,
            Some(
                "├─ 0000:00:01.0     1      pcieport       \
                 Intel 6th-10th Gen Core Processor PCIe Cont…  bridge, ACS: cannot see"
            )
        );
    }
}
