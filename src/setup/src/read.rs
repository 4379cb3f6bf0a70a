//! Reads the facts: files below a root folder, `/` on a real machine.
//!
//! Nothing of the kernel's is read here; that is `vfioctl-scan`'s, and comes in as [`Machine`].

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind as IoKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use vfioctl_core::Answer;

use crate::error::Error;
use crate::facts::{Facts, Grub, InitramfsWriter, Kernel, Machine, Refresh, SystemdBoot, TextFile};
use crate::limits::{MAX_FILE_BYTES, MAX_FILES};
use crate::paths;
use crate::record::Record;

/// Reads all that a plan is made of, below `root`.
///
/// # Errors
/// Where a file is there and cannot be read, other than for want of permission.
pub fn read_facts(root: &Path, machine: Machine) -> Result<Facts, Error> {
    let mut look = Look {
        root,
        hidden: Vec::new(),
    };
    let modules_load = [
        "/etc/modules-load.d",
        "/run/modules-load.d",
        "/usr/local/lib/modules-load.d",
        "/usr/lib/modules-load.d",
    ];
    let mut modules = Vec::from_iter(look.file("/etc/modules")?);
    // A file hides those of its name in later folders (`modules-load.d(5)`).
    let mut names = BTreeSet::new();
    for folder in modules_load {
        let files = look.files(folder, ".conf")?;
        let name = |file: &TextFile| file.path.rsplit('/').next().map(str::to_owned);
        modules.extend(files.into_iter().filter(|file| names.insert(name(file))));
    }
    let rules = paths::RULES
        .into_iter()
        .find(|path| look.is_there(path))
        .map(str::to_owned);
    Ok(Facts {
        grub: look.grub()?,
        systemd_boot: look.systemd_boot(&machine)?,
        modules_load: modules,
        limits: look.limits()?,
        initramfs: look.initramfs()?,
        has_pins: !look.names(paths::PINNED)?.is_empty(),
        rules,
        pending: look.pending()?,
        machine,
        hidden: look.hidden,
    })
}

struct Look<'a> {
    root: &'a Path,
    hidden: Vec<String>,
}

