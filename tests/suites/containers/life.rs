//! The life of containers: commands and servers, images and archives, logs and mounts.

use std::time::{Duration, Instant};

use vfioctl_api::{Exit, LogStream, MemorySize, Phase, Wanted};
use vfioctl_tests::node::{Node, Setup};

use crate::bed::{Bed, Test, command, container, exited, no_helper, not_started, server, sh};

pub(crate) const TESTS: &[Test] = &[
    Test("command_runs_to_its_end_with_its_logs", ends),
    Test("command_has_what_was_asked_for", asked_for),
    Test("command_that_uses_too_much_memory_is_told_so", memory),
    Test("command_is_killed_and_stopped", killed),
    Test("server_keeps_what_it_wrote_over_stop_and_start", kept),
    Test("what_cannot_start_leaves_nothing", cannot),
    Test(
        "archives_are_loaded_and_imported_and_loaded_again",
        archives,
    ),
    Test("mounts_are_those_that_are_allowed", mounts),
    Test("log_that_is_too_long_is_cut", long_log),
    Test("log_goes_on_over_restarts_of_the_runner", restarted),
    Test("full_disk_is_told_and_ends_nothing", full_disk),
    Test("engine_that_may_not_be_used_is_explained", not_permitted),
];

fn ends(bed: &Bed) {
    let node = bed.node();
    for status in [0, 3] {
        let order = node.submit(&sh(&format!("echo out; echo err >&2; exit {status}")));
        assert_eq!(node.wait_until_over(&order), exited(status));
        assert_eq!(node.read_log(&order, LogStream::Stdout, 0, true), "out\n");
        assert_eq!(node.read_log(&order, LogStream::Stderr, 1, false), "rr\n");
        assert_eq!(
            bed.containers_of(&order),
            [""; 0],
            "a command's container goes with it"
        );
    }
    let engine = node.report().versions.engine.unwrap();
    assert_eq!(engine.name, format!("{:?}", bed.kind).to_lowercase());
    assert!(node.report().containers.available);
}

fn asked_for(bed: &Bed) {
    let node = bed.node();
    let mut submission = sh(
        "pwd; echo $WORD; cat /proc/self/status | grep NoNewPrivs; id -u; ulimit -v; \
        cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; df /dev/shm | tail -n 1",
    );
    let asked = container(&mut submission);
    asked.working_folder = Some("/tmp".into());
    asked.environment.insert("WORD".into(), "a b=c".into());
    let order = node.submit(&submission);
    assert_eq!(node.wait_until_over(&order), exited(0));
    let log = node.read_log(&order, LogStream::Stdout, 0, true);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(
        &lines[..5],
        ["/tmp", "a b=c", "NoNewPrivs:\t1", "0", "unlimited"],
        "{log}"
    );
    assert!(log.contains("32768"), "a limit of processes: {log}");
    // Half of 64 MiB.
    assert!(lines.last().unwrap().contains(" 32768 "), "{log}");
}

fn memory(bed: &Bed) {
    let node = bed.node();
    let mut submission = command(&["awk", "BEGIN { s = \"x\"; while (1) s = s s }"]);
    submission.memory = Some(MemorySize::from_mib(16));
    let order = node.submit(&submission);
    let expected = Phase::Exited(Exit {
        status: 137,
        out_of_memory: true,
    });
    assert_eq!(node.wait_until_over(&order), expected);
}

fn killed(bed: &Bed) {
    let node = bed.node();
    let mut kill = node.submit(&sh("sleep 1000"));
    let mut stop = node.submit(&sh(
        "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done",
    ));
    node.wait_until_running(&kill);
    node.wait_until_running(&stop);
    node.want(&mut kill, Wanted::Kill);
    assert_eq!(node.wait_until_over(&kill), Phase::Killed);
    // Killed is told apart from what it did by itself.
    let own = node.submit(&sh("kill -9 $$"));
    assert_eq!(node.wait_until_over(&own), exited(137));
    std::thread::sleep(Duration::from_millis(300));
    node.want(&mut stop, Wanted::Stop);
    assert_eq!(node.wait_until_over(&stop), Phase::Stopped);
    assert_eq!(node.read_log(&stop, LogStream::Stdout, 0, true), "bye\n");
    for order in [&mut kill, &mut stop] {
        assert_eq!(bed.containers_of(order), [""; 0]);
        node.remove(order);
    }
}

