//! A view: what is seen, put into records with names.

use vfioctl_core::acs::{Acs, BIT_NAMES, REQUIRED};
use vfioctl_core::iommu::{Viability, viability};
use vfioctl_core::pci::{Bar, BarKind, GroupId, PciAddress, PciFunction, SriovRole, tree_lines};
use vfioctl_core::{Answer, Problem};

use crate::limits;
use crate::names::Names;
use crate::record::{
    AcsBitRecord, AcsRecord, BarRecord, FunctionRecord, GroupRecord, OwnerRecord, PinRecord,
    ProblemRecord, ShowRecord, SpoilerRecord, SriovRecord, TreeNodeRecord, UpstreamRecord,
    ViabilityKind,
};
use crate::seen::Seen;
use crate::state::find_state;

/// What is seen, and the names that go with it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// What is seen.
    pub(crate) seen: &'a Seen,
    /// The names.
    pub(crate) names: &'a Names,
}

impl<'a> View<'a> {
    /// A function, as lists have it.
    pub(crate) fn function(self, function: &PciFunction) -> FunctionRecord {
        let identity = function.identity;
        FunctionRecord {
            address: function.address.to_string(),
            vendor_id: format!("{:04x}", identity.vendor),
            device_id: format!("{:04x}", identity.device),
            vendor: self.names.vendor(identity).map(Into::into),
            device: self.names.device(identity).map(Into::into),
            name: self.names.line(function),
            class_code: function.class.to_string(),
            class: self.names.class(function.class).map(Into::into),
            is_bridge: function.is_bridge().known(),
            driver: function.driver.as_ref().map(ToString::to_string),
            iommu_group: function.iommu_group.map(|group| group.0),
            pinned: self.seen.is_pinned(function.address),
            containers: self.seen.containers_at(function.address).map(|claims| {
                let owners = claims.into_iter().map(OwnerRecord::of);
                owners.collect()
            }),
            state: find_state(self.seen, function.address),
        }
    }

    fn members(self, group: GroupId) -> impl Iterator<Item = &'a PciFunction> {
        self.seen.index().members(&self.seen.snapshot, group)
    }

    /// One group.
    pub(crate) fn group(self, group: GroupId) -> GroupRecord {
        let (viability, spoilers) = match viability(self.members(group)) {
            Viability::Viable => (ViabilityKind::Viable, Vec::new()),
            Viability::Unbound => (ViabilityKind::Unbound, Vec::new()),
            Viability::Spoiled(spoilers) => (ViabilityKind::Spoiled, spoilers),
        };
        let spoiler = |address: PciAddress, driver: String| SpoilerRecord {
            address: address.to_string(),
            driver,
        };
        GroupRecord {
            group: group.0,
            viability,
            spoilers: spoilers
                .into_iter()
                .map(|each| spoiler(each.address, each.driver.to_string()))
                .collect(),
            members: self
                .members(group)
                .map(|each| self.function(each))
                .collect(),
        }
    }

    /// Everything about one function.
    pub(crate) fn show(self, function: &PciFunction) -> ShowRecord {
        let identity = function.identity;
        let mut hidden = Vec::new();
        let pins = self.seen.pins_at(function.address);
        let host_uses = self.seen.snapshot.host_uses.get(&function.address);
        ShowRecord {
            seen_by: self.seen.by,
            function: self.function(function),
            subsystem_vendor_id: format!("{:04x}", identity.subsystem_vendor),
            subsystem_device_id: format!("{:04x}", identity.subsystem_device),
            subsystem: self.names.subsystem(identity).map(Into::into),
            revision: format!("{:02x}", function.revision),
            driver_override: open(
                function.driver_override.clone(),
                "driver_override",
                &mut hidden,
            )
            .flatten(),
            group: function.iommu_group.map(|group| self.group(group)),
            pins: pins.map(|pins| pins.into_iter().map(PinRecord::of).collect()),
            host_uses: host_uses
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect(),
            numa_node: function.numa_node,
            bars: function.bars.iter().map(bar).collect(),
            reset_methods: function.reset_methods.clone(),
            power_state: function.power_state.clone(),
            boot_vga: function.boot_vga,
            sriov: sriov(&function.sriov),
            pcie_type: pcie_type(function, &mut hidden),
            acs: acs(function, &mut hidden),
            multifunction_bit: open(function.multifunction_bit, "multifunction_bit", &mut hidden),
            config_bytes_seen: function.config_bytes_seen,
            upstream: self.upstream(function),
            hidden,
            problems: function.problems.iter().map(problem).collect(),
        }
    }

    /// Every function, in the order of the drawing.
    pub(crate) fn tree(self) -> Vec<TreeNodeRecord> {
        let lines = tree_lines(&self.seen.snapshot.functions).into_iter();
        let node = |line: vfioctl_core::pci::TreeLine<'_>| {
            let mut hidden = Vec::new();
            TreeNodeRecord {
                depth: line.open_levels.len(),
                open_levels: line.open_levels,
                is_last: line.is_last,
                upstream: line.function.upstream.map(|above| above.to_string()),
                function: self.function(line.function),
                pcie_type: pcie_type(line.function, &mut hidden),
                acs: acs(line.function, &mut hidden),
                hidden,
            }
        };
        lines.map(node).collect()
    }

    /// What could not be read.
    pub(crate) fn problems(self) -> Vec<ProblemRecord> {
        self.seen.snapshot.problems.iter().map(problem).collect()
    }

    /// The bridges above, nearest first.
    fn upstream(self, function: &PciFunction) -> Vec<UpstreamRecord> {
        let snapshot = &self.seen.snapshot;
        let above = |function: &&PciFunction| {
            function
                .upstream
                .and_then(|address| snapshot.function(address))
        };
        let bridges = std::iter::successors(above(&function), above).take(limits::UPSTREAM_PATH);
        let bridge = |bridge: &PciFunction| UpstreamRecord {
            address: bridge.address.to_string(),
            name: self.names.line(bridge),
            pcie_type: pcie_type(bridge, &mut Vec::new()),
        };
        bridges.map(bridge).collect()
    }
}

