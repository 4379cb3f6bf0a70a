//! A prediction, put into a record with names.

use std::collections::{BTreeMap, BTreeSet};

use vfioctl_core::Snapshot;
use vfioctl_core::acs::{BIT_NAMES, Platform, Reason, TABLE_DATE};
use vfioctl_core::iommu::{
    ALGORITHM, Blocker, Decision, Explanation, GroupIndex, Prediction, Remedy, Topology, predict,
};
use vfioctl_core::pci::{PciAddress, PciFunction};

use crate::limits;
use crate::names::Names;
use crate::record::{
    BlockerRecord, GroupDifferenceRecord, KernelGroupsRecord, PredictionRecord, RemedyRecord,
    WhyRecord,
};

type Groups = Vec<Vec<PciAddress>>;

/// What Linux is predicted to make of a machine, beside what it has made of it.
///
/// `topology` is the snapshot's, or differs from it in its registers. `missing_bridges` are those
/// that must be there and that the snapshot does not hold.
pub(crate) fn predicted(
    topology: &Topology,
    snapshot: &Snapshot,
    platform: &Platform,
    missing_bridges: &[String],
    names: &Names,
) -> PredictionRecord {
    let prediction = predict(topology, platform);
    let why = prediction.explanations.iter().filter_map(|explanation| {
        let function = snapshot.function(explanation.address)?;
        Some((
            explanation.address.to_string(),
            why(explanation, function, names),
        ))
    });
    PredictionRecord {
        only: Vec::new(),
        why: why.collect(),
        partial: !missing_bridges.is_empty(),
        missing_bridges: missing_bridges.to_vec(),
        uncertain: texts(prediction.uncertain.iter()),
        notes: Vec::new(),
        algorithm: ALGORITHM,
        quirk_table: TABLE_DATE,
        kernel: kernel(snapshot, &prediction),
        groups: all_texts(&prediction.groups),
    }
}

fn why(explanation: &Explanation, function: &PciFunction, names: &Names) -> WhyRecord {
    let decision = explanation.decision;
    let because = decision.because();
    WhyRecord {
        vendor_id: format!("{:04x}", function.identity.vendor),
        device_id: format!("{:04x}", function.identity.device),
        class_code: function.class.to_string(),
        name: names.line(function),
        is_bridge: function.is_bridge().known(),
        is_gpu: function.class.is_gpu(),
        group: Some(explanation.group).filter(|_| decision != Decision::NotCovered),
        decision: decision.name(),
        decided_by: decision.decided_by().map(|address| address.to_string()),
        because: because.map(Reason::name),
        missing: bit_names(because.map_or(0, Reason::missing_bits)),
        blockers: blockers(&explanation.blockers),
        remedies: explanation.remedies.iter().map(remedy).collect(),
        text: decision.to_string(),
    }
}

/// The nearest ones, and always the last, which decides.
fn blockers(all: &[Blocker]) -> Vec<BlockerRecord> {
    let (last, others) = all.split_last().unzip();
    others
        .unwrap_or_default()
        .iter()
        .take(limits::BLOCKERS)
        .chain(last)
        .map(blocker)
        .collect()
}

fn blocker(blocker: &Blocker) -> BlockerRecord {
    BlockerRecord {
        address: blocker.address.to_string(),
        because: blocker.because.name(),
        missing: bit_names(blocker.because.missing_bits()),
        text: blocker.because.to_string(),
    }
}

fn remedy(remedy: &Remedy) -> RemedyRecord {
    RemedyRecord {
        name: remedy.name(),
        text: remedy.to_string(),
    }
}

fn bit_names(bits: u16) -> Vec<&'static str> {
    BIT_NAMES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect()
}

