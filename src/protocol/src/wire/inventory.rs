//! The machine as it was seen.

use vfioctl_core::acs::Acs;
use vfioctl_core::config::{HeaderType, PcieType};
use vfioctl_core::pci::{Bar, BarKind, ClassCode, GroupId, Identity, PciFunction, SriovRole};
use vfioctl_core::{Answer, HostUse, Problem, Snapshot};

use super::{WireError, long, number, parse};
use crate::inventory as io;

/// Names of the fields that can be hidden, as the interface has them.
mod hidden {
    pub(super) const HEADER_TYPE: &str = "header_type";
    pub(super) const MULTIFUNCTION: &str = "multifunction";
    pub(super) const PCIE_TYPE: &str = "pcie_type";
    pub(super) const ACS: &str = "acs";
    pub(super) const DRIVER_OVERRIDE: &str = "driver_override";
}

/// A snapshot.
pub fn snapshot(snapshot: &Snapshot) -> io::Describe_Reply {
    let uses = snapshot.host_uses.iter().flat_map(|(address, uses)| {
        uses.iter().map(|host_use| {
            let (kind, what) = match host_use {
                HostUse::Disk { mount_point } => (io::HostUse_kind::disk, mount_point.as_str()),
                HostUse::Swap { device } => (io::HostUse_kind::swap, device.as_str()),
                HostUse::Network { interface } => (io::HostUse_kind::network, interface.as_str()),
                HostUse::Console => (io::HostUse_kind::console, ""),
                HostUse::Keyboard { name } => (io::HostUse_kind::keyboard, name.as_str()),
            };
            io::HostUse {
                address: address.to_string(),
                kind,
                what: what.to_owned(),
            }
        })
    });
    io::Describe_Reply {
        functions: snapshot.functions.values().map(function).collect(),
        host_uses: uses.collect(),
        hidden_storage: snapshot.hidden_storage.clone(),
        hidden_network: snapshot.hidden_network.clone(),
        problems: snapshot.problems.iter().map(problem).collect(),
    }
}

/// A snapshot from the wire.
///
/// # Errors
/// The first field that is not what it should be.
pub fn snapshot_from_wire(reply: &io::Describe_Reply) -> Result<Snapshot, WireError> {
    let mut snapshot = Snapshot {
        hidden_storage: reply.hidden_storage.clone(),
        hidden_network: reply.hidden_network.clone(),
        problems: reply.problems.iter().map(problem_from_wire).collect(),
        ..Snapshot::default()
    };
    for function in &reply.functions {
        let function = function_from_wire(function)?;
        snapshot.functions.insert(function.address, function);
    }
    for used in &reply.host_uses {
        let what = used.what.clone();
        let host_use = match used.kind {
            io::HostUse_kind::disk => HostUse::Disk { mount_point: what },
            io::HostUse_kind::swap => HostUse::Swap { device: what },
            io::HostUse_kind::network => HostUse::Network { interface: what },
            io::HostUse_kind::console => HostUse::Console,
            io::HostUse_kind::keyboard => HostUse::Keyboard { name: what },
        };
        snapshot
            .host_uses
            .entry(parse("address", &used.address)?)
            .or_default()
            .push(host_use);
    }
    Ok(snapshot)
}

fn problem(problem: &Problem) -> io::Problem {
    io::Problem {
        subject: problem.subject.clone(),
        because: problem.because.clone(),
    }
}

fn problem_from_wire(problem: &io::Problem) -> Problem {
    Problem {
        subject: problem.subject.clone(),
        because: problem.because.clone(),
    }
}

