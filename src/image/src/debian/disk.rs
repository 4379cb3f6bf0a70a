//! The disk of a made image, as a file: three partitions in a GPT.
//!
//! No loop device and no mount: the file systems are written into the file where they belong.
//!
//! | | first sector | what |
//! |---|---|---|
//! | 1 | 2048 | GRUB for a BIOS, 1 MiB |
//! | 2 | 4096 | EFI system partition, 128 MiB: both boot loaders, kernel, initramfs |
//! | 3 | 266240 | the root, ext4; the last one, so that it can grow |

use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use fscommon::{BufStream, StreamSlice};

use super::bios::BiosCode;
use super::identifiers::Identifiers;
use crate::error::Error;
use crate::limits::LONG_PROGRAM;
use crate::program::Program;
use crate::size::DiskSize;

pub(super) const SFDISK: Program = Program::of("sfdisk", "fdisk");
pub(super) const MKFS: Program = Program::of("mkfs.ext4", "e2fsprogs");

const SECTOR: u64 = 512;
pub(super) const BIOS_START: u64 = 2048;
pub(super) const BIOS_SECTORS: u64 = 2048;
const ESP_START: u64 = BIOS_START + BIOS_SECTORS;
/// Room for two kernels with their initramfs, one of which is being replaced.
const ESP_SECTORS: u64 = 128 << 11;
const ROOT_START: u64 = ESP_START + ESP_SECTORS;
/// What stays free behind the root: the second copy of the GPT, and whole MiB.
const TAIL_SECTORS: u64 = 2048;

/// Files of the EFI system partition: a path with folders, and where its bytes come from.
pub(super) enum EspFile<'a> {
    /// A text.
    Text(&'a str, String),
    /// A copy of a file.
    Copy(&'a str, &'a Path),
}

