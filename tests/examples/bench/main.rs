//! `scripts/bench`: vfioctl beside the programs that people use today, in one run.
//!
//! What is compared runs alternately, on the same machine; so the ratios can be believed, and the
//! times only as much as the machine was idle. Where the kernel has a part in it, the machine is
//! the lab, which is emulated: everything takes some ten times as long there as on a real one.
//!
//! The program also serves itself: it is copied into the lab as a client of the helper without the
//! start of a process ([`client`]), and runs itself in a mount namespace ([`tree`]).

mod acs;
mod bind;
mod client;
mod cluster;
mod helper;
mod predict;
mod scan;
mod size;
mod table;
mod timing;
mod tree;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use vfioctl_tests::lab::{Lab, Product, Profile};

use table::Table;

/// A measurement that cannot be made says why.
type Result<T> = std::result::Result<T, String>;

const USAGE: &str = "usage: bench BIN_DIR [scan|predict|bind|acs|helper|cluster|size]...\n";

/// Where this program lies in the lab.
const IN_LAB: &str = "/opt/bench";

/// Longest that one script in the lab may take.
const LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["client", socket, request] => client::main(socket, request),
        ["answer"] => client::answer_once(),
        ["predict", size] => predict::main(size),
        ["tree", program, sizes @ ..] => tree::main(program, sizes),
        [folder, parts @ ..] => return measure(PathBuf::from(folder), parts),
        [] => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "bench: {message}");
            ExitCode::from(2)
        }
    }
}

/// One part of the measurements.
type Part = fn(&mut Bench) -> Result<()>;

/// What every part has to work with.
struct Bench {
    /// The release binaries.
    folder: PathBuf,
    table: Table,
}

fn measure(folder: PathBuf, parts: &[&str]) -> ExitCode {
    let mut bench = Bench {
        folder,
        table: Table::default(),
    };
    let wants = |name: &str| parts.is_empty() || parts.contains(&name);
    let all: [(&str, Part); 7] = [
        ("scan", scan::measure),
        ("predict", predict::measure),
        ("bind", bind::measure),
        ("acs", acs::measure),
        ("helper", helper::measure),
        ("cluster", cluster::measure),
        ("size", size::measure),
    ];
    for (name, part) in all {
        if wants(name)
            && let Err(reason) = part(&mut bench)
        {
            bench.table.did_not_run(name, reason);
        }
    }
    let _ = write!(std::io::stdout(), "{}", bench.table);
    ExitCode::from(u8::from(!bench.table.is_complete()))
}

impl Bench {
    /// A machine with vfioctl and this program in it.
    fn lab(&self) -> Result<Lab> {
        let text = |error: vfioctl_tests::lab::Error| error.to_string();
        let product = Product::from_binaries(&self.folder).map_err(text)?;
        let lab = Lab::restore_installed(Profile::Plain, &product).map_err(text)?;
        let own = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
        lab.push(&own, IN_LAB).map_err(text)?;
        Ok(lab)
    }
}

/// Runs a script in the lab and gives its output.
fn run(lab: &Lab, script: &str) -> Result<String> {
    lab.run(script, LIMIT)
        .and_then(vfioctl_tests::lab::Output::success)
        .map_err(|error| error.to_string())
}
