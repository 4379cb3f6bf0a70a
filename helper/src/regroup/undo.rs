//! Brings a regrouping back, from wherever it stopped: after a failed step, and after a crash.
//!
//! No record of progress is believed: what is, is compared with what was.

use vfioctl_core::Answer;
use vfioctl_core::claim::Original;
use vfioctl_core::iommu::Partition;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::{Leftover, PortOriginal, Step, plan_removals, plan_return};
use vfioctl_scan::{is_present, read_acs, read_function, read_power_controls};

use super::apply::windows;
use super::record::Regroup;
use crate::apply::{Home, look_at, run_step, wait_for_stragglers};
use crate::helper::Helper;
use crate::{MethodError, audit};

/// How often everything is removed and found again before what is still amiss is told.
const CYCLES: usize = 2;

/// Undoes a regrouping; its journal entry ends unless a later try could help.
pub(crate) fn undo(helper: &Helper, regroup: &Regroup) -> Home {
    let mut undoing = Undoing {
        helper,
        regroup,
        home: Home::default(),
    };
    undoing.run();
    let home = undoing.home;
    if home.is_pending {
        audit::warning("devices are not grouped as before yet; 'recover' tries again");
    } else if let Err(error) = helper.acs.end() {
        audit::error(&error.to_string());
    }
    home
}

/// The first steps of undoing, for whoever only wants to know.
pub(crate) fn plan_undo(helper: &Helper, regroup: &Regroup) -> Vec<Step> {
    let mut steps: Vec<Step> = regroup
        .ports
        .iter()
        .filter_map(|port| step_back(helper, port))
        .collect();
    steps.extend(rescans(helper, regroup));
    steps
}

/// The groups that the kernel has now, of the functions in `of`.
pub(super) fn kernel_groups(helper: &Helper, of: &Partition) -> Partition {
    let mut groups: std::collections::BTreeMap<_, Vec<PciAddress>> = Default::default();
    for address in of.groups().iter().flatten() {
        let group = read_function(&helper.root, *address)
            .ok()
            .flatten()
            .and_then(|function| function.iommu_group);
        if let Some(group) = group {
            groups.entry(group).or_default().push(*address);
        }
    }
    Partition::new(groups.into_values().collect())
}

struct Undoing<'a> {
    helper: &'a Helper,
    regroup: &'a Regroup,
    home: Home,
}

