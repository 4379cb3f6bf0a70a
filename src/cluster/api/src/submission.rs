//! Submissions: work, as a user asks for it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ArchiveName, ImageName, MemorySize, Mount, Target, TaskName};

/// Work, as a user asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Submission {
    /// A command that ends, or a server that stays.
    pub kind: Kind,
    /// What its user calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<TaskName>,
    /// What it runs in.
    pub backend: Backend,
    /// Where it shall go; absent: wherever there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// GPUs that are not named but described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<GpuRequest>,
    /// Whether containers share its GPUs with others.
    #[serde(default)]
    pub gpu_mode: GpuMode,
    /// Processors.
    #[serde(default = "one")]
    pub cores: u32,
    /// Memory; absent: no limit for a container, the node's default for a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySize>,
    /// That it shall be reached by SSH, and with which keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshRequest>,
    /// Whether it waits where what it names is taken now, and is not refused.
    #[serde(default)]
    pub queue: bool,
}

fn one() -> u32 {
    1
}

/// What kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Kind {
    /// A command that ends.
    Command,
    /// A virtual private server, which stays until it is stopped.
    Vps,
}

/// What work runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Backend {
    /// A container.
    Container(Container),
    /// A virtual machine.
    Machine(Machine),
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Container {
    /// What it runs; for a server that stays, absent: it waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Image of a registry, or one that the node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Archive in the node's folder of archives, instead of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveName>,
    /// Folders of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Folder that the command starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_folder: Option<String>,
    /// Whether it has every right on the node, where the node allows that to anybody.
    #[serde(default)]
    pub privileged: bool,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Machine {
    /// Base image; absent: the node's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageName>,
    /// Size of its disk in GiB; absent: that of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gib: Option<u32>,
}

/// GPUs that are described and not named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GpuRequest {
    /// How many.
    pub count: u16,
    /// A part of the model's name, in any case: `4090`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The least memory of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_min: Option<MemorySize>,
}

/// Whether containers share GPUs. A machine never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum GpuMode {
    /// With any other container that shares.
    #[default]
    Shared,
    /// With nobody.
    Exclusive,
}

/// That work shall be reached by SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SshRequest {
    /// Public keys that may come in, in OpenSSH's form.
    pub keys: Vec<String>,
}

/// Why a submission makes no sense, whatever the cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmissionError {
    /// A command without words.
    NoCommand,
    /// A command for a machine.
    CommandInMachine,
    /// An image and an archive.
    ImageAndArchive,
    /// The name of an image has characters that no image has.
    Image(String),
    /// Something is longer than anybody needs.
    TooLong {
        /// What.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A number is outside its bounds.
    Number {
        /// What.
        what: &'static str,
        /// What it is.
        is: u64,
        /// The least.
        least: u64,
        /// The greatest.
        greatest: u64,
    },
    /// GPUs are named and described.
    NamedAndDescribed,
    /// Text with characters in it that do not belong there.
    Text(&'static str),
    /// Not a public key of SSH.
    Key(String),
    /// A name of the environment that is none.
    Variable(String),
    /// A mount twice at one place.
    SameMount(String),
}

impl Submission {
    /// Processors of one task: more than any node has.
    pub const MAX_CORES: u32 = 4096;
    /// GPUs of one task.
    pub const MAX_GPUS: u16 = 64;
    /// Words of a command; `execve(2)` would take more, a shell script is better then.
    pub const MAX_WORDS: usize = 1024;
    /// Bytes of a command, and of an environment: below what `execve(2)` takes for one word.
    pub const MAX_BYTES: usize = 96 << 10;
    /// Variables of an environment.
    pub const MAX_VARIABLES: usize = 256;
    /// Mounts of a container.
    pub const MAX_MOUNTS: usize = 32;
    /// Keys that may come in.
    pub const MAX_KEYS: usize = 32;
    /// Bytes of a key: one of RSA with 16384 bits has 2900.
    pub const MAX_KEY_BYTES: usize = 4096;
    /// GiB of a machine's disk.
    pub const MAX_DISK_GIB: u32 = 64 << 10;
    /// Bytes of an image's name: the registries' own limit is 255 for each part.
    const MAX_IMAGE_BYTES: usize = 512;
    /// Bytes of a model's name.
    const MAX_MODEL_BYTES: usize = 64;

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`SubmissionError`].
    pub fn check(&self) -> Result<(), SubmissionError> {
        number("cores", self.cores, 1, Self::MAX_CORES)?;
        if let Some(memory) = self.memory {
            // Docker refuses less than 6 MiB; a machine needs some to boot.
            number("memory in MiB", memory.mib(), 6_u64, MemorySize::MAX.mib())?;
        }
        if let Some(gpus) = &self.gpus {
            gpus.check()?;
            if self
                .target
                .as_ref()
                .is_some_and(|target| !target.gpus.is_empty())
            {
                return Err(SubmissionError::NamedAndDescribed);
            }
        }
        match &self.backend {
            Backend::Container(container) => container.check(self.kind)?,
            Backend::Machine(_) if self.kind == Kind::Command => {
                return Err(SubmissionError::CommandInMachine);
            }
            Backend::Machine(machine) => {
                if let Some(gib) = machine.disk_gib {
                    number("size of the disk in GiB", gib, 1, Self::MAX_DISK_GIB)?;
                }
            }
        }
        self.ssh.as_ref().map_or(Ok(()), SshRequest::check)
    }

    /// How many GPUs are asked for.
    pub fn gpu_count(&self) -> usize {
        let named = self.target.as_ref().map_or(0, |target| target.gpus.len());
        let described = self.gpus.as_ref().map_or(0, |gpus| usize::from(gpus.count));
        named + described
    }

    /// Whether it is a machine.
    pub fn is_machine(&self) -> bool {
        matches!(self.backend, Backend::Machine(_))
    }
}

