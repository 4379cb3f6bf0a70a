//! A process in a container, for a session: what it reads, what it writes, and how it ended.

use std::pin::Pin;
use std::sync::Arc;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use vfioctl_scan::SysRoot;

use crate::container::engine::{Connector, EngineError, limited};
use crate::limits::{
    ENGINE_TIME, ENGINE_WORK_TIME, EXEC_END_TIME, LOG_BEAT, MAX_SSH_PROCESSES, SSH_QUEUE,
};

/// Where processes are begun: a container of an engine.
#[derive(Debug)]
pub(in crate::container) struct Room {
    connector: Arc<Connector>,
    container: String,
    root: Arc<SysRoot>,
    places: Arc<Semaphore>,
}

/// What a session shall be.
#[derive(Debug, Default)]
pub(super) struct Job {
    pub(super) wish: Wish,
    pub(super) environment: Vec<String>,
    /// Columns and rows, where it has a terminal.
    pub(super) terminal: Option<(u32, u32)>,
}

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

/// What a client says meanwhile.
#[derive(Debug)]
pub(super) enum Control {
    /// Its window has these columns and rows now.
    Resize(u32, u32),
    /// The process gets a signal.
    Signal(&'static str),
}

/// The first shell that there is.
const SHELL: &str = "if [ -x /bin/bash ]; then exec /bin/bash -l; fi; exec /bin/sh -l";
/// The same for a command.
const COMMAND: &str =
    r#"if [ -x /bin/bash ]; then exec /bin/bash -c "$1"; fi; exec /bin/sh -c "$1""#;
/// Where distributions have OpenSSH's server of files.
const FILES: &str = "for server in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server \
    /usr/lib/ssh/sftp-server /usr/libexec/sftp-server /usr/lib/sftp-server; do \
    if [ -x \"$server\" ]; then exec \"$server\"; fi; done; \
    echo 'this image has no sftp-server; install it, or copy with scp -O' >&2; exit 127";

impl Wish {
    fn words(&self) -> Vec<&str> {
        match self {
            Self::Shell => vec!["/bin/sh", "-c", SHELL],
            Self::Command(command) => vec!["/bin/sh", "-c", COMMAND, "sh", command],
            Self::Files => vec!["/bin/sh", "-c", FILES],
        }
    }
}

impl Room {
    pub(in crate::container) fn new(
        connector: Arc<Connector>,
        container: String,
        root: Arc<SysRoot>,
    ) -> Self {
        Self {
            connector,
            container,
            root,
            places: Arc::new(Semaphore::new(MAX_SSH_PROCESSES)),
        }
    }

    /// A place for one more process.
    pub(super) fn take_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Sends a signal to a process and those it leads, from within the container: only there may this
    /// runner. What has no `kill` gets none.
    async fn send_signal(
        &self,
        engine: &Docker,
        exec: &str,
        signal: &str,
    ) -> Result<(), EngineError> {
        let process = limited(ENGINE_TIME, engine.inspect_exec(exec)).await?;
        if process.running != Some(true) {
            return Ok(());
        }
        let Some(pid) = process.pid.and_then(|pid| pid_inside(&self.root, pid)) else {
            return Ok(());
        };
        let script = format!("kill -{signal} -- -{pid} 2>/dev/null || kill -{signal} {pid}");
        let options = CreateExecOptions {
            cmd: Some(vec!["/bin/sh", "-c", &script]),
            ..CreateExecOptions::default()
        };
        let made = limited(ENGINE_TIME, engine.create_exec(&self.container, options)).await?;
        let detached = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        limited(ENGINE_TIME, engine.start_exec(&made.id, Some(detached)))
            .await
            .map(|_| ())
    }
}

/// The number that a process has in its own name space: the last of `NSpid` in `/proc/PID/status`, since
/// Linux 4.1 (`proc(5)`). None where that is the machine's own.
fn pid_inside(root: &SysRoot, pid: i64) -> Option<u32> {
    let text = root.proc.read_text(&format!("{pid}/status")).ok()??;
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let numbers: Vec<u32> = line
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    numbers.last().copied().filter(|_| numbers.len() > 1)
}

/// Runs a session's process to its end.
pub(super) async fn run(
    room: &Arc<Room>,
    job: Job,
    channel: Channel<Msg>,
    controls: mpsc::Receiver<Control>,
) {
    let (read, write) = channel.split();
    let status = match begin(room, &job).await {
        Ok(process) => process.run(room, read, &write, controls).await,
        Err(error) => {
            let text = format!("vfioctl: {error}\r\n");
            let _ = write.extended_data_bytes(1, text.into_bytes()).await;
            255
        }
    };
    // A client that has gone needs no goodbye.
    let _ = write.exit_status(status).await;
    let _ = write.eof().await;
    let _ = write.close().await;
}

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

struct Process {
    engine: Docker,
    id: String,
    output: Output,
    input: Input,
}

async fn begin(room: &Room, job: &Job) -> Result<Process, EngineError> {
    let engine = room.connector.client().await?;
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(job.terminal.is_some()),
        env: Some(job.environment.iter().map(String::as_str).collect()),
        cmd: Some(job.wish.words()),
        ..CreateExecOptions::default()
    };
    let made = limited(ENGINE_TIME, engine.create_exec(&room.container, options)).await?;
    let start = StartExecOptions {
        tty: job.terminal.is_some(),
        ..StartExecOptions::default()
    };
    let started = limited(ENGINE_WORK_TIME, engine.start_exec(&made.id, Some(start))).await?;
    let StartExecResults::Attached { output, input } = started else {
        return Err(EngineError::Unreachable(
            "it began a session and did not hand it over".into(),
        ));
    };
    if let Some((columns, rows)) = job.terminal {
        resize(&engine, &made.id, columns, rows).await;
    }
    Ok(Process {
        engine,
        id: made.id,
        output,
        input,
    })
}

