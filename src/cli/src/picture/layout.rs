//! Where everything stands: the tree from left to right, a row for each leaf.
//!
//! All lengths are in pixels. A bridge stands at the height of the first function below it, so
//! that a subtree fills a rectangle in which nothing else stands.

use vfioctl_core::Snapshot;

use super::forest::{Forest, Index, RootBus};
use super::grouping::{Grouping, is_gpu};
use super::island::{PAD, Part, find_parts, lay_ground};

/// Where the line of the tree meets a box, below its top.
pub(super) const LINE_AT: i32 = 21;
/// How far left of a box the upright line stands.
pub(super) const TRUNK: i32 = 24;
/// Between a column and the next.
const GUTTER: i32 = 46;
/// Between a root bus's upright line and its first column.
const BUS_INDENT: i32 = 34;
/// Above the first row of a root bus: its name.
const BUS_HEAD: i32 = 34;
const BLOCK_GAP: i32 = 34;
/// Between functions of one slot, of one island, of different islands.
const GAPS: [i32; 3] = [8, 16, 26];
/// Room for the name of an island.
const LABEL: i32 = 17;
const PORT: (i32, i32) = (222, 42);
const DEVICE: (i32, i32) = (282, 42);
const GPU: (i32, i32) = (282, 60);
const CHIP: (i32, i32) = (218, 24);
const CHIP_GAP: i32 = 10;
/// Chips side by side, at least.
const CHIPS_A_LINE: i32 = 3;
/// Above the chips of a root bus: what they are.
const CHIPS_HEAD: i32 = 20;
/// Higher pictures are set in two columns, and in three.
const TALL: [i32; 2] = [1500, 3600];

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rect {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

/// How a function is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A bridge.
    Port,
    /// A device, in two lines.
    Device,
    /// A GPU, in three.
    Gpu,
    /// One line, beside others.
    Chip,
}

/// A line of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) from: (i32, i32),
    pub(super) to: (i32, i32),
}

/// Words that stand in the picture by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caption {
    pub(super) at: (i32, i32),
    pub(super) text: String,
}

/// The name of an island: where it begins, and how wide it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LabelPlace {
    pub(super) part: usize,
    pub(super) at: (i32, i32),
    pub(super) width: i32,
}

/// Where everything stands.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// For each function, its box.
    pub(super) rects: Vec<Rect>,
    pub(super) shapes: Vec<Shape>,
    pub(super) lines: Vec<Line>,
    pub(super) captions: Vec<Caption>,
    pub(super) parts: Vec<Part>,
    pub(super) labels: Vec<LabelPlace>,
    pub(super) width: i32,
    pub(super) height: i32,
}

/// What is known of each function before it has a place.
struct Sizes {
    columns: Vec<usize>,
    /// Whether the name of an island stands above its first row.
    has_label: Vec<bool>,
    is_anchor: Vec<bool>,
    heights: Vec<i32>,
    part_of: Vec<Option<usize>>,
}

impl Layout {
    /// Finds a place for everything.
    pub(super) fn of(snapshot: &Snapshot, forest: &Forest<'_>, grouping: &Grouping) -> Self {
        let shapes: Vec<Shape> = (0..forest.nodes().len())
            .map(|index| shape(snapshot, forest, grouping, index))
            .collect();
        let mut parts = find_parts(forest, grouping, &shapes);
        let sizes = Sizes::of(forest, grouping, &shapes, &parts);
        let mut this = Self {
            rects: vec![Rect::default(); forest.nodes().len()],
            shapes,
            ..Self::default()
        };
        this.place_buses(forest, grouping, &sizes);
        lay_ground(forest, grouping, &this, &mut parts);
        this.place_labels(forest, &sizes, &parts);
        this.parts = parts;
        this
    }

    /// Sets the root buses one below the other, in columns where there are many.
    fn place_buses(&mut self, forest: &Forest<'_>, grouping: &Grouping, sizes: &Sizes) {
        let extents: Vec<(i32, i32)> = forest
            .buses()
            .iter()
            .map(|bus| self.extent(forest, sizes, bus))
            .collect();
        let total: i32 = extents.iter().map(|(_, height)| height + BLOCK_GAP).sum();
        let columns = 1 + TALL
            .iter()
            .map(|tall| i32::from(total > *tall))
            .sum::<i32>();
        let wanted = total / columns;
        let (mut x, mut y, mut widest) = (0, 0, 0);
        for (bus, (width, height)) in forest.buses().iter().zip(extents) {
            // A column ends where more of the bus would stick out than stay in.
            if y > 0 && y + height / 2 > wanted {
                (x, y, widest) = (x + widest + BLOCK_GAP, 0, 0);
            }
            self.place_bus(forest, grouping, sizes, bus, (x, y));
            widest = widest.max(width);
            y += height + BLOCK_GAP;
            self.width = self.width.max(x + width);
            self.height = self.height.max(y - BLOCK_GAP);
        }
    }

