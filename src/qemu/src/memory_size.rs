//! Sizes of memory as people write them: `16GiB`.

use std::fmt;

/// The text is not a size of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMemorySize;

/// Reads a size of memory into MiB: `16GiB`, `512MiB`, or a plain number of MiB.
///
/// Only these units are taken. `16G` and `16GB` mean 2^30 to some and 10^9 to others.
///
/// ```
/// use vfioctl_qemu::{InvalidMemorySize, parse_memory};
/// assert_eq!(parse_memory("16GiB"), Ok(16384));
/// assert_eq!(parse_memory("512"), Ok(512));
/// assert_eq!(parse_memory("16GB"), Err(InvalidMemorySize));
/// ```
///
/// # Errors
/// [`InvalidMemorySize`]. Whether a machine may have so much is not checked here but in
/// [`MachineSpec::check`](vfioctl_core::machine::MachineSpec::check).
pub fn parse_memory(text: &str) -> Result<u64, InvalidMemorySize> {
    let (digits, unit_mib) = if let Some(digits) = text.strip_suffix("GiB") {
        (digits, 1024)
    } else if let Some(digits) = text.strip_suffix("MiB") {
        (digits, 1)
    } else {
        (text, 1)
    };
    // `parse` alone would also take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidMemorySize);
    }
    let number: u64 = digits.parse().map_err(|_| InvalidMemorySize)?;
    number.checked_mul(unit_mib).ok_or(InvalidMemorySize)
}

impl fmt::Display for InvalidMemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory is given as '16GiB', '512MiB', or a whole number of MiB")
    }
}

impl std::error::Error for InvalidMemorySize {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_with_clear_units_are_sizes() {
        for text in [
            "",
            "GiB",
            "16G",
            "16GB",
            "16gib",
            "1.5GiB",
            "-1",
            "+1",
            " 1",
            "1 GiB",
            "1GiBGiB",
            "٣MiB",
            "18446744073709551616",
            "18014398509481985GiB",
        ] {
            assert_eq!(parse_memory(text), Err(InvalidMemorySize), "{text:?}");
        }
        assert_eq!(parse_memory("0MiB"), Ok(0));
    }
}
