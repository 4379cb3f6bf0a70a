//! Completion in the shell: the shell runs this command with `COMPLETE` set, and it answers with
//! what could stand there, addresses of this machine included.

use std::ffi::OsStr;

use clap_complete::CompletionCandidate;
use vfioctl_image::Library;
use vfioctl_scan::{SysRoot, read_snapshot};

use crate::names::Names;

/// The addresses that begin with what was typed, each with the name of its device. Nothing, where
/// the machine cannot be read: a shell has no place for errors.
pub(crate) fn complete_address(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else {
        return Vec::new();
    };
    let Ok(root) = SysRoot::live() else {
        return Vec::new();
    };
    let Ok(snapshot) = read_snapshot(&root, vfioctl_scan::HostView::BestEffort) else {
        return Vec::new();
    };
    let names = Names::read(&root);
    let candidates = snapshot.functions.values().filter_map(|function| {
        let address = matching(&function.address.to_string(), typed)?;
        Some(CompletionCandidate::new(address).help(Some(names.line(function).into())))
    });
    candidates.collect()
}

/// The names of images that begin with what was typed, in the folder that images are in unless an
/// option says otherwise: which option was typed, a completion is not told.
pub(crate) fn complete_image(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else {
        return Vec::new();
    };
    let folder = std::env::var_os("VFIOCTL_IMAGES");
    let folder = folder.unwrap_or_else(|| Library::DEFAULT_FOLDER.into());
    let images = Library::at(folder, None).list().unwrap_or_default().images;
    let names = images.iter().map(|image| image.name.as_str());
    names
        .filter(|name| name.starts_with(typed))
        .map(CompletionCandidate::new)
        .collect()
}

/// The address in the form that was begun: with the domain, or without it.
fn matching(address: &str, typed: &str) -> Option<String> {
    if address.starts_with(typed) {
        return Some(address.to_owned());
    }
    let short = address.strip_prefix("0000:")?;
    short.starts_with(typed).then(|| short.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_completed_in_the_form_that_was_begun() {
        let cases = [
            ("", Some("0000:01:00.0")),
            ("0000:0", Some("0000:01:00.0")),
            ("01", Some("01:00.0")),
            ("02", None),
        ];
        for (typed, expected) in cases {
            assert_eq!(
                matching("0000:01:00.0", typed).as_deref(),
                expected,
                "{typed:?}"
            );
        }
        assert_eq!(matching("10000:01:00.0", "01"), None);
    }
}
