//! Targets: where work shall go, as users type it: `node`, `node:numa`, `node::0,1`,
//! `node:numa::0,1`.

use std::fmt;
use std::str::FromStr;

use crate::{GpuNumber, InvalidName, NodeName};

/// Where work shall go.
///
/// ```
/// use vfioctl_api::Target;
/// let target: Target = "mynode:1::0,2".parse()?;
/// assert_eq!(target.node.as_str(), "mynode");
/// assert_eq!(target.numa, Some(1));
/// assert_eq!(target.gpus.len(), 2);
/// assert_eq!(target.to_string(), "mynode:1::0,2");
/// # Ok::<(), vfioctl_api::InvalidTarget>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// The node.
    pub node: NodeName,
    /// The NUMA node of its processors and memory.
    pub numa: Option<u32>,
    /// The GPUs, by their numbers on that node, as they were named.
    pub gpus: Vec<GpuNumber>,
}

/// Why a text is not a target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// The part before the first colon is not a node.
    Node(InvalidName),
    /// The part between node and GPUs is not a NUMA node.
    Numa(String),
    /// There is nothing behind the two colons.
    NoGpus,
    /// Something behind the two colons is not a GPU's number.
    Gpu(String),
    /// A GPU is named twice.
    SameGpu(GpuNumber),
    /// More GPUs than any node has.
    TooManyGpus(usize),
}

impl Target {
    /// GPUs that may be named: more than any node has.
    pub const MAX_GPUS: usize = 64;
    /// The greatest NUMA node (`CONFIG_NODES_SHIFT` of Linux is 10 at most).
    pub const MAX_NUMA: u32 = 1023;
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let (place, gpus) = match text.split_once("::") {
            Some((place, gpus)) => (place, Some(gpus)),
            None => (text, None),
        };
        let (node, numa) = match place.split_once(':') {
            Some((node, numa)) => (node, Some(numa)),
            None => (place, None),
        };
        let node = node.parse().map_err(InvalidTarget::Node)?;
        let numa = numa.map(parse_numa).transpose()?;
        let gpus = gpus.map_or_else(|| Ok(Vec::new()), parse_gpus)?;
        Ok(Self { node, numa, gpus })
    }
}

fn parse_numa(text: &str) -> Result<u32, InvalidTarget> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| is_number && *number <= Target::MAX_NUMA)
        .ok_or_else(|| InvalidTarget::Numa(text.to_owned()))
}

fn parse_gpus(text: &str) -> Result<Vec<GpuNumber>, InvalidTarget> {
    if text.is_empty() {
        return Err(InvalidTarget::NoGpus);
    }
    let mut gpus: Vec<GpuNumber> = Vec::new();
    for word in text.split(',') {
        let gpu = word
            .parse()
            .map_err(|_| InvalidTarget::Gpu(word.to_owned()))?;
        if gpus.contains(&gpu) {
            return Err(InvalidTarget::SameGpu(gpu));
        }
        gpus.push(gpu);
    }
    if gpus.len() > Target::MAX_GPUS {
        return Err(InvalidTarget::TooManyGpus(gpus.len()));
    }
    Ok(gpus)
}

impl TryFrom<String> for Target {
    type Error = InvalidTarget;

    fn try_from(text: String) -> Result<Self, InvalidTarget> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        if let Some(numa) = self.numa {
            write!(f, ":{numa}")?;
        }
        for (index, gpu) in self.gpus.iter().enumerate() {
            let before = if index == 0 { "::" } else { "," };
            write!(f, "{before}{gpu}")?;
        }
        Ok(())
    }
}

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &String| format!("'{}'", text.escape_debug());
        match self {
            Self::Node(error) => write!(f, "a target begins with a node; {error}"),
            Self::Numa(text) => write!(f, "{} is not the number of a NUMA node", quoted(text)),
            Self::NoGpus => f.write_str("the GPUs are missing behind '::', as in 'node::0,1'"),
            Self::Gpu(text) => write!(
                f,
                "{} is not the number of a GPU, as in 'node::0,1'",
                quoted(text)
            ),
            Self::SameGpu(gpu) => write!(f, "GPU {gpu} is named twice"),
            Self::TooManyGpus(count) => {
                write!(f, "{count} GPUs are more than {}", Target::MAX_GPUS)
            }
        }
    }
}

impl std::error::Error for InvalidTarget {}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(node: &str, numa: Option<u32>, gpus: &[u16]) -> Target {
        Target {
            node: node.parse().unwrap(),
            numa,
            gpus: gpus.iter().copied().map(GpuNumber::from).collect(),
        }
    }

    #[test]
    fn every_form_of_the_guide_is_one() {
        let cases = [
            ("node", target("node", None, &[])),
            ("node:0", target("node", Some(0), &[])),
            ("node::2", target("node", None, &[2])),
            ("node::0,1", target("node", None, &[0, 1])),
            ("node:1::1,0", target("node", Some(1), &[1, 0])),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("node:", InvalidTarget::Numa(String::new())),
            ("node:x", InvalidTarget::Numa("x".into())),
            ("node:+1", InvalidTarget::Numa("+1".into())),
            ("node:9999", InvalidTarget::Numa("9999".into())),
            ("node::", InvalidTarget::NoGpus),
            ("node::0,", InvalidTarget::Gpu(String::new())),
            ("node::a", InvalidTarget::Gpu("a".into())),
            ("node::0:1", InvalidTarget::Gpu("0:1".into())),
            ("node::1,1", InvalidTarget::SameGpu(GpuNumber::from(1))),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Target>(), Err(expected), "{text}");
        }
        assert!(matches!(
            "::0".parse::<Target>(),
            Err(InvalidTarget::Node(_))
        ));
        let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
        let many = format!("node::{}", many.join(","));
        assert_eq!(many.parse::<Target>(), Err(InvalidTarget::TooManyGpus(65)));
    }
}
