//! Public keys that may come into a server: the user's own, named ones, or one made for it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vfioctl_api::Submission;

use crate::cluster::{Places, read_text};
use crate::command_line::KeyArgs;
use crate::failure::Failure;
use crate::limits;

/// The name of a private key that was made for one server.
pub(super) const OWN_KEY: &str = "key";

/// Public keys that may come in.
#[derive(Debug)]
pub(super) struct Keys {
    /// None: the server is not to be reached by SSH.
    allowed: Option<Vec<String>>,
    made: Option<MadeKey>,
}

/// A key that was made; removed again where it is not kept.
#[derive(Debug)]
struct MadeKey {
    private: PathBuf,
    /// Whether the user said where it shall be.
    is_named: bool,
    is_kept: bool,
}

impl Keys {
    /// Finds out which keys are meant, and makes one where that was asked for.
    ///
    /// # Errors
    /// Where there are none, or they cannot be read or made.
    pub(super) fn find(
        arguments: &KeyArgs,
        is_machine: bool,
        places: &Places,
    ) -> Result<Self, Failure> {
        let allowed = |keys| {
            Ok(Self {
                allowed: keys,
                made: None,
            })
        };
        if arguments.no_ssh_key {
            return allowed((arguments.ssh || is_machine).then(Vec::new));
        }
        if arguments.gen_ssh_key {
            return Self::make(arguments.key_out_file.as_deref(), places);
        }
        if let Some(key) = &arguments.public_key_string {
            return allowed(Some(vec![key.trim().to_owned()]));
        }
        if let Some(path) = &arguments.public_key_file {
            return allowed(Some(read_keys(path)?));
        }
        match arguments.ssh || is_machine {
            true => allowed(Some(read_own_keys(places)?)),
            false => allowed(None),
        }
    }

    /// The public keys; none: the server is not to be reached by SSH.
    pub(super) fn allowed(&self) -> Option<Vec<String>> {
        self.allowed.clone()
    }

    /// Keeps the key that was made, beside what else is known of this server. Where it is then.
    ///
    /// # Errors
    /// Where it cannot be moved there.
    pub(super) fn keep(mut self, task: &str, places: &Places) -> Result<Option<PathBuf>, Failure> {
        let Some(made) = &mut self.made else {
            return Ok(None);
        };
        made.is_kept = true;
        let folder = places.ssh_folder(task).filter(|_| !made.is_named);
        let Some(folder) = folder else {
            return Ok(Some(made.private.clone()));
        };
        let moved = make_folder(&folder).and_then(|()| {
            let private = folder.join(OWN_KEY);
            fs::rename(public_of(&made.private), public_of(&private))?;
            fs::rename(&made.private, &private)?;
            Ok(private)
        });
        moved.map(Some).map_err(|error| {
            let what = format!(
                "server {task} is there, but its key stays in '{}'",
                made.private.display()
            );
            Failure::could_not("CannotWrite", what)
                .because(error.to_string())
                .hint("log in with 'vfioctl vps ssh --identity FILE'")
        })
    }

    fn make(named: Option<&Path>, places: &Places) -> Result<Self, Failure> {
        let private = match named {
            Some(path) => path.to_owned(),
            None => {
                let folder = places.ssh_folder(&format!("new-{}", std::process::id()));
                let folder = folder.ok_or_else(|| {
                    Failure::could_not(
                        "CannotWrite",
                        "there is no place for a key: you have no home",
                    )
                    .hint("name one with --key-out-file")
                })?;
                make_folder(&folder).map_err(|error| cannot_make(&folder, error.to_string()))?;
                folder.join(OWN_KEY)
            }
        };
        generate(&private)?;
        // From here on it is removed again where something fails.
        let made = MadeKey {
            private,
            is_named: named.is_some(),
            is_kept: false,
        };
        let keys = read_keys(&public_of(&made.private))?;
        Ok(Self {
            allowed: Some(keys),
            made: Some(made),
        })
    }
}

impl Drop for MadeKey {
    fn drop(&mut self) {
        // Where this fails there is a file more that opens nothing.
        if !self.is_kept {
            let _ = fs::remove_file(&self.private);
            let _ = fs::remove_file(public_of(&self.private));
        }
        if let Some(folder) = self.private.parent().filter(|_| !self.is_named) {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn public_of(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Makes a folder for nobody else's eyes.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn cannot_make(path: &Path, because: String) -> Failure {
    Failure::could_not(
        "CannotWrite",
        format!("cannot make a key in '{}'", path.display()),
    )
    .because(because)
}

/// Makes a pair of keys. `ssh-keygen` asks before it writes over a file; here it is asked nothing, so
/// that a file that is there is looked for before.
fn generate(private: &Path) -> Result<(), Failure> {
    for path in [private.to_owned(), public_of(private)] {
        if fs::symlink_metadata(&path).is_ok() {
            return Err(cannot_make(&path, "there is a file already".to_owned())
                .hint("name another one with --key-out-file"));
        }
    }
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "vfioctl", "-f"])
        .arg(private)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(cannot_make(private, format!("ssh-keygen: {said}")))
        }
        Err(error) => Err(cannot_make(private, format!("ssh-keygen: {error}"))
            .hint("install OpenSSH's client: 'sudo apt install openssh-client'")),
    }
}

