//! Somebody with the command `vfioctl` and no rights on this machine.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::ClusterHost;
use crate::world::program;

/// A user and group that own nothing here.
const NOBODY: u32 = 60_123;

/// Somebody who has logged in to a cluster.
#[derive(Debug)]
pub struct Person {
    folder: TempDir,
}

/// What the command came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Came {
    /// Its exit status.
    pub status: i32,
    /// What it answered.
    pub answer: String,
    /// What it said to whoever types it.
    pub conversation: String,
}

impl Person {
    /// Adds a user to a cluster, and logs in as them.
    ///
    /// # Panics
    /// Where that is refused.
    pub fn log_in(host: &ClusterHost, name: &str, role: &str) -> Self {
        let token = host.add_user(name, role, None);
        let folder = tempfile::tempdir().unwrap();
        let files = [("token", token), ("authority.pem", host.authority())];
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let person = Self { folder };
        let path = |name: &str| person.folder.path().join(name).display().to_string();
        let (authority, token) = (path("authority.pem"), path("token"));
        let login = [
            "login",
            &host.url(),
            "--authority",
            &authority,
            "--token-file",
            &token,
        ];
        person.run(&login).done();
        person
    }

    /// Runs `vfioctl` with these words.
    ///
    /// # Panics
    /// Where it cannot be run.
    pub fn run(&self, words: &[&str]) -> Came {
        let home = self.folder.path();
        let id = NOBODY.to_string();
        let output = Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
            .arg(program("vfioctl"))
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home)
            .env("VFIOCTL_CLUSTER", home.join("cluster.json"))
            .current_dir(home)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Came {
            status: output.status.code().unwrap_or(-1),
            answer: String::from_utf8_lossy(&output.stdout).into_owned(),
            conversation: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same with `--json`, which must do well.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let came = self.run(&[&["--json"], words].concat());
        serde_json::from_str(&came.done()).unwrap()
    }

    /// The state of a task; nothing where the host does not say.
    ///
    /// # Panics
    /// Where the command cannot be run.
    pub fn state(&self, task: &str) -> String {
        let came = self.run(&["--json", "task", "show", task]);
        let shown: Value = serde_json::from_str(&came.answer).unwrap_or_default();
        let state = shown["task"]["state"].as_str();
        state.unwrap_or_default().to_owned()
    }

    /// Submits work and waits for its end; what it wrote.
    ///
    /// # Panics
    /// Where it does not end well.
    #[track_caller]
    pub fn work(&self, words: &[&str]) -> String {
        let id = self.submit(&[&["task", "submit", "--wait"], words].concat());
        self.run(&["task", "logs", &id]).done()
    }

    /// Submits work, or creates a server: the task's name.
    ///
    /// # Panics
    /// Where that is refused.
    #[track_caller]
    pub fn submit(&self, words: &[&str]) -> String {
        let came = self.json(words);
        match came["task"]["id"].as_str() {
            Some(id) => id.to_owned(),
            None => panic!("no task in {came:#}"),
        }
    }
}

impl Came {
    /// What it answered, where it did what it was asked.
    ///
    /// # Panics
    /// Where it did not.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.answer, self.conversation);
        self.answer
    }

    /// What it said, where it ended otherwise.
    ///
    /// # Panics
    /// Where it ended in another way.
    #[track_caller]
    pub fn fails(self, status: i32) -> String {
        assert_eq!(self.status, status, "{}{}", self.answer, self.conversation);
        self.conversation
    }
}
