//! Which folders of the node a container may see.
//!
//! Those that the configuration allows, and what is below them. The engine is root and follows links
//! wherever they lead, so no link may be on the way: each part of a path is opened without following one.
//! What this user cannot look into is refused as well, since nobody knows what is there.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use vfioctl_api::Mount;

use super::recipe::BindMount;

/// Places in a container that are the engine's: what is mounted there would hide devices or the kernel.
const RESERVED: [&str; 4] = ["/dev", "/proc", "/sys", "/var/run/nvidia-container-devices"];

/// The mounts of a container.
///
/// # Errors
/// The first that is not allowed, as a sentence with what to do.
pub(super) fn allow_mounts(
    mounts: &[Mount],
    allowed: &[PathBuf],
) -> Result<Vec<BindMount>, String> {
    mounts
        .iter()
        .map(|mount| allow_mount(mount, allowed))
        .collect()
}

fn allow_mount(mount: &Mount, allowed: &[PathBuf]) -> Result<BindMount, String> {
    let target = Path::new(&mount.target);
    let is_reserved = RESERVED.iter().any(|place| target.starts_with(place));
    if is_reserved || target == Path::new("/") {
        return Err(format!(
            "nothing can be mounted on '{}' of a container",
            mount.target
        ));
    }
    let source = Path::new(&mount.source);
    // The longest that fits: its own owner knows best what is below it.
    let folder = allowed
        .iter()
        .filter(|folder| source.starts_with(folder))
        .max_by_key(|folder| folder.as_os_str().len());
    let Some(folder) = folder else {
        let known: Vec<String> = allowed
            .iter()
            .map(|folder| format!("'{}'", folder.display()))
            .collect();
        let hint = match known.as_slice() {
            [] => "none may".to_owned(),
            known => format!("what may be is {} and below", known.join(", ")),
        };
        return Err(format!(
            "'{}' may not be mounted on this node: {hint}; its administrator allows folders in '[runner.containers] \
             mounts'",
            mount.source
        ));
    };
    let source = resolve(folder, source)
        .map_err(|why| format!("'{}' may not be mounted: {why}", mount.source))?;
    Ok(BindMount {
        source,
        target: mount.target.clone(),
        is_read_only: mount.read_only,
    })
}

/// The path that the engine is told: that of the allowed folder, wherever links lead there, and below it
/// one without links.
fn resolve(folder: &Path, source: &Path) -> Result<String, String> {
    let real = std::fs::canonicalize(folder)
        .map_err(|error| format!("'{}': {error}", folder.display()))?;
    let rest = source
        .strip_prefix(folder)
        .map_err(|error| error.to_string())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at =
        open(&real, flags | OFlags::DIRECTORY, Mode::empty()).map_err(|errno| why(&real, errno))?;
    let mut path = real;
    for part in rest.components() {
        let Component::Normal(name) = part else {
            return Err(format!("'{}' leads elsewhere", source.display()));
        };
        path.push(name);
        at = openat(&at, name, flags, Mode::empty()).map_err(|errno| why(&path, errno))?;
        let kind = rustix::fs::FileType::from_raw_mode(
            rustix::fs::fstat(&at)
                .map_err(|errno| why(&path, errno))?
                .st_mode,
        );
        match kind {
            rustix::fs::FileType::Symlink => {
                return Err(format!(
                    "'{}' is a link; name the folder that it leads to",
                    path.display()
                ));
            }
            rustix::fs::FileType::Directory | rustix::fs::FileType::RegularFile => {}
            _ => {
                return Err(format!(
                    "'{}' is neither a folder nor a file",
                    path.display()
                ));
            }
        }
    }
    path.into_os_string()
        .into_string()
        .map_err(|_| "its real name is not UTF-8".into())
}

fn why(path: &Path, errno: Errno) -> String {
    let shown = path.display();
    match errno {
        Errno::NOENT => format!("'{shown}' is not there"),
        Errno::ACCESS => {
            let parent = path
                .parent()
                .map_or_else(|| OsStr::new("/"), Path::as_os_str);
            format!(
                "the runner cannot look into '{}', so nobody can tell where it leads; give it the right to ('setfacl \
                 -m u:vfioctl-runner:x')",
                Path::new(parent).display()
            )
        }
        other => format!("'{shown}': {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn check(folder: &Path, source: &str, target: &str) -> Result<String, String> {
        let mount = Mount {
            source: format!("{}{source}", folder.display()),
            target: target.into(),
            read_only: true,
        };
        let allowed = [
            folder.join("data"),
            folder.join("linked"),
            folder.join("absent"),
        ];
        let real = std::fs::canonicalize(folder).unwrap();
        allow_mounts(&[mount], &allowed).map(|mounts| {
            assert!(mounts[0].is_read_only && mounts[0].target == target);
            mounts[0]
                .source
                .strip_prefix(real.to_str().unwrap())
                .unwrap()
                .to_owned()
        })
    }

    #[test]
    fn what_is_allowed_and_below_it_may_be_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::create_dir_all(at.join("data/a/b")).unwrap();
        std::fs::write(at.join("data/file"), "").unwrap();
        symlink("data/a", at.join("linked")).unwrap();
        for (source, real) in [
            ("/data", "/data"),
            ("/data/", "/data"),
            ("/data/a//b", "/data/a/b"),
            ("/data/file", "/data/file"),
            // The administrator's own link counts.
            ("/linked/b", "/data/a/b"),
        ] {
            assert_eq!(check(at, source, "/x").as_deref(), Ok(real), "{source}");
        }
    }

    #[test]
    fn what_leads_elsewhere_may_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::create_dir_all(at.join("data/a")).unwrap();
        std::fs::create_dir_all(at.join("database")).unwrap();
        symlink("/etc", at.join("data/link")).unwrap();
        symlink("a", at.join("data/inner")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at.join("data/pipe"), Mode::RUSR).unwrap();
        let refused = [
            "",
            "/",
            "/database",
            "/data/link",
            "/data/link/passwd",
            "/data/inner",
            "/data/nothing",
            "/data/pipe",
            "/absent",
        ];
        for source in refused {
            assert!(check(at, source, "/x").is_err(), "{source}");
        }
        for target in [
            "/",
            "/dev",
            "/dev/dri",
            "/proc/1",
            "/sys",
            "/var/run/nvidia-container-devices/all",
        ] {
            assert!(check(at, "/data", target).is_err(), "{target}");
        }
        assert!(check(at, "/data", "/devices").is_ok());
    }

    #[test]
    fn where_nothing_is_allowed_nothing_may_be_mounted() {
        let mount: Mount = "/etc:/x".parse().unwrap();
        assert!(allow_mounts(std::slice::from_ref(&mount), &[]).is_err());
        assert_eq!(allow_mounts(&[], &[]), Ok(Vec::new()));
        // Where all is allowed, all is.
        assert!(allow_mounts(&[mount], &["/".into()]).is_ok());
    }
}
