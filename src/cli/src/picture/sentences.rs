//! The sentences: what the machine comes to, and for each GPU that is tied down, who is to blame
//! and what helps.

use std::collections::{BTreeMap, BTreeSet};

use vfioctl_core::Snapshot;
use vfioctl_core::iommu::{Blocker, Decision, Explanation, Separation, Verdict, predict};
use vfioctl_core::pci::PciAddress;

use super::caption::{Addresses, blocked_words};
use super::forest::{Forest, Index};
use super::grouping::{Group, GroupKind, Grouping, is_device, is_gpu};

/// How many addresses a sentence names.
const NAMED: usize = 6;
/// How many remedies a sentence names: they stand in the order to try.
const REMEDIES: usize = 2;

/// What there is to say.
#[derive(Debug, Default)]
pub(super) struct Sentences {
    /// The one that is read first.
    pub(super) headline: String,
    /// One for each group with GPUs that are tied down, and for what is not true.
    pub(super) each: Vec<String>,
}

/// Finds what there is to say.
pub(super) fn find_sentences(
    snapshot: &Snapshot,
    separation: &Separation,
    forest: &Forest<'_>,
    grouping: &Grouping,
) -> Sentences {
    let addresses = Addresses::of(snapshot);
    let prediction = predict(separation.topology(), separation.platform());
    let explanations: BTreeMap<PciAddress, &Explanation> = prediction
        .explanations
        .iter()
        .map(|explanation| (explanation.address, explanation))
        .collect();
    let address = |index: &Index| forest.node(*index).map(|node| node.function.address);
    let mut each = Vec::new();
    let mut named = BTreeSet::new();
    for group in &grouping.groups {
        let gpus = slots(
            group.members.iter().filter(|index| is_gpu(forest, **index)),
            address,
        );
        let devices = slots(
            group
                .members
                .iter()
                .filter(|index| is_device(forest, **index)),
            address,
        );
        let Some(first) = gpus.first() else { continue };
        if group.kind == GroupKind::GpuShared {
            let others: Vec<PciAddress> = devices
                .iter()
                .filter(|at| !gpus.iter().any(|gpu| gpu.is_same_slot(**at)))
                .copied()
                .collect();
            let with = if others.is_empty() {
                "each other".to_owned()
            } else {
                addresses.list(&others, NAMED)
            };
            let verb = if gpus.len() == 1 { "is" } else { "are" };
            let mut text = format!(
                "Group {}: {} {verb} tied to {with}.",
                group.name,
                addresses.list(&gpus, NAMED),
            );
            if let Some(explanation) = explanations.get(first) {
                let mut blockers: Vec<Blocker> = gpus
                    .iter()
                    .filter_map(|gpu| explanations.get(gpu))
                    .flat_map(|explanation| explanation.blockers.iter().copied())
                    .collect();
                blockers.sort_by_key(|blocker| blocker.address);
                blockers.dedup();
                text.push_str(&blame(addresses, explanation, &blockers));
            }
            each.push(text);
        }
        // The devices of a switch are named with the first of them.
        if let Some(lie) = group.lie
            && !named.contains(&(lie, *first))
        {
            each.push(lie_sentence(separation, addresses, &gpus, lie, &mut named));
        }
    }
    let free: Vec<PciAddress> = forest
        .nodes()
        .iter()
        .enumerate()
        .filter(|(index, _)| grouping.number(*index).is_none() && is_gpu(forest, *index))
        .map(|(_, node)| node.function.address)
        .collect();
    if !free.is_empty() {
        each.push(format!(
            "No group: no IOMMU covers {}. What no IOMMU covers cannot be given away.",
            addresses.list(&free, NAMED)
        ));
    }
    Sentences {
        headline: headline(forest, grouping, free.len()),
        each,
    }
}

