//! A process in a container, for a session: what it reads, what it writes, and how it ended.

use std::pin::Pin;
use std::sync::Arc;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::{Stream, StreamExt as _};
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::farewell::Farewell;
use super::input::{Input, Next};
use super::introduction::Introduction;
use super::wish::Wish;
use crate::container::engine::{Connector, EngineError, limited};
use crate::limits::{
    ENGINE_TIME, ENGINE_WORK_TIME, EXEC_END_TIME, LOG_BEAT, MAX_SSH_PROCESSES, SSH_OUTPUT,
};

/// Where processes are begun: a container of an engine.
#[derive(Debug)]
pub(in crate::container) struct Room {
    connector: Arc<Connector>,
    container: String,
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

/// What a client says meanwhile.
#[derive(Debug)]
pub(super) enum Control {
    /// Its window has these columns and rows now.
    Resize(u32, u32),
    /// The process gets a signal.
    Signal(&'static str),
}

/// What ends a terminal's input where it is typed at the beginning of a line (`VEOF` of `termios(3)`).
const END_OF_TRANSMISSION: u8 = 4;

impl Room {
    pub(in crate::container) fn new(connector: Arc<Connector>, container: String) -> Self {
        Self {
            connector,
            container,
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
        pid: u32,
        signal: &str,
    ) -> Result<(), EngineError> {
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
        let started = engine.start_exec(&made.id, Some(detached));
        limited(ENGINE_TIME, started).await.map(|_| ())
    }
}

/// Runs a session's process to its end.
pub(super) async fn run(
    room: &Arc<Room>,
    job: Job,
    write: ChannelWriteHalf<Msg>,
    input: Arc<Input>,
    controls: mpsc::Receiver<Control>,
) {
    let status = match begin(room, &job).await {
        Ok(process) => process.run(room, &write, &input, controls).await,
        Err(error) => {
            let text = format!("vfioctl: {error}\r\n");
            let _ = write.extended_data_bytes(1, text.into_bytes()).await;
            255
        }
    };
    input.close();
    // A client that has gone needs no goodbye.
    let _ = write.exit_status(status).await;
    let _ = write.eof().await;
    let _ = write.close().await;
}

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
type Stdin = Pin<Box<dyn AsyncWrite + Send>>;

struct Process {
    engine: Docker,
    id: String,
    output: Output,
    stdin: Stdin,
    has_terminal: bool,
}

async fn begin(room: &Room, job: &Job) -> Result<Process, EngineError> {
    let engine = room.connector.client().await?;
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(job.terminal.is_some()),
        env: Some(job.environment.clone()),
        cmd: Some(job.wish.words(job.terminal.is_some())),
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
        stdin: input,
        has_terminal: job.terminal.is_some(),
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
        write: &ChannelWriteHalf<Msg>,
        input: &Arc<Input>,
        controls: mpsc::Receiver<Control>,
    ) -> u32 {
        let Self {
            engine,
            id,
            output,
            stdin,
            has_terminal,
        } = self;
        let (introduce, introduced) = watch::channel(None);
        let (sender, receiver) = mpsc::channel(SSH_OUTPUT);
        let exec = Exec {
            room: Arc::clone(room),
            engine: engine.clone(),
            id: id.clone(),
            pid: introduced.clone(),
        };
        let tasks = [
            tokio::spawn(read_output(output, sender, introduce, Arc::clone(input))),
            tokio::spawn(write_input(
                Arc::clone(input),
                stdin,
                has_terminal.then_some(introduced),
            )),
            tokio::spawn(exec.obey(controls)),
        ];
        write_output(receiver, write, input).await;
        let status = exit_status(&engine, &id).await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        status
    }
}

/// The number that a process has in its container, once it has told; 0 where it tells none.
type Pid = watch::Receiver<Option<u32>>;

async fn read_output(
    mut output: Output,
    sender: mpsc::Sender<LogOutput>,
    introduce: watch::Sender<Option<u32>>,
    input: Arc<Input>,
) {
    let mut introduction = Introduction::default();
    let mut farewell = Farewell::default();
    while let Some(chunk) = output.next().await {
        let (mut chunk, is_last) = match chunk {
            Ok(chunk) => (chunk, false),
            Err(error) => {
                let text = format!("vfioctl: {}\r\n", EngineError::from(error));
                let message = text.into_bytes().into();
                (LogOutput::StdErr { message }, true)
            }
        };
        if let LogOutput::StdErr { message } | LogOutput::Console { message } = &mut chunk
            && introduce.borrow().is_none()
        {
            match introduction.take(message) {
                Some((pid, rest)) => {
                    introduce.send_replace(Some(pid));
                    farewell = Farewell::of(pid);
                    *message = rest;
                }
                None => continue,
            }
        }
        if let LogOutput::StdErr { message } = &mut chunk {
            let (rest, is_said) = farewell.take(std::mem::take(message));
            *message = rest;
            if is_said {
                input.close();
            }
        }
        if sender.send(chunk).await.is_err() || is_last {
            return;
        }
    }
    // What was held back for a line that did not end.
    for message in [introduction.into_held(), farewell.into_held()] {
        if sender.send(LogOutput::StdErr { message }).await.is_err() {
            return;
        }
    }
}

async fn write_output(
    mut chunks: mpsc::Receiver<LogOutput>,
    write: &ChannelWriteHalf<Msg>,
    input: &Input,
) {
    while let Some(chunk) = chunks.recv().await {
        // The process' own words have been taken out.
        if chunk.as_ref().is_empty() {
            continue;
        }
        let sending = async {
            match chunk {
                LogOutput::StdErr { message } => write.extended_data_bytes(1, message).await,
                other => write.data_bytes(other.into_bytes()).await,
            }
        };
        tokio::pin!(sending);
        let sent = tokio::select! {
            biased;
            sent = &mut sending => sent,
            () = std::future::ready(()) => {
                input.set_output_waits(true);
                let sent = sending.await;
                input.set_output_waits(false);
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// A process that can be told something.
struct Exec {
    room: Arc<Room>,
    engine: Docker,
    id: String,
    pid: Pid,
}

impl Exec {
    /// Does what the client says, until it has gone; then the process is told so, as a terminal would.
    async fn obey(self, mut controls: mpsc::Receiver<Control>) {
        while let Some(control) = controls.recv().await {
            match control {
                Control::Resize(columns, rows) => {
                    resize(&self.engine, &self.id, columns, rows).await;
                }
                Control::Signal(signal) => self.send_signal(signal).await,
            }
        }
        self.send_signal("HUP").await;
    }

    async fn send_signal(&self, signal: &str) {
        let mut pid = self.pid.clone();
        let told = tokio::time::timeout(ENGINE_TIME, pid.wait_for(Option::is_some)).await;
        let pid = told.ok().and_then(|told| told.ok().and_then(|pid| *pid));
        if let Some(pid) = pid.filter(|pid| *pid != 0) {
            // What cannot be told goes on as if it had not been said, as with `kill` itself.
            let _ = self.room.send_signal(&self.engine, pid, signal).await;
        }
    }
}

/// Passes on what the client sends. To a terminal only when the process has introduced itself: what is
/// typed before is shown before that line, which would not be the first then.
async fn write_input(input: Arc<Input>, mut stdin: Stdin, terminal: Option<Pid>) {
    if let Some(mut introduced) = terminal.clone() {
        let told = introduced.wait_for(Option::is_some);
        let _ = tokio::time::timeout(ENGINE_TIME, told).await;
    }
    while let Next::Chunk(chunk) = input.pop().await {
        if stdin.write_all(&chunk).await.is_err() || stdin.flush().await.is_err() {
            // A process that reads no more is no reason not to hear what else the client says.
            input.close();
            return;
        }
    }
    // The end of what it reads; what it writes still comes. With a terminal, engines would end both, so
    // there the end is typed.
    let _ = match terminal {
        Some(_) => stdin.write_all(&[END_OF_TRANSMISSION]).await,
        None => stdin.shutdown().await,
    };
    let _ = stdin.flush().await;
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
