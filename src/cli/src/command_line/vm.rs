//! The command line of `vfioctl vm`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use vfioctl_core::claim::MachineName;
use vfioctl_core::machine::{DiskFormat, Forward, MachineSpec};
use vfioctl_core::pci::PciAddress;

use crate::completion::complete_address;
use crate::limits;

/// What to do with virtual machines.
#[derive(Debug, Subcommand)]
pub(crate) enum VmVerb {
    /// Make a virtual machine and start it.
    Create(Box<Create>),
    /// List your machines.
    List {
        /// List the machines of everyone.
        #[arg(long)]
        all: bool,
    },
    /// Tell everything about one machine of yours.
    Show {
        #[command(flatten)]
        machine: Machine,
    },
    /// Start a stopped machine again, with its devices; its logs begin anew.
    Start {
        #[command(flatten)]
        machine: Machine,
    },
    /// End a machine, and wait until its devices are home.
    Stop(Stop),
    /// End a machine, take its devices home, and start it again with them.
    ///
    /// Unlike a reset from within, this resets the devices too, and the host's drivers have had them
    /// in between. A machine that is stopped already is started.
    Restart(Stop),
    /// Forget a stopped machine, its logs included; its disks stay.
    Rm {
        #[command(flatten)]
        machine: Machine,
    },
    /// Print what a machine wrote to its serial console, or what QEMU said.
    Logs(Logs),
}

/// The machine that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct Machine {
    /// Name of the machine.
    pub(crate) name: MachineName,
}

/// `vm create`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["spec", "name"]))]
pub(crate) struct Create {
    /// Read the machine from a specification file in TOML.
    ///
    /// Its keys are name, memory, cores, firmware, devices, network, forwards and socket; its tables
    /// [kernel] (image, initrd, append), [uefi] (code, variables) and, once for each disk, [[disks]]
    /// (path, format, read_only). Relative paths start at the file's folder.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "memory", "cores", "disk", "kernel", "uefi", "device", "network", "forward"
        ]
    )]
    pub(crate) spec: Option<PathBuf>,
    /// Name of the machine: 1 to 40 lower-case letters, digits and inner dashes.
    #[arg(requires = "memory")]
    pub(crate) name: Option<MachineName>,
    /// Memory: 4GiB, 512MiB, or a number of MiB.
    #[arg(long, value_name = "SIZE", value_parser = memory_mib)]
    pub(crate) memory: Option<u64>,
    /// Number of virtual processors.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) cores: u32,
    /// Disk image or block device: PATH[,format=raw|qcow2][,ro]. Once for each disk.
    ///
    /// Without a format it is told by the name: .qcow2, or .raw, .img, .iso and block devices.
    #[arg(long, value_name = "DISK")]
    pub(crate) disk: Vec<DiskArgument>,
    /// Kernel image to start directly.
    #[arg(long, value_name = "PATH", conflicts_with = "uefi")]
    pub(crate) kernel: Option<PathBuf>,
    /// Initial ramdisk of the kernel.
    #[arg(long, value_name = "PATH", requires = "kernel")]
    pub(crate) initrd: Option<PathBuf>,
    /// Command line of the kernel.
    #[arg(long, value_name = "TEXT", requires = "kernel")]
    pub(crate) append: Option<String>,
    /// Start by UEFI instead of BIOS: --uefi or --uefi=CODE[:VARIABLES].
    ///
    /// CODE is the firmware's code, VARIABLES the machine's own copy of its variables; without
    /// VARIABLES nothing is kept, without CODE the distribution's own OVMF is taken.
    #[arg(
        long,
        value_name = "CODE[:VARIABLES]",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) uefi: Option<UefiArgument>,
    /// Address of a device to pass; all that goes with it goes too. Once for each device.
    #[arg(long, value_name = "ADDRESS", add = ArgValueCompleter::new(complete_address))]
    pub(crate) device: Vec<PciAddress>,
    /// Connection to the network: none, user or stream=PATH.
    ///
    /// 'user' is QEMU's own network: outward connections, with your own rights. 'stream' is a network
    /// process that you run yourself, as passt, and that listens on the Unix socket PATH already.
    #[arg(long, value_name = "KIND", default_value = "none")]
    pub(crate) network: NetworkArgument,
    /// Port of this host that leads to a port of the machine: [ADDRESS:]PORT:GUEST_PORT. Once for
    /// each port.
    ///
    /// With '--network user' only. Without an IPv4 ADDRESS only this host can connect.
    #[arg(long, value_name = "PORTS")]
    pub(crate) forward: Vec<Forward>,
    /// Print the steps and QEMU's command line; change nothing.
    #[arg(long)]
    pub(crate) plan: bool,
}