impl GpuRequest {
    fn check(&self) -> Result<(), SubmissionError> {
        number("number of GPUs", self.count, 1, Submission::MAX_GPUS)?;
        match &self.model {
            Some(model) => text("model of a GPU", model, Submission::MAX_MODEL_BYTES),
            None => Ok(()),
        }
    }
}

impl Container {
    fn check(&self, kind: Kind) -> Result<(), SubmissionError> {
        if kind == Kind::Command && self.command.first().is_none_or(String::is_empty) {
            return Err(SubmissionError::NoCommand);
        }
        at_most(
            "number of words of the command",
            self.command.len(),
            Submission::MAX_WORDS,
        )?;
        let bytes = self.command.iter().map(String::len).sum();
        at_most("length of the command", bytes, Submission::MAX_BYTES)?;
        if self.command.iter().any(|word| word.contains('\0')) {
            return Err(SubmissionError::Text("command"));
        }
        if self.image.is_some() && self.archive.is_some() {
            return Err(SubmissionError::ImageAndArchive);
        }
        if let Some(image) = &self.image
            && !is_image(image)
        {
            return Err(SubmissionError::Image(image.clone()));
        }
        at_most(
            "number of mounts",
            self.mounts.len(),
            Submission::MAX_MOUNTS,
        )?;
        for (index, mount) in self.mounts.iter().enumerate() {
            let earlier = self.mounts.iter().take(index);
            if earlier
                .into_iter()
                .any(|other| other.target == mount.target)
            {
                return Err(SubmissionError::SameMount(mount.target.clone()));
            }
        }
        at_most(
            "number of variables",
            self.environment.len(),
            Submission::MAX_VARIABLES,
        )?;
        let bytes = self
            .environment
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        at_most("length of the environment", bytes, Submission::MAX_BYTES)?;
        for (name, value) in &self.environment {
            if !is_variable(name) || value.contains('\0') {
                return Err(SubmissionError::Variable(name.clone()));
            }
        }
        match &self.working_folder {
            Some(folder) if !folder.starts_with('/') => {
                Err(SubmissionError::Text("working folder"))
            }
            Some(folder) => text("working folder", folder, 4095),
            None => Ok(()),
        }
    }
}

impl SshRequest {
    fn check(&self) -> Result<(), SubmissionError> {
        at_most("number of keys", self.keys.len(), Submission::MAX_KEYS)?;
        let wrong = self.keys.iter().find(|key| !is_public_key(key));
        wrong.map_or(Ok(()), |key| {
            Err(SubmissionError::Key(key.chars().take(40).collect()))
        })
    }
}

/// A public key on one line, as `authorized_keys` has it (`sshd(8)`), without options: those could
/// run commands.
fn is_public_key(line: &str) -> bool {
    const KINDS: [&str; 8] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "ssh-dss",
    ];
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    let key = words.next().unwrap_or_default();
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    line.len() <= Submission::MAX_KEY_BYTES
        && !line.chars().any(char::is_control)
        && KINDS.contains(&kind)
        && key.len() >= 16
        && key.bytes().all(is_base64)
}

/// `[registry/]name[:tag][@digest]`: what the distribution specification allows and a little more.
fn is_image(text: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
    (1..=Submission::MAX_IMAGE_BYTES).contains(&text.len())
        && text.bytes().all(is_sign)
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !name.chars().any(char::is_control)
}

fn number<N: Into<u64> + Copy>(
    what: &'static str,
    is: N,
    least: N,
    greatest: N,
) -> Result<(), SubmissionError> {
    let (is, least, greatest) = (is.into(), least.into(), greatest.into());
    if (least..=greatest).contains(&is) {
        return Ok(());
    }
    Err(SubmissionError::Number {
        what,
        is,
        least,
        greatest,
    })
}

fn at_most(what: &'static str, is: usize, limit: usize) -> Result<(), SubmissionError> {
    if is <= limit {
        Ok(())
    } else {
        Err(SubmissionError::TooLong { what, limit })
    }
}

