//! Files of plain kernel parameters: the entries of systemd-boot and `/etc/kernel/cmdline`.
//!
//! The Boot Loader Specification, "Type #1 Boot Loader Entries": lines of a key and a value;
//! `options` may stand there more than once and the values are joined. `kernel-install(8)`: all of
//! `/etc/kernel/cmdline` is one command line, without its comments.

use std::ops::Range;

use crate::parameters::{Vendor, edit_line, words};
use crate::splice::{Splice, spliced};

/// A file as it shall be, with a sentence for each change; `None` where it may stay as it is.
pub(crate) type Edited = Option<(Vec<u8>, Vec<String>)>;

/// Edits an entry, where it is one that starts Linux.
pub(crate) fn edit_entry(bytes: &[u8], vendor: Vendor) -> Edited {
    if !is_linux_entry(bytes) {
        return None;
    }
    let options = values(bytes, b"options");
    if options.is_empty() {
        let line = format!("options {}", vendor.wanted().join(" "));
        return Some(with_line(bytes, &line));
    }
    edit_regions(bytes, options, vendor)
}

/// Edits the command line for kernels to come.
pub(crate) fn edit_command_line(bytes: &[u8], vendor: Vendor) -> Edited {
    let regions: Vec<_> = lines(bytes)
        .filter(|line| {
            let text = bytes.get(line.clone()).unwrap_or_default();
            !text.trim_ascii().is_empty() && !text.trim_ascii_start().starts_with(b"#")
        })
        .collect();
    if regions.is_empty() {
        return Some(with_line(bytes, &vendor.wanted().join(" ")));
    }
    edit_regions(bytes, regions, vendor)
}

/// The command line for kernels to come, from that of the running one: without what the boot
/// loader has added for this one kernel.
pub(crate) fn command_line_from(running: &str) -> Vec<u8> {
    let line = running.as_bytes();
    let is_kept = |word: &&[u8]| !word.starts_with(b"BOOT_IMAGE=") && !word.starts_with(b"initrd=");
    let kept: Vec<&[u8]> = words(line)
        .into_iter()
        .filter_map(|word| line.get(word))
        .filter(is_kept)
        .collect();
    let mut bytes = kept.join(b" ".as_slice());
    bytes.push(b'\n');
    bytes
}

/// Whether an entry starts Linux, and not another system or a memory test.
pub(crate) fn is_linux_entry(bytes: &[u8]) -> bool {
    !values(bytes, b"linux").is_empty()
}

/// Whether `kernel-install` has written an entry: its kernel lies at `/TOKEN/VERSION/linux`
/// (`90-loaderentry.install`). Newer ones say so in a comment, that of Debian 12 does not.
pub(crate) fn is_generated(bytes: &[u8]) -> bool {
    let value = |key: &[u8]| {
        let range = values(bytes, key).into_iter().next()?;
        Some(bytes.get(range)?.trim_ascii())
    };
    let (Some(version), Some(linux)) = (value(b"version"), value(b"linux")) else {
        return false;
    };
    linux.ends_with(&[b"/", version, b"/linux"].concat())
}

fn edit_regions(bytes: &[u8], regions: Vec<Range<usize>>, vendor: Vendor) -> Edited {
    let region = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
    let mut corrected = Vec::new();
    let all = regions.iter().flat_map(|range| {
        let text = region(range);
        words(text).into_iter().filter_map(|word| text.get(word))
    });
    for word in all {
        match vendor.corrected(word) {
            Some(new) => corrected.push(new.into_bytes()),
            None => corrected.push(word.to_vec()),
        }
    }
    let missing = vendor.missing(corrected.iter().map(Vec::as_slice));
    let (mut splices, mut said) = (Vec::new(), Vec::new());
    for (index, range) in regions.iter().enumerate() {
        let is_last = index + 1 == regions.len();
        let missing = if is_last { missing.as_slice() } else { &[] };
        let (new, sentences) = edit_line(region(range), range.start, vendor, missing);
        splices.extend(new);
        said.extend(sentences);
    }
    (!splices.is_empty()).then(|| (spliced(bytes, splices), said))
}

