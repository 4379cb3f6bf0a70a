//! Records of CDI specifications.

use serde::Serialize;

/// `vfioctl cdi generate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GeneratedSpecRecord {
    /// The specification; null where there is no GPU to write down.
    pub(crate) spec: Option<serde_json::Value>,
    /// The file that it was written to; null where it was not.
    pub(crate) file: Option<String>,
    /// GPUs that are not in it.
    pub(crate) left_out: Vec<LeftOutRecord>,
}

/// A GPU that is not in a specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LeftOutRecord {
    /// Its address.
    pub(crate) address: String,
    /// Why, as a sentence.
    pub(crate) because: String,
}

/// `vfioctl cdi list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SpecsRecord {
    /// The specifications.
    pub(crate) specs: Vec<SpecFileRecord>,
    /// Files that are none.
    pub(crate) problems: Vec<BrokenSpecRecord>,
}

/// A specification of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SpecFileRecord {
    /// The file.
    pub(crate) file: String,
    /// The kind of its devices.
    pub(crate) kind: String,
    /// The version of the standard that it keeps to.
    pub(crate) version: String,
    /// The devices.
    pub(crate) devices: Vec<CdiDeviceRecord>,
}

/// A device of a specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CdiDeviceRecord {
    /// Its name among all: `nvidia.com/gpu=0`.
    pub(crate) name: String,
    /// Its device nodes on this machine.
    pub(crate) nodes: Vec<String>,
    /// Whether only an engine that knows CDI can give it: it has hooks, or edits that are none of
    /// nodes, mounts and variables.
    pub(crate) needs_engine: bool,
}

/// A file that is no specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BrokenSpecRecord {
    /// The file.
    pub(crate) file: String,
    /// Why not, as a sentence.
    pub(crate) because: String,
}
