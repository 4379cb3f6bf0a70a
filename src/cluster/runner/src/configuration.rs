//! `/etc/vfioctl/vfioctl.toml`: the table `[runner]`, and of `[acs]` the key `override`.
//!
//! The file is one for all programs of vfioctl, and each looks at its own table. An unknown key is an
//! error: a word that is misspelt would otherwise be taken for one that is not there.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde::Deserialize;
use vfioctl_api::{ImageName, MemorySize};
use vfioctl_service::configuration::{self, ConfigurationError};

/// Where `vfioctl-machines.socket` listens, behind which is the user that machines run as.
const MACHINES_SOCKET: &str = "/run/vfioctl-machines.sock";
/// That user's group.
const MACHINES_GROUP: &str = "vfioctl-machine";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    runner: Configuration,
    #[serde(default)]
    acs: Acs,
    /// This is looked at by its own program.
    #[serde(default)]
    #[expect(dead_code, reason = "known, and not looked at here")]
    host: Option<toml::Table>,
}

/// The table `[acs]`, most of which is the helper's.
#[derive(Debug, Default, Deserialize)]
struct Acs {
    #[serde(default, rename = "override")]
    is_overridden: bool,
}

/// The table `[runner]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// Hosts: `https://host.example:8470`. Joining writes them down too.
    pub hosts: Vec<String>,
    /// Address that this node's servers are reached at; found out where nothing is said.
    pub address: Option<String>,
    /// Where its files lie.
    pub data: PathBuf,
    /// The helper's socket.
    pub helper: PathBuf,
    /// The socket through which machines are started as another user. Where nothing is said, the usual
    /// one if it is there for this user, else the helper's own.
    pub machine_helper: Option<PathBuf>,
    /// Containers.
    pub containers: Containers,
    /// Machines.
    pub machines: Machines,
    /// Whether every GPU is isolated as far as the hardware can when the runner starts (`[acs] override`).
    #[serde(skip)]
    pub overrides_acs: bool,
}

/// The table `[runner.containers]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Containers {
    /// The engine's socket; looked for where nothing is said.
    pub socket: Option<PathBuf>,
    /// Whether there are containers at all.
    pub enabled: bool,
    /// The image that a container gets where none is named.
    pub default_image: String,
    /// Folder with archives of images, for `--container NAME`.
    pub archives: PathBuf,
    /// Folders of the node that containers may see, and what is below them.
    pub mounts: Vec<PathBuf>,
    /// Whether `--privileged` is allowed. It is root on this node.
    pub allow_privileged: bool,
    /// The engine's network for containers: `bridge`, `none`, `host`, or one that was made.
    pub network: String,
    /// Ports that servers in containers are reached at by SSH.
    pub ssh_ports: PortRange,
}

/// The table `[runner.machines]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machines {
    /// Whether there are machines at all.
    pub enabled: bool,
    /// Folder with base images.
    pub images: Option<PathBuf>,
    /// The image that a machine gets where none is named.
    pub default_image: Option<ImageName>,
    /// Memory that a machine gets where none is named, in MiB.
    pub default_memory_mib: u64,
    /// Ports that machines are reached at by SSH.
    pub ssh_ports: PortRange,
    /// The group that may write the disks of machines, where they run as another user; the usual one
    /// where the usual socket is used.
    pub group: Option<String>,
}

/// A range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "[u16; 2]")]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl TryFrom<[u16; 2]> for PortRange {
    type Error = String;

    fn try_from([first, last]: [u16; 2]) -> Result<Self, String> {
        if first == 0 || first > last {
            return Err(format!("[{first}, {last}] is not a range of ports"));
        }
        Ok(Self { first, last })
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            address: None,
            data: PathBuf::from("/var/lib/vfioctl-runner"),
            helper: PathBuf::from(vfioctl_protocol::DEFAULT_SOCKET),
            machine_helper: None,
            containers: Containers::default(),
            machines: Machines::default(),
            overrides_acs: false,
        }
    }
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            socket: None,
            enabled: true,
            default_image: "docker.io/library/python:3-slim".into(),
            archives: PathBuf::from("/var/lib/vfioctl-runner/containers"),
            mounts: Vec::new(),
            allow_privileged: false,
            network: "bridge".into(),
            ssh_ports: PortRange {
                first: 42000,
                last: 42999,
            },
        }
    }
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            enabled: true,
            images: None,
            default_image: None,
            default_memory_mib: 4096,
            ssh_ports: PortRange {
                first: 43000,
                last: 43999,
            },
            group: None,
        }
    }
}

impl Configuration {
    /// The same, where machines run as the user that is there for them.
    pub(crate) fn with_user_of_machines(self) -> Self {
        let is_there = access(MACHINES_SOCKET, Access::WRITE_OK).is_ok();
        self.with_machines_socket(is_there)
    }

    fn with_machines_socket(mut self, is_there: bool) -> Self {
        if self.machine_helper.is_none() && is_there {
            self.machine_helper = Some(MACHINES_SOCKET.into());
            let group = self.machines.group;
            self.machines.group = Some(group.unwrap_or_else(|| MACHINES_GROUP.into()));
        }
        self
    }
}