/// `vm stop`.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// End QEMU at once, as if the power was cut.
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) force: bool,
    /// Seconds that the machine has after its power button was pressed.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = limits::POWERDOWN_S,
        value_parser = clap::value_parser!(u32).range(1..=limits::LONGEST_POWERDOWN_S)
    )]
    pub(crate) timeout: u32,
}

/// `vm logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// Print the machine's serial console; so it is without options, too.
    #[arg(long, conflicts_with = "qemu")]
    pub(crate) console: bool,
    /// Print what QEMU itself said.
    #[arg(long)]
    pub(crate) qemu: bool,
    /// Go on printing what is added until the machine ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// A machine's connection to the network, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkArgument {
    /// No network.
    None,
    /// QEMU's own.
    User,
    /// A network process that listens on a socket.
    Stream(PathBuf),
}

/// The text is no network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidNetwork;

/// A disk, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskArgument {
    /// The image or block device.
    pub(crate) path: PathBuf,
    /// How the image is laid out.
    pub(crate) format: DiskFormat,
    /// Whether the machine may only read it.
    pub(crate) read_only: bool,
}

/// Why a text is not a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvalidDisk {
    /// There is no path.
    NoPath,
    /// A format that is not known.
    Format(String),
    /// An option that is not known.
    Option(String),
    /// The name does not tell the format.
    NoFormat,
}

/// UEFI firmware, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UefiArgument {
    /// The firmware's code; `None`: what the distribution has.
    pub(crate) code: Option<PathBuf>,
    /// The machine's own copy of the variables.
    pub(crate) variables: Option<PathBuf>,
}

impl FromStr for DiskArgument {
    type Err = InvalidDisk;

    fn from_str(text: &str) -> Result<Self, InvalidDisk> {
        let (mut path, mut format, mut read_only) = (text, None, false);
        // From the end, so that a comma may stand in a path.
        while let Some((before, option)) = path.rsplit_once(',') {
            match option.split_once('=') {
                Some(("format", "raw")) => format = Some(DiskFormat::Raw),
                Some(("format", "qcow2")) => format = Some(DiskFormat::Qcow2),
                Some(("format", other)) => return Err(InvalidDisk::Format(other.to_owned())),
                None if option == "ro" => read_only = true,
                None if option.contains(['/', '.']) => break,
                _ => return Err(InvalidDisk::Option(option.to_owned())),
            }
            path = before;
        }
        if path.is_empty() {
            return Err(InvalidDisk::NoPath);
        }
        let format = format
            .or_else(|| format_of_name(path))
            .ok_or(InvalidDisk::NoFormat)?;
        Ok(Self {
            path: path.into(),
            format,
            read_only,
        })
    }
}

/// By the name the caller gave and never by the content: the guest writes the content.
fn format_of_name(path: &str) -> Option<DiskFormat> {
    let is_raw = [".raw", ".img", ".iso"]
        .iter()
        .any(|end| path.ends_with(end));
    if path.ends_with(".qcow2") {
        Some(DiskFormat::Qcow2)
    } else if is_raw || path.starts_with("/dev/") {
        Some(DiskFormat::Raw)
    } else {
        None
    }
}

