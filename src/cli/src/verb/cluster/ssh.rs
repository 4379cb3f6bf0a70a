//! `vfioctl vps ssh`: logs in to a server, whose key the cluster knows, so that nothing is asked.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use vfioctl_api::{SshAccess, Task};

use super::ssh_keys::{OWN_KEY, make_folder};
use crate::Done;
use crate::cluster::{Host, Places, write_private};
use crate::command_line::Ssh;
use crate::failure::{Failure, FailureKind};
use crate::print::shell_line;
use crate::record::TaskRecord;
use crate::session::Session;
use crate::verdict::Verdict;

/// The name of the file with a server's public key.
const KNOWN_HOSTS: &str = "known_hosts";

/// Answers `vps ssh`. Where all is well, this program becomes ssh.
pub(super) fn run(
    arguments: &Ssh,
    places: &Places,
    host: &Host,
    session: &mut Session<'_>,
) -> Done {
    let task = host.task(&arguments.task.task)?;
    let ssh = task.ssh.clone().ok_or_else(|| not_reached(&task))?;
    check(&ssh)?;
    let folder = places.ssh_folder(task.id.as_str()).ok_or_else(|| {
        Failure::could_not(
            "CannotWrite",
            "there is no place for the server's key: you have no home",
        )
    })?;
    let known_hosts = write_known_hosts(&folder, &task, &ssh)?;
    let own = Some(folder.join(OWN_KEY)).filter(|path| path.is_file());
    let identity = arguments.identity.clone().or(own);
    let words = words(
        &task,
        &ssh,
        &known_hosts,
        identity.as_deref(),
        &arguments.command,
    );
    if arguments.print {
        session
            .output
            .write(format!("{}\n", shell_line(&words)).as_bytes())?;
        return Ok(Verdict::Yes);
    }
    let mut words = words.into_iter();
    // Comes back only where it could not be started.
    let error = Command::new(words.next().unwrap_or_default())
        .args(words)
        .exec();
    Err(Failure::could_not("ProgramFailed", "cannot start ssh")
        .because(error.to_string())
        .hint("install OpenSSH's client: 'sudo apt install openssh-client'"))
}

/// Forgets what was kept for logging in to a server. Where that fails, a folder is left that opens
/// nothing.
pub(super) fn forget(task: &str, places: &Places) {
    if let Some(folder) = places.ssh_folder(task) {
        let _ = fs::remove_dir_all(folder);
    }
}

fn not_reached(task: &Task) -> Failure {
    let id = &task.id;
    let hint = match &task.submission.ssh {
        None => "make it with '--ssh' to reach it so".to_owned(),
        Some(_) if task.state.is_over() => format!("start it: 'vfioctl vps start --wait {id}'"),
        Some(_) => format!("wait for it: 'vfioctl vps show {id}' tells how far it is"),
    };
    let sentence = TaskRecord::from(task.clone()).sentence();
    Failure::new(
        FailureKind::No,
        "WrongState",
        format!("server {id} is not reached by SSH now"),
    )
    .because(sentence)
    .hint(hint)
}

/// What a node tells becomes a part of a command line and of a file: nothing in it may mean more
/// there than it is.
fn check(ssh: &SshAccess) -> Result<(), Failure> {
    let is_word = |text: &str, signs: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || signs.contains(c))
    };
    let mut key = ssh.host_key.split(' ');
    let is_key = key.next().is_some_and(|kind| is_word(kind, "-@."))
        && key.next().is_some_and(|key| is_word(key, "+/="))
        && !ssh.host_key.chars().any(char::is_control);
    match is_word(&ssh.address, ".:-_%") && is_word(&ssh.user, ".-_") && is_key {
        true => Ok(()),
        false => Err(Failure::could_not(
            "HostNotUnderstood",
            "the way to this server has signs in it that do not belong there",
        )
        .hint("look at it: 'vfioctl vps show --json'")),
    }
}

fn alias(task: &Task) -> String {
    format!("vps-{}", task.id)
}