/// A window that cannot be told leaves the old one, which is a matter of looks.
async fn resize(engine: &Docker, exec: &str, columns: u32, rows: u32) {
    let size = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let options = ResizeExecOptions {
        height: size(rows),
        width: size(columns),
    };
    let _ = limited(ENGINE_TIME, engine.resize_exec(exec, options)).await;
}

impl Process {
    /// Passes everything on until it ends; its exit status.
    async fn run(
        self,
        room: &Arc<Room>,
        read: ChannelReadHalf,
        write: &ChannelWriteHalf<Msg>,
        controls: mpsc::Receiver<Control>,
    ) -> u32 {
        let Self {
            engine,
            id,
            output,
            input,
        } = self;
        let listening = tokio::spawn(listen(
            Arc::clone(room),
            engine.clone(),
            id.clone(),
            read,
            input,
            controls,
        ));
        // A queue between: a client that does not read for a while shall not hold up one that writes.
        let (sender, receiver) = mpsc::channel(SSH_QUEUE);
        let reading = tokio::spawn(read_output(output, sender));
        write_output(receiver, write).await;
        reading.abort();
        let status = exit_status(&engine, &id).await;
        listening.abort();
        status
    }
}

async fn read_output(mut output: Output, sender: mpsc::Sender<LogOutput>) {
    while let Some(Ok(chunk)) = output.next().await {
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
}

async fn write_output(mut chunks: mpsc::Receiver<LogOutput>, write: &ChannelWriteHalf<Msg>) {
    while let Some(chunk) = chunks.recv().await {
        let sent = match chunk {
            LogOutput::StdErr { message } => write.extended_data_bytes(1, message).await,
            other => write.data_bytes(other.into_bytes()).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Passes on what the client says, until it has gone; then the process is told so, as a terminal would.
async fn listen(
    room: Arc<Room>,
    engine: Docker,
    exec: String,
    mut read: ChannelReadHalf,
    input: Input,
    mut controls: mpsc::Receiver<Control>,
) {
    let (sender, chunks) = mpsc::channel(1);
    let writing = tokio::spawn(write_input(chunks, input));
    let mut sender = Some(sender);
    // What the process has not read yet; as long as there is some, no more is taken from the client.
    let mut pending: Option<Bytes> = None;
    loop {
        tokio::select! {
            biased;
            control = controls.recv() => match control {
                Some(Control::Resize(columns, rows)) => resize(&engine, &exec, columns, rows).await,
                Some(Control::Signal(signal)) => {
                    let _ = room.send_signal(&engine, &exec, signal).await;
                }
                // The client has closed the session.
                None => break,
            },
            permit = reserve(sender.as_ref()), if pending.is_some() => match (permit, pending.take()) {
                (Some(permit), Some(data)) => { permit.send(data); }
                // A process that reads no more is no reason not to hear what else the client says.
                _ => sender = None,
            },
            message = read.wait(), if pending.is_none() => match message {
                Some(ChannelMsg::Data { data }) => pending = Some(data),
                Some(ChannelMsg::Eof) => sender = None,
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            },
        }
    }
    writing.abort();
    let _ = room.send_signal(&engine, &exec, "HUP").await;
}

async fn reserve(sender: Option<&mpsc::Sender<Bytes>>) -> Option<mpsc::OwnedPermit<Bytes>> {
    sender?.clone().reserve_owned().await.ok()
}

async fn write_input(mut chunks: mpsc::Receiver<Bytes>, mut input: Input) {
    while let Some(chunk) = chunks.recv().await {
        if input.write_all(&chunk).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    // The end of what it reads; what it writes still comes.
    let _ = input.shutdown().await;
    // Dropped, it would end the other direction too.
    std::future::pending::<()>().await;
}

/// The exit status, which the engine knows a moment after the output has ended.
async fn exit_status(engine: &Docker, exec: &str) -> u32 {
    let known = async {
        loop {
            match limited(ENGINE_TIME, engine.inspect_exec(exec)).await {
                Ok(process) if process.running != Some(true) => break process.exit_code,
                Ok(_) => {}
                Err(_) => break None,
            }
            tokio::time::sleep(LOG_BEAT / 10).await;
        }
    };
    let status = tokio::time::timeout(EXEC_END_TIME, known)
        .await
        .ok()
        .flatten();
    // As OpenSSH's client has it where nobody knows.
    status
        .and_then(|status| u32::try_from(status).ok())
        .unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_another_number_inside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("proc/77")).unwrap();
        std::fs::create_dir_all(folder.path().join("proc/78")).unwrap();
        std::fs::create_dir(folder.path().join("sys")).unwrap();
        std::fs::write(
            folder.path().join("proc/77/status"),
            "Name:\tx\nNSpid:\t77\t12\n",
        )
        .unwrap();
        std::fs::write(
            folder.path().join("proc/78/status"),
            "Name:\tx\nNSpid:\t78\n",
        )
        .unwrap();
        let root = SysRoot::below(folder.path()).unwrap();
        assert_eq!(pid_inside(&root, 77), Some(12));
        assert_eq!(pid_inside(&root, 78), None, "one of the machine's own");
        assert_eq!(pid_inside(&root, 79), None);
    }
}