fn text(what: &'static str, text: &str, limit: usize) -> Result<(), SubmissionError> {
    at_most(what, text.len(), limit)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(SubmissionError::Text(what));
    }
    Ok(())
}

impl fmt::Display for SubmissionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("there is no command to run"),
            Self::CommandInMachine => {
                f.write_str("a command runs in a container; a machine is a server that stays")
            }
            Self::ImageAndArchive => {
                f.write_str("an image and an archive are named; it is one of them")
            }
            Self::Image(image) => {
                write!(f, "'{}' is not the name of an image", image.escape_debug())
            }
            Self::TooLong { what, limit } => write!(f, "the {what} is above {limit}"),
            Self::Number {
                what,
                is,
                least,
                greatest,
            } => write!(f, "{is} as {what} is outside {least} to {greatest}"),
            Self::NamedAndDescribed => {
                f.write_str("GPUs are named by the target and described as well; it is one of them")
            }
            Self::Text(what) => write!(
                f,
                "the {what} is empty, not absolute, or has control characters in it"
            ),
            Self::Key(key) => write!(
                f,
                "'{}' is not a public key of SSH, as in '~/.ssh/id_ed25519.pub'",
                key.escape_debug()
            ),
            Self::Variable(name) => {
                write!(
                    f,
                    "'{}' is not a variable of an environment",
                    name.escape_debug()
                )
            }
            Self::SameMount(target) => {
                write!(f, "two folders are mounted at '{}'", target.escape_debug())
            }
        }
    }
}

impl std::error::Error for SubmissionError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Submission {
        Submission {
            kind: Kind::Command,
            name: None,
            backend: Backend::Container(Container {
                command: words.iter().map(|word| (*word).to_owned()).collect(),
                ..Container::default()
            }),
            target: "node::0".parse().ok(),
            gpus: None,
            gpu_mode: GpuMode::Shared,
            cores: 1,
            memory: None,
            ssh: None,
            queue: false,
        }
    }

    fn container(change: impl FnOnce(&mut Container)) -> Submission {
        let mut submission = command(&["true"]);
        if let Backend::Container(container) = &mut submission.backend {
            change(container);
        }
        submission
    }

    #[test]
    fn the_guide_makes_sense() {
        assert_eq!(command(&["python", "train.py"]).check(), Ok(()));
        let text = r#"{"kind": "vps", "backend": {"machine": {}}, "target": "mynode::0", "memory": 16384, "cores": 8}"#;
        let machine: Submission = serde_json::from_str(text).unwrap();
        assert_eq!((machine.check(), machine.gpu_count()), (Ok(()), 1));
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let text = r#"{"kind": "vps", "backend": {"machine": {}}, "core": 8}"#;
        assert!(serde_json::from_str::<Submission>(text).is_err());
        let text = r#"{"kind": "vps", "backend": {"container": {"privilegd": true}}}"#;
        assert!(serde_json::from_str::<Submission>(text).is_err());
    }

    #[test]
    fn each_bound_is_kept() {
        assert_eq!(command(&[]).check(), Err(SubmissionError::NoCommand));
        assert_eq!(command(&[""]).check(), Err(SubmissionError::NoCommand));
        let mut none = command(&["a"]);
        none.cores = 0;
        assert!(matches!(
            none.check(),
            Err(SubmissionError::Number { is: 0, .. })
        ));
        let mut both = command(&["a"]);
        both.gpus = Some(GpuRequest {
            count: 1,
            model: None,
            memory_min: None,
        });
        assert_eq!(both.check(), Err(SubmissionError::NamedAndDescribed));
        let mut machine = command(&["a"]);
        machine.backend = Backend::Machine(Machine::default());
        assert_eq!(machine.check(), Err(SubmissionError::CommandInMachine));
        let both = container(|c| {
            c.image = Some("a".into());
            c.archive = "a".parse().ok();
        });
        assert_eq!(both.check(), Err(SubmissionError::ImageAndArchive));
        for image in ["", "-x", "a b", "a\n", "a;b", "$(a)"] {
            let wrong = container(|c| c.image = Some(image.into()));
            assert_eq!(wrong.check(), Err(SubmissionError::Image(image.into())));
        }
        let right = container(|c| c.image = Some("reg.example:5000/a/b:1.0@sha256:ab".into()));
        assert_eq!(right.check(), Ok(()));
        let wrong = container(|c| drop(c.environment.insert("A=B".into(), String::new())));
        assert_eq!(wrong.check(), Err(SubmissionError::Variable("A=B".into())));
        let long = container(|c| c.command = vec!["x".repeat(Submission::MAX_BYTES + 1)]);
        assert!(matches!(long.check(), Err(SubmissionError::TooLong { .. })));
    }

    #[test]
    fn keys_carry_no_options_and_no_second_line() {
        let good = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here";
        assert!(is_public_key(good));
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 !",
            "command=\"sh\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert!(!is_public_key(bad), "{bad:?}");
        }
    }
}