fn open<T>(answer: Answer<T>, name: &'static str, hidden: &mut Vec<&'static str>) -> Option<T> {
    if matches!(answer, Answer::CannotSee) {
        hidden.push(name);
    }
    answer.known()
}

fn pcie_type(function: &PciFunction, hidden: &mut Vec<&'static str>) -> Option<String> {
    open(function.pcie_type, "pcie_type", hidden)
        .flatten()
        .map(|kind| kind.to_string())
}

fn acs(function: &PciFunction, hidden: &mut Vec<&'static str>) -> Option<AcsRecord> {
    open(function.acs, "acs", hidden).flatten().map(acs_record)
}

pub(crate) fn acs_record(acs: Acs) -> AcsRecord {
    let offered = BIT_NAMES
        .iter()
        .filter(|(bit, _)| acs.capability() & bit != 0);
    AcsRecord {
        capability: acs.capability(),
        control: acs.control(),
        bits: offered
            .map(|(bit, name)| AcsBitRecord {
                name,
                is_on: acs.control() & bit != 0,
                is_required: REQUIRED & bit != 0,
            })
            .collect(),
        is_isolating: acs.is_isolating(),
    }
}

fn bar(bar: &Bar) -> BarRecord {
    BarRecord {
        index: bar.index,
        kind: match bar.kind {
            BarKind::Memory32 => "memory32",
            BarKind::Memory64 => "memory64",
            BarKind::Io => "io",
            BarKind::Rom => "rom",
        },
        prefetchable: bar.prefetchable,
        size_bytes: bar.size_bytes,
    }
}

fn sriov(role: &SriovRole) -> Option<SriovRecord> {
    match role {
        SriovRole::None => None,
        SriovRole::Physical {
            virtual_functions,
            total,
        } => Some(SriovRecord::Physical {
            virtual_functions: virtual_functions.iter().map(ToString::to_string).collect(),
            total: *total,
        }),
        SriovRole::Virtual { physical } => Some(SriovRecord::Virtual {
            physical: physical.to_string(),
        }),
    }
}

fn problem(problem: &Problem) -> ProblemRecord {
    ProblemRecord {
        subject: problem.subject.clone(),
        because: problem.because.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_ring_of_bridges_ends() {
        let mut seen = sample::desktop();
        let bridge = "0000:00:01.0".parse().unwrap();
        seen.snapshot.functions.get_mut(&bridge).unwrap().upstream = Some(bridge);
        let names = Names::default();
        let view = View {
            seen: &seen,
            names: &names,
        };
        let gpu = seen
            .snapshot
            .function("0000:01:00.0".parse().unwrap())
            .unwrap();
        assert_eq!(view.show(gpu).upstream.len(), limits::UPSTREAM_PATH);
    }

    #[test]
    fn a_hidden_field_is_null_and_named() {
        let mut seen = sample::desktop();
        let address = "0000:01:00.0".parse().unwrap();
        seen.snapshot.functions.get_mut(&address).unwrap().acs = Answer::CannotSee;
        let names = Names::default();
        let gpu = seen.snapshot.function(address).unwrap();
        let record = View {
            seen: &seen,
            names: &names,
        }
        .show(gpu);
        assert_eq!((record.acs, record.hidden), (None, vec!["acs"]));
    }
}
