//! The places of the running system that are looked at: `/sys`, `/proc`, `/dev`, `/etc`, `/usr`,
//! `/run`.
//!
//! This is the only file that names them. Each is an open directory; everything else is read by a
//! path relative to one. A folder with the same layout serves tests: it is opened by the same code.
//!
//! Kernel: `openat2(2)` with `RESOLVE_BENEATH`, since 5.6: no link leads out of a root.

use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Dir as DirStream, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use crate::ReadError;
use crate::overrides::Stalled;

/// Longest text read from one file. Kernel attributes are at most a page; `/proc/PID/mountinfo`
/// and `/proc/modules` of a large machine stay well below this.
const MAX_TEXT_BYTES: u64 = 4 << 20;
/// Most names taken from one folder: more than any PCI machine has functions (65,536 a domain).
const MAX_ENTRIES: usize = 1 << 20;

/// The open roots.
#[derive(Debug)]
pub struct SysRoot {
    /// `/sys`.
    pub sys: Root,
    /// `/proc`.
    pub proc: Root,
    /// `/dev`.
    pub dev: Root,
    /// `/etc`.
    pub etc: Root,
    /// `/usr`.
    pub usr: Root,
    /// `/run`.
    pub run: Root,
    pub(crate) stalled: Stalled,
}

/// One open directory, and what it is called in messages.
#[derive(Debug)]
pub struct Root {
    name: String,
    dir: Option<rustix::fd::OwnedFd>,
}

impl SysRoot {
    /// Opens the roots of the running system.
    ///
    /// # Errors
    /// Where `/sys` or `/proc` cannot be opened; the others may be absent.
    pub fn live() -> Result<Self, ReadError> {
        Self::below(Path::new("/"))
    }

    /// Opens the roots of a machine that lies in a folder.
    ///
    /// # Errors
    /// Where its `sys` or `proc` cannot be opened; the others may be absent.
    pub fn below(folder: &Path) -> Result<Self, ReadError> {
        Ok(Self {
            sys: Root::open(folder, "sys")?.required()?,
            proc: Root::open(folder, "proc")?.required()?,
            dev: Root::open(folder, "dev")?,
            etc: Root::open(folder, "etc")?,
            usr: Root::open(folder, "usr")?,
            run: Root::open(folder, "run")?,
            stalled: Stalled::default(),
        })
    }
}

