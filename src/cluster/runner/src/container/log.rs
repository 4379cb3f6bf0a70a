//! Logs: what a container writes, kept beside the engine, which forgets it with the container.
//!
//! A follower copies both streams as the engine tells them, each entry with its time. How far it has
//! come is noted with the time of the last entry and how many had that time; a runner that was restarted
//! cuts a log to where the note says and goes on from there, so nothing is lost and nothing is twice. The
//! container is never held up: the engine keeps its own copy, and this one reads from that.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use vfioctl_api::{LogOrder, LogStream};

use super::engine::Connector;
use super::folder::{TaskFolder, read_json, write_json};
use super::state::{Doing, doing};
use crate::limits::{ASK_AGAIN, LOG_BEAT, LOG_CHUNK, LOG_NOTE_BYTES, WRITE_AGAIN};
use crate::link::Bytes;

/// Pause after the engine had no more to tell of a container that ran just before.
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Copies the logs of a container until it ends; stops when it is dropped.
#[derive(Debug)]
pub(super) struct Follower {
    task: tokio::task::JoinHandle<()>,
    is_complete: watch::Receiver<bool>,
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
        let trouble = Trouble::default();
        let told = Arc::clone(&trouble);
        let task = tokio::spawn(async move {
            let mut copy = Copy {
                connector,
                container,
                folder,
                limit,
                trouble: told,
            };
            copy.run().await;
            sender.send_replace(true);
        });
        Self {
            task,
            is_complete,
            trouble,
        }
    }

    /// Waits until all is written that the container wrote before its end.
    pub(super) async fn complete(&self) {
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

/// How far the log of one stream has come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Position {
    /// Bytes of the log up to here.
    bytes: u64,
    /// Time of the last entry, in the engine's words.
    time: String,
    /// How many entries had that time.
    count: u64,
    /// Whether the log was cut for its length.
    is_cut: bool,
}

/// How far both have come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Positions {
    stdout: Position,
    stderr: Position,
}

