//! Which cluster is asked, and how one gets to know it: what may be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::late::Late;
use super::node::{GpuVerb, NodeVerb};
use super::people::{TokenVerb, UserVerb};
use super::task::TaskVerb;
use super::vps::VpsVerb;
use crate::cluster::{Fingerprint, HostUrl};
use crate::limits;

/// What to do in a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// Run commands in containers on the nodes of a cluster.
    Task(Late<Asked<TaskVerb>>),
    /// Make servers that stay on the nodes of a cluster: containers, and machines with GPUs.
    Vps(Late<Asked<VpsVerb>>),
    /// Look at the nodes of a cluster, and look after them.
    Node(Late<Asked<NodeVerb>>),
    /// Look at the GPUs of a cluster.
    Gpu(Late<Asked<GpuVerb>>),
    /// Look after the users of a cluster.
    User(Late<Asked<UserVerb>>),
    /// Look after tokens.
    Token(Late<Asked<TokenVerb>>),
    /// Tell who changed what in a cluster, through the host that is asked, the latest last.
    Audit(Late<Audit>),
    /// Get to know a cluster: which host to ask, whom to trust there, and your token.
    ///
    /// Asks for the token, or reads it from standard input. Where neither --authority nor
    /// --fingerprint says whom to trust, shows the fingerprint of the cluster's authority and asks;
    /// its administrator knows which it is, and so does whoever has logged in already: 'vfioctl
    /// whoami'. Everything is written to cluster.json in your folder for configuration,
    /// readable by you alone.
    Login(Late<Login>),
    /// Forget the cluster that 'login' got to know. The token stays one: 'token revoke' ends that.
    Logout(Late<Logout>),
    /// Tell which cluster is asked, and as whom.
    Whoami(Late<ClusterArgs>),
}

/// A verb that has verbs below it, and the cluster that they ask.
#[derive(Debug, Args)]
pub(crate) struct Asked<V: Subcommand> {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(subcommand)]
    pub(crate) verb: V,
}

/// `vfioctl audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// At most so many lines.
    #[arg(short, long, value_name = "NUMBER", default_value_t = limits::AUDIT,
        value_parser = clap::value_parser!(u32).range(1..=limits::MOST_AUDIT))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Which cluster is asked; for every verb that asks one.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// URL of the cluster's host: https://NAME[:PORT]; the one of 'vfioctl login' without this.
    ///
    /// With it, VFIOCTL_TOKEN holds the token that shows who asks, and --authority names whom to
    /// trust; what is missing comes from the file of 'vfioctl login', if that is about this host.
    #[arg(
        long,
        global = true,
        env = "VFIOCTL_HOST",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) host: Option<HostUrl>,
    /// Certificate of the cluster's authority, in PEM: the only one that is trusted.
    #[arg(long, global = true, env = "VFIOCTL_AUTHORITY", hide_env_values = true,
        value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) authority: Option<PathBuf>,
    /// Another file than that of 'vfioctl login', for those who use several clusters.
    #[arg(long, global = true, env = "VFIOCTL_CLUSTER", hide_env_values = true,
        value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster: Option<PathBuf>,
}

/// `vfioctl login`.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// URL of the cluster's host: https://NAME[:PORT], or only its name; the port is 8470 otherwise.
    #[arg(value_name = "URL")]
    pub(crate) host: HostUrl,
    /// Trust the authority with this certificate, in PEM.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) authority: Option<PathBuf>,
    /// Trust the authority whose certificate has this SHA-256.
    #[arg(long, value_name = "SHA256", conflicts_with = "authority")]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Read the token from this file, instead of asking for it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Write to this file, instead of cluster.json in your folder for configuration.
    #[arg(long, env = "VFIOCTL_CLUSTER", hide_env_values = true, value_name = "FILE",
        value_hint = ValueHint::FilePath)]
    pub(crate) cluster: Option<PathBuf>,
}

/// `vfioctl logout`.
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// Remove this file, instead of cluster.json in your folder for configuration.
    #[arg(long, env = "VFIOCTL_CLUSTER", hide_env_values = true, value_name = "FILE",
        value_hint = ValueHint::FilePath)]
    pub(crate) cluster: Option<PathBuf>,
}
