//! Images: found, pulled, or made from an archive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bollard::Docker;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{
    CreateImageOptions, CreateImageOptionsBuilder, ImportImageOptionsBuilder, RemoveImageOptions,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use vfioctl_api::ArchiveName;

use super::archive::{Archive, Content, Mark};
use super::engine::{EngineError, limited, limited_if_there};
use super::folder::{read_json, write_json};
use crate::limits::{ENGINE_TIME, IMAGE_SILENCE, PROGRESS_BEAT};
use crate::world::{Begin, StartError};

/// The repository under which images are known that were made from archives of root file systems.
const REPOSITORY: &str = "vfioctl-archive";

/// Images that were made from archives, and from which.
#[derive(Debug)]
pub(super) struct Archives {
    folder: PathBuf,
    notes: PathBuf,
    /// One at a time: two containers of one archive would load it twice.
    loading: Mutex<()>,
}

/// What an archive became.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    mark: Mark,
    image: String,
}

/// Makes sure of an image, and tells its name.
///
/// # Errors
/// [`StartError`].
pub(super) async fn ensure_image(
    engine: &Docker,
    image: &str,
    begin: &Begin,
) -> Result<(), StartError> {
    if find_image(engine, image).await?.is_some() {
        return Ok(());
    }
    begin.tell(format!("pulling {image}"));
    let (name, tag) = split_tag(image);
    let options = CreateImageOptionsBuilder::default()
        .from_image(name)
        .tag(tag)
        .build();
    let mut progress = Progress::default();
    let mut stream = Box::pin(engine.create_image(Some(options), None, None));
    let what = format!("image '{image}' cannot be pulled");
    while let Some(info) = next(&mut stream, begin, &what).await? {
        if let Some(text) = progress.note(&info) {
            begin.tell(format!("pulling {image}: {text}"));
        }
    }
    match find_image(engine, image).await? {
        Some(_) => Ok(()),
        None => Err(StartError::not_now(format!(
            "{what}: the engine pulled it and does not have it"
        ))),
    }
}

async fn find_image(engine: &Docker, image: &str) -> Result<Option<ImageInspect>, StartError> {
    let found = limited_if_there(ENGINE_TIME, engine.inspect_image(image)).await;
    found.map_err(|error| StartError::not_now(error.to_string()))
}

/// The next word of a stream about an image; none at its end.
async fn next<T>(
    stream: &mut (impl Stream<Item = Result<T, bollard::errors::Error>> + Unpin),
    begin: &Begin,
    what: &str,
) -> Result<Option<T>, StartError> {
    tokio::select! {
        biased;
        () = begin.cancelled() => Err(StartError::Cancelled),
        next = tokio::time::timeout(IMAGE_SILENCE, stream.next()) => match next {
            Err(_) => Err(StartError::not_now(format!(
                "{what}: the engine has said nothing for {} s",
                IMAGE_SILENCE.as_secs()
            ))),
            Ok(None) => Ok(None),
            Ok(Some(Ok(word))) => Ok(Some(word)),
            Ok(Some(Err(error))) => Err(refused(what, error.into())),
        },
    }
}

/// Whether an engine's no is one for ever: there is no such image, or nobody may have it.
fn refused(what: &str, error: EngineError) -> StartError {
    let text = format!("{what}: {error}");
    let EngineError::Refused { status, message } = &error else {
        return StartError::not_now(text);
    };
    let lower = message.to_lowercase();
    const NO: [&str; 6] = [
        "manifest unknown",
        "not found",
        "does not exist",
        "access denied",
        "unauthorized",
        "invalid reference",
    ];
    // What could not be looked up is not what is not there.
    let is_network = ["lookup", "dial", "timeout", "connection", "no such host"]
        .iter()
        .any(|word| lower.contains(word));
    match *status == 400 || NO.iter().any(|word| lower.contains(word)) {
        true if !is_network => StartError::never(text),
        _ => StartError::not_now(text),
    }
}

/// `name` and `tag` of an image; a digest counts as a tag for the engine, and with neither it is `latest`:
/// without any, the engine would pull all tags.
fn split_tag(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    let from = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.get(from..).and_then(|last| last.find(':')) {
        Some(colon) => (
            image.get(..from + colon).unwrap_or(image),
            image.get(from + colon + 1..).unwrap_or_default(),
        ),
        None => (image, "latest"),
    }
}