impl Root {
    fn open(folder: &Path, name: &str) -> Result<Self, ReadError> {
        let path = folder.join(name);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let name = format!("/{name}");
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(dir) => Ok(Self {
                name,
                dir: Some(dir),
            }),
            Err(Errno::NOENT) => Ok(Self { name, dir: None }),
            Err(errno) => Err(ReadError::io(&name, errno)),
        }
    }

    fn required(self) -> Result<Self, ReadError> {
        match self.dir {
            Some(_) => Ok(self),
            None => Err(ReadError::io(&self.name, Errno::NOENT)),
        }
    }

    /// What a path is called in messages.
    pub fn display(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    /// The text of a file without trailing white space; `None` where there is no such file.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read_text(&self, path: &str) -> Result<Option<String>, ReadError> {
        let Some(bytes) = self.read_bytes(path, MAX_TEXT_BYTES)? else {
            return Ok(None);
        };
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        text.truncate(text.trim_end().len());
        Ok(Some(text))
    }

    /// The text of a kernel attribute without trailing white space; `None` where there is none.
    ///
    /// An attribute is given whole by one read of a page (`Documentation/filesystems/sysfs.rst`),
    /// so this costs one read, which counts on machines with thousands of functions.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read_attribute(&self, path: &str) -> Result<Option<String>, ReadError> {
        let mut page = [0_u8; 4096];
        Ok(self
            .read_once(path, &mut page)?
            .map(|bytes| String::from_utf8_lossy(bytes).trim_end().to_owned()))
    }

    /// What one read gives; `None` where there is no such file.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read_once<'a>(
        &self,
        path: &str,
        buffer: &'a mut [u8],
    ) -> Result<Option<&'a [u8]>, ReadError> {
        let Some(fd) = self.open_at(path, OFlags::RDONLY)? else {
            return Ok(None);
        };
        match std::fs::File::from(fd).read(buffer) {
            Ok(len) => Ok(Some(buffer.get(..len).unwrap_or_default())),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(ReadError::io(&self.display(path), error)),
        }
    }

    /// At most `limit` bytes of a file; `None` where there is no such file.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read_bytes(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(fd) = self.open_at(path, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        match std::fs::File::from(fd).take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(Some(bytes)),
            // The device or process went away between open and read.
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(ReadError::io(&self.display(path), error)),
        }
    }

    /// The last name in the target of a link, as in `driver -> ../../bus/pci/drivers/NAME`;
    /// `None` where there is no such link.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read_link_name(&self, path: &str) -> Result<Option<String>, ReadError> {
        Ok(self.read_link(path)?.and_then(|target| {
            target
                .rsplit('/')
                .next()
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
        }))
    }

    /// The target of a link; `None` where there is no such link.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read_link(&self, path: &str) -> Result<Option<String>, ReadError> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        match rustix::fs::readlinkat(dir, path, Vec::with_capacity(128)) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL | Errno::SRCH) => Ok(None),
            Err(errno) => Err(ReadError::io(&self.display(path), errno)),
        }
    }

    /// The names in a folder, sorted; `None` where there is no such folder.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn list(&self, path: &str) -> Result<Option<Vec<String>>, ReadError> {
        let Some(fd) = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)? else {
            return Ok(None);
        };
        let at = |errno: Errno| ReadError::io(&self.display(path), errno);
        let mut names = Vec::new();
        for entry in DirStream::new(fd).map_err(at)?.take(MAX_ENTRIES) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(at(errno)),
            };
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        names.sort();
        Ok(Some(names))
    }

    /// Whether something is there, links followed.
    pub fn exists(&self, path: &str) -> bool {
        matches!(self.open_at(path, OFlags::PATH), Ok(Some(_)))
    }

    /// Owner, group and mode bits of something; `None` where it is not there.
    pub fn owner_and_mode(&self, path: &str) -> Option<(u32, u32, u32)> {
        let fd = self.open_at(path, OFlags::PATH).ok().flatten()?;
        let stat = rustix::fs::statx(
            &fd,
            "",
            rustix::fs::AtFlags::EMPTY_PATH,
            StatxFlags::BASIC_STATS,
        );
        stat.ok()
            .map(|stat| (stat.stx_uid, stat.stx_gid, u32::from(stat.stx_mode)))
    }

    /// An open file, for reads at offsets; `None` where there is no such file.
    ///
    /// # Errors
    /// Where it is there and cannot be opened.
    pub(crate) fn open_file(&self, path: &str) -> Result<Option<rustix::fd::OwnedFd>, ReadError> {
        self.open_at(path, OFlags::RDONLY)
    }

    /// Another root inside this one, so that many files of one folder are opened cheaply.
    ///
    /// # Errors
    /// Where it is there and cannot be opened.
    pub fn sub(&self, path: &str) -> Result<Option<Self>, ReadError> {
        let dir = self.open_at(path, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(dir.map(|dir| Self {
            name: self.display(path),
            dir: Some(dir),
        }))
    }

    fn open_at(&self, path: &str, flags: OFlags) -> Result<Option<rustix::fd::OwnedFd>, ReadError> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut flags = flags | OFlags::CLOEXEC;
        // A pipe or a device node in the place of a file must not hold the reader. `openat2`
        // refuses the flag together with O_PATH, which opens nothing that could block.
        if !flags.contains(OFlags::PATH) {
            flags |= OFlags::NONBLOCK;
        }
        // EAGAIN: something was renamed while the path was walked; the manual says to try again.
        for _ in 0..8 {
            match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::AGAIN) => {}
                Err(Errno::NOENT | Errno::NOTDIR | Errno::SRCH | Errno::NODEV) => return Ok(None),
                Err(errno) => return Err(ReadError::io(&self.display(path), errno)),
            }
        }
        Err(ReadError::io(&self.display(path), Errno::AGAIN))
    }
}

/// What reads of sysfs and procfs files say when their object is gone.
fn is_absence(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NODEV | Errno::SRCH | Errno::NOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("sys/devices/pci0000:00/0000:00:01.0");
        std::fs::create_dir_all(&device).unwrap();
        std::fs::create_dir_all(folder.path().join("sys/bus")).unwrap();
        std::fs::create_dir_all(folder.path().join("proc")).unwrap();
        std::fs::write(device.join("class"), "0x030000\n").unwrap();
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(at)).unwrap();
        };
        link("../devices/pci0000:00/0000:00:01.0", "sys/bus/device");
        link("/etc/passwd", "sys/bus/outside");
        folder
    }

    #[test]
    fn links_are_followed_within_a_root_and_never_out_of_it() {
        let folder = machine();
        let root = SysRoot::below(folder.path()).unwrap();
        let device = root.sys.sub("bus/device").unwrap().unwrap();
        assert_eq!(
            device.read_attribute("class").unwrap().as_deref(),
            Some("0x030000")
        );
        assert_eq!(
            root.sys.read_link_name("bus/device").unwrap().as_deref(),
            Some("0000:00:01.0")
        );
        assert!(root.sys.exists("bus/device/class"));
        assert!(root.sys.owner_and_mode("bus/device/class").is_some());
        assert!(root.sys.read_text("bus/outside").is_err());
        assert!(root.sys.read_text("../proc/x").is_err());
    }

    #[test]
    fn what_is_absent_is_none_and_no_error() {
        let folder = machine();
        let root = SysRoot::below(folder.path()).unwrap();
        assert_eq!(root.sys.read_text("bus/none").unwrap(), None);
        assert_eq!(root.sys.list("bus/none").unwrap(), None);
        assert!(root.sys.sub("bus/none").unwrap().is_none());
        assert_eq!(root.dev.read_text("anything").unwrap(), None);
        assert!(!root.sys.exists("bus/none"));
    }
}
