//! Reading a log: from an offset on, and as it grows.

use std::io;
use std::path::{Path, PathBuf};

use vfioctl_api::LogOrder;

use crate::container::folder::TaskFolder;
use crate::limits::{LOG_BEAT, LOG_CHUNK};
use crate::link::Bytes;

/// Reads a log from an offset on, and what is written later as long as `is_active` says that something
/// may be.
pub(in crate::container) fn read(
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
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::sync::Arc;

    use futures_util::StreamExt as _;
    use vfioctl_api::{LogStream, TaskId};

    use super::*;

    #[tokio::test]
    async fn a_reader_follows_until_nothing_more_comes() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let data = tempfile::tempdir().unwrap();
        let folder = TaskFolder::of(data.path(), &TaskId::new(1, 1));
        folder.make().unwrap();
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