/// The places of the lines, without their line feeds.
fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    bytes.split(|byte| *byte == b'\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end + 1;
        range
    })
}

/// The places of the values of a key.
fn values(bytes: &[u8], key: &[u8]) -> Vec<Range<usize>> {
    lines(bytes)
        .filter_map(|line| {
            let text = bytes.get(line.clone()).unwrap_or_default();
            let rest = text.trim_ascii_start().strip_prefix(key)?;
            let is_whole = rest.first().is_none_or(u8::is_ascii_whitespace);
            is_whole.then_some(line.end - rest.len()..line.end)
        })
        .collect()
}

fn with_line(bytes: &[u8], line: &str) -> (Vec<u8>, Vec<String>) {
    let ends_line = bytes.last().is_none_or(|byte| *byte == b'\n');
    let start = if ends_line { "" } else { "\n" };
    let splice = Splice::insert(bytes.len(), format!("{start}{line}\n"));
    (spliced(bytes, vec![splice]), vec![format!("add '{line}'")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: &[u8], vendor: Vendor) -> Option<Vec<u8>> {
        edit_entry(bytes, vendor).map(|(bytes, _)| bytes)
    }

    #[test]
    fn an_entry_gets_what_it_lacks_in_its_last_options() {
        let text = b"title x\r\nlinux /vmlinuz\r\noptions root=\xff quiet\r\noptions a\r\n";
        assert_eq!(
            entry(text, Vendor::Intel).unwrap(),
            b"title x\r\nlinux /vmlinuz\r\noptions root=\xff quiet\r\n\
              options a intel_iommu=on iommu=pt\r\n"
        );
        assert_eq!(
            entry(b"linux /a\noptions\tiommu=off", Vendor::Amd).unwrap(),
            b"linux /a\noptions\tiommu=pt"
        );
        assert_eq!(
            entry(b"linux /a", Vendor::Amd).unwrap(),
            b"linux /a\noptions iommu=pt\n"
        );
        assert_eq!(
            entry(b"linux /a\noptions\n", Vendor::Amd).unwrap(),
            b"linux /a\noptions iommu=pt\n"
        );
    }

    #[test]
    fn an_entry_that_is_right_or_not_of_linux_stays() {
        assert_eq!(entry(b"linux /a\noptions x iommu=pt\n", Vendor::Amd), None);
        assert_eq!(entry(b"efi /memtest.efi\n", Vendor::Amd), None);
    }

    #[test]
    fn the_line_for_kernels_to_come_is_edited_beside_its_comments() {
        let edit = |text: &[u8]| edit_command_line(text, Vendor::Intel).map(|(bytes, _)| bytes);
        assert_eq!(
            edit(b"# iommu=off\nroot=x intel_iommu=off\n\n").unwrap(),
            b"# iommu=off\nroot=x intel_iommu=on iommu=pt\n\n"
        );
        assert_eq!(edit(b"# a").unwrap(), b"# a\nintel_iommu=on iommu=pt\n");
        assert_eq!(edit(b"a iommu=pt intel_iommu=on"), None);
    }

    #[test]
    fn what_the_boot_loader_added_is_left_out() {
        let line = "BOOT_IMAGE=/vmlinuz initrd=\\initrd root=UUID=1 quiet -- single";
        assert_eq!(command_line_from(line), b"root=UUID=1 quiet\n");
    }

    #[test]
    fn entries_of_kernel_install_are_known_by_the_place_of_their_kernel() {
        let text = b"title      Debian\nversion    6.1\noptions    a\nlinux      /id/6.1/linux\n";
        assert!(is_generated(text));
        assert!(!is_generated(
            b"title x\nversion 6.1\nlinux /vmlinuz-linux\n"
        ));
        assert!(!is_generated(b"title x\nlinux /id/6.1/linux\n"));
    }
}
