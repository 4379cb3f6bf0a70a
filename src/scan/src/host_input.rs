//! Keyboards and the console: what whoever sits at the machine needs.
//!
//! Kernel: `/proc/bus/input/devices` names every input device with its place in sysfs and its
//! handlers; a keyboard is one with keys to type with (`kbd`) that repeat (event type 0x14). The
//! jacks of sound cards stand there too, and are none.

use std::collections::BTreeMap;

use vfioctl_core::pci::{PciAddress, PciFunction};
use vfioctl_core::{HostUse, Snapshot};

use crate::SysRoot;

/// `EV_REP` (`include/uapi/linux/input-event-codes.h`): what keyboards have and buttons have not.
const EVENT_REPEAT: u64 = 1 << 0x14;

/// Adds what people at the machine use to what it lives on. What cannot be read is not there: a
/// machine without a keyboard has no such file either.
pub(crate) fn read_input_uses(root: &SysRoot, snapshot: &mut Snapshot) {
    let text = root.proc.read_text("bus/input/devices").ok().flatten();
    for (address, host_use) in keyboards(&text.unwrap_or_default()) {
        add(&mut snapshot.host_uses, address, host_use);
    }
    let displays: Vec<PciAddress> = snapshot
        .functions
        .values()
        .filter(|function| function.boot_vga == Some(true))
        .flat_map(|function| path(&snapshot.functions, function))
        .collect();
    for address in displays {
        add(&mut snapshot.host_uses, address, HostUse::Console);
    }
}

fn add(host_uses: &mut BTreeMap<PciAddress, Vec<HostUse>>, address: PciAddress, host_use: HostUse) {
    let uses = host_uses.entry(address).or_default();
    if !uses.contains(&host_use) {
        uses.push(host_use);
    }
}

/// A function and the bridges above it.
fn path<'a>(
    functions: &'a BTreeMap<PciAddress, PciFunction>,
    function: &'a PciFunction,
) -> impl Iterator<Item = PciAddress> + use<'a> {
    let above = |at: &&'a PciFunction| functions.get(&at.upstream?);
    // As deep as bus numbers go, so that a ring ends.
    std::iter::successors(Some(function), above)
        .map(|at| at.address)
        .take(256)
}

/// Every PCI function on the way to a keyboard.
fn keyboards(text: &str) -> Vec<(PciAddress, HostUse)> {
    let mut found = Vec::new();
    for device in text.split("\n\n") {
        let line = |prefix: &str| device.lines().find_map(|line| line.strip_prefix(prefix));
        let events = line("B: EV=").and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        let has_keys = line("H: Handlers=").is_some_and(|all| all.split(' ').any(|h| h == "kbd"));
        if !has_keys || events.unwrap_or_default() & EVENT_REPEAT == 0 {
            continue;
        }
        let name = line("N: Name=").unwrap_or_default().trim_matches('"');
        let addresses = line("S: Sysfs=").unwrap_or_default().split('/');
        found.extend(addresses.filter_map(|part| part.parse().ok()).map(|at| {
            let name = name.to_owned();
            (at, HostUse::Keyboard { name })
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyboards_are_told_from_buttons_and_jacks() {
        let text = "I: Bus=0003 Vendor=046d Product=c31c Version=0110\n\
            N: Name=\"Logitech USB Keyboard\"\n\
            S: Sysfs=/devices/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/input/input4\n\
            H: Handlers=sysrq kbd leds event3 \n\
            B: EV=120013\n\n\
            I: Bus=0019 Vendor=0000 Product=0001 Version=0000\n\
            N: Name=\"Power Button\"\n\
            S: Sysfs=/devices/LNXSYSTM:00/LNXPWRBN:00/input/input0\n\
            H: Handlers=kbd event0 \n\
            B: EV=3\n\n\
            I: Bus=0000 Vendor=0000 Product=0000 Version=0000\n\
            N: Name=\"HDA NVidia HDMI/DP,pcm=3\"\n\
            S: Sysfs=/devices/pci0000:00/0000:00:01.0/0000:01:00.1/sound/card1/input9\n\
            H: Handlers=event8 \n\
            B: EV=21\n";
        let name = "Logitech USB Keyboard".to_owned();
        assert_eq!(
            keyboards(text),
            [("0000:00:14.0".parse().unwrap(), HostUse::Keyboard { name })]
        );
    }
}
