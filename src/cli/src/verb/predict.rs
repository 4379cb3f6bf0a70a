//! `vfioctl groups --predict`: the groups that Linux would make now, beside those that it has.

use vfioctl_core::iommu::{Difference, DifferenceKind, OpenSwitch, Separation, Topology};
use vfioctl_core::pci::PciAddress;
use vfioctl_scan::read_platform;

use super::dump::only;
use crate::Done;
use crate::command_line::GroupsArgs;
use crate::names::Names;
use crate::prediction::predicted;
use crate::seen::read_seen;
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl groups --predict`: no where the kernel's groups are others.
pub(super) fn run(arguments: &GroupsArgs, session: &mut Session<'_>) -> Done {
    let seen = read_seen(session)?;
    let root = session.root()?;
    let platform = read_platform(&root);
    let mut topology = Topology::of(&seen.snapshot);
    if arguments.at_boot {
        topology = topology.at_boot(&platform.acs_parameters);
    }
    let names = Names::read(&root);
    let mut record = predicted(&topology, &seen.snapshot, &platform, &[], &names);
    record.only = only(&arguments.functions, &seen.snapshot)?;
    let separation = Separation::of(&seen.snapshot, &platform);
    if !arguments.at_boot && separation.sees_everything() {
        record.notes = notes(&separation);
    }
    let differs = record.kernel.as_ref().and_then(|kernel| kernel.equal) == Some(false);
    session.output.answer(&record)?;
    Ok(if differs { Verdict::No } else { Verdict::Yes })
}

/// What the differences mean.
fn notes(separation: &Separation) -> Vec<String> {
    let differences = separation.differences();
    let switches = separation.open_switches();
    let differences = differences.iter().map(difference);
    differences
        .chain(switches.iter().map(open_switch))
        .collect()
}

fn difference(difference: &Difference) -> String {
    let members: Vec<PciAddress> = difference.kernel.iter().flatten().copied().collect();
    let (members, ports) = (listed(&members), listed(&difference.bits_off));
    match difference.kind {
        DifferenceKind::Finer if !difference.bits_off.is_empty() => format!(
            "stale groups: the kernel separates {members} as it found them, and ACS bits of \
             {ports} have been cleared since; this separation is not real"
        ),
        DifferenceKind::Finer => format!(
            "the kernel separates {members}, and nothing that can be seen does: it groups \
             otherwise (its quirk table may be newer), or functions were removed and found again \
             one by one"
        ),
        DifferenceKind::Coarser => format!(
            "the kernel joins {members} as it found them; the registers separate them by now, and \
             'vfioctl acs override' lets the kernel find them again"
        ),
        DifferenceKind::Other => format!("the kernel groups {members} otherwise"),
    }
}

fn open_switch(switch: &OpenSwitch) -> String {
    format!(
        "the ports {} of the switch {} do not isolate: the kernel separates what is behind them, \
         the switch may route between them",
        listed(&switch.ports),
        switch.upstream_port
    )
}

/// How many functions are named before the rest is counted.
const NAMED: usize = 6;

fn listed(addresses: &[PciAddress]) -> String {
    let mut text: Vec<String> = addresses
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    let more = addresses.len().saturating_sub(NAMED);
    if more > 0 {
        text.push(format!("{more} more"));
    }
    text.join(", ")
}