/// How far a pull has come, over all layers.
#[derive(Debug, Default)]
struct Progress {
    layers: BTreeMap<String, (i64, i64)>,
    told: Option<Instant>,
}

impl Progress {
    /// Notes what the engine says; tells it in a sentence, when it is time.
    fn note(&mut self, info: &CreateImageInfo) -> Option<String> {
        let detail = info.progress_detail.as_ref()?;
        // Unpacking counts from nothing again.
        if info.status.as_deref() != Some("Downloading") {
            return None;
        }
        let layer = (detail.current?, detail.total?);
        self.layers.insert(info.id.clone()?, layer);
        if self.told.is_some_and(|told| told.elapsed() < PROGRESS_BEAT) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(self.text())
    }

    fn text(&self) -> String {
        let mb = |bytes: i64| bytes.max(0) / 1_000_000;
        let (done, all) = self
            .layers
            .values()
            .fold((0, 0), |(done, all), layer| (done + layer.0, all + layer.1));
        format!("{} of {} MB", mb(done), mb(all))
    }
}

impl Archives {
    pub(super) fn new(folder: PathBuf, data: &Path) -> Self {
        Self {
            folder,
            notes: data.join("archives"),
            loading: Mutex::default(),
        }
    }

    /// Makes sure of the image of an archive, and tells its ID. An archive that was replaced is loaded
    /// again.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) async fn ensure(
        &self,
        engine: &Docker,
        name: &ArchiveName,
        begin: &Begin,
    ) -> Result<String, StartError> {
        let _one = tokio::select! {
            biased;
            () = begin.cancelled() => return Err(StartError::Cancelled),
            one = self.loading.lock() => one,
        };
        let archive = Archive::find(&self.folder, name).map_err(StartError::never)?;
        let note = self.notes.join(format!("{name}.json"));
        let before: Option<Made> = read_json(&note).ok().flatten();
        if let Some(made) = before.as_ref().filter(|made| made.mark == archive.mark)
            && find_image(engine, &made.image).await?.is_some()
        {
            return Ok(made.image.clone());
        }
        begin.tell(format!("loading archive '{name}'"));
        let looked = archive.clone();
        let content = tokio::task::spawn_blocking(move || looked.content()).await;
        let content = content
            .map_err(|error| StartError::not_now(error.to_string()))?
            .map_err(StartError::never)?;
        let image = match content {
            Content::Image => load(engine, &archive, name, begin).await?,
            Content::RootFileSystem => import(engine, &archive, name, begin).await?,
        };
        let made = Made {
            mark: archive.mark,
            image,
        };
        let write =
            std::fs::create_dir_all(&self.notes).and_then(|()| write_json(&note, &made, false));
        if let Err(error) = write {
            // It is loaded once more the next time.
            crate::log::warning(&format!("'{}': {error}, ignoring", note.display()));
        }
        if let Some(before) = before.filter(|before| before.image != made.image) {
            remove_unnamed(engine, &before.image).await;
        }
        Ok(made.image)
    }
}

/// Removes an image that an archive was before, where nothing else names or uses it.
async fn remove_unnamed(engine: &Docker, image: &str) {
    let found = limited_if_there(ENGINE_TIME, engine.inspect_image(image)).await;
    if found.is_ok_and(|found| {
        found.is_some_and(|found| found.repo_tags.unwrap_or_default().is_empty())
    }) {
        // The engine refuses while a container uses it; then it stays, as any image does.
        let _ = limited(
            ENGINE_TIME,
            engine.remove_image(image, None::<RemoveImageOptions>, None),
        )
        .await;
    }
}

async fn load(
    engine: &Docker,
    archive: &Archive,
    name: &ArchiveName,
    begin: &Begin,
) -> Result<String, StartError> {
    let what = format!("archive '{name}' cannot be loaded");
    let body = bollard::body_try_stream(read_in_thread(archive));
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let mut stream = Box::pin(engine.import_image(options, body, None));
    let mut loaded = None;
    while let Some(info) = next(&mut stream, begin, &what).await? {
        let line = info.stream.unwrap_or_default();
        // Podman names several on one line; Docker one a line, by ID where it has no name.
        let named = line
            .trim()
            .strip_prefix("Loaded image ID:")
            .or_else(|| line.trim().strip_prefix("Loaded image:"));
        if let Some(first) = named.and_then(|names| names.split(',').next()) {
            loaded.get_or_insert(first.trim().to_owned());
        }
    }
    let Some(image) = loaded else {
        return Err(StartError::never(format!(
            "{what}: the engine found no image in it"
        )));
    };
    image_id(engine, &image, &what).await
}

