//! `scripts/lab`: a shell, or one command, in the lab.

use std::io::Write;
use std::process::ExitCode;

use vfioctl_tests::lab::visit;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match visit::main(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "lab: {error}");
            ExitCode::from(2)
        }
    }
}
