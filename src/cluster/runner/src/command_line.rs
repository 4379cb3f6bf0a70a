//! The command line of `vfioctl-runner`. The comments below are manual text.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use vfioctl_core::pci::PciAddress;

/// The agent of a node in a vfioctl cluster: it reports what the node is, and runs what it is given.
///
/// Exit status: 0 done, 2 it could not be done.
#[derive(Debug, Parser)]
#[command(
    name = "vfioctl-runner",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct CommandLine {
    /// The configuration; its tables '[runner]' and '[acs]' are looked at.
    #[arg(long, global = true, value_name = "FILE", default_value = vfioctl_service::configuration::PATH)]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the agent, until it is told to end. What it has started goes on without it.
    Run,
    /// Join a cluster, with a token of 'vfioctl node invite'.
    ///
    /// Makes a key, which never leaves this machine, and asks the host to certify it. The host is
    /// known by the fingerprint in the token. Run again with another token, it joins anew.
    Join(Join),
    /// Show the GPUs of this node as its runner sees them, with their numbers.
    ///
    /// Looks for itself, whether a runner runs or not. Their numbers are in the runner's data folder,
    /// which only its user and root can read; a GPU that has none yet gets it from the runner.
    Gpus(ShowGpus),
    /// Read GPUs through NVIDIA's library, for the runner, which starts this.
    #[command(hide = true)]
    Nvml(ReadNvml),
    /// Stand between a machine and its network, for the runner, which starts this.
    #[command(hide = true)]
    Relay(crate::machine::Relay),
    /// Run an agent beside 'vfioctl-host dev', which starts it.
    #[command(hide = true)]
    Dev(Dev),
}

/// How to join.
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The host: 'https://host.example:8470'.
    #[arg(value_name = "URL")]
    pub(crate) host: String,
    /// File with the token; '-', or nothing, is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// How to show GPUs.
#[derive(Debug, Args)]
pub(crate) struct ShowGpus {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// A folder of your own in which numbers are given and kept, instead of the runner's.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
}

/// What is read through NVML.
#[derive(Debug, Args)]
pub(crate) struct ReadNvml {
    /// Addresses of the GPUs.
    #[arg(value_name = "ADDRESS")]
    pub(crate) addresses: Vec<PciAddress>,
    /// The library, where it is not the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,
}

/// What 'vfioctl-host dev' says.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The host.
    #[arg(long, value_name = "URL")]
    pub(crate) host: String,
    /// Where everything lies.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// Socket of the container engine; 'none' for no containers.
    #[arg(long, value_name = "PATH")]
    pub(crate) engine: Option<PathBuf>,
    /// The image that containers get where none is named.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) default_image: Option<String>,
    /// Socket of the helper; 'none' for no helper.
    #[arg(long, value_name = "PATH")]
    pub(crate) helper: Option<PathBuf>,
    /// Folder with base images for machines.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) images: Option<PathBuf>,
    /// Address that servers are reached at.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) address: String,
}
