//! One line of a dump, and what kind it is.

use crate::pci::{GroupId, PciAddress};

use super::limits;

/// One line of a dump.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing.
    Blank,
    /// A device begins: its address, what stands behind it, and the group where the line is of a
    /// listing of groups.
    Heading(PciAddress, &'a str, Option<GroupId>),
    /// Bytes of config space and where they begin.
    Hex(usize, Vec<u8>),
    /// A comment: what stands behind the mark.
    Comment(&'a str),
    /// Anything else, and whether it was indented.
    Text(&'a str, bool),
}

impl<'a> Line<'a> {
    /// Tells what a line is. Marks of quotation and white space around it do not count.
    pub(super) fn of(line: &'a str) -> Self {
        let line = unquoted(cut(line));
        let text = line.trim();
        if text.is_empty() {
            return Self::Blank;
        }
        if let Some(comment) = text.strip_prefix('#') {
            return Self::Comment(comment.trim());
        }
        if let Some((at, bytes)) = hex_line(text) {
            return Self::Hex(at, bytes);
        }
        if let Some((address, rest)) = heading(text) {
            return Self::Heading(address, rest, None);
        }
        if let Some((group, rest)) = group_prefix(text)
            && let Some((address, rest)) = heading(rest)
        {
            return Self::Heading(address, rest, Some(group));
        }
        Self::Text(text, line.starts_with([' ', '\t']))
    }
}

/// No more of a line than is looked at.
fn cut(line: &str) -> &str {
    let mut end = line.len().min(limits::LINE);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

/// A line without the marks that mail programs put before what they quote.
fn unquoted(line: &str) -> &str {
    let mut rest = line;
    while let Some(inner) = rest.trim_start_matches(' ').strip_prefix(['>', '|']) {
        rest = inner.strip_prefix(' ').unwrap_or(inner);
    }
    rest
}

/// `ADDRESS CLASS: ...`; the colon tells a device from any other line that begins so.
fn heading(text: &str) -> Option<(PciAddress, &str)> {
    let (address, rest) = text.split_once([' ', '\t'])?;
    let rest = rest.trim();
    if !rest.contains(':') {
        return None;
    }
    Some((address.parse().ok()?, rest))
}

/// `IOMMU Group 7 ...`, as the well-known loops over the groups print it before each device.
fn group_prefix(text: &str) -> Option<(GroupId, &str)> {
    let is_prefix = text
        .get(..12)
        .is_some_and(|start| start.eq_ignore_ascii_case("iommu group "));
    if !is_prefix {
        return None;
    }
    let (number, rest) = text.get(12..)?.trim_start().split_once([' ', '\t'])?;
    let number = number.trim_end_matches(':').parse().ok()?;
    Some((GroupId(number), rest.trim_start()))
}

/// `40: 10 00 42 01 ...`: sixteen bytes, fewer where the text was cut.
fn hex_line(text: &str) -> Option<(usize, Vec<u8>)> {
    let (offset, rest) = text.split_once(':')?;
    let is_offset =
        (2..=3).contains(&offset.len()) && offset.bytes().all(|at| at.is_ascii_hexdigit());
    if !is_offset || !rest.starts_with(' ') {
        return None;
    }
    let offset = usize::from_str_radix(offset, 16).ok()?;
    if offset % 16 != 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(16);
    for word in rest.split_whitespace() {
        if word.len() != 2 || bytes.len() == 16 || !word.bytes().all(|at| at.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(word, 16).ok()?);
    }
    (!bytes.is_empty()).then_some((offset, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> PciAddress {
        text.parse().unwrap()
    }

    #[test]
    fn quotation_and_white_space_do_not_count() {
        for line in [
            "01:00.0 0300: 10de:2684",
            "0000:01:00.0 0300: 10de:2684  \r",
            "> > 01:00.0 0300: 10de:2684",
            ">>\t01:00.0 0300: 10de:2684",
            "    01:00.0 0300: 10de:2684",
        ] {
            let expected = Line::Heading(at("01:00.0"), "0300: 10de:2684", None);
            assert_eq!(Line::of(line), expected, "{line:?}");
        }
    }

    #[test]
    fn bytes_are_told_from_buses() {
        assert_eq!(Line::of("> 40: 10 00 "), Line::Hex(0x40, vec![0x10, 0]));
        assert_eq!(Line::of("ff0: ff"), Line::Hex(0xff0, vec![0xff]));
        for line in ["00:", "00: 1", "41: 00", "00: zz", "1000: 00", "00:00 11"] {
            assert!(matches!(Line::of(line), Line::Text(..)), "{line:?}");
        }
        let too_many = format!("00: {}", "00 ".repeat(17));
        assert!(matches!(Line::of(&too_many), Line::Text(..)));
    }

    #[test]
    fn other_programs_lines_begin_no_device() {
        for line in [
            "-[0000:00]-+-00.0",
            "[    0.5] pci 0000:00:02.0: [8086:46a6] type 00 class 0x030000",
            "0000:00:02.0\t1",
            "user@host:~# lspci -nnk",
            "01:00.0",
        ] {
            assert!(matches!(Line::of(line), Line::Text(..)), "{line:?}");
        }
    }

    #[test]
    fn a_listing_of_groups_tells_the_group() {
        assert_eq!(
            Line::of("IOMMU Group 10 00:1f.6 Ethernet controller [0200]: X [8086:15b8]"),
            Line::Heading(
                at("00:1f.6"),
                "Ethernet controller [0200]: X [8086:15b8]",
                Some(GroupId(10))
            )
        );
    }
}
