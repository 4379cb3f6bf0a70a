//! The services that tests start on the machine itself: that they answer, outlive what a test does
//! to them, and leave nothing behind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall end")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vfioctl_tests::service::{Engine, Etcd, Kind, obstacle};
use vfioctl_tests::suite::{ignored, run, trial};

const GROUP: u32 = 54321;

/// Five times what it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A sleep of that many seconds is a container of this suite.
const LONG: &str = "98765";

/// Names an engine to start in this process, which is then itself the subject.
const SUBJECT: &str = "VFIOCTL_TEST_SUBJECT";

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    (
        "etcd_keeps_what_it_acknowledged_over_a_kill",
        etcd_is_killed,
    ),
    ("etcd_that_is_frozen_is_silent_and_goes_on", etcd_is_frozen),
    ("two_etcds_are_two_stores", two_etcds),
    ("docker_gives_a_device_to_two_containers", || {
        share(Kind::Docker)
    }),
    ("podman_gives_a_device_to_two_containers", || {
        share(Kind::Podman)
    }),
    ("docker_runs_python", || run_python(Kind::Docker)),
    ("podman_runs_python", || run_python(Kind::Podman)),
    ("docker_answers_its_group_and_nobody_else", || {
        answer(Kind::Docker)
    }),
    ("podman_answers_its_group_and_nobody_else", || {
        answer(Kind::Podman)
    }),
    ("docker_is_killed_and_comes_back", || {
        come_back(Kind::Docker)
    }),
    ("podman_is_killed_and_comes_back", || {
        come_back(Kind::Podman)
    }),
    ("nothing_is_left_of_docker", || end(Kind::Docker, false)),
    ("nothing_is_left_of_podman", || end(Kind::Podman, false)),
    (
        "nothing_runs_on_when_the_harness_of_docker_is_killed",
        || end(Kind::Docker, true),
    ),
    (
        "nothing_runs_on_when_the_harness_of_podman_is_killed",
        || end(Kind::Podman, true),
    ),
];

fn main() {
    if let Some(name) = std::env::var_os(SUBJECT) {
        return be_subject(kind_of(&name.to_string_lossy()));
    }
    let obstacle = obstacle();
    let trials = TESTS.iter().map(|(name, test)| match &obstacle {
        None => trial(*name, *test),
        Some(reason) => ignored(*name, reason),
    });
    run(trials.collect())
}

fn kind_of(name: &str) -> Kind {
    match name {
        "Docker" => Kind::Docker,
        _ => Kind::Podman,
    }
}

