//! The logs of a machine: read through the helper while it has the machine, and from the folder after.
//!
//! A log is that of the last run. The helper cuts a console that has grown too long; who follows it goes
//! on at its new start.

use std::io;
use std::path::PathBuf;

use vfioctl_api::{LogOrder, LogStream};

use super::folder::{MachineFolder, Note, Place};
use super::helper::{CallError, Helper, Log, LogPart};
use super::recipe::PREFIX;
use crate::limits::{ASK_AGAIN, MACHINE_LOG_BEAT, MAX_MACHINE_LOG};
use crate::link::Bytes;
use crate::whole_file;

/// How much is read of a file at once.
const CHUNK: u64 = 64 << 10;

/// Reads a log of a task, from a byte on.
pub(super) fn read(helper: Helper, folder: MachineFolder, order: &LogOrder) -> Bytes {
    let (log, place) = match order.log {
        LogStream::Stdout => (Log::Console, Place::Console),
        LogStream::Stderr => (Log::Qemu, Place::Qemu),
    };
    let reading = Reading {
        helper,
        machine: format!("{PREFIX}{}", order.task),
        log,
        kept: folder.path(place),
        folder,
        offset: order.offset,
        is_following: order.follow,
    };
    Box::pin(futures_util::stream::unfold(
        reading,
        |mut reading| async move {
            let part = reading.next().await.transpose()?;
            Some((part, reading))
        },
    ))
}

struct Reading {
    helper: Helper,
    machine: String,
    log: Log,
    kept: PathBuf,
    folder: MachineFolder,
    offset: u64,
    is_following: bool,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            // Asked before it is read: what was written before the end is there then.
            let may_grow = self.is_following && self.goes_on();
            let part = match self
                .helper
                .read_log(&self.machine, self.log, self.offset)
                .await
            {
                Ok(Some(part)) => part,
                Ok(None) => self.read_kept()?,
                Err(_) if may_grow => {
                    tokio::time::sleep(ASK_AGAIN).await;
                    continue;
                }
                Err(error) => return Err(io::Error::other(error.to_string())),
            };
            self.offset = part.next;
            if !part.bytes.is_empty() {
                return Ok(Some(part.bytes));
            }
            if !may_grow {
                return Ok(None);
            }
            tokio::time::sleep(MACHINE_LOG_BEAT).await;
        }
    }

    /// Whether more may come: the end of the last run has not been noted.
    fn goes_on(&self) -> bool {
        match self.folder.note() {
            Ok(Some(note)) => !is_over(&note),
            // It is being removed.
            Ok(None) | Err(_) => false,
        }
    }

    fn read_kept(&self) -> io::Result<LogPart> {
        use std::io::{Read as _, Seek as _};
        let mut bytes = Vec::new();
        match std::fs::File::open(&self.kept) {
            // Nothing has been written yet, or nothing is kept.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => {
                let mut file = opened?;
                file.seek(io::SeekFrom::Start(self.offset))?;
                file.take(CHUNK).read_to_end(&mut bytes)?;
            }
        }
        let len = u64::try_from(bytes.len()).unwrap_or_default();
        Ok(LogPart {
            next: self.offset.saturating_add(len),
            is_end: len < CHUNK,
            bytes,
        })
    }
}

fn is_over(note: &Note) -> bool {
    note.ended
        .as_ref()
        .is_some_and(|ended| ended.run == note.begun)
}

/// Keeps the logs of a machine that has ended in its folder; what was told of its end stands at the end of
/// what QEMU said.
///
/// # Errors
/// Where they cannot be read or written, as a sentence.
pub(super) async fn keep(
    helper: &Helper,
    folder: &MachineFolder,
    machine: &str,
    told: &[String],
) -> Result<(), String> {
    for (log, place) in [(Log::Console, Place::Console), (Log::Qemu, Place::Qemu)] {
        let mut bytes = read_whole(helper, machine, log)
            .await
            .map_err(|error| error.to_string())?;
        if log == Log::Qemu {
            let lines = told.iter().map(|line| format!("vfioctl: {line}\n"));
            bytes.extend(lines.collect::<String>().into_bytes());
        }
        let path = folder.path(place);
        whole_file::write(&path, &bytes, 0o600)
            .map_err(|error| format!("cannot write '{}': {error}", path.display()))?;
    }
    Ok(())
}

async fn read_whole(helper: &Helper, machine: &str, log: Log) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    let mut offset = 0;
    let most = usize::try_from(MAX_MACHINE_LOG).unwrap_or(usize::MAX);
    while let Some(part) = helper.read_log(machine, log, offset).await? {
        bytes.extend(part.bytes);
        // One that was cut meanwhile begins anew, and is not followed for ever.
        if part.is_end || part.next <= offset || bytes.len() >= most {
            break;
        }
        offset = part.next;
    }
    bytes.truncate(most);
    Ok(bytes)
}
