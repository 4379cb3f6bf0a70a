//! The logs of a task as files: what is written, how far it has come, and where it goes on.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bollard::container::LogOutput;
use serde::{Deserialize, Serialize};
use vfioctl_api::LogStream;

use crate::container::folder::{TaskFolder, read_json};
use crate::limits::LOG_NOTE_BYTES;

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

/// Both logs of a task, as they are written.
#[derive(Debug)]
pub(super) struct Logs {
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
    pub(super) fn open(folder: &TaskFolder, limit: u64) -> io::Result<Self> {
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
    pub(super) fn since(&self) -> Option<u64> {
        let seconds = [&self.stdout.at, &self.stderr.at].map(|at| second(&at.time));
        // A stream that has written nothing may have its first entry anywhere.
        let [first, second] = seconds;
        Some(first?.min(second?))
    }

    pub(super) fn take(&mut self, entry: &LogOutput) -> io::Result<()> {
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

    pub(super) fn save(&mut self) -> io::Result<()> {
        if self.unsaved == 0 {
            return Ok(());
        }
        let positions = Positions {
            stdout: self.stdout.at.clone(),
            stderr: self.stderr.at.clone(),
        };
        let part = self.note.with_extension("new");
        // Where the machine ends, so do its containers; whether this is on disk then does not matter.
        std::fs::write(&part, serde_json::to_vec(&positions)?)?;
        std::fs::rename(&part, &self.note)?;
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
}
