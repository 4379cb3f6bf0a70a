//! What `tests/lab/build` has built: kernel, disks and guest program, in a folder of the cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::error::{Error, Result, Wrap};

/// The lab's files. Which kernel is in them is chosen by `VFIOCTL_LAB_KERNEL`.
#[derive(Clone, Debug)]
pub struct Image {
    folder: PathBuf,
}

impl Image {
    /// Finds the image, and builds it first where it is missing or out of date.
    ///
    /// # Errors
    ///
    /// When the build fails; its output went to standard error.
    pub fn build() -> Result<Image> {
        static BUILT: OnceLock<Image> = OnceLock::new();
        if let Some(image) = BUILT.get() {
            return Ok(image.clone());
        }
        let script = repository().join("tests/lab/build");
        let output = Command::new(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .wrap_path("run", &script)?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().last() {
            Some(folder) if output.status.success() => Ok(BUILT
                .get_or_init(|| Image {
                    folder: folder.into(),
                })
                .clone()),
            _ => Err(Error::new(format!(
                "{} failed with {}",
                script.display(),
                output.status
            ))),
        }
    }

    /// Names a file of the image.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Names the folder that holds the sources of the whole project.
pub(crate) fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}
