//! Machine specifications.

use vfioctl_core::machine::{Boot, Disk, DiskFormat, FilePath, MachineSpec, Network};

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
            Network::User => io::Spec_network::user,
        },
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
        network: match spec.network {
            io::Spec_network::none => Network::None,
            io::Spec_network::user => Network::User,
        },
    }
    .check();
    checked.map_err(|error| WireError {
        field: "spec",
        because: error.to_string(),
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
