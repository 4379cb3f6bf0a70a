//! Specification files: a machine as a person writes it down, in TOML.
//!
//! ```toml
//! name = "gaming"
//! memory = "16GiB"
//! cores = 8
//! firmware = "uefi"            # or "bios", which is the default; not with [kernel]
//! devices = ["0000:01:00.0"]   # any function; the whole device goes
//! network = "user"             # or "none", which is the default, or "stream"
//! forwards = ["2222:22"]       # [ADDRESS:]PORT:GUEST_PORT; with "user" only
//! # socket = "passt.sock"      # where a network process listens; with "stream" only
//!
//! [uefi]
//! code = "/usr/share/OVMF/OVMF_CODE.fd"
//! variables = "gaming.vars.fd" # left out: nothing is kept
//!
//! [[disks]]
//! path = "gaming.qcow2"        # relative paths start at the file's folder
//! format = "qcow2"             # or "raw"; always said
//! read_only = false            # the default
//! ```
//!
//! Instead of firmware, `[kernel]` names an `image`, and perhaps an `initrd` and what to `append`.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use vfioctl_core::machine::{Boot, Disk, DiskFormat, FilePath, MachineSpec, Network, SpecError};
use vfioctl_core::pci::PciAddress;

use crate::limits::SPEC_FILE_BYTES;
use crate::memory_size::parse_memory;

mod error;
mod network;

use error::Cause;
pub use error::{SpecFileError, SpecFileErrorKind};
use network::NetworkName;

