//! GRUB for a PC's BIOS: two pieces of code that are told where on the disk they lie.
//!
//! The BIOS loads the first sector (`boot.img`), which loads one sector (the first of `core.img`),
//! which loads the rest. Each has the place of the next in fields of its own, which GRUB's own
//! installer would fill in for a disk that is there; a file is no disk, so it is done here. The
//! fields: GRUB 2.06, `include/grub/i386/pc/boot.h` and `include/grub/offsets.h`.

use std::ops::Range;

/// What of the first sector is code; the partition table follows.
const CODE: usize = 440;
/// `GRUB_BOOT_MACHINE_KERNEL_SECTOR`: the sector that is loaded next.
const KERNEL_SECTOR: Range<usize> = 0x5c..0x64;
/// `GRUB_BOOT_MACHINE_DRIVE_CHECK`: a jump that believes the BIOS about the drive only where it is
/// no floppy's. Two instructions that do nothing (0x90) take it away, as the installer does.
const DRIVE_CHECK: Range<usize> = 0x66..0x68;
/// The last entry of the list of blocks in the first sector of `core.img`, its only one here: the
/// first sector, how many, and the segment to load them to, which is right already.
const BLOCK_START: Range<usize> = 0x1f4..0x1fc;
const BLOCK_COUNT: Range<usize> = 0x1fc..0x1fe;

/// The two pieces, for their places on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BiosCode {
    /// The first 440 bytes of the disk.
    pub(super) first_sector: Vec<u8>,
    /// What lies in the partition for it.
    pub(super) core: Vec<u8>,
}

impl BiosCode {
    /// Tells GRUB's pieces that `core` begins at this sector.
    ///
    /// # Errors
    /// Where they are not what they should be, or do not fit into so many sectors.
    pub(super) fn new(boot: &[u8], core: &[u8], sector: u64, room: u64) -> Result<Self, String> {
        let sectors = u64::try_from(core.len().div_ceil(512)).unwrap_or(u64::MAX);
        if boot.len() != 512 || sectors < 2 || sectors > room {
            return Err("GRUB's image for a BIOS is not of the size that it should be".to_owned());
        }
        let count = u16::try_from(sectors - 1).map_err(|_| "GRUB's image is too large")?;
        let (mut first_sector, mut core) = (boot.to_vec(), core.to_vec());
        put(&mut first_sector, KERNEL_SECTOR, &sector.to_le_bytes());
        put(&mut first_sector, DRIVE_CHECK, &[0x90, 0x90]);
        first_sector.truncate(CODE);
        put(&mut core, BLOCK_START, &(sector + 1).to_le_bytes());
        put(&mut core, BLOCK_COUNT, &count.to_le_bytes());
        Ok(Self { first_sector, core })
    }
}

/// Puts bytes where there are as many; the lengths were looked at before.
fn put(image: &mut [u8], place: Range<usize>, bytes: &[u8]) {
    if let Some(place) = image.get_mut(place) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_knows_where_the_next_one_is() {
        let code = BiosCode::new(&[1; 512], &[2; 512 * 9 + 1], 2048, 2048).unwrap();
        assert_eq!(code.first_sector.len(), CODE);
        assert_eq!(code.first_sector[0x5c..0x64], 2048_u64.to_le_bytes());
        assert_eq!(code.first_sector[0x64..0x69], [1, 1, 0x90, 0x90, 1]);
        assert_eq!(code.core.len(), 512 * 9 + 1);
        assert_eq!(code.core[0x1f4..0x1fc], 2049_u64.to_le_bytes());
        assert_eq!(code.core[0x1fc..0x1fe], 9_u16.to_le_bytes());
        assert_eq!(code.core[0x1fe..0x201], [2, 2, 2]);
    }

    #[test]
    fn pieces_of_other_sizes_are_refused() {
        for (boot, core) in [(511, 1024), (512, 512), (512, 512 * 2048 + 1)] {
            assert!(BiosCode::new(&vec![0; boot], &vec![0; core], 2048, 2048).is_err());
        }
    }
}
