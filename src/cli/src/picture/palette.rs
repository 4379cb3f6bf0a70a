//! Colours. The strong ones are Okabe and Ito's, which people with any kind of colour blindness
//! tell apart (<https://jfly.uni-koeln.de/color/>); nothing is said by colour alone.

/// How a region is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    pub(super) fill: &'static str,
    pub(super) edge: &'static str,
    /// Darker, for text on white.
    pub(super) ink: &'static str,
}

const fn paint(fill: &'static str, edge: &'static str, ink: &'static str) -> Paint {
    Paint { fill, edge, ink }
}

/// Groups in which a GPU is tied to other devices, in turn. Vermilion is missing: it means that a
/// port does not isolate.
pub(super) const SHARED_GPU: [Paint; 5] = [
    paint("#ffe0a3", "#e69f00", "#7a5200"),
    paint("#c9e3f7", "#0072b2", "#00507d"),
    paint("#f3d3e4", "#cc79a7", "#85356a"),
    paint("#f7f0a8", "#b8a900", "#5e5600"),
    paint("#dcd3ec", "#7b5ea7", "#4e3580"),
];

/// A group with one GPU device and nothing else that could be given away.
pub(super) const GPU_ALONE: Paint = paint("#d9f0e6", "#009e73", "#00664a");
/// Several devices, no GPU among them.
pub(super) const SHARED: Paint = paint("#dfe3e8", "#7d8894", "#46505a");
/// One device that is no GPU.
pub(super) const QUIET: Paint = paint("#f1f2f4", "#d0d4d9", "#5a636d");

/// What does not isolate, and what is not true.
pub(super) const BLOCKED: &str = "#c43e00";
/// What isolates.
pub(super) const ISOLATES: &str = "#00785a";
/// What cannot be seen.
pub(super) const UNKNOWN: &str = "#6a4fa3";
/// Text.
pub(super) const INK: &str = "#1c2733";
/// Text of less weight.
pub(super) const FAINT: &str = "#56616c";
/// Lines of the tree.
pub(super) const LINE: &str = "#8a95a0";
