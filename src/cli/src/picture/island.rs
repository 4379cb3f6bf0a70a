//! Islands: which boxes of a group lie together, and the ground that is painted behind them.
//!
//! Ground is laid only where no other box can stand: behind a box, behind a whole subtree, along
//! the lines of the tree, and between neighbours in one column.

use super::forest::{Forest, Index};
use super::grouping::Grouping;
use super::layout::{Layout, Rect, Shape, of};

/// How far ground reaches beyond a box.
pub(super) const PAD: i32 = 8;
/// The same behind chips, which stand closer.
const CHIP_PAD: i32 = 3;
/// Half the width of ground along a line.
const HALF_BAND: i32 = 7;

/// Boxes of one group that lie together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Number of the group.
    pub(super) group: usize,
    pub(super) members: Vec<Index>,
    /// The ground: these rectangles together.
    pub(super) ground: Vec<Rect>,
}

/// Finds the parts of all groups, without ground, ordered by their first members.
pub(super) fn find_parts(forest: &Forest<'_>, grouping: &Grouping, shapes: &[Shape]) -> Vec<Part> {
    let whole = find_whole_subtrees(forest, grouping);
    let mut part_of: Vec<Option<usize>> = vec![None; forest.nodes().len()];
    let mut parts: Vec<Part> = Vec::new();
    for (index, node) in forest.nodes().iter().enumerate() {
        let Some(group) = grouping.number(index).filter(|_| !is_chip(shapes, index)) else {
            continue;
        };
        // What an index joins lies before it in the walk: its parent, or the sibling above.
        let before = previous(forest, shapes, index).filter(|other| {
            let is_same = grouping.number(*other) == Some(group);
            is_same && are_neighbours(shapes, &whole, *other, index)
        });
        let above = node
            .parent
            .filter(|above| grouping.number(*above) == Some(group));
        let joined = above
            .or(before)
            .and_then(|other| part_of.get(other).copied().flatten());
        let number = joined.unwrap_or_else(|| {
            parts.push(Part {
                group,
                members: Vec::new(),
                ground: Vec::new(),
            });
            parts.len() - 1
        });
        if let (Some(slot), Some(part)) = (part_of.get_mut(index), parts.get_mut(number)) {
            *slot = Some(number);
            part.members.push(index);
        }
    }
    parts
}

/// Lays the ground of every part, and adds those of groups that are drawn as chips.
pub(super) fn lay_ground(
    forest: &Forest<'_>,
    grouping: &Grouping,
    layout: &Layout,
    parts: &mut Vec<Part>,
) {
    let whole = find_whole_subtrees(forest, grouping);
    let bounds = find_bounds(forest, layout);
    for part in parts.iter_mut() {
        for index in &part.members {
            let own = of(&layout.rects, *index);
            let Some(node) = forest.node(*index) else {
                continue;
            };
            let is_same = |other: &Index| grouping.number(*other) == Some(part.group);
            let above = node.parent.filter(is_same);
            let is_covered = above.is_some_and(|above| of(&whole, above));
            if !is_covered {
                let is_whole = of(&whole, *index);
                let ground = if is_whole { of(&bounds, *index) } else { own };
                part.ground.push(ground.grown(PAD));
            }
            if let Some(above) = above.filter(|_| !is_covered) {
                part.ground.extend(band(of(&layout.rects, above), own));
            }
            let before = previous(forest, &layout.shapes, *index).filter(is_same);
            if let Some(before) = before.filter(|_| !is_covered)
                && are_neighbours(&layout.shapes, &whole, before, *index)
            {
                let ground = if of(&whole, before) && of(&whole, *index) {
                    of(&bounds, before).joined(of(&bounds, *index))
                } else {
                    of(&layout.rects, before).between(own)
                };
                part.ground.push(ground.grown(PAD));
            }
        }
    }
    lay_chips(forest, grouping, layout, parts);
}

/// Chips of one group that stand side by side.
fn lay_chips(forest: &Forest<'_>, grouping: &Grouping, layout: &Layout, parts: &mut Vec<Part>) {
    for (number, group) in grouping.groups.iter().enumerate() {
        if !group.is_compact || group.members.len() < 2 {
            continue;
        }
        let mut lines: Vec<Part> = Vec::new();
        for index in group
            .members
            .iter()
            .filter(|index| forest.node(**index).is_some())
        {
            let ground = of(&layout.rects, *index).grown(CHIP_PAD);
            match lines.last_mut() {
                Some(last) if last.ground.iter().any(|other| other.y == ground.y) => {
                    last.members.push(*index);
                    for other in &mut last.ground {
                        *other = other.joined(ground);
                    }
                }
                _ => lines.push(Part {
                    group: number,
                    members: vec![*index],
                    ground: vec![ground],
                }),
            }
        }
        parts.append(&mut lines);
    }
}

/// Ground along the line from a bridge to a function below it.
fn band(above: Rect, below: Rect) -> [Rect; 3] {
    let (from, to) = (
        above.y + super::layout::LINE_AT,
        below.y + super::layout::LINE_AT,
    );
    let trunk = below.x - super::layout::TRUNK;
    let level = |x: i32, until: i32, y: i32| Rect {
        x,
        y: y - HALF_BAND,
        width: until - x,
        height: 2 * HALF_BAND,
    };
    [
        level(above.right(), trunk + HALF_BAND, from),
        Rect {
            x: trunk - HALF_BAND,
            y: from.min(to) - HALF_BAND,
            width: 2 * HALF_BAND,
            height: (to - from).abs() + 2 * HALF_BAND,
        },
        level(trunk - HALF_BAND, below.x, to),
    ]
}

/// For each function, whether it and all below it are in one group.
fn find_whole_subtrees(forest: &Forest<'_>, grouping: &Grouping) -> Vec<bool> {
    let mut whole: Vec<bool> = (0..forest.nodes().len())
        .map(|index| grouping.number(index).is_some())
        .collect();
    for (index, node) in forest.nodes().iter().enumerate().rev() {
        let Some(parent) = node.parent else { continue };
        let is_same = grouping.number(index) == grouping.number(parent);
        if !(is_same && of(&whole, index))
            && let Some(slot) = whole.get_mut(parent)
        {
            *slot = false;
        }
    }
    whole
}

/// For each function, the rectangle that it and all below it fill.
fn find_bounds(forest: &Forest<'_>, layout: &Layout) -> Vec<Rect> {
    let mut bounds = layout.rects.clone();
    for (index, node) in forest.nodes().iter().enumerate().rev() {
        let own = of(&bounds, index);
        if let Some(above) = node.parent.and_then(|parent| bounds.get_mut(parent)) {
            *above = above.joined(own);
        }
    }
    bounds
}

/// The sibling above in the picture.
fn previous(forest: &Forest<'_>, shapes: &[Shape], index: Index) -> Option<Index> {
    let siblings = forest.siblings(index);
    let at = siblings.binary_search(&index).ok()?;
    siblings
        .get(..at)?
        .iter()
        .rev()
        .find(|other| !is_chip(shapes, **other))
        .copied()
}

/// Whether nothing can stand between two siblings that follow each other.
fn are_neighbours(shapes: &[Shape], whole: &[bool], one: Index, other: Index) -> bool {
    let is_port = |index| shapes.get(index) == Some(&Shape::Port);
    is_port(one) == is_port(other) || (of(whole, one) && of(whole, other))
}

fn is_chip(shapes: &[Shape], index: Index) -> bool {
    shapes.get(index) == Some(&Shape::Chip)
}
