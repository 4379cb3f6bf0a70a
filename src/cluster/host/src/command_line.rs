//! The command line of `vfioctl-host`. The comments below are manual text.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use vfioctl_api::{NodeName, UserName};

/// The control plane of a vfioctl cluster: it knows nodes and GPUs, and places work on them.
///
/// Exit status: 0 done, 2 it could not be done.
#[derive(Debug, Parser)]
#[command(
    name = "vfioctl-host",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct CommandLine {
    /// The configuration; its table '[host]' is looked at.
    #[arg(long, global = true, value_name = "FILE", default_value = vfioctl_service::configuration::PATH)]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Answer users and runners, until it is told to end.
    Serve,
    /// Make the cluster's authority, this host's certificate, and the first administrator.
    ///
    /// Prints the administrator's token, once. Before this, nothing listens. Run again, it makes what
    /// is missing and changes nothing that is there; '--token' makes another token for the
    /// administrator, where the first one is lost.
    Init(Init),
    /// Run a host, its store and a runner of this machine together: to try things, on the loopback only.
    ///
    /// Nothing need be configured, and nothing is left when it ends. 'vfioctl' finds it by itself.
    Dev(Dev),
}

/// What a cluster begins with.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A name or address of this host, as users and nodes type it; may be repeated. Its host name and
    /// those of the loopback are always there.
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The first administrator.
    #[arg(long, value_name = "USER", default_value = "admin")]
    pub(crate) admin: UserName,
    /// Make another token for the administrator.
    #[arg(long)]
    pub(crate) token: bool,
}

/// How to try things.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where to listen; a free port of the loopback where nothing is said.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// What this machine is called; its host name where nothing is said.
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<NodeName>,
    /// The program that runs this machine's work; beside this one where nothing is said.
    #[arg(long, value_name = "PATH")]
    pub(crate) runner: Option<PathBuf>,
    /// Run no runner.
    #[arg(long, conflicts_with = "runner")]
    pub(crate) no_runner: bool,
    /// Keep everything in this folder, and over restarts.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Arguments for the runner, as '--engine none'.
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) runner_arguments: Vec<String>,
}
