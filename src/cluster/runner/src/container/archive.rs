//! Archives: what containers are made from beside the images of registries. A tar, as `docker save` writes
//! it or of a whole root file system, packed by gzip or Zstandard or not at all.
//!
//! Which of the two it is, its first entries tell. Both engines unpack gzip; Docker before 23 does not
//! unpack Zstandard, so it is unpacked here.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use vfioctl_api::ArchiveName;

use crate::limits::MAX_ARCHIVE_HEADERS;

/// An archive in the node's folder of archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    packing: Packing,
    /// What tells this file from one that was put in its place.
    pub(super) mark: Mark,
}

/// What tells a file from one that was put in its place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Mark {
    bytes: u64,
    modified: (i64, i64),
    inode: u64,
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstandard,
}

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// An image with its layers and settings, to be loaded.
    Image,
    /// A root file system, to be imported.
    RootFileSystem,
}

const ENDINGS: [(&str, Packing); 3] = [
    (".tar", Packing::Plain),
    (".tar.gz", Packing::Gzip),
    (".tar.zst", Packing::Zstandard),
];

impl Archive {
    /// Finds an archive by its name.
    ///
    /// # Errors
    /// Where there is none, as a sentence.
    pub(super) fn find(folder: &Path, name: &ArchiveName) -> Result<Self, String> {
        for (ending, packing) in ENDINGS {
            let path = folder.join(format!("{name}{ending}"));
            match File::open(&path) {
                Ok(file) => {
                    let mark = Mark::of(&file)
                        .map_err(|error| format!("'{}': {error}", path.display()))?;
                    return Ok(Self {
                        path,
                        packing,
                        mark,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("'{}': {error}", path.display())),
            }
        }
        Err(format!(
            "this node has no archive '{name}': put '{name}.tar', '.tar.gz' or '.tar.zst' into '{}'",
            folder.display()
        ))
    }

    /// The tar, unpacked as it is read.
    ///
    /// # Errors
    /// Where it cannot be opened, or has been replaced.
    pub(super) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let file = File::open(&self.path)?;
        if Mark::of(&file)? != self.mark {
            return Err(io::Error::other("it has just been replaced"));
        }
        let file = BufReader::with_capacity(1 << 20, file);
        Ok(match self.packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Packing::Zstandard => {
                Box::new(ruzstd::decoding::StreamingDecoder::new(file).map_err(io::Error::other)?)
            }
        })
    }

    /// What it holds.
    ///
    /// # Errors
    /// Where it is neither, as a sentence.
    pub(super) fn content(&self) -> Result<Content, String> {
        let wrong =
            |error: io::Error| format!("archive '{}' cannot be read: {error}", self.path.display());
        let found = find_content(&mut self.open().map_err(wrong)?).map_err(wrong)?;
        found.ok_or_else(|| {
            format!(
                "archive '{}' is neither an image, as 'docker save' writes it, nor a root file system, as 'docker \
                 export' does",
                self.path.display()
            )
        })
    }
}

impl Mark {
    fn of(file: &File) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = file.metadata()?;
        Ok(Self {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        })
    }
}

/// Looks at the names of a tar's entries (POSIX.1-2017, pax, "ustar Interchange Format") until one tells.
fn find_content(tar: &mut dyn Read) -> io::Result<Option<Content>> {
    const BLOCK: usize = 512;
    let mut header = [0_u8; BLOCK];
    for _ in 0..MAX_ARCHIVE_HEADERS {
        if let Err(error) = tar.read_exact(&mut header) {
            return if error.kind() == io::ErrorKind::UnexpectedEof {
                Ok(None)
            } else {
                Err(error)
            };
        }
        let field = |from: usize, to: usize| header.get(from..to).unwrap_or_default();
        if field(257, 262) != b"ustar" {
            return Ok(None);
        }
        let kind = field(156, 157).first().copied().unwrap_or_default();
        // Names of pax and GNU for what follows are no entries.
        if !b"xgLK".contains(&kind) {
            let name = field(0, 100)
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default();
            if let Some(content) = tells(&String::from_utf8_lossy(name)) {
                return Ok(Some(content));
            }
        }
        let Some(bytes) = size(field(124, 136)) else {
            return Ok(None);
        };
        let padded = bytes.div_ceil(512).saturating_mul(512);
        let skipped = io::copy(&mut tar.take(padded), &mut io::sink())?;
        if skipped != padded {
            return Ok(None);
        }
    }
    Ok(None)
}

