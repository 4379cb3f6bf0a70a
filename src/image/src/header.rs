//! The first bytes of a disk image: what format it is in, and which other files it would make QEMU
//! open.
//!
//! A qcow2 file may name a backing file and a data file by any path or address, and QEMU opens
//! them with the rights of whoever runs it (QEMU's `docs/interop/qcow2.txt`). So these bytes are
//! read here, by a parser that opens nothing, before any other program sees the file.

use crate::limits::{MAX_BACKING_NAME, MAX_DISK_BYTES};

/// How many bytes of a file are looked at: the first cluster can be no smaller than 512 bytes, and
/// header, extensions and the backing file's name must be in it; names are at most 1023 long.
pub(crate) const HEAD_BYTES: usize = 4096;

const MAGIC: &[u8] = b"QFI\xfb";

/// Incompatible feature bits, section "Header" of `docs/interop/qcow2.txt`.
const FEATURE_DIRTY: u64 = 1 << 0;
const FEATURE_CORRUPT: u64 = 1 << 1;
const FEATURE_DATA_FILE: u64 = 1 << 2;
const FEATURE_COMPRESSION: u64 = 1 << 3;
const FEATURE_EXTENDED_L2: u64 = 1 << 4;

/// The format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// QEMU's own, with the size of its disk in bytes.
    Qcow2 { disk_bytes: u64 },
    /// The bytes of the disk as they are.
    Raw,
}

/// Finds out the format of a file that is to be a base image: one that needs no other file.
///
/// # Errors
/// Why it cannot be one, as a sentence.
pub(crate) fn find_format(head: &[u8], file_bytes: u64) -> Result<Format, String> {
    if head.starts_with(MAGIC) {
        return find_qcow2(head);
    }
    if let Some(name) = foreign_name(head) {
        return Err(format!(
            "it is {name}, and only qcow2 and raw disks are taken"
        ));
    }
    // "Boot signature" of the UEFI specification, section 5.2: disks with a GPT have it too.
    if head.get(510..512) != Some(&[0x55, 0xaa]) {
        return Err("it is neither qcow2 nor a disk that can be booted from: \
                    its first sector has no boot signature"
            .to_owned());
    }
    match file_bytes {
        0..=MAX_DISK_BYTES if file_bytes.is_multiple_of(512) => Ok(Format::Raw),
        0..=MAX_DISK_BYTES => Err(format!(
            "its size, {file_bytes} bytes, is not whole sectors"
        )),
        _ => Err(too_large(file_bytes)),
    }
}

/// The name of the backing file in a qcow2 header, as it stands there; `None` where it has none,
/// and for other files.
///
/// # Errors
/// Where there is one and it cannot be read.
pub(crate) fn backing_name(head: &[u8]) -> Result<Option<String>, String> {
    if !head.starts_with(MAGIC) {
        return Ok(None);
    }
    let broken = || "its header is cut short".to_owned();
    let offset = number64(head, 8).ok_or_else(broken)?;
    let length = number32(head, 16).ok_or_else(broken)?;
    if offset == 0 {
        return Ok(None);
    }
    if length > MAX_BACKING_NAME {
        return Err("the name of its backing file is too long".to_owned());
    }
    let start = usize::try_from(offset).map_err(|_| broken())?;
    let length = usize::try_from(length).map_err(|_| broken())?;
    let end = start.checked_add(length).ok_or_else(broken)?;
    let name = head.get(start..end).ok_or_else(broken)?;
    Ok(Some(String::from_utf8_lossy(name).into_owned()))
}

fn find_qcow2(head: &[u8]) -> Result<Format, String> {
    let broken = || "its qcow2 header is cut short".to_owned();
    let version = number32(head, 4).ok_or_else(broken)?;
    if !(2..=3).contains(&version) {
        return Err(format!(
            "it has version {version} of qcow, and only 2 and 3 are taken"
        ));
    }
    let backing_offset = number64(head, 8).ok_or_else(broken)?;
    let backing_length = number32(head, 16).ok_or_else(broken)?;
    if backing_offset != 0 || backing_length != 0 {
        return Err("it needs another file, its backing file, \
                    and QEMU would open whatever that names"
            .to_owned());
    }
    if number32(head, 32).ok_or_else(broken)? != 0 {
        return Err("it is encrypted".to_owned());
    }
    // Version 2 has no such field; the bytes there may be anything.
    let features = match version {
        3 => number64(head, 72).ok_or_else(broken)?,
        _ => 0,
    };
    check_features(features)?;
    match number64(head, 24).ok_or_else(broken)? {
        0 => Err("its disk has no size".to_owned()),
        disk_bytes @ 1..=MAX_DISK_BYTES => Ok(Format::Qcow2 { disk_bytes }),
        disk_bytes => Err(too_large(disk_bytes)),
    }
}

fn check_features(features: u64) -> Result<(), String> {
    if features & FEATURE_DATA_FILE != 0 {
        return Err("it needs another file, its external data file, \
                    and QEMU would open whatever that names"
            .to_owned());
    }
    if features & (FEATURE_DIRTY | FEATURE_CORRUPT) != 0 {
        return Err("it was not closed properly or is damaged, by its own word".to_owned());
    }
    match features & !(FEATURE_COMPRESSION | FEATURE_EXTENDED_L2) {
        0 => Ok(()),
        unknown => Err(format!(
            "it needs features that are not known: {unknown:#x}"
        )),
    }
}

fn too_large(bytes: u64) -> String {
    format!("its disk has {bytes} bytes, and at most {MAX_DISK_BYTES} are taken")
}

