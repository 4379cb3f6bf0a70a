//! What a machine is made of: from an order and what the node has, to what the helper is asked and what
//! the guest is told at its first boot. Nothing is touched here.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::path::Path;

use vfioctl_api::{Backend, Holder, MemorySize, Order};
use vfioctl_core::claim::MachineName;
use vfioctl_core::machine::{
    Boot, Disk, DiskFormat, FilePath, Forward, MachineSpec, Network, SpecError,
};
use vfioctl_core::pci::PciAddress;
use vfioctl_image::{
    AuthorizedKeys, DiskSize, HostKey, Image, MacAddress, NvidiaVersion, Seed, UserName,
};

use super::folder::{MachineFolder, Note, Place};

/// The port of the guest that its server of SSH listens on.
const SSH: NonZeroU16 = match NonZeroU16::new(22) {
    Some(port) => port,
    None => NonZeroU16::MAX,
};
/// The hardware address of the first network card of QEMU, which has no other (`net/net.c`,
/// `qemu_macaddr_default_if_unset`). Each machine is alone on its network, so all can have the same.
const FIRST_CARD: &str = "52:54:00:12:34:56";
/// The user of a machine whose owner cannot be one there: of the systems whose images say so, and of all
/// others.
const USERS: [(&str, &str); 2] = [("debian", "debian"), ("ubuntu", "ubuntu")];
const ANY_USER: &str = "vfioctl";

/// How the names of this project's machines begin.
pub(super) const PREFIX: &str = Holder::MACHINE_PREFIX;

/// The name of a task's machine. It is one for all its runs, so that there is never a second one.
pub(super) fn machine_name(order: &Order) -> String {
    format!("{PREFIX}{}", order.task)
}

/// Memory of a machine.
pub(super) fn memory(order: &Order, default: MemorySize) -> MemorySize {
    order.submission.memory.unwrap_or(default)
}

/// The size of a machine's disk: what was asked for, or that of its image.
///
/// # Errors
/// Where it cannot be one, as a sentence.
pub(super) fn disk_size(order: &Order, image: &Image) -> Result<DiskSize, String> {
    let asked = match &order.submission.backend {
        Backend::Machine(machine) => machine.disk_gib,
        Backend::Container(_) => None,
    };
    let mib = match asked {
        Some(gib) => u64::from(gib) * 1024,
        None => image.record.disk_bytes.div_ceil(1 << 20),
    };
    DiskSize::of_mib(mib).map_err(|error| format!("a disk of {mib} MiB: {error}"))
}

/// The user that a machine's seed makes: its owner, where that can be a user's name there.
pub(super) fn user_of(order: &Order, image: &Image) -> Result<UserName, String> {
    let of_distribution = || {
        let distribution = image.record.distribution.as_deref().unwrap_or_default();
        let known = USERS
            .iter()
            .find(|(name, _)| distribution.to_ascii_lowercase().starts_with(name));
        known.map_or(ANY_USER, |(_, user)| *user)
    };
    let owner = order.owner.as_str();
    owner
        .parse()
        .or_else(|_| of_distribution().parse())
        .map_err(|error| format!("no user can be made: {error}"))
}

/// What the guest is told at its first boot.
///
/// # Errors
/// What in the order cannot be told, as a sentence.
pub(super) fn seed(
    order: &Order,
    user: UserName,
    host_key: HostKey,
    nvidia: Option<&str>,
) -> Result<Seed, String> {
    let submission = &order.submission;
    let keys = submission.ssh.as_ref().map_or(&[][..], |ssh| &ssh.keys);
    let mut authorized = Vec::new();
    for key in keys {
        let key = key.parse().map_err(|error| format!("'{key}': {error}"))?;
        authorized.push(key);
    }
    let authorized_keys = match authorized.is_empty() {
        true => AuthorizedKeys::nobody(),
        false => AuthorizedKeys::new(authorized).map_err(|error| error.to_string())?,
    };
    let host_name = match &submission.name {
        Some(name) => name.as_str().to_owned(),
        None => machine_name(order),
    };
    let failed = |error: &dyn std::fmt::Display| format!("'{host_name}': {error}");
    let card: MacAddress = FIRST_CARD.parse().map_err(|error| failed(&error))?;
    Ok(Seed {
        instance_id: order
            .task
            .as_str()
            .parse()
            .map_err(|error| failed(&error))?,
        host_name: host_name.parse().map_err(|error| failed(&error))?,
        user,
        authorized_keys,
        host_key,
        network: vfioctl_image::Network::Dhcp(Some(card)),
        // One that is called otherwise is none that packages know.
        nvidia: nvidia.and_then(|version| version.parse::<NvidiaVersion>().ok()),
    })
}

