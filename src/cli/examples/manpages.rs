//! Writes the man pages of every verb into a folder: `cargo run --example manpages -- FOLDER`.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("manpages: name the folder to write to");
        return ExitCode::from(2);
    };
    match write_pages(folder.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manpages: cannot write to '{}': {error}", folder.display());
            ExitCode::from(2)
        }
    }
}

fn write_pages(folder: &std::path::Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(vfioctl_cli::command(), folder)
}
