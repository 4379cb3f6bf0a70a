//! A machine in a folder, with a fake kernel and a helper of its own.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Picture, User, World, program};
use crate::fake::{
    FakeKernel, Faults, Listing, Machine, SOCKET_GROUP, lab_like, list, start_helper,
};
use crate::raw::connect;

/// A machine in a folder.
#[derive(Debug)]
pub struct FakeWorld {
    helper: Mutex<Option<Child>>,
    machine: Machine,
    kernel: FakeKernel,
    // Last, so that the helper ends before its folder does.
    _folder: TempDir,
}

impl FakeWorld {
    /// A machine like the lab's, with a running helper.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("vfioctl-fake-")
            .tempdir()
            .unwrap();
        let machine = lab_like(folder.path());
        let world = Self {
            helper: Mutex::default(),
            kernel: FakeKernel::of(&machine),
            machine,
            _folder: folder,
        };
        world.start_helper();
        world
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Its kernel.
    pub fn kernel(&self) -> &FakeKernel {
        &self.kernel
    }

    /// What its kernel does wrong.
    pub fn faults(&self) -> &Faults {
        self.kernel.faults()
    }

    /// Everything that the kernel shows, with every byte, and the helper's state.
    pub fn listing(&self) -> Listing {
        let folders = ["sys", "dev", "proc", "etc", "state"];
        list(self.machine.folder(), &folders)
    }

    /// The helper's socket.
    pub fn socket(&self) -> PathBuf {
        self.machine.folder().join("run/vfioctl/helper.sock")
    }

    /// The process of the helper, where it runs.
    pub fn helper_pid(&self) -> Option<u32> {
        self.lock().as_ref().map(Child::id)
    }

    /// Waits for the helper to end by itself.
    ///
    /// # Panics
    /// Where it does not.
    pub fn wait_for_helper_end(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let has_ended = || {
            let mut helper = self.lock();
            helper
                .as_mut()
                .is_none_or(|child| child.try_wait().unwrap().is_some())
        };
        while !has_ended() {
            assert!(Instant::now() < deadline, "the helper does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.helper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World for FakeWorld {
    fn vfioctl(&self, user: User, arguments: &[&str]) -> Answer {
        let uid = user.uid().to_string();
        let groups = if user.is_member() {
            format!("{uid},{SOCKET_GROUP}")
        } else {
            uid.clone()
        };
        // A case may name another one.
        let socket = (!arguments.contains(&"--socket")).then(|| self.socket());
        let socket = socket.as_ref().map(|path| path.to_str().unwrap());
        let output = Command::new("setpriv")
            .args(["--reuid", &uid, "--regid", &uid, "--groups", &groups])
            .arg(program("vfioctl"))
            .arg("--json")
            .args(arguments)
            .args(socket.iter().flat_map(|path| ["--socket", path]))
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let status = output.status.code().unwrap_or(-1);
        Answer::new(status, &String::from_utf8_lossy(&output.stdout))
    }

    fn call(&self, user: User, method: &str, parameters: &Value) -> Value {
        let reply = connect(self, user.uid()).call(method, parameters);
        reply.unwrap()
    }

    fn picture(&self) -> Picture {
        let mut picture = Picture::new();
        let root = self.machine.folder();
        for entry in std::fs::read_dir(root.join("sys/bus/pci/devices")).unwrap() {
            let address = entry.unwrap().file_name().to_string_lossy().into_owned();
            for (key, name) in [("driver", "driver"), ("group", "iommu_group")] {
                if let Some(value) = self.machine.link_name(&address, name) {
                    picture.insert(format!("{key} {address}"), value);
                }
            }
            let path = self
                .machine
                .device(&address)
                .unwrap()
                .join("driver_override");
            let text = std::fs::read_to_string(path).unwrap();
            picture.insert(format!("override {address}"), text.trim_end().to_owned());
        }
        for entry in std::fs::read_dir(root.join("dev/vfio")).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let value = format!("{} {:o}", metadata.uid(), metadata.mode() & 0o777);
            picture.insert(
                format!("node {}", entry.file_name().to_string_lossy()),
                value,
            );
        }
        for entry in std::fs::read_dir(root.join("etc/vfioctl/pinned")).unwrap() {
            let name = entry.unwrap().file_name();
            picture.insert(format!("pin {}", name.to_string_lossy()), String::new());
        }
        for folder in ["claims", "journal", "machines"] {
            let entries = std::fs::read_dir(root.join("state").join(folder));
            for entry in entries.into_iter().flatten() {
                let name = entry.unwrap().file_name();
                let key = format!("state {folder}/{}", name.to_string_lossy());
                picture.insert(key, String::new());
            }
        }
        picture
    }

    fn set_override(&self, address: &str, text: &str) {
        self.kernel.set_override(address, text).unwrap();
    }

    fn kill_helper(&self) {
        if let Some(mut child) = self.lock().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn start_helper(&self) {
        self.kill_helper();
        *self.lock() = Some(start_helper(&self.machine));
    }

    fn stop_helper(&self) {
        self.kill_helper();
        std::fs::remove_file(self.socket()).unwrap();
    }

    fn old_helper(&self, reply: &str) -> String {
        let path = self.machine.folder().join("run/old.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let all = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&path, all).unwrap();
        let reply = [reply.as_bytes(), &[0]].concat();
        // Ends with the test program.
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&reply);
            }
        });
        path.to_string_lossy().into_owned()
    }

    fn fake(&self) -> Option<&FakeWorld> {
        Some(self)
    }
}

impl Drop for FakeWorld {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.machine.folder().join("run/helper.log");
            eprintln!(
                "helper: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
        }
        self.kill_helper();
    }
}

/// Lets every user into a folder.
pub(super) fn open_to_all(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
