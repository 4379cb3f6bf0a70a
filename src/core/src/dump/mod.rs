//! Dumps of machines that this process is not on: the text of lspci, read back into a snapshot.
//!
//! pciutils: `lspci -x` prints 64 bytes of config space, `-xxx` 256, `-xxxx` 4096; `-v`, `-vv` and
//! `-vvv` say in words what stands in them. Both are read, in any mixture, also as people send
//! them: quoted, broken by mail programs, cut short. Where both say something, bytes win. What a
//! dump does not show is [`Answer::CannotSee`](crate::Answer), and a bridge that it does not hold
//! is named; nothing is taken for "no" because it is not there.

mod buses;
mod comment;
mod device;
mod error;
mod heading;
mod limits;
mod line;
mod text;
mod virtual_function;

use std::collections::{BTreeMap, BTreeSet};

use crate::acs::{Acs, AcsOverride, AcsParameters, Platform, REQUIRED};
use crate::check::CommandLine;
use crate::config::{ConfigSpace, ReadConfig as _, regs};
use crate::pci::{PciAddress, PciFunction};
use crate::{Answer, Snapshot};

use buses::Bridge;
use comment::Comments;
use device::{Device, Extent};
use line::Line;

pub use comment::MARK as REPORT_MARK;
pub use error::DumpError;

/// Vendor IDs whose machines differ from others.
const INTEL: u16 = 0x8086;
const AMD: u16 = 0x1022;

/// Finds numbers for the names that lspci prints where it was not asked for numbers.
pub trait NameTable {
    /// Vendor and device of `Intel Corporation 82574L Gigabit Network Connection`.
    fn ids(&self, name: &str) -> Option<(u16, u16)>;
}

/// Knows no names.
struct NoNames;

impl NameTable for NoNames {
    fn ids(&self, _: &str) -> Option<(u16, u16)> {
        None
    }
}

/// What a dump says about a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// The functions that it holds.
    pub snapshot: Snapshot,
    /// Bridges that must be there and that it does not hold: `the bridge to bus 0000:05`. A
    /// prediction takes them as isolating.
    pub missing_bridges: Vec<String>,
    /// Whether it tells the groups that the kernel made.
    pub has_kernel_groups: bool,
    /// Whether some ACS bits were not printed and are taken as Linux sets them: `lspci -v` names
    /// the capability only. This is done where the kernel has made groups, and so has an IOMMU.
    pub has_assumed_acs: bool,
    /// Whether there are bridges of which it does not tell the buses.
    pub hides_buses: bool,
    /// The kernel's release; only our own reports have it.
    pub kernel_release: Option<String>,
    /// The kernel parameters that have to do with grouping; only our own reports have them.
    pub command_line: Option<String>,
    /// Whether the kernel honours `pcie_acs_override=`; only our own reports tell.
    pub has_acs_override: Option<bool>,
    /// Whether the machine has an AMD IOMMU.
    pub has_ivrs: bool,
    /// Whether the chipset's register window is open; see [`Platform::has_pch_workaround`].
    pub has_pch_workaround: bool,
}

impl Dump {
    /// What the kernel of that machine knows beside its functions.
    pub fn platform(&self) -> Platform {
        let line = CommandLine::new(self.command_line.clone().unwrap_or_default());
        let release = self.kernel_release.as_deref().unwrap_or_default();
        let acs_override = line
            .value("pcie_acs_override")
            .filter(|_| self.has_acs_override == Some(true))
            .map(AcsOverride::parse)
            .unwrap_or_default();
        Platform {
            has_ivrs: self.has_ivrs,
            has_pch_workaround: self.has_pch_workaround,
            acs_override,
            acs_parameters: AcsParameters::parse(line.values("pci"), release),
        }
    }
}

/// Reads a dump: the text of `lspci` with any of `-x`, `-xxx`, `-xxxx`, `-v`, `-vv`, `-vvv`, `-n`,
/// `-nn`, `-k` and `-D`, or a report of `vfioctl report`.
///
/// ```
/// let text = "00:02.0 0300: 8086:46a6 (rev 0c)\n\tIOMMU group: 1\n";
/// let dump = vfioctl_core::dump::parse_dump(text)?;
/// assert!(dump.has_kernel_groups);
/// # Ok::<(), vfioctl_core::dump::DumpError>(())
/// ```
///
/// # Errors
/// Where it is no such text, or longer than any machine's.
pub fn parse_dump(text: &str) -> Result<Dump, DumpError> {
    parse_dump_with_names(text, &NoNames)
}

/// The same, with numbers for names.
///
/// # Errors
/// Where it is no such text, or longer than any machine's.
pub fn parse_dump_with_names(text: &str, names: &dyn NameTable) -> Result<Dump, DumpError> {
    if text.len() > limits::TEXT {
        return Err(DumpError::TooLong);
    }
    if text.contains('\0') {
        return Err(DumpError::NotText);
    }
    let (devices, comments) = read_lines(text)?;
    if devices.is_empty() {
        return Err(match text {
            _ if text.trim().is_empty() => DumpError::Empty,
            _ if text.contains("-[0000:") => DumpError::OnlyTree,
            _ if text.contains('\u{fffd}') => DumpError::NotText,
            _ => DumpError::NoDevices,
        });
    }
    Ok(assemble(&devices, comments, names))
}

type Devices = BTreeMap<PciAddress, Device>;