fn function(function: &PciFunction) -> io::Function {
    let mut hidden = Vec::new();
    let (physical_function, total_virtual_functions, virtual_functions) = match &function.sriov {
        SriovRole::None => (None, None, Vec::new()),
        SriovRole::Virtual { physical } => (Some(physical.to_string()), None, Vec::new()),
        SriovRole::Physical {
            virtual_functions,
            total,
        } => {
            let names = virtual_functions.iter().map(ToString::to_string).collect();
            (None, Some(i64::from(*total)), names)
        }
    };
    io::Function {
        address: function.address.to_string(),
        vendor: function.identity.vendor.into(),
        device: function.identity.device.into(),
        subsystem_vendor: function.identity.subsystem_vendor.into(),
        subsystem_device: function.identity.subsystem_device.into(),
        class: function.class.code().into(),
        revision: function.revision.into(),
        upstream: function.upstream.map(|address| address.to_string()),
        header_type: open(function.header_type, hidden::HEADER_TYPE, &mut hidden)
            .map(|header_type| header_type.layout().into()),
        multifunction: open(
            function.multifunction_bit,
            hidden::MULTIFUNCTION,
            &mut hidden,
        ),
        config_bytes_seen: function.config_bytes_seen.into(),
        pcie_type: open(function.pcie_type, hidden::PCIE_TYPE, &mut hidden)
            .flatten()
            .map(|pcie_type| pcie_type.bits().into()),
        acs: open(function.acs, hidden::ACS, &mut hidden)
            .flatten()
            .map(|acs| io::Acs {
                capability: acs.capability().into(),
                control: acs.control().into(),
            }),
        driver: function.driver.as_ref().map(ToString::to_string),
        driver_override: open(
            function.driver_override.clone(),
            hidden::DRIVER_OVERRIDE,
            &mut hidden,
        )
        .flatten(),
        iommu_group: function.iommu_group.map(|group| group.0.into()),
        numa_node: function.numa_node.map(Into::into),
        bars: function.bars.iter().map(bar).collect(),
        reset_methods: function.reset_methods.clone(),
        power_state: function.power_state.clone(),
        boot_vga: function.boot_vga,
        physical_function,
        total_virtual_functions,
        virtual_functions,
        problems: function.problems.iter().map(problem).collect(),
        hidden,
    }
}

fn open<T>(answer: Answer<T>, name: &str, hidden: &mut Vec<String>) -> Option<T> {
    if matches!(answer, Answer::CannotSee) {
        hidden.push(name.to_owned());
    }
    answer.known()
}

fn function_from_wire(wire: &io::Function) -> Result<PciFunction, WireError> {
    let is_hidden = |name: &str| wire.hidden.iter().any(|hidden| hidden == name);
    let sriov = match (&wire.physical_function, wire.total_virtual_functions) {
        (Some(physical), _) => SriovRole::Virtual {
            physical: parse("physical_function", physical)?,
        },
        (None, Some(total)) => SriovRole::Physical {
            virtual_functions: wire
                .virtual_functions
                .iter()
                .map(|at| parse("virtual_functions", at))
                .collect::<Result<_, _>>()?,
            total: number("total_virtual_functions", total)?,
        },
        (None, None) => SriovRole::None,
    };
    let layout = wire
        .header_type
        .map(|layout| number::<u8>("header_type", layout))
        .transpose()?;
    let pcie = wire
        .pcie_type
        .map(|bits| number::<u8>("pcie_type", bits))
        .transpose()?;
    let class = ClassCode::new(number("class", wire.class)?);
    let out_of_range = || WireError {
        field: "class",
        because: "has more than three bytes".into(),
    };
    Ok(PciFunction {
        address: parse("address", &wire.address)?,
        identity: Identity {
            vendor: number("vendor", wire.vendor)?,
            device: number("device", wire.device)?,
            subsystem_vendor: number("subsystem_vendor", wire.subsystem_vendor)?,
            subsystem_device: number("subsystem_device", wire.subsystem_device)?,
        },
        class: class.ok_or_else(out_of_range)?,
        revision: number("revision", wire.revision)?,
        upstream: wire
            .upstream
            .as_deref()
            .map(|at| parse("upstream", at))
            .transpose()?,
        header_type: layout
            .map(HeaderType::from_layout)
            .map_or(Answer::CannotSee, Answer::Known),
        multifunction_bit: wire.multifunction.map_or(Answer::CannotSee, Answer::Known),
        config_bytes_seen: number("config_bytes_seen", wire.config_bytes_seen)?,
        pcie_type: seen(is_hidden(hidden::PCIE_TYPE), pcie.map(PcieType::from_bits)),
        acs: seen(
            is_hidden(hidden::ACS),
            wire.acs.as_ref().map(acs_from_wire).transpose()?,
        ),
        driver: wire
            .driver
            .as_deref()
            .map(|name| parse("driver", name))
            .transpose()?,
        driver_override: seen(
            is_hidden(hidden::DRIVER_OVERRIDE),
            wire.driver_override.clone(),
        ),
        iommu_group: wire
            .iommu_group
            .map(|n| number("iommu_group", n))
            .transpose()?
            .map(GroupId),
        numa_node: wire
            .numa_node
            .map(|node| number("numa_node", node))
            .transpose()?,
        bars: wire
            .bars
            .iter()
            .map(bar_from_wire)
            .collect::<Result<_, _>>()?,
        reset_methods: wire.reset_methods.clone(),
        power_state: wire.power_state.clone(),
        boot_vga: wire.boot_vga,
        sriov,
        problems: wire.problems.iter().map(problem_from_wire).collect(),
    })
}