fn kept(bed: &Bed) {
    let node = bed.node();
    let mut order = node.submit(&server());
    node.wait_until_running(&order);
    let name = format!("vfioctl-{}", order.task);
    bed.say(&["exec", &name, "sh", "-c", "echo kept >/root/file"]);
    let begun = Instant::now();
    node.want(&mut order, Wanted::Stop);
    assert_eq!(node.wait_until_over(&order), Phase::Stopped);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "a server that waits ends when it is asked to"
    );
    assert_eq!(
        bed.containers_of(&order),
        [name.clone()],
        "what it wrote is in there"
    );
    order.run = 2;
    node.want(&mut order, Wanted::Run);
    node.wait_until_running(&order);
    assert_eq!(bed.say(&["exec", &name, "cat", "/root/file"]), "kept\n");
    assert_eq!(bed.containers_of(&order).len(), 1);
    node.want(&mut order, Wanted::Kill);
    assert_eq!(node.wait_until_over(&order), Phase::Killed);
    node.remove(&mut order);
    assert_eq!(bed.containers_of(&order), [""; 0]);
}

fn cannot(bed: &Bed) {
    let node = bed.node();
    let mut missing = command(&["true"]);
    container(&mut missing).image = Some("localhost:1/none/such:1".into());
    let nobody = command(&["/no/such/program"]);
    let mut privileged = command(&["true"]);
    container(&mut privileged).privileged = true;
    let mut archive = command(&["true"]);
    container(&mut archive).archive = Some("none".parse().unwrap());
    let mut numa = command(&["true"]);
    numa.target = Some("node:900".parse().unwrap());
    let mut gpu = command(&["true"]);
    gpu.target = Some("node::7".parse().unwrap());
    let mut variable = command(&["true"]);
    container(&mut variable)
        .environment
        .insert("NVIDIA_VISIBLE_DEVICES".into(), "all".into());
    for (what, submission, retries) in [
        ("registry", missing, true),
        ("program", nobody, false),
        ("privileged", privileged, false),
        ("archive", archive, false),
        ("numa", numa, false),
        ("gpu", gpu, true),
        ("variable", variable, false),
    ] {
        let mut order = node.submit(&submission);
        let (reason, may_retry) = not_started(node.wait_until_over(&order));
        assert_eq!(may_retry, retries, "{what}: {reason}");
        assert_eq!(bed.containers_of(&order), [""; 0], "{what}");
        node.remove(&mut order);
    }
}

fn archives(bed: &Bed) {
    let node = bed.node();
    let engine = bed.engine();
    let root = node.archives().join("root.tar");
    std::fs::copy(engine.archive("rootfs.tar"), &root).unwrap();
    let image = node.archives().join("image.tar.gz");
    let packed = std::process::Command::new("gzip")
        .arg("-c")
        .arg(engine.archive("image.tar"))
        .output()
        .unwrap();
    std::fs::write(&image, packed.stdout).unwrap();
    let run = |name: &str, script: &str| {
        let mut submission = sh(script);
        container(&mut submission).archive = Some(name.parse().unwrap());
        let order = node.submit(&submission);
        assert_eq!(node.wait_until_over(&order), exited(0), "{}", node.log());
        let progress = node.phases(&order).iter().any(|phase| {
            matches!(phase, Phase::Starting { progress } if progress.contains("loading archive"))
        });
        (node.read_log(&order, LogStream::Stdout, 0, true), progress)
    };
    assert_eq!(run("root", "ls /etc"), ("group\npasswd\n".into(), true));
    assert_eq!(run("image", "ls /etc"), ("group\npasswd\n".into(), true));
    assert!(!run("root", "true").1, "it is there already");
    // Another archive under the same name.
    let tree = tempfile::tempdir().unwrap();
    let tar = |words: &[&str]| {
        let status = std::process::Command::new("tar")
            .arg("-C")
            .arg(tree.path())
            .args(words)
            .status()
            .unwrap();
        assert!(status.success());
    };
    tar(&["-xf", root.to_str().unwrap()]);
    std::fs::write(tree.path().join("etc/new"), "").unwrap();
    std::fs::remove_file(&root).unwrap();
    tar(&["-cf", root.to_str().unwrap(), "."]);
    assert_eq!(
        run("root", "ls /etc"),
        ("group\nnew\npasswd\n".into(), true)
    );
}