/// The kernel's groups, where the snapshot tells any.
fn kernel(snapshot: &Snapshot, prediction: &Prediction) -> Option<KernelGroupsRecord> {
    let index = GroupIndex::of(snapshot);
    let mut groups: Groups = index
        .groups()
        .map(|group| index.members(snapshot, group).map(|one| one.address))
        .map(Iterator::collect)
        .collect();
    if groups.is_empty() {
        return None;
    }
    groups.sort_unstable();
    let hidden = texts(prediction.uncertain.iter());
    let hidden: BTreeSet<String> = hidden.into_iter().collect();
    let differences = differences(&prediction.groups, &groups);
    let is_decided = |difference: &GroupDifferenceRecord| {
        let mut members = difference.predicted.iter().flatten();
        members.any(|member| !hidden.contains(member))
    };
    Some(KernelGroupsRecord {
        groups: all_texts(&groups),
        equal: match differences.is_empty() {
            false if !differences.iter().any(is_decided) => None,
            is_equal => Some(is_equal),
        },
        differences,
    })
}

/// The groups that are not in both lists, put together with those they overlap.
fn differences(predicted: &Groups, kernel: &Groups) -> Vec<GroupDifferenceRecord> {
    // Both are ordered, and of the same functions.
    let only_in = |one: &Groups, other: &Groups| -> Groups {
        let is_only = |group: &&Vec<PciAddress>| other.binary_search(group).is_err();
        one.iter().filter(is_only).cloned().collect()
    };
    let (predicted, kernel) = (only_in(predicted, kernel), only_in(kernel, predicted));
    let (mut of_predicted, mut of_kernel) = (by_member(&predicted), by_member(&kernel));
    let mut differences = Vec::new();
    for first in &predicted {
        let mut functions = first.clone();
        let (mut left, mut right) = (Groups::new(), Groups::new());
        // Each group is taken once, by whichever of its members comes first.
        while let Some(function) = functions.pop() {
            for (groups, taken) in [(&mut of_predicted, &mut left), (&mut of_kernel, &mut right)] {
                if let Some(group) = groups.remove(&function) {
                    for member in group {
                        groups.remove(member);
                    }
                    functions.extend(group);
                    taken.push(group.clone());
                }
            }
        }
        if !left.is_empty() {
            left.sort_unstable();
            right.sort_unstable();
            differences.push(difference(&left, &right));
        }
    }
    differences
}

/// Each group by each of its members.
fn by_member(groups: &Groups) -> BTreeMap<PciAddress, &Vec<PciAddress>> {
    let pairs = groups
        .iter()
        .flat_map(|group| group.iter().map(move |member| (*member, group)));
    pairs.collect()
}

fn difference(predicted: &Groups, kernel: &Groups) -> GroupDifferenceRecord {
    let first = predicted.iter().chain(kernel).flatten().min();
    let first = first.map(ToString::to_string).unwrap_or_default();
    let text = match (predicted.len(), kernel.len()) {
        (1, parts) if parts > 1 => {
            format!("what is predicted as one group with {first}, the kernel has as {parts}")
        }
        (parts, 1) if parts > 1 => {
            format!("what is predicted as {parts} groups from {first} on, the kernel has as one")
        }
        _ => format!("the groups from {first} on are cut differently"),
    };
    GroupDifferenceRecord {
        predicted: all_texts(predicted),
        kernel: all_texts(kernel),
        text,
    }
}

fn texts<'a>(addresses: impl Iterator<Item = &'a PciAddress>) -> Vec<String> {
    addresses.map(ToString::to_string).collect()
}

fn all_texts(groups: &Groups) -> Vec<Vec<String>> {
    groups.iter().map(|group| texts(group.iter())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(text: &str) -> Groups {
        let group = |part: &str| {
            part.split(' ')
                .map(|device| format!("00:{device}.0").parse().unwrap())
                .collect()
        };
        text.split(',').map(group).collect()
    }

    #[test]
    fn equal_partitions_have_no_differences() {
        assert_eq!(differences(&groups("01 02,03"), &groups("01 02,03")), []);
    }

    #[test]
    fn groups_that_overlap_are_one_difference() {
        let found = differences(
            &groups("01 02,03,04 05,06 07"),
            &groups("01,02 03,04 05,06,07"),
        );
        let shape: Vec<(usize, usize)> = found
            .iter()
            .map(|each| (each.predicted.len(), each.kernel.len()))
            .collect();
        assert_eq!(shape, [(2, 2), (1, 2)]);
        assert_eq!(
            found[1].text,
            "what is predicted as one group with 0000:00:06.0, the kernel has as 2"
        );
    }
}
