//! Applies a plan: each edit is put on record, then made; then the programs run.
//!
//! Where something fails, everything stops and the record says how far it came. Nothing is undone
//! by itself: what was done is right as far as it goes, the next run goes on from there, and
//! `plan_undo` brings it all back.

use std::path::Path;

use crate::edit::Edit;
use crate::error::{Error, ErrorKind};
use crate::file::{make_folder, missing_folders, read_file, write_file};
use crate::plan::{Command, Plan};
use crate::program::RunProgram;
use crate::record::RecordFolder;

/// Applies a plan below `root`. `tell` hears of each thing before it is done.
///
/// # Errors
/// Where something fails; what was done until then stays, and is on record.
pub fn apply(
    root: &Path,
    plan: &Plan,
    programs: &mut dyn RunProgram,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    if plan.is_empty() {
        return Ok(());
    }
    let mut folder = RecordFolder::open(root)?;
    for edit in &plan.edits {
        tell(&edit.text());
        make_edit(root, edit, &mut folder)?;
    }
    run_commands(&plan.commands, &mut folder, programs, tell)?;
    // Where only a module was loaded there is nothing to keep.
    folder.close()
}

fn make_edit(root: &Path, edit: &Edit, folder: &mut RecordFolder) -> Result<(), Error> {
    expect_unchanged(root, &edit.path, edit.before.as_deref())?;
    let folders = missing_folders(root, &edit.path);
    folder.note(edit, folders.clone())?;
    for folder in folders {
        make_folder(root, &folder)?;
    }
    write_file(root, &edit.path, &edit.after, edit.mode)
}

/// Makes sure that a file is as it was seen.
///
/// # Errors
/// Where it is not.
pub(crate) fn expect_unchanged(root: &Path, path: &str, seen: Option<&[u8]>) -> Result<(), Error> {
    match read_file(root, path)?.as_deref() == seen {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Changed,
            format!("'{path}' was changed by somebody since the plan was made"),
        )),
    }
}

/// Runs programs; what they bring into effect is pending until all have ended well.
///
/// # Errors
/// Where one fails.
pub(crate) fn run_commands(
    commands: &[Command],
    folder: &mut RecordFolder,
    programs: &mut dyn RunProgram,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    for command in commands {
        tell(&format!("run {}", command.text()));
        programs.run(command)?;
    }
    if !folder.record.pending.is_empty() {
        folder.record.pending.clear();
        folder.save()?;
    }
    Ok(())
}