fn mounts(bed: &Bed) {
    let node = bed.node();
    let shared = node.shared();
    std::fs::create_dir(shared.join("a")).unwrap();
    std::fs::write(shared.join("a/in"), "hello\n").unwrap();
    std::os::unix::fs::symlink("/etc", shared.join("link")).unwrap();
    let mounted = |source: String, target: &str| {
        let mut submission = sh("cat /x/in; echo more >/x/out");
        container(&mut submission).mounts = vec![format!("{source}:{target}").parse().unwrap()];
        let order = node.submit(&submission);
        (
            node.wait_until_over(&order),
            node.read_log(&order, LogStream::Stdout, 0, true),
        )
    };
    let a = shared.join("a").display().to_string();
    std::fs::set_permissions(&a, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(mounted(a.clone(), "/x"), (exited(0), "hello\n".into()));
    assert_eq!(
        std::fs::read_to_string(shared.join("a/out")).unwrap(),
        "more\n"
    );
    std::fs::remove_file(shared.join("a/out")).unwrap();
    assert_eq!(mounted(a.clone(), "/x:ro"), (exited(1), "hello\n".into()));
    assert!(!shared.join("a/out").exists());
    for (source, target) in [
        ("/etc".to_owned(), "/x"),
        (shared.join("link").display().to_string(), "/x"),
        (a, "/dev/x"),
    ] {
        let (phase, _) = mounted(source, target);
        assert!(!not_started(phase).1);
    }
}

fn long_log(bed: &Bed) {
    let node = Node::start(&Setup {
        max_log_bytes: 1 << 20,
        ..bed.setup()
    });
    let order = node.submit(&sh("yes 0123456789abcdef | head -c 3000000; echo err >&2"));
    assert_eq!(node.wait_until_over(&order), exited(0));
    let log = node.read_log(&order, LogStream::Stdout, 0, true);
    let end = "\n[vfioctl: the log is cut here: it is longer than 1 MiB]\n";
    assert!(
        log.ends_with(end) && log.len() == (1 << 20) + end.len(),
        "{}",
        log.len()
    );
    assert_eq!(node.read_log(&order, LogStream::Stderr, 0, true), "err\n");
}

fn restarted(bed: &Bed) {
    let mut node = bed.node();
    // Some lines at one moment, and between them time to be killed in.
    let order = node.submit(&sh(
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; \
        [ $((i % 100)) = 0 ] && sleep 0.1; done; echo end >&2",
    ));
    node.wait_until_running(&order);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(600));
        node.restart();
    }
    assert_eq!(node.wait_until_over(&order), exited(0));
    let expected: String = (1..=3000)
        .map(|number| format!("line {number}\n"))
        .collect();
    let log = node.read_log(&order, LogStream::Stdout, 0, true);
    let differs = log
        .lines()
        .zip(expected.lines())
        .find(|(is, shall)| is != shall);
    assert!(
        log == expected,
        "{} bytes of {}: {differs:?}",
        log.len(),
        expected.len()
    );
    assert_eq!(node.read_log(&order, LogStream::Stderr, 0, true), "end\n");
}

/// A small disk, on which there is no room.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(place: &std::path::Path) -> Self {
        std::fs::create_dir_all(place).unwrap();
        let options = format!("size=1m,mode=700,uid={}", vfioctl_tests::node::RUNNER);
        let mount = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let status = std::process::Command::new("mount")
            .args(mount)
            .arg(place)
            .status()
            .unwrap();
        assert!(status.success());
        Self(place.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever has it open still has it until then.
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(&self.0)
            .status();
    }
}

fn full_disk(bed: &Bed) {
    let node = bed.node();
    let disk = Disk::mount(&node.data().join("tasks"));
    let order = node.submit(&sh(
        "while [ ! -e /x/go ]; do sleep 0.1; done; yes 0123456789abcde | head -c 400000; echo end",
    ));
    // Room for all but the log.
    let mut with_mount = order.clone();
    container(&mut with_mount.submission).mounts =
        vec![format!("{}:/x", node.shared().display()).parse().unwrap()];
    with_mount.task = node.draft(&order.submission).task;
    let mut first = order;
    node.want(&mut first, Wanted::Kill);
    node.order(&with_mount);
    node.wait_until_running(&with_mount);
    std::fs::write(disk.0.join("filler"), vec![0; 900 << 10]).unwrap_or(());
    std::fs::write(node.shared().join("go"), "").unwrap();
    node.wait_for("the full disk is told", |node| {
        node.report()
            .problems
            .iter()
            .any(|problem| problem.contains("cannot be written"))
    });
    std::fs::remove_file(disk.0.join("filler")).unwrap();
    assert_eq!(node.wait_until_over(&with_mount), exited(0));
    let log = node.read_log(&with_mount, LogStream::Stdout, 0, true);
    assert_eq!(log.len(), 400_004);
    assert!(log.ends_with("end\n"));
    assert_eq!(node.wait_until_over(&first), Phase::Killed);
}

fn not_permitted(_: &Bed) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let node = Node::start(&Setup {
        engine: socket,
        helper: no_helper(),
        ..Setup::default()
    });
    let containers = node.report().containers;
    assert!(!containers.available);
    let reason = containers.reason.unwrap();
    assert!(
        reason.contains("usermod -aG docker vfioctl-runner"),
        "{reason}"
    );
    let order = node.submit(&command(&["true"]));
    assert!(
        not_started(node.wait_until_over(&order)).1,
        "another node may do it"
    );
}