impl fmt::Display for InvalidDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPath => f.write_str("the path is missing"),
            Self::Format(format) => write!(f, "'{format}' is no format: 'raw' or 'qcow2'"),
            Self::Option(option) => {
                write!(
                    f,
                    "'{option}' is no option of a disk: 'format=raw', 'format=qcow2', 'ro'"
                )
            }
            Self::NoFormat => f.write_str(
                "its name does not tell the format: add ',format=raw' or ',format=qcow2'",
            ),
        }
    }
}

impl std::error::Error for InvalidDisk {}

impl FromStr for NetworkArgument {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        match (text, text.strip_prefix("stream=")) {
            ("none", _) => Ok(Self::None),
            ("user", _) => Ok(Self::User),
            (_, Some(path)) if !path.is_empty() => Ok(Self::Stream(path.into())),
            _ => Err(InvalidNetwork),
        }
    }
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network is 'none', 'user' or 'stream=PATH'")
    }
}

impl std::error::Error for InvalidNetwork {}

impl FromStr for UefiArgument {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let (code, variables) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self {
            code: path(code),
            variables: path(variables),
        })
    }
}

/// Memory is bounded here too, so that a typing error is told as one.
fn memory_mib(text: &str) -> Result<u64, String> {
    let mib = vfioctl_qemu::parse_memory(text).map_err(|error| error.to_string())?;
    if MachineSpec::MEMORY_MIB.contains(&mib) {
        Ok(mib)
    } else {
        Err(vfioctl_core::machine::SpecError::Memory(mib).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(path: &str, format: DiskFormat, read_only: bool) -> Result<DiskArgument, InvalidDisk> {
        Ok(DiskArgument {
            path: path.into(),
            format,
            read_only,
        })
    }

    #[test]
    fn a_disk_has_a_path_and_options_behind_it() {
        let cases = [
            ("a.qcow2", disk("a.qcow2", DiskFormat::Qcow2, false)),
            ("a.qcow2,ro", disk("a.qcow2", DiskFormat::Qcow2, true)),
            ("/dev/sdb,ro", disk("/dev/sdb", DiskFormat::Raw, true)),
            ("a,b.img", disk("a,b.img", DiskFormat::Raw, false)),
            ("d,ro,format=qcow2", disk("d", DiskFormat::Qcow2, true)),
            (",ro", Err(InvalidDisk::NoPath)),
            ("", Err(InvalidDisk::NoPath)),
            ("disk", Err(InvalidDisk::NoFormat)),
            ("a.img,format=vmdk", Err(InvalidDisk::Format("vmdk".into()))),
            (
                "a.img,formt=raw",
                Err(InvalidDisk::Option("formt=raw".into())),
            ),
            ("a.img,rw", Err(InvalidDisk::Option("rw".into()))),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<DiskArgument>(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_network_stream_has_a_path() {
        let stream = |path: &str| Ok(NetworkArgument::Stream(path.into()));
        let cases = [
            ("none", Ok(NetworkArgument::None)),
            ("user", Ok(NetworkArgument::User)),
            ("stream=/run/p,q=r.sock", stream("/run/p,q=r.sock")),
            ("stream=p.sock", stream("p.sock")),
            ("stream=", Err(InvalidNetwork)),
            ("stream", Err(InvalidNetwork)),
            ("user,hostfwd=tcp::1-:1", Err(InvalidNetwork)),
            ("", Err(InvalidNetwork)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<NetworkArgument>(), expected, "{text:?}");
        }
    }

    #[test]
    fn uefi_has_code_and_variables_and_needs_neither() {
        let cases = [
            ("", (None, None)),
            ("/c.fd", (Some("/c.fd"), None)),
            ("/c.fd:v.fd", (Some("/c.fd"), Some("v.fd"))),
            (":v.fd", (None, Some("v.fd"))),
        ];
        for (text, (code, variables)) in cases {
            let expected = UefiArgument {
                code: code.map(Into::into),
                variables: variables.map(Into::into),
            };
            assert_eq!(text.parse(), Ok(expected), "{text:?}");
        }
    }
}
