//! The lab: a virtual machine with an IOMMU, to bind, unbind and pass through devices in.
//!
//! `tests/lab/README.md` says what is in it. A [`Lab`] is one running machine. [`Lab::restore`]
//! has it running in less than a second, from a state that was saved after a boot, so that every
//! test can have a kernel of its own and leave it in any condition. [`Lab::boot`] really boots, for
//! tests of what happens at boot.
//!
//! Nothing here skips: a lab that does not start is an error.

mod agent;
pub(crate) mod error;
pub(crate) mod folder;
mod image;
mod machine;
mod network;
pub(crate) mod process;
mod product;
pub(crate) mod qmp;
mod shell;
mod state;
pub mod visit;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use self::agent::Agent;
pub use self::agent::Output;
use self::error::Wrap;
pub use self::error::{Error, Result};
use self::folder::Folder;
pub use self::image::{Image, Kernel};
pub use self::machine::{BootFile, BootOptions, Profile};
pub use self::network::{OUTSIDE, OUTSIDE_PORTS};
use self::process::Process;
pub use self::product::Product;
use self::qmp::Qmp;

/// A boot takes 11 s on an idle machine with two processors.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
const START_LIMIT: Duration = Duration::from_secs(30);
const INSTALL_LIMIT: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_secs(30);

/// How long QEMU's process may take to be gone after its sockets are.
const CRASH: Duration = Duration::from_secs(2);

/// The longest that a machine lives, whatever its harness does.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// Before a state is saved: nothing in flight, and little memory in use, since that is its size.
const SETTLE: &str = "udevadm settle && sync && echo 3 >/proc/sys/vm/drop_caches";

/// Path in the lab of the nested guest, a program that tests the devices passed through to it;
/// see `tests/lab/guest/main.c`. It is for `qemu-system-x86_64 -kernel`.
pub const GUEST: &str = "/usr/local/share/lab/guest.elf";

/// Address of the device that the nested guest tests DMA and interrupts with. It has no driver.
pub const EDU: &str = "0000:09:00.0";

/// One running machine. It ends when this is dropped.
#[derive(Debug)]
pub struct Lab {
    // In this order: the agent's thread goes first, QEMU before the folder with its sockets.
    agent: Agent,
    qmp: Mutex<Qmp>,
    process: Process,
    terminal: UnixStream,
    folder: Folder,
}

impl Lab {
    /// Finds the lab's image, and builds it where it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be built.
    pub fn image() -> Result<Image> {
        Image::build(None)
    }

    /// Boots a machine and waits until systemd has started everything.
    ///
    /// # Errors
    ///
    /// When it does not come up, with the end of its console.
    pub fn boot(profile: Profile, options: &BootOptions) -> Result<Lab> {
        again_after_crash(|| Lab::boot_from(profile, options, Folder::new()?))
    }

    /// Boots a machine in which the product was installed before, as on any later day.
    ///
    /// # Errors
    ///
    /// When it does not come up, with the end of its console.
    pub fn boot_installed(
        profile: Profile,
        product: &Product,
        options: &BootOptions,
    ) -> Result<Lab> {
        again_after_crash(|| {
            let folder = Folder::new()?;
            product.install_below(&folder.boot_tree().join("inject"))?;
            let mut options = options.clone();
            let own_hook = options.hook.unwrap_or_default();
            options.hook = Some(format!("{}{own_hook}", product::ENABLE_HOOK));
            Lab::boot_from(profile, &options, folder)
        })
    }

    fn boot_from(profile: Profile, options: &BootOptions, folder: Folder) -> Result<Lab> {
        let image = Image::build(options.kernel)?;
        let tree = folder.boot_tree();
        let initramfs = machine::write_initramfs(&image, options, &tree, folder.path())?;
        let args = machine::command_line(&image, profile, options, &initramfs, folder.path())?;
        let mut lab = Lab::start(folder, &args, LIFE)?;
        // Not the verdict: a test may well boot a machine with a unit that fails.
        let up = lab.run(
            "systemctl is-system-running --wait; udevadm settle",
            BOOT_LIMIT,
        );
        let _ = up.map_err(|error| {
            let console = std::fs::read(lab.folder.path().join("console"));
            let is_silent = console.is_ok_and(|text| text.is_empty());
            error.of_crash(is_silent && lab.process.wait(CRASH))
        })?;
        Ok(lab)
    }

