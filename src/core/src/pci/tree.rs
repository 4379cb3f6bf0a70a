//! The tree of bridges and what hangs below them.

use std::collections::BTreeMap;

use super::{PciAddress, PciFunction};

/// One line of a drawn tree: how deep, and which function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeLine<'a> {
    /// For each level above this line: whether more siblings follow there.
    pub open_levels: Vec<bool>,
    /// Whether this is the last child of its parent.
    pub is_last: bool,
    /// The function of this line.
    pub function: &'a PciFunction,
}

/// The functions in the order of a depth-first walk, bridges before what is below them.
///
/// Every function appears exactly once, also where the bridge named as its parent is missing or
/// where parents (on a broken or hostile input) form a ring.
pub fn tree_lines(functions: &BTreeMap<PciAddress, PciFunction>) -> Vec<TreeLine<'_>> {
    let mut children: BTreeMap<Option<PciAddress>, Vec<&PciFunction>> = BTreeMap::new();
    for function in functions.values() {
        let upstream = function
            .upstream
            .filter(|above| functions.contains_key(above));
        children.entry(upstream).or_default().push(function);
    }
    let mut lines = Vec::with_capacity(functions.len());
    draw_below(None, &mut Vec::new(), &mut children, &mut lines);
    // What a ring of parents left over still belongs to the machine.
    while let Some((above, _)) = children.first_key_value() {
        let above = *above;
        draw_below(above, &mut Vec::new(), &mut children, &mut lines);
    }
    lines
}

fn draw_below<'a>(
    above: Option<PciAddress>,
    open_levels: &mut Vec<bool>,
    children: &mut BTreeMap<Option<PciAddress>, Vec<&'a PciFunction>>,
    lines: &mut Vec<TreeLine<'a>>,
) {
    // Taken out, so that a level is drawn once and the walk ends.
    let level = children.remove(&above).unwrap_or_default();
    let last = level.len().saturating_sub(1);
    for (index, function) in level.into_iter().enumerate() {
        let is_last = index == last;
        lines.push(TreeLine {
            open_levels: open_levels.clone(),
            is_last,
            function,
        });
        open_levels.push(!is_last);
        draw_below(Some(function.address), open_levels, children, lines);
        open_levels.pop();
    }
}
