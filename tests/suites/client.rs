//! The command against a real host, `vfioctl-host dev`, over TLS on the loopback: what is asked there is
//! understood here, and the other way round. The command's own tests play the host; here nobody plays.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;
use vfioctl_tests::cluster::{act_if_asked, own_program};
use vfioctl_tests::schema::assert_shape;
use vfioctl_tests::suite;
use vfioctl_tests::world::program;

/// Until a host listens: it makes three keys before.
const START: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if let Some(code) = act_if_asked() {
        return code;
    }
    let trials: [(&str, fn()); 4] = [
        ("a_host_that_is_tried_is_found", found),
        ("users_log_in_and_may_what_their_role_says", roles),
        (
            "work_is_refused_with_a_reason_where_there_is_no_node",
            refused,
        ),
        ("answers_have_the_shape_of_their_schemas", shapes),
    ];
    let trials = trials.map(|(name, test)| -> Trial { suite::trial(name, test) });
    suite::run(trials.into())
}

/// A host, and folders of a user who has only this one.
struct Home {
    host: Child,
    folder: TempDir,
}

/// What the command came to.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    status: Option<i32>,
    answer: String,
    conversation: String,
}

impl Came {
    fn json(&self) -> Value {
        serde_json::from_str(&self.answer).unwrap()
    }
}

