//! The numbers by which disk, partitions and file systems of a made image are known: made of the
//! sum of what it is made by, so that the same recipe gives the same ones, and two recipes others.

/// The numbers of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identifiers {
    pub(super) disk: String,
    pub(super) bios: String,
    pub(super) esp: String,
    pub(super) root: String,
    pub(super) root_system: String,
    pub(super) root_hash: String,
    /// The volume number of the EFI system partition.
    pub(super) esp_volume: u32,
}

/// Makes them of a SHA-256 in hexadecimal digits; `None` where the text is none.
pub(super) fn of_sum(sum: &str) -> Option<Identifiers> {
    let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_sum {
        return None;
    }
    // RFC 9562, section 5.4: the digits 4 and 8 say that the others mean nothing.
    let uuid = |number: u8| {
        let part = |from: usize, to: usize| sum.get(from..to).unwrap_or_default();
        format!(
            "{}-{}-4{}-8{}-{}{number:02x}",
            part(0, 8),
            part(8, 12),
            part(13, 16),
            part(17, 20),
            part(20, 30),
        )
    };
    Some(Identifiers {
        disk: uuid(0),
        bios: uuid(1),
        esp: uuid(2),
        root: uuid(3),
        root_system: uuid(4),
        root_hash: uuid(5),
        esp_volume: u32::from_str_radix(sum.get(..8)?, 16).ok()?,
    })
}

impl Identifiers {
    /// The volume number as GRUB and the kernel write it.
    pub(super) fn esp_volume_text(&self) -> String {
        let (high, low) = (self.esp_volume >> 16, self.esp_volume & 0xffff);
        format!("{high:04X}-{low:04X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_gives_different_numbers_and_nothing_else_gives_any() {
        let ids = of_sum(&"0123456789abcdef".repeat(4)).unwrap();
        assert_eq!(ids.root_hash, "01234567-89ab-4def-8123-456789abcd05");
        assert_eq!(ids.esp_volume_text(), "0123-4567");
        assert_eq!(of_sum(""), None);
        assert_eq!(of_sum(&"x".repeat(64)), None);
    }
}