struct Copy {
    connector: Arc<Connector>,
    container: String,
    folder: TaskFolder,
    limit: u64,
    trouble: Trouble,
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
        // The engine understands whole seconds; what is before the last entry is passed over below.
        let since = logs
            .since()
            .and_then(|second| i32::try_from(second).ok())
            .unwrap_or(0);
        let options = LogsOptionsBuilder::default()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .build();
        // Looked at before the log is read: what has ended writes nothing more.
        let was_over = is_over(&self.connector, &self.container)
            .await
            .ok_or(Stopped::Engine)?;
        let mut entries = Box::pin(engine.logs(&self.container, Some(options)));
        loop {
            let next = match tokio::time::timeout(LOG_BEAT, entries.next()).await {
                Ok(next) => next,
                Err(_) => {
                    logs.save().map_err(Stopped::Disk)?;
                    self.note_trouble(None);
                    entries.next().await
                }
            };
            match next {
                Some(Ok(entry)) => logs.take(&entry).map_err(Stopped::Disk)?,
                // An engine that ended, or a container that is gone.
                Some(Err(_)) => {
                    logs.save().map_err(Stopped::Disk)?;
                    return if was_over {
                        Ok(true)
                    } else {
                        Err(Stopped::Engine)
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

/// Both logs of a task, as they are written.
#[derive(Debug)]
struct Logs {
    note: PathBuf,
    limit: u64,
    stdout: Log,
    stderr: Log,
    unsaved: u64,
}

/// One log, as it is written.
#[derive(Debug)]
struct Log {
    file: File,
    at: Position,
    /// Entries that are still to be passed over, since they have the time of the last one.
    passes: u64,
    /// Whether entries of before the last one may still come.
    is_resuming: bool,
}

impl Logs {
    fn open(folder: &TaskFolder, limit: u64) -> io::Result<Self> {
        let note = folder.path("logs.json");
        let positions: Positions = read_json(&note)?.unwrap_or_default();
        Ok(Self {
            stdout: Log::open(&folder.log(LogStream::Stdout), positions.stdout)?,
            stderr: Log::open(&folder.log(LogStream::Stderr), positions.stderr)?,
            note,
            limit,
            unsaved: 0,
        })
    }

    /// The second from which on the engine has to tell; none: from the beginning.
    fn since(&self) -> Option<u64> {
        let seconds = [&self.stdout.at, &self.stderr.at].map(|at| second(&at.time));
        // A stream that has written nothing may have its first entry anywhere.
        let [first, second] = seconds;
        Some(first?.min(second?))
    }

    fn take(&mut self, entry: &LogOutput) -> io::Result<()> {
        let (log, message) = match entry {
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                (&mut self.stdout, message)
            }
            LogOutput::StdErr { message } => (&mut self.stderr, message),
            LogOutput::StdIn { .. } => return Ok(()),
        };
        self.unsaved += log.take(message, self.limit)?;
        if self.unsaved >= LOG_NOTE_BYTES {
            self.save()?;
        }
        Ok(())
    }

    fn save(&mut self) -> io::Result<()> {
        if self.unsaved == 0 {
            return Ok(());
        }
        let positions = Positions {
            stdout: self.stdout.at.clone(),
            stderr: self.stderr.at.clone(),
        };
        write_json(&self.note, &positions, false)?;
        self.unsaved = 0;
        Ok(())
    }
}

impl Log {
    fn open(path: &Path, at: Position) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        // What was written after the note is told again.
        file.set_len(at.bytes)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        Ok(Self {
            file,
            passes: at.count,
            is_resuming: !at.time.is_empty(),
            at,
        })
    }

    /// Takes an entry, `TIME CONTENT`; tells how much there is to note.
    fn take(&mut self, message: &[u8], limit: u64) -> io::Result<u64> {
        let end = message
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(message.len());
        let (time, rest) = message.split_at_checked(end).unwrap_or((message, &[]));
        let content = rest.get(1..).unwrap_or_default();
        let time = String::from_utf8_lossy(time);
        if self.is_resuming {
            if bare(&time) < bare(&self.at.time) {
                return Ok(0);
            }
            if time == self.at.time && self.passes > 0 {
                self.passes -= 1;
                return Ok(0);
            }
            self.is_resuming = false;
        }
        // Written before it is counted: where that fails, it is told again.
        let written = self.write(content, limit)?;
        if self.at.time == time {
            self.at.count += 1;
        } else {
            self.at.time = time.into_owned();
            self.at.count = 1;
        }
        Ok(written.max(1))
    }

    fn write(&mut self, content: &[u8], limit: u64) -> io::Result<u64> {
        if self.at.is_cut {
            return Ok(0);
        }
        let room = usize::try_from(limit.saturating_sub(self.at.bytes)).unwrap_or(usize::MAX);
        let mut text = VecDeque::from([content
            .get(..room.min(content.len()))
            .unwrap_or_default()
            .to_vec()]);
        let is_cut = content.len() > room;
        if is_cut {
            let words = format!(
                "\n[vfioctl: the log is cut here: it is longer than {} MiB]\n",
                limit >> 20
            );
            text.push_back(words.into_bytes());
        }
        let mut written = 0;
        for part in text {
            self.file.write_all(&part).inspect_err(|_| {
                // Half an entry goes again; it is told whole when there is room.
                let _ = self.file.set_len(self.at.bytes);
            })?;
            written += part.len() as u64;
        }
        self.at.bytes += written;
        self.at.is_cut = is_cut;
        Ok(written)
    }
}

/// A time without its zone, in the order of time whether an engine writes all digits of it or not.
fn bare(time: &str) -> &str {
    const SECONDS: usize = "2026-01-01T00:00:00".len();
    let rest = time.get(SECONDS..).unwrap_or_default();
    let fraction = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    time.get(..SECONDS + fraction).unwrap_or(time)
}

/// The second of a time as RFC 3339 has it, since 1970; none where it is not one, in UTC.
fn second(time: &str) -> Option<u64> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Podman tells times of its own zone: one day before is early enough, and the rest is passed over.
    let zone = if time.ends_with('Z') { 0 } else { 86_400 };
    // Days since 1970 by the civil calendar, whose year begins in March here.
    let (shifted, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let days =
        365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * month + 2) / 5 + day
            - 1;
    let days = days.checked_sub(719_468)?;
    (days * 86_400 + hour * 3600 + minute * 60 + second).checked_sub(zone)
}

/// Reads a log from an offset on, and what is written later as long as `is_active` says that something
/// may be.
pub(super) fn read(
    folder: TaskFolder,
    order: &LogOrder,
    is_active: impl Fn() -> bool + Send + 'static,
) -> Result<Bytes, String> {
    let path = folder.log(order.log);
    let state = Reading {
        path,
        offset: order.offset,
        is_following: order.follow,
        is_active: Box::new(is_active),
    };
    Ok(Box::pin(futures_util::stream::unfold(
        state,
        |mut state| async move {
            let chunk = state.next().await.transpose()?;
            Some((chunk, state))
        },
    )))
}

struct Reading {
    path: PathBuf,
    offset: u64,
    is_following: bool,
    is_active: Box<dyn Fn() -> bool + Send>,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            // Asked before the file is read: what was written before the end is there then.
            let may_grow = self.is_following && (self.is_active)();
            let chunk = read_chunk(&self.path, self.offset).await?;
            if !chunk.is_empty() {
                self.offset += chunk.len() as u64;
                return Ok(Some(chunk));
            }
            if !may_grow {
                return Ok(None);
            }
            tokio::time::sleep(LOG_BEAT).await;
        }
    }
}

