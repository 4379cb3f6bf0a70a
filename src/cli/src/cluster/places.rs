//! Places of this user: where what is known of clusters is kept, by the XDG Base Directory
//! Specification.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The name of the file that speaks of a cluster; `vfioctl-host dev` writes it too.
const CLUSTER_FILE: &str = "cluster.json";

/// The folder of this command in the places below.
const FOLDER: &str = "vfioctl";

/// Places of this user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// What the user has set: `$XDG_CONFIG_HOME`, or `~/.config`.
    config: Option<PathBuf>,
    /// What the user's programs keep: `$XDG_DATA_HOME`, or `~/.local/share`.
    data: Option<PathBuf>,
    /// What ends with the session: `$XDG_RUNTIME_DIR`.
    runtime: Option<PathBuf>,
    /// What stands in for it where there is none: a folder in `/tmp` that anybody could have made.
    shared: Option<PathBuf>,
    /// `~`.
    home: Option<PathBuf>,
    uid: u32,
}

impl Places {
    /// The places of the user who runs this.
    pub(crate) fn live() -> Self {
        Self::of(
            &|name| std::env::var_os(name),
            &std::env::temp_dir(),
            rustix::process::geteuid().as_raw(),
        )
    }

    fn of(variable: &dyn Fn(&str) -> Option<OsString>, temporary: &Path, uid: u32) -> Self {
        // What is not absolute is to be ignored, says the specification.
        let folder = |name| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = folder("HOME");
        let below = |path: &str| home.as_ref().map(|home| home.join(path));
        let runtime = folder("XDG_RUNTIME_DIR");
        Self {
            config: folder("XDG_CONFIG_HOME").or_else(|| below(".config")),
            data: folder("XDG_DATA_HOME").or_else(|| below(".local/share")),
            shared: match runtime {
                Some(_) => None,
                None => Some(temporary.join(format!("{FOLDER}-{uid}"))),
            },
            runtime,
            home,
            uid,
        }
    }

    /// The places of a user who has everything below one folder, for tests.
    #[cfg(test)]
    pub(crate) fn below(folder: &Path) -> Self {
        let variable = |name: &str| match name {
            "HOME" => Some(folder.as_os_str().to_owned()),
            "XDG_RUNTIME_DIR" => Some(folder.join("run").into_os_string()),
            _ => None,
        };
        Self::of(&variable, folder, rustix::process::geteuid().as_raw())
    }

    /// The file of `vfioctl login`; none where the user has no home.
    pub(crate) fn login_file(&self) -> Option<PathBuf> {
        Some(self.config.as_ref()?.join(FOLDER).join(CLUSTER_FILE))
    }

    /// The file of `vfioctl-host dev`; none where its folder is not safe.
    pub(crate) fn dev_file(&self) -> Option<PathBuf> {
        let folder = match (&self.runtime, &self.shared) {
            (Some(runtime), _) => runtime.join(FOLDER),
            (None, Some(shared)) if is_own(shared, self.uid) => shared.clone(),
            _ => return None,
        };
        Some(folder.join(CLUSTER_FILE))
    }

    /// The files that may speak of a cluster, in the order in which they are looked at.
    pub(crate) fn cluster_files(&self) -> impl Iterator<Item = PathBuf> {
        [self.login_file(), self.dev_file()].into_iter().flatten()
    }

    /// What is kept for logging in to one server: its key, and perhaps one's own.
    pub(crate) fn ssh_folder(&self, task: &str) -> Option<PathBuf> {
        Some(self.data.as_ref()?.join(FOLDER).join("ssh").join(task))
    }

    /// Where the user's own keys of SSH are.
    pub(crate) fn own_keys(&self) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(".ssh"))
    }
}

/// Whether a folder is this user's and nobody else can write in it. No link is followed.
fn is_own(folder: &Path, uid: u32) -> bool {
    fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == uid && found.mode() & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn places(variables: &[(&str, &str)], temporary: &Path) -> Places {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Places::of(&variable, temporary, rustix::process::geteuid().as_raw())
    }

    #[test]
    fn places_are_those_of_the_specification() {
        let nowhere = Path::new("/nonexistent");
        let all = [
            ("HOME", "/h"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_DATA_HOME", "/d"),
        ];
        let named = places(&all, nowhere);
        let files: Vec<PathBuf> = named.cluster_files().collect();
        assert_eq!(
            files,
            [
                Path::new("/c/vfioctl/cluster.json"),
                Path::new("/r/vfioctl/cluster.json")
            ]
        );
        assert_eq!(named.ssh_folder("a"), Some("/d/vfioctl/ssh/a".into()));
        let relative = places(
            &[
                ("HOME", "/h"),
                ("XDG_CONFIG_HOME", "c"),
                ("XDG_RUNTIME_DIR", ""),
            ],
            nowhere,
        );
        let files: Vec<PathBuf> = relative.cluster_files().collect();
        assert_eq!(files, [Path::new("/h/.config/vfioctl/cluster.json")]);
        assert_eq!(places(&[], nowhere).cluster_files().count(), 0);
    }

    #[test]
    fn a_folder_that_others_can_write_in_is_not_looked_into() {
        let temporary = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let folder = temporary.path().join(format!("vfioctl-{uid}"));
        assert_eq!(places(&[], temporary.path()).dev_file(), None);
        fs::create_dir(&folder).unwrap();
        for (mode, is_safe) in [(0o700, true), (0o755, true), (0o775, false), (0o702, false)] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let found = places(&[], temporary.path()).dev_file();
            assert_eq!(found.is_some(), is_safe, "{mode:o}");
        }
        let elsewhere = temporary.path().join("elsewhere");
        fs::rename(&folder, &elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        assert_eq!(places(&[], temporary.path()).dev_file(), None);
    }
}
