//! Undoes what was set up: every file comes back as it was, byte for byte, unless somebody has
//! edited it since.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind as IoKind;
use std::path::Path;

use crate::apply::{expect_unchanged, run_commands};
use crate::error::Error;
use crate::facts::{Facts, Refresh};
use crate::file::{read_file, remove_file, temporary_path, write_file};
use crate::paths;
use crate::plan::{Command, refresh_commands};
use crate::program::RunProgram;
use crate::record::{RecordFolder, before_path};

/// What is to be done to undo it all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoPlan {
    /// The files that come back, in this order.
    pub steps: Vec<UndoStep>,
    /// The programs to run after that.
    pub commands: Vec<Command>,
    /// What is left alone, as sentences: files that somebody has edited since.
    pub left: Vec<String>,
    /// Whether the machine has to start again before all of it is in effect.
    pub reboot: bool,
    /// Entries of the record whose files are as they were already.
    done: Vec<u32>,
    /// Every file on record.
    paths: BTreeSet<String>,
    folders: Vec<String>,
}

/// A file that comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoStep {
    number: u32,
    path: String,
    now: Vec<u8>,
    /// `None`: there was none.
    before: Option<Vec<u8>>,
    refresh: Option<Refresh>,
}

impl UndoStep {
    /// The file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the file goes, since there was none before.
    pub fn is_removal(&self) -> bool {
        self.before.is_none()
    }

    /// The step as a sentence.
    pub fn text(&self) -> String {
        match self.is_removal() {
            true => format!("remove {}", self.path),
            false => format!("bring {} back as it was", self.path),
        }
    }
}

impl UndoPlan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.commands.is_empty() && self.done.is_empty()
    }
}

/// Plans the undoing of what is on record below `root`.
///
/// # Errors
/// Where the record or a file in it cannot be read.
pub fn plan_undo(root: &Path, facts: &Facts) -> Result<UndoPlan, Error> {
    let folder = RecordFolder::look(root)?;
    let (mut steps, mut left, mut done) = (Vec::new(), Vec::new(), Vec::new());
    // Files as they become, the newest edit undone first.
    let mut files: BTreeMap<&str, Option<Vec<u8>>> = BTreeMap::new();
    let mut touched = BTreeSet::new();
    for entry in folder.record.entries.iter().rev() {
        let (before, after) = folder.copies(entry)?;
        if !files.contains_key(entry.path.as_str()) {
            files.insert(&entry.path, read_file(root, &entry.path)?);
        }
        let Some(file) = files.get_mut(entry.path.as_str()) else {
            continue;
        };
        if *file == before {
            done.push(entry.number);
        } else if let Some(now) = file.take_if(|now| *now == after) {
            touched.extend(entry.refresh);
            steps.push(UndoStep {
                number: entry.number,
                path: entry.path.clone(),
                now,
                before: before.clone(),
                refresh: entry.refresh,
            });
            *file = before;
        } else {
            left.push(match entry.existed {
                true => format!(
                    "{} was edited by somebody since; as it was before is in {}",
                    entry.path,
                    before_path(entry.number)
                ),
                false => format!(
                    "{} was edited by somebody since; before 'vfioctl setup' there was none",
                    entry.path
                ),
            });
        }
    }
    let refreshes: BTreeSet<Refresh> = touched.union(&folder.record.pending).copied().collect();
    let mut commands = Vec::new();
    for refresh in &refreshes {
        commands.extend(refresh_commands(facts, *refresh));
    }
    let boots = |step: &UndoStep| {
        matches!(step.refresh, Some(Refresh::Grub | Refresh::KernelInstall))
            || step.path.contains("/loader/entries/")
    };
    Ok(UndoPlan {
        reboot: steps.iter().any(boots),
        steps,
        commands,
        left,
        done,
        paths: folder
            .record
            .entries
            .iter()
            .map(|entry| entry.path.clone())
            .collect(),
        folders: folder.record.folders,
    })
}

/// Undoes it, below `root`. `tell` hears of each thing before it is done.
///
/// # Errors
/// Where something fails; what is not undone yet stays on record.
pub fn apply_undo(
    root: &Path,
    plan: &UndoPlan,
    programs: &mut dyn RunProgram,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    // An empty plan beside a folder is what is left of a run that was killed at its very end.
    if plan.is_empty() && !paths::below(root, paths::STATE_FOLDER).exists() {
        return Ok(());
    }
    let mut folder = RecordFolder::open(root)?;
    // While they are on record still: nothing knows of them after that.
    for path in &plan.paths {
        remove_file(root, &temporary_path(path))?;
    }
    for step in &plan.steps {
        tell(&step.text());
        expect_unchanged(root, &step.path, Some(&step.now))?;
        // Before the file, so that a crash in between leaves the program to be run.
        folder.record.pending.extend(step.refresh);
        folder.save()?;
        match &step.before {
            Some(before) => write_file(root, &step.path, before, 0o644)?,
            None => remove_file(root, &step.path)?,
        }
        folder.forget(&[step.number])?;
    }
    folder.forget(&plan.done)?;
    remove_folders(root, &plan.folders)?;
    run_commands(&plan.commands, &mut folder, programs, tell)?;
    folder.close()
}

/// Removes the folders that were made, as far as they are empty.
fn remove_folders(root: &Path, folders: &[String]) -> Result<(), Error> {
    for folder in folders.iter().rev() {
        match fs::remove_dir(paths::below(root, folder)) {
            Err(error) if !matches!(error.kind(), IoKind::NotFound | IoKind::DirectoryNotEmpty) => {
                return Err(Error::file(format!("cannot remove '{folder}'"), error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
