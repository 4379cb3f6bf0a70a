//! The numbers of GPUs: given once, by where a GPU sits.
//!
//! * At first, GPUs are numbered in the order of their addresses, from 0.
//! * A number belongs to a place. It stays over reboots, binds, changes of driver, and when buses are
//!   called otherwise; so it does when the card is taken out and comes back, or another is put there.
//! * A GPU in a new place gets the number after the highest that was ever given, so that nobody who
//!   remembers a number gets another card for it. What was forgotten (`gpus.json`, by hand) may be given
//!   again.

use vfioctl_api::GpuNumber;
use vfioctl_core::pci::{Identity, PciAddress, PciPath};

use super::place::Place;

/// Most numbers that are given. A machine has room for some dozens of cards; with a chassis that is
/// plugged now here and now there, more places than that.
pub(super) const MAX_NUMBERS: usize = 1024;

/// A GPU, as it is known by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its number.
    pub(super) number: GpuNumber,
    /// Where it sits.
    pub(super) path: PciPath,
    /// Its address, when it was seen last.
    pub(super) address: PciAddress,
    /// What it was, when it was seen last.
    pub(super) identity: Identity,
    /// What its own driver called it; kept, so that it has one name whichever driver has it.
    pub(super) name: Option<String>,
    /// Its memory in MiB, as its own driver told it.
    pub(super) memory_mib: Option<u64>,
}

/// What has changed in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A GPU has got a number.
    New(Known),
    /// The address of a GPU has moved.
    Moved(Known, PciAddress),
    /// Another card sits where this one was.
    Replaced(Known, Identity),
    /// No number is left.
    NoneLeft(PciAddress),
}

/// The numbers of the GPUs of a machine, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Numbers(pub(super) Vec<Known>);

impl Numbers {
    /// Takes in what is seen, and tells what that changes. Nothing that is known is forgotten.
    pub(super) fn take(&mut self, places: &[Place]) -> Vec<Change> {
        places
            .iter()
            .filter_map(|place| self.take_one(place))
            .collect()
    }

    fn take_one(&mut self, place: &Place) -> Option<Change> {
        let Some(known) = self.0.iter_mut().find(|known| known.path == place.path) else {
            return Some(self.add(place));
        };
        let before = known.clone();
        known.address = place.address;
        // A card that does not answer is still the one that it was.
        if place.identity.is_told() && place.identity != before.identity {
            known.identity = place.identity;
            known.name = None;
            known.memory_mib = None;
            return Some(Change::Replaced(known.clone(), before.identity));
        }
        (known.address != before.address).then(|| Change::Moved(known.clone(), before.address))
    }

    fn add(&mut self, place: &Place) -> Change {
        let numbers = self.0.iter().map(|known| known.number.get());
        let next = numbers
            .max()
            .map_or(Some(0), |highest| highest.checked_add(1));
        let Some(number) = next.filter(|_| self.0.len() < MAX_NUMBERS) else {
            return Change::NoneLeft(place.address);
        };
        let known = Known {
            number: number.into(),
            path: place.path.clone(),
            address: place.address,
            identity: place.identity,
            name: None,
            memory_mib: None,
        };
        self.0.push(known.clone());
        Change::New(known)
    }

    /// Learns what its own driver tells of a GPU; whether that is news.
    pub(super) fn learn(
        &mut self,
        number: GpuNumber,
        name: Option<&String>,
        memory_mib: Option<u64>,
    ) -> bool {
        let Some(known) = self.0.iter_mut().find(|known| known.number == number) else {
            return false;
        };
        let before = (known.name.clone(), known.memory_mib);
        known.name = name.cloned().or_else(|| known.name.take());
        known.memory_mib = memory_mib.or(known.memory_mib);
        (known.name.as_ref(), known.memory_mib) != (before.0.as_ref(), before.1)
    }

