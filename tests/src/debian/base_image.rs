//! The base image, made once for each change of what it is made of.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use vfioctl_image::{DiskSize, Image, Library, Recipe, Suite, Variant};

use super::packages::{need_packages, read_versions};

/// What making it needs here; what booting it needs, [`super::Guest`] says.
const PACKAGES: [&str; 5] = [
    "debian-archive-keyring",
    "e2fsprogs",
    "fdisk",
    "mmdebstrap",
    "qemu-utils",
];

/// Images are a quarter of a gigabyte each; one that nobody asked for in a week goes.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The base image of a variant; takes a minute or two where there is none yet that was made of the
/// same files and the same versions of packages.
///
/// It is in `VFIOCTL_CACHE`, or in `~/.cache/vfioctl`. Callers may run side by side.
///
/// # Errors
///
/// Why there is none, as a sentence: for a test that cannot run.
pub fn base_image(variant: Variant) -> Result<Image, String> {
    need_packages(&PACKAGES)?;
    let recipe = Recipe {
        name: format!("debian-12-{}", variant.name())
            .parse()
            .map_err(|_| "the variant gives no name")?,
        suite: Suite::Bookworm,
        size: DiskSize::USUAL,
        variant,
        include: Vec::new(),
    };
    let mut key = DefaultHasher::new();
    (recipe.inputs(), read_versions(&recipe.packages())?).hash(&mut key);
    let cache = cache().join("images");
    let at = |error: std::io::Error| format!("cannot use '{}': {error}", cache.display());
    fs::create_dir_all(&cache).map_err(at)?;
    let lock = File::create(cache.join("lock")).map_err(at)?;
    // One maker at a time; the second finds the work done.
    flock(&lock, FlockOperation::LockExclusive).map_err(|errno| at(errno.into()))?;
    let folder = cache.join(format!("{:016x}", key.finish()));
    let library = Library::at(&folder, None);
    let image = match library.find(&recipe.name) {
        Ok(image) => image,
        Err(_) => make(&recipe, &library)?,
    };
    let touched = File::open(&folder).and_then(|folder| folder.set_modified(SystemTime::now()));
    touched.map_err(at)?;
    remove_old(&cache);
    Ok(image)
}

fn make(recipe: &Recipe, library: &Library) -> Result<Image, String> {
    let start = Instant::now();
    let mut tell = |text: &str| eprintln!("image: {text}");
    let made = recipe.create(library, &mut tell);
    let image = made.map_err(|error| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })?;
    eprintln!("image: '{}' made in {:.1?}", image.name, start.elapsed());
    Ok(image)
}

fn cache() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || named("HOME").map_or_else(|| "/root".into(), PathBuf::from);
    let usual = || named("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    named("VFIOCTL_CACHE").map_or_else(|| usual().join("vfioctl"), PathBuf::from)
}

fn remove_old(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|found| found.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if entry.path().is_dir() && age.is_some_and(|age| age > KEPT) {
            // What is in use by somebody stays open to them.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
