//! What `tests/lab/build` has built: kernel, disks and guest program, in a folder of the cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::error::{Error, Result, Wrap};

/// Which kernel is wanted: `tests/lab/build` takes it from there too.
const KERNEL: &str = "VFIOCTL_LAB_KERNEL";

/// Which Linux runs in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    /// Debian 12's own.
    V6_1,
    /// The newest that Debian 12 has.
    V6_12,
}

impl Kernel {
    fn name(self) -> &'static str {
        match self {
            Kernel::V6_1 => "6.1",
            Kernel::V6_12 => "6.12",
        }
    }
}

/// The lab's files, for one kernel.
#[derive(Clone, Debug)]
pub struct Image {
    folder: PathBuf,
}

impl Image {
    /// Finds the image of a kernel, and builds it first where it is missing or out of date.
    /// Without a kernel it is the one that `VFIOCTL_LAB_KERNEL` names.
    ///
    /// # Errors
    ///
    /// When the build fails; its output went to standard error.
    pub fn build(kernel: Option<Kernel>) -> Result<Image> {
        match kernel {
            Some(kernel) => Image::build_for(kernel.name()),
            None => Image::build_for(&std::env::var(KERNEL).unwrap_or_else(|_| "6.1".to_owned())),
        }
    }

    /// The same for a kernel that is named here.
    pub(crate) fn build_for(kernel: &str) -> Result<Image> {
        static BUILT: Mutex<BTreeMap<String, Image>> = Mutex::new(BTreeMap::new());
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = built.get(kernel) {
            return Ok(image.clone());
        }
        let script = repository().join("tests/lab/build");
        let output = Command::new(&script)
            .env(KERNEL, kernel)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .wrap_path("run", &script)?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().last() {
            Some(folder) if output.status.success() => {
                let folder = folder.into();
                let image = Image { folder };
                built.insert(kernel.to_owned(), image.clone());
                Ok(image)
            }
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
