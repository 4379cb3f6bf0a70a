//! `scripts/differential`: as many machines as asked for, and a count at the end.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Instant, SystemTime};

use crate::lab::{Error, Result};

use super::{COMBINATIONS, Case, Iommu, Kernel, Report};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Machines.
    pub count: u64,
    /// The first seed; each machine has the next.
    pub seed: u64,
    /// The combinations that the machines are dealt out to in turn.
    pub combinations: Vec<(Kernel, Iommu)>,
    /// Machines that run side by side.
    pub jobs: usize,
}

const USAGE: &str = "usage: differential [N] [--kernel 6.1|6.12] [--iommu intel|amd] [--seed S] \
                     [--jobs J]";

impl Request {
    /// Reads the arguments of the command.
    ///
    /// # Errors
    /// Where they are not understood.
    pub fn parse(args: &[String]) -> Result<Self> {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut this = Self {
            count: 24,
            seed: clock.map_or(1, |since| since.as_secs()),
            combinations: COMBINATIONS.to_vec(),
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let bad =
                |value: &str| Error::new(format!("'{arg} {value}' is not understood; {USAGE}"));
            let mut value = || args.next().unwrap_or_default();
            match arg {
                "--kernel" => {
                    let name = value();
                    this.combinations
                        .retain(|(kernel, _)| kernel.name() == name);
                }
                "--iommu" => {
                    let name = value();
                    this.combinations.retain(|(_, iommu)| iommu.name() == name);
                }
                "--seed" => {
                    let text = value();
                    this.seed = text.parse().map_err(|_| bad(text))?;
                }
                "--jobs" => {
                    let text = value();
                    this.jobs = text.parse().map_err(|_| bad(text))?;
                }
                count => this.count = count.parse().map_err(|_| bad(""))?,
            }
            if this.combinations.is_empty() {
                return Err(bad("..."));
            }
        }
        Ok(this)
    }

    fn case(&self, number: u64) -> Option<Case> {
        let at = usize::try_from(number).ok()? % self.combinations.len();
        let (kernel, iommu) = *self.combinations.get(at)?;
        let seed = self.seed.wrapping_add(number);
        Some(Case {
            seed,
            kernel,
            iommu,
        })
    }

    /// Runs the machines, a line to `out` for each; whether everything was equal.
    ///
    /// # Errors
    /// Where a line cannot be written.
    pub fn run(&self, out: &mut impl Write) -> std::io::Result<bool> {
        let start = Instant::now();
        let next = AtomicU64::new(0);
        let mut sum = Sum::default();
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            let sender = Mutex::new(sender);
            for _ in 0..self.jobs.max(1) {
                let sender: Sender<(Case, Result<Report>)> = sender
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .clone();
                scope.spawn(|| self.work(&next, sender));
            }
            drop(sender);
            for (case, report) in receiver {
                sum.add(case, report, out)?;
            }
            Ok::<(), std::io::Error>(())
        })?;
        let Sum {
            report,
            machines,
            equal_boots,
            failed,
        } = &sum;
        writeln!(
            out,
            "machines {machines}, functions {}, boots equal {equal_boots}, actions {}, equal {} \
             (changing {}, virtual functions {}), failed {failed}, {} s",
            report.functions,
            report.actions,
            report.equal_actions,
            report.changing_actions,
            report.virtual_functions,
            start.elapsed().as_secs(),
        )?;
        Ok(report.differences.is_empty() && *failed == 0 && *machines == self.count)
    }

    fn work(&self, next: &AtomicU64, sender: Sender<(Case, Result<Report>)>) {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return;
            }
            let Some(case) = self.case(number) else {
                return;
            };
            if sender.send((case, case.run())).is_err() {
                return;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Sum {
    report: Report,
    machines: u64,
    equal_boots: u64,
    failed: u64,
}

impl Sum {
    fn add(
        &mut self,
        case: Case,
        report: Result<Report>,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                self.failed += 1;
                return writeln!(out, "{case}: FAILED: {error}");
            }
        };
        self.machines += 1;
        self.equal_boots += u64::from(report.is_boot_equal);
        self.report.functions += report.functions;
        self.report.actions += report.actions;
        self.report.equal_actions += report.equal_actions;
        self.report.changing_actions += report.changing_actions;
        self.report.virtual_functions += report.virtual_functions;
        writeln!(
            out,
            "{case}: functions {}, boot {}, actions {}, equal {}, {:.1} s",
            report.functions,
            if report.is_boot_equal {
                "equal"
            } else {
                "DIFFERENT"
            },
            report.actions,
            report.equal_actions,
            report.taken.as_secs_f64(),
        )?;
        for (text, folder) in &report.differences {
            writeln!(out, "DIFFERENCE, kept in {}\n{text}", folder.display())?;
        }
        self.report.differences.extend(report.differences);
        Ok(())
    }
}
