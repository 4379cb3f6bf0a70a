//! `vfioctl list`: the GPUs of this machine, or every function.

use std::collections::BTreeMap;

use vfioctl_core::Answer;
use vfioctl_core::pci::PciFunction;

use crate::Done;
use crate::names::Names;
use crate::record::{ClaimRecord, DeviceRecord, ListRecord, PinRecord};
use crate::seen::read_seen;
use crate::session::Session;
use crate::verdict::Verdict;
use crate::view::View;

/// Answers `vfioctl list`.
pub(super) fn run(all: bool, session: &mut Session<'_>) -> Done {
    let seen = read_seen(session)?;
    let names = Names::read(&session.root()?);
    let record = list(
        View {
            seen: &seen,
            names: &names,
        },
        all,
    );
    if record.devices.is_empty() {
        let text = if all {
            "this machine has no PCI functions"
        } else {
            "this machine has no GPU; 'vfioctl list --all' lists every PCI function"
        };
        session.output.progress(text);
    }
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

/// The devices that are listed: those with a GPU among their functions, or all.
pub(crate) fn list(view: View<'_>, all: bool) -> ListRecord {
    let mut slots: BTreeMap<(u32, u8, u8), Vec<&PciFunction>> = BTreeMap::new();
    for function in view.seen.snapshot.functions.values() {
        let address = function.address;
        let slot = (address.domain(), address.bus(), address.device());
        slots.entry(slot).or_default().push(function);
    }
    let is_wanted = |functions: &&Vec<&PciFunction>| {
        all || functions.iter().any(|function| function.class.is_gpu())
    };
    let devices = slots
        .values()
        .filter(is_wanted)
        .map(|functions| DeviceRecord {
            functions: functions
                .iter()
                .map(|function| view.function(function))
                .collect(),
        });
    ListRecord {
        seen_by: view.seen.by,
        devices: devices.collect(),
        claims: match &view.seen.claims {
            Answer::Known(claims) => Some(claims.iter().map(ClaimRecord::of).collect()),
            Answer::CannotSee => None,
        },
        pins: match &view.seen.pins {
            Answer::Known(pins) => Some(pins.iter().map(PinRecord::of).collect()),
            Answer::CannotSee => None,
        },
        problems: view.problems(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;
    use crate::sample;

    #[test]
    fn lists_have_the_shape_of_their_schema() {
        let names = Names::default();
        for seen in [
            sample::desktop(),
            sample::desktop_unseen(),
            sample::desktop_pinned(),
            sample::desktop_shared(),
        ] {
            for all in [false, true] {
                assert_answer(
                    "list",
                    &list(
                        View {
                            seen: &seen,
                            names: &names,
                        },
                        all,
                    ),
                );
            }
        }
    }

    #[test]
    fn accelerators_without_outputs_are_gpus_too() {
        let mut seen = sample::desktop();
        let card = sample::function("0000:05:00.0", 0x1002, 0x74a1, 0x12_0000);
        seen.snapshot.functions.insert(card.address, card);
        let names = Names::default();
        let record = list(
            View {
                seen: &seen,
                names: &names,
            },
            false,
        );
        let first =
            |device: &DeviceRecord| device.functions.first().map(|each| each.address.clone());
        let addresses: Vec<String> = record.devices.iter().filter_map(first).collect();
        assert_eq!(addresses, ["0000:01:00.0", "0000:02:00.0", "0000:05:00.0"]);
    }
}
