//! What the fake kernel is told to do instead of what it is asked.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::folder::{lines, remove, write};

/// What goes wrong with one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The kernel answers with an error number.
    Errno(i32),
    /// The kernel takes the write, and nothing comes of it.
    NoEffect,
    /// The kernel does not answer; the write takes effect when [`super::FakeKernel::land`] is
    /// called.
    Hang,
    /// The helper is killed before the write.
    DieBefore,
    /// The helper is killed after the write.
    DieAfter,
}

impl Fault {
    fn text(self) -> String {
        match self {
            Self::Errno(errno) => errno.to_string(),
            Self::NoEffect => "no-effect".into(),
            Self::Hang => "hang".into(),
            Self::DieBefore => "die-before".into(),
            Self::DieAfter => "die-after".into(),
        }
    }
}

impl FromStr for Fault {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "no-effect" => Self::NoEffect,
            "hang" => Self::Hang,
            "die-before" => Self::DieBefore,
            "die-after" => Self::DieAfter,
            errno => Self::Errno(errno.parse()?),
        })
    }
}

/// The faults of one machine's kernel, and the steps it was asked for. Kept in files, since the
/// kernel is asked in one process and told in another.
#[derive(Debug, Clone)]
pub struct Faults {
    faults: PathBuf,
    asked: PathBuf,
}

impl Faults {
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            faults: folder.join("kernel/faults"),
            asked: folder.join("kernel/asked"),
        }
    }

    /// Lets faults happen: at the n-th step from now on, counted from 1. Replaces what was told
    /// before.
    pub fn tell(&self, faults: &[(usize, Fault)]) {
        remove(&self.asked);
        let text: Vec<String> = faults
            .iter()
            .map(|(at, fault)| format!("{at} {}\n", fault.text()))
            .collect();
        write(&self.faults, text.concat());
    }

    /// The steps that were asked for since the last [`Self::tell`], as sentences.
    pub fn asked(&self) -> Vec<String> {
        lines(&self.asked)
    }

    /// Notes a step; the fault that is to happen with it.
    pub(super) fn ask(&self, step: &str) -> Option<Fault> {
        let file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.asked);
        writeln!(file.unwrap(), "{step}").unwrap();
        let number = self.asked().len();
        lines(&self.faults).iter().find_map(|line| {
            let (at, fault) = line.split_once(' ').unwrap();
            (at.parse() == Ok(number)).then(|| fault.parse().unwrap())
        })
    }
}