impl Undoing<'_> {
    fn run(&mut self) {
        if !self.wait() {
            return;
        }
        for port in &self.regroup.ports {
            if let Some(step) = step_back(self.helper, port) {
                self.step(&step);
            }
        }
        // The second time there is room for windows that the first one had to move.
        for _ in 0..CYCLES {
            if self.is_as_before() || self.home.is_pending {
                break;
            }
            self.cycle();
        }
        let after = kernel_groups(self.helper, &self.regroup.before);
        if after != self.regroup.before {
            // Functions of one slot that come back apart are one device even so.
            let joins_more = !after.refines(&self.regroup.before);
            let what = if joins_more { "otherwise" } else { "finer" };
            self.home
                .leftovers
                .push(format!("the kernel groups some devices {what} than before"));
        }
        for original in self.regroup.originals.iter().rev() {
            self.bring_back(original);
        }
        for address in self.without_windows() {
            self.home.leftovers.push(format!(
                "{address} did not get all its windows again; only a reboot brings them back"
            ));
        }
        for port in &self.regroup.ports {
            if let Some(step) = power_back(self.helper, port) {
                self.step(&step);
            }
        }
    }

    /// Whether every function is there, grouped as before, and alive. Half of a slot or of a switch
    /// is never searched for: the other half would keep it out of its group, or of its windows.
    fn is_as_before(&self) -> bool {
        let is_there = |original: &Original| is_present(&self.helper.root, original.address);
        self.regroup.originals.iter().all(is_there)
            && kernel_groups(self.helper, &self.regroup.before) == self.regroup.before
            && self.without_windows().is_empty()
    }

    fn without_windows(&self) -> Vec<PciAddress> {
        let is_short = |(address, count): &(&PciAddress, &usize)| {
            let now = read_function(&self.helper.root, **address).ok().flatten();
            now.is_some_and(|now| windows(&now).count() < **count)
        };
        let short = self.regroup.windows.iter().filter(is_short);
        short.map(|(address, _)| *address).collect()
    }

    /// What is seen while a write is under way is not what will be.
    fn wait(&mut self) -> bool {
        let addresses = self
            .regroup
            .originals
            .iter()
            .map(|original| original.address)
            .chain(self.regroup.ports.iter().map(|port| port.address))
            .chain(self.regroup.cycles.iter().map(|cycle| cycle.bridge));
        for address in addresses {
            wait_for_stragglers(self.helper, address);
            if self.helper.kernel.is_stuck(address) {
                self.home.leftovers.push(format!(
                    "an earlier write to {address} still hangs in the kernel"
                ));
                self.home.is_pending = true;
            }
        }
        !self.home.is_pending
    }

    /// Groups are those of the registers that were there when a function was found; so once more,
    /// with the registers of before.
    fn cycle(&mut self) {
        let originals = self.regroup.originals.clone();
        for original in &originals {
            let driver = vfioctl_scan::read_driver(&self.helper.root, original.address);
            // A bridge's driver goes with it.
            if let Ok(Some(driver)) = driver
                && driver.as_str() != "pcieport"
            {
                let address = original.address;
                self.step(&Step::Unbind { address, driver });
            }
        }
        if self.home.is_pending {
            return;
        }
        let there = match look_at(self.helper, &originals) {
            Ok(seen) => seen,
            Err(error) => return self.cannot_look(&error),
        };
        let functions: Vec<_> = there.functions.values().collect();
        for address in plan_removals(&functions) {
            self.step(&Step::Remove { address });
        }
        for step in rescans(self.helper, self.regroup) {
            self.step(&step);
        }
    }

    fn bring_back(&mut self, original: &Original) {
        let one = std::slice::from_ref(original);
        let plan = match look_at(self.helper, one) {
            Ok(seen) => plan_return(&seen, one),
            Err(error) => return self.cannot_look(&error),
        };
        // A device that a search does not find may be found by a later one.
        self.home.is_pending |= plan
            .leftovers
            .iter()
            .any(|leftover| matches!(leftover, Leftover::Missing(_)));
        self.home
            .leftovers
            .extend(plan.leftovers.iter().map(Leftover::to_string));
        for step in plan.steps {
            self.step(&step);
        }
    }

    fn cannot_look(&mut self, error: &MethodError) {
        self.home
            .leftovers
            .push(format!("cannot look at a device: {error:?}"));
        self.home.is_pending = true;
    }

    fn step(&mut self, step: &Step) {
        match run_step(self.helper, step) {
            Ok(()) => self.home.steps.push(step.clone()),
            Err(because) => {
                // A driver that will not have its device back is told and not waited for.
                let is_bind = matches!(step, Step::Bind { .. });
                self.home.is_pending |= !is_bind || self.helper.kernel.is_stuck(step.address());
                self.home
                    .leftovers
                    .push(format!("could not {step}: {because}"));
            }
        }
    }
}

/// A search below every bridge of which a function is missing.
fn rescans(helper: &Helper, regroup: &Regroup) -> Vec<Step> {
    let is_gone = |address: &PciAddress| !is_present(&helper.root, *address);
    let below: Vec<PciAddress> = regroup
        .cycles
        .iter()
        .filter(|cycle| {
            cycle.functions.iter().any(is_gone)
                || regroup
                    .originals
                    .iter()
                    .any(|original| is_gone(&original.address))
        })
        .map(|cycle| cycle.bridge)
        .collect();
    let mut bridges = below;
    bridges.sort_unstable();
    bridges.dedup();
    bridges
        .into_iter()
        .map(|bridge| Step::Rescan { bridge })
        .collect()
}

/// The write that a port needs to hold what it held; `None` where it does, or is another one.
fn step_back(helper: &Helper, port: &PortOriginal) -> Option<Step> {
    let address = port.address;
    let function = read_function(&helper.root, address).ok().flatten()?;
    let now = match read_acs(&helper.root, address) {
        Ok(Answer::Known(Some(now))) if function.identity == port.identity => now.acs.control(),
        _ => return None,
    };
    (now != port.control).then_some(Step::SetAcs {
        address,
        from: now,
        to: port.control,
    })
}

fn power_back(helper: &Helper, port: &PortOriginal) -> Option<Step> {
    let address = port.address;
    let now = read_power_controls(&helper.root, [address]).ok()?;
    let (from, to) = (now.get(&address).copied()?, port.power?);
    (from != to).then_some(Step::SetPower { address, from, to })
}