/// The keys in a file, as `authorized_keys` has them: a line each, but for empty ones and comments.
fn read_keys(path: &Path) -> Result<Vec<String>, Failure> {
    let text = read_text(path, limits::KEY_FILE).map_err(|error| {
        Failure::could_not(
            "CannotRead",
            format!("cannot read the keys in '{}'", path.display()),
        )
        .because(error.to_string())
    })?;
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<String> = lines.map(str::to_owned).collect();
    match keys.is_empty() {
        true => Err(
            Failure::usage(format!("there is no key in '{}'", path.display()))
                .hint("name a file like ~/.ssh/id_ed25519.pub"),
        ),
        false => Ok(keys),
    }
}

fn read_own_keys(places: &Places) -> Result<Vec<String>, Failure> {
    let folder = places.own_keys();
    let mut files: Vec<PathBuf> = folder
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.retain(|path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.starts_with("id_") && name.ends_with(".pub")
    });
    files.sort();
    let mut keys = Vec::new();
    for file in files {
        keys.extend(read_keys(&file)?);
    }
    keys.truncate(Submission::MAX_KEYS);
    match keys.is_empty() {
        true => Err(Failure::could_not(
            "NoKey",
            "you have no key of SSH: there is no ~/.ssh/id_*.pub",
        )
        .hint("make one for this server with --gen-ssh-key, or for yourself with 'ssh-keygen'")),
        false => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ann@home";

    fn find(
        arguments: &KeyArgs,
        is_machine: bool,
        home: &Path,
    ) -> Result<Option<Vec<String>>, String> {
        let keys = Keys::find(arguments, is_machine, &Places::below(home));
        keys.map(|keys| keys.allowed())
            .map_err(|failure| failure.name().to_owned())
    }

    #[test]
    fn ones_own_keys_come_in_unless_told_otherwise() {
        let home = tempfile::tempdir().unwrap();
        let (none, ssh) = (
            KeyArgs::default(),
            KeyArgs {
                ssh: true,
                ..KeyArgs::default()
            },
        );
        assert_eq!(find(&none, false, home.path()), Ok(None));
        assert_eq!(find(&none, true, home.path()), Err("NoKey".into()));
        let folder = home.path().join(".ssh");
        fs::create_dir(&folder).unwrap();
        fs::write(
            folder.join("id_rsa.pub"),
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAA\n",
        )
        .unwrap();
        fs::write(folder.join("id_ed25519.pub"), format!("# mine\n\n{KEY}\n")).unwrap();
        fs::write(folder.join("id_ed25519"), "private").unwrap();
        fs::write(folder.join("known_hosts.pub"), "other").unwrap();
        let own = vec![
            KEY.to_owned(),
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAA".to_owned(),
        ];
        assert_eq!(find(&none, true, home.path()), Ok(Some(own.clone())));
        assert_eq!(find(&ssh, false, home.path()), Ok(Some(own)));
        assert_eq!(find(&none, false, home.path()), Ok(None));
        let nobody = KeyArgs {
            no_ssh_key: true,
            ..ssh
        };
        assert_eq!(find(&nobody, false, home.path()), Ok(Some(Vec::new())));
        let named = KeyArgs {
            public_key_string: Some(format!(" {KEY}\n")),
            ..KeyArgs::default()
        };
        assert_eq!(
            find(&named, false, home.path()),
            Ok(Some(vec![KEY.to_owned()]))
        );
        fs::write(home.path().join("empty"), "# nothing\n").unwrap();
        let empty = KeyArgs {
            public_key_file: Some(home.path().join("empty")),
            ..KeyArgs::default()
        };
        assert_eq!(find(&empty, false, home.path()), Err("Usage".into()));
    }

    #[test]
    fn a_key_that_was_made_is_kept_with_its_server_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::below(home.path());
        let arguments = KeyArgs {
            gen_ssh_key: true,
            ..KeyArgs::default()
        };
        let keys = match Keys::find(&arguments, true, &places) {
            Err(failure) if failure.text().contains("openssh-client") => {
                eprintln!("SKIPPED: there is no ssh-keygen here");
                return;
            }
            keys => keys.unwrap(),
        };
        assert!(keys.allowed().unwrap().concat().starts_with("ssh-ed25519 "));
        let all = places.ssh_folder("x").unwrap().parent().unwrap().to_owned();
        drop(keys);
        assert_eq!(
            fs::read_dir(&all).unwrap().count(),
            0,
            "nothing is left of a refusal"
        );

        let keys = Keys::find(&arguments, true, &places).unwrap();
        let path = keys.keep("01jd3k8000abc", &places).unwrap().unwrap();
        assert_eq!(path, all.join("01jd3k8000abc/key"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(public_of(&path).is_file());
        assert_eq!(fs::read_dir(&all).unwrap().count(), 1);

        let named = KeyArgs {
            key_out_file: Some(home.path().join("mine")),
            ..arguments
        };
        let keys = Keys::find(&named, true, &places).unwrap();
        assert_eq!(
            keys.keep("a", &places).unwrap(),
            Some(home.path().join("mine"))
        );
        assert!(home.path().join("mine").is_file());
        let again = Keys::find(&named, true, &places).unwrap_err();
        assert_eq!(again.name(), "CannotWrite");
    }
}