fn seen<T>(is_hidden: bool, fact: T) -> Answer<T> {
    if is_hidden {
        Answer::CannotSee
    } else {
        Answer::Known(fact)
    }
}

fn acs_from_wire(acs: &io::Acs) -> Result<Acs, WireError> {
    Ok(Acs::new(
        number("capability", acs.capability)?,
        number("control", acs.control)?,
    ))
}

fn bar(bar: &Bar) -> io::Bar {
    io::Bar {
        index: bar.index.into(),
        kind: match bar.kind {
            BarKind::Memory32 => io::Bar_kind::memory32,
            BarKind::Memory64 => io::Bar_kind::memory64,
            BarKind::Io => io::Bar_kind::io,
            BarKind::Rom => io::Bar_kind::rom,
        },
        prefetchable: bar.prefetchable,
        size: long(bar.size_bytes),
    }
}

fn bar_from_wire(bar: &io::Bar) -> Result<Bar, WireError> {
    Ok(Bar {
        index: number("index", bar.index)?,
        kind: match bar.kind {
            io::Bar_kind::memory32 => BarKind::Memory32,
            io::Bar_kind::memory64 => BarKind::Memory64,
            io::Bar_kind::io => BarKind::Io,
            io::Bar_kind::rom => BarKind::Rom,
        },
        prefetchable: bar.prefetchable,
        size_bytes: number("size", bar.size)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function_at(address: &str) -> PciFunction {
        PciFunction {
            address: address.parse().unwrap(),
            identity: Identity {
                vendor: 0x10de,
                device: 0x2684,
                subsystem_vendor: 0x10de,
                subsystem_device: 0x16f3,
            },
            class: ClassCode::new(0x03_0000).unwrap(),
            revision: 0xa1,
            upstream: "0000:00:01.0".parse().ok(),
            header_type: Answer::Known(HeaderType::Normal),
            multifunction_bit: Answer::Known(true),
            config_bytes_seen: 4096,
            pcie_type: Answer::Known(Some(PcieType::Endpoint)),
            acs: Answer::Known(Some(Acs::new(0x5f, 0x1d))),
            driver: "nvidia".parse().ok(),
            driver_override: Answer::Known(Some("nvidia".into())),
            iommu_group: Some(GroupId(12)),
            numa_node: Some(1),
            bars: vec![Bar {
                index: 1,
                kind: BarKind::Memory64,
                prefetchable: true,
                size_bytes: 32 << 30,
            }],
            reset_methods: vec!["flr".into(), "bus".into()],
            power_state: Some("D0".into()),
            boot_vga: Some(true),
            sriov: SriovRole::Physical {
                virtual_functions: Vec::new(),
                total: 16,
            },
            problems: vec![Problem {
                subject: "/sys/x".into(),
                because: "no".into(),
            }],
        }
    }

    #[test]
    fn a_machine_survives_the_journey_seen_and_unseen() {
        let seen = function_at("0000:01:00.0");
        let mut unseen = function_at("0000:01:00.1");
        unseen.header_type = Answer::CannotSee;
        unseen.multifunction_bit = Answer::CannotSee;
        unseen.pcie_type = Answer::CannotSee;
        unseen.acs = Answer::CannotSee;
        unseen.driver_override = Answer::CannotSee;
        unseen.sriov = SriovRole::Virtual {
            physical: seen.address,
        };
        let mut machine = Snapshot {
            hidden_storage: Some("/".into()),
            ..Snapshot::default()
        };
        machine.host_uses.insert(
            seen.address,
            vec![HostUse::Network {
                interface: "e".into(),
            }],
        );
        machine.functions.insert(seen.address, seen);
        machine.functions.insert(unseen.address, unseen);
        assert_eq!(snapshot_from_wire(&snapshot(&machine)), Ok(machine));
    }
}
