//! The drawing itself: everything that was found, put on paper from the back to the front.

use vfioctl_core::Snapshot;
use vfioctl_core::iommu::Separation;

use crate::names::Names;
use crate::width::{columns, shortened};

use super::caption::{Addresses, Mark, lie_words, short_name, use_words};
use super::forest::{Forest, Index, Node};
use super::grouping::{Group, GroupKind, Grouping};
use super::island::Part;
use super::layout::{Layout, Rect, Shape, of};
use super::palette::{self, Paint};
use super::sentences::Sentences;
use super::svg::Svg;

/// White around everything.
const MARGIN: i32 = 28;
const LEAST_WIDTH: i32 = 940;
const HEAD: i32 = 92;
const HEADLINE_LINE: i32 = 22;
const LEGEND_LINE: i32 = 24;
const TEXT_LINE: i32 = 19;

const STYLE: &str = "text{font-family:'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif}\
    .title{font-size:21px;font-weight:bold}.headline{font-size:16px;font-weight:bold}\
    .note{font-size:12.5px}.label{font-size:11.5px;font-weight:bold}.small{font-size:10.5px}\
    .bus{font-size:11.5px;font-weight:bold}.name{font-size:13px;font-weight:bold}\
    .plain{font-size:11px}.at{font-size:11px;font-family:'DejaVu Sans Mono',monospace}\
    .sign{font-size:13px;font-weight:bold}";

/// Everything that is drawn.
pub(super) struct Drawing<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) separation: &'a Separation,
    pub(super) names: &'a Names,
    pub(super) forest: &'a Forest<'a>,
    pub(super) grouping: &'a Grouping,
    pub(super) layout: &'a Layout,
    pub(super) sentences: &'a Sentences,
}

/// One entry of the legend.
enum Key {
    Ground(Paint, bool),
    Sign(&'static str, &'static str),
    Home,
}

