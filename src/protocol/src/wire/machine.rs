//! Machine specifications.

use std::num::NonZeroU16;

use vfioctl_core::machine::{Boot, Disk, DiskFormat, FilePath, Forward, MachineSpec, Network};

use super::{WireError, long, number, parse};
use crate::machine as io;

/// A specification.
pub fn spec(spec: &MachineSpec) -> io::Spec {
    let (kernel, uefi) = match &spec.boot {
        Boot::Bios => (None, None),
        Boot::Uefi { code, variables } => {
            let variables = variables.as_ref().map(ToString::to_string);
            (
                None,
                Some(io::Uefi {
                    code: code.to_string(),
                    variables,
                }),
            )
        }
        Boot::Kernel {
            image,
            initrd,
            append,
        } => {
            let initrd = initrd.as_ref().map(ToString::to_string);
            let append = Some(append.clone());
            (
                Some(io::Kernel {
                    image: image.to_string(),
                    initrd,
                    append,
                }),
                None,
            )
        }
    };
    io::Spec {
        name: spec.name.to_string(),
        memory_mib: long(spec.memory_mib),
        cores: spec.cores.into(),
        kernel,
        uefi,
        disks: spec.disks.iter().map(disk).collect(),
        devices: spec.devices.iter().map(ToString::to_string).collect(),
        network: match spec.network {
            Network::None => io::Spec_network::none,
            Network::User { .. } => io::Spec_network::user,
            Network::Stream { .. } => io::Spec_network::stream,
        },
        forwards: match &spec.network {
            Network::User { forwards } if !forwards.is_empty() => {
                Some(forwards.iter().map(forward).collect())
            }
            _ => None,
        },
        socket: match &spec.network {
            Network::Stream { socket } => Some(socket.to_string()),
            Network::None | Network::User { .. } => None,
        },
    }
}

fn forward(forward: &Forward) -> io::Forward {
    io::Forward {
        address: Some(forward.address.to_string()),
        port: forward.port.get().into(),
        guest_port: forward.guest_port.get().into(),
    }
}

fn disk(disk: &Disk) -> io::Disk {
    io::Disk {
        path: disk.path.to_string(),
        format: match disk.format {
            DiskFormat::Raw => io::Disk_format::raw,
            DiskFormat::Qcow2 => io::Disk_format::qcow2,
        },
        read_only: Some(disk.read_only),
    }
}

/// A specification from the wire, checked.
///
/// # Errors
/// The first field that is not what it should be.
pub fn spec_from_wire(spec: &io::Spec) -> Result<MachineSpec, WireError> {
    let boot = match (&spec.kernel, &spec.uefi) {
        (Some(_), Some(_)) => {
            let because = "a machine starts from a kernel or from UEFI, not from both".into();
            return Err(WireError {
                field: "uefi",
                because,
            });
        }
        (Some(kernel), None) => Boot::Kernel {
            image: path("kernel.image", &kernel.image)?,
            initrd: kernel
                .initrd
                .as_deref()
                .map(|text| path("kernel.initrd", text))
                .transpose()?,
            append: kernel.append.clone().unwrap_or_default(),
        },
        (None, Some(uefi)) => Boot::Uefi {
            code: path("uefi.code", &uefi.code)?,
            variables: uefi
                .variables
                .as_deref()
                .map(|v| path("uefi.variables", v))
                .transpose()?,
        },
        (None, None) => Boot::Bios,
    };
    let checked = MachineSpec {
        name: parse("name", &spec.name)?,
        memory_mib: number("memory_mib", spec.memory_mib)?,
        cores: number("cores", spec.cores)?,
        boot,
        disks: spec
            .disks
            .iter()
            .map(disk_from_wire)
            .collect::<Result<_, _>>()?,
        devices: spec
            .devices
            .iter()
            .map(|at| parse("devices", at))
            .collect::<Result<_, _>>()?,
        network: network_from_wire(spec)?,
    }
    .check();
    checked.map_err(|error| WireError {
        field: "spec",
        because: error.to_string(),
    })
}

fn network_from_wire(spec: &io::Spec) -> Result<Network, WireError> {
    let forwards = spec.forwards.as_deref().unwrap_or_default();
    let contradiction = |field, because: &str| {
        let because = because.to_owned();
        Err(WireError { field, because })
    };
    match (&spec.network, &spec.socket) {
        (io::Spec_network::user, None) => Ok(Network::User {
            forwards: forwards
                .iter()
                .map(forward_from_wire)
                .collect::<Result<_, _>>()?,
        }),
        _ if !forwards.is_empty() => {
            contradiction("forwards", "only the network 'user' has forwards")
        }
        (io::Spec_network::stream, Some(socket)) => Ok(Network::Stream {
            socket: path("socket", socket)?,
        }),
        (io::Spec_network::stream, None) => {
            contradiction("socket", "the network 'stream' needs a socket")
        }
        (_, Some(_)) => contradiction("socket", "only the network 'stream' has a socket"),
        (io::Spec_network::none, None) => Ok(Network::None),
    }
}

