//! `vfioctl groups --svg`: the tree and its groups, as a picture.

use std::path::Path;

use vfioctl_core::iommu::Separation;
use vfioctl_scan::read_platform;

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
    if session.output.is_json() {
        return Err(Failure::usage("a picture has no form in JSON")
            .hint("leave out '--json', or ask for 'groups --tree --json'"));
    }
    let seen = read_seen(session)?;
    let root = session.root()?;
    let separation = Separation::of(&seen.snapshot, &read_platform(&root));
    let svg = draw(&seen.snapshot, &separation, &Names::read(&root)).map_err(|error| {
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
