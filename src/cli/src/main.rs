//! The command `vfioctl`.

fn main() -> std::process::ExitCode {
    vfioctl_cli::main()
}
