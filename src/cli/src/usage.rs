//! Usage: what clap has to say, as this command says things: help as an answer, errors as one
//! line and where to read more.

use std::ffi::OsString;

use clap::Command;
use clap::error::ErrorKind;

use crate::command;
use crate::failure::Failure;
use crate::output::Output;
use crate::verdict::Verdict;

/// Answers a command line that is no call: asked for help, or wrong.
pub(crate) fn answer(
    error: &clap::Error,
    arguments: &[OsString],
    output: &mut Output<'_>,
) -> Verdict {
    let failure = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match output.write(error.render().to_string().as_bytes()) {
                Ok(_) => return Verdict::Yes,
                Err(failure) => failure,
            }
        }
        _ => find_failure(error, arguments),
    };
    output.fail(&failure);
    failure.verdict()
}

fn find_failure(error: &clap::Error, arguments: &[OsString]) -> Failure {
    // Verbs below verbs are defined when they are needed, as here.
    let mut command = command();
    command.build();
    let verb = verb_of(&command, arguments);
    let what = match error.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "the verb is missing".to_owned()
        }
        _ => first_paragraph(&error.render().to_string()),
    };
    Failure::usage(what).hint(format!("'{verb} --help'"))
}

/// The first paragraph of clap's words, on one line. The others repeat the usage.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.lines().take_while(|line| !line.trim().is_empty());
    let line = paragraph.map(str::trim).collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ")
        .map_or(line.clone(), str::to_owned)
}

/// The verb that was typed, as far as it is one: `vfioctl vm stop`.
fn verb_of(command: &Command, arguments: &[OsString]) -> String {
    let (mut verb, mut name) = (command, command.get_name().to_owned());
    for argument in arguments.iter().skip(1) {
        if let Some(next) = verb.find_subcommand(argument) {
            name = format!("{name} {}", next.get_name());
            verb = next;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> (Verdict, String, String) {
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let arguments = words.iter().map(OsString::from).collect();
        let verdict = crate::run(arguments, &mut answer, &mut conversation);
        (
            verdict,
            String::from_utf8(answer).unwrap(),
            String::from_utf8(conversation).unwrap(),
        )
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        let cases: [(&[&str], &str, &str); 10] = [
            (&["vfioctl"], "the verb is missing", "vfioctl"),
            (&["vfioctl", "vm"], "the verb is missing", "vfioctl vm"),
            (
                &["vfioctl", "lsit"],
                "unrecognized subcommand 'lsit'",
                "vfioctl",
            ),
            (
                &["vfioctl", "list", "--al"],
                "unexpected argument '--al' found",
                "vfioctl list",
            ),
            (
                &["vfioctl", "show"],
                "the following required arguments were not provided: <ADDRESS>",
                "vfioctl show",
            ),
            (
                &["vfioctl", "show", "0000:0x:00.0"],
                "invalid value '0000:0x:00.0' for '<ADDRESS>': \
                 the bus is two hexadecimal digits, '00' to 'ff'",
                "vfioctl show",
            ),
            (
                &["vfioctl", "bind", "0000:01:00.8"],
                "invalid value '0000:01:00.8' for '<ADDRESS>': \
                 the function is a digit from '0' to '7'",
                "vfioctl bind",
            ),
            (
                &["vfioctl", "vm", "create", "a", "--memory", "4GB"],
                "invalid value '4GB' for '--memory <SIZE>': \
                 memory is given as '16GiB', '512MiB', or a whole number of MiB",
                "vfioctl vm create",
            ),
            (
                &[
                    "vfioctl", "vm", "create", "a", "--memory", "1GiB", "--disk", "d",
                ],
                "invalid value 'd' for '--disk <DISK>': \
                 its name does not tell the format: add ',format=raw' or ',format=qcow2'",
                "vfioctl vm create",
            ),
            (
                &["vfioctl", "vm", "stop", "Win"],
                "invalid value 'Win' for '<NAME>': \
                 a machine name is 1 to 40 lower-case letters, digits and inner dashes",
                "vfioctl vm stop",
            ),
        ];
        for (words, what, verb) in cases {
            let text = format!("vfioctl: {what}\n  try: '{verb} --help'\n");
            assert_eq!(
                told(words),
                (Verdict::CouldNot, String::new(), text),
                "{words:?}"
            );
        }
    }

    #[test]
    fn a_program_is_told_in_json() {
        let (verdict, answer, _) = told(&["vfioctl", "show", "x", "--json"]);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(verdict, Verdict::CouldNot);
        assert_eq!(answer["error"]["name"], "Usage");
    }

    #[test]
    fn help_is_an_answer() {
        let (verdict, answer, conversation) = told(&["vfioctl", "bind", "--help"]);
        assert_eq!((verdict, conversation.as_str()), (Verdict::Yes, ""));
        assert_eq!(answer.lines().next().map(str::is_empty), Some(false));
    }
}
