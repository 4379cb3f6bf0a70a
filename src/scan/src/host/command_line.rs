//! `/proc/cmdline`: the parameters of the running kernel.

use vfioctl_core::Answer;
use vfioctl_core::check::CommandLine;

use crate::SysRoot;

pub(crate) fn read_command_line(root: &SysRoot) -> Answer<CommandLine> {
    super::seen(root.proc.read_text("cmdline")).map(CommandLine::new)
}
