//! `/proc/kallsyms`: whether this kernel has code for `pcie_acs_override=`.
//!
//! Everyone may read the names; only the addresses are hidden (`kptr_restrict`). The patch's
//! function is called `pcie_acs_overrides` in all its versions.

use vfioctl_core::Answer;
use vfioctl_core::check::CommandLine;

use crate::SysRoot;

const SYMBOL: &str = "pcie_acs_override";
/// A kernel with all its modules has some 15 MB of symbols.
const MAX_BYTES: u64 = 64 << 20;

/// Reads the symbols only where it matters: the file is large and made anew at each read.
pub(crate) fn read_acs_override(root: &SysRoot, line: &Answer<CommandLine>) -> Answer<bool> {
    let is_given = matches!(line, Answer::Known(line) if line.value(SYMBOL).is_some());
    if !is_given {
        return Answer::CannotSee;
    }
    match super::seen(root.proc.read_bytes("kallsyms", MAX_BYTES)) {
        Answer::Known(text) if !text.is_empty() => Answer::Known(has_symbol(&text)),
        _ => Answer::CannotSee,
    }
}

/// A line is `address type name`, with `\t[module]` behind it where the symbol is a module's.
fn has_symbol(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let name = line
            .split(|byte| byte.is_ascii_whitespace())
            .nth(2)
            .unwrap_or_default();
        name.starts_with(SYMBOL.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_counts() {
        assert!(has_symbol(b"0000 T _text\n0000 t pcie_acs_overrides\n"));
        assert!(!has_symbol(b"0000 T _text\n0000 t pci_acs_enabled\n"));
        assert!(!has_symbol(b"pcie_acs_override\n"));
    }
}
