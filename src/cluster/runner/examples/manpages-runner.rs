//! Writes the man pages of `vfioctl-runner` into a folder: `cargo run --example manpages-runner -- FOLDER`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("manpages-runner: name the folder to write to");
        return ExitCode::from(2);
    };
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| clap_mangen::generate_to(vfioctl_runner::command(), &folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let shown = folder.display();
            eprintln!("manpages-runner: cannot write to '{shown}': {error}");
            ExitCode::from(2)
        }
    }
}