    /// Restores a machine that has booted.
    ///
    /// # Errors
    ///
    /// When it cannot be restored, or booted and saved the first time.
    pub fn restore(profile: Profile) -> Result<Lab> {
        Lab::restore_for(profile, LIFE)
    }

    /// Restores a machine in which the product has been installed, see [`Lab::install`].
    ///
    /// # Errors
    ///
    /// When it cannot be restored, or installing failed the first time.
    pub fn restore_installed(profile: Profile, product: &Product) -> Result<Lab> {
        Lab::restore_installed_for(profile, product, LIFE)
    }

    pub(crate) fn restore_for(profile: Profile, life: Duration) -> Result<Lab> {
        let image = Lab::image()?;
        let name = format!(
            "{}-{:016x}",
            profile.name(),
            machine::fingerprint(&image, profile)?
        );
        let path = state::find_or_make(&image, &name, |path| {
            Lab::boot(profile, &BootOptions::default())?.save(path)
        })?;
        Lab::restore_from(&image, profile, &path, life)
    }

    pub(crate) fn restore_installed_for(
        profile: Profile,
        product: &Product,
        life: Duration,
    ) -> Result<Lab> {
        let image = Lab::image()?;
        let machine = machine::fingerprint(&image, profile)?;
        let name = format!(
            "{}-{machine:016x}-{:016x}",
            profile.name(),
            product.fingerprint()
        );
        let path = state::find_or_make(&image, &name, |path| {
            let lab = Lab::restore(profile)?;
            lab.install(product)?;
            lab.save(path)
        })?;
        Lab::restore_from(&image, profile, &path, life)
    }

    /// Runs a script as root and waits for its end. Scripts of several threads run side by side.
    ///
    /// # Errors
    ///
    /// When the machine does not answer. What the script does is in the output.
    pub fn run(&self, script: &str, limit: Duration) -> Result<Output> {
        self.run_with_input(script, &[], limit)
    }

    /// Runs a script as root with that standard input.
    ///
    /// # Errors
    ///
    /// When the machine does not answer. What the script does is in the output.
    pub fn run_with_input(&self, script: &str, input: &[u8], limit: Duration) -> Result<Output> {
        self.agent
            .run(script, input, limit)
            .map_err(|error| self.explain(error))
    }

    /// Runs a script as a user: the groups are those of now, the environment is a fresh one, and
    /// the folder is the user's home. There are `alice`, `bob` and `carol`.
    ///
    /// # Errors
    ///
    /// When the machine does not answer. What the script does is in the output.
    pub fn run_as(&self, user: &str, script: &str, limit: Duration) -> Result<Output> {
        let script = quote(script);
        let become_user = format!(
            "cd ~{user} && exec setpriv --reuid={user} --regid={user} --init-groups --reset-env \
             bash -c {script}"
        );
        self.run(&become_user, limit)
    }

    /// Has the lab's kernel find a device anew. [`EDU`] needs it after a restore, because QEMU does
    /// not save that device's state.
    ///
    /// # Errors
    ///
    /// When the device does not come back.
    pub fn rescan(&self, address: &str) -> Result<()> {
        // Settled, because a worker of udev that still looks at the bus holds locks which a bind
        // right after would fail on with EAGAIN.
        let script = format!(
            "cd /sys/bus/pci && echo 1 >devices/{address}/remove && echo 1 >rescan &&
             udevadm settle && test -e devices/{address}"
        );
        self.run(&script, SHORT)?.success().map(drop)
    }

    /// Copies a file, or all that is in a folder, of this machine into a folder of the lab.
    ///
    /// # Errors
    ///
    /// When it cannot be read here or written there.
    pub fn push(&self, from: &Path, to_folder: &str) -> Result<()> {
        self.unpack(&product::pack(from, &[])?, to_folder)
    }

    /// Installs the product as its users do, by its own `scripts/install`, lets alice and bob use
    /// it (not carol), and starts it.
    ///
    /// # Errors
    ///
    /// When installing fails, with what it said.
    pub fn install(&self, product: &Product) -> Result<()> {
        self.unpack(product.sources(), product::SOURCES)?;
        self.unpack(product.binaries(), product::BINARIES)?;
        self.run(&product::install_script(), INSTALL_LIMIT)?
            .success()
            .map(drop)
    }