impl Machines {
    /// Memory that a machine gets where none is named.
    pub fn default_memory(&self) -> MemorySize {
        MemorySize::from_mib(self.default_memory_mib)
    }
}

impl Configuration {
    /// Reads the file; where there is none, everything is as it is by itself.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        configuration::read(path, Self::parse)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = configuration::parse(text)?;
        let memory = file.runner.machines.default_memory_mib;
        if !(16..=MemorySize::MAX.mib()).contains(&memory) {
            return Err(format!(
                "[runner.machines] default_memory_mib = {memory} is no memory for a machine"
            ));
        }
        if let Some(mount) = file
            .runner
            .containers
            .mounts
            .iter()
            .find(|mount| !mount.is_absolute())
        {
            return Err(format!(
                "[runner.containers] mounts: '{}' is not absolute",
                mount.display()
            ));
        }
        Ok(Self {
            overrides_acs: file.acs.is_overridden,
            ..file.runner
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_others_are_left_to_them() {
        let text = "[acs]\nat_boot = true\noverride = true\n[host]\nlisten = 'x'";
        let expected = Configuration {
            overrides_acs: true,
            ..Configuration::default()
        };
        assert_eq!(Configuration::parse(text), Ok(expected));
    }

    #[test]
    fn machines_have_a_user_of_their_own_where_nothing_else_is_said() {
        let user = |text: &str, is_there| {
            let configuration = Configuration::parse(text).unwrap();
            let configuration = configuration.with_machines_socket(is_there);
            let socket = configuration.machine_helper;
            let group = configuration.machines.group;
            (socket.map(|path| path.display().to_string()), group)
        };
        let usual = Some(MACHINES_SOCKET.to_owned());
        let own = Some("/run/vfioctl/helper.sock".to_owned());
        assert_eq!(user("", true), (usual.clone(), Some(MACHINES_GROUP.into())));
        assert_eq!(user("", false), (None, None));
        let other = "[runner.machines]\ngroup = 'guests'";
        assert_eq!(user(other, true), (usual, Some("guests".into())));
        let helper = "[runner]\nmachine_helper = '/run/vfioctl/helper.sock'";
        assert_eq!(user(helper, true), (own, None));
    }

    /// The example that is installed, and the same with all of its settings switched on.
    fn example() -> [String; 2] {
        let text = include_str!("../../../../docs/examples/vfioctl.toml");
        let lines = text.lines().filter(|line| !line.starts_with("# "));
        let settings: Vec<&str> = lines.map(|line| line.trim_start_matches('#')).collect();
        [text.to_owned(), settings.join("\n")]
    }

    #[test]
    fn the_example_has_every_key_and_says_what_is_by_itself() {
        let [as_it_is, with_all] = example();
        assert_eq!(
            Configuration::parse(&as_it_is),
            Ok(Configuration::default())
        );
        let usual = Configuration::default();
        let (containers, machines) = (usual.containers, usual.machines);
        // All fields by name, so that one that is added is missed here.
        let expected = Configuration {
            hosts: vec!["https://host.example:8470".into()],
            address: Some("192.0.2.7".into()),
            data: usual.data,
            helper: usual.helper,
            machine_helper: Some(MACHINES_SOCKET.into()),
            containers: Containers {
                socket: Some("/run/docker.sock".into()),
                enabled: containers.enabled,
                default_image: containers.default_image,
                archives: containers.archives,
                mounts: containers.mounts,
                allow_privileged: containers.allow_privileged,
                network: containers.network,
                ssh_ports: containers.ssh_ports,
            },
            machines: Machines {
                enabled: machines.enabled,
                images: Some(vfioctl_image::Library::DEFAULT_FOLDER.into()),
                default_image: "debian-12".parse().ok(),
                default_memory_mib: machines.default_memory_mib,
                ssh_ports: machines.ssh_ports,
                group: Some(MACHINES_GROUP.into()),
            },
            overrides_acs: usual.overrides_acs,
        };
        assert_eq!(Configuration::parse(&with_all), Ok(expected));
        // A default that is left out would not be missed above.
        for key in [
            "data",
            "helper",
            "enabled",
            "default_image",
            "archives",
            "mounts",
            "allow_privileged",
            "network",
            "ssh_ports",
            "default_memory_mib",
            "override",
        ] {
            let is_there = |line: &str| line.starts_with(&format!("{key} = "));
            assert!(with_all.lines().any(is_there), "{key}");
        }
    }

    #[test]
    fn what_is_misspelt_or_does_not_fit_is_named() {
        let cases = [
            ("[runner]\nhots = []", "line 2: unknown field `hots`"),
            (
                "[runner.containers]\n\nssh_ports = [2, 1]",
                "line 3: [2, 1] is not a range",
            ),
            (
                "[runner.machines]\ndefault_memory_mib = 1",
                "[runner.machines] default_memory_mib = 1",
            ),
            (
                "[runner.containers]\nmounts = ['a']",
                "[runner.containers] mounts: 'a'",
            ),
            ("[runners]", "line 1: unknown field `runners`"),
        ];
        for (text, begin) in cases {
            let error = Configuration::parse(text).unwrap_err();
            assert!(error.starts_with(begin), "{text}: {error}");
        }
    }
}