    /// Width and height that a root bus takes.
    fn extent(&self, forest: &Forest<'_>, sizes: &Sizes, bus: &RootBus) -> (i32, i32) {
        let lefts = self.lefts(forest, sizes, bus);
        let mut width = lefts.last().copied().unwrap_or_default() + PAD;
        let height = BUS_HEAD + stack(&self.shapes, sizes, &bus.children, width, true);
        let (rows, chips) = self.split(&bus.children);
        let label = rows
            .first()
            .is_some_and(|first| of(&sizes.has_label, *first));
        if !chips.is_empty() {
            width = width.max(chips_width(CHIPS_A_LINE) + BUS_INDENT);
        }
        (width, height + if label { LABEL } else { 0 })
    }

    /// Left edges of the columns of a root bus, and behind them the right edge of the last.
    fn lefts(&self, forest: &Forest<'_>, sizes: &Sizes, bus: &RootBus) -> Vec<i32> {
        let mut widths: Vec<i32> = Vec::new();
        let below = bus.children.iter().filter_map(|root| {
            let end = forest.node(*root)?.end;
            Some(*root..end)
        });
        for index in below.flatten() {
            if self.shapes.get(index) == Some(&Shape::Chip) {
                continue;
            }
            let column = of(&sizes.columns, index);
            if widths.len() <= column {
                widths.resize(column + 1, PORT.0);
            }
            if let Some(width) = widths.get_mut(column) {
                *width = (*width).max(self.size(index).0);
            }
            if let Some(node) = forest.node(index)
                && !self.split(&node.children).1.is_empty()
            {
                widths.resize(widths.len().max(column + 2), PORT.0);
                if let Some(width) = widths.get_mut(column + 1) {
                    *width = (*width).max(chips_width(CHIPS_A_LINE));
                }
            }
        }
        let mut x = BUS_INDENT;
        let mut lefts = vec![x];
        for width in widths {
            x += width + GUTTER;
            lefts.push(x);
        }
        if let Some(last) = lefts.last_mut().filter(|last| **last > BUS_INDENT) {
            *last -= GUTTER;
        }
        lefts
    }

    fn place_bus(
        &mut self,
        forest: &Forest<'_>,
        grouping: &Grouping,
        sizes: &Sizes,
        bus: &RootBus,
        (x, y): (i32, i32),
    ) {
        let lefts: Vec<i32> = self
            .lefts(forest, sizes, bus)
            .iter()
            .map(|left| left + x)
            .collect();
        let width = self.extent(forest, sizes, bus).0;
        let trunk = x + 12;
        self.captions.push(Caption {
            at: (x, y + 12),
            text: match bus.domain {
                0 => format!("root bus {:02x}", bus.bus),
                domain => format!("root bus {domain:04x}:{:02x}", bus.bus),
            },
        });
        let (rows, chips) = self.split(&bus.children);
        let has_label = rows
            .first()
            .is_some_and(|first| of(&sizes.has_label, *first));
        let top = y + BUS_HEAD + if has_label { LABEL } else { 0 };
        let bottom = self.place_rows(sizes, &rows, top, &lefts);
        self.draw_lines(&rows, (trunk, y + 18), trunk);
        if !chips.is_empty() {
            let head = if rows.is_empty() {
                top - 8
            } else {
                bottom + GAPS[2]
            };
            self.captions.push(Caption {
                at: (x + BUS_INDENT, head + 12),
                text: "also on this bus".to_owned(),
            });
            let right = x + width;
            self.place_chips(grouping, chips, (x + BUS_INDENT, head + CHIPS_HEAD), right);
        }
        for root in &rows {
            let Some(end) = forest.node(*root).map(|node| node.end) else {
                continue;
            };
            for index in *root..end {
                let Some(node) = forest.node(index) else {
                    continue;
                };
                let own = of(&self.rects, index);
                let (rows, chips) = self.split(&node.children);
                let left = lefts.get(of(&sizes.columns, index) + 1).copied();
                let left = left.unwrap_or(own.right() + GUTTER);
                let trunk = left - TRUNK;
                let mut bottom = own.y;
                if !rows.is_empty() {
                    bottom = self.place_rows(sizes, &rows, own.y, &lefts) + GAPS[2];
                    self.draw_lines(&rows, (own.right(), own.y + LINE_AT), trunk);
                }
                if !chips.is_empty() {
                    let first = chips.first().copied();
                    self.place_chips(grouping, chips, (left, bottom + 9), left);
                    if let Some(first) = first {
                        let at = of(&self.rects, first);
                        self.draw_line((own.right(), own.y + LINE_AT), (trunk, own.y + LINE_AT));
                        let level = at.y + at.height / 2;
                        self.draw_line((trunk, own.y + LINE_AT), (trunk, level));
                        self.draw_line((trunk, level), (at.x, level));
                    }
                }
            }
        }
    }

