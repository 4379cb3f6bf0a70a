//! The comments that `vfioctl report` puts before the devices: what no register tells.

use super::limits;

/// The first comment of a report, and of nothing else.
pub const MARK: &str = "vfioctl report 1";

/// What the comments of a report say. In any other dump they say nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Comments {
    pub(super) is_report: bool,
    /// `kernel`.
    pub(super) kernel_release: Option<String>,
    /// `parameters`: those that have to do with grouping.
    pub(super) command_line: Option<String>,
    /// `tables`: which of DMAR, IVRS and IORT firmware has.
    pub(super) tables: Option<String>,
    /// `honours pcie_acs_override`.
    pub(super) has_acs_override: Option<bool>,
}

impl Comments {
    /// Takes in one more comment.
    pub(super) fn read(&mut self, comment: &str) {
        if comment == MARK {
            self.is_report = true;
        }
        if !self.is_report {
            return;
        }
        let Some((key, value)) = comment.split_once(':') else {
            return;
        };
        let value = value.trim();
        if value.len() > limits::COMMENT {
            return;
        }
        match key {
            "kernel" => self.kernel_release = Some(value.to_owned()),
            "parameters" => self.command_line = Some(value.to_owned()),
            "tables" => self.tables = Some(value.to_owned()),
            "honours pcie_acs_override" => {
                self.has_acs_override = match value {
                    "yes" => Some(true),
                    "no" => Some(false),
                    _ => None,
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_count_only_in_a_report() {
        let mut comments = Comments::default();
        comments.read("kernel: 6.1.0-50-amd64");
        assert_eq!(comments.kernel_release, None);
        comments.read(MARK);
        comments.read("kernel: 6.1.0-50-amd64");
        comments.read("honours pcie_acs_override: no");
        assert_eq!(comments.kernel_release.as_deref(), Some("6.1.0-50-amd64"));
        assert_eq!(comments.has_acs_override, Some(false));
    }
}
