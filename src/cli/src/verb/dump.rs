//! `vfioctl groups --dump`: the groups of another machine, from a text.

use std::io::{self, Read};
use std::path::Path;

use vfioctl_core::acs::REQUIRED;
use vfioctl_core::dump::{Dump, parse_dump_with_names};
use vfioctl_core::iommu::Topology;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::Refusal;
use vfioctl_core::{Answer, Snapshot};

use crate::Done;
use crate::command_line::GroupsArgs;
use crate::failure::Failure;
use crate::limits;
use crate::names::Names;
use crate::prediction::predicted;
use crate::record::PredictionRecord;
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl groups --dump`.
pub(super) fn run(file: &Path, arguments: &GroupsArgs, session: &mut Session<'_>) -> Done {
    let names = names(session);
    let dump = read_dump(file, &names)?;
    let mut record = predicted_of_dump(&dump, arguments.at_boot, &names);
    record.only = only(&arguments.functions, &dump.snapshot)?;
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

/// Names of numbers only; nothing else of this machine is looked at.
pub(super) fn names(session: &Session<'_>) -> Names {
    session
        .root()
        .map_or_else(|_| Names::default(), |root| Names::read(&root))
}

/// Reads a dump.
///
/// # Errors
/// Where the file cannot be read, or is none.
pub(super) fn read_dump(file: &Path, names: &Names) -> Result<Dump, Failure> {
    parse_dump_with_names(&read(file)?, names).map_err(|error| {
        Failure::usage(format!("'{}' is no dump of a machine", file.display()))
            .because(error.to_string())
            .hint(error.hint())
    })
}

/// The functions that were named, which must be there.
///
/// # Errors
/// Where one is not.
pub(super) fn only(functions: &[PciAddress], snapshot: &Snapshot) -> Result<Vec<String>, Failure> {
    if let Some(unknown) = functions
        .iter()
        .find(|at| snapshot.function(**at).is_none())
    {
        let refusal = Refusal::UnknownAddress(*unknown);
        return Err(Failure::could_not(refusal.name(), refusal.to_string())
            .hint("leave out the address to see every function"));
    }
    Ok(functions.iter().map(ToString::to_string).collect())
}

/// The prediction of a dump.
pub(crate) fn predicted_of_dump(dump: &Dump, at_boot: bool, names: &Names) -> PredictionRecord {
    let platform = dump.platform();
    let mut topology = Topology::of(&dump.snapshot);
    if at_boot {
        topology = topology.at_boot(&platform.acs_parameters);
    }
    let mut record = predicted(
        &topology,
        &dump.snapshot,
        &platform,
        &dump.missing_bridges,
        names,
    );
    // What separates or joins may be just what is missing.
    if record.partial
        && let Some(kernel) = &mut record.kernel
        && kernel.equal == Some(false)
    {
        kernel.equal = None;
    }
    record.notes = notes(dump, at_boot, !record.uncertain.is_empty());
    record
}

fn notes(dump: &Dump, at_boot: bool, is_uncertain: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if is_uncertain {
        notes.push(
            "the dump does not show all that decides; 'sudo lspci -D -xxxx' on that machine does"
                .to_owned(),
        );
    }
    if dump.hides_buses {
        notes.push(
            "the dump does not tell which buses its bridges lead to, so who is behind whom is not \
             known; 'lspci -v' and 'lspci -xxxx' tell"
                .to_owned(),
        );
    }
    if dump.has_assumed_acs {
        notes.push(
            "the dump names ACS without its bits; they are taken as Linux sets them at boot"
                .to_owned(),
        );
    }
    if !at_boot && !dump.has_kernel_groups && is_every_bit_off(&dump.snapshot) {
        notes.push(
            "no ACS bit is on, as where the IOMMU is off; '--at-boot' predicts with it on"
                .to_owned(),
        );
    }
    notes
}

/// Whether some function offers bits that Linux would set, and none has one set.
fn is_every_bit_off(snapshot: &Snapshot) -> bool {
    let mut offers = false;
    for function in snapshot.functions.values() {
        if let Answer::Known(Some(acs)) = function.acs {
            if acs.capability() & acs.control() & REQUIRED != 0 {
                return false;
            }
            offers |= acs.capability() & REQUIRED != 0;
        }
    }
    offers
}

fn read(file: &Path) -> Result<String, Failure> {
    let name = file.display();
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        io::stdin()
            .lock()
            .take(limits::DUMP_FILE)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file)
            .and_then(|open| open.take(limits::DUMP_FILE).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        Failure::could_not("CannotRead", format!("cannot read the dump '{name}'"))
            .because(error.to_string())
            .hint("give the file that 'sudo lspci -D -xxxx > FILE' wrote")
    })?;
    // Names in a dump may be in any encoding; what decides is ASCII.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use vfioctl_core::dump::parse_dump;

    use super::*;
    use crate::record::schema::assert_answer;

    const SHARED: &str = "\
00:00.0 0600: 1022:1480
\tIOMMU group: 0
00:01.0 0604: 1022:1483
\tBus: primary=00, secondary=01, subordinate=02, sec-latency=0
\tCapabilities: [58] Express (v2) Root Port (Slot+), MSI 00
\tCapabilities: [100 v1] Access Control Services
\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
\t\tACSCtl:\tSrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-
\tIOMMU group: 1
01:00.0 0300: 10de:2684
\tCapabilities: [60] Express (v2) Endpoint, MSI 00
\tIOMMU group: 1
05:00.0 0108: 144d:a80a
\tCapabilities: [60] Express (v2) Endpoint, MSI 00
\tIOMMU group: 2
";

    #[test]
    fn every_dump_has_the_shape_of_the_schema() {
        let names = Names::default();
        for text in [SHARED, "00:02.0 0300: 8086:46a6\n"] {
            let dump = parse_dump(text).unwrap();
            for at_boot in [false, true] {
                assert_answer("prediction", &predicted_of_dump(&dump, at_boot, &names));
            }
        }
    }

    #[test]
    fn bits_that_are_off_are_named_and_a_boot_sets_them() {
        let dump = parse_dump(SHARED).unwrap();
        let now = predicted_of_dump(&dump, false, &Names::default());
        let why = &now.why["0000:01:00.0"];
        assert_eq!(why.decided_by.as_deref(), Some("0000:00:01.0"));
        assert_eq!(why.missing, ["sv", "rr", "cr", "uf"]);
        assert_eq!(now.missing_bridges, ["the bridge to bus 0000:05"]);
        assert!(
            now.kernel
                .as_ref()
                .is_some_and(|kernel| kernel.equal == Some(true))
        );
        let booted = predicted_of_dump(&dump, true, &Names::default());
        assert_eq!(booted.why["0000:01:00.0"].decision, "alone");
    }
}