impl Home {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["run", "home"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let host = own_program("host")
            .args(["dev", "--no-runner", "--data"])
            .arg(folder.path().join("data"))
            .env("XDG_RUNTIME_DIR", folder.path().join("run"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let home = Self { host, folder };
        let deadline = Instant::now() + START;
        while !home.dev_file().is_file() {
            assert!(Instant::now() < deadline, "the host does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn dev_file(&self) -> PathBuf {
        self.path("run/vfioctl/cluster.json")
    }

    fn url(&self) -> String {
        let text = std::fs::read_to_string(self.dev_file()).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        file["host"].as_str().unwrap().to_owned()
    }

    /// Runs the command as the user who tries the host, or as one who has logged in to this file.
    fn run(&self, as_whom: Option<&Path>, words: &[&str]) -> Came {
        self.run_with(as_whom, words, "")
    }

    fn run_with(&self, as_whom: Option<&Path>, words: &[&str], input: &str) -> Came {
        let mut command = Command::new(program("vfioctl"));
        command
            .args(words)
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(file) = as_whom {
            command.env("VFIOCTL_CLUSTER", file);
        }
        let mut child = command.spawn().unwrap();
        // One that reads nothing has closed it already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Came {
            status: output.status.code(),
            answer: String::from_utf8(output.stdout).unwrap(),
            conversation: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Adds a user, and logs in as them.
    fn log_in(&self, user: &str, role: &str) -> PathBuf {
        assert_eq!(
            self.run(None, &["user", "add", user, "--role", role])
                .status,
            Some(0)
        );
        let token = self.run(None, &["user", "token", user, "--valid", "1h"]);
        assert_eq!(token.status, Some(0), "{}", token.conversation);
        let fingerprint = self.run(None, &["whoami", "--json"]).json()["authority"].clone();
        let file = self.path(&format!("{user}.json"));
        let words = [
            "login",
            &self.url(),
            "--fingerprint",
            fingerprint.as_str().unwrap(),
            "--json",
        ];
        let came = self.run_with(Some(&file), &words, &token.answer);
        assert_eq!(came.status, Some(0), "{}", came.conversation);
        assert_shape("login", &came.json());
        assert_eq!(came.json()["user"], user);
        file
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.host.kill();
        let _ = self.host.wait();
    }
}

fn found() {
    let home = Home::start();
    let came = home.run(None, &["whoami"]);
    assert_eq!((came.status, came.conversation.as_str()), (Some(0), ""));
    assert!(
        came.answer.contains("user       dev\nrole       admin\n"),
        "{}",
        came.answer
    );
    let file = home.dev_file();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, open).unwrap();
    let came = home.run(None, &["--json", "whoami"]);
    assert_eq!(
        (came.status, &came.json()["error"]["name"]),
        (Some(2), &"NotPrivate".into())
    );
    std::fs::remove_file(&file).unwrap();
    let came = home.run(None, &["--json", "whoami"]);
    assert_eq!(
        (came.status, &came.json()["error"]["name"]),
        (Some(2), &"NoCluster".into())
    );
}

fn roles() {
    let home = Home::start();
    let viewer = home.log_in("vera", "viewer");
    let user = home.log_in("ulf", "user");
    assert_eq!(home.run(Some(&viewer), &["node", "list"]).status, Some(0));
    for (file, words) in [
        (&viewer, &["task", "submit", "--", "true"][..]),
        (&viewer, &["user", "list"]),
        (&user, &["node", "drain", "gpu-1"]),
        (&user, &["node", "invite", "gpu-1"]),
        (&user, &["user", "token", "vera"]),
    ] {
        let came = home.run(Some(file), &[words, &["--json"]].concat());
        // What stands behind '--' is the task's.
        let forbidden = match words.contains(&"--") {
            true => came
                .conversation
                .starts_with("vfioctl: 'vera' is a viewer, and this takes a user"),
            false => came.json()["error"]["name"] == "Forbidden",
        };
        assert!(forbidden && came.status == Some(1), "{words:?}: {came:?}");
    }
    // A token of one's own, and the end of it.
    let own = home
        .run(
            Some(&user),
            &["user", "token", "ulf", "--note", "script", "--json"],
        )
        .json();
    assert_shape("user", &own);
    let id = own["token"]["id"].as_str().unwrap();
    assert_eq!(
        home.run(Some(&user), &["token", "revoke", id]).status,
        Some(0)
    );
    assert_eq!(
        home.run(Some(&user), &["token", "revoke", id]).status,
        Some(2)
    );
    assert_eq!(home.run(None, &["user", "rm", "ulf"]).status, Some(0));
    let gone = home.run(Some(&user), &["--json", "whoami"]);
    assert_eq!(
        (gone.status, &gone.json()["error"]["name"]),
        (Some(2), &"NotAuthenticated".into())
    );
    // Somebody else's fingerprint is not trusted, whatever token is at hand.
    let other = home.path("other.json");
    let words = [
        "login",
        &home.url(),
        "--fingerprint",
        &"00".repeat(32),
        "--json",
    ];
    let came = home.run_with(Some(&other), &words, "vfioctl_a_b\n");
    assert_eq!(
        (came.status, &came.json()["error"]["name"]),
        (Some(2), &"HostNotTrusted".into())
    );
    assert!(!other.exists());
}

fn refused() {
    let home = Home::start();
    let cases: [(&[&str], i32, &str); 5] = [
        (
            &[
                "task",
                "submit",
                "-t",
                "mynode::0,1",
                "--",
                "python",
                "train.py",
            ],
            2,
            "vfioctl: there is no node 'mynode'\n",
        ),
        (
            // A command waits for the first node; a server does only where that is asked for.
            &["vps", "create", "--gpus", "1"],
            1,
            "vfioctl: the cluster has no node yet\n",
        ),
        (
            &[
                "vps",
                "create",
                "--backend",
                "qemu",
                "-t",
                "mynode::0",
                "--vm-memory",
                "16384",
                "-c",
                "8",
                "--no-ssh-key",
            ],
            2,
            "vfioctl: there is no node 'mynode'\n",
        ),
        (
            &["node", "status", "mynode"],
            2,
            "vfioctl: there is no node 'mynode'\n",
        ),
        (
            &["task", "logs", "01jd3k7x9qz4m"],
            2,
            "vfioctl: there is no task '01jd3k7x9qz4m'\n",
        ),
    ];
    for (words, status, what) in cases {
        let came = home.run(None, words);
        assert_eq!(
            (came.status, came.answer.as_str()),
            (Some(status), ""),
            "{words:?}"
        );
        assert!(
            came.conversation.starts_with(what),
            "{words:?}: {}",
            came.conversation
        );
        assert!(
            came.conversation.contains("\n  try: "),
            "{words:?}: {}",
            came.conversation
        );
    }
    let audit = home.run(None, &["audit", "--json"]).json();
    assert_shape("audit", &audit);
    let lines = audit["lines"].as_array().unwrap();
    let outcomes: Vec<&str> = lines
        .iter()
        .map(|line| line["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["not_found", "no_room", "not_found"]);
}

fn shapes() {
    let home = Home::start();
    let cases: [(&[&str], &str); 9] = [
        (&["node", "list"], "node"),
        (&["node", "health"], "node"),
        (&["node", "summary"], "node"),
        (&["node", "invite", "gpu-1"], "node"),
        (&["gpu", "list"], "gpu"),
        (&["task", "list"], "task"),
        (&["vps", "list", "--mine"], "task"),
        (&["user", "list"], "user"),
        (&["whoami"], "login"),
    ];
    for (words, schema) in cases {
        let came = home.run(None, &[words, &["--json"]].concat());
        assert_eq!(came.status, Some(0), "{words:?}: {}", came.conversation);
        assert_shape(schema, &came.json());
    }
}
