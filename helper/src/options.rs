//! The command line of the helper. It is short, so no library parses it.

use std::path::PathBuf;
use std::time::Duration;

/// How the helper was asked to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// A socket to make and listen on; without it, the one that systemd passes is taken.
    pub(crate) listen: Option<PathBuf>,
    /// The group whose members may call, where the socket is made here.
    pub(crate) group: String,
    /// Where claims, journal and machines are kept.
    pub(crate) state: PathBuf,
    /// Where pins are kept.
    pub(crate) pins: PathBuf,
    /// Whether only to aim pinned devices at vfio-pci, before udev, and end.
    pub(crate) hold_pinned: bool,
    /// Where sockets and logs are kept while they are in use.
    pub(crate) runtime: PathBuf,
    /// The program that machines are run by.
    pub(crate) qemu: String,
    /// Whether QEMU is started by the helper itself, also where systemd runs.
    pub(crate) direct: bool,
    /// Where the administrator's wishes stand.
    pub(crate) configuration: PathBuf,
    /// How long to stay with nothing to do.
    pub(crate) idle: Option<Duration>,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Run(Options),
    AtBoot(Options),
    Help,
    Version,
}

pub(crate) const HELP: &str = "\
usage: vfioctl-helper [OPTION VALUE]...

The privileged helper of vfioctl. systemd starts it when someone calls
(vfioctl-helper.socket); without systemd, start it as root with --listen.

  --listen PATH   make this socket and listen on it
  --group NAME    whose members may call, with --listen (vfioctl)
  --state DIR     where claims, journal and machines are kept (/var/lib/vfioctl)
  --pins DIR      where it is kept what stays bound over reboots (/etc/vfioctl/pinned)
  --hold-pinned   only aim these devices at vfio-pci, and end: to be run at boot, before
                  udev loads drivers
  --runtime DIR   where sockets and logs of machines are (/run/vfioctl)
  --qemu PATH     the program that runs machines (/usr/bin/qemu-system-x86_64)
  --idle SECONDS  end after so long with nothing to do; 0: never
                  (30 when started by systemd, else 0)
  --config PATH   what to do unasked (/etc/vfioctl/vfioctl.toml)
  --at-boot       do what that file wants at boot, and end
  --direct        start QEMU itself, also where systemd could
  --version, --help
";

/// QEMU's program for this processor.
const QEMU: &str = if cfg!(target_arch = "aarch64") {
    "/usr/bin/qemu-system-aarch64"
} else {
    "/usr/bin/qemu-system-x86_64"
};

/// Reads the arguments after the program's name.
///
/// # Errors
/// A line that says what is wrong.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Asked, String> {
    let mut options = Options {
        listen: None,
        group: "vfioctl".into(),
        state: "/var/lib/vfioctl".into(),
        pins: "/etc/vfioctl/pinned".into(),
        hold_pinned: false,
        runtime: "/run/vfioctl".into(),
        qemu: QEMU.into(),
        direct: false,
        configuration: crate::configuration::PATH.into(),
        idle: None,
    };
    let mut idle = None;
    let mut is_at_boot = false;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or(format!("'{argument}' needs a value"))
        };
        match argument.as_str() {
            "--help" => return Ok(Asked::Help),
            "--version" => return Ok(Asked::Version),
            "--at-boot" => is_at_boot = true,
            "--config" => options.configuration = value()?.into(),
            "--direct" => options.direct = true,
            "--hold-pinned" => options.hold_pinned = true,
            "--listen" => options.listen = Some(value()?.into()),
            "--group" => options.group = value()?,
            "--state" => options.state = value()?.into(),
            "--pins" => options.pins = value()?.into(),
            "--runtime" => options.runtime = value()?.into(),
            "--qemu" => options.qemu = value()?,
            "--idle" => {
                let text = value()?;
                let seconds: u64 = text
                    .parse()
                    .map_err(|_| format!("'{text}' is not a number of seconds"))?;
                idle = Some(Duration::from_secs(seconds));
            }
            other => return Err(format!("unknown option '{other}'; --help names them all")),
        }
    }
    options.idle = match (idle, &options.listen) {
        (Some(idle), _) => (!idle.is_zero()).then_some(idle),
        (None, Some(_)) => None,
        (None, None) => Some(crate::limits::IDLE),
    };
    if is_at_boot {
        // Below the runtime directory: /var may not be mounted yet.
        options.state = options.runtime.join("boot");
        return Ok(Asked::AtBoot(options));
    }
    Ok(Asked::Run(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Asked, String> {
        parse(words.iter().map(ToString::to_string))
    }

    #[test]
    fn a_helper_of_systemd_ends_when_idle_and_one_of_its_own_does_not() {
        let Ok(Asked::Run(of_systemd)) = parse_words(&[]) else {
            panic!("it should run")
        };
        assert_eq!(of_systemd.idle, Some(crate::limits::IDLE));
        let Ok(Asked::Run(own)) = parse_words(&["--listen", "/s"]) else {
            panic!("it should run")
        };
        assert_eq!(own.idle, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            parse_words(&["--state"]),
            Err("'--state' needs a value".into())
        );
        assert_eq!(
            parse_words(&["--raw"]),
            Err("unknown option '--raw'; --help names them all".into())
        );
        assert_eq!(
            parse_words(&["--idle", "x"]),
            Err("'x' is not a number of seconds".into())
        );
    }
}
