//! One machine: booted, compared, changed and compared again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vfioctl_core::Snapshot;
use vfioctl_core::acs::{AcsParameters, Platform};
use vfioctl_core::iommu::{Topology, predict_groups};
use vfioctl_core::pci::PciAddress;

use crate::lab::Result;

use super::action::{Step, choose_action};
use super::forecast::{Forecast, Groups, Start, groups_of, registers_of};
use super::guest::Guest;
use super::machine::Machine;
use super::picture::Picture;
use super::random::Random;
use super::{Iommu, Kernel};

/// Which machine, under which kernel, behind which IOMMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Decides the machine and what is done to it.
    pub seed: u64,
    /// The kernel.
    pub kernel: Kernel,
    /// The IOMMU.
    pub iommu: Iommu,
}

/// What came of one machine.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Functions after the boot.
    pub functions: usize,
    /// Whether the groups after the boot were as predicted.
    pub is_boot_equal: bool,
    /// Actions that were taken.
    pub actions: usize,
    /// Those after which groups and registers were as predicted.
    pub equal_actions: usize,
    /// Those that changed groups.
    pub changing_actions: usize,
    /// Virtual functions that appeared.
    pub virtual_functions: usize,
    /// How long it took.
    pub taken: Duration,
    /// Where each difference lies in full, with a few words.
    pub differences: Vec<(String, PathBuf)>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kernel, iommu) = (self.kernel.name(), self.iommu.name());
        write!(f, "seed {} kernel {kernel} iommu {iommu}", self.seed)
    }
}

impl Case {
    fn machine(self) -> Machine {
        Machine::of_seed(self.seed, self.kernel, self.iommu)
    }

    fn platform(self, machine: &Machine) -> Platform {
        Platform {
            has_ivrs: self.iommu == Iommu::Amd,
            acs_parameters: AcsParameters::parse(
                machine.pci_parameter.as_deref(),
                self.kernel.release(),
            ),
            ..Platform::default()
        }
    }

    /// Boots the machine and shows what the kernel made of it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn boot(self) -> Result<Snapshot> {
        let mut guest = Guest::boot(&self.machine(), self.kernel)?;
        Ok(guest.look()?.snapshot)
    }

    /// Boots the machine, acts on it, and holds everything against what was predicted.
    ///
    /// # Errors
    /// When the machine does not come up or does not do what it is asked.
    pub fn run(self) -> Result<Report> {
        let start = Instant::now();
        let machine = self.machine();
        let mut run = Run {
            case: self,
            platform: self.platform(&machine),
            guest: Guest::boot(&machine, self.kernel)?,
            report: Report::default(),
        };
        let boot = run.compare_boot()?;
        run.act(boot)?;
        run.report.taken = start.elapsed();
        Ok(run.report)
    }
}

/// Whether the kernel's groups after a boot are those that the predictor makes of what is shown.
#[must_use]
pub fn is_boot_as_predicted(shown: &Snapshot, kernel: &Snapshot) -> bool {
    predict_groups(&Topology::of(shown), &Platform::default()) == groups_of(kernel)
}

struct Run {
    case: Case,
    platform: Platform,
    guest: Guest,
    report: Report,
}

impl Run {
    fn compare_boot(&mut self) -> Result<Picture> {
        let now = self.guest.look()?;
        self.report.functions = now.snapshot.functions.len();
        let topology = Topology::of(&now.snapshot);
        let real = groups_of(&now.snapshot);
        let as_they_are = predict_groups(&topology, &self.platform);
        let at_boot = topology.at_boot(&self.platform.acs_parameters);
        let at_boot = predict_groups(&at_boot, &self.platform);
        let mut text = compare("boot, groups", &as_they_are, &real);
        text += &compare("boot, groups with the registers of a boot", &at_boot, &real);
        self.report.is_boot_equal = text.is_empty();
        self.note("boot", text, &now.snapshot, &now.snapshot);
        self.guest.ask("awake")?;
        Ok(now)
    }

