//! QEMU's command line, made from a machine's specification.
//!
//! A guest with large BARs is told so (`mmio_window`).
//!
//! Places on the root bus of q35: device 01 is the network card, 02 to 09 are disks, 10 to 1e
//! are root ports with passed devices, 1f is the chipset's.
//!
//! <https://www.qemu.org/docs/master/system/invocation.html>; written for QEMU 7.2 and later.

use vfioctl_core::machine::{Boot, Forward, MachineSpec, Network};

use crate::block_node::BlockNode;
use crate::mmio_window::MmioWindow;
use crate::network_stream::NetworkStream;
use crate::placement::{PassedDevice, RootPort, plan_root_ports};

/// Device number of the first disk on the root bus.
const FIRST_DISK_DEVICE: usize = 0x02;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor, through `/dev/kvm`.
    Kvm,
    /// QEMU's own translator: slow, and everywhere.
    Tcg,
}

/// The host a machine starts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What executes the guest's instructions.
    pub accel: Accel,
    /// Path of QEMU's program.
    pub qemu: String,
    /// Absolute path of a folder of the machine's own, for `qmp.sock` and `console.log`.
    pub runtime_dir: String,
}

impl Host {
    /// Path of the monitor's socket, which QEMU makes.
    pub fn qmp_socket(&self) -> String {
        format!("{}/qmp.sock", self.runtime_dir)
    }

    /// Path of the log of the machine's serial console, which QEMU makes or appends to.
    pub fn console_log(&self) -> String {
        format!("{}/console.log", self.runtime_dir)
    }
}

/// Makes QEMU's whole command line; the first argument is QEMU's own path.
///
/// The result depends on nothing but the parameters. Paths are not looked at, so a missing file
/// is told by QEMU, on its standard error.
pub fn arguments(spec: &MachineSpec, host: &Host, devices: &[PassedDevice]) -> Vec<String> {
    let mut line = Line(vec![host.qemu.clone()]);
    let window = MmioWindow::of(spec, devices);
    line.add_machine(spec, host, window);
    line.add_monitor_and_console(host);
    line.add_boot(&spec.boot);
    if let Some(window) = window {
        line.option("-fw_cfg", window.to_fw_cfg());
    }
    line.add_disks(spec);
    line.add_network(&spec.network);
    for port in &plan_root_ports(devices) {
        line.add_root_port(port);
    }
    line.0
}

/// A command line in the making.
struct Line(Vec<String>);

impl Line {
    fn flag(&mut self, option: &str) {
        self.0.push(option.to_owned());
    }

    fn option(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }

    fn add_machine(&mut self, spec: &MachineSpec, host: &Host, window: Option<MmioWindow>) {
        self.option("-name", format!("guest={}", spec.name));
        // The files of the system and of the user that QEMU would read add nothing here.
        self.flag("-no-user-config");
        self.flag("-nodefaults");
        self.option(
            "-sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        );
        self.option("-msg", "timestamp=on");
        // Without it QEMU gives every guest 40 bits of physical address.
        let is_wide = window.is_some_and(|window| window.needs_wide_addresses(spec.memory_mib));
        let (accel, cpu) = match host.accel {
            Accel::Kvm if is_wide => ("kvm", "host,host-phys-bits=on"),
            Accel::Kvm => ("kvm", "host"),
            Accel::Tcg => ("tcg", "max"),
        };
        let flash = match &spec.boot {
            Boot::Uefi {
                variables: Some(_), ..
            } => ",pflash0=pflash0,pflash1=pflash1",
            Boot::Uefi {
                variables: None, ..
            } => ",pflash0=pflash0",
            Boot::Bios | Boot::Kernel { .. } => "",
        };
        self.option("-machine", format!("q35,accel={accel}{flash}"));
        self.option("-cpu", cpu);
        self.option("-m", format!("{}M", spec.memory_mib));
        // One socket: some systems are licensed for one or two, and use no more.
        let cores = spec.cores;
        self.option(
            "-smp",
            format!("cpus={cores},sockets=1,cores={cores},threads=1"),
        );
        self.option("-display", "none");
        self.option("-vga", "none");
    }

    fn add_monitor_and_console(&mut self, host: &Host) {
        let socket = escaped(&host.qmp_socket());
        self.option(
            "-chardev",
            format!("socket,id=qmp,path={socket},server=on,wait=off"),
        );
        self.option("-mon", "chardev=qmp,mode=control");
        let log = escaped(&host.console_log());
        self.option("-chardev", format!("file,id=console,path={log},append=on"));
        self.option("-serial", "chardev:console");
    }

    fn add_boot(&mut self, boot: &Boot) {
        match boot {
            // SeaBIOS is q35's default.
            Boot::Bios => {}
            Boot::Uefi { code, variables } => {
                let flash = BlockNode::of_flash("pflash0", code, true);
                self.option("-blockdev", flash.to_json());
                if let Some(variables) = variables {
                    let flash = BlockNode::of_flash("pflash1", variables, false);
                    self.option("-blockdev", flash.to_json());
                }
            }
            // QEMU takes these three as they are; a comma means nothing in them.
            Boot::Kernel {
                image,
                initrd,
                append,
            } => {
                self.option("-kernel", image.as_str());
                if let Some(initrd) = initrd {
                    self.option("-initrd", initrd.as_str());
                }
                if !append.is_empty() {
                    self.option("-append", append.as_str());
                }
            }
        }
    }

    fn add_disks(&mut self, spec: &MachineSpec) {
        // A kernel given directly boots through a ROM that has index 0 already.
        let has_boot_order = !matches!(spec.boot, Boot::Kernel { .. });
        for (index, disk) in spec.disks.iter().enumerate() {
            let node_name = format!("disk{index}");
            self.option("-blockdev", BlockNode::of_disk(&node_name, disk).to_json());
            let device = FIRST_DISK_DEVICE + index;
            let boot = if has_boot_order {
                format!(",bootindex={index}")
            } else {
                String::new()
            };
            self.option(
                "-device",
                format!(
                    "virtio-blk-pci,id=virtio-{node_name},drive={node_name},bus=pcie.0,\
                     addr={device:02x}.0{boot}"
                ),
            );
        }
    }

    fn add_network(&mut self, network: &Network) {
        let backend = match network {
            Network::None => return,
            Network::User { forwards } => {
                let forwards = forwards.iter().map(|forward| {
                    let Forward {
                        address,
                        port,
                        guest_port,
                    } = forward;
                    format!(",hostfwd=tcp:{address}:{port}-:{guest_port}")
                });
                format!("user,id=net0{}", forwards.collect::<String>())
            }
            Network::Stream { socket } => NetworkStream::to("net0", socket).to_json(),
        };
        self.option("-netdev", backend);
        // The empty ROM: machines do not boot from this network, and the ROM's file is in a package
        // of its own, without which QEMU would not start.
        self.option(
            "-device",
            "virtio-net-pci,id=nic0,netdev=net0,bus=pcie.0,addr=01.0,romfile=",
        );
    }

    fn add_root_port(&mut self, port: &RootPort) {
        for device in port.devices() {
            self.option("-device", device);
        }
    }
}

/// Doubles commas, so that the text is one value in QEMU's `key=value,` syntax, in which nothing
/// else has a meaning.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests;