/// Asks etcd's gateway for JSON; keys and values are in base64 there.
fn ask(etcd: &Etcd, path: &str, question: &str) -> String {
    let address = etcd.endpoint();
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let length = question.len();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{question}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn put(etcd: &Etcd) {
    let answer = ask(
        etcd,
        "/v3/kv/put",
        r#"{"key": "Z3B1", "value": "ZnJlZQ=="}"#,
    );
    assert!(answer.contains("revision"), "{answer}");
}

fn has_what_was_put(etcd: &Etcd) -> bool {
    ask(etcd, "/v3/kv/range", r#"{"key": "Z3B1"}"#).contains(r#""value":"ZnJlZQ==""#)
}

fn etcd_is_killed() {
    let mut etcd = Etcd::start().unwrap();
    let endpoint = etcd.endpoint();
    put(&etcd);
    etcd.kill();
    assert!(!etcd.is_healthy());
    etcd.restart().unwrap();
    assert_eq!(etcd.endpoint(), endpoint);
    assert!(has_what_was_put(&etcd));
}

fn etcd_is_frozen() {
    let mut etcd = Etcd::start().unwrap();
    put(&etcd);
    etcd.freeze().unwrap();
    assert!(!etcd.is_healthy());
    etcd.thaw().unwrap();
    assert!(has_what_was_put(&etcd));
}

fn two_etcds() {
    let (one, two) = (Etcd::start().unwrap(), Etcd::start().unwrap());
    put(&one);
    assert!(has_what_was_put(&one) && !has_what_was_put(&two));
}

fn start(kind: Kind) -> Engine {
    Engine::start(kind, GROUP).unwrap()
}

fn say(engine: &Engine, args: &[&str]) -> String {
    engine.command(args).unwrap().success().unwrap()
}

/// Starts a container that stays, and returns its name.
fn run_long(engine: &Engine, name: &str, options: &[&str]) {
    let head = ["run", "--detach", "--name", name, "--network=none"];
    let tail = ["localhost/lab:1", "sleep", LONG];
    say(engine, &[&head, options, &tail].concat());
}

fn share(kind: Kind) {
    let engine = start(kind);
    let device = ["--device", "/dev/full:/dev/dri/card0"];
    for name in ["one", "two"] {
        run_long(&engine, name, &device);
        let look = ["exec", name, "stat", "-c", "%F %t:%T", "/dev/dri/card0"];
        assert_eq!(say(&engine, &look), "character special file 1:7\n");
    }
    run_long(&engine, "three", &[]);
    let look = ["exec", "three", "ls", "/dev/dri"];
    assert_ne!(engine.command(&look).unwrap().rc, 0);
}

fn run_python(kind: Kind) {
    let engine = start(kind);
    engine.load("python.tar").unwrap();
    let run = ["run", "--rm", "--network=none", "localhost/lab-python:1"];
    let text = say(
        &engine,
        &[&run[..], &["python", "-c", "print(6 * 7)"]].concat(),
    );
    assert_eq!(text, "42\n");
    let failed = engine.command(&[&run[..], &["python", "-c", "exit(3)"]].concat());
    assert_eq!(failed.unwrap().rc, 3);
}

fn answer(kind: Kind) {
    let engine = start(kind);
    let ask = |group: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--groups", group])
            .args(["perl", "-MIO::Socket::UNIX", "-e"])
            .arg(
                r#"my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$!\n";
                print $s "GET /_ping HTTP/1.0\r\n\r\n"; print <$s>;"#,
            )
            .arg(engine.socket())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        (output.status.success(), text.ends_with("OK"))
    };
    assert_eq!(ask(&GROUP.to_string()), (true, true));
    assert_eq!(ask("65534"), (false, false));
}

fn come_back(kind: Kind) {
    let mut engine = start(kind);
    run_long(&engine, "stays", &[]);
    engine.kill().unwrap();
    assert_ne!(engine.command(&["version"]).unwrap().rc, 0);
    engine.restart().unwrap();
    let names = say(&engine, &["ps", "--all", "--format", "{{.Names}}"]);
    assert_eq!(names, "stays\n");
    say(&engine, &["rm", "--force", "stays"]);
    run_long(&engine, "stays", &[]);
}

/// Starts an engine with a container, says where its socket is, and waits for the word to end.
fn be_subject(kind: Kind) {
    let engine = start(kind);
    run_long(&engine, "one", &[]);
    println!("{}", engine.socket().display());
    let _ = std::io::stdin().read(&mut [0]);
}

/// A process of this suite with an engine, and its folder.
fn start_subject(kind: Kind) -> (Child, PathBuf) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(SUBJECT, format!("{kind:?}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let socket = PathBuf::from(line.trim_end());
    (child, socket.parent().unwrap().to_owned())
}

/// All processes that are in a control group of the subject, or name its folder.
fn processes_of(subject: u32, folder: &Path) -> Vec<String> {
    let group = format!("/vfioctl-test-{subject}-");
    let folder = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let groups = String::from_utf8_lossy(&read("cgroup")).into_owned();
        let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        // Without a line it is a zombie, or dies; until then it keeps its group.
        if !line.is_empty() && (groups.contains(&group) || line.contains(folder)) {
            found.push(line);
        }
    }
    found
}

fn groups_of(subject: u32) -> usize {
    let name = format!("vfioctl-test-{subject}-0");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    places
        .filter(|place| Path::new(place).join(&name).exists())
        .count()
}

fn end(kind: Kind, is_killed: bool) {
    let (mut child, folder) = start_subject(kind);
    let subject = child.id();
    let begun = Instant::now();
    // An engine says that it runs when its runtime is about to become it.
    loop {
        let running = processes_of(subject, &folder);
        if running.iter().any(|line| line.contains(LONG)) {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{running:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(groups_of(subject) > 0);
    if is_killed {
        child.kill().unwrap();
    }
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), is_killed.then_some(9));
    let ended = Instant::now();
    // A harness that ends takes everything along; where it is killed, the kernel is as quick.
    while is_killed && !processes_of(subject, &folder).is_empty() && ended.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(processes_of(subject, &folder), Vec::<String>::new());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    if is_killed {
        // What is left then are groups, which the next harness removes when the last in them has died,
        // and a folder.
        drop(start(kind));
        std::fs::remove_dir_all(&folder).unwrap();
    }
    assert_eq!(groups_of(subject), 0);
    assert!(!folder.exists());
}
