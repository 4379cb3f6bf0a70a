//! A place to run a container engine in, of which nothing is left.
//!
//! It is three name spaces of Linux. When the first process in a space of processes ends, the
//! kernel kills all others there (`pid_namespaces(7)`): engine, shims and containers. With the last
//! of them goes the space of mounts, and every mount in it. Control groups are directories and stay,
//! so all are below one that is ours in each hierarchy, and that is removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::lab::error::Wrap;
use crate::lab::process::Process;
use crate::lab::{Error, Image, Result};

/// What the names of our control groups begin with; the harness' process number follows.
const PREFIX: &str = "vfioctl-test-";

/// It takes 0.1 s.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long the last process may take to die; each releases its memory first.
const END_LIMIT: Duration = Duration::from_secs(10);

/// First process, in new spaces of processes and mounts: joins our control groups, since the new
/// space of control groups has for its root what its maker is in.
const ENTER: &str = r#"
set -e
name=$1 setup=$2
for hierarchy in $HIERARCHIES; do echo 0 >"$hierarchy/$name/cgroup.procs"; done
exec unshare --cgroup sh -c "$setup" sh "$name"
"#;

/// Goes on as the same process. A group of version 2 that hands controllers on has no processes of
/// its own, hence `engine` below it. What engines write outside their folders goes to overlays. Podman
/// asks `dpkg` for the packages of its programs each time that it is asked about itself, which takes
/// longer than all else that it does, and ours are of none.
const SETUP: &str = r#"
set -e
for hierarchy in $HIERARCHIES; do
    own=$hierarchy/$1
    if [ -e "$own/cgroup.controllers" ]; then
        mkdir "$own/engine"
        echo 0 >"$own/engine/cgroup.procs"
        for controller in $(cat "$own/cgroup.controllers"); do
            echo "+$controller" >"$own/cgroup.subtree_control" || :
        done
    fi
    mount --bind "$own" "$hierarchy"
done
for place in etc var/lib; do
    mkdir -p "$FOLDER/over/$place" "$FOLDER/work/$place"
    mount -t overlay -o "lowerdir=/$place,upperdir=$FOLDER/over/$place,workdir=$FOLDER/work/$place" \
        overlay "/$place"
done
if [ -e /usr/bin/dpkg ]; then mount --bind /bin/false /usr/bin/dpkg; fi
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
touch "$FOLDER/ready"
exec "$ENGINES/bin/docker-init" -- sleep infinity
"#;

/// Every other process of the cell. It ends with the one that the harness started for it.
const JOIN: &str = r#"
set -e
for hierarchy in $HIERARCHIES; do
    [ -e "$hierarchy/engine" ] && own=$hierarchy/engine || own=$hierarchy
    echo 0 >"$own/cgroup.procs"
done
export PATH="$ENGINES/bin:$PATH" LD_LIBRARY_PATH="$ENGINES/lib"
exec setpriv --pdeathsig KILL "$@"
"#;

/// A running cell. With it ends what runs in it.
#[derive(Debug)]
pub(super) struct Cell {
    keeper: Process,
    groups: Vec<PathBuf>,
    environment: [(&'static str, String); 3],
    first: String,
}

impl Cell {
    /// Makes a cell for programs that keep their things in a folder. What is in `folder/over/etc`
    /// lies over `/etc` in the cell.
    pub(super) fn start(image: &Image, folder: &Path) -> Result<Cell> {
        let hierarchies = read_hierarchies()?;
        remove_groups_of_the_dead(&hierarchies);
        let name = new_name();
        let groups = make_groups(&hierarchies, &name)?;
        let hierarchies: Vec<_> = hierarchies
            .iter()
            .map(|path| path.to_string_lossy())
            .collect();
        let environment = [
            ("HIERARCHIES", hierarchies.join(" ")),
            ("FOLDER", folder.display().to_string()),
            ("ENGINES", image.file("engines").display().to_string()),
        ];
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
            ])
            .args(["sh", "-c", ENTER, "sh", &name, SETUP])
            .envs(environment.clone());
        let mut cell = Cell {
            keeper: Process::start_command(&command, &folder.join("stderr"))?,
            groups,
            environment,
            first: String::new(),
        };
        cell.wait_until_ready(folder)?;
        cell.first = find_child(&cell.keeper)?;
        Ok(cell)
    }

    fn wait_until_ready(&mut self, folder: &Path) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        while !folder.join("ready").exists() {
            if self.keeper.has_ended() || Instant::now() > end {
                return Err(Error::new(
                    "no name spaces can be made for a container engine",
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A command that runs a program in the cell.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.first, "--mount", "--pid", "--cgroup"])
            .args(["sh", "-c", JOIN, "sh", program])
            .envs(self.environment.clone());
        command
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.keeper.kill();
        remove_groups(&self.groups);
    }
}

/// Ends a program of the cell (SIGKILL) that the harness has started with [`Cell::command`], and
/// waits until it is gone: what dies with the harness' child is the child of that.
pub(super) fn kill(process: &mut Process) -> Result<()> {
    let Ok(program) = find_child(process) else {
        process.kill();
        return Ok(());
    };
    process.kill();
    let end = Instant::now() + END_LIMIT;
    while Path::new("/proc").join(&program).exists() {
        if Instant::now() > end {
            return Err(Error::new("a process outlives its end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Finds the only child of a process, by its number in the harness' space.
fn find_child(process: &Process) -> Result<String> {
    let parent = process.id();
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&path).wrap_path("read", Path::new(&path))?;
    match children.split_whitespace().next() {
        Some(child) => Ok(child.to_owned()),
        None => Err(Error::new(format!("process {parent} has no child"))),
    }
}

/// Where control groups are mounted, of both versions.
fn read_hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/mounts").wrap("read /proc/mounts")?;
    let found: BTreeSet<PathBuf> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let place = words.next()?;
            matches!(words.next()?, "cgroup" | "cgroup2").then(|| place.into())
        })
        .collect();
    match found.is_empty() {
        true => Err(Error::new("no control groups are mounted here")),
        false => Ok(found.into_iter().collect()),
    }
}

fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{count}", std::process::id())
}

fn make_groups(hierarchies: &[PathBuf], name: &str) -> Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for hierarchy in hierarchies {
        let group = hierarchy.join(name);
        fs::create_dir(&group).wrap_path("create", &group)?;
        // In version 1 a group begins with no processors and no memory, and takes no process then.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (from, to) = (hierarchy.join(file), group.join(file));
            if let (Ok(value), true) = (fs::read(from), hierarchy.join("tasks").exists()) {
                fs::write(&to, value).wrap_path("write", &to)?;
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Removes groups whose processes have been killed. A group can be removed when no process is in it, so
/// this waits for the last one too: one that dies has no command line any more, and is still in its group.
fn remove_groups(groups: &[PathBuf]) {
    let end = Instant::now() + END_LIMIT;
    // All are tried each time: none is kept by another whose processes take longer.
    while groups.iter().filter(|group| !remove_group(group)).count() > 0 {
        if Instant::now() > end {
            eprintln!("processes of a test's container engine are left: {groups:?}");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes a group and those below it, and tells whether it is gone.
fn remove_group(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
    !group.exists()
}

/// A harness that was killed removed nothing, and what it had started may be dying yet.
fn remove_groups_of_the_dead(hierarchies: &[PathBuf]) {
    let entries = hierarchies.iter().flat_map(fs::read_dir).flatten();
    let of_the_dead = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    });
    let groups: Vec<PathBuf> = of_the_dead.map(|entry| entry.path()).collect();
    remove_groups(&groups);
}
