//! `vfioctl groups --svg`: the tree and its groups, as a picture.

use std::path::Path;

use vfioctl_core::Snapshot;
use vfioctl_core::acs::Platform;
use vfioctl_core::iommu::Separation;
use vfioctl_scan::read_platform;

use super::dump::{names, read_dump};
use crate::Done;
use crate::answer_file::write_answer_file;
use crate::failure::Failure;
use crate::names::Names;
use crate::picture::draw;
use crate::seen::read_seen;
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl groups --svg`.
pub(super) fn run(file: &Path, session: &mut Session<'_>) -> Done {
    refuse_json(session)?;
    let seen = read_seen(session)?;
    let root = session.root()?;
    let platform = read_platform(&root);
    write(
        &seen.snapshot,
        &platform,
        &Names::read(&root),
        file,
        session,
    )
}

/// The same of another machine, from its dump.
pub(super) fn run_of_dump(dump: &Path, file: &Path, session: &mut Session<'_>) -> Done {
    refuse_json(session)?;
    let names = names(session);
    let dump = read_dump(dump, &names)?;
    write(&dump.snapshot, &dump.platform(), &names, file, session)
}

fn refuse_json(session: &Session<'_>) -> Result<(), Failure> {
    if session.output.is_json() {
        return Err(Failure::usage("a picture has no form in JSON")
            .hint("leave out '--json', or ask for 'groups --tree --json'"));
    }
    Ok(())
}

fn write(
    snapshot: &Snapshot,
    platform: &Platform,
    names: &Names,
    file: &Path,
    session: &mut Session<'_>,
) -> Done {
    let separation = Separation::of(snapshot, platform);
    let svg = draw(snapshot, &separation, names).map_err(|error| {
        Failure::could_not("TooMany", "cannot draw this machine")
            .because(error.to_string())
            .hint("read 'vfioctl groups --tree', which has no such limit")
    })?;
    if file == Path::new("-") {
        session.output.write(svg.as_bytes())?;
    } else {
        write_answer_file(file, &svg)?;
    }
    Ok(Verdict::Yes)
}
