//! Starting QEMU where no systemd does it: as the user, with nothing of the helper's power.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use caps::CapSet;

/// What a process may be and have.
#[derive(Debug, Clone)]
pub(crate) struct Confinement {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) locked_memory_bytes: u64,
}

/// Starts a program in a session of its own, as the user, without capabilities, unable to gain
/// any, with nothing open but its log. Tells its process number.
#[expect(unsafe_code, reason = "steps between fork and exec")]
pub(crate) fn spawn(arguments: &[String], confinement: &Confinement, log: File) -> io::Result<u32> {
    let (program, rest) = arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(rest)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let confinement = confinement.clone();
    let confine = move || confine(&confinement);
    // SAFETY: `confine` makes only system calls, through wrappers that neither allocate nor lock:
    // what it needs was made before the fork, and its errors are plain error numbers.
    unsafe { command.pre_exec(confine) };
    Ok(command.spawn()?.id())
}

/// The order matters: the bounding set needs `CAP_SETPCAP`, groups need `CAP_SETGID`, and the
/// change of user takes all of it away.
fn confine(confinement: &Confinement) -> io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid, setsid};
    setsid()?;
    let locked = confinement.locked_memory_bytes;
    setrlimit(Resource::RLIMIT_MEMLOCK, locked, locked)?;
    // What QEMU makes lies in a folder that only its user and the helper can enter.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    drop_bounding_set()?;
    let mut groups = [Gid::from_raw(0); MAX_GROUPS];
    let count = confinement.groups.len().min(MAX_GROUPS);
    for (slot, group) in groups.iter_mut().zip(&confinement.groups) {
        *slot = Gid::from_raw(*group);
    }
    setgroups(groups.get(..count).unwrap_or_default())?;
    let gid = Gid::from_raw(confinement.gid);
    setresgid(gid, gid, gid)?;
    let uid = Uid::from_raw(confinement.uid);
    setresuid(uid, uid, uid)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// More groups than this are left out: QEMU needs the one of `/dev/kvm`.
const MAX_GROUPS: usize = 256;

/// Up to the last capability this kernel knows; beyond it the kernel says `EINVAL`.
fn drop_bounding_set() -> io::Result<()> {
    for capability in caps::all() {
        if caps::drop(None, CapSet::Bounding, capability).is_err() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    Ok(())
}