    /// Sets rows one below the other; says where the last ends.
    fn place_rows(&mut self, sizes: &Sizes, rows: &[Index], top: i32, lefts: &[i32]) -> i32 {
        let mut y = top;
        let mut before = None;
        for index in rows {
            if let Some(before) = before {
                y += self.gap(sizes, before, *index);
            }
            let (width, height) = self.size(*index);
            let x = lefts
                .get(of(&sizes.columns, *index))
                .copied()
                .unwrap_or_default();
            if let Some(slot) = self.rects.get_mut(*index) {
                *slot = Rect {
                    x,
                    y,
                    width,
                    height,
                };
            }
            y += of(&sizes.heights, *index);
            before = Some(*index);
        }
        y
    }

    fn place_chips(
        &mut self,
        grouping: &Grouping,
        mut chips: Vec<Index>,
        (left, top): (i32, i32),
        right: i32,
    ) {
        // Members of one group stand side by side, where its first one stands.
        chips.sort_by_key(|index| {
            let first = grouping
                .group(*index)
                .and_then(|group| group.members.first().copied());
            (first.unwrap_or(*index), *index)
        });
        let a_line = chips_a_line(right - left);
        for (number, index) in (0_i32..).zip(chips) {
            if let Some(slot) = self.rects.get_mut(index) {
                *slot = Rect {
                    x: left + (number % a_line) * (CHIP.0 + CHIP_GAP),
                    y: top + (number / a_line) * (CHIP.1 + CHIP_GAP),
                    width: CHIP.0,
                    height: CHIP.1,
                };
            }
        }
    }

    fn draw_lines(&mut self, rows: &[Index], from: (i32, i32), trunk: i32) {
        let Some(last) = rows.last() else { return };
        let end = of(&self.rects, *last).y + LINE_AT;
        self.draw_line(from, (trunk, from.1));
        self.draw_line((trunk, from.1), (trunk, end));
        for index in rows {
            let rect = of(&self.rects, *index);
            self.draw_line((trunk, rect.y + LINE_AT), (rect.x, rect.y + LINE_AT));
        }
    }

    fn draw_line(&mut self, from: (i32, i32), to: (i32, i32)) {
        if from != to {
            self.lines.push(Line { from, to });
        }
    }

    fn place_labels(&mut self, forest: &Forest<'_>, sizes: &Sizes, parts: &[Part]) {
        for (number, part) in parts.iter().enumerate() {
            let Some(anchor) = part.members.first().copied() else {
                continue;
            };
            if !of(&sizes.is_anchor, anchor) {
                continue;
            }
            let rect = of(&self.rects, anchor);
            let left = rect.x - PAD + 2;
            // The name of an island further right in the same row ends this one.
            let mut at = anchor;
            let mut right = self.width;
            while let Some(next) = forest
                .node(at)
                .and_then(|node| self.split(&node.children).0.first().copied())
            {
                if of(&sizes.is_anchor, next) {
                    right = of(&self.rects, next).x - PAD;
                    break;
                }
                at = next;
            }
            self.labels.push(LabelPlace {
                part: number,
                at: (left, rect.y - PAD - 5),
                width: right - left - 6,
            });
        }
    }

    fn gap(&self, sizes: &Sizes, before: Index, index: Index) -> i32 {
        gap(&self.shapes, sizes, before, index)
    }

    /// The children that have rows, and those that are chips.
    fn split(&self, children: &[Index]) -> (Vec<Index>, Vec<Index>) {
        split(&self.shapes, children)
    }

    fn size(&self, index: Index) -> (i32, i32) {
        size(&self.shapes, index)
    }
}

impl Sizes {
    fn of(forest: &Forest<'_>, grouping: &Grouping, shapes: &[Shape], parts: &[Part]) -> Self {
        let count = forest.nodes().len();
        let mut this = Self {
            columns: vec![0; count],
            has_label: vec![false; count],
            is_anchor: vec![false; count],
            heights: vec![0; count],
            part_of: vec![None; count],
        };
        for (number, part) in parts.iter().enumerate() {
            for (at, index) in part.members.iter().enumerate() {
                if let Some(slot) = this.part_of.get_mut(*index) {
                    *slot = Some(number);
                }
                let is_labelled = grouping
                    .groups
                    .get(part.group)
                    .is_some_and(super::grouping::Group::is_labelled);
                if let Some(slot) = this.is_anchor.get_mut(*index) {
                    *slot = at == 0 && is_labelled;
                }
            }
        }
        for (index, node) in forest.nodes().iter().enumerate() {
            let column = match node.parent {
                Some(parent) => of(&this.columns, parent) + 1,
                // What is no bridge stands where devices stand.
                None => usize::from(shapes.get(index) != Some(&Shape::Port)),
            };
            if let Some(slot) = this.columns.get_mut(index) {
                *slot = column;
            }
        }
        for (index, node) in forest.nodes().iter().enumerate().rev() {
            let first = split(shapes, &node.children).0.first().copied();
            let has_label =
                of(&this.is_anchor, index) || first.is_some_and(|first| of(&this.has_label, first));
            let below = stack(shapes, &this, &node.children, 0, false);
            if let Some(slot) = this.has_label.get_mut(index) {
                *slot = has_label;
            }
            if let Some(slot) = this.heights.get_mut(index) {
                *slot = below.max(size(shapes, index).1);
            }
        }
        this
    }
}

