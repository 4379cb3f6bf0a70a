//! SSH into containers, with OpenSSH's client.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vfioctl_api::{Order, Phase, SshAccess, SshRequest, Wanted};
use vfioctl_tests::debian::KeyPair;
use vfioctl_tests::node::{Node, Setup};

use crate::bed::{Bed, Test, container, server};

pub(crate) const TESTS: &[Test] = &[
    Test("ssh_runs_commands_and_shells", sessions),
    Test("ssh_lets_nobody_else_in", strangers),
    Test("ssh_copies_files_both_ways", files),
    Test("ssh_comes_back_with_the_runner", comes_back),
];

/// A client with a key.
struct Client {
    folder: TempDir,
    key: KeyPair,
}

impl Client {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::make(folder.path(), "key").unwrap();
        Self { folder, key }
    }

    /// A file that is there whole or not at all: another client of this key may be reading it.
    fn known_hosts(&self, host_key: &str) -> PathBuf {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        writeln!(file, "task {host_key}").unwrap();
        let path = self.folder.path().join("known_hosts");
        file.persist(&path).unwrap();
        path
    }

    /// Options that make nobody be asked, and trust the one key that was told.
    fn options(&self, access: &SshAccess) -> Vec<String> {
        let known = self.known_hosts(&access.host_key);
        [
            "HostKeyAlias=task",
            "StrictHostKeyChecking=yes",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "ConnectTimeout=10",
            &format!("UserKnownHostsFile={}", known.display()),
            &format!("IdentityFile={}", self.key.private.display()),
        ]
        .iter()
        .flat_map(|option| ["-o".to_owned(), (*option).to_owned()])
        .collect()
    }

    fn command(&self, access: &SshAccess, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["30", "ssh", "-F", "none", "-p", &access.port.to_string()])
            .args(self.options(access));
        command
            .arg(format!("{}@{}", access.user, access.address))
            .args(words);
        command
            .env("LC_TEST", "täst")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, access: &SshAccess, words: &[&str]) -> (i32, String, String) {
        told(self.command(access, words).output().unwrap())
    }

    fn run_with_input(&self, access: &SshAccess, words: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(access, words)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A process that reads no more is what some of these are about.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Ports of its own for each node: tests run side by side.
fn node(bed: &Bed) -> Node {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 43_100 + 20 * NEXT.fetch_add(1, Ordering::Relaxed);
    Node::start(&Setup {
        ssh_ports: [first, first + 19],
        ..bed.setup()
    })
}

fn reached(node: &Node, client: &Client, image: Option<&str>) -> (Order, SshAccess) {
    let mut submission = server();
    submission.ssh = Some(SshRequest {
        keys: vec![client.key.public.clone()],
    });
    if let Some(image) = image {
        container(&mut submission).archive = Some(image.parse().unwrap());
    }
    let order = node.submit(&submission);
    let access = wait_for_access(node, &order);
    (order, access)
}

fn access_of(node: &Node, order: &Order) -> Option<SshAccess> {
    match node.phase(order)? {
        Phase::Running { ssh, .. } => ssh,
        _ => None,
    }
}

fn wait_for_access(node: &Node, order: &Order) -> SshAccess {
    node.wait_for("it is reached", |node| access_of(node, order).is_some());
    access_of(node, order).unwrap()
}

fn sessions(bed: &Bed) {
    let (node, client) = (node(bed), Client::new());
    let (mut order, access) = reached(&node, &client, None);
    assert_eq!(
        client.run(&access, &["echo out; echo err >&2; exit 7"]),
        (7, "out\n".into(), "err\n".into())
    );
    // Options stand before the host.
    let mut command = Command::new("timeout");
    command.args([
        "30",
        "ssh",
        "-F",
        "none",
        "-o",
        "SendEnv=LC_TEST",
        "-p",
        &access.port.to_string(),
    ]);
    command
        .args(client.options(&access))
        .arg(format!("root@{}", access.address))
        .arg("echo $LC_TEST; tty");
    let (status, out, _) = told(
        command
            .env("LC_TEST", "täst")
            .stdin(Stdio::null())
            .output()
            .unwrap(),
    );
    assert_eq!((status, out.as_str()), (1, "täst\nnot a tty\n"));
    // What it reads ends, and what it writes comes whole: more than fits anywhere on the way, which are
    // 32 MiB before a client is cut off.
    let bytes: Vec<u8> = (0..40_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let output = client.run_with_input(&access, &["cat"], &bytes);
    assert!(
        output.status.success() && output.stdout == bytes,
        "{} bytes of {}: {:?}",
        output.stdout.len(),
        bytes.len(),
        (output.status, String::from_utf8_lossy(&output.stderr))
    );
    let output = client.run_with_input(&access, &["sleep 1; wc -c"], &bytes);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "40000000");
    // What it does not read keeps neither its output nor its end from the client.
    let some = &bytes[..5_000_000];
    let output = client.run_with_input(&access, &["head -c 3; echo err >&2; exit 7"], some);
    assert_eq!(told(output), (7, "\0\u{1}\u{2}".into(), "err\n".into()));
    let mut waiting = client.command(&access, &["echo done; exit 8"]);
    let mut child = waiting.stdin(Stdio::piped()).spawn().unwrap();
    let _held_open = child.stdin.take();
    assert_eq!(
        told(child.wait_with_output().unwrap()),
        (8, "done\n".into(), String::new())
    );
    // A terminal, its size, and a shell in it.
    let mut terminal = Command::new("timeout");
    terminal
        .args([
            "30",
            "ssh",
            "-F",
            "none",
            "-tt",
            "-p",
            &access.port.to_string(),
        ])
        .args(client.options(&access));
    terminal
        .arg(format!("root@{}", access.address))
        .env("TERM", "vt100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = terminal.stderr(Stdio::null()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"tty; echo $TERM; exit 5\n")
        .unwrap();
    let (status, out, _) = told(child.wait_with_output().unwrap());
    assert_eq!(status, 5, "{out}");
    assert!(out.contains("/dev/pts/") && out.contains("vt100"), "{out}");
    // A client that goes takes its process with it; `timeout` would go alone.
    let mut going = Command::new("ssh");
    going
        .args(["-F", "none", "-p", &access.port.to_string()])
        .args(client.options(&access))
        .args([&format!("root@{}", access.address), "sleep 4321"]);
    let mut child = going.stdin(Stdio::null()).spawn().unwrap();
    let runs = || {
        client
            .run(
                &access,
                &["ps | grep -q 'sleep 432[1]' && echo yes || echo no"],
            )
            .1
            == "yes\n"
    };
    wait_until("it sleeps", &runs);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("it is hung up", &|| !runs());
    // Nothing is passed on to elsewhere.
    let mut forward = Command::new("timeout");
    forward.args([
        "30",
        "ssh",
        "-F",
        "none",
        "-W",
        "127.0.0.1:1",
        "-p",
        &access.port.to_string(),
    ]);
    forward
        .args(client.options(&access))
        .arg(format!("root@{}", access.address));
    let (status, _, err) = told(forward.stdin(Stdio::null()).output().unwrap());
    assert!(
        status != 0 && err.contains("administratively prohibited"),
        "{err}"
    );
    node.want(&mut order, Wanted::Kill);
    node.wait_until_over(&order);
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", access.port)).is_err(),
        "the door is shut"
    );
    node.remove(&mut order);
}

fn wait_until(what: &str, is_so: &dyn Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn strangers(bed: &Bed) {
    let (node, client) = (node(bed), Client::new());
    let (_order, access) = reached(&node, &client, None);
    let (status, _, err) = Client::new().run(&access, &["true"]);
    assert!(
        status == 255 && err.contains("Permission denied (publickey)"),
        "{err}"
    );
    // Somebody who poses as the server, or the wrong key of it.
    let other = SshAccess {
        host_key: client.key.public.clone(),
        ..access.clone()
    };
    let (status, _, err) = client.run(&other, &["true"]);
    assert!(
        status == 255 && err.contains("Host key verification failed"),
        "{err}"
    );
    // Those who say nothing keep nobody out, and neither do those who talk nonsense.
    let connect = || std::net::TcpStream::connect(("127.0.0.1", access.port)).unwrap();
    let silent: Vec<_> = (0..5).map(|_| connect()).collect();
    for _ in 0..3 {
        let mut stream = connect();
        let _ = stream.write_all(&[b'x'; 70_000]);
    }
    assert_eq!(client.run(&access, &["echo in"]).1, "in\n");
    // Many of them do, until they go.
    let more: Vec<_> = (0..40).map(|_| connect()).collect();
    drop((silent, more));
    wait_until("there is room again", &|| {
        client.run(&access, &["echo in"]).1 == "in\n"
    });
}

fn files(bed: &Bed) {
    let (node, client) = (node(bed), Client::new());
    std::fs::copy(
        bed.engine().archive("rootfs.tar"),
        node.archives().join("plain.tar"),
    )
    .unwrap();
    let copy = |access: &SshAccess, from: String, to: String| {
        let mut command = Command::new("timeout");
        command
            .args([
                "60",
                "scp",
                "-F",
                "none",
                "-q",
                "-P",
                &access.port.to_string(),
            ])
            .args(client.options(access));
        told(
            command
                .args([from, to])
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
    };
    let local = client.folder.path().join("file");
    let bytes: Vec<u8> = (0..5_000_000_u32)
        .map(|number| (number % 253) as u8)
        .collect();
    std::fs::write(&local, &bytes).unwrap();
    let (_plain, access) = reached(&node, &client, Some("plain"));
    let there = |access: &SshAccess| format!("root@{}:/root/file", access.address);
    let (status, _, err) = copy(&access, local.display().to_string(), there(&access));
    assert!(
        status != 0 && err.contains("sftp-server"),
        "an image without one says so: {err}"
    );
    let Some(archive) = with_sftp(bed, &node.archives()) else {
        println!("copying is not tried: there is no package openssh-sftp-server to be had");
        return;
    };
    let (_order, access) = reached(&node, &client, Some(&archive));
    assert_eq!(
        copy(&access, local.display().to_string(), there(&access)),
        (0, String::new(), String::new())
    );
    let back = client.folder.path().join("back");
    assert_eq!(
        copy(&access, there(&access), back.display().to_string()).0,
        0
    );
    assert!(std::fs::read(back).unwrap() == bytes);
}

/// An archive with Debian's server of files and what it needs.
fn with_sftp(bed: &Bed, archives: &Path) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"set -e
        cd "$1"; mkdir tree package; tar -C tree -xf "$2"
        (cd package; apt-get download -qq -o APT::Sandbox::User=root openssh-sftp-server >/dev/null 2>&1)
        dpkg-deb -x package/*.deb tree
        for file in $(ldd tree/usr/lib/openssh/sftp-server | grep -o '/[^ ]*' | sort -u); do
            mkdir -p "tree$(dirname "$file")"; cp -L "$file" "tree$file"
        done
        tar -C tree -cf "$3/sftp.tar" ."#;
    let made = Command::new("sh")
        .args(["-c", script, "sh"])
        .args([folder.path(), &bed.engine().archive("rootfs.tar"), archives])
        .status()
        .unwrap();
    made.success().then(|| "sftp".to_owned())
}

fn comes_back(bed: &Bed) {
    let (mut node, client) = (node(bed), Client::new());
    let (mut order, access) = reached(&node, &client, None);
    assert_eq!(client.run(&access, &["echo in"]).1, "in\n");
    let begun = node.phases(&order).len();
    node.restart();
    node.wait_for("it is reached again", |node| {
        node.phases(&order).len() > begun && access_of(node, &order).is_some()
    });
    assert_eq!(
        access_of(&node, &order),
        Some(access.clone()),
        "at the same port, by the same key"
    );
    assert_eq!(client.run(&access, &["echo in"]).1, "in\n");
    // Over a stop, too.
    node.want(&mut order, Wanted::Stop);
    assert_eq!(node.wait_until_over(&order), Phase::Stopped);
    order.run = 2;
    node.want(&mut order, Wanted::Run);
    assert_eq!(wait_for_access(&node, &order), access);
    assert_eq!(client.run(&access, &["echo in"]).1, "in\n");
}
