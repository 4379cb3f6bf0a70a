//! Options that are defined when they are needed, and not at every start.
//!
//! To define all options takes a good part of the time of a short call. Those of verbs that have verbs
//! below them are defined when such a verb is typed.

use clap::{ArgMatches, Command, Error, FromArgMatches, Subcommand};

/// Verbs that are defined when the verb above them is typed.
#[derive(Debug, Clone)]
pub(crate) struct Late<A>(pub(crate) A);

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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::command_line::CommandLine;

    #[test]
    fn verbs_below_verbs_are_defined_when_those_are_typed() {
        for name in ["acs", "vm"] {
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