/// What the file is instead, where that can be told by its first bytes.
fn foreign_name(head: &[u8]) -> Option<&'static str> {
    const BEGINNINGS: [(&[u8], &str); 10] = [
        (b"KDMV", "a VMDK disk"),
        (b"# Disk DescriptorFile", "a description of a VMDK disk"),
        (b"vhdxfile", "a VHDX disk"),
        (b"conectix", "a VHD disk"),
        (b"QED\0", "a QED disk"),
        (b"LUKS\xba\xbe", "an encrypted disk (LUKS)"),
        (b"\x1f\x8b", "compressed (gzip)"),
        (b"\xfd7zXZ\0", "compressed (xz)"),
        (b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
        (b"PK\x03\x04", "an archive (zip)"),
    ];
    let begins = BEGINNINGS.iter().find(|(bytes, _)| head.starts_with(bytes));
    // VirtualBox puts a text of its own before the number.
    let is_vdi = head.get(0x40..0x44) == Some(&[0x7f, 0x10, 0xda, 0xbe]);
    begins
        .map(|(_, name)| *name)
        .or(is_vdi.then_some("a VDI disk"))
}

fn number32(head: &[u8], offset: usize) -> Option<u32> {
    let bytes = head.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn number64(head: &[u8], offset: usize) -> Option<u64> {
    let bytes = head.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as `qemu-img create -f qcow2` writes it, with a few fields changed.
    fn qcow2(changes: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; 512];
        let fields: [(usize, &[u8]); 5] = [
            (0, MAGIC),
            (4, &3_u32.to_be_bytes()),
            (20, &16_u32.to_be_bytes()),
            (24, &(8_u64 << 30).to_be_bytes()),
            (100, &104_u32.to_be_bytes()),
        ];
        for (offset, bytes) in fields.iter().chain(changes) {
            head[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    fn refused(head: &[u8]) -> String {
        find_format(head, 1 << 20).unwrap_err()
    }

    #[test]
    fn an_ordinary_header_tells_its_size() {
        let expected = Ok(Format::Qcow2 {
            disk_bytes: 8 << 30,
        });
        assert_eq!(find_format(&qcow2(&[]), 196_616), expected);
        let zstd = qcow2(&[(72, &FEATURE_COMPRESSION.to_be_bytes())]);
        assert_eq!(find_format(&zstd, 196_616), expected);
        // Version 2 has no features, whatever stands in their place.
        let old = qcow2(&[(4, &2_u32.to_be_bytes()), (72, &[0xff; 8])]);
        assert_eq!(find_format(&old, 196_616), expected);
    }

    #[test]
    fn headers_that_name_other_files_are_refused() {
        let backing = qcow2(&[
            (8, &112_u64.to_be_bytes()),
            (16, &11_u32.to_be_bytes()),
            (112, b"/etc/shadow"),
        ]);
        assert!(refused(&backing).contains("backing file"));
        assert_eq!(backing_name(&backing), Ok(Some("/etc/shadow".to_owned())));
        let length_only = qcow2(&[(16, &11_u32.to_be_bytes())]);
        assert!(refused(&length_only).contains("backing file"));
        let data = qcow2(&[(72, &FEATURE_DATA_FILE.to_be_bytes())]);
        assert!(refused(&data).contains("external data file"));
    }

    #[test]
    fn headers_that_no_program_should_see_are_refused() {
        let cases: [(usize, &[u8], &str); 8] = [
            (4, &1_u32.to_be_bytes(), "version 1"),
            (4, &4_u32.to_be_bytes(), "version 4"),
            (24, &[0; 8], "no size"),
            (24, &[0xff; 8], "18446744073709551615 bytes"),
            (24, &(MAX_DISK_BYTES + 1).to_be_bytes(), "at most"),
            (32, &1_u32.to_be_bytes(), "encrypted"),
            (72, &FEATURE_CORRUPT.to_be_bytes(), "damaged"),
            (72, &(1_u64 << 63).to_be_bytes(), "0x8000000000000000"),
        ];
        for (offset, bytes, word) in cases {
            let told = refused(&qcow2(&[(offset, bytes)]));
            assert!(told.contains(word), "{word}: {told}");
        }
    }

    #[test]
    fn no_header_that_is_cut_short_is_taken_and_none_panics() {
        let whole = qcow2(&[(8, &[0xff; 8]), (16, &100_u32.to_be_bytes())]);
        for length in 0..80 {
            assert!(find_format(&whole[..length], 512).is_err(), "{length}");
            let _ = backing_name(&whole[..length]);
        }
        assert!(backing_name(&whole).is_err());
        let long = qcow2(&[(8, &1_u64.to_be_bytes()), (16, &1024_u32.to_be_bytes())]);
        assert!(backing_name(&long).is_err());
    }

    #[test]
    fn raw_is_what_can_be_booted_from() {
        let mut sector = vec![0; 512];
        assert!(refused(&sector).contains("no boot signature"));
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(find_format(&sector, 1 << 20), Ok(Format::Raw));
        assert!(
            find_format(&sector, 1000)
                .unwrap_err()
                .contains("whole sectors")
        );
        assert!(
            find_format(&sector, u64::MAX)
                .unwrap_err()
                .contains("at most")
        );
        assert!(find_format(b"", 0).is_err());
        for (bytes, word) in [
            (&b"KDMV"[..], "VMDK"),
            (b"\xfd7zXZ\0", "xz"),
            (b"LUKS\xba\xbe", "LUKS"),
        ] {
            sector[..bytes.len()].copy_from_slice(bytes);
            assert!(refused(&sector).contains(word), "{word}");
        }
    }
}
