//! A machine as a node of a cluster: processors, memory, NUMA nodes, and what it runs.
//!
//! Kernel: `/proc/stat`, `/proc/meminfo` (`proc(5)`), `/sys/devices/system/node/`
//! (`Documentation/ABI/stable/sysfs-devices-node`), all readable by everyone.

use crate::{ReadError, SysRoot};

/// Memory of a machine, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// All that the kernel manages (`MemTotal`).
    pub total_kib: u64,
    /// What could be had without swapping (`MemAvailable`).
    pub available_kib: u64,
}

/// How long processors have been busy since the boot, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessorTimes {
    /// Doing anything.
    pub busy: u64,
    /// In all.
    pub all: u64,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaMemory {
    /// Its number.
    pub number: u32,
    /// Its processors, as the kernel lists them: `0-7,16-23`.
    pub processors: String,
    /// Its memory in KiB.
    pub memory_kib: u64,
}

/// What a machine runs, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemNames {
    /// The kernel's release: `6.1.0-56-amd64`.
    pub kernel: String,
    /// The distribution, for people: `Debian GNU/Linux 12 (bookworm)`.
    pub system: String,
    /// `/etc/machine-id` (`machine-id(5)`), which is not to leave the machine as it is.
    pub machine_id: Option<String>,
}

/// Reads how much memory there is.
///
/// # Errors
/// Where it cannot be read.
pub fn read_memory(root: &SysRoot) -> Result<Memory, ReadError> {
    Ok(parse_meminfo(
        &root.proc.read_text("meminfo")?.unwrap_or_default(),
    ))
}

fn parse_meminfo(text: &str) -> Memory {
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or_default()
    };
    Memory {
        total_kib: value("MemTotal"),
        available_kib: value("MemAvailable"),
    }
}

/// Reads how long processors have been busy.
///
/// # Errors
/// Where it cannot be read.
pub fn read_processor_times(root: &SysRoot) -> Result<ProcessorTimes, ReadError> {
    Ok(parse_stat(
        &root.proc.read_text("stat")?.unwrap_or_default(),
    ))
}

fn parse_stat(text: &str) -> ProcessorTimes {
    let all = text.lines().find_map(|line| line.strip_prefix("cpu "));
    // user nice system idle iowait irq softirq steal; guest times are in user already.
    let times: Vec<u64> = all
        .into_iter()
        .flat_map(str::split_whitespace)
        .take(8)
        .filter_map(|word| word.parse().ok())
        .collect();
    let sum: u64 = times.iter().sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    ProcessorTimes {
        busy: sum.saturating_sub(idle),
        all: sum,
    }
}

/// Reads how many processors are switched on.
///
/// # Errors
/// Where it cannot be read.
pub fn read_processor_count(root: &SysRoot) -> Result<u32, ReadError> {
    let list = root
        .sys
        .read_text("devices/system/cpu/online")?
        .unwrap_or_default();
    Ok(count_list(&list))
}

/// How many numbers a list of the kernel's names: `0-3,8` has five (`cpulist_parse`).
pub fn count_list(list: &str) -> u32 {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',')
        .filter_map(count)
        .fold(0, u32::saturating_add)
}

/// Reads NUMA nodes; a machine without NUMA has one, or none.
///
/// # Errors
/// Where they cannot be listed.
pub fn read_numa(root: &SysRoot) -> Result<Vec<NumaMemory>, ReadError> {
    const NODES: &str = "devices/system/node";
    let mut nodes = Vec::new();
    for name in root.sys.list(NODES)?.unwrap_or_default() {
        let Some(number) = name
            .strip_prefix("node")
            .and_then(|number| number.parse().ok())
        else {
            continue;
        };
        let read = |file: &str| {
            root.sys
                .read_text(&format!("{NODES}/{name}/{file}"))
                .ok()
                .flatten()
        };
        nodes.push(NumaMemory {
            number,
            processors: read("cpulist").unwrap_or_default(),
            memory_kib: parse_node_meminfo(&read("meminfo").unwrap_or_default()),
        });
    }
    nodes.sort_by_key(|node| node.number);
    Ok(nodes)
}

/// `Node 0 MemTotal:       32768 kB`.
fn parse_node_meminfo(text: &str) -> u64 {
    let total = text.lines().find_map(|line| line.split_once("MemTotal:"));
    total
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// Reads what the machine runs and what it is called. What cannot be read is empty.
pub fn read_system_names(root: &SysRoot) -> SystemNames {
    let text = |read: Result<Option<String>, ReadError>| read.ok().flatten();
    let release = text(root.etc.read_text("os-release"))
        .or_else(|| text(root.usr.read_text("lib/os-release")));
    SystemNames {
        kernel: text(root.proc.read_text("sys/kernel/osrelease")).unwrap_or_default(),
        system: pretty_name(&release.unwrap_or_default()).unwrap_or_default(),
        machine_id: text(root.etc.read_text("machine-id")).filter(|id| !id.is_empty()),
    }
}

fn pretty_name(text: &str) -> Option<String> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map(|line| line.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_times_are_read_as_the_kernel_writes_them() {
        let text =
            "MemTotal:       16303428 kB\nMemFree:          512 kB\nMemAvailable:    8151714 kB\n";
        let expected = Memory {
            total_kib: 16_303_428,
            available_kib: 8_151_714,
        };
        assert_eq!(parse_meminfo(text), expected);
        assert_eq!(parse_meminfo(""), Memory::default());
        let times = parse_stat("cpu  10 1 5 80 4 0 0 0 7 0\ncpu0 1 1 1 1 1 0 0 0 0 0\n");
        assert_eq!(times, ProcessorTimes { busy: 16, all: 100 });
        assert_eq!(
            parse_node_meminfo("\nNode 0 MemTotal:       32768 kB\n"),
            32768
        );
    }

    #[test]
    fn lists_are_counted() {
        assert_eq!(
            (count_list("0-3,8"), count_list("0"), count_list("")),
            (5, 1, 0)
        );
        assert_eq!(
            count_list("3-1,x,0-4294967295"),
            0,
            "what makes no sense counts for nothing"
        );
    }

    #[test]
    fn a_distribution_has_a_name_for_people() {
        let text = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(
            pretty_name(text).as_deref(),
            Some("Debian GNU/Linux 12 (bookworm)")
        );
    }
}