async fn import(
    engine: &Docker,
    archive: &Archive,
    name: &ArchiveName,
    begin: &Begin,
) -> Result<String, StartError> {
    let what = format!("archive '{name}' cannot be imported");
    let body = bollard::body_try_stream(read_in_thread(archive));
    let options: CreateImageOptions = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(REPOSITORY)
        .tag(name.as_str())
        .build();
    let mut stream = Box::pin(engine.create_image(Some(options), Some(body), None));
    while next(&mut stream, begin, &what).await?.is_some() {}
    image_id(engine, &format!("{REPOSITORY}:{name}"), &what).await
}

async fn image_id(engine: &Docker, image: &str, what: &str) -> Result<String, StartError> {
    let found = limited(ENGINE_TIME, engine.inspect_image(image)).await;
    let found = found.map_err(|error| StartError::not_now(format!("{what}: {error}")))?;
    found
        .id
        .ok_or_else(|| StartError::not_now(format!("{what}: the engine tells no ID of it")))
}

/// Reads an archive beside everything else, as fast as the engine takes it.
fn read_in_thread(
    archive: &Archive,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    const CHUNK: usize = 1 << 20;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let archive = archive.clone();
    tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let read = || -> std::io::Result<()> {
            let mut tar = archive.open()?;
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                (&mut tar).take(CHUNK as u64).read_to_end(&mut chunk)?;
                // An engine that has gone takes nothing more.
                if chunk.is_empty() || sender.blocking_send(Ok(Bytes::from(chunk))).is_err() {
                    return Ok(());
                }
            }
        };
        if let Err(error) = read() {
            // A body that is cut is refused by the engine.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        for (image, name, tag) in [
            ("python", "python", "latest"),
            ("python:3-slim", "python", "3-slim"),
            ("h:5000/a/b", "h:5000/a/b", "latest"),
            ("h:5000/a/b:1", "h:5000/a/b", "1"),
            ("a/b@sha256:00", "a/b", "sha256:00"),
        ] {
            assert_eq!(split_tag(image), (name, tag));
        }
    }

    #[test]
    fn progress_is_told_over_all_layers_and_not_too_often() {
        let info = |id: &str, status: &str, current, total| CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        };
        let mut progress = Progress::default();
        let first = progress.note(&info("a", "Downloading", 30_000_000, 100_000_000));
        assert_eq!(first.as_deref(), Some("30 of 100 MB"));
        assert_eq!(
            progress.note(&info("b", "Downloading", 4_000_000, 20_000_000)),
            None,
            "too soon"
        );
        assert_eq!(
            progress.note(&info("a", "Extracting", 1, 100_000_000)),
            None
        );
        assert_eq!(progress.text(), "34 of 120 MB");
    }

    #[test]
    fn what_is_not_there_is_a_no_and_what_cannot_be_asked_is_not() {
        let refused = |status, message: &str| {
            refused(
                "it",
                EngineError::Refused {
                    status,
                    message: message.into(),
                },
            )
        };
        let is_final = |error| {
            matches!(
                error,
                StartError::Failed {
                    may_retry: false,
                    ..
                }
            )
        };
        assert!(is_final(refused(
            404,
            "pull access denied for x, repository does not exist"
        )));
        assert!(is_final(refused(
            404,
            "manifest for x:y not found: manifest unknown"
        )));
        assert!(is_final(refused(400, "invalid reference format")));
        assert!(!is_final(refused(
            500,
            "Get https://registry: dial tcp: lookup registry: no such host"
        )));
        assert!(!is_final(refused(
            500,
            "dial tcp: lookup h on 127.0.0.1:53: server not found"
        )));
        assert!(!is_final(super::refused(
            "it",
            EngineError::Unreachable("x".into())
        )));
    }
}