    fn unpack(&self, tar: &[u8], folder: &str) -> Result<()> {
        let folder = quote(folder);
        let script = format!("mkdir -p {folder} && tar -C {folder} --no-same-owner -xf -");
        self.run_with_input(&script, tar, SHORT)?
            .success()
            .map(drop)
    }

    /// Runs one command of QEMU's monitor, for example `device_add`.
    ///
    /// # Errors
    ///
    /// When QEMU refuses it or does not answer.
    pub fn qmp(&self, command: &str, arguments: Value) -> Result<Value> {
        let mut qmp = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        qmp.execute(command, arguments)
            .map_err(|error| self.explain(error))
    }

    /// Names the folder with the machine's `console` and QEMU's `stderr`.
    #[must_use]
    pub fn logs(&self) -> &Path {
        self.folder.path()
    }

    fn restore_from(image: &Image, profile: Profile, state: &Path, life: Duration) -> Result<Lab> {
        again_after_crash(|| Lab::try_restore_from(image, profile, state, life))
    }

    fn try_restore_from(
        image: &Image,
        profile: Profile,
        state: &Path,
        life: Duration,
    ) -> Result<Lab> {
        let folder = Folder::new()?;
        let options = BootOptions::default();
        let initramfs = image.file("initramfs.cpio");
        let mut args = machine::command_line(image, profile, &options, &initramfs, folder.path())?;
        args.extend(state::restore_option(state));
        let mut lab = Lab::start(folder, &args, life)?;
        state::resume(&mut lab.qmp.lock().unwrap_or_else(PoisonError::into_inner))
            .map_err(|error| lab.explain(error))?;
        // It believes that it is the moment in which it was saved.
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .wrap("read the clock")?;
        let set = lab.run(&format!("date -s @{} >/dev/null", now.as_secs_f64()), SHORT);
        set.map_err(|error| error.of_crash(lab.process.wait(CRASH)))?
            .success()?;
        Ok(lab)
    }

    fn start(folder: Folder, args: &[String], life: Duration) -> Result<Lab> {
        let mut process = Process::start(args, life, folder.path())?;
        let connected = (|| {
            let qmp = Qmp::new(connect(&mut process, &folder.path().join("qmp"))?)?;
            let agent = Agent::new(connect(&mut process, &folder.path().join("command"))?)?;
            let terminal = connect(&mut process, &folder.path().join("terminal"))?;
            Ok((qmp, agent, terminal))
        })();
        match connected {
            Ok((qmp, agent, terminal)) => Ok(Lab {
                agent,
                qmp: Mutex::new(qmp),
                process,
                terminal,
                folder,
            }),
            Err(error) => {
                let error = Error::with_logs(error, folder.path());
                folder.keep();
                Err(error)
            }
        }
    }

    fn save(self, path: &Path) -> Result<()> {
        self.run(SETTLE, SHORT)?.success()?;
        let mut qmp = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        state::save(&mut qmp, path).map_err(|error| self.explain(error))
    }

    /// Adds the logs to an error, and keeps them.
    fn explain(&self, error: Error) -> Error {
        self.folder.keep();
        error.with_logs(self.folder.path())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.keep();
            eprintln!(
                "lab: the logs of this machine are in {}",
                self.folder.path().display()
            );
        }
        // The process' own drop is the firmer hand.
        let _ = self
            .qmp
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .execute("quit", json!({}));
        let _ = self.process.wait(Duration::from_secs(2));
    }
}

/// Starts a machine again, once, where the emulator itself ended before the machine in it had done
/// anything: QEMU 7.2 was seen to, once in some hundred starts (a null pointer of its own). Whatever
/// happens later is the machine's own, and an error.
fn again_after_crash(start: impl Fn() -> Result<Lab>) -> Result<Lab> {
    start().or_else(|error| {
        if !error.is_crash() {
            return Err(error);
        }
        eprintln!("lab: QEMU crashed before its machine ran; starting it again: {error}");
        start()
    })
}

/// Connects to a socket that QEMU is about to make.
fn connect(process: &mut Process, path: &Path) -> Result<UnixStream> {
    let end = Instant::now() + START_LIMIT;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(_) if process.has_ended() => return Err(Error::new("QEMU has ended")),
            Err(error) if Instant::now() > end => return Err(error).wrap_path("connect to", path),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Makes one word of a text, for a shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
