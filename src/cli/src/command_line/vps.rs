//! `vfioctl vps`: what may be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use vfioctl_api::ImageName;

use super::task::{Remove, TaskList, TaskLogs};
use super::work::{ContainerArgs, Needs, OneTask};

/// What to do with servers that stay.
#[derive(Debug, Subcommand)]
pub(crate) enum VpsVerb {
    /// Make a server that stays: in a container, or in a virtual machine with GPUs of its own.
    ///
    /// Prints its number. A machine is always reached by SSH; a container where --ssh or one of
    /// the options for keys stands. Without any of those, your own public keys may come in.
    Create(Box<VpsCreate>),
    /// List servers, the latest first.
    List(TaskList),
    /// Tell everything about a server.
    #[command(visible_alias = "status")]
    Show(OneTask),
    /// Stop a server; its disk is kept, and its GPUs are free for others.
    Stop {
        #[command(flatten)]
        task: OneTask,
        /// Wait until it has stopped.
        #[arg(short, long)]
        wait: bool,
    },
    /// Start a server that was stopped, on its node and with its GPUs.
    Start {
        #[command(flatten)]
        task: OneTask,
        /// Wait until it answers.
        #[arg(short, long)]
        wait: bool,
    },
    /// Stop a server and start it again; its GPUs are given back and taken anew.
    Restart {
        #[command(flatten)]
        task: OneTask,
        /// Wait until it answers.
        #[arg(short, long)]
        wait: bool,
    },
    /// Forget a server that is stopped, with its disk and its log.
    Rm(Remove),
    /// Print what a server wrote; of a machine, its serial console.
    Logs(TaskLogs),
    /// Log in to a server by SSH, or run a command there.
    ///
    /// Nothing is asked: the server's key is known to the cluster, and no other is accepted.
    #[command(alias = "connect")]
    Ssh(Ssh),
}

/// `vps create`.
#[derive(Debug, Args)]
pub(crate) struct VpsCreate {
    #[command(flatten)]
    pub(crate) needs: Needs,
    /// What it runs in; 'container' and 'docker' are one word for it, 'machine' and 'qemu' another.
    #[arg(long, value_name = "BACKEND", default_value = "container")]
    pub(crate) backend: BackendArgument,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
    /// Wait until it answers by SSH, or runs where it has none. Exit status 1 where it failed.
    #[arg(short, long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
}

/// What a server runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendArgument {
    /// A container.
    #[value(alias = "docker")]
    Container,
    /// A virtual machine.
    #[value(alias = "qemu")]
    Machine,
}

/// What a machine is made of.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Machines")]
pub(crate) struct MachineArgs {
    /// Base image of the machine; its node's default without it.
    #[arg(long, value_name = "NAME")]
    pub(crate) vm_image: Option<ImageName>,
    /// Size of the machine's disk in GiB, as 100 or 100G; that of the image without it.
    #[arg(long, value_name = "GIB", value_parser = parse_gib)]
    pub(crate) vm_disk: Option<u32>,
    /// Memory of the machine in MiB; another way to say --memory.
    #[arg(long, value_name = "MIB", conflicts_with = "memory")]
    pub(crate) vm_memory: Option<u64>,
}

/// Who may come in by SSH.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "SSH")]
pub(crate) struct KeyArgs {
    /// Let a container be reached by SSH, with your own public keys: ~/.ssh/id_*.pub.
    #[arg(long)]
    pub(crate) ssh: bool,
    /// Let no key in; the image has its own ways.
    #[arg(long, conflicts_with_all = ["gen_ssh_key", "public_key_file", "public_key_string"])]
    pub(crate) no_ssh_key: bool,
    /// Make a new key for this server; 'vps ssh' then uses it.
    #[arg(long, conflicts_with_all = ["public_key_file", "public_key_string"])]
    pub(crate) gen_ssh_key: bool,
    /// Let in the public keys in this file, one a line.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
        conflicts_with = "public_key_string")]
    pub(crate) public_key_file: Option<PathBuf>,
    /// Let in this public key: 'ssh-ed25519 AAAA...'.
    #[arg(long, value_name = "KEY")]
    pub(crate) public_key_string: Option<String>,
    /// With --gen-ssh-key: write the private key to this file, which must not be there.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "gen_ssh_key")]
    pub(crate) key_out_file: Option<PathBuf>,
}

/// `vps ssh`.
#[derive(Debug, Args)]
pub(crate) struct Ssh {
    #[command(flatten)]
    pub(crate) task: OneTask,
    /// The private key to log in with; the one of --gen-ssh-key, or your own, without it.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) identity: Option<PathBuf>,
    /// Print the command line of ssh; run nothing.
    #[arg(long)]
    pub(crate) print: bool,
    /// A command to run there, behind '--'.
    #[arg(value_name = "COMMAND", last = true)]
    pub(crate) command: Vec<String>,
}

/// A whole number of GiB, with or without its unit.
fn parse_gib(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    match (digits.parse(), unit.to_ascii_lowercase().as_str()) {
        (Ok(gib), "" | "g" | "gb" | "gib") if gib > 0 => Ok(gib),
        _ => Err("a disk is given as a whole number of GiB: 100, or 100G".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_whole_gibibytes() {
        assert_eq!((parse_gib("100"), parse_gib("100G")), (Ok(100), Ok(100)));
        for text in ["", "G", "0", "1.5G", "100M", "-1", "1T"] {
            assert!(parse_gib(text).is_err(), "{text}");
        }
    }
}
