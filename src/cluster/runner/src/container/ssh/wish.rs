//! What a session runs, in words for an engine.

use super::farewell::FAREWELL;
use super::introduction::INTRODUCTION;

/// What a session runs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// A shell to type into.
    #[default]
    Shell,
    /// A command, as a shell reads it.
    Command(String),
    /// The server of files.
    Files,
}

/// The first shell that there is.
const SHELL: &str = "if [ -x /bin/bash ]; then exec /bin/bash -l; fi; exec /bin/sh -l";
/// The same for a command.
const COMMAND: &str =
    r#"if [ -x /bin/bash ]; then exec /bin/bash -c "$1"; fi; exec /bin/sh -c "$1""#;
/// Where distributions have OpenSSH's server of files.
const FILES: &str = "for server in /usr/lib/openssh/sftp-server \
    /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server /usr/libexec/sftp-server \
    /usr/lib/sftp-server; do if [ -x \"$server\" ]; then exec \"$server\"; fi; done; \
    echo 'this image has no sftp-server; install it, or copy with scp -O' >&2; exit 127";

/// Before a process that is to be outlived: what its shell says of its end is nobody's, and the signals
/// that reach both are the process' own.
const GUARD: &str = "exec 3>&2 2>/dev/null; hung_up=; trap hung_up=1 HUP; \
    trap : ABRT ALRM FPE INT PIPE QUIT SEGV TERM USR1; ";
/// Behind it: its end is told, and what it has not read is read, up to the end of it. With input unread,
/// a process is not ended well by engines: Podman then loses what it has written last (`conmon` closes
/// a socket with something to be read in it, and the reset overtakes the output), and Docker does not
/// tell its end. Who has hung up sends nothing more, and waits for nothing.
const DRAIN: &str = r#"exec 3>&-; [ "$hung_up" ] || cat >/dev/null; exit $status"#;

impl Wish {
    /// The words of a process that introduces itself and does this. A terminal's shell is the process
    /// itself, as it must be to control jobs; everything else is guarded, and what it reads is drained.
    pub(super) fn words(&self, has_terminal: bool) -> Vec<String> {
        let (script, command) = match self {
            Self::Shell => (SHELL, None),
            Self::Command(command) => (COMMAND, Some(command)),
            Self::Files => (FILES, None),
        };
        let script = match has_terminal {
            true => format!("{INTRODUCTION}{script}"),
            false => {
                format!("{INTRODUCTION}{GUARD}({script}) 2>&3 3>&-; status=$?; {FAREWELL}{DRAIN}")
            }
        };
        let mut words = vec!["/bin/sh".to_owned(), "-c".into(), script];
        if let Some(command) = command {
            words.extend(["sh".into(), command.clone()]);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    /// What a command does here that is given input, until it ends and is told so.
    fn run(command: &str, input: &[u8]) -> (Option<i32>, String, String) {
        let words = Wish::Command(command.into()).words(false);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, mut stdin) = (child.id(), child.stdin.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        stdin.write_all(input).expect("all is read");
        let ended = super::super::farewell::Farewell::text_of(pid);
        let mut said = String::new();
        while !said.ends_with(&ended) {
            let mut byte = [0];
            stderr.read_exact(&mut byte).unwrap();
            said.push(char::from(byte[0]));
        }
        stdin
            .write_all(input)
            .expect("it is read by nobody, and drained");
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = said.strip_suffix(&ended).unwrap();
        let introduction = format!("vfioctl-session-{pid}\n");
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            said.strip_prefix(&introduction).unwrap().to_owned(),
        )
    }

    #[test]
    fn process_is_outlived_until_what_it_did_not_read_is_drained() {
        let input = vec![b'x'; 1_000_000];
        let done = |status, out: &str, err: &str| (Some(status), out.into(), err.into());
        assert_eq!(
            run("head -c 3; echo err >&2; exit 7", &input),
            done(7, "xxx", "err\n")
        );
        assert_eq!(run("kill -TERM $$", &input), done(128 + 15, "", ""));
        // All of its group, as a client's signals are sent, but not where the test is in it.
        let group = "trap 'echo heard; exit 5' TERM; kill -TERM $$ $PPID; sleep 1";
        assert_eq!(run(group, &input), done(5, "heard\n", ""));
    }
}
