//! The program `vfioctl-runner`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    vfioctl_runner::run()
}
