//! Words about one function: its short name, whether it isolates, what the machine needs it for.

use vfioctl_core::acs::{BitNames, Reason};
use vfioctl_core::config::PcieType;
use vfioctl_core::iommu::{Separation, Verdict};
use vfioctl_core::pci::{PciAddress, PciFunction};
use vfioctl_core::{Answer, HostUse, Snapshot};

use crate::names::Names;

/// Whether a port isolates, in few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    Isolates,
    /// It is believed to, by `pcie_acs_override=`.
    Asserted,
    Blocked(String),
    Unknown,
}

impl Mark {
    /// Looks at a port.
    pub(super) fn of(separation: &Separation, address: PciAddress) -> Self {
        let Some(isolation) = separation.isolation(address) else {
            return Self::Unknown;
        };
        match (isolation.isolates, isolation.because) {
            (Answer::CannotSee, _) => Self::Unknown,
            (Answer::Known(true), Reason::Asserted) => Self::Asserted,
            (Answer::Known(true), _) => Self::Isolates,
            (Answer::Known(false), because) => Self::Blocked(blocked_words(because)),
        }
    }
}

/// Why something does not isolate, in few words.
pub(super) fn blocked_words(because: Reason) -> String {
    match because {
        Reason::NoCapability => "no ACS".to_owned(),
        Reason::BitsOff(bits) => format!("ACS bits {} off", BitNames(bits)),
        Reason::BridgeType(PcieType::RootComplexEventCollector) => "never isolates".to_owned(),
        Reason::Conventional | Reason::BridgeType(_) => "PCI bridge: never isolates".to_owned(),
        Reason::Hidden => "registers not seen".to_owned(),
        _ => "ruled out by the kernel".to_owned(),
    }
}

/// What is not true about a group, in few words.
pub(super) fn lie_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Asserted => "only asserted, not real",
        Verdict::OpenSwitch => "open: the switch may cross",
        Verdict::Stale => "stale: ACS bits cleared since",
        _ => "registers disagree",
    }
}

/// What people call a device: what stands in brackets, with the vendor before it.
pub(super) fn short_name(names: &Names, function: &PciFunction) -> String {
    let identity = function.identity;
    let Some(device) = names.device(identity) else {
        let class = names.class(function.class);
        let class = class.as_deref().unwrap_or("device");
        return format!("{class} {identity}");
    };
    let line = names.line(function);
    let vendor = line.strip_suffix(device.as_ref()).unwrap_or("").trim();
    // 'Advanced Micro Devices, Inc. [AMD/ATI]' makes many cards.
    let vendor = vendor.rsplit('/').next_back().unwrap_or(vendor);
    match device
        .rsplit_once('[')
        .and_then(|(_, rest)| rest.strip_suffix(']'))
    {
        Some(short) if !short.is_empty() => format!("{vendor} {short}"),
        _ => format!("{vendor} {device}"),
    }
}

/// What the machine needs a function for, without the names of disks, networks and keyboards: a
/// picture is shown around.
pub(super) fn use_words(snapshot: &Snapshot, address: PciAddress) -> Option<String> {
    let mut words: Vec<&str> = snapshot
        .host_uses
        .get(&address)?
        .iter()
        .map(|each| match each {
            HostUse::Disk { .. } => "disk",
            HostUse::Swap { .. } => "swap",
            HostUse::Network { .. } => "network",
            HostUse::Console => "console",
            HostUse::Keyboard { .. } => "keyboard",
        })
        .collect();
    words.sort_unstable();
    words.dedup();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Addresses as short as the machine allows: without the domain where there is only domain 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    is_short: bool,
}

impl Addresses {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            is_short: snapshot.functions.keys().all(|at| at.domain() == 0),
        }
    }

    /// One address.
    pub(super) fn text(self, address: PciAddress) -> String {
        let text = address.to_string();
        match text.strip_prefix("0000:") {
            Some(short) if self.is_short => short.to_owned(),
            _ => text,
        }
    }

    /// Several, the last after 'and'; of many only the first.
    pub(super) fn list(self, addresses: &[PciAddress], most: usize) -> String {
        let shown: Vec<String> = addresses
            .iter()
            .take(most)
            .map(|at| self.text(*at))
            .collect();
        let left = addresses.len().saturating_sub(most);
        match (shown.split_last(), left) {
            (Some((last, [])), 0) => last.clone(),
            (Some((last, before)), 0) => format!("{} and {last}", before.join(", ")),
            _ => format!("{} and {left} more", shown.join(", ")),
        }
    }

    /// The same addresses within a sentence of the core.
    pub(super) fn shorten(self, text: &str) -> String {
        if self.is_short {
            text.replace("0000:", "")
        } else {
            text.to_owned()
        }
    }
}