impl Look<'_> {
    fn at(&self, path: &str) -> PathBuf {
        paths::below(self.root, path)
    }

    fn is_there(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    /// The first of some programs, as an absolute path.
    fn program(&self, names: &[&str]) -> Option<String> {
        let each = names
            .iter()
            .flat_map(|name| paths::PROGRAMS.map(|folder| format!("{folder}/{name}")));
        each.into_iter().find(|path| self.is_there(path))
    }

    /// `None` where it is not there, and where this user may not see it; then it is noted.
    fn seen<T>(&mut self, path: &str, read: std::io::Result<T>) -> Result<Option<T>, Error> {
        match read {
            Ok(seen) => Ok(Some(seen)),
            Err(error) => match error.kind() {
                IoKind::NotFound | IoKind::NotADirectory => Ok(None),
                IoKind::PermissionDenied => {
                    self.hidden.push(path.to_owned());
                    Ok(None)
                }
                _ => Err(Error::file(format!("cannot read '{path}'"), error)),
            },
        }
    }

    fn file(&mut self, path: &str) -> Result<Option<TextFile>, Error> {
        let read = read_bounded(&self.at(path));
        let bytes = self.seen(path, read)?;
        let path = path.to_owned();
        Ok(bytes.map(|bytes| TextFile { path, bytes }))
    }

    /// The names in a folder that are text, sorted as the shell's `*` has them in the locale C.
    fn names(&mut self, folder: &str) -> Result<Vec<String>, Error> {
        let listed = fs::read_dir(self.at(folder))
            .and_then(|entries| entries.take(MAX_FILES).collect::<Result<Vec<_>, _>>());
        let entries = self.seen(folder, listed)?.unwrap_or_default();
        let names = entries
            .into_iter()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        Ok(names)
    }

    fn files(&mut self, folder: &str, ending: &str) -> Result<Vec<TextFile>, Error> {
        let mut files = Vec::new();
        for name in self.names(folder)? {
            if name.ends_with(ending) {
                files.extend(self.file(&format!("{folder}/{name}"))?);
            }
        }
        Ok(files)
    }

    fn grub(&mut self) -> Result<Option<Grub>, Error> {
        let Some(default) = self.file(paths::GRUB_DEFAULT)? else {
            return Ok(None);
        };
        let Some(mkconfig) = self.program(&["grub-mkconfig", "grub2-mkconfig"]) else {
            return Ok(None);
        };
        // It is a script. Debian's sources the folder, the original does not.
        let script = self.file(&mkconfig)?.unwrap_or(TextFile {
            path: mkconfig.clone(),
            bytes: Vec::new(),
        });
        let is_sourced = script
            .bytes
            .windows(b"default/grub.d".len())
            .any(|window| window == b"default/grub.d");
        let configuration = match mkconfig.ends_with("grub2-mkconfig") {
            true => "/boot/grub2/grub.cfg",
            false => "/boot/grub/grub.cfg",
        };
        let update = match self.program(&["update-grub"]) {
            Some(program) => vec![program],
            None => vec![mkconfig, "-o".to_owned(), configuration.to_owned()],
        };
        Ok(Some(Grub {
            drop_ins: match is_sourced {
                true => Some(self.files(paths::GRUB_FOLDER, ".cfg")?),
                false => None,
            },
            default,
            update,
            has_grubby: self.program(&["grubby"]).is_some(),
        }))
    }

    fn systemd_boot(&mut self, machine: &Machine) -> Result<SystemdBoot, Error> {
        let mut entries = Vec::new();
        let mut folders = BTreeSet::new();
        for folder in paths::LOADER_ENTRIES {
            // One of them can be a link to another.
            let place = fs::metadata(self.at(folder)).map(|folder| (folder.dev(), folder.ino()));
            if place.is_ok_and(|place| folders.insert(place)) {
                entries.extend(self.files(folder, ".conf")?);
            } else if fs::read_dir(self.at(folder)).is_err() {
                self.names(folder)?;
            }
        }
        let running = match &machine.kernel_release {
            Answer::Known(release) => Some(release.clone()),
            Answer::CannotSee => None,
        };
        let kernels = running.into_iter().filter_map(|version| {
            let image = [
                format!("/boot/vmlinuz-{version}"),
                format!("/usr/lib/modules/{version}/vmlinuz"),
            ];
            let image = image.into_iter().find(|path| self.is_there(path))?;
            let initrd = Some(format!("/boot/initrd.img-{version}"));
            Some(Kernel {
                initrd: initrd.filter(|path| self.is_there(path)),
                image,
                version,
            })
        });
        let kernels = kernels.collect();
        Ok(SystemdBoot {
            entries,
            command_line: self.file(paths::KERNEL_CMDLINE)?,
            vendor_command_line: self.file("/usr/lib/kernel/cmdline")?,
            has_kernel_install: self.program(&["kernel-install"]).is_some(),
            kernels,
        })
    }

    fn limits(&mut self) -> Result<Option<Vec<TextFile>>, Error> {
        if !self.is_there("/etc/security") {
            return Ok(None);
        }
        let mut files = Vec::from_iter(self.file("/etc/security/limits.conf")?);
        files.extend(self.files("/etc/security/limits.d", ".conf")?);
        Ok(Some(files))
    }

    fn initramfs(&mut self) -> Result<InitramfsWriter, Error> {
        if self.is_there("/etc/initramfs-tools") && self.program(&["update-initramfs"]).is_some() {
            return self.initramfs_tools();
        }
        if self.program(&["dracut"]).is_some() {
            let conf = self.file(paths::DRACUT_CONF)?;
            return Ok(InitramfsWriter::Dracut { conf });
        }
        Ok(InitramfsWriter::Unknown)
    }

    fn initramfs_tools(&mut self) -> Result<InitramfsWriter, Error> {
        let mut files = Vec::from_iter(self.file("/etc/initramfs-tools/initramfs.conf")?);
        files.extend(self.files("/etc/initramfs-tools/conf.d", "")?);
        let settings: Vec<String> = files.iter().flat_map(lines).collect();
        let value = |name: &str| {
            let mut values = settings.iter().filter_map(|line| line.strip_prefix(name));
            let last = values.next_back();
            last.map(|value| value.trim_matches(['"', '\'']))
        };
        let named = self.file("/etc/initramfs-tools/modules")?;
        let named = named.iter().flat_map(lines).filter_map(|line| {
            let word = line.split_whitespace().next()?;
            (!word.starts_with('#')).then(|| word.to_owned())
        });
        Ok(InitramfsWriter::InitramfsTools {
            modules: value("MODULES=").map(str::to_owned),
            named: named.collect(),
            has_splash: self.is_there("/usr/share/initramfs-tools/hooks/plymouth")
                || value("FRAMEBUFFER=").is_some_and(|value| value.starts_with(['y', 'Y'])),
            hook: self.file(paths::INITRAMFS_HOOK)?,
        })
    }

    fn pending(&mut self) -> Result<BTreeSet<Refresh>, Error> {
        match self.file(paths::RECORD)? {
            Some(file) => Ok(Record::parse(&file.bytes)?.pending),
            None => Ok(BTreeSet::new()),
        }
    }
}

/// The lines of a file, as far as they are text.
pub(crate) fn lines(file: &TextFile) -> Vec<String> {
    let text = String::from_utf8_lossy(&file.bytes);
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// The bytes of a file that is not larger than any file that is edited here.
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    // Not to wait for the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    // A folder, pipe or device of this name would not end, or is no file of ours.
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(IoKind::InvalidData, "it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= MAX_FILE_BYTES => Ok(bytes),
        _ => Err(std::io::Error::new(
            IoKind::FileTooLarge,
            "it is larger than any such file is",
        )),
    }
}
