//! `vfioctl show`: everything about one function.

use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::Refusal;

use crate::Done;
use crate::failure::Failure;
use crate::names::Names;
use crate::seen::read_seen;
use crate::session::Session;
use crate::verdict::Verdict;
use crate::view::View;

/// Answers `vfioctl show`.
pub(super) fn run(address: PciAddress, session: &mut Session<'_>) -> Done {
    let seen = read_seen(session)?;
    let names = Names::read(&session.root()?);
    let function = seen.snapshot.function(address).ok_or_else(|| {
        let refusal = Refusal::UnknownAddress(address);
        Failure::could_not(refusal.name(), refusal.to_string()).hint(refusal.hint())
    })?;
    let record = View {
        seen: &seen,
        names: &names,
    }
    .show(function);
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;
    use crate::sample;

    #[test]
    fn every_function_has_the_shape_of_the_schema() {
        let names = Names::default();
        for seen in [
            sample::desktop(),
            sample::desktop_unseen(),
            sample::desktop_pinned(),
            sample::desktop_shared(),
        ] {
            let view = View {
                seen: &seen,
                names: &names,
            };
            for function in seen.snapshot.functions.values() {
                assert_answer("show", &view.show(function));
            }
        }
    }
}