fn forward_from_wire(forward: &io::Forward) -> Result<Forward, WireError> {
    let port = |field, port: i64| -> Result<NonZeroU16, WireError> {
        let because = format!("{port} is not within 1 to 65535");
        let port = number::<u16>(field, port).ok().and_then(NonZeroU16::new);
        port.ok_or(WireError { field, because })
    };
    Ok(Forward {
        address: match &forward.address {
            Some(address) => parse("forwards.address", address)?,
            None => Forward::DEFAULT_ADDRESS,
        },
        port: port("forwards.port", forward.port)?,
        guest_port: port("forwards.guest_port", forward.guest_port)?,
    })
}

fn disk_from_wire(disk: &io::Disk) -> Result<Disk, WireError> {
    Ok(Disk {
        path: path("disks.path", &disk.path)?,
        format: match disk.format {
            io::Disk_format::raw => DiskFormat::Raw,
            io::Disk_format::qcow2 => DiskFormat::Qcow2,
        },
        read_only: disk.read_only.unwrap_or(false),
    })
}

fn path(field: &'static str, text: &str) -> Result<FilePath, WireError> {
    FilePath::new(text).map_err(|error| WireError {
        field,
        because: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(network: Network) -> MachineSpec {
        MachineSpec {
            name: "m".parse().unwrap(),
            memory_mib: 64,
            cores: 1,
            boot: Boot::Kernel {
                image: FilePath::new("/k").unwrap(),
                initrd: None,
                append: String::new(),
            },
            disks: Vec::new(),
            devices: Vec::new(),
            network,
        }
    }

    #[test]
    fn every_network_survives_the_journey() {
        let forwards = ["2222:22", "0.0.0.0:8080:80"].map(|text| text.parse().unwrap());
        for network in [
            Network::None,
            Network::User {
                forwards: Vec::new(),
            },
            Network::User {
                forwards: forwards.to_vec(),
            },
            Network::Stream {
                socket: FilePath::new("/run/user/1001/a,b \"c\".sock").unwrap(),
            },
        ] {
            let machine = machine(network);
            assert_eq!(spec_from_wire(&spec(&machine)), Ok(machine));
        }
    }

    #[test]
    fn what_goes_with_another_network_is_refused() {
        let field = |change: &dyn Fn(&mut io::Spec)| {
            let mut wire = spec(&machine(Network::None));
            change(&mut wire);
            spec_from_wire(&wire).map_err(|error| error.field)
        };
        let forward = |address: Option<&str>, port, guest_port| {
            let address = address.map(str::to_owned);
            Some(vec![io::Forward {
                address,
                port,
                guest_port,
            }])
        };
        let user = |forwards: Option<Vec<io::Forward>>| {
            field(&|wire| {
                wire.network = io::Spec_network::user;
                wire.forwards.clone_from(&forwards);
            })
        };
        assert!(user(forward(None, 1, 65535)).is_ok());
        assert_eq!(user(forward(None, 0, 1)), Err("forwards.port"));
        assert_eq!(user(forward(None, 65536, 1)), Err("forwards.port"));
        assert_eq!(user(forward(None, 1, -1)), Err("forwards.guest_port"));
        for address in ["", "::1", "localhost", "127.0.0.1,x=y", "127.1"] {
            let refused = user(forward(Some(address), 1, 1));
            assert_eq!(refused, Err("forwards.address"), "{address}");
        }
        let none = field(&|wire| wire.forwards = forward(None, 1, 1));
        assert_eq!(none, Err("forwards"));
        let none = field(&|wire| wire.socket = Some("/s".into()));
        assert_eq!(none, Err("socket"));
        let stream = |socket: Option<&str>| {
            field(&|wire| {
                wire.network = io::Spec_network::stream;
                wire.socket = socket.map(str::to_owned);
            })
        };
        assert!(stream(Some("/s")).is_ok());
        for socket in [None, Some(""), Some("s"), Some("/a\nb"), Some("\0abstract")] {
            assert_eq!(stream(socket), Err("socket"), "{socket:?}");
        }
        assert_eq!(stream(Some(&"/s".repeat(54))), Err("spec"), "too long");
    }
}
