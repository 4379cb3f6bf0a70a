//! `vfioctl node` and `vfioctl gpu`: what may be typed.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use vfioctl_api::NodeName;

use super::duration::DurationArgument;
use crate::cluster::complete_node;

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// List the nodes of the cluster: what is taken of each, and whether it is there.
    List,
    /// Tell everything about a node: GPUs and who has them, room, versions, problems.
    #[command(visible_alias = "show")]
    Status(OneNode),
    /// Tell how nodes fare: processors, memory, disk, temperature and power of GPUs.
    ///
    /// Exit status 1 where a node is away or has a problem.
    Health {
        /// The node; all of them without it.
        #[arg(value_name = "NODE", add = ArgValueCompleter::new(complete_node))]
        node: Option<NodeName>,
    },
    /// Tell how a node fares, again and again until interrupted.
    ///
    /// With --json, each look is an object on a line of its own.
    Watch(OneNode),
    /// Tell the whole cluster in numbers.
    Summary,
    /// Place nothing new on a node; what runs there goes on.
    Drain(OneNode),
    /// Place work on a node again.
    Resume(OneNode),
    /// Let a node join: prints the command to run there.
    Invite {
        #[command(flatten)]
        node: OneNode,
        /// How long that command can be used: 30m, 12h, 7d; an hour without this.
        #[arg(long, value_name = "TIME")]
        valid: Option<DurationArgument>,
    },
    /// Remove a node from the cluster, where nothing runs on it.
    Rm(OneNode),
}

/// The node that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct OneNode {
    /// Name of the node.
    #[arg(value_name = "NODE", add = ArgValueCompleter::new(complete_node))]
    pub(crate) node: NodeName,
}

/// What to do with the cluster's GPUs.
#[derive(Debug, Subcommand)]
pub(crate) enum GpuVerb {
    /// List the GPUs of the cluster, each with who has it.
    List {
        /// Those of this node only.
        #[arg(short, long, value_name = "NODE", add = ArgValueCompleter::new(complete_node))]
        node: Option<NodeName>,
    },
}
