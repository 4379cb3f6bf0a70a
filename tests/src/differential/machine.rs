//! A machine made at random: root ports, switches, bridges and what is behind them, as options
//! of QEMU.
//!
//! Only what QEMU 7.2 takes is made. The firmware gives each conventional bridge, and each port
//! with a card that wants them, 4096 of the 65,536 I/O ports and stops where they do not suffice,
//! so both are counted.

use super::random::Random;
use super::{Iommu, Kernel};

/// A machine and what its kernel is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Values of `-device`, in order.
    pub(super) devices: Vec<String>,
    /// Value of the kernel's parameter `pci=`.
    pub(super) pci_parameter: Option<String>,
}

/// Most conventional bridges, and most cards with I/O ports behind a port.
const MAX_BRIDGES: usize = 5;
const MAX_PORT_IO: usize = 3;
/// Most physical functions: each needs a subsystem.
const MAX_NVME: usize = 2;
/// Deepest nesting of switches.
const MAX_DEPTH: usize = 4;

/// Cards that QEMU makes into PCI Express endpoints, or into endpoints of the root complex.
const EXPRESS: [&str; 8] = [
    "bochs-display",
    "edu",
    "virtio-rng-pci",
    "virtio-net-pci,romfile=",
    "nec-usb-xhci",
    "ich9-intel-hda",
    "pci-testdev",
    E1000E,
];
const E1000E: &str = "e1000e,romfile=";
/// Cards for a conventional bus.
const CONVENTIONAL: [&str; 7] = [
    "bochs-display",
    "edu",
    "ich9-intel-hda",
    "e1000,romfile=",
    "rtl8139,romfile=",
    "sdhci-pci",
    "pci-testdev",
];

