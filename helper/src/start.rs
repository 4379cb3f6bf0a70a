//! From the command line to the accept loop.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use vfioctl_scan::{SysRoot, read_boot_id};

use crate::helper::{Helper, Parts};
use crate::machine::{DirectLauncher, Launcher, SystemdLauncher};
use crate::options::{Asked, HELP, Options, parse};
use crate::pin::{Pins, hold_pinned, look_at_pins};
use crate::regroup::AcsState;
use crate::state::State;
use crate::sys::{LiveKernel, bind_socket, drop_privileges};
use crate::{at_boot, audit, server};

/// Runs the helper; the whole of the program.
pub fn run() -> ExitCode {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    match parse(std::env::args().skip(1)) {
        Ok(Asked::Help) => {
            let _ = stdout.write_all(HELP.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Asked::Version) => {
            let _ = writeln!(stdout, "vfioctl-helper {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Err(message) => {
            audit::error(&message);
            ExitCode::from(2)
        }
        Ok(Asked::AtBoot(options)) => match try_at_boot(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                audit::error(&message);
                ExitCode::FAILURE
            }
        },
        Ok(Asked::Run(options)) => match try_run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                audit::error(&message);
                ExitCode::FAILURE
            }
        },
    }
}

fn try_at_boot(options: &Options) -> Result<(), String> {
    drop_privileges(false).map_err(|error| format!("cannot give up capabilities: {error}"))?;
    let launcher = Box::new(DirectLauncher { helper_group: None });
    let helper = make_helper(options, launcher)?;
    at_boot::run(&helper, &options.configuration)
}

fn try_run(options: &Options) -> Result<(), String> {
    if options.hold_pinned {
        return hold(options);
    }
    let group = || {
        vfioctl_scan::SysRoot::live()
            .ok()
            .and_then(|root| group_id(&root, &options.group))
    };
    let listener = listener(options, group())?;
    let launcher = launcher(options, group());
    // Before the first thread: a thread keeps the capabilities it was born with.
    drop_privileges(launcher.forks())
        .map_err(|error| format!("cannot give up capabilities: {error}"))?;
    let helper = Arc::new(make_helper(options, launcher)?);
    let starting = Arc::clone(&helper);
    std::thread::Builder::new()
        .name("start".into())
        .spawn(move || starting.start())
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    server::serve(&listener, &helper, options.idle)
        .map_err(|error| format!("the socket failed: {error}"))
}

/// Before udev: no socket, no state directory, nothing but the pins.
fn hold(options: &Options) -> Result<(), String> {
    drop_privileges(false).map_err(|error| format!("cannot give up capabilities: {error}"))?;
    let root = SysRoot::live().map_err(|error| format!("{error}: {}", error.because()))?;
    let kernel = LiveKernel::open(Path::new("/"), &options.runtime)
        .map_err(|error| format!("cannot open /sys, /dev and the runtime directory: {error}"))?;
    let pins = look_at_pins(&options.pins).map_err(|error| error.to_string())?;
    hold_pinned(&root, &kernel, &pins)
        .then_some(())
        .ok_or_else(|| "a pinned device could not be aimed at vfio-pci".into())
}

fn make_helper(options: &Options, launcher: Box<dyn Launcher>) -> Result<Helper, String> {
    let root = SysRoot::live().map_err(|error| format!("{error}: {}", error.because()))?;
    let boot_id = read_boot_id(&root)
        .map_err(|error| format!("{error}: {}", error.because()))?
        .ok_or("the kernel tells no boot id")?;
    let kernel = LiveKernel::open(Path::new("/"), &options.runtime)
        .map_err(|error| format!("cannot open /sys, /dev and the runtime directory: {error}"))?;
    let state = State::open(&options.state, boot_id).map_err(|error| error.to_string())?;
    let acs = AcsState::open(&options.runtime).map_err(|error| error.to_string())?;
    Ok(Helper::new(Parts {
        acs,
        root,
        kernel: Box::new(kernel),
        launcher,
        state,
        pins: Pins::open(&options.pins),
        runtime: options.runtime.clone(),
        qemu: options.qemu.clone(),
    }))
}

fn listener(options: &Options, group: Option<u32>) -> Result<UnixListener, String> {
    match &options.listen {
        Some(path) => bind_socket(path, group)
            .map_err(|error| format!("cannot listen on '{}': {error}", path.display())),
        // Checks that the descriptor is a listening Unix socket, and clears the environment.
        None => listenfd::ListenFd::from_env()
            .take_unix_listener(0)
            .ok()
            .flatten()
            .ok_or_else(|| "systemd passed no socket, and there is no --listen".into()),
    }
}

fn launcher(options: &Options, group: Option<u32>) -> Box<dyn Launcher> {
    let socket = options
        .listen
        .as_deref()
        .unwrap_or(Path::new(vfioctl_protocol::DEFAULT_SOCKET));
    let systemd = if options.direct {
        None
    } else {
        SystemdLauncher::detect(&socket.to_string_lossy())
    };
    match systemd {
        Some(systemd) => Box::new(systemd),
        None => Box::new(DirectLauncher {
            helper_group: group,
        }),
    }
}

/// The number of a group in `/etc/group`.
fn group_id(root: &SysRoot, name: &str) -> Option<u32> {
    let text = root.etc.read_text("group").ok().flatten()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name)
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}
