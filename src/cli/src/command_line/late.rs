//! Options that are defined when they are needed, and not at every start.
//!
//! To define two hundred options takes half of the time of a short call. Those of verbs that have verbs
//! below them, and of everything that asks a cluster, are defined when such a verb is typed.

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Subcommand};

/// Options, or verbs, that are defined when the verb above them is typed.
#[derive(Debug, Clone)]
pub(crate) struct Late<A>(pub(crate) A);

impl<A: Args> Args for Late<A> {
    fn augment_args(command: Command) -> Command {
        command.defer(define::<A>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S: Subcommand> Subcommand for Late<S> {
    fn augment_subcommands(command: Command) -> Command {
        command.defer(S::augment_subcommands)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        S::has_subcommand(name)
    }
}

impl<A: FromArgMatches> FromArgMatches for Late<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        A::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

fn define<A: Args>(command: Command) -> Command {
    // What the verb says of itself counts, and not the comment of the structure behind it.
    let (about, long) = (
        command.get_about().cloned(),
        command.get_long_about().cloned(),
    );
    A::augment_args(command)
        .about(Resettable::from(about))
        .long_about(Resettable::from(long))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::command_line::CommandLine;

    #[test]
    fn verbs_below_verbs_are_defined_when_those_are_typed() {
        for name in ["acs", "vm", "task", "qemu"] {
            let count = |command: &clap::Command| {
                let verb = command.find_subcommand(name).unwrap();
                let count = verb.get_subcommands().count();
                (count > 0, verb.get_about().is_some())
            };
            let mut command = CommandLine::command();
            assert_eq!(count(&command), (false, true), "{name}");
            command.build();
            assert_eq!(count(&command), (true, true), "{name}");
        }
    }
}
