//! The machines that the helper knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use vfioctl_core::claim::{MachineName, Owner, Purpose};
use vfioctl_core::machine::MachineSpec;
use vfioctl_protocol::{machine as io, wire};

use super::monitor::Monitor;
use super::record::{MachineRecord, ProcessRecord};
use crate::MethodError;
use crate::helper::Helper;
use crate::limits::MAX_MACHINES_A_USER;

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Devices are taken and QEMU is being started.
    Starting,
    /// QEMU runs.
    Running,
    /// It was told to end.
    Stopping,
    /// QEMU has ended and the devices have been taken home.
    Stopped,
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) uid: u32,
    pub(crate) spec: MachineSpec,
    pub(crate) monitor: Monitor,
    life: Mutex<Life>,
    changed: Condvar,
    /// Held by whoever starts it or forgets it.
    turn: Mutex<()>,
}

/// What changes in a machine's life.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    /// How many it has had before, since this helper knows it.
    number: u64,
    pub(crate) phase: Phase,
    pub(crate) since: u64,
    pub(crate) process: Option<ProcessRecord>,
    pub(crate) unit: Option<String>,
    pub(crate) ended: Option<String>,
    pub(crate) devices_home: Vec<String>,
}

impl Life {
    fn starting(since: u64) -> Self {
        Self {
            number: 0,
            phase: Phase::Starting,
            since,
            process: None,
            unit: None,
            ended: None,
            devices_home: Vec::new(),
        }
    }
}

impl Machine {
    /// A machine that is about to be started.
    pub(crate) fn new(uid: u32, spec: MachineSpec, monitor: Monitor, since: u64) -> Self {
        Self {
            uid,
            spec,
            monitor,
            life: Mutex::new(Life::starting(since)),
            changed: Condvar::new(),
            turn: Mutex::default(),
        }
    }

    /// The right to start it, or to forget it.
    ///
    /// # Errors
    /// `Starting`, where another has it.
    pub(crate) fn take_turn(&self) -> Result<MutexGuard<'_, ()>, MethodError> {
        match self.turn.try_lock() {
            Ok(turn) => Ok(turn),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(MethodError::refused(
                "Starting",
                format!("machine '{}' is being started", self.name()),
                "wait until 'vfioctl vm show' says that it runs",
            )),
        }
    }

    /// A new life: what is known of the last one is forgotten.
    pub(crate) fn begin(&self, now: u64) {
        self.monitor.forget();
        self.change(|life| {
            let number = life.number + 1;
            *life = Life {
                number,
                ..Life::starting(now)
            };
        });
    }

    /// Its name.
    pub(crate) fn name(&self) -> &MachineName {
        &self.spec.name
    }

    /// Whose devices its devices are.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            uid: self.uid,
            purpose: Purpose::Machine(self.spec.name.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its life now.
    pub(crate) fn life(&self) -> Life {
        self.lock().clone()
    }

    /// Where it is in its life.
    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Changes its life, and tells those who wait.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Life)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits for the end of this life; tells whether it has come.
    pub(crate) fn has_stopped_within(&self, timeout: Duration) -> bool {
        let life = self.lock();
        let number = life.number;
        let is_alive = |life: &mut Life| life.number == number && life.phase != Phase::Stopped;
        let waited = self.changed.wait_timeout_while(life, timeout, is_alive);
        let mut life = waited.unwrap_or_else(PoisonError::into_inner).0;
        !is_alive(&mut life)
    }

    /// What goes on disk.
    pub(crate) fn record(&self, boot_id: &str) -> MachineRecord {
        let life = self.life();
        MachineRecord {
            schema: MachineRecord::SCHEMA,
            uid: self.uid,
            boot_id: boot_id.to_owned(),
            since: life.since,
            spec: wire::spec(&self.spec),
            process: life.process,
            unit: life.unit,
            ended: life.ended,
            devices_home: life.devices_home,
        }
    }

    /// What is told of it.
    pub(crate) fn info(&self, helper: &Helper) -> io::Info {
        let life = self.life();
        let is_running = matches!(life.phase, Phase::Running | Phase::Stopping);
        io::Info {
            name: self.spec.name.to_string(),
            uid: self.uid.into(),
            user: helper.user_name(self.uid),
            state: match life.phase {
                Phase::Starting => io::Info_state::starting,
                Phase::Running => io::Info_state::running,
                Phase::Stopping => io::Info_state::stopping,
                Phase::Stopped => io::Info_state::stopped,
            },
            qemu_status: if is_running {
                self.monitor.status()
            } else {
                None
            },
            pid: life
                .process
                .filter(|_| life.ended.is_none())
                .map(|process| process.pid.into()),
            unit: life.unit,
            since: i64::try_from(life.since).unwrap_or(i64::MAX),
            ended: life.ended,
            devices_home: life.devices_home,
            spec: wire::spec(&self.spec),
        }
    }
}