async fn read_chunk(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
    let mut file = match tokio::fs::File::open(path).await {
        // Nothing has been written yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    file.seek(io::SeekFrom::Start(offset)).await?;
    let mut chunk = Vec::new();
    file.take(LOG_CHUNK as u64).read_to_end(&mut chunk).await?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use vfioctl_api::TaskId;

    use super::*;

    fn folder(data: &tempfile::TempDir) -> TaskFolder {
        let folder = TaskFolder::of(data.path(), &TaskId::new(1, 1));
        folder.make().unwrap();
        folder
    }

    /// Entries as an engine tells them: two of them at the same time.
    const ENTRIES: [(&str, bool); 6] = [
        ("2026-01-01T00:00:00.1Z one\n", true),
        ("2026-01-01T00:00:00.1Z one\n", true),
        ("2026-01-01T00:00:00.2Z error\n", false),
        ("2026-01-01T00:00:00.3Z two", true),
        ("2026-01-01T00:00:00.3Z  and more\n", true),
        ("2026-01-01T00:00:02.4Z three\n", true),
    ];

    fn entry((text, is_stdout): (&str, bool)) -> LogOutput {
        let message = bytes::Bytes::copy_from_slice(text.as_bytes());
        if is_stdout {
            LogOutput::StdOut { message }
        } else {
            LogOutput::StdErr { message }
        }
    }

    fn texts(folder: &TaskFolder) -> [String; 2] {
        [LogStream::Stdout, LogStream::Stderr]
            .map(|stream| std::fs::read_to_string(folder.log(stream)).unwrap())
    }

    #[test]
    fn a_log_goes_on_where_it_was_cut_off_without_loss_and_without_doubling() {
        let expected = [
            "one\none\ntwo and more\nthree\n".to_owned(),
            "error\n".to_owned(),
        ];
        for noted in 0..=ENTRIES.len() {
            for taken in noted..=ENTRIES.len() {
                let data = tempfile::tempdir().unwrap();
                let folder = folder(&data);
                let mut logs = Logs::open(&folder, 1000).unwrap();
                for (index, one) in ENTRIES.into_iter().enumerate().take(taken) {
                    if index == noted {
                        logs.save().unwrap();
                    }
                    logs.take(&entry(one)).unwrap();
                }
                if taken == noted {
                    logs.save().unwrap();
                }
                drop(logs);
                // The engine tells all from the second of the note on; here, all.
                let mut logs = Logs::open(&folder, 1000).unwrap();
                for one in ENTRIES {
                    logs.take(&entry(one)).unwrap();
                }
                assert_eq!(texts(&folder), expected, "noted {noted}, taken {taken}");
            }
        }
    }

    #[test]
    fn a_log_that_is_too_long_is_cut_and_says_so() {
        let data = tempfile::tempdir().unwrap();
        let folder = folder(&data);
        let mut logs = Logs::open(&folder, 10).unwrap();
        for one in ENTRIES {
            logs.take(&entry(one)).unwrap();
        }
        logs.save().unwrap();
        let cut = "one\none\ntw\n[vfioctl: the log is cut here: it is longer than 0 MiB]\n";
        assert_eq!(texts(&folder), [cut.to_owned(), "error\n".to_owned()]);
        let mut logs = Logs::open(&folder, 10).unwrap();
        logs.take(&entry(("2026-01-01T00:00:09.4Z late\n", true)))
            .unwrap();
        assert_eq!(texts(&folder)[0], cut);
    }

    #[test]
    fn times_are_seconds_since_1970() {
        for (time, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T12:34:56.789012345Z", Some(1_709_210_096)),
            ("2026-01-01T00:00:00Z", Some(1_767_225_600)),
            ("2026-01-01T00:00:00+01:00", Some(1_767_225_600 - 86_400)),
            ("", None),
            ("yesterday", None),
            ("1969-01-01T00:00:00Z", None),
        ] {
            assert_eq!(second(time), seconds, "{time}");
        }
    }

    #[test]
    fn the_engine_is_asked_from_the_earlier_of_both_ends_on() {
        let data = tempfile::tempdir().unwrap();
        let folder = folder(&data);
        let mut logs = Logs::open(&folder, 1000).unwrap();
        logs.take(&entry(ENTRIES[0])).unwrap();
        assert_eq!(logs.since(), None, "the other may have written before");
        logs.take(&entry(ENTRIES[2])).unwrap();
        logs.take(&entry(ENTRIES[5])).unwrap();
        assert_eq!(logs.since(), Some(1_767_225_600));
    }

    #[tokio::test]
    async fn a_reader_follows_until_nothing_more_comes() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let data = tempfile::tempdir().unwrap();
        let folder = folder(&data);
        let path = folder.log(LogStream::Stdout);
        let order = |offset, follow| LogOrder {
            stream: "s".into(),
            host: "h".into(),
            task: TaskId::new(1, 1),
            log: LogStream::Stdout,
            offset,
            follow,
        };
        let active = Arc::new(AtomicBool::new(true));
        let is_active = Arc::clone(&active);
        let mut following = read(folder.clone(), &order(2, true), move || {
            is_active.load(Ordering::SeqCst)
        })
        .unwrap();
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(following.next().await.unwrap().unwrap(), b"llo\n");
        let mut at_once = read(folder, &order(0, false), || true).unwrap();
        assert_eq!(at_once.next().await.unwrap().unwrap(), b"hello\n");
        assert!(at_once.next().await.is_none());
        let more = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(chunk) = following.next().await {
                all.extend(chunk.unwrap());
            }
            all
        });
        tokio::time::sleep(LOG_BEAT * 2).await;
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"more\n").unwrap();
        active.store(false, Ordering::SeqCst);
        assert_eq!(more.await.unwrap(), b"more\n");
    }
}