/// Makes the disk: partitions, boot loaders and the root, which is the content of a folder.
///
/// # Errors
/// Where a program fails, or something cannot be written.
pub(super) fn make(
    disk: &Path,
    size: DiskSize,
    ids: &Identifiers,
    root: &Path,
    esp: &[EspFile<'_>],
    bios: &BiosCode,
) -> Result<(), Error> {
    let at = |error: io::Error| Error::file(format!("cannot write '{}'", disk.display()), error);
    let file = File::create_new(disk).map_err(at)?;
    file.set_len(size.bytes()).map_err(at)?;
    let sectors = size.bytes() / SECTOR;
    let root_sectors = sectors.saturating_sub(ROOT_START + TAIL_SECTORS);
    let table = partition_table(ids, root_sectors);
    SFDISK
        .call()
        .arguments(["--quiet", "--no-reread", "--no-tell-kernel"])
        .argument(disk)
        .text(table)
        .run()?;
    file.write_all_at(&bios.first_sector, 0)
        .and_then(|()| file.write_all_at(&bios.core, BIOS_START * SECTOR))
        .and_then(|()| write_esp(&file, ids, esp))
        .map_err(at)?;
    let options = format!(
        "offset={},lazy_itable_init=1,lazy_journal_init=1,hash_seed={}",
        ROOT_START * SECTOR,
        ids.root_hash
    );
    MKFS.call()
        .arguments([
            "-q",
            "-F",
            "-b",
            "4096",
            "-L",
            "root",
            "-U",
            &ids.root_system,
            "-d",
        ])
        .argument(root)
        .arguments(["-E", &options])
        .argument(disk)
        .argument(format!("{}k", root_sectors / 8 * 4))
        .limit(LONG_PROGRAM)
        .run()?;
    Ok(())
}

/// What sfdisk is told: `sfdisk(8)`, "INPUT FORMATS". The types of the partitions: UEFI
/// specification, section 5.3.3, GRUB's manual, and the Discoverable Partitions Specification,
/// by which systemd-repart knows the root.
fn partition_table(ids: &Identifiers, root_sectors: u64) -> String {
    let partition = |start: u64, size: u64, kind: &str, id: &str, name: &str| {
        format!("start={start}, size={size}, type={kind}, uuid={id}, name={name}\n")
    };
    let bios = "21686148-6449-6E6F-744E-656564454649";
    let esp = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
    let root = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
    format!(
        "label: gpt\nlabel-id: {}\nunit: sectors\nfirst-lba: 2048\n{}{}{}",
        ids.disk,
        partition(BIOS_START, BIOS_SECTORS, bios, &ids.bios, "bios"),
        partition(ESP_START, ESP_SECTORS, esp, &ids.esp, "esp"),
        partition(ROOT_START, root_sectors, root, &ids.root, "root"),
    )
}

/// Writes the EFI system partition into its place.
fn write_esp(disk: &File, ids: &Identifiers, files: &[EspFile<'_>]) -> io::Result<()> {
    let (start, end) = (ESP_START * SECTOR, ROOT_START * SECTOR);
    let slice = || StreamSlice::new(disk.try_clone()?, start, end).map(BufStream::new);
    let options = FormatVolumeOptions::new()
        .volume_id(ids.esp_volume)
        .volume_label(*b"ESP        ");
    let mut place = slice()?;
    format_volume(&mut place, options)?;
    place.flush()?;
    drop(place);
    let system = FileSystem::new(slice()?, FsOptions::new())?;
    let root = system.root_dir();
    for file in files {
        let (EspFile::Text(path, _) | EspFile::Copy(path, _)) = file;
        for (index, _) in path.match_indices('/') {
            root.create_dir(path.get(..index).unwrap_or_default())?;
        }
        let mut written = root.create_file(path)?;
        match file {
            EspFile::Text(_, text) => written.write_all(text.as_bytes())?,
            EspFile::Copy(_, from) => {
                let mut from = BufReader::new(File::open(from)?);
                io::copy(&mut from, &mut written)?;
            }
        }
        written.flush()?;
    }
    drop(root);
    system.unmount()?;
    let mut disk = disk;
    disk.seek(SeekFrom::Start(0)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::debian::identifiers::of_sum;

    #[test]
    fn the_table_is_as_it_was_written_down() {
        let ids = of_sum(&"0123456789abcdef".repeat(4)).unwrap();
        assert_eq!(
            partition_table(&ids, 1000),
            "label: gpt\nlabel-id: 01234567-89ab-4def-8123-456789abcd00\nunit: sectors\n\
             first-lba: 2048\n\
             start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, \
             uuid=01234567-89ab-4def-8123-456789abcd01, name=bios\n\
             start=4096, size=262144, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, \
             uuid=01234567-89ab-4def-8123-456789abcd02, name=esp\n\
             start=266240, size=1000, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, \
             uuid=01234567-89ab-4def-8123-456789abcd03, name=root\n"
        );
    }

    #[test]
    fn the_esp_is_written_in_its_place_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel");
        std::fs::write(&kernel, vec![7; 3 << 20]).unwrap();
        let disk = File::create_new(folder.path().join("disk")).unwrap();
        disk.set_len(256 << 20).unwrap();
        let disk = File::options()
            .read(true)
            .write(true)
            .open(folder.path().join("disk"))
            .unwrap();
        let ids = of_sum(&"0123456789abcdef".repeat(4)).unwrap();
        let files = [
            EspFile::Text("loader/entries/debian.conf", "linux /vmlinuz\n".to_owned()),
            EspFile::Copy("vmlinuz", &kernel),
            EspFile::Text("loader/loader.conf", "timeout 0\n".to_owned()),
        ];
        write_esp(&disk, &ids, &files).unwrap();
        let mut sector = [1; 512];
        disk.read_exact_at(&mut sector, (ESP_START - 1) * SECTOR)
            .unwrap();
        assert_eq!(sector, [0; 512]);
        disk.read_exact_at(&mut sector, ROOT_START * SECTOR)
            .unwrap();
        assert_eq!(sector, [0; 512]);
        let (start, end) = (ESP_START * SECTOR, ROOT_START * SECTOR);
        let slice = StreamSlice::new(&disk, start, end).unwrap();
        let system = FileSystem::new(slice, FsOptions::new()).unwrap();
        assert_eq!(
            (system.volume_label().as_str(), system.volume_id()),
            ("ESP", 0x0123_4567)
        );
        let mut text = String::new();
        let mut file = system.root_dir().open_file("loader/loader.conf").unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "timeout 0\n");
        let mut bytes = Vec::new();
        let mut file = system.root_dir().open_file("vmlinuz").unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert!(bytes == vec![7; 3 << 20]);
    }
}
