//! Logs: what a container writes, kept beside the engine, which forgets it with the container.
//!
//! A follower copies both streams as the engine tells them, each entry with its time. How far it has
//! come is noted with the time of the last entry and how many had that time; a runner that was restarted
//! cuts a log to where the note says and goes on from there, so nothing is lost and nothing is twice. The
//! container is never held up: the engine keeps its own copy, and this one reads from that.

mod file;
mod reader;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::engine::Connector;
use super::folder::TaskFolder;
use super::state::{Doing, doing};
use crate::limits::{ASK_AGAIN, LOG_BEAT, WRITE_AGAIN};

use file::Logs;

pub(super) use reader::read;

/// Pause after the engine had no more to tell of a container that ran just before.
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Copies the logs of a container until it ends; stops when it is dropped.
#[derive(Debug)]
pub(super) struct Follower {
    task: tokio::task::JoinHandle<()>,
    is_complete: watch::Receiver<bool>,
    ending: watch::Sender<bool>,
    trouble: Trouble,
}

/// Why a log cannot be written just now.
type Trouble = Arc<Mutex<Option<String>>>;

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    /// Begins, or goes on where an earlier one stopped.
    pub(super) fn begin(
        connector: Arc<Connector>,
        container: String,
        folder: TaskFolder,
        limit: u64,
    ) -> Self {
        let (sender, is_complete) = watch::channel(false);
        let (ending, is_ending) = watch::channel(false);
        let trouble = Trouble::default();
        let told = Arc::clone(&trouble);
        let task = tokio::spawn(async move {
            let mut copy = Copy {
                connector,
                container,
                folder,
                limit,
                trouble: told,
                is_ending,
            };
            copy.run().await;
            sender.send_replace(true);
        });
        Self {
            task,
            is_complete,
            ending,
            trouble,
        }
    }

    /// Waits until all is written that the container wrote before its end, which has come.
    pub(super) async fn complete(&self) {
        self.ending.send_replace(true);
        let mut is_complete = self.is_complete.clone();
        // A follower that has gone has written what it could.
        let _ = is_complete.wait_for(|is| *is).await;
    }

    /// Why it cannot write just now.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Copy {
    connector: Arc<Connector>,
    container: String,
    folder: TaskFolder,
    limit: u64,
    trouble: Trouble,
    /// Whether the container has ended.
    is_ending: watch::Receiver<bool>,
}

/// Why a copy stopped.
enum Stopped {
    /// The engine had no more, or could not be asked.
    Engine,
    /// The disk takes no more.
    Disk(io::Error),
}

impl Copy {
    async fn run(&mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.copy().await {
                Ok(true) => return,
                // The container has ended meanwhile, as a rule; once more tells that this was all.
                Ok(false) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ASK_AGAIN);
                }
                Err(Stopped::Engine) => tokio::time::sleep(ASK_AGAIN).await,
                Err(Stopped::Disk(error)) => {
                    let text = format!(
                        "the log of container '{}' cannot be written: {error}",
                        self.container
                    );
                    self.note_trouble(Some(text));
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        }
    }

    fn note_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Copies what there is and what comes; tells whether that is all that ever will.
    async fn copy(&self) -> Result<bool, Stopped> {
        let Ok(engine) = self.connector.client().await else {
            return Err(Stopped::Engine);
        };
        let mut logs = Logs::open(&self.folder, self.limit).map_err(Stopped::Disk)?;
        // Looked at before the log is read: what has ended writes nothing more. Podman leaves out the end of
        // a log that is followed when its container ends, so the end is read without following.
        let was_over = is_over(&self.connector, &self.container)
            .await
            .ok_or(Stopped::Engine)?;
        // The engine understands whole seconds; what is before the last entry is passed over below.
        let since = logs
            .since()
            .and_then(|second| i32::try_from(second).ok())
            .unwrap_or(0);
        let options = LogsOptionsBuilder::default()
            .follow(!was_over)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .build();
        let mut entries = Box::pin(engine.logs(&self.container, Some(options)));
        let mut is_ending = self.is_ending.clone();
        loop {
            let next = match tokio::time::timeout(LOG_BEAT, entries.next()).await {
                Ok(next) => next,
                Err(_) => {
                    logs.save().map_err(Stopped::Disk)?;
                    self.note_trouble(None);
                    // Podman may also follow for ever what has ended.
                    if *is_ending.borrow() && !was_over {
                        return Ok(false);
                    }
                    tokio::select! {
                        next = entries.next() => next,
                        changed = is_ending.changed() => match changed {
                            Ok(()) => continue,
                            // Nobody waits for it any more.
                            Err(_) => return Ok(was_over),
                        },
                    }
                }
            };
            match next {
                Some(Ok(entry)) => logs.take(&entry).map_err(Stopped::Disk)?,
                Some(Err(_)) => {
                    logs.save().map_err(Stopped::Disk)?;
                    let found = self.connector.inspect(&self.container).await;
                    // Of a container that is gone there is no more; an engine that ended comes back.
                    return match found {
                        Ok(None) => Ok(true),
                        _ => Err(Stopped::Engine),
                    };
                }
                None => {
                    logs.save().map_err(Stopped::Disk)?;
                    self.note_trouble(None);
                    return Ok(was_over);
                }
            }
        }
    }
}

/// Whether a container writes nothing more; none: that cannot be told.
async fn is_over(connector: &Connector, container: &str) -> Option<bool> {
    let found = connector.inspect(container).await.ok()?;
    Some(
        !found
            .and_then(|found| found.state)
            .is_some_and(|state| doing(&state) != Doing::Ended),
    )
}