impl Rect {
    /// The right edge.
    pub(super) fn right(self) -> i32 {
        self.x + self.width
    }

    /// The lower edge.
    pub(super) fn bottom(self) -> i32 {
        self.y + self.height
    }

    /// The same, larger on every side.
    pub(super) fn grown(self, by: i32) -> Self {
        Self {
            x: self.x - by,
            y: self.y - by,
            width: self.width + 2 * by,
            height: self.height + 2 * by,
        }
    }

    /// The smallest rectangle around both.
    pub(super) fn joined(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        Self {
            x,
            y,
            width: self.right().max(other.right()) - x,
            height: self.bottom().max(other.bottom()) - y,
        }
    }

    /// What lies between this and one below it, as wide as the narrower.
    pub(super) fn between(self, below: Self) -> Self {
        Self {
            x: below.x,
            y: self.bottom(),
            width: self.width.min(below.width),
            height: below.y - self.bottom(),
        }
    }
}

fn shape(snapshot: &Snapshot, forest: &Forest<'_>, grouping: &Grouping, index: Index) -> Shape {
    if grouping.is_compact(snapshot, forest, index) {
        Shape::Chip
    } else if forest.node(index).is_some_and(super::forest::Node::is_port) {
        Shape::Port
    } else if is_gpu(forest, index) {
        Shape::Gpu
    } else {
        Shape::Device
    }
}

fn size(shapes: &[Shape], index: Index) -> (i32, i32) {
    match shapes.get(index) {
        Some(Shape::Port) => PORT,
        Some(Shape::Gpu) => GPU,
        Some(Shape::Device) | None => DEVICE,
        Some(Shape::Chip) => CHIP,
    }
}

fn split(shapes: &[Shape], children: &[Index]) -> (Vec<Index>, Vec<Index>) {
    children
        .iter()
        .partition(|index| shapes.get(**index) != Some(&Shape::Chip))
}

fn gap(shapes: &[Shape], sizes: &Sizes, before: Index, index: Index) -> i32 {
    let part = of(&sizes.part_of, index);
    let is_same = part.is_some() && of(&sizes.part_of, before) == part;
    let is_leaf = |index| shapes.get(index) != Some(&Shape::Port);
    let gap = match (is_same, is_leaf(before) && is_leaf(index)) {
        (true, true) => GAPS[0],
        (true, false) => GAPS[1],
        (false, _) => GAPS[2],
    };
    if of(&sizes.has_label, index) {
        gap.max(GAPS[2]) + LABEL
    } else {
        gap
    }
}

/// The height of functions below each other; `width` is what chips of a root bus may take.
fn stack(shapes: &[Shape], sizes: &Sizes, children: &[Index], width: i32, is_root: bool) -> i32 {
    let (rows, chips) = split(shapes, children);
    let mut height: i32 = rows.iter().map(|index| of(&sizes.heights, *index)).sum();
    height += rows
        .windows(2)
        .map(|pair| match pair {
            [before, index] => gap(shapes, sizes, *before, *index),
            _ => 0,
        })
        .sum::<i32>();
    if !chips.is_empty() {
        let a_line = chips_a_line(if is_root { width - BUS_INDENT } else { 0 });
        let count = i32::try_from(chips.len()).unwrap_or(i32::MAX / CHIP.1 / 4);
        let lines = (count + a_line - 1) / a_line;
        height += lines * (CHIP.1 + CHIP_GAP) + if is_root { CHIPS_HEAD } else { 9 };
        if !rows.is_empty() {
            height += GAPS[2];
        }
    }
    height
}

fn chips_a_line(width: i32) -> i32 {
    ((width + CHIP_GAP) / (CHIP.0 + CHIP_GAP)).max(CHIPS_A_LINE)
}

fn chips_width(chips: i32) -> i32 {
    chips * (CHIP.0 + CHIP_GAP) - CHIP_GAP
}

/// An element, or nothing in particular where there is none.
pub(super) fn of<T: Clone + Default>(list: &[T], index: usize) -> T {
    list.get(index).cloned().unwrap_or_default()
}
