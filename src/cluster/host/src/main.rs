//! The program `vfioctl-host`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vfioctl_host::run()
}