/// All machines, by user and name.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    all: Mutex<BTreeMap<(u32, MachineName), Arc<Machine>>>,
}

impl Machines {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u32, MachineName), Arc<Machine>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a machine, unless its user has one of that name or has too many.
    pub(crate) fn add(&self, machine: &Arc<Machine>) -> Result<(), MethodError> {
        let mut all = self.lock();
        let key = (machine.uid, machine.name().clone());
        if all.contains_key(&key) {
            return Err(MethodError::MachineExists(machine.name().to_string()));
        }
        if all.keys().filter(|(uid, _)| *uid == machine.uid).count() >= MAX_MACHINES_A_USER {
            return Err(MethodError::refused(
                "TooManyMachines",
                format!("you have {MAX_MACHINES_A_USER} machines, and no user may have more"),
                "remove stopped ones with 'vfioctl vm rm'",
            ));
        }
        all.insert(key, Arc::clone(machine));
        Ok(())
    }

    /// Forgets a machine.
    pub(crate) fn remove(&self, machine: &Machine) {
        self.lock().remove(&(machine.uid, machine.name().clone()));
    }

    /// The right to start a machine that is known, or to forget it.
    ///
    /// # Errors
    /// `Starting`, where another has it; `NoSuchMachine`, where another has forgotten the machine.
    pub(crate) fn take_turn<'a>(
        &self,
        machine: &'a Arc<Machine>,
    ) -> Result<MutexGuard<'a, ()>, MethodError> {
        let turn = machine.take_turn()?;
        let known = self.find(machine.uid, machine.name());
        if known.is_some_and(|known| Arc::ptr_eq(&known, machine)) {
            Ok(turn)
        } else {
            Err(MethodError::NoSuchMachine(machine.name().to_string()))
        }
    }

    /// A user's machine.
    pub(crate) fn find(&self, uid: u32, name: &MachineName) -> Option<Arc<Machine>> {
        self.lock().get(&(uid, name.clone())).cloned()
    }

    /// All machines, or those of one user.
    pub(crate) fn list(&self, uid: Option<u32>) -> Vec<Arc<Machine>> {
        let all = self.lock();
        all.values()
            .filter(|m| uid.is_none_or(|uid| m.uid == uid))
            .map(Arc::clone)
            .collect()
    }

    /// Whether a machine still needs its devices.
    pub(crate) fn is_alive(&self, uid: u32, name: &MachineName) -> bool {
        self.find(uid, name)
            .is_some_and(|machine| machine.phase() != Phase::Stopped)
    }

    /// Whether an owner is a machine that still needs its devices.
    pub(crate) fn is_living(&self, owner: &Owner) -> bool {
        match &owner.purpose {
            Purpose::Machine(name) => self.is_alive(owner.uid, name),
            Purpose::Person | Purpose::Container(_) => false,
        }
    }

    /// Whether any machine runs.
    pub(crate) fn any_running(&self) -> bool {
        self.lock()
            .values()
            .any(|machine| machine.phase() != Phase::Stopped)
    }
}
