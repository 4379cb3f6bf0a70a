//! The language of a cluster: what its users, its hosts and its runners say to each other.
//!
//! A user asks for work with a [`Submission`]; a host keeps it as a [`Task`] and places it on a
//! node. The node's runner tells what the node is ([`NodeReport`]), how it fares ([`Telemetry`])
//! and how its work goes ([`TaskStatus`]), and is told what to do ([`Order`]), all in one exchange
//! ([`Sync`], [`SyncReply`]). What goes wrong is a [`Problem`].
//!
//! Everything here is JSON over HTTPS (`docs/cluster.md`), and is checked when it is read: a value of
//! one of these types is one that makes sense. Texts that users type ([`Target`], [`MemorySize`])
//! are parsed here too, so that a command and a host cannot understand them differently.
#![forbid(unsafe_code)]

mod access;
mod gpu;
mod memory;
mod mount;
mod name;
mod node;
mod problem;
mod runner;
#[cfg(feature = "openapi")]
mod schema;
mod submission;
mod target;
mod task;
mod view;

pub use access::{
    AddUser, AuditLine, Enrolled, Enrolment, JoinToken, JoinTokenRequest, NewToken, Role,
    TokenRequest, TokenView, User, Version, WhoAmI,
};
pub use gpu::{
    Capability, Gpu, GpuNumber, GpuTelemetry, Holder, HolderKind, InvalidGpuNumber, Vendor,
};
pub use memory::{InvalidMemorySize, MemorySize};
pub use mount::{InvalidMount, Mount};
pub use name::{ArchiveName, ImageName, InvalidName, NodeName, TaskId, TaskName, UserName};
pub use node::{Engine, NodeReport, NumaNode, Telemetry, Versions, VmImage};
pub use problem::{Problem, ProblemCode};
pub use runner::{
    LogOrder, LogStream, Order, Phase, Register, Registered, Run, Sync, SyncReply, TaskStatus,
    Wanted,
};
pub use submission::{
    Backend, Container, GpuMode, GpuRequest, Kind, Machine, SshRequest, Submission, SubmissionError,
};
pub use target::{InvalidTarget, Target};
pub use task::{Exit, SshAccess, Task, TaskState};
pub use view::{Change, GpuUse, GpuView, NodeState, NodeView, Page, Summary, TaskFilter};

/// Version of the API: the first part of every path, `/v1/`.
pub const VERSION: &str = "v1";

/// Where a host listens, unless told otherwise.
pub const DEFAULT_PORT: u16 = 8470;

/// A moment: milliseconds since 1970, UTC.
pub type Moment = u64;

/// A number of the store's that grows with every change.
pub type Revision = u64;
