//! The privileged helper of vfioctl.

use std::process::ExitCode;

fn main() -> ExitCode {
    vfioctl_helper::run()
}