/// How a machine gets to the network, and is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// By passt, which listens for it.
    Passt,
    /// By QEMU's own network, with a port on this address.
    User(Ipv4Addr),
}

impl Reach {
    /// By QEMU's own network, which knows addresses of the fourth version only.
    pub(super) fn user(listen: IpAddr) -> Self {
        match listen {
            IpAddr::V4(address) => Self::User(address),
            IpAddr::V6(_) => Self::User(Ipv4Addr::LOCALHOST),
        }
    }
}

/// What the helper is asked to start.
///
/// # Errors
/// What of it no machine can have.
pub(super) fn spec(
    order: &Order,
    memory: MemorySize,
    folder: &MachineFolder,
    note: &Note,
    reach: Reach,
    devices: Vec<PciAddress>,
) -> Result<MachineSpec, String> {
    let of_spec = |error: SpecError| error.to_string();
    let path = |place: Place| file_path(&folder.path(place));
    let disk = |place: Place, format, read_only| {
        Ok::<_, SpecError>(Disk {
            path: path(place)?,
            format,
            read_only,
        })
    };
    let name: MachineName = machine_name(order)
        .parse()
        .map_err(|error| format!("'{}': {error}", machine_name(order)))?;
    let boot = match &note.firmware {
        None => Boot::Bios,
        Some(code) => Boot::Uefi {
            code: FilePath::new(code).map_err(of_spec)?,
            variables: Some(path(Place::Variables).map_err(of_spec)?),
        },
    };
    let disks = [
        disk(Place::Disk, DiskFormat::Qcow2, false),
        disk(Place::Seed, DiskFormat::Raw, true),
    ];
    let network = match reach {
        Reach::Passt => Network::Stream {
            socket: path(Place::Socket).map_err(of_spec)?,
        },
        Reach::User(address) => Network::User {
            forwards: NonZeroU16::new(note.port)
                .map(|port| Forward {
                    address,
                    port,
                    guest_port: SSH,
                })
                .into_iter()
                .collect(),
        },
    };
    let spec = MachineSpec {
        name,
        memory_mib: memory.mib(),
        cores: order.submission.cores,
        boot,
        disks: disks
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(of_spec)?,
        devices,
        network,
    };
    spec.check().map_err(of_spec)
}