/// A bus that something can be put on.
#[derive(Debug, Clone)]
struct Bus {
    name: String,
    kind: BusKind,
    depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BusKind {
    /// Below a root port or a downstream port: one slot.
    Port,
    /// Inside a switch.
    Switch,
    Conventional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    RootPort { acs: bool },
    IntelRootPort { acs: bool },
    UpstreamPort,
    DownstreamPort,
    PcieToPciBridge,
    IntelBridge,
    PciBridge,
    Card(&'static str),
    Nvme,
}

struct Builder {
    random: Random,
    devices: Vec<String>,
    pending: Vec<Bus>,
    /// Root ports of the first bus, as addresses.
    root_ports: Vec<String>,
    wanted: usize,
    bridges: usize,
    port_io: usize,
    nvme: usize,
}

impl Machine {
    /// The machine of a seed.
    pub(super) fn of_seed(seed: u64, kernel: Kernel, iommu: Iommu) -> Self {
        let mut random = Random::new(seed);
        let wanted = random.between(12, 62);
        let mut builder = Builder {
            random,
            // First: the one of AMD is a PCI function and takes the first free slot.
            devices: vec![iommu.device().to_owned()],
            pending: Vec::new(),
            root_ports: Vec::new(),
            wanted,
            bridges: 0,
            port_io: 0,
            nvme: 0,
        };
        builder.fill_root(iommu);
        while builder.devices.len() < builder.wanted && !builder.pending.is_empty() {
            let at = builder.random.below(builder.pending.len());
            let bus = builder.pending.swap_remove(at);
            builder.fill(&bus);
        }
        let pci_parameter = builder.pci_parameter(kernel);
        Self {
            devices: builder.devices,
            pci_parameter,
        }
    }
}

impl Builder {
    fn fill_root(&mut self, iommu: Iommu) {
        // 00.0 is the memory controller, 01.0 AMD's IOMMU, 1f the chipset.
        let mut slots: Vec<usize> = (2..0x1f).collect();
        let mut take = |random: &mut Random| slots.remove(random.below(slots.len()));
        for _ in 0..self.random.between(2, 5) {
            let slot = take(&mut self.random);
            self.port_slot("pcie.0", slot);
        }
        for _ in 0..self.random.below(4) {
            let slot = take(&mut self.random);
            let count = self.function_count();
            self.slot("pcie.0", slot, 0, count, |this| {
                Kind::Card(this.express_card(true))
            });
        }
        for (kind, chance) in [
            (Kind::IntelBridge, 30),
            (Kind::PcieToPciBridge, 20),
            (Kind::PciBridge, 15),
        ] {
            if self.random.percent(chance) {
                let slot = take(&mut self.random);
                let count = self.random.between(1, 2);
                let mut first = Some(kind);
                self.slot("pcie.0", slot, 0, count, |this| {
                    first
                        .take()
                        .unwrap_or_else(|| Kind::Card(this.express_card(true)))
                });
            }
        }
        let numbers: Vec<usize> = (1..=3).filter(|_| self.random.percent(25)).collect();
        for number in &numbers {
            let slot = take(&mut self.random);
            // Linux 6.1 reads past its table for a function that lies behind everything that an
            // IOMMU of AMD covers, and dies of it (`drivers/iommu/amd/iommu.c`, `check_device`).
            let may_bypass = iommu == Iommu::Intel || numbers.last() != Some(number);
            self.host_bridge(*number, slot, may_bypass);
        }
    }

    /// A further root bus. Only bridges may sit on it.
    fn host_bridge(&mut self, number: usize, slot: usize, may_bypass: bool) {
        let name = format!("host{number}");
        let bypass = if self.random.percent(30) && may_bypass {
            ",bypass_iommu=on"
        } else {
            ""
        };
        let first_bus = number * 0x40;
        self.devices.push(format!(
            "pxb-pcie,id={name},bus=pcie.0,bus_nr={first_bus},addr={slot:x}.0{bypass}"
        ));
        for slot in 0..self.random.between(1, 3) {
            self.port_slot(&name, slot);
        }
        if self.random.percent(30) && self.bridges < MAX_BRIDGES {
            self.place(Kind::IntelBridge, &name, 8, 0, false, 0);
        }
    }

    /// A slot with root ports, and sometimes a card between them.
    fn port_slot(&mut self, bus: &str, slot: usize) {
        let count = self.function_count();
        let acs_chance = self.random.pick(&[0, 50, 100, 100]).unwrap_or_default();
        let is_intel = self.random.percent(30);
        let is_first_bus = bus == "pcie.0";
        self.slot(bus, slot, 0, count, |this| {
            let acs = this.random.percent(acs_chance);
            if is_first_bus && this.random.percent(12) {
                Kind::Card(this.express_card(true))
            } else if is_intel {
                Kind::IntelRootPort { acs }
            } else {
                Kind::RootPort { acs }
            }
        });
    }

    fn fill(&mut self, bus: &Bus) {
        match bus.kind {
            BusKind::Port => self.fill_port(bus),
            BusKind::Switch => {
                let mut slot = 0;
                for _ in 0..self.random.between(1, 3) {
                    let count = self.function_count();
                    self.slot(&bus.name, slot, bus.depth, count, |_| Kind::DownstreamPort);
                    slot += self.random.between(1, 3);
                }
            }
            BusKind::Conventional => {
                let mut slot = 0;
                for _ in 0..self.random.between(1, 3) {
                    slot += self.random.between(1, 4);
                    let count = self.function_count().min(3);
                    self.slot(&bus.name, slot, bus.depth, count, |this| {
                        if this.random.percent(20) && bus.depth < MAX_DEPTH {
                            Kind::PciBridge
                        } else {
                            Kind::Card(this.random.pick(&CONVENTIONAL).unwrap_or("edu"))
                        }
                    });
                }
            }
        }
    }

    fn fill_port(&mut self, bus: &Bus) {
        let (name, depth) = (bus.name.as_str(), bus.depth);
        let is_shallow = depth < MAX_DEPTH;
        match self.random.below(100) {
            0..=7 => {}
            8..=17 if self.nvme < MAX_NVME => self.place(Kind::Nvme, name, 0, 0, false, depth),
            18..=42 if is_shallow => {
                let count = self.random.pick(&[1, 1, 1, 2, 3]).unwrap_or(1);
                let at = self.random.below(count);
                let mut function = 0;
                self.slot(name, 0, depth, count, |this| {
                    function += 1;
                    match (function == at + 1, this.random.percent(20)) {
                        (true, _) | (false, true) => Kind::UpstreamPort,
                        _ => Kind::Card(this.express_card(false)),
                    }
                });
            }
            43..=54 => {
                let count = self.random.pick(&[1, 1, 2]).unwrap_or(1);
                let mut next = Some(Kind::PcieToPciBridge);
                self.slot(name, 0, depth, count, |this| {
                    next.take()
                        .unwrap_or_else(|| Kind::Card(this.express_card(false)))
                });
            }
            _ => {
                let count = self.function_count();
                self.slot(name, 0, depth, count, |this| {
                    Kind::Card(this.express_card(false))
                });
            }
        }
    }

    fn function_count(&mut self) -> usize {
        self.random.pick(&[1, 1, 1, 1, 2, 2, 2, 3, 4]).unwrap_or(1)
    }

    fn express_card(&mut self, is_on_root_bus: bool) -> &'static str {
        let card = self.random.pick(&EXPRESS).unwrap_or("edu");
        if card != E1000E || is_on_root_bus {
            return card;
        }
        self.port_io += 1;
        if self.port_io > MAX_PORT_IO {
            "edu"
        } else {
            card
        }
    }

    /// Puts some functions into a slot. QEMU asks for bit 7 of the header type on function 0 alone;
    /// real cards have it on all. Both are made, and a bit without need.
    fn slot(
        &mut self,
        bus: &str,
        slot: usize,
        depth: usize,
        count: usize,
        mut kind: impl FnMut(&mut Self) -> Kind,
    ) {
        let chance = self.random.pick(&[0, 0, 50, 100, 100]).unwrap_or_default();
        let is_without_need = self.random.percent(8);
        for function in 0..count {
            let bit = if function == 0 {
                count > 1 || is_without_need
            } else {
                self.random.percent(chance)
            };
            let kind = kind(self);
            self.place(kind, bus, slot, function, bit, depth);
        }
    }

    fn place(
        &mut self,
        kind: Kind,
        bus: &str,
        slot: usize,
        function: usize,
        bit: bool,
        depth: usize,
    ) {
        let is_bridge = matches!(
            kind,
            Kind::PcieToPciBridge | Kind::IntelBridge | Kind::PciBridge
        );
        if is_bridge && self.bridges == MAX_BRIDGES {
            return self.place(Kind::Card("edu"), bus, slot, function, bit, depth);
        }
        let number = self.devices.len();
        let name = format!("d{number}");
        let acs_option = |acs| if acs { "" } else { ",disable-acs=on" };
        let port = |model: &str| format!("{model},id={name},chassis={number},slot={number}");
        let model = match kind {
            Kind::RootPort { acs } => port("pcie-root-port") + acs_option(acs),
            Kind::IntelRootPort { acs } => port("ioh3420") + acs_option(acs),
            Kind::UpstreamPort => format!("x3130-upstream,id={name}"),
            Kind::DownstreamPort => port("xio3130-downstream"),
            Kind::PcieToPciBridge => format!("pcie-pci-bridge,id={name}"),
            Kind::IntelBridge => format!("i82801b11-bridge,id={name}"),
            Kind::PciBridge => format!("pci-bridge,id={name},chassis_nr={number}"),
            Kind::Card(card) => card.to_owned(),
            Kind::Nvme => {
                self.nvme += 1;
                self.devices.push(format!("nvme-subsys,id=subsys{number}"));
                format!(
                    "nvme,subsys=subsys{number},serial=s{number},sriov_max_vfs=4,\
                     sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=26,msix_qsize=25"
                )
            }
        };
        let bit = if bit { ",multifunction=on" } else { "" };
        self.devices
            .push(format!("{model},bus={bus},addr={slot:x}.{function}{bit}"));
        if bus == "pcie.0" && matches!(kind, Kind::RootPort { .. } | Kind::IntelRootPort { .. }) {
            self.root_ports.push(format!("00:{slot:02x}.{function}"));
        }
        self.bridges += usize::from(is_bridge);
        let kind = match kind {
            Kind::RootPort { .. } | Kind::IntelRootPort { .. } | Kind::DownstreamPort => {
                BusKind::Port
            }
            Kind::UpstreamPort => BusKind::Switch,
            Kind::PcieToPciBridge | Kind::IntelBridge | Kind::PciBridge => BusKind::Conventional,
            Kind::Card(_) | Kind::Nvme => return,
        };
        self.pending.push(Bus {
            name,
            kind,
            depth: depth + 1,
        });
    }

    /// Sometimes the kernel is told to write other bits.
    fn pci_parameter(&mut self, kernel: Kernel) -> Option<String> {
        if !self.random.percent(20) {
            return None;
        }
        let place = |random: &mut Random| match random.below(4) {
            0 => "pci:1b36:000c".to_owned(),
            1 => "pci:8086:3420".to_owned(),
            _ => {
                let at = random.below(self.root_ports.len());
                let port = self.root_ports.get(at);
                port.map_or("00:1e.0", String::as_str).to_owned()
            }
        };
        let mut rules = Vec::new();
        if kernel == Kernel::V6_1 || self.random.percent(50) {
            let places = [place(&mut self.random), place(&mut self.random)];
            rules.push(format!("disable_acs_redir={}", places.join(";")));
        }
        if kernel != Kernel::V6_1 && (rules.is_empty() || self.random.percent(30)) {
            let flags: String = (0..7)
                .map(|_| self.random.pick(&['0', '1', '1', 'x', 'x']).unwrap_or('x'))
                .collect();
            rules.push(format!("config_acs={flags}@{}", place(&mut self.random)));
        }
        Some(rules.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_machine_each_time_and_another_one_another() {
        let of = |seed| Machine::of_seed(seed, Kernel::V6_1, Iommu::Intel);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }

    #[test]
    fn machines_have_the_size_that_was_asked_for() {
        for seed in 0..200 {
            let machine = Machine::of_seed(seed, Kernel::V6_12, Iommu::Amd);
            assert!((5..=75).contains(&machine.devices.len()), "{machine:?}");
        }
    }
}
