//! Pictures of machines that do not exist.

use std::collections::BTreeSet;

use vfioctl_core::acs::Platform;
use vfioctl_core::config::PcieType;
use vfioctl_core::iommu::Separation;
use vfioctl_core::{HostUse, Snapshot};

use super::forest::Forest;
use super::grouping::Grouping;
use super::layout::{Layout, Rect};
use super::{TooMany, draw, sample};
use crate::names::Names;

fn picture(snapshot: &Snapshot) -> String {
    let separation = Separation::of(snapshot, &Platform::default());
    draw(snapshot, &separation, &Names::default()).unwrap()
}

fn with_layout(snapshot: &Snapshot, look: impl FnOnce(&Forest<'_>, &Grouping, &Layout)) {
    let separation = Separation::of(snapshot, &Platform::default());
    let is_predicted = !separation.has_kernel_groups();
    let forest = Forest::of(snapshot);
    let grouping = Grouping::of(snapshot, &separation, &forest, is_predicted);
    look(
        &forest,
        &grouping,
        &Layout::of(snapshot, &forest, &grouping),
    );
}

fn overlap(one: Rect, other: Rect) -> bool {
    one.x < other.right()
        && other.x < one.right()
        && one.y < other.bottom()
        && other.y < one.bottom()
}

fn holds(ground: &[Rect], (x, y): (i32, i32)) -> bool {
    ground
        .iter()
        .any(|rect| rect.x <= x && x <= rect.right() && rect.y <= y && y <= rect.bottom())
}

/// Whether every element is closed in order, every `&` begins an entity, and there is one root.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    let mut roots = 0;
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        for piece in text.split('&').skip(1) {
            let entity = piece.split(';').next().unwrap();
            assert!(
                ["amp", "lt", "gt", "quot", "apos"].contains(&entity),
                "{entity}"
            );
        }
        assert!(!text.contains('>'), "{text}");
        let end = tag.find('>').unwrap();
        let inside = &tag[1..end];
        assert!(
            !inside.contains('<') && inside.matches('"').count() % 2 == 0,
            "{inside}"
        );
        let name = inside
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        if inside.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            roots += usize::from(open.is_empty());
            if !inside.ends_with('/') {
                open.push(name);
            }
        }
        rest = &tag[end + 1..];
    }
    assert_eq!((open.len(), roots, rest.trim()), (0, 1, ""));
    assert!(
        svg.chars()
            .all(|character| !character.is_control() || character == '\n')
    );
}

#[test]
fn no_two_boxes_overlap_and_all_lie_in_the_picture() {
    for (name, snapshot) in sample::all() {
        with_layout(&snapshot, |forest, _, layout| {
            assert_eq!(layout.rects.len(), snapshot.functions.len(), "{name}");
            for (number, one) in layout.rects.iter().enumerate() {
                let address = forest.nodes()[number].function.address;
                assert!(
                    one.width > 0 && one.x >= 0 && one.y >= 0,
                    "{name} {address}"
                );
                assert!(
                    one.right() <= layout.width && one.bottom() <= layout.height,
                    "{name} {address}: {one:?} in {} by {}",
                    layout.width,
                    layout.height
                );
                for (other, rect) in layout.rects.iter().enumerate().skip(number + 1) {
                    let other = forest.nodes()[other].function.address;
                    assert!(!overlap(*one, *rect), "{name}: {address} and {other}");
                }
            }
        });
    }
}

#[test]
fn every_function_is_there_once() {
    for (name, snapshot) in sample::all() {
        with_layout(&snapshot, |forest, _, _| {
            let drawn: Vec<_> = forest
                .nodes()
                .iter()
                .map(|node| node.function.address)
                .collect();
            let all: BTreeSet<_> = drawn.iter().copied().collect();
            assert_eq!(all.len(), drawn.len(), "{name}");
            assert_eq!(all, snapshot.functions.keys().copied().collect(), "{name}");
        });
    }
}