impl Drawing<'_> {
    /// The picture.
    pub(super) fn svg(&self) -> String {
        let width = self.layout.width.max(LEAST_WIDTH) + 2 * MARGIN;
        let keys = self.place_keys(width);
        let notes: Vec<String> = self.notes();
        let wide = usize::try_from((width - 2 * MARGIN) * 10 / 112).unwrap_or(80);
        let headline = wrapped(&self.sentences.headline, wide);
        let lower = (i32::try_from(headline.len()).unwrap_or(1) - 1) * HEADLINE_LINE;
        let head = HEAD + lower + i32::try_from(notes.len()).unwrap_or(0) * TEXT_LINE;
        let legend = keys.last().map_or(0, |(_, (_, y), _)| y + LEGEND_LINE);
        let tree = head + legend + 12;
        let characters = usize::try_from((width - 2 * MARGIN - 14) * 10 / 76).unwrap_or(80);
        let lines: Vec<Vec<String>> = self
            .sentences
            .each
            .iter()
            .map(|sentence| wrapped(sentence, characters))
            .collect();
        let line_count: usize = lines.iter().map(Vec::len).sum();
        let foot = i32::try_from(line_count).unwrap_or(0) * TEXT_LINE
            + i32::try_from(lines.len()).unwrap_or(0) * 6;
        let height = tree + self.layout.height + 34 + foot + MARGIN;

        let mut svg = Svg::default();
        svg.open(
            "svg",
            &format!(
                "xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
                 viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title desc\""
            ),
        );
        svg.words("title", "id=\"title\"", self.title());
        svg.words("desc", "id=\"desc\"", &self.description());
        svg.raw(&style());
        svg.rect(
            Rect {
                x: 0,
                y: 0,
                width,
                height,
            },
            0,
            "fill=\"#ffffff\"",
        );
        svg.text((MARGIN, 42), "title", palette::INK, self.title());
        for (number, line) in (0..).zip(&headline) {
            let y = 70 + number * HEADLINE_LINE;
            svg.text((MARGIN, y), "headline", palette::INK, line);
        }
        for (number, note) in (0..).zip(&notes) {
            let y = 92 + lower + number * TEXT_LINE;
            svg.text((MARGIN, y), "note", palette::FAINT, note);
        }
        for (key, (x, y), text) in &keys {
            draw_key(&mut svg, key, (MARGIN + x, head + y), text);
        }
        svg.open("g", &format!("transform=\"translate({MARGIN} {tree})\""));
        self.draw_tree(&mut svg);
        svg.close("g");
        let mut y = tree + self.layout.height + 44;
        for sentence in &lines {
            svg.rect(
                Rect {
                    x: MARGIN,
                    y: y - 9,
                    width: 6,
                    height: 6,
                },
                3,
                &format!("fill=\"{}\"", palette::BLOCKED),
            );
            for line in sentence {
                svg.text((MARGIN + 14, y), "note", palette::INK, line);
                y += TEXT_LINE;
            }
            y += 6;
        }
        svg.close("svg");
        svg.finish()
    }

    fn title(&self) -> &'static str {
        if self.grouping.is_predicted {
            "PCIe tree with the IOMMU groups that a boot would make (a prediction)"
        } else {
            "PCIe tree with the kernel's IOMMU groups"
        }
    }

    fn description(&self) -> String {
        let mut text = self.sentences.headline.clone();
        for sentence in self.sentences.each.iter().take(40) {
            text.push(' ');
            text.push_str(sentence);
        }
        text
    }

    /// What is to be known before the picture is read.
    fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "Devices on one island go to a virtual machine together, or not at all.".to_owned(),
        ];
        if self.grouping.is_predicted {
            notes.push(
                "The kernel has no groups now: its IOMMU is off or missing ('vfioctl check' tells \
                 which). The numbers P1, P2, ... are not those that the kernel will give."
                    .to_owned(),
            );
        }
        if !self.separation.sees_everything() {
            notes.push(
                "Ports marked '?' could not be looked into without privilege. To see more, start \
                 the helper (vfioctl-helper) and be in its group, or run this as root."
                    .to_owned(),
            );
        }
        notes
    }

    fn draw_tree(&self, svg: &mut Svg) {
        for part in &self.layout.parts {
            self.draw_island(svg, part);
        }
        let mut data = String::new();
        for line in &self.layout.lines {
            let ((x, y), (to_x, to_y)) = (line.from, line.to);
            data.push_str(&format!("M{x} {y}L{to_x} {to_y}"));
        }
        if !data.is_empty() {
            let attributes = format!(
                "fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" stroke-linecap=\"round\"",
                palette::LINE
            );
            svg.path(&data, &attributes);
        }
        for caption in &self.layout.captions {
            svg.text(caption.at, "bus", palette::FAINT, &caption.text);
        }
        for label in &self.layout.labels {
            let group = self
                .layout
                .parts
                .get(label.part)
                .and_then(|part| self.grouping.groups.get(part.group));
            if let Some(group) = group {
                let most = usize::try_from(label.width * 10 / 76).unwrap_or_default();
                let text = self.label(group);
                let ink = match group.lie {
                    Some(_) => palette::BLOCKED,
                    None => group.paint.ink,
                };
                svg.text(label.at, "label", ink, &shortened(&text, most.max(9)));
            }
        }
        for (index, node) in self.forest.nodes().iter().enumerate() {
            self.draw_box(svg, index, node);
        }
    }

    fn label(&self, group: &Group) -> String {
        let name = &group.name;
        let words = match (group.lie, group.kind) {
            (Some(lie), _) => lie_words(lie).to_owned(),
            (None, GroupKind::GpuAlone) => "by itself".to_owned(),
            (None, _) => format!("{} devices tied together", group.devices),
        };
        format!("group {name}: {words}")
    }

    /// All edges first and then all fills, so that the edge is around the whole.
    fn draw_island(&self, svg: &mut Svg, part: &Part) {
        let Some(group) = self.grouping.groups.get(part.group) else {
            return;
        };
        let Paint { fill, edge, .. } = group.paint;
        let edge_width = match group.kind {
            GroupKind::Plain => 1,
            GroupKind::GpuShared => 5,
            GroupKind::GpuAlone | GroupKind::Shared => 3,
        };
        let edges = format!("fill=\"{fill}\" stroke=\"{edge}\" stroke-width=\"{edge_width}\"");
        let fills = format!("fill=\"{fill}\"");
        let mut passes = vec![edges.as_str(), fills.as_str()];
        if group.lie.is_some() {
            passes.push("fill=\"url(#hatch)\"");
        }
        svg.open("g", "");
        svg.words("title", "", &format!("group {}", group.name));
        for attributes in passes {
            for ground in &part.ground {
                svg.rect(*ground, 9, attributes);
            }
        }
        svg.close("g");
    }

    fn draw_box(&self, svg: &mut Svg, index: Index, node: &Node<'_>) {
        let rect = of(&self.layout.rects, index);
        let shape = self
            .layout
            .shapes
            .get(index)
            .copied()
            .unwrap_or(Shape::Device);
        let function = node.function;
        let mark = node
            .is_port()
            .then(|| Mark::of(self.separation, function.address));
        let group = self.grouping.group(index);
        let (edge, edge_width) = match (&mark, shape) {
            (Some(Mark::Blocked(_)), _) => (palette::BLOCKED, "2.5"),
            (_, Shape::Gpu) => (palette::INK, "2"),
            (_, Shape::Chip) => (palette::QUIET.edge, "1"),
            _ => (palette::LINE, "1"),
        };
        let dashes = if group.is_none() {
            " stroke-dasharray=\"5 3\""
        } else {
            ""
        };
        svg.open("g", "");
        svg.words("title", "", &self.full_name(node, group));
        let radius = if shape == Shape::Port { 4 } else { 7 };
        svg.rect(
            rect,
            radius,
            &format!("fill=\"#ffffff\" stroke=\"{edge}\" stroke-width=\"{edge_width}\"{dashes}"),
        );
        let address = Addresses::of(self.snapshot).text(function.address);
        let tag = match group {
            Some(group) if shape == Shape::Chip || !group.is_labelled() => {
                format!("group {}", group.name)
            }
            Some(_) => String::new(),
            None => "no group".to_owned(),
        };
        let uses = use_words(self.snapshot, function.address).filter(|_| !node.is_port());
        if shape == Shape::Chip {
            self.fill_chip(svg, node, rect, &address, &tag, mark.as_ref());
        } else {
            self.fill_box(
                svg,
                node,
                shape,
                rect,
                (&address, &tag),
                mark.as_ref(),
                uses,
            );
        }
        svg.close("g");
    }

    fn fill_chip(
        &self,
        svg: &mut Svg,
        node: &Node<'_>,
        rect: Rect,
        address: &str,
        tag: &str,
        mark: Option<&Mark>,
    ) {
        let (x, y) = (rect.x + 7, rect.y + 16);
        svg.text((x, y), "at", palette::INK, address);
        let after = x + text_width(address, 70) + 7;
        let tag_width = text_width(tag, 62);
        svg.text(
            (rect.right() - 6 - tag_width, y),
            "small",
            palette::FAINT,
            tag,
        );
        let mut left = after;
        if let Some(mark) = mark {
            draw_mark(svg, mark, (after, y));
            left += 15;
        }
        let what = if node.is_port() {
            "empty port".to_owned()
        } else if matches!(
            node.function.sriov,
            vfioctl_core::pci::SriovRole::Virtual { .. }
        ) {
            "virtual".to_owned()
        } else {
            let class = self.names.class(node.function.class);
            class.map_or_else(String::new, |class| class.into_owned())
        };
        let room = rect.right() - 10 - tag_width - left;
        svg.text((left, y), "small", palette::INK, &fitted(&what, room, 64));
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place calls it, with what it has found"
    )]
    fn fill_box(
        &self,
        svg: &mut Svg,
        node: &Node<'_>,
        shape: Shape,
        rect: Rect,
        (address, tag): (&str, &str),
        mark: Option<&Mark>,
        uses: Option<String>,
    ) {
        let function = node.function;
        let x = rect.x + 10;
        svg.text((x, rect.y + 17), "at", palette::INK, address);
        let tag_left = rect.right() - 9 - text_width(tag, 62);
        svg.text((tag_left, rect.y + 17), "small", palette::FAINT, tag);
        let room = rect.width - 18;
        if let Some(mark) = mark {
            let (ink, words) = match mark {
                Mark::Blocked(why) => (palette::BLOCKED, why.as_str()),
                Mark::Asserted => (palette::BLOCKED, "asserted, no ACS"),
                Mark::Unknown => (palette::UNKNOWN, "ACS not seen"),
                Mark::Isolates => (palette::FAINT, node.port_kind()),
            };
            draw_mark(svg, mark, (x, rect.y + 34));
            svg.text(
                (x + 16, rect.y + 34),
                if matches!(mark, Mark::Isolates) {
                    "plain"
                } else {
                    "label"
                },
                ink,
                &fitted(words, room - 16, 68),
            );
            return;
        }
        let name = short_name(self.names, function);
        let driver = match &function.driver {
            Some(driver) => driver.to_string(),
            None => "no driver".to_owned(),
        };
        if shape == Shape::Gpu {
            svg.text(
                (x, rect.y + 34),
                "name",
                palette::INK,
                &fitted(&name, room, 88),
            );
            let line = rect.y + 51;
            svg.text((x, line), "plain", palette::FAINT, &driver);
            self.draw_uses(svg, uses, rect, line);
        } else {
            let after = x + text_width(address, 70) + 10;
            let most = tag_left - after - 6;
            svg.text(
                (after, rect.y + 17),
                "plain",
                palette::FAINT,
                &fitted(&driver, most, 66),
            );
            let line = rect.y + 34;
            let used = uses.as_ref().map_or(0, |uses| text_width(uses, 80) + 24);
            svg.text(
                (x, line),
                "plain",
                palette::INK,
                &fitted(&name, room - used, 66),
            );
            self.draw_uses(svg, uses, rect, line);
        }
    }

    fn draw_uses(&self, svg: &mut Svg, uses: Option<String>, rect: Rect, line: i32) {
        if let Some(uses) = uses {
            let left = rect.right() - 9 - text_width(&uses, 80);
            draw_home(svg, (left - 16, line));
            svg.text((left, line), "label", palette::INK, &uses);
        }
    }

    /// Everything about a function on one line, for who asks.
    fn full_name(&self, node: &Node<'_>, group: Option<&Group>) -> String {
        let function = node.function;
        let mut text = format!("{} {}", function.address, self.names.line(function));
        if let Some(class) = self.names.class(function.class) {
            text.push_str(&format!("; {class}"));
        }
        if let Some(driver) = &function.driver {
            text.push_str(&format!("; driver {driver}"));
        }
        match group {
            Some(group) => text.push_str(&format!("; group {}", group.name)),
            None => text.push_str("; in no group"),
        }
        if let (true, Some(isolation)) =
            (node.is_port(), self.separation.isolation(function.address))
        {
            let words = match isolation.isolates.known() {
                Some(true) => "isolates",
                Some(false) => "does not isolate",
                None => "isolates or not",
            };
            text.push_str(&format!(
                "; {}, {words}: {}",
                node.port_kind(),
                isolation.because
            ));
        }
        if let Some(uses) = use_words(self.snapshot, function.address) {
            text.push_str(&format!("; this machine needs it: {uses}"));
        }
        text
    }

    /// The entries of the legend that this picture needs, and where they stand.
    fn place_keys(&self, width: i32) -> Vec<(Key, (i32, i32), &'static str)> {
        let groups = &self.grouping.groups;
        let has_kind = |kind| groups.iter().any(|group| group.kind == kind);
        let marks: Vec<Mark> = self
            .forest
            .nodes()
            .iter()
            .filter(|node| node.is_port())
            .map(|node| Mark::of(self.separation, node.function.address))
            .collect();
        let [shared, ..] = palette::SHARED_GPU;
        let is_blocked = |mark: &Mark| matches!(mark, Mark::Blocked(_) | Mark::Asserted);
        let all = [
            (
                has_kind(GroupKind::GpuShared),
                Key::Ground(shared, false),
                "a GPU tied to other devices",
            ),
            (
                has_kind(GroupKind::GpuAlone),
                Key::Ground(palette::GPU_ALONE, false),
                "a GPU by itself",
            ),
            (
                has_kind(GroupKind::Shared),
                Key::Ground(palette::SHARED, false),
                "other devices tied together",
            ),
            (
                groups.iter().any(|group| group.lie.is_some()),
                Key::Ground(palette::GPU_ALONE, true),
                "hatched: separate in name only",
            ),
            (
                marks.contains(&Mark::Isolates),
                Key::Sign("✓", palette::ISOLATES),
                "port isolates",
            ),
            (
                marks.iter().any(is_blocked),
                Key::Sign("✗", palette::BLOCKED),
                "port does not isolate",
            ),
            (
                marks.contains(&Mark::Unknown),
                Key::Sign("?", palette::UNKNOWN),
                "could not be seen",
            ),
            (
                !self.snapshot.host_uses.is_empty(),
                Key::Home,
                "this machine lives on it",
            ),
        ];
        let (mut x, mut y) = (0, 0);
        let mut placed = Vec::new();
        for (is_needed, key, text) in all {
            if !is_needed {
                continue;
            }
            let wide = 30 + text_width(text, 74) + 16;
            if x > 0 && x + wide > width - 2 * MARGIN {
                (x, y) = (0, y + LEGEND_LINE);
            }
            placed.push((key, (x, y), text));
            x += wide;
        }
        placed
    }
}

