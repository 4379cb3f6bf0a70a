//! The command line: every verb and option, said once. Help, man pages and completions come from
//! here, so the comments below are manual text.

mod acs;
mod image;
mod vm;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use vfioctl_core::pci::PciAddress;

use crate::completion::complete_address;
use crate::verb::check::CheckArgs;
use crate::verb::setup::SetupArgs;

pub(crate) use acs::AcsVerb;
pub(crate) use image::{CreateImage, ImageVerb, ImportImage, Place};
pub(crate) use vm::{Create, Logs, NetworkArgument, Stop, UefiArgument, VmVerb};

/// Hands GPUs and other PCI devices to virtual machines, and takes them home again.
///
/// Exit status: 0 yes or done, 1 a clear no, 2 it could not be done or not be found out. The
/// answer stands on standard output, everything else on standard error.
#[derive(Debug, Parser)]
#[command(
    name = "vfioctl",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Socket of the helper.
    #[arg(
        long,
        global = true,
        env = "VFIOCTL_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        default_value = vfioctl_protocol::DEFAULT_SOCKET
    )]
    pub(crate) socket: PathBuf,
    /// Answer in JSON, as docs/json.md describes it; errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Tell whether this machine is fit to give devices away, and what to do where it is not.
    Check(CheckArgs),
    /// List the GPUs of this machine, what goes with each, and who has it.
    List {
        /// List every PCI function.
        #[arg(long)]
        all: bool,
    },
    /// Tell everything about one PCI function.
    Show {
        #[command(flatten)]
        device: Device,
    },
    /// List the IOMMU groups, their members, and whether each can be given away.
    Groups(GroupsArgs),
    /// Write what decides over this machine's IOMMU groups into one file, for 'groups --dump'.
    ///
    /// For bug reports: nothing in it tells this machine from another of its kind. Serial numbers,
    /// vital product data and vendors' own registers are left out, and of the kernel's parameters
    /// all but those about the IOMMU and PCI Express. All registers are shown to root only:
    /// 'sudo vfioctl report'. Other users get what the helper says of them, which is enough.
    Report {
        /// The file; standard output without one. One that is there is not written over.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Take a device from its drivers and give it to vfio-pci, with all that goes with it.
    ///
    /// Whatever is in the device's IOMMU group goes with it; for a GPU, all functions of the card
    /// do. You keep it until you release it, or this machine is restarted.
    Bind {
        #[command(flatten)]
        device: Device,
        /// Keep it over restarts too: by address and identity, so that another device in the same
        /// place is never taken. What you have already is only pinned. 'release' ends it.
        #[arg(long)]
        persist: bool,
        /// Print the steps; change nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Give a device back to the drivers it had, with all that was taken with it.
    ///
    /// What '--persist' has pinned is pinned no longer.
    Release {
        #[command(flatten)]
        device: Device,
        /// Print the steps; change nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Take every device home that has no living owner: after a crash, a kill, a reboot.
    ///
    /// Devices that are pinned ('bind --persist') are bound again instead; one that is not there,
    /// or is another one by now, is told and left alone.
    Recover {
        /// Print what would be done; change nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Tell the helper that a PCI device came or went; for udev.
    #[command(hide = true)]
    Hotplug,
    /// Tell and change how ports keep devices apart (Access Control Services).
    #[command(subcommand)]
    Acs(AcsVerb),
    /// Set this machine up to give devices away; what 'check' asks for, as far as files can do it.
    ///
    /// That is the kernel command line (GRUB, systemd-boot, kernel-install), the modules at boot,
    /// the initramfs where devices are pinned, and the limit of locked memory. Shows the steps and
    /// asks before it takes them. What is right already stays untouched; what is edited can be
    /// brought back with '--undo'. Wants root; '--plan' does not.
    Setup(SetupArgs),
    /// Make virtual machines with devices, and look after them.
    #[command(subcommand)]
    Vm(VmVerb),
    /// Keep base images, of which virtual machines are made.
    #[command(subcommand)]
    Image(ImageVerb),
}

/// What `vfioctl groups` shows.
#[derive(Debug, Args)]
pub(crate) struct GroupsArgs {
    /// With --predict or --dump: only the groups of these functions.
    #[arg(value_name = "ADDRESS", add = ArgValueCompleter::new(complete_address))]
    pub(crate) functions: Vec<PciAddress>,
    /// Draw the tree of bridges and what hangs below them.
    #[arg(long)]
    pub(crate) tree: bool,
    /// Tell which groups Linux would make now, why, and where its groups are others.
    ///
    /// A group is chosen when a device is found, and never again: where ACS bits have changed
    /// since, or the kernel was told to believe, its groups are not what the registers keep apart.
    #[arg(long, conflicts_with_all = ["tree", "dump"])]
    pub(crate) predict: bool,
    /// Draw the tree as a picture, with groups as islands, into this file; '-' is standard
    /// output.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
        conflicts_with_all = ["tree", "predict"])]
    pub(crate) svg: Option<PathBuf>,
    /// Tell which groups Linux makes of another machine, and why, from its dump.
    ///
    /// FILE is the output of 'sudo lspci -D -xxxx', of 'sudo vfioctl report', or of any other
    /// lspci, as far as it goes; '-' is standard input. Nothing of this machine is looked at.
    #[arg(long, value_name = "FILE", conflicts_with = "tree")]
    pub(crate) dump: Option<PathBuf>,
    /// With --predict or --dump: as if the machine were booted with its IOMMU switched on.
    ///
    /// Linux switches the ACS bits on when it boots with an IOMMU. A dump that was taken with
    /// the IOMMU off shows them off.
    #[arg(long)]
    pub(crate) at_boot: bool,
}

/// The device that a verb is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct Device {
    /// Address of a PCI function: 0000:01:00.0, or 01:00.0 in domain 0000.
    #[arg(value_name = "ADDRESS", add = ArgValueCompleter::new(complete_address))]
    pub(crate) address: PciAddress,
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::*;

    fn each_verb(command: &Command, look: &mut impl FnMut(&Command)) {
        look(command);
        for verb in command.get_subcommands() {
            each_verb(verb, look);
        }
    }

    fn built() -> Command {
        let mut command = CommandLine::command();
        command.build();
        command
    }

    #[test]
    fn clap_finds_nothing_wrong() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_verb_and_option_says_what_it_does() {
        each_verb(&built(), &mut |verb| {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments() {
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let place = format!("{} {}", verb.get_name(), argument.get_id());
                assert!(!help.is_empty(), "{place}");
                assert!(help.starts_with(char::is_uppercase), "{place}: {help}");
            }
        });
    }

    #[test]
    fn the_help_of_every_verb_names_each_of_its_options() {
        each_verb(&built(), &mut |verb| {
            let help = verb.clone().render_long_help().to_string();
            for argument in verb
                .get_arguments()
                .filter(|argument| !argument.is_hide_set())
            {
                let name = match argument.get_long() {
                    Some(long) => format!("--{long}"),
                    None => argument.get_value_names().unwrap_or_default().join(" "),
                };
                assert!(help.contains(&name), "{}: {name}", verb.get_name());
            }
        });
    }

    #[test]
    fn json_and_socket_stand_before_or_after_the_verb() {
        for line in [
            ["vfioctl", "--json", "--socket", "/s", "list"],
            ["vfioctl", "list", "--json", "--socket", "/s"],
        ] {
            let line = CommandLine::try_parse_from(line).unwrap();
            assert_eq!(
                (line.global.json, line.global.socket),
                (true, PathBuf::from("/s"))
            );
        }
    }

    #[test]
    fn an_address_may_leave_out_the_domain() {
        let line = CommandLine::try_parse_from(["vfioctl", "show", "01:00.1"]).unwrap();
        let Verb::Show { device } = line.verb else {
            panic!("not show")
        };
        assert_eq!(device.address.to_string(), "0000:01:00.1");
    }
}
