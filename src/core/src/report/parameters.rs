//! Which kernel parameters a report may name: an allow-list, since a command line can hold
//! addresses, names of disks and keys.

/// Whole names, with `_` for `-`.
const NAMES: [&str; 5] = [
    "intel_iommu",
    "amd_iommu",
    "iommu",
    "pci",
    "pcie_acs_override",
];
/// What names may begin with.
const PREFIXES: [&str; 4] = ["vfio", "pcie_", "iommu.", "iommufd."];

/// Whether a word of a kernel command line has to do with grouping and may be told.
pub fn is_reported_parameter(word: &str) -> bool {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let name = name.replace('-', "_");
    let is_listed =
        NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    // Values of these are words, numbers and addresses; nothing else is passed on.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b",:;.@/_-+=".contains(&byte);
    is_listed && name.bytes().chain(value.bytes()).all(is_plain)
}