    fn act(&mut self, boot: Picture) -> Result<()> {
        let mut random = Random::new(!self.case.seed);
        let mut from_boot = Start::of(&boot.snapshot);
        let mut from_before = from_boot.clone();
        let mut before = boot;
        let mut all_steps: Vec<Step> = Vec::new();
        for number in 1..=random.between(2, 4) {
            let steps = choose_action(&mut random, &before, &from_before.absent);
            let forecast = |before: &Start, boot: &Start, steps: &[Step], platform: &Platform| {
                let since_boot = [all_steps.as_slice(), steps].concat();
                let from_before = before.forecast(steps, platform);
                let from_boot = boot.forecast(&since_boot, platform);
                [
                    ("from the machine before", from_before),
                    ("from the boot", from_boot),
                ]
            };
            let mut forecasts = forecast(&from_before, &from_boot, &steps, &self.platform);
            let is_about_functions = |step: &Step| matches!(step, Step::VirtualFunctions { .. });
            let has_virtual_functions = steps.iter().any(is_about_functions);
            let steps = self.take(steps)?;
            let after = self.guest.look()?;
            if has_virtual_functions {
                from_before.learn_virtual_functions(&after.snapshot);
                from_boot.learn_virtual_functions(&after.snapshot);
                forecasts = forecast(&from_before, &from_boot, &steps, &self.platform);
            }
            all_steps.extend_from_slice(&steps);
            let real = Forecast {
                groups: groups_of(&after.snapshot),
                registers: registers_of(&after.snapshot),
            };
            let mut text = String::new();
            for (name, forecast) in &forecasts {
                let what = |what: &str| format!("action {number}, {what} predicted {name}");
                text += &compare(&what("groups"), &forecast.groups, &real.groups);
                let mut registers = forecast.registers.clone();
                registers.retain(|at, _| after.snapshot.functions.contains_key(at));
                text += &compare(&what("registers"), &registers, &real.registers);
            }
            self.report.actions += 1;
            self.report.equal_actions += usize::from(text.is_empty());
            let changes = groups_of(&before.snapshot) != real.groups;
            self.report.changing_actions += usize::from(changes);
            if !text.is_empty() {
                let steps: String = steps
                    .iter()
                    .fold(String::new(), |text, step| text + &format!("    {step}\n"));
                text = format!("action {number}:\n{steps}{text}");
            }
            self.note(
                &format!("action{number}"),
                text,
                &before.snapshot,
                &after.snapshot,
            );
            from_before.update(&after.snapshot, &forecasts[0].1.registers);
            before = after;
        }
        Ok(())
    }

    /// Takes the steps, and returns those that could be taken: virtual functions need room.
    fn take(&mut self, mut steps: Vec<Step>) -> Result<Vec<Step>> {
        let mut refused = Vec::new();
        for step in &steps {
            let request = step.to_string();
            match step {
                Step::VirtualFunctions { count, .. } => {
                    if self.guest.ask_for_virtual_functions(&request)? {
                        self.report.virtual_functions += count;
                    } else {
                        refused.push(*step);
                    }
                }
                Step::Rescan(_) => {
                    self.guest.ask(&request)?;
                    self.guest.ask("awake")?;
                }
                Step::SetAcs { .. } | Step::Remove(_) => {
                    self.guest.ask(&request)?;
                }
            }
        }
        steps.retain(|step| !refused.contains(step));
        Ok(steps)
    }

    /// Keeps a difference.
    fn note(&mut self, what: &str, text: String, before: &Snapshot, after: &Snapshot) {
        if text.is_empty() {
            return;
        }
        let text = format!("{}\n{text}", self.case);
        let folder = self.guest.keep(&[
            (&format!("difference-{what}"), text.clone()),
            (&format!("before-{what}"), show(before)),
            (&format!("after-{what}"), show(after)),
        ]);
        self.report.differences.push((text, folder));
    }
}

/// What differs, in lines; nothing where nothing does.
fn compare<T: Difference + PartialEq>(what: &str, predicted: &T, real: &T) -> String {
    if predicted == real {
        return String::new();
    }
    format!("  {what}\n{}", predicted.difference(real))
}

trait Difference {
    fn difference(&self, real: &Self) -> String;
}

impl Difference for Groups {
    fn difference(&self, real: &Self) -> String {
        let mut text = String::new();
        let mut only = |name: &str, one: &Self, other: &Self| {
            for group in one.iter().filter(|group| !other.contains(group)) {
                let members: Vec<String> = group.iter().map(PciAddress::to_string).collect();
                let _ = writeln!(text, "    {name}: {}", members.join(" "));
            }
        };
        only("predicted", self, real);
        only("kernel", real, self);
        text
    }
}

impl<T: Debug + PartialEq> Difference for BTreeMap<PciAddress, T> {
    fn difference(&self, real: &Self) -> String {
        let mut text = String::new();
        let all: BTreeSet<_> = self.keys().chain(real.keys()).collect();
        for at in all {
            let (one, other) = (self.get(at), real.get(at));
            if one != other {
                let _ = writeln!(text, "    {at}: predicted {one:x?}, kernel {other:x?}");
            }
        }
        text
    }
}

/// A machine in lines: what grouping looks at.
fn show(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for function in snapshot.functions.values() {
        let _ = writeln!(
            text,
            "{} above {:?} {:04x}:{:04x} class {:06x} type {:?} acs {:x?} bit7 {:?} group {:?} {:?}",
            function.address,
            function.upstream.map(|at| at.to_string()),
            function.identity.vendor,
            function.identity.device,
            function.class.code(),
            function.pcie_type,
            function.acs,
            function.multifunction_bit,
            function.iommu_group.map(|group| group.0),
            function.sriov,
        );
    }
    text
}