fn write_known_hosts(folder: &Path, task: &Task, ssh: &SshAccess) -> Result<PathBuf, Failure> {
    let path = folder.join(KNOWN_HOSTS);
    let line = format!("{} {}\n", alias(task), ssh.host_key);
    let written = make_folder(folder).and_then(|()| write_private(&path, &line));
    written.map_err(|error| {
        Failure::could_not("CannotWrite", format!("cannot write '{}'", path.display()))
            .because(error.to_string())
    })?;
    Ok(path)
}

/// The command line of ssh (`ssh_config(5)` for the options).
fn words(
    task: &Task,
    ssh: &SshAccess,
    known_hosts: &Path,
    identity: Option<&Path>,
    command: &[String],
) -> Vec<String> {
    let alias = alias(task);
    let options = [
        format!("HostKeyAlias={alias}"),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("UserKnownHostsFile={}", file_value(known_hosts)),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        // The key belongs to the alias, whatever address its node has by now.
        "CheckHostIP=no".to_owned(),
    ];
    let mut words = vec!["ssh".to_owned()];
    words.extend(
        options
            .into_iter()
            .flat_map(|option| ["-o".to_owned(), option]),
    );
    if let Some(identity) = identity {
        words.extend(["-o".to_owned(), "IdentitiesOnly=yes".to_owned()]);
        words.extend(["-i".to_owned(), identity.display().to_string()]);
    }
    words.extend(["-p".to_owned(), ssh.port.to_string()]);
    words.extend(["-l".to_owned(), ssh.user.clone()]);
    words.extend(["--".to_owned(), ssh.address.clone()]);
    words.extend(command.iter().cloned());
    words
}

/// A path as the value of an option: several could stand there, and '%' begins a token.
fn file_value(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    match text.contains([' ', '\t']) {
        true => format!("\"{text}\""),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_sample::machine_vps;

    #[test]
    fn the_key_that_the_cluster_knows_is_the_only_one() {
        let home = tempfile::tempdir().unwrap();
        let task = machine_vps();
        let ssh = task.ssh.clone().unwrap();
        assert_eq!(check(&ssh), Ok(()));
        let file = write_known_hosts(home.path(), &task, &ssh).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "vps-01jd3k8000abc ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB3Kd\n"
        );
        let words = words(
            &task,
            &ssh,
            Path::new("/h/a b%c"),
            Some(Path::new("/k")),
            &["nvidia-smi".into()],
        );
        assert_eq!(
            shell_line(&words),
            "ssh -o HostKeyAlias=vps-01jd3k8000abc -o StrictHostKeyChecking=yes -o \
             'UserKnownHostsFile=\"/h/a b%%c\"' -o GlobalKnownHostsFile=/dev/null -o \
             UpdateHostKeys=no -o CheckHostIP=no -o IdentitiesOnly=yes -i /k -p 20022 -l debian -- \
             10.0.0.5 nvidia-smi"
        );
    }

    #[test]
    fn a_node_cannot_smuggle_options_in() {
        let good = machine_vps().ssh.unwrap();
        let bad = [
            SshAccess {
                address: "-oProxyCommand=sh".into(),
                ..good.clone()
            },
            SshAccess {
                address: "a b".into(),
                ..good.clone()
            },
            SshAccess {
                address: "$(sh)".into(),
                ..good.clone()
            },
            SshAccess {
                user: "-l".into(),
                ..good.clone()
            },
            SshAccess {
                user: String::new(),
                ..good.clone()
            },
            SshAccess {
                host_key: "ssh-ed25519".into(),
                ..good.clone()
            },
            SshAccess {
                host_key: "ssh-ed25519 AAAA\n* ssh-rsa AAAA".into(),
                ..good.clone()
            },
        ];
        for ssh in bad {
            assert!(check(&ssh).is_err(), "{ssh:?}");
        }
        let six = SshAccess {
            address: "fe80::1%eth0".into(),
            ..good
        };
        assert_eq!(check(&six), Ok(()));
    }
}
