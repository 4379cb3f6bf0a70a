//! Runtime folders: the socket's, and one for each machine.
//!
//! A machine's folder belongs to root, so that its user cannot put anything in the place of the
//! log that systemd opens as root. Inside it, `io/` belongs to the user, for the sockets and the
//! console that QEMU makes with the user's rights; it is in root's group, and QEMU has no umask,
//! so that the helper reaches them without `CAP_DAC_OVERRIDE` while nobody else gets in.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, mkdirat};
use rustix::io::Errno;

/// The folders of machines, below the runtime directory.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeDirs {
    machines: PathBuf,
}

impl RuntimeDirs {
    /// Machines below `runtime`.
    pub(crate) fn below(runtime: &Path) -> Self {
        Self {
            machines: runtime.join("machines"),
        }
    }

    /// The folder of one machine.
    pub(crate) fn machine(&self, uid: u32, name: &str) -> PathBuf {
        self.machines.join(uid.to_string()).join(name)
    }

    /// Makes a machine's folder, with `io/` and an empty `log` that belong to the user.
    pub(crate) fn make_machine(&self, uid: u32, name: &str) -> io::Result<PathBuf> {
        self.remove_machine(uid, name)?;
        let folder = self.machine(uid, name);
        std::fs::create_dir_all(&folder)?;
        for path in [
            &self.machines,
            &self.machines.join(uid.to_string()),
            &folder,
        ] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir = rustix::fs::open(&folder, flags, Mode::empty())?;
        make_io(&dir, uid)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let log = rustix::fs::openat(&dir, "log", flags, Mode::RUSR | Mode::WUSR)?;
        // Not left to the umask: the helper, which is in root's group, quotes from it, and opens it where
        // it starts QEMU itself.
        rustix::fs::fchmod(&log, Mode::from_raw_mode(0o660))?;
        chownat(
            &dir,
            "log",
            Some(Uid::from_raw(uid)),
            None,
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        Ok(folder)
    }

    /// Removes a machine's folder, where there is one.
    pub(crate) fn remove_machine(&self, uid: u32, name: &str) -> io::Result<()> {
        let folder = self.machine(uid, name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::open(&folder, flags, Mode::empty()) {
            Ok(dir) => take_over(&dir, 0)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        // Follows no links on the way down.
        std::fs::remove_dir_all(&folder)
    }
}

/// A user can make folders inside `io/` that root without `CAP_DAC_OVERRIDE` cannot empty; so
/// every folder is made root's own before it is emptied.
fn take_over(dir: &OwnedFd, depth: usize) -> Result<(), Errno> {
    // Deeper than anything QEMU makes; what a user hides below stays, and is told as an error.
    if depth > 16 {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
            continue;
        }
        let root = (Some(Uid::ROOT), Some(Gid::ROOT));
        chownat(dir, name, root.0, root.1, AtFlags::SYMLINK_NOFOLLOW)?;
        // Its user can no longer put a link in its place: the folder above is root's by now.
        chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
        take_over(
            &rustix::fs::openat(dir, name, flags, Mode::empty())?,
            depth + 1,
        )?;
    }
    Ok(())
}

/// Mode first, owner last: after the change of owner only the owner may change the mode.
fn make_io(dir: &OwnedFd, uid: u32) -> Result<(), Errno> {
    mkdirat(dir, "io", Mode::RWXU)?;
    chmodat(dir, "io", Mode::from_raw_mode(0o770), AtFlags::empty())?;
    chownat(
        dir,
        "io",
        Some(Uid::from_raw(uid)),
        None,
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// Listens on a socket of our own making, for machines without systemd: members of `gid` may
/// connect.
pub(crate) fn bind_socket(path: &Path, gid: Option<u32>) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // A socket that a killed helper left behind has no listener; another helper's would answer.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody else may connect before the mode is set.
    let old = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let listener = UnixListener::bind(path);
    rustix::process::umask(old);
    let listener = listener?;
    if let Some(gid) = gid {
        std::os::unix::fs::chown(path, None, Some(gid))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    }
    Ok(listener)
}
