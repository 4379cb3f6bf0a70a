//! `task logs` and `vps logs`: what a task wrote, byte by byte, over breaks of the connection.

use std::io::{ErrorKind, IsTerminal as _, Read};

use vfioctl_api::{LogStream, ProblemCode};

use super::progress::{is_over, wait_until};
use crate::Done;
use crate::cluster::{Host, HostError, HostErrorKind, LogPart, Patience};
use crate::command_line::TaskLogs;
use crate::failure::Failure;
use crate::limits;
use crate::output::Output;
use crate::session::Session;
use crate::terminal_text::TerminalText;
use crate::verdict::Verdict;

/// How a log came to its end, for now.
enum Copied {
    /// There is no more of it at the moment.
    All,
    /// Nobody reads what is copied any more.
    Unheard,
}

/// Answers `task logs` and `vps logs`.
pub(super) fn run(arguments: &TaskLogs, host: &Host, session: &mut Session<'_>) -> Done {
    let task = &arguments.task.task;
    let mut terminal = std::io::stdout().is_terminal().then(TerminalText::default);
    let mut part = LogPart {
        log: match arguments.stderr {
            true => LogStream::Stderr,
            false => LogStream::Stdout,
        },
        offset: 0,
        follow: arguments.follow,
    };
    let mut patience = Patience::default();
    loop {
        let before = part.offset;
        let copied = host
            .read_log(task, part)
            .map_err(Stop::Host)
            .and_then(|log| {
                copy(
                    log,
                    host,
                    &mut part.offset,
                    terminal.as_mut(),
                    &mut session.output,
                )
            });
        if part.offset > before {
            patience.restore();
        }
        match copied {
            Ok(Copied::Unheard) => return Ok(Verdict::Yes),
            Ok(Copied::All) if !part.follow => return Ok(Verdict::Yes),
            Ok(Copied::All) => {
                // What was written between the end of that and the end of the task is still to come.
                part.follow = !is_over(&host.task(task)?);
                if part.follow {
                    std::thread::sleep(limits::FIRST_PAUSE);
                }
            }
            Err(Stop::Failure(failure)) => return Err(failure),
            // A task may write nothing for hours. It is asked for anew, in case the way here is broken
            // without anybody having been told.
            Err(Stop::Silence(_)) if part.follow => {}
            Err(Stop::Host(error))
                if part.follow && error.kind.is_problem(ProblemCode::WrongState) =>
            {
                let task = wait_until(host, task, None, &mut session.output, |task| {
                    task.node.is_some() || is_over(task)
                })?;
                if task.node.is_none() {
                    return Err(error.into());
                }
            }
            Err(Stop::Host(error) | Stop::Silence(error)) => {
                patience.bear(error, &mut session.output)?
            }
        }
    }
}

/// Why a log was not copied to its end.
enum Stop {
    /// Nothing came for a while.
    Silence(HostError),
    Host(HostError),
    Failure(Failure),
}

fn copy(
    mut log: impl Read,
    host: &Host,
    offset: &mut u64,
    mut terminal: Option<&mut TerminalText>,
    output: &mut Output<'_>,
) -> Result<Copied, Stop> {
    let mut chunk = vec![0; limits::LOG_CHUNK];
    loop {
        let len = match log.read(&mut chunk) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let error = host.error_of_read(error);
                return Err(match &*error.kind {
                    HostErrorKind::TimedOut(_) => Stop::Silence(error),
                    _ => Stop::Host(error),
                });
            }
        };
        let bytes = chunk.get(..len).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(Copied::All);
        }
        *offset = offset.saturating_add(u64::try_from(len).unwrap_or_default());
        let is_heard = match terminal.as_mut() {
            Some(terminal) => output.write(terminal.harmless(bytes).as_bytes()),
            None => output.write(bytes),
        };
        if !is_heard.map_err(Stop::Failure)? {
            return Ok(Copied::Unheard);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster_sample::task_json;
    use crate::fake_host::{Reply, events, ok, problem, run};

    fn bytes(text: &str, breaks: bool) -> Reply {
        Reply::Bytes(text.as_bytes().to_vec(), breaks)
    }

    #[test]
    fn a_log_is_copied_as_it_is() {
        let log = Reply::Bytes(b"a\0\xff\x1b[0m".to_vec(), false);
        let host = crate::fake_host::FakeHost::start(vec![log]);
        let path = host.folder().join("cluster.json").into_os_string();
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let words = [
            "vfioctl",
            "task",
            "logs",
            "--stderr",
            "training",
            "--cluster",
        ];
        let mut arguments: Vec<_> = words.iter().map(Into::into).collect();
        arguments.push(path);
        let verdict = crate::run(arguments, &mut answer, &mut conversation);
        assert_eq!(
            (verdict, answer.as_slice()),
            (Verdict::Yes, &b"a\0\xff\x1b[0m"[..])
        );
        let asked: Vec<String> = host.end().into_iter().map(|asked| asked.question).collect();
        assert_eq!(
            asked,
            ["GET /v1/tasks/training/log?log=stderr&offset=0&follow=false"]
        );
    }

    #[test]
    fn a_log_that_breaks_off_goes_on_where_it_was() {
        for follow in [false, true] {
            let mut replies = vec![bytes("one ", true), Reply::Hangs, bytes("two ", false)];
            let mut words = vec!["task", "logs", "training"];
            if follow {
                words.push("-f");
                replies.extend([
                    ok(task_json("running")),
                    bytes("three ", false),
                    ok(task_json("failed")),
                ]);
                replies.push(bytes("four", false));
            }
            let outcome = run(&words, replies);
            let text = if follow {
                "one two three four"
            } else {
                "one two "
            };
            assert_eq!(
                (outcome.verdict, outcome.answer.as_str()),
                (Verdict::Yes, text)
            );
            let told =
                "vfioctl: no answer just now; going on as soon as there is one, within 120 s";
            assert_eq!(
                outcome.conversation.matches(told).count(),
                1,
                "{}",
                outcome.conversation
            );
            assert_eq!(
                outcome.questions()[..3],
                [
                    format!("GET /v1/tasks/training/log?log=stdout&offset=0&follow={follow}"),
                    format!("GET /v1/tasks/training/log?log=stdout&offset=4&follow={follow}"),
                    format!("GET /v1/tasks/training/log?log=stdout&offset=4&follow={follow}"),
                ]
            );
            assert!(!outcome.questions().last().unwrap().contains("follow=true"));
        }
    }

    #[test]
    fn a_log_of_a_task_that_waits_is_waited_for() {
        let mut queued = task_json("queued");
        queued["node"] = json!(null);
        queued["reason"] = "no node has room".into();
        let replies = vec![
            problem(409, "wrong_state"),
            events(&[queued.clone(), task_json("assigned")]),
            bytes("hello\n", false),
            ok(task_json("completed")),
            bytes("", false),
        ];
        let outcome = run(&["task", "logs", "-f", "training"], replies);
        assert_eq!(
            (outcome.verdict, outcome.answer.as_str()),
            (Verdict::Yes, "hello\n")
        );
        assert_eq!(
            outcome.conversation,
            "queued: no node has room\nassigned to gpu-1, GPUs 0,1\n"
        );
        let outcome = run(
            &["task", "logs", "training"],
            vec![problem(409, "wrong_state")],
        );
        assert_eq!(outcome.verdict, Verdict::No);
    }
}
