//! The command `vfioctl`.
//!
//! A call goes through this crate in one direction. `command_line` says what may be typed, and
//! `usage` what was wrong with what was. `session` holds what a call works with: the machine,
//! the socket of the helper, and where words go (`output`). Each verb has a file below `verb`.
//! It asks the `helper`, or looks with the user's own eyes where none answers (`seen`), and
//! fills a record (`record`, by `view` where it is about PCI functions, with `names`). The
//! record is JSON for programs, and text for people (`print`). What goes wrong is a
//! `failure`. A `picture` of the machine is made apart, and put into an `answer_file`. The exit status is a [`Verdict`].
//!
//! The command decides nothing about devices and writes nothing but its answer.
#![forbid(unsafe_code)]

mod answer_file;
mod command_line;
mod completion;
mod failure;
#[cfg(test)]
mod fake_helper;
mod firmware;
mod helper;
mod limits;
mod output;
mod picture;
mod prediction;
mod print;
mod programs;
mod record;
#[cfg(test)]
mod sample;
mod seen;
mod session;
mod state;
mod table;
mod usage;
mod verb;
mod verdict;
mod view;
mod width;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::CompleteEnv;

pub use verdict::Verdict;
use vfioctl_names as names;

use command_line::CommandLine;
use failure::Failure;
use output::Output;
use session::Session;

/// Runs the command with the arguments and ways out of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (mut answer, mut conversation) = (io::stdout().lock(), io::stderr().lock());
    // The shell asks for completions by a variable, and takes them from standard output.
    let folder = std::env::current_dir().ok();
    let completed = CompleteEnv::with_factory(command)
        .try_complete(arguments.iter().cloned(), folder.as_deref());
    match completed {
        Ok(false) => run(arguments, &mut answer, &mut conversation).into(),
        Ok(true) => ExitCode::SUCCESS,
        Err(error) => {
            let text = error.render().to_string();
            let _ = conversation.write_all(text.as_bytes());
            Verdict::CouldNot.into()
        }
    }
}

/// Runs the command: the answer goes to `answer`, everything else to `conversation`.
pub fn run(
    arguments: Vec<OsString>,
    answer: &mut dyn Write,
    conversation: &mut dyn Write,
) -> Verdict {
    let parsed = command()
        .try_get_matches_from(&arguments)
        .and_then(|matches| CommandLine::from_arg_matches(&matches));
    match parsed {
        Ok(line) => {
            let output = Output::new(answer, conversation, line.global.json);
            let mut session = Session::open(line.global.socket, output);
            let done = verb::run(line.verb, &mut session);
            done.unwrap_or_else(|failure| {
                session.output.fail(&failure);
                failure.verdict()
            })
        }
        Err(error) => {
            let json = arguments.iter().any(|argument| argument == "--json");
            let mut output = Output::new(answer, conversation, json);
            usage::answer(&error, &arguments, &mut output)
        }
    }
}

/// The definition of the command line, for man pages and tests of the documentation.
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// What a verb comes to.
type Done = Result<Verdict, Failure>;
