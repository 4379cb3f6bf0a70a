//! A picture of the machine: the tree of bridges and devices, with groups as coloured islands.
//!
//! `forest` brings the functions into the order of the tree, and `grouping` says what each group
//! means. `layout` finds a place for every box and `island` the ground behind them; `caption`
//! and `sentences` have the words, `palette` the colours. `drawing` puts all of it into SVG by
//! `svg`. Nothing here looks at the machine or writes a file, and equal machines make equal
//! pictures.

mod caption;
mod drawing;
mod forest;
mod grouping;
mod island;
mod layout;
mod palette;
#[cfg(test)]
mod sample;
mod sentences;
mod svg;
#[cfg(test)]
mod tests;

use std::fmt;

use vfioctl_core::Snapshot;
use vfioctl_core::iommu::Separation;

use crate::limits;
use crate::names::Names;

use forest::Forest;
use grouping::Grouping;
use layout::Layout;

/// The machine has too many functions for a picture that explains anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany {
    functions: usize,
}

/// Draws a machine as SVG. Where the kernel has no groups, those are drawn that a boot with the
/// IOMMU on would make, and the picture says so.
///
/// # Errors
/// [`TooMany`] functions.
pub(crate) fn draw(
    snapshot: &Snapshot,
    separation: &Separation,
    names: &Names,
) -> Result<String, TooMany> {
    let functions = snapshot.functions.len();
    if functions > limits::PICTURE_FUNCTIONS {
        return Err(TooMany { functions });
    }
    let is_predicted = !separation.has_kernel_groups();
    let booted = is_predicted.then(|| separation.at_boot());
    let separation = booted.as_ref().unwrap_or(separation);
    let forest = Forest::of(snapshot);
    let grouping = Grouping::of(snapshot, separation, &forest, is_predicted);
    let layout = Layout::of(snapshot, &forest, &grouping);
    let sentences = sentences::find_sentences(snapshot, separation, &forest, &grouping);
    let drawing = drawing::Drawing {
        snapshot,
        separation,
        names,
        forest: &forest,
        grouping: &grouping,
        layout: &layout,
        sentences: &sentences,
    };
    Ok(drawing.svg())
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a picture has room for {} functions, and this machine has {}",
            limits::PICTURE_FUNCTIONS,
            self.functions
        )
    }
}

impl std::error::Error for TooMany {}
