//! The disk of a seed: a FAT file system labelled `CIDATA`, without a partition table.

use std::io::{Cursor, Write as _};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};

use super::SeedFiles;
use crate::error::Error;
use crate::limits::SEED_BYTES;

/// Makes the disk. Nothing in it depends on the time or on chance: files have FAT's first date, and
/// the number of the volume is one for all.
///
/// # Errors
/// Where the files have no room.
pub(super) fn make(files: &SeedFiles) -> Result<Vec<u8>, Error> {
    let at = |error| Error::file("cannot make the seed's disk", error);
    let mut disk = vec![0; SEED_BYTES];
    let options = FormatVolumeOptions::new()
        .volume_id(0x1234_5678)
        .volume_label(*b"CIDATA     ");
    format_volume(Cursor::new(&mut disk), options).map_err(at)?;
    {
        let system = FileSystem::new(Cursor::new(&mut disk), FsOptions::new()).map_err(at)?;
        let root = system.root_dir();
        for (name, text) in [
            ("meta-data", &files.meta_data),
            ("user-data", &files.user_data),
            ("network-config", &files.network_config),
        ] {
            let mut file = root.create_file(name).map_err(at)?;
            file.write_all(text.as_bytes()).map_err(at)?;
            file.flush().map_err(at)?;
        }
        drop(root);
        system.unmount().map_err(at)?;
    }
    Ok(disk)
}