fn file_path(path: &Path) -> Result<FilePath, SpecError> {
    let shown = path.to_string_lossy();
    // What is not UTF-8 is shown with signs that no path has, and is not found; it cannot be told.
    FilePath::new(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::sample::{image, note, order};

    fn folder() -> MachineFolder {
        super::super::folder::Folders::below(Path::new("/data"), None).of(&order().task)
    }

    fn made(reach: Reach, devices: &[&str]) -> Result<MachineSpec, String> {
        let devices = devices.iter().map(|text| text.parse().unwrap()).collect();
        let memory = memory(&order(), MemorySize::from_mib(4096));
        spec(&order(), memory, &folder(), &note(), reach, devices)
    }

    #[test]
    fn the_guides_machine_is_asked_for() {
        let listen: IpAddr = "192.0.2.7".parse().unwrap();
        let spec = made(Reach::user(listen), &["0000:01:00.0"]).unwrap();
        let task = order().task;
        assert_eq!(spec.name.as_str(), format!("vps-{task}"));
        assert_eq!((spec.memory_mib, spec.cores), (16_384, 8));
        let paths: Vec<&str> = spec.disks.iter().map(|disk| disk.path.as_str()).collect();
        let path = |name: &str| format!("/data/machines/{task}/{name}");
        assert_eq!(paths, [path("disk.qcow2"), path("seed.img")]);
        let variables = FilePath::new(&path("vars.fd")).unwrap();
        let code = FilePath::new("/usr/share/OVMF/OVMF_CODE_4M.fd").unwrap();
        assert_eq!(
            spec.boot,
            Boot::Uefi {
                code,
                variables: Some(variables)
            }
        );
        let forward = "192.0.2.7:43000:22".parse().unwrap();
        assert_eq!(
            spec.network,
            Network::User {
                forwards: vec![forward]
            }
        );
        let socket = FilePath::new(&path("net.sock")).unwrap();
        assert_eq!(
            made(Reach::Passt, &[]).unwrap().network,
            Network::Stream { socket }
        );
    }

    #[test]
    fn what_no_machine_can_have_is_said() {
        let many = vec!["0000:01:00.0"; 2];
        assert!(
            made(Reach::Passt, &many)
                .unwrap_err()
                .contains("named twice")
        );
        let mut small = order();
        small.submission.memory = Some(MemorySize::from_mib(8));
        let memory = memory(&small, MemorySize::from_mib(4096));
        let spec = spec(&small, memory, &folder(), &note(), Reach::Passt, Vec::new());
        assert!(spec.unwrap_err().starts_with("memory of 8 MiB"));
        assert_eq!(
            Reach::user("::1".parse().unwrap()),
            Reach::User(Ipv4Addr::LOCALHOST)
        );
    }

    #[test]
    fn the_owner_logs_in_where_a_user_can_be_called_so() {
        let user = |owner: &str, distribution: Option<&str>| {
            let mut order = order();
            order.owner = owner.parse().unwrap();
            let mut image = image();
            image.record.distribution = distribution.map(str::to_owned);
            user_of(&order, &image).unwrap().as_str().to_owned()
        };
        assert_eq!(user("ann", Some("debian 12")), "ann");
        assert_eq!(user("a.b", Some("Debian 12")), "debian");
        assert_eq!(user("root", Some("ubuntu 24.04")), "ubuntu");
        assert_eq!(user("1a", Some("fedora")), "vfioctl");
        assert_eq!(user("daemon", None), "vfioctl");
    }

    #[test]
    fn a_disk_is_as_large_as_asked_for_or_as_its_image() {
        let size = |gib: Option<u32>| {
            let mut order = order();
            if let Backend::Machine(machine) = &mut order.submission.backend {
                machine.disk_gib = gib;
            }
            disk_size(&order, &image()).map(DiskSize::bytes)
        };
        assert_eq!(size(None), Ok(8 << 30));
        assert_eq!(size(Some(50)), Ok(50 << 30));
        assert!(size(Some(64 << 10)).is_err());
    }

    #[test]
    fn the_guest_is_told_who_it_is_and_who_may_come_in() {
        let told = |order: &Order, nvidia: Option<&str>| {
            let key = crate::machine::host_key::NewHostKey::make(&ring::rand::SystemRandom::new());
            seed(order, "ann".parse().unwrap(), key.unwrap().pair, nvidia)
        };
        let seed = told(&order(), Some("550.90.07")).unwrap();
        assert_eq!(seed.host_name.as_str(), "big");
        assert_eq!(seed.instance_id.as_str(), order().task.as_str());
        let files = seed.files();
        assert!(files.user_data.contains("AAAAC3NzaC1lZDI1NTE5"));
        assert!(files.user_data.contains("550.90.07"));
        assert!(files.network_config.contains(FIRST_CARD));
        let mut nameless = order();
        nameless.submission.name = None;
        nameless.submission.ssh = None;
        let seed = told(&nameless, Some("none")).unwrap();
        assert_eq!(seed.host_name.as_str(), machine_name(&nameless));
        assert_eq!(
            (seed.authorized_keys, seed.nvidia),
            (AuthorizedKeys::nobody(), None)
        );
        let mut odd = order();
        odd.submission.ssh = Some(vfioctl_api::SshRequest {
            keys: vec!["ssh-ed25519 AAAA".into()],
        });
        assert!(
            told(&odd, None)
                .unwrap_err()
                .starts_with("'ssh-ed25519 AAAA': ")
        );
    }
}