    /// The GPU in a place.
    pub(super) fn at_path(&self, path: &PciPath) -> Option<&Known> {
        self.0.iter().find(|known| known.path == *path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::sample::{at, bridge, function, identity, machine};
    use vfioctl_core::Snapshot;

    const GPU: u32 = 0x03_0000;

    fn place(path: &str, address: &str, device: u16) -> Place {
        Place {
            path: path.parse().unwrap(),
            address: at(address),
            identity: identity(0x10de, device),
        }
    }

    fn two() -> Vec<Place> {
        vec![
            place("pci0000:00/01.0/00.0", "01:00.0", 1),
            place("pci0000:00/02.0/00.0", "02:00.0", 2),
        ]
    }

    /// Number and address of each, as `0=0000:01:00.0`.
    fn text(numbers: &Numbers) -> Vec<String> {
        let one = |known: &Known| format!("{}={}", known.number, known.address);
        numbers.0.iter().map(one).collect()
    }

    fn numbered(places: &[Place]) -> Numbers {
        let mut numbers = Numbers::default();
        numbers.take(places);
        numbers
    }

    #[test]
    fn the_first_look_numbers_in_the_order_of_addresses() {
        let numbers = numbered(&two());
        assert_eq!(text(&numbers), ["0=0000:01:00.0", "1=0000:02:00.0"]);
    }

    #[test]
    fn a_look_that_sees_the_same_changes_nothing() {
        let mut numbers = numbered(&two());
        let before = numbers.clone();
        assert_eq!(numbers.take(&two()), []);
        assert_eq!(numbers, before);
    }

    #[test]
    fn a_card_that_is_taken_out_keeps_its_number_and_has_it_again() {
        let mut numbers = numbered(&two());
        assert_eq!(numbers.take(&two()[1..]), []);
        assert_eq!(text(&numbers), ["0=0000:01:00.0", "1=0000:02:00.0"]);
        assert_eq!(numbers.take(&two()), []);
    }

    #[test]
    fn a_card_in_a_new_place_gets_a_number_that_nobody_ever_had() {
        let mut numbers = numbered(&two());
        // Before all others, and while one is away.
        let new = place("pci0000:00/00.5/00.0", "00:05.0", 1);
        let changes = numbers.take(&[new, two()[0].clone()]);
        assert!(matches!(&changes[..], [Change::New(known)] if known.number == 2.into()));
        assert_eq!(numbers.take(&two()), []);
    }

    #[test]
    fn numbers_follow_places_when_buses_are_called_otherwise() {
        let mut numbers = numbered(&two());
        let moved = [
            place("pci0000:00/01.0/00.0", "02:00.0", 1),
            place("pci0000:00/02.0/00.0", "03:00.0", 2),
        ];
        let changes = numbers.take(&moved);
        assert_eq!(text(&numbers), ["0=0000:02:00.0", "1=0000:03:00.0"]);
        let from: Vec<PciAddress> = changes
            .iter()
            .map(|change| match change {
                Change::Moved(_, from) => *from,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(from, [at("01:00.0"), at("02:00.0")]);
    }

    #[test]
    fn another_card_in_the_place_keeps_the_number_and_has_nothing_of_the_old_one() {
        let mut numbers = numbered(&two());
        let name = "Old".to_owned();
        assert!(numbers.learn(0.into(), Some(&name), Some(8192)));
        let other = place("pci0000:00/01.0/00.0", "01:00.0", 7);
        let changes = numbers.take(&[other]);
        let known = numbers.0[0].clone();
        assert_eq!(
            changes,
            [Change::Replaced(known.clone(), identity(0x10de, 1))]
        );
        assert_eq!(
            (known.number, known.name, known.memory_mib),
            (0.into(), None, None)
        );
        // An equal card is no news: it is told from the old one by its UUID, if at all.
        assert_eq!(numbers.take(&two()[1..]), []);
    }

    #[test]
    fn a_card_that_does_not_answer_is_still_the_one_that_it_was() {
        let mut numbers = numbered(&two());
        let mut gone = two();
        gone[0].identity = identity(0xffff, 0xffff);
        assert_eq!(numbers.take(&gone), []);
        assert_eq!(numbers.0[0].identity, identity(0x10de, 1));
    }

    #[test]
    fn what_the_driver_told_is_kept_when_it_tells_no_more() {
        let mut numbers = numbered(&two());
        let name = "NVIDIA Card".to_owned();
        assert!(numbers.learn(1.into(), Some(&name), None));
        assert!(numbers.learn(1.into(), None, Some(24_564)));
        assert!(!numbers.learn(1.into(), None, None));
        assert!(!numbers.learn(1.into(), Some(&name), Some(24_564)));
        assert!(!numbers.learn(9.into(), Some(&name), None));
        let known = &numbers.0[1];
        assert_eq!((&known.name, known.memory_mib), (&Some(name), Some(24_564)));
    }

    #[test]
    fn numbers_end_somewhere() {
        let mut numbers = numbered(&two());
        numbers.0[1].number = u16::MAX.into();
        let new = place("pci0000:00/03.0/00.0", "03:00.0", 3);
        assert_eq!(numbers.take(&[new]), [Change::NoneLeft(at("03:00.0"))]);
        assert_eq!(numbers.0.len(), 2);
    }

    /// The same two cards, as four boots show them: with their own drivers; one on vfio-pci; with a card
    /// put in before them, which moves all buses; and with the machine's first card taken out.
    #[test]
    fn a_table_of_boots_gives_each_card_one_number() {
        let card = |address: &str, port: &str, driver: &str| {
            function(address, GPU).below(port).driver(driver)
        };
        let boots: [Snapshot; 4] = [
            machine([
                bridge("00:01.0"),
                bridge("00:02.0"),
                card("01:00.0", "00:01.0", "nvidia"),
                card("02:00.0", "00:02.0", "nvidia"),
            ]),
            machine([
                bridge("00:01.0"),
                bridge("00:02.0"),
                card("01:00.0", "00:01.0", "vfio-pci"),
                card("02:00.0", "00:02.0", "nvidia"),
            ]),
            machine([
                bridge("00:00.5"),
                bridge("00:01.0"),
                bridge("00:02.0"),
                card("01:00.0", "00:00.5", "amdgpu"),
                card("02:00.0", "00:01.0", "nvidia"),
                card("03:00.0", "00:02.0", "nvidia"),
            ]),
            machine([
                bridge("00:01.0"),
                bridge("00:02.0"),
                card("02:00.0", "00:02.0", "nvidia"),
            ]),
        ];
        let mut numbers = Numbers::default();
        let seen = boots.map(|snapshot| {
            let (places, _) = super::super::place::find_places(&snapshot);
            numbers.take(&places);
            let numbers = places.iter().map(|place| {
                let known = numbers.at_path(&place.path).unwrap();
                format!("{}={}", known.number, known.address)
            });
            numbers.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(
            seen,
            [
                "0=0000:01:00.0 1=0000:02:00.0",
                "0=0000:01:00.0 1=0000:02:00.0",
                "2=0000:01:00.0 0=0000:02:00.0 1=0000:03:00.0",
                "1=0000:02:00.0",
            ]
        );
    }
}
