//! `vfioctl report`: this machine in one file, for `groups --dump`.

use std::io::Write as _;
use std::path::Path;

use vfioctl_core::config::{ConfigSpace, ReadConfig as _};
use vfioctl_core::pci::PciFunction;
use vfioctl_core::report::{
    ConfigSource, ReportHead, ReportedFunction, is_reported_parameter, redacted, report_text,
    synthesized,
};
use vfioctl_core::{Answer, Snapshot};
use vfioctl_scan::SysRoot;
use vfioctl_scan::host::read_host;

use crate::Done;
use crate::failure::{Failure, FailureKind};
use crate::seen::{ask_helper, look};
use crate::session::Session;
use crate::verdict::Verdict;

/// Bytes that everyone is shown.
const HEADER: usize = 64;

/// Answers `vfioctl report`.
pub(super) fn run(file: Option<&Path>, session: &mut Session<'_>) -> Done {
    let root = session.root()?;
    let snapshot = look_or_ask(session)?;
    let mut functions = Vec::with_capacity(snapshot.functions.len());
    for function in snapshot.functions.values() {
        functions.push(reported(function, read_config(&root, function, session)));
    }
    let hidden = functions
        .iter()
        .filter(|each| each.source == ConfigSource::HeaderOnly)
        .count();
    let text = report_text(&read_head(&root), &functions);
    match file {
        None => {
            session.output.write(text.as_bytes())?;
        }
        Some(file) => write_file(file, &text)?,
    }
    if hidden > 0 {
        session.output.say(&format!(
            "vfioctl: the report lacks the capabilities of {hidden} functions\n  \
             because: they are shown to root only\n  \
             try: 'sudo vfioctl report', or start the helper: 'systemctl start \
             vfioctl-helper.socket'\n"
        ));
    }
    Ok(Verdict::Yes)
}

/// Root sees everything itself; others see more through the helper, where it answers.
fn look_or_ask(session: &Session<'_>) -> Result<Snapshot, Failure> {
    let own = look(session)?.snapshot;
    let is_whole = own
        .functions
        .values()
        .all(|function| !matches!(function.acs, Answer::CannotSee));
    if is_whole {
        return Ok(own);
    }
    match ask_helper(session) {
        Ok(seen) => Ok(seen.snapshot),
        Err(failure) if failure.kind() == FailureKind::Unreachable => Ok(own),
        Err(failure) => Err(failure),
    }
}

fn read_config(root: &SysRoot, function: &PciFunction, session: &mut Session<'_>) -> ConfigSpace {
    match vfioctl_scan::read_config(root, function.address) {
        Ok(config) => config.unwrap_or_default(),
        Err(error) => {
            session.output.say(&format!("vfioctl: {error}\n"));
            ConfigSpace::default()
        }
    }
}

/// What the report has of a function: its bytes, or the header with what is known beside it.
fn reported(function: &PciFunction, config: ConfigSpace) -> ReportedFunction<'_> {
    let bytes = redacted(&config);
    if config.bytes_seen() > HEADER {
        return ReportedFunction {
            function,
            config: bytes,
            source: ConfigSource::Device,
        };
    }
    match synthesized(&bytes, function) {
        Some(config) => ReportedFunction {
            function,
            config,
            source: ConfigSource::Helper,
        },
        None => ReportedFunction {
            function,
            config: bytes,
            source: ConfigSource::HeaderOnly,
        },
    }
}

fn read_head(root: &SysRoot) -> ReportHead {
    let host = read_host(root);
    let parameters = host.command_line.known().map(|line| {
        let told = line.words().filter(|word| is_reported_parameter(word));
        told.map(str::to_owned).collect()
    });
    ReportHead {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: host.kernel_release.known(),
        distribution: Some(host.distribution.id).filter(|id| !id.is_empty()),
        parameters,
        tables: host.iommu_tables.known(),
        has_acs_override: host.has_acs_override.known(),
    }
}

/// Writes a new file; one that is there stays as it is.
fn write_file(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::File::create_new(file)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .map_err(|error| {
            let what = format!("cannot write the report '{}'", file.display());
            Failure::could_not("OutputFailed", what)
                .because(error.to_string())
                .hint("name a new file in a folder of yours")
        })
}

#[cfg(test)]
mod tests {
    use vfioctl_core::dump::parse_dump;

    use super::*;
    use crate::sample;

    #[test]
    fn where_all_is_known_a_header_is_enough_for_the_same_machine() {
        let seen = sample::desktop();
        let functions: Vec<_> = seen
            .snapshot
            .functions
            .values()
            .map(|function| {
                let mut header = vec![0; HEADER];
                let identity = function.identity;
                header[0..2].copy_from_slice(&identity.vendor.to_le_bytes());
                header[2..4].copy_from_slice(&identity.device.to_le_bytes());
                header[9..12].copy_from_slice(&function.class.code().to_le_bytes()[..3]);
                header[0x0e] = function.header_type.known().unwrap().layout();
                reported(function, ConfigSpace::new(header))
            })
            .collect();
        let text = report_text(&ReportHead::default(), &functions);
        let dump = parse_dump(&text).unwrap();
        for (address, function) in &dump.snapshot.functions {
            let own = seen.snapshot.function(*address).unwrap();
            assert_eq!(
                (function.pcie_type, function.acs, function.iommu_group),
                (own.pcie_type, own.acs, own.iommu_group),
                "{address}"
            );
        }
    }

    #[test]
    fn where_nothing_is_known_the_report_says_so() {
        let seen = sample::desktop_unseen();
        let function = seen.snapshot.functions.values().next().unwrap();
        let reported = reported(function, ConfigSpace::new(vec![0; HEADER]));
        assert_eq!(reported.source, ConfigSource::HeaderOnly);
    }
}
