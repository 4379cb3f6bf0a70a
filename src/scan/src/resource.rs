//! `resource`: the windows of a device.
//!
//! Kernel: `drivers/pci/pci-sysfs.c`, `resource_show`: one line a register, `start end flags` in
//! hexadecimal; flags in `include/linux/ioport.h`. Anyone may read it.

use vfioctl_core::pci::{Bar, BarKind};

/// `IORESOURCE_IO`.
const IO: u64 = 0x0000_0100;
/// `IORESOURCE_MEM`.
const MEM: u64 = 0x0000_0200;
/// `IORESOURCE_PREFETCH`.
const PREFETCH: u64 = 0x0000_2000;
/// `IORESOURCE_MEM_64`.
const MEM_64: u64 = 0x0010_0000;
/// Lines 0 to 5 are base address registers, line 6 is the expansion ROM; later lines are bridge
/// windows and SR-IOV.
const ROM_LINE: u8 = 6;

/// The assigned windows; lines that cannot be understood are left out.
pub(crate) fn parse_resource(text: &str) -> Vec<Bar> {
    (0..=ROM_LINE)
        .zip(text.lines())
        .filter_map(|(index, line)| parse_line(index, line))
        .collect()
}

fn parse_line(index: u8, line: &str) -> Option<Bar> {
    let mut numbers = line
        .split_whitespace()
        .map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16));
    let start = numbers.next()?.ok()?;
    let end = numbers.next()?.ok()?;
    let flags = numbers.next()?.ok()?;
    let kind = match flags {
        _ if index == ROM_LINE && flags != 0 => BarKind::Rom,
        _ if flags & IO != 0 => BarKind::Io,
        _ if flags & MEM_64 != 0 => BarKind::Memory64,
        _ if flags & MEM != 0 => BarKind::Memory32,
        _ => return None,
    };
    let size_bytes = end.checked_sub(start)?.checked_add(1)?;
    Some(Bar {
        index,
        kind,
        prefetchable: flags & PREFETCH != 0,
        size_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_has_its_windows() {
        let text = "0x00000000fb000000 0x00000000fbffffff 0x0000000000040200\n\
                    0x0000006000000000 0x00000067ffffffff 0x000000000014220c\n\
                    0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                    0x000000000000e000 0x000000000000e07f 0x0000000000040101\n\
                    garbage\n\
                    0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                    0x00000000fc000000 0x00000000fc07ffff 0x0000000000046200\n";
        let bar = |index, kind, prefetchable, size_bytes| Bar {
            index,
            kind,
            prefetchable,
            size_bytes,
        };
        assert_eq!(
            parse_resource(text),
            [
                bar(0, BarKind::Memory32, false, 16 << 20),
                bar(1, BarKind::Memory64, true, 32 << 30),
                bar(3, BarKind::Io, false, 128),
                bar(6, BarKind::Rom, true, 512 << 10),
            ]
        );
    }
}
