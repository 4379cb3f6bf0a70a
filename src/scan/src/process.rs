//! `/proc/PID/`: whether a process is still the one that was started.

use crate::{ReadError, SysRoot};

/// What tells one process from a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// When it started, in clock ticks since boot (`proc(5)`, field 22 of `stat`).
    pub start_time: u64,
    /// Whether it has ended and only waits to be reaped.
    pub is_zombie: bool,
}

/// Reads the state of a process; `None` where there is no such process.
///
/// # Errors
/// Where it is there and cannot be read.
pub fn read_process_stat(root: &SysRoot, pid: u32) -> Result<Option<ProcessStat>, ReadError> {
    let text = root.proc.read_attribute(&format!("{pid}/stat"))?;
    Ok(text.as_deref().and_then(parse_stat))
}

fn parse_stat(text: &str) -> Option<ProcessStat> {
    // The name in parentheses may hold anything, parentheses too; fields follow the last one.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    // `state` was field 3, so field 22 is the nineteenth after it.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(ProcessStat {
        start_time,
        is_zombie,
    })
}

/// Memory a process has locked, in KiB (`VmLck` of `status`); grows while VFIO pins a guest.
pub fn read_locked_memory_kib(root: &SysRoot, pid: u32) -> Option<u64> {
    let text = root
        .proc
        .read_text(&format!("{pid}/status"))
        .ok()
        .flatten()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// The identity of this boot; another one says that every process and binding is gone.
///
/// # Errors
/// Where it is there and cannot be read.
pub fn read_boot_id(root: &SysRoot) -> Result<Option<String>, ReadError> {
    root.proc.read_attribute("sys/kernel/random/boot_id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let fields = (4..=30)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let text = format!("42 (a ) (b) S {fields}");
        assert_eq!(
            parse_stat(&text),
            Some(ProcessStat {
                start_time: 22,
                is_zombie: false
            })
        );
        assert_eq!(parse_stat("42 (x"), None);
    }
}
