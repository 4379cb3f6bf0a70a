//! Predicting the groups of large machines, with explanations.

use std::process::Command;
use std::time::Instant;

use vfioctl_core::acs::{Acs, Platform};
use vfioctl_core::config::{HeaderType, PcieType};
use vfioctl_core::iommu::{Topology, predict};
use vfioctl_core::pci::{ClassCode, Identity, PciAddress, PciFunction, SriovRole};
use vfioctl_core::{Answer, Snapshot};

use crate::table::Aim;
use crate::timing::{ROUNDS, Times};
use crate::{Bench, Result};

const SIZES: [usize; 4] = [1000, 2500, 5000, 10_000];

/// Each size in a process of its own, so that its peak of memory can be read.
pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let own = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let mut times = Times::default();
    let mut memory = Vec::new();
    for size in SIZES {
        let output = Command::new(&own)
            .args(["predict", &size.to_string()])
            .output()
            .map_err(|error| format!("run this program: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("memory", kib)) => memory.push(kib.parse().unwrap_or(f64::NAN)),
                Some((name, number)) => times.add(name, number.parse().unwrap_or(f64::NAN)),
                None => {}
            }
        }
    }
    let ms = |size: usize| times.ms(&format!("predict-{size}"));
    for size in SIZES {
        let aim = match size {
            10_000 => Aim::Below(50.0),
            _ => Aim::None,
        };
        let what = format!("predict and explain {size} functions");
        bench.table.alone(&what, "ms", ms(size)?, aim);
    }
    let each = |ms: f64, size: usize| ms * 1000.0 / f64::from(u32::try_from(size).unwrap_or(1));
    let (small, large) = (each(ms(1000)?, 1000), each(ms(10_000)?, 10_000));
    let peer = ("of 1000", small);
    bench.table.compare(
        "predict: time a function, of 10000",
        "µs",
        large,
        peer,
        Aim::Ratio(1.5),
    );
    if let [_, _, half, whole] = memory.as_slice() {
        let peer = ("of 5000", *half);
        let what = "predict: memory beyond the machine, of 10000";
        bench
            .table
            .compare(what, "KiB", *whole, peer, Aim::Ratio(2.2));
    }
    Ok(())
}

/// Predicts a machine of a size some times, and tells how long it took and what memory it needed
/// beyond the machine itself.
pub(crate) fn main(size: &str) -> Result<()> {
    let size: usize = size.parse().map_err(|_| format!("'{size}' is no number"))?;
    let snapshot = machine(size);
    let platform = Platform::default();
    let before = resident_kib();
    let mut kept = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let prediction = predict(&Topology::of(&snapshot), &platform);
        let microseconds = start.elapsed().as_secs_f64() * 1e6;
        if prediction.explanations.len() != size {
            return Err("not every function was explained".to_owned());
        }
        kept = vec![prediction];
        println!("predict-{size} {microseconds:.0}");
    }
    println!("memory {}", resident_kib().saturating_sub(before));
    drop(kept);
    Ok(())
}

/// Servers side by side, a domain each: root ports, half of them without ACS, each with a switch
/// of four cards with two functions.
fn machine(size: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut add = |domain: u32, bus: u8, device: u8, function: u8, up: Option<PciAddress>, kind| {
        let address = PciAddress::new(domain, bus, device, function).ok()?;
        if snapshot.functions.len() < size {
            let function = function_at(address, up, kind);
            snapshot.functions.insert(address, function);
        }
        Some(address)
    };
    for domain in 0.. {
        for port in 0..16_u8 {
            let bus = 1 + port * 8;
            let root = add(domain, 0, port, 0, None, PcieType::RootPort);
            let upstream = add(domain, bus, 0, 0, root, PcieType::UpstreamPort);
            for slot in 0..4_u8 {
                let down = add(domain, bus + 1, slot, 0, upstream, PcieType::DownstreamPort);
                for function in 0..2 {
                    add(
                        domain,
                        bus + 2 + slot,
                        0,
                        function,
                        down,
                        PcieType::Endpoint,
                    );
                }
            }
        }
        if usize::try_from(domain).is_ok_and(|domain| (domain + 1) * 16 * 14 >= size) {
            break;
        }
    }
    snapshot
}

fn function_at(address: PciAddress, upstream: Option<PciAddress>, kind: PcieType) -> PciFunction {
    let is_bridge = kind != PcieType::Endpoint;
    let has_acs = match kind {
        PcieType::RootPort => address.device().is_multiple_of(2),
        PcieType::DownstreamPort => address.device() < 2,
        _ => false,
    };
    PciFunction {
        address,
        identity: Identity {
            vendor: 0x10de,
            device: 0x2330,
            subsystem_vendor: 0x10de,
            subsystem_device: 0x16c1,
        },
        class: ClassCode::new(if is_bridge { 0x06_0400 } else { 0x03_0200 }).unwrap_or_default(),
        revision: 0,
        upstream,
        header_type: Answer::Known(if is_bridge {
            HeaderType::Bridge
        } else {
            HeaderType::Normal
        }),
        multifunction_bit: Answer::Known(!is_bridge),
        config_bytes_seen: 4096,
        pcie_type: Answer::Known(Some(kind)),
        acs: Answer::Known(has_acs.then(|| Acs::new(0x5f, 0x1d))),
        driver: None,
        driver_override: Answer::Known(None),
        iommu_group: None,
        numa_node: None,
        bars: Vec::new(),
        reset_methods: Vec::new(),
        power_state: None,
        boot_vga: None,
        sriov: SriovRole::None,
        problems: Vec::new(),
    }
}

/// The most memory that this process has had, in KiB.
fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