/// A size in octal digits, or in GNU's base 256 where it is above 8 GiB.
fn size(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let low = field.get(field.len().checked_sub(8)?..)?;
        return Some(u64::from_be_bytes(low.try_into().ok()?));
    }
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// What an entry tells by its name: images have digests for names (`docker save`) or the layout of OCI,
/// root file systems the folders of the FHS.
fn tells(name: &str) -> Option<Content> {
    let name = name.trim_start_matches("./");
    let first = name.split('/').next().unwrap_or_default();
    let stem = first.split('.').next().unwrap_or_default();
    let is_digest = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest || ["oci-layout", "blobs", "manifest.json"].contains(&first) {
        return Some(Content::Image);
    }
    const FOLDERS: [&str; 16] = [
        "bin", "boot", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "root", "run", "sbin",
        "sys", "tmp", "usr", "var",
    ];
    FOLDERS.contains(&first).then_some(Content::RootFileSystem)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A tar of empty files and folders.
    fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in entries {
            let mut header = [0_u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            header[156] = b'0';
            header[257..263].copy_from_slice(b"ustar\0");
            bytes.extend(header);
            bytes.extend(*content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn content(bytes: &[u8]) -> Option<Content> {
        find_content(&mut &*bytes).unwrap()
    }

    #[test]
    fn an_archive_tells_by_its_first_entries_what_it_is() {
        let digest = "a".repeat(64);
        let image = [
            tar(&[(&format!("{digest}/"), b""), ("manifest.json", b"[]")]),
            tar(&[(&format!("{digest}.json"), b"{}")]),
            tar(&[("blobs/sha256/x", b"12345"), ("oci-layout", b"{}")]),
            tar(&[("repositories", b"{}"), ("manifest.json", b"[]")]),
        ];
        for bytes in image {
            assert_eq!(content(&bytes), Some(Content::Image));
        }
        for name in ["./", "./etc/passwd", "bin/sh"] {
            let bytes = tar(&[("README", &[0; 700]), (name, b""), ("usr/", b"")]);
            assert_eq!(content(&bytes), Some(Content::RootFileSystem), "{name}");
        }
    }

    #[test]
    fn what_is_no_archive_is_none() {
        let cut = tar(&[("README", &[0; 700])]);
        let mut endless = tar(&[("README", b"")]);
        // A size that leads behind the end, and one that is no number.
        endless[124..136].copy_from_slice(&[0xff; 12]);
        let mut letters = tar(&[("README", b"")]);
        letters[124] = b'x';
        for bytes in [
            &b""[..],
            b"hello",
            &[0; 2048],
            &cut,
            &cut[..600],
            &endless,
            &letters,
        ] {
            assert_eq!(content(bytes), None);
        }
    }

    #[test]
    fn each_packing_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = tar(&[("etc/", b"")]);
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.tar"), &bytes).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(
            File::create(at("b.tar.gz")).unwrap(),
            flate2::Compression::fast(),
        );
        gzip.write_all(&bytes).unwrap();
        gzip.finish().unwrap();
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        std::fs::write(
            at("c.tar.zst"),
            ruzstd::encoding::compress_to_vec(&*bytes, level),
        )
        .unwrap();
        for name in ["a", "b", "c"] {
            let archive = Archive::find(folder.path(), &name.parse().unwrap()).unwrap();
            assert_eq!(archive.content(), Ok(Content::RootFileSystem), "{name}");
            let mut unpacked = Vec::new();
            archive.open().unwrap().read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, bytes, "{name}");
        }
        assert!(Archive::find(folder.path(), &"d".parse().unwrap()).is_err());
    }

    #[test]
    fn an_archive_that_was_replaced_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        std::fs::write(&path, tar(&[("etc/", b"")])).unwrap();
        let archive = Archive::find(folder.path(), &"a".parse().unwrap()).unwrap();
        std::fs::write(folder.path().join("new"), tar(&[("usr/", b"")])).unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(archive.open().is_err());
        assert_ne!(
            Archive::find(folder.path(), &"a".parse().unwrap()).unwrap(),
            archive
        );
    }
}
