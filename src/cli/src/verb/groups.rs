//! `vfioctl groups`: the IOMMU groups, or the tree.

use super::{dump, picture, predict};
use crate::Done;
use crate::command_line::GroupsArgs;
use crate::failure::Failure;
use crate::names::Names;
use crate::record::GroupsRecord;
use crate::seen::read_seen;
use crate::session::Session;
use crate::verdict::Verdict;
use crate::view::View;

/// Answers `vfioctl groups`.
pub(super) fn run(arguments: &GroupsArgs, session: &mut Session<'_>) -> Done {
    let predicts = arguments.predict || arguments.dump.is_some();
    if !predicts && (!arguments.functions.is_empty() || arguments.at_boot) {
        let what = "addresses and '--at-boot' go with '--predict' or '--dump'";
        return Err(Failure::usage(what).hint("add '--predict', or see 'vfioctl show ADDRESS'"));
    }
    match (&arguments.dump, &arguments.svg) {
        (Some(dump), None) => dump::run(dump, arguments, session),
        (Some(dump), Some(svg)) => picture::run_of_dump(dump, svg, session),
        (None, Some(svg)) => picture::run(svg, session),
        (None, None) if arguments.predict => predict::run(arguments, session),
        (None, None) => list(arguments.tree, session),
    }
}

fn list(tree: bool, session: &mut Session<'_>) -> Done {
    let seen = read_seen(session)?;
    let names = Names::read(&session.root()?);
    let record = groups(
        View {
            seen: &seen,
            names: &names,
        },
        tree,
    );
    if record.groups.is_empty() {
        session.output.progress(
            "this machine has no IOMMU groups; 'vfioctl check' says how to switch the IOMMU on",
        );
    }
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

/// The groups of the machine.
pub(crate) fn groups(view: View<'_>, tree: bool) -> GroupsRecord {
    let snapshot = &view.seen.snapshot;
    let ungrouped = snapshot
        .functions
        .values()
        .filter(|function| function.iommu_group.is_none());
    GroupsRecord {
        seen_by: view.seen.by,
        groups: view
            .seen
            .index()
            .groups()
            .map(|group| view.group(group))
            .collect(),
        ungrouped: ungrouped.map(|function| view.function(function)).collect(),
        tree: tree.then(|| view.tree()),
        problems: view.problems(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;
    use crate::sample;

    #[test]
    fn groups_have_the_shape_of_their_schema() {
        let names = Names::default();
        for seen in [sample::desktop(), sample::desktop_unseen()] {
            for tree in [false, true] {
                assert_answer(
                    "groups",
                    &groups(
                        View {
                            seen: &seen,
                            names: &names,
                        },
                        tree,
                    ),
                );
            }
        }
    }
}