#[test]
fn an_island_holds_its_members_and_no_other_box() {
    for (name, snapshot) in sample::all() {
        with_layout(&snapshot, |forest, grouping, layout| {
            let mut placed = BTreeSet::new();
            for part in &layout.parts {
                for (index, rect) in layout.rects.iter().enumerate() {
                    let centre = (rect.x + rect.width / 2, rect.y + rect.height / 2);
                    let address = forest.nodes()[index].function.address;
                    let is_member = part.members.contains(&index);
                    assert_eq!(holds(&part.ground, centre), is_member, "{name} {address}");
                    if is_member {
                        assert_eq!(grouping.number(index), Some(part.group), "{name}");
                        assert!(placed.insert(index), "{name} {address} lies on two islands");
                    }
                }
            }
            // Only a chip that is alone in its group needs no ground.
            for (number, group) in grouping.groups.iter().enumerate() {
                if !group.is_compact || group.members.len() > 1 {
                    let all = group.members.iter().all(|index| placed.contains(index));
                    assert!(all, "{name} group {number}");
                }
            }
        });
    }
}

#[test]
fn pictures_are_well_formed_and_equal_machines_have_equal_ones() {
    for (name, snapshot) in sample::all() {
        let svg = picture(&snapshot);
        assert_well_formed(&svg);
        assert_eq!(svg, picture(&snapshot), "{name}");
    }
}

#[test]
fn no_name_of_a_disk_a_network_or_a_keyboard_is_in_a_picture() {
    let mut snapshot = sample::lab();
    let uses = vec![
        HostUse::Disk {
            mount_point: "/media/SECRET1".into(),
        },
        HostUse::Network {
            interface: "enxSECRET2".into(),
        },
        HostUse::Keyboard {
            name: "<SECRET3>".into(),
        },
    ];
    snapshot.host_uses.insert(sample::at("0b:00.0"), uses);
    assert!(!picture(&snapshot).contains("SECRET"));
}

#[test]
fn a_ring_of_bridges_is_opened() {
    let snapshot = sample::machine(vec![
        sample::port("01:00.0", "03:00.0", PcieType::RootPort, None),
        sample::port("02:00.0", "01:00.0", PcieType::RootPort, None),
        sample::port("03:00.0", "02:00.0", PcieType::RootPort, None),
        sample::port("04:00.0", "04:00.0", PcieType::RootPort, None),
        sample::card("05:00.0", "03:00.0", (0x10de, 0x2684, 0x03_0000), ""),
    ]);
    with_layout(&snapshot, |forest, _, _| {
        assert_eq!(forest.nodes().len(), 5)
    });
    assert_well_formed(&picture(&snapshot));
}

#[test]
fn a_machine_too_large_for_a_picture_is_refused() {
    let mut snapshot = Snapshot::default();
    for number in 0..10_000_u32 {
        let address = format!(
            "{:04x}:{:02x}:{:02x}.{}",
            number >> 16,
            (number >> 8) & 0xff,
            (number >> 3) & 0x1f,
            number & 7
        );
        let function = crate::sample::function(&address, 0x10de, 0x2684, 0x03_0000);
        snapshot.functions.insert(function.address, function);
    }
    let separation = Separation::of(&snapshot, &Platform::default());
    assert_eq!(
        draw(&snapshot, &separation, &Names::default()),
        Err(TooMany { functions: 10_000 })
    );
}

#[test]
fn the_largest_machine_of_a_picture_is_drawn() {
    let mut functions = vec![sample::root_port("00:01.0", None)];
    for number in 0..4_000_u32 {
        let address = format!(
            "{:02x}:{:02x}.{}",
            1 + (number >> 8),
            (number >> 3) & 0x1f,
            number & 7
        );
        functions.push(sample::card(
            &address,
            "00:01.0",
            (0x10de, 0x2684, 0x03_0000),
            "",
        ));
    }
    assert_well_formed(&picture(&sample::booted(sample::machine(functions))));
}

/// For eyes: `VFIOCTL_PICTURES=FOLDER cargo test -p vfioctl pictures_for_eyes -- --ignored`.
#[test]
#[ignore = "writes pictures for somebody to look at"]
fn pictures_for_eyes() {
    let folder = std::env::var_os("VFIOCTL_PICTURES").unwrap();
    for (name, snapshot) in sample::all() {
        let file = std::path::Path::new(&folder).join(format!("{name}.svg"));
        std::fs::write(file, picture(&snapshot)).unwrap();
    }
}
