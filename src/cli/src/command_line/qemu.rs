//! `vfioctl qemu`: the names that some verbs have in guides for nodes with QEMU.
//!
//! Each is another name of a verb and nothing more.

use clap::Subcommand;

use super::{AcsVerb, ImageVerb, Late, Verb, VmVerb};
use crate::verb::check::CheckArgs;

/// Other names of verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum QemuVerb {
    /// Another name of 'vfioctl check'.
    Check(CheckArgs),
    /// Another name of 'vfioctl acs override', for every GPU.
    AcsOverride {
        /// Print the steps and the groups afterwards; change nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Another name of 'vfioctl image'.
    #[command(subcommand)]
    Image(ImageVerb),
    /// Another name of 'vfioctl vm list --all'.
    Instances,
    /// Another name of 'vfioctl recover'.
    Cleanup {
        /// Print what would be done; change nothing.
        #[arg(long)]
        plan: bool,
    },
}

impl QemuVerb {
    /// The verb that is meant.
    pub(crate) fn verb(self) -> Verb {
        match self {
            Self::Check(arguments) => Verb::Check(arguments),
            Self::AcsOverride { plan } => Verb::Acs(Late(AcsVerb::Override {
                devices: Vec::new(),
                plan,
            })),
            Self::Image(verb) => Verb::Image(Late(verb)),
            Self::Instances => Verb::Vm(Late(VmVerb::List { all: true })),
            Self::Cleanup { plan } => Verb::Recover { plan },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::fake_helper::{last, run};

    #[test]
    fn each_is_another_name_of_a_verb() {
        let machines = || vec![last(json!({"machines": []}))];
        let cases = [
            (
                ["qemu", "instances"],
                vec!["vm", "list", "--all"],
                machines(),
            ),
            (
                ["qemu", "cleanup"],
                vec!["recover"],
                vec![last(json!({"recovered": []}))],
            ),
        ];
        for (other, own, replies) in cases {
            let outcomes = [&other[..], &own]
                .map(|words| run(vfioctl_protocol::LEVEL, words, replies.clone()));
            let [other, own] = outcomes;
            assert_eq!(other, own);
            assert_eq!(own.asked.len(), 1);
        }
        let refused = || vec![crate::fake_helper::refused("NoGroup")];
        let words = [
            &["qemu", "acs-override", "--plan"][..],
            &["acs", "override", "--plan"],
        ];
        let [other, own] = words.map(|words| run(vfioctl_protocol::LEVEL, words, refused()));
        assert_eq!(other, own);
    }
}