/// Reads a machine's specification. Relative paths start at `base`, the absolute path of the
/// folder the file is in.
///
/// ```
/// use std::path::Path;
/// let text = "name = 'a'\nmemory = '1GiB'\n[kernel]\nimage = 'vmlinuz'";
/// let spec = vfioctl_qemu::parse_spec(text, Path::new("/srv"))?;
/// assert_eq!(spec.memory_mib, 1024);
/// let error = vfioctl_qemu::parse_spec("nmae = 'a'", Path::new("/srv")).unwrap_err();
/// assert_eq!(error.line(), Some(1));
/// # Ok::<(), vfioctl_qemu::SpecFileError>(())
/// ```
///
/// # Errors
/// The first thing that is wrong, with its line, its key and what may stand there.
pub fn parse_spec(text: &str, base: &Path) -> Result<MachineSpec, SpecFileError> {
    if text.len() > SPEC_FILE_BYTES {
        return Err(SpecFileError::new(text, None, Cause::TooLong));
    }
    let file: File = toml::from_str(text).map_err(|error| SpecFileError::of_toml(text, &error))?;
    file.to_spec(Reader { text, base })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    memory: Spanned<Memory>,
    #[serde(default = "one_core")]
    cores: Spanned<u32>,
    firmware: Option<Spanned<Firmware>>,
    kernel: Option<Spanned<Kernel>>,
    uefi: Option<Spanned<Uefi>>,
    #[serde(default)]
    disks: Vec<DiskTable>,
    #[serde(default)]
    devices: Vec<Spanned<String>>,
    #[serde(default = "no_network")]
    network: Spanned<NetworkName>,
    #[serde(default)]
    forwards: Vec<Spanned<String>>,
    socket: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "memory is given as '16GiB', '512MiB', or a whole number of MiB"
)]
enum Memory {
    Mib(u64),
    Size(String),
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Firmware {
    Bios,
    Uefi,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kernel {
    image: Spanned<String>,
    initrd: Option<Spanned<String>>,
    append: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Uefi {
    code: Spanned<String>,
    variables: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskTable {
    path: Spanned<String>,
    format: FormatName,
    #[serde(default)]
    read_only: bool,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FormatName {
    Raw,
    Qcow2,
}

fn one_core() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn no_network() -> Spanned<NetworkName> {
    Spanned::new(0..0, NetworkName::default())
}

/// What the values of a file are read with.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    base: &'a Path,
}

impl File {
    fn to_spec(&self, reader: Reader<'_>) -> Result<MachineSpec, SpecFileError> {
        let name = self
            .name
            .get_ref()
            .parse()
            .map_err(|error| reader.error(self.name.span(), Cause::Name(error)))?;
        let memory_mib = match self.memory.get_ref() {
            Memory::Mib(mib) => *mib,
            Memory::Size(size) => parse_memory(size)
                .map_err(|error| reader.error(self.memory.span(), Cause::Memory(error)))?,
        };
        let spec = MachineSpec {
            name,
            memory_mib,
            cores: *self.cores.get_ref(),
            boot: self.boot(reader)?,
            disks: self
                .disks
                .iter()
                .map(|disk| disk.to_disk(reader))
                .collect::<Result<_, _>>()?,
            devices: self
                .devices
                .iter()
                .map(|device| reader.address(device))
                .collect::<Result<_, _>>()?,
            network: self.network(reader)?,
        };
        spec.check().map_err(|error| {
            let span = self.span_of(&error, reader);
            SpecFileError::new(reader.text, span, Cause::Spec(error))
        })
    }

    fn boot(&self, reader: Reader<'_>) -> Result<Boot, SpecFileError> {
        let firmware = self.firmware.as_ref().map(|firmware| *firmware.get_ref());
        match (&self.kernel, &self.uefi, firmware) {
            (Some(_), Some(uefi), _) => Err(reader.error(uefi.span(), Cause::UefiBesideKernel)),
            (Some(kernel), None, None | Some(Firmware::Bios)) => kernel.get_ref().to_boot(reader),
            (Some(kernel), None, Some(Firmware::Uefi)) => {
                Err(reader.error(kernel.span(), Cause::UefiBesideKernel))
            }
            (None, Some(uefi), None | Some(Firmware::Uefi)) => uefi.get_ref().to_boot(reader),
            (None, Some(uefi), Some(Firmware::Bios)) => {
                Err(reader.error(uefi.span(), Cause::UefiBesideBios))
            }
            (None, None, None | Some(Firmware::Bios)) => Ok(Boot::Bios),
            (None, None, Some(Firmware::Uefi)) => {
                let span = self.firmware.as_ref().map(Spanned::span);
                Err(SpecFileError::new(reader.text, span, Cause::NoUefiTable))
            }
        }
    }

    /// Where the value stands that is wrong.
    fn span_of(&self, error: &SpecError, reader: Reader<'_>) -> Option<Range<usize>> {
        match error {
            SpecError::Memory(_) => Some(self.memory.span()),
            SpecError::Cores(_) => Some(self.cores.span()),
            SpecError::Disks(_) => self
                .disks
                .get(MachineSpec::MAX_DISKS)
                .map(|disk| disk.path.span()),
            SpecError::Devices(_) => self
                .devices
                .get(MachineSpec::MAX_DEVICES)
                .map(Spanned::span),
            SpecError::Append => self
                .kernel
                .as_ref()?
                .get_ref()
                .append
                .as_ref()
                .map(Spanned::span),
            // The later one is too many.
            SpecError::SameDevice(address) => self
                .devices
                .iter()
                .rfind(|device| reader.address(device).is_ok_and(|other| other == *address))
                .map(Spanned::span),
            SpecError::Forwards(_) => self.forwards.get(Network::MAX_FORWARDS).map(Spanned::span),
            SpecError::SameForward(forward) => self
                .forwards
                .iter()
                .rfind(|text| text.get_ref().parse() == Ok(*forward))
                .map(Spanned::span),
            SpecError::Socket(_) => self.socket.as_ref().map(Spanned::span),
            _ => None,
        }
    }
}

impl Kernel {
    fn to_boot(&self, reader: Reader<'_>) -> Result<Boot, SpecFileError> {
        Ok(Boot::Kernel {
            image: reader.path(&self.image)?,
            initrd: self
                .initrd
                .as_ref()
                .map(|path| reader.path(path))
                .transpose()?,
            append: self
                .append
                .as_ref()
                .map(|text| text.get_ref().clone())
                .unwrap_or_default(),
        })
    }
}

impl Uefi {
    fn to_boot(&self, reader: Reader<'_>) -> Result<Boot, SpecFileError> {
        Ok(Boot::Uefi {
            code: reader.path(&self.code)?,
            variables: self
                .variables
                .as_ref()
                .map(|path| reader.path(path))
                .transpose()?,
        })
    }
}

impl DiskTable {
    fn to_disk(&self, reader: Reader<'_>) -> Result<Disk, SpecFileError> {
        let format = match self.format {
            FormatName::Raw => DiskFormat::Raw,
            FormatName::Qcow2 => DiskFormat::Qcow2,
        };
        Ok(Disk {
            path: reader.path(&self.path)?,
            format,
            read_only: self.read_only,
        })
    }
}

impl Reader<'_> {
    fn error(self, span: Range<usize>, cause: Cause) -> SpecFileError {
        SpecFileError::new(self.text, Some(span), cause)
    }

    fn address(self, text: &Spanned<String>) -> Result<PciAddress, SpecFileError> {
        text.get_ref()
            .parse()
            .map_err(|error| self.error(text.span(), Cause::Address(error)))
    }

    /// Joins a path to the base. Nothing is resolved: `..` is the kernel's to follow.
    fn path(self, text: &Spanned<String>) -> Result<FilePath, SpecFileError> {
        let path = text.get_ref();
        // A shell would have replaced it, a file is not read by one. '~' as a folder is './~'.
        if path.is_empty() || path == "~" || path.starts_with("~/") {
            return Err(self.error(text.span(), Cause::Path));
        }
        let joined = self.base.join(path);
        let joined = joined
            .to_str()
            .ok_or_else(|| self.error(text.span(), Cause::Base))?;
        FilePath::new(joined).map_err(|error| self.error(text.span(), Cause::Spec(error)))
    }
}

#[cfg(test)]
mod tests;