fn read_lines(text: &str) -> Result<(Devices, Comments), DumpError> {
    let mut devices = Devices::new();
    let mut comments = Comments::default();
    let mut current: Option<PciAddress> = None;
    let mut continuations = 0;
    for line in text.lines() {
        let device = current.and_then(|address| devices.get_mut(&address));
        match (Line::of(line), device) {
            (Line::Heading(address, heading, group), _) => {
                if devices.len() == limits::FUNCTIONS && !devices.contains_key(&address) {
                    return Err(DumpError::TooManyFunctions);
                }
                // Twice in a text: words first and bytes later, or the other way round.
                let device = devices.entry(address).or_default();
                if device.heading.len() < heading.len() {
                    device.heading = heading.to_owned();
                }
                device.text.group = group.or(device.text.group);
                current = Some(address);
                continuations = limits::CONTINUATIONS;
            }
            (Line::Comment(comment), _) => comments.read(comment),
            (Line::Hex(at, bytes), Some(device)) => {
                device.write(at, &bytes);
                continuations = 0;
            }
            (Line::Text(text, is_indented), Some(device)) => {
                if continuations > 0 && !is_indented && heading::is_continuation(text) {
                    device.heading = format!("{} {text}", device.heading);
                    continuations -= 1;
                } else {
                    continuations = 0;
                    device.text.read(text);
                }
            }
            (Line::Blank | Line::Hex(..) | Line::Text(..), _) => {}
        }
    }
    Ok((devices, comments))
}

fn assemble(devices: &Devices, comments: Comments, names: &dyn NameTable) -> Dump {
    let extent = Extent {
        has_extended: comments.is_report
            || devices
                .values()
                .any(|device| device.bytes.len() > regs::EXTENDED_START),
    };
    let mut functions: BTreeMap<PciAddress, PciFunction> = BTreeMap::new();
    for (address, device) in devices {
        let mut slot = devices.range(address.first_of_slot()..);
        let has_siblings = slot
            .by_ref()
            .take_while(|(other, _)| other.is_same_slot(*address))
            .count()
            > 1;
        let function = device.function(*address, names, extent, has_siblings);
        functions.insert(*address, function);
    }
    virtual_function::assign(&mut functions, devices);
    let has_kernel_groups = functions
        .values()
        .any(|function| function.iommu_group.is_some());
    let has_assumed_acs = has_kernel_groups && assume_acs(&mut functions, devices);
    let (bridges, unnumbered) = find_bridges(&functions, devices);
    let missing_bridges = buses::link(&mut functions, &bridges, &unnumbered);
    Dump {
        missing_bridges,
        has_kernel_groups,
        has_assumed_acs,
        hides_buses: !unnumbered.is_empty(),
        has_ivrs: match &comments.tables {
            Some(tables) => tables.contains("IVRS"),
            None => functions.values().any(is_amd_platform),
        },
        has_pch_workaround: devices.iter().all(|(_, device)| !has_closed_window(device)),
        kernel_release: comments.kernel_release,
        command_line: comments.command_line,
        has_acs_override: comments.has_acs_override,
        snapshot: Snapshot {
            functions,
            ..Snapshot::default()
        },
    }
}

/// Takes ACS bits that were not printed as Linux sets them when it boots with an IOMMU
/// (`drivers/pci/pci.c`, `pci_std_enable_acs`); true where there were any.
fn assume_acs(functions: &mut BTreeMap<PciAddress, PciFunction>, devices: &Devices) -> bool {
    let mut has_assumed = false;
    for (address, device) in devices {
        if let Some(function) = functions.get_mut(address)
            && matches!(function.acs, Answer::CannotSee)
            && device.text.names_acs_only()
        {
            function.acs = Answer::Known(Some(Acs::new(REQUIRED, REQUIRED)));
            has_assumed = true;
        }
    }
    has_assumed
}

fn find_bridges(
    functions: &BTreeMap<PciAddress, PciFunction>,
    devices: &Devices,
) -> (Vec<Bridge>, BTreeSet<u32>) {
    let mut bridges = Vec::new();
    let mut unnumbered = BTreeSet::new();
    for (address, device) in devices {
        let is_bridge = functions
            .get(address)
            .is_some_and(|function| function.is_bridge() == Answer::Known(true));
        match device.buses() {
            Some((secondary, subordinate)) => bridges.push(Bridge {
                address: *address,
                secondary,
                subordinate,
            }),
            None if is_bridge => {
                unnumbered.insert(address.domain());
            }
            None => {}
        }
    }
    (bridges, unnumbered)
}

/// Whether a function shows that the machine is AMD's, whose IOMMU has the table IVRS: its IOMMU
/// or a host bridge. Without the IOMMU there are no groups, so where they are asked for it is on.
fn is_amd_platform(function: &PciFunction) -> bool {
    let class = (function.class.base(), function.class.subclass());
    function.identity.vendor == AMD && matches!(class, (0x06, 0x00) | (0x08, 0x06))
}

/// Whether this is a chipset of Intel's whose register window is closed, where the kernel's quirk
/// cannot work (`drivers/pci/quirks.c`, `pci_quirk_enable_intel_lpc_acs`).
fn has_closed_window(device: &Device) -> bool {
    let config = ConfigSpace::new(device.bytes.clone());
    let is_lpc = config.word(regs::VENDOR_ID) == Some(INTEL)
        && config.dword(regs::REVISION).map(|word| word >> 16) == Some(0x0601);
    is_lpc
        && config
            .dword(regs::INTEL_LPC_RCBA)
            .is_some_and(|base| base & regs::INTEL_LPC_RCBA_ENABLE == 0)
}

#[cfg(test)]
mod tests;
