//! A socket through which the helper sees another user: connections are passed on by a process of that
//! user's.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vfioctl_tests::node::RUNNER;
use vfioctl_tests::node::site::{HELPER_GROUP, Site};

/// The user that machines run as.
pub(crate) const MACHINE_USER: u32 = 1002;
/// A group of every Debian, which stands for that of machines here.
pub(crate) const MACHINE_GROUP: (&str, u32) = ("games", 60);

/// Says to this program that it passes connections on, from where and to where.
const ASKED: &str = "VFIOCTL_TESTS_PROXY";

/// A process that passes connections on.
pub(crate) struct Proxy {
    child: Child,
    folder: tempfile::TempDir,
}

impl Proxy {
    pub(crate) fn start(site: &Site) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("proxy");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let place = folder.path().join("place");
        std::fs::create_dir(&place).unwrap();
        // The runner alone gets in.
        chown(&place, Some(MACHINE_USER), Some(RUNNER)).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o750)).unwrap();
        let socket = place.join("machines.sock");
        let user = MACHINE_USER.to_string();
        let groups = format!("{},{}", HELPER_GROUP.1, MACHINE_GROUP.1);
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--reuid", &user, "--regid", &user])
            .args(["--groups", &groups])
            .arg(&program)
            .env(
                ASKED,
                format!("{}:{}", socket.display(), site.socket().display()),
            )
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "nobody passes connections on");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, folder }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("place/machines.sock")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes this process pass connections on where it was started for that; then it does not return.
pub(crate) fn run_proxy_if_asked() {
    let Ok(asked) = std::env::var(ASKED) else {
        return;
    };
    let (from, to) = asked.split_once(':').unwrap();
    let listener = UnixListener::bind(from).unwrap();
    std::fs::set_permissions(from, std::fs::Permissions::from_mode(0o666)).unwrap();
    while let Ok((stream, _)) = listener.accept() {
        let to = Path::new(to).to_owned();
        std::thread::spawn(move || {
            let helper = UnixStream::connect(to).unwrap();
            let back = (helper.try_clone().unwrap(), stream.try_clone().unwrap());
            std::thread::spawn(move || pass_on(back.0, back.1));
            pass_on(stream, helper);
        });
    }
}

fn pass_on(mut from: UnixStream, mut to: UnixStream) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
