//! The command line of `scripts/lab`.

use std::io::Write;
use std::time::{Duration, Instant};

use super::error::{Error, Result, Wrap};
use super::{Lab, Product, Profile, shell};

const USAGE: &str = "\
Usage: scripts/lab [OPTIONS]               a shell in the lab
       scripts/lab [OPTIONS] run COMMAND   one command, its output and its exit status

Options:
  --root              be root, not alice
  --bare              without vfioctl
  --profile PROFILE   plain (default), vendor: shows cards of NVIDIA, AMD and Intel, or
                      engines: Docker and Podman run
  --kernel VERSION    6.1 (default) or 6.12
";

const RUN_LIMIT: Duration = Duration::from_secs(600);

struct Visit {
    user: &'static str,
    is_bare: bool,
    profile: Profile,
    command: Option<String>,
}

/// Runs `scripts/lab` and returns its exit status.
///
/// # Errors
///
/// When the arguments are wrong or the lab does not start.
pub fn main(args: &[String]) -> Result<u8> {
    if args.iter().any(|arg| arg == "--help") {
        print(USAGE)?;
        return Ok(0);
    }
    let visit = parse(args)?;
    let start = Instant::now();
    let lab = open(&visit)?;
    match &visit.command {
        Some(command) => {
            let output = match visit.user {
                "root" => lab.run(command, RUN_LIMIT)?,
                user => lab.run_as(user, command, RUN_LIMIT)?,
            };
            print(&output.text)?;
            Ok(u8::try_from(output.rc).unwrap_or(u8::MAX))
        }
        None => {
            print(&welcome(&visit, start.elapsed()))?;
            lab.shell(visit.user)?;
            Ok(0)
        }
    }
}

fn open(visit: &Visit) -> Result<Lab> {
    if visit.is_bare {
        return Lab::restore_for(visit.profile, shell::LIFE);
    }
    Lab::restore_installed_for(visit.profile, &Product::build()?, shell::LIFE)
}

/// The kernel is not here: it is a matter of the image, and `scripts/lab` hands it to the build.
fn parse(args: &[String]) -> Result<Visit> {
    let mut visit = Visit {
        user: "alice",
        is_bare: false,
        profile: Profile::Plain,
        command: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--root" => visit.user = "root",
            "--bare" => visit.is_bare = true,
            "--profile" => visit.profile = parse_profile(args.next())?,
            "run" => {
                let words: Vec<&str> = args.by_ref().map(String::as_str).collect();
                if words.is_empty() {
                    return Err(Error::new("'run' needs a command"));
                }
                visit.command = Some(words.join(" "));
            }
            other => return Err(Error::new(format!("'{other}' is not known, see --help"))),
        }
    }
    Ok(visit)
}

fn parse_profile(name: Option<&String>) -> Result<Profile> {
    Profile::ALL
        .into_iter()
        .find(|profile| name.is_some_and(|name| name == profile.name()))
        .ok_or_else(|| Error::new("--profile takes plain, vendor or engines"))
}

fn welcome(visit: &Visit, took: Duration) -> String {
    let user = visit.user;
    let hints = match visit.is_bare {
        true => "  lspci -nn\n  ls /sys/kernel/iommu_groups/*/devices\n  driverctl list-devices\n",
        false => "  vfioctl list\n  vfioctl check 01:00.0\n  vfioctl --help\n",
    };
    format!(
        "The lab: an emulated machine with an IOMMU, ready after {:.1} s. You are {user}.\n\
         Nothing you do in here lasts or reaches your own devices. Try:\n\n{hints}\n\
         'exit' or Ctrl-D leaves, and ends the machine.\n\n",
        took.as_secs_f64()
    )
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(text.as_bytes())
        .wrap("write to standard output")?;
    stdout.flush().wrap("write to standard output")
}