fn blame(addresses: Addresses, explanation: &Explanation, blockers: &[Blocker]) -> String {
    let who = match explanation.decision {
        Decision::Bridge(..) => {
            let mut ports: Vec<String> = blockers
                .iter()
                .take(NAMED)
                .map(|blocker| {
                    let why = blocked_words(blocker.because);
                    format!("{} ({why})", addresses.text(blocker.address))
                })
                .collect();
            let left = blockers.len().saturating_sub(NAMED);
            if left > 0 {
                ports.push(format!("and {left} more"));
            }
            format!(" To blame: {}.", ports.join(", "))
        }
        Decision::Alone => {
            return " The registers would separate it now: the kernel grouped before they were \
                    set. What helps: start the machine again."
                .to_owned();
        }
        Decision::Hidden => " Who is to blame could not be seen.".to_owned(),
        decision => format!(" To blame: {}.", addresses.shorten(&decision.to_string())),
    };
    let remedies: Vec<String> = explanation
        .remedies
        .iter()
        .take(REMEDIES)
        .map(|remedy| addresses.shorten(&remedy.to_string()))
        .collect();
    if remedies.is_empty() {
        who
    } else {
        format!("{who} What helps: {}.", remedies.join("; or "))
    }
}

fn lie_sentence(
    separation: &Separation,
    addresses: Addresses,
    gpus: &[PciAddress],
    lie: Verdict,
    named: &mut BTreeSet<(Verdict, PciAddress)>,
) -> String {
    let audit = gpus.first().and_then(|gpu| separation.audit(*gpu));
    let mut partners = audit.map_or_else(Vec::new, |audit| match lie {
        Verdict::OpenSwitch => audit.switch_partners,
        _ => audit.register_partners,
    });
    partners.retain(|at| at.function() == 0);
    named.extend(partners.iter().map(|at| (lie, *at)));
    let reach = if partners.is_empty() {
        String::new()
    } else {
        format!(" and {}", addresses.list(&partners, NAMED))
    };
    let why = match lie {
        Verdict::Asserted => "are separated because 'pcie_acs_override=' says so, not by hardware",
        Verdict::OpenSwitch => {
            "are separated by the kernel, yet their switch may send from one to the other: its \
             ports do not isolate"
        }
        Verdict::Stale => "were separated once, and ACS bits have been cleared since",
        _ => "are separated by the kernel, and no register that can be seen says why",
    };
    format!(
        "In name only: {}{reach} {why}. Give them to one owner only.",
        addresses.list(gpus, NAMED)
    )
}

fn headline(forest: &Forest<'_>, grouping: &Grouping, free: usize) -> String {
    let count = |wanted: &dyn Fn(&Group) -> bool| -> usize {
        let groups = grouping.groups.iter().filter(|group| wanted(group));
        let gpus = groups.map(|group| {
            let gpus = group.members.iter().filter(|index| is_gpu(forest, **index));
            gpus.count()
        });
        gpus.sum()
    };
    let alone = count(&|group| group.kind == GroupKind::GpuAlone && group.lie.is_none());
    let lies = count(&|group| group.kind == GroupKind::GpuAlone && group.lie.is_some());
    let shared = count(&|group| group.kind == GroupKind::GpuShared);
    let all = alone + lies + shared + free;
    if all == 0 {
        return format!(
            "{} functions in {} groups; no GPU among them.",
            forest.nodes().len(),
            grouping.groups.len()
        );
    }
    let mut clauses = Vec::new();
    for (number, one, many) in [
        (
            alone,
            "has its group for itself",
            "have their groups for themselves",
        ),
        (
            shared,
            "is tied to other devices",
            "are tied to other devices",
        ),
        (
            lies,
            "is separated in name only",
            "are separated in name only",
        ),
        (free, "is covered by no IOMMU", "are covered by no IOMMU"),
    ] {
        if number > 0 {
            let many_or_one = if number == 1 { one } else { many };
            clauses.push(match number == all {
                true if all > 1 => format!("all {many_or_one}"),
                _ => format!("{number} {many_or_one}"),
            });
        }
    }
    let gpus = if all == 1 { "1 GPU" } else { "GPUs" };
    if all == 1 {
        format!("{gpus}: {}.", clauses.join(", ").replacen("1 ", "it ", 1))
    } else {
        format!("{all} {gpus}: {}.", clauses.join(", "))
    }
}

/// The first function of each slot among some.
fn slots<'a>(
    indices: impl Iterator<Item = &'a Index>,
    address: impl Fn(&Index) -> Option<PciAddress>,
) -> Vec<PciAddress> {
    let mut found: Vec<PciAddress> = indices.filter_map(address).collect();
    found.sort_unstable();
    found.dedup_by(|later, earlier| later.is_same_slot(*earlier));
    found
}
