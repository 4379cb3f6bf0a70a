//! Reports: one file about a machine that `vfioctl groups --dump` reads on any other, for bug
//! reports and fixtures. It has the form of `lspci -xxxx`, with comments before the devices, and
//! nothing in it tells one machine of a model from another.

mod parameters;
mod redaction;
mod synthesis;

use std::fmt::Write as _;

use crate::config::ConfigSpace;
use crate::dump::REPORT_MARK;
use crate::pci::PciFunction;

pub use parameters::is_reported_parameter;
pub use redaction::redacted;
pub use synthesis::synthesized;

/// What a report says beside the devices; what could not be seen is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportHead {
    /// Version of vfioctl.
    pub version: String,
    /// The kernel's release.
    pub kernel_release: Option<String>,
    /// The distribution's name for programs (`ID` in `os-release`).
    pub distribution: Option<String>,
    /// The kernel parameters that have to do with grouping; see [`is_reported_parameter`].
    pub parameters: Option<Vec<String>>,
    /// Which of DMAR, IVRS and IORT firmware has.
    pub tables: Option<Vec<String>>,
    /// Whether the kernel honours `pcie_acs_override=`.
    pub has_acs_override: Option<bool>,
}

/// What a report has of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedFunction<'a> {
    /// The function.
    pub function: &'a PciFunction,
    /// Its config space, already redacted.
    pub config: Vec<u8>,
    /// Where the bytes beyond the header come from.
    pub source: ConfigSource,
}

/// Where the bytes of a report come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// All of them from the device.
    Device,
    /// The header from the device; PCI Express and ACS capabilities made of what the helper said.
    Helper,
    /// The header only: the rest was not shown.
    HeaderOnly,
}

/// The text of a report.
pub fn report_text(head: &ReportHead, functions: &[ReportedFunction<'_>]) -> String {
    let mut text = head_text(head);
    for reported in functions {
        text.push('\n');
        text.push_str(&function_text(reported));
    }
    text
}

fn head_text(head: &ReportHead) -> String {
    let words = |words: &Option<Vec<String>>| {
        words.as_ref().map(|words| match words.is_empty() {
            true => "none".to_owned(),
            false => words.join(" "),
        })
    };
    let yes_or_no = head
        .has_acs_override
        .map(|is| if is { "yes" } else { "no" });
    let lines = [
        ("vfioctl", Some(head.version.clone())),
        ("kernel", head.kernel_release.clone()),
        ("distribution", head.distribution.clone()),
        ("parameters", words(&head.parameters)),
        ("tables", words(&head.tables)),
        ("honours pcie_acs_override", yes_or_no.map(str::to_owned)),
    ];
    let mut text = format!("# {REPORT_MARK}\n");
    for (key, value) in lines {
        let value = value.unwrap_or_else(|| "cannot see".to_owned());
        // A line feed in a value would begin a line of its own.
        let value: String = value.chars().filter(|at| !at.is_control()).collect();
        // Writing to a string does not fail.
        let _ = writeln!(text, "# {key}: {value}");
    }
    text
}

fn function_text(reported: &ReportedFunction<'_>) -> String {
    let function = reported.function;
    let mut text = String::new();
    let class = function.class;
    let _ = write!(
        text,
        "{} {:02x}{:02x}: {} (rev {:02x})",
        function.address,
        class.base(),
        class.subclass(),
        function.identity,
        function.revision
    );
    if class.interface() != 0 {
        let _ = write!(text, " (prog-if {:02x})", class.interface());
    }
    text.push('\n');
    if let Some(group) = function.iommu_group {
        let _ = writeln!(text, "\tIOMMU group: {group}");
    }
    if let Some(driver) = &function.driver {
        let _ = writeln!(text, "\tKernel driver in use: {driver}");
    }
    let note = match reported.source {
        ConfigSource::Device => "",
        ConfigSource::Helper => "# capabilities made of what vfioctl-helper says\n",
        ConfigSource::HeaderOnly => "# capabilities not shown to this user\n",
    };
    text.push_str(note);
    let bytes = reported.config.chunks(16).take(ConfigSpace::MAX_BYTES / 16);
    for (index, line) in bytes.enumerate() {
        let _ = write!(text, "{:02x}:", index * 16);
        for byte in line {
            let _ = write!(text, " {byte:02x}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