/// The style sheet and the hatching.
fn style() -> String {
    format!(
        "<style>{STYLE}</style>\n<defs><pattern id=\"hatch\" width=\"9\" height=\"9\" \
         patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"3\" \
         height=\"9\" fill=\"{}\" fill-opacity=\"0.38\"/></pattern></defs>\n",
        palette::BLOCKED
    )
}

fn draw_key(svg: &mut Svg, key: &Key, (x, y): (i32, i32), text: &str) {
    match key {
        Key::Ground(paint, is_hatched) => {
            let rect = Rect {
                x,
                y,
                width: 22,
                height: 14,
            };
            let attributes = format!(
                "fill=\"{}\" stroke=\"{}\" stroke-width=\"2\"",
                paint.fill, paint.edge
            );
            svg.rect(rect, 5, &attributes);
            if *is_hatched {
                svg.rect(rect, 5, "fill=\"url(#hatch)\"");
            }
        }
        Key::Sign(sign, ink) => svg.text((x + 8, y + 12), "sign", ink, sign),
        Key::Home => draw_home(svg, (x + 6, y + 12)),
    }
    svg.text((x + 30, y + 12), "note", palette::INK, text);
}

/// The sign of a port.
fn draw_mark(svg: &mut Svg, mark: &Mark, (x, y): (i32, i32)) {
    let (sign, ink) = match mark {
        Mark::Isolates => ("✓", palette::ISOLATES),
        Mark::Blocked(_) | Mark::Asserted => ("✗", palette::BLOCKED),
        Mark::Unknown => ("?", palette::UNKNOWN),
    };
    svg.text((x, y), "sign", ink, sign);
}

/// A small house.
fn draw_home(svg: &mut Svg, (x, y): (i32, i32)) {
    let data = format!("M{x} {}l6 -6l6 6h-2v5h-8v-5z", y - 5);
    svg.path(&data, &format!("fill=\"{}\"", palette::INK));
}

/// About how wide a text is; `tenths` is the width of a character in tenths of a pixel.
fn text_width(text: &str, tenths: i32) -> i32 {
    i32::try_from(columns(text)).unwrap_or(10_000) * tenths / 10
}

/// The text, cut to so many pixels.
fn fitted(text: &str, width: i32, tenths: i32) -> String {
    let most = usize::try_from(width * 10 / tenths).unwrap_or_default();
    shortened(text, most.max(2)).into_owned()
}

/// Lines of at most so many columns, broken between words.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let is_full = lines
            .last()
            .is_some_and(|line| !line.is_empty() && columns(line) + 1 + columns(word) > most);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
