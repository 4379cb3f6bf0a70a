//! A schedule: everything that happens in one simulated cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use vfioctl_api::{GpuNumber, NodeName};
use vfioctl_host::clock::Clock;
use vfioctl_host::cluster::{Cluster, Running};
use vfioctl_runner::agent;
use vfioctl_store::MemoryStore;

use crate::chance::Chance;
use crate::client::Users;
use crate::faults::{Faults, FaultsNow};
use crate::inspector::{inspect, inspect_at_end};
use crate::journal::SimulatedJournal;
use crate::link::{Hosts, LossyLink};
use crate::store::FailingStore;
use crate::truth::Truth;
use crate::world::{GPUS, SimulatedNode};

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// What everything is made of.
    pub seed: u64,
    /// How long things go wrong.
    pub trouble: Duration,
    /// How long nothing goes wrong after that.
    pub quiet: Duration,
    /// Whether everything that happens is told.
    pub is_told: bool,
}

impl Schedule {
    /// A schedule of the usual length.
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            trouble: Duration::from_secs(120),
            quiet: Duration::from_secs(180),
            is_told: false,
        }
    }
}

/// What came of a schedule.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What must never be, and was; and what did not come together.
    pub problems: Vec<String>,
    /// Tasks that were submitted.
    pub tasks: usize,
    /// Runs that began.
    pub begun: usize,
    /// Processes that were killed and machines that were switched off.
    pub kills: usize,
    /// Tasks by their state at the end.
    pub states: BTreeMap<&'static str, usize>,
}

/// Runs a schedule to its end.
pub fn run(schedule: Schedule) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async move { Simulation::new(schedule).await.run().await })
}

struct Simulation {
    schedule: Schedule,
    chance: Chance,
    store: MemoryStore,
    truth: Truth,
    faults: FaultsNow,
    hosts: Hosts,
    running_hosts: Vec<Option<Running>>,
    nodes: Vec<SimulatedMachine>,
    users: Users,
    start: Instant,
    kills: usize,
}

struct SimulatedMachine {
    name: NodeName,
    journal: SimulatedJournal,
    runner: Option<JoinHandle<()>>,
    starts: u32,
}

impl Simulation {
    async fn new(schedule: Schedule) -> Self {
        let chance = Chance::of(schedule.seed);
        let truth = Truth::default();
        let host_count = 1 + usize::try_from(chance.below(3)).unwrap();
        let node_count = 1 + chance.below(4);
        let names: Vec<NodeName> = (0..node_count)
            .map(|index| format!("n{index}").parse().unwrap())
            .collect();
        let machine = |name: &NodeName| SimulatedMachine {
            name: name.clone(),
            journal: SimulatedJournal::new(&truth, name),
            runner: None,
            starts: 0,
        };
        let texts = names.iter().map(ToString::to_string).collect();
        let mut simulation = Self {
            schedule,
            nodes: names.iter().map(machine).collect(),
            users: Users::new(chance.split(), texts),
            chance,
            store: MemoryStore::new(),
            truth,
            faults: FaultsNow::default(),
            hosts: Hosts::default(),
            running_hosts: (0..host_count).map(|_| None).collect(),
            start: Instant::now(),
            kills: 0,
        };
        simulation.faults.set(Faults::none());
        for index in 0..host_count {
            simulation.start_host(index).await;
        }
        let host = simulation.hosts.any(&simulation.chance).unwrap();
        for name in names {
            host.add_node(&name, &format!("certificate of {name}"))
                .await
                .unwrap();
        }
        for index in 0..simulation.nodes.len() {
            simulation.start_runner(index);
        }
        simulation
    }

    async fn start_host(&mut self, index: usize) {
        let store = FailingStore {
            real: self.store.clone(),
            chance: self.chance.split(),
            faults: self.faults.clone(),
        };
        let start = self.start;
        let now = move || 1_790_000_000_000 + u64::try_from(start.elapsed().as_millis()).unwrap();
        let chance = Arc::new(self.chance.split());
        // A host that cannot read the store at its start is started again.
        if let Ok((cluster, running)) =
            Cluster::open(Arc::new(store), Clock::new(now), chance, "https://sim").await
        {
            self.hosts.set(index, Some(cluster));
            if let Some(place) = self.running_hosts.get_mut(index) {
                *place = Some(running);
            }
        }
    }

    fn kill_host(&mut self, index: usize) {
        self.tell(&format!("host {index} is killed"));
        self.hosts.set(index, None);
        if let Some(place) = self.running_hosts.get_mut(index) {
            *place = None;
        }
        // One host on a file of its own forgets leases with its process.
        if self.running_hosts.len() == 1 {
            self.store.forget_leases();
        }
        self.kills += 1;
    }

    fn start_runner(&mut self, index: usize) {
        self.tell(&format!("runner {index} starts"));
        let (chance, start) = (self.chance.split(), self.start);
        let Some(machine) = self.nodes.get_mut(index) else {
            return;
        };
        machine.starts += 1;
        let parts = agent::Parts {
            link: Arc::new(LossyLink {
                node: machine.name.clone(),
                hosts: self.hosts.clone(),
                chance: chance.split(),
                faults: self.faults.clone(),
                truth: self.truth.clone(),
            }),
            world: Arc::new(SimulatedNode {
                node: machine.name.clone(),
                truth: self.truth.clone(),
                chance,
                faults: self.faults.clone(),
            }),
            journal: Arc::new(machine.journal.clone()),
            clock: Arc::new(move || {
                1_790_000_000_000 + u64::try_from(start.elapsed().as_millis()).unwrap()
            }),
            incarnation: format!("{}-{}", machine.name, machine.starts),
        };
        machine.runner = Some(tokio::spawn(
            async move { agent::run(parts).await.unwrap() },
        ));
    }

    fn kill_runner(&mut self, index: usize) {
        self.tell(&format!("runner {index} is killed"));
        if let Some(runner) = self
            .nodes
            .get_mut(index)
            .and_then(|machine| machine.runner.take())
        {
            runner.abort();
        }
        self.kills += 1;
    }

    async fn run(mut self) -> Outcome {
        let inspector = tokio::spawn(inspect(
            self.store.clone(),
            self.truth.clone(),
            self.schedule.is_told,
        ));
        // Time that passes by itself ends leases too.
        let store = self.store.clone();
        let expiry = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(250)).await;
                store.expire();
            }
        });
        let end = Instant::now() + self.schedule.trouble;
        while Instant::now() < end && self.truth.lock().violations.is_empty() {
            self.trouble().await;
            tokio::time::sleep(self.chance.time(1500)).await;
        }
        self.calm().await;
        tokio::time::sleep(self.schedule.quiet).await;
        let problems = inspect_at_end(&self.store, &self.truth, &self.users.tasks).await;
        inspector.abort();
        expiry.abort();
        self.outcome(problems)
    }

    fn tell(&self, text: &str) {
        if self.schedule.is_told {
            eprintln!("{:9.3} {text}", self.start.elapsed().as_secs_f64());
        }
    }

    /// One step of trouble.
    async fn trouble(&mut self) {
        let node = usize::try_from(self.chance.below(self.nodes.len() as u64)).unwrap();
        let host = usize::try_from(self.chance.below(self.running_hosts.len() as u64)).unwrap();
        match self.chance.below(24) {
            0 => self.kill_runner(node),
            1 | 2 => self.start_runner_if_none(node),
            3 => self.kill_host(host),
            4 | 5 => self.start_host_if_none(host).await,
            6 => self.on(node, |node| {
                node.cut_off.get_or_insert_with(Instant::now);
            }),
            7 | 8 => self.on(node, |node| node.cut_off = None),
            9 => self.on(node, |node| node.is_full = true),
            10 | 11 => self.on(node, |node| node.is_full = false),
            12 => {
                self.kill_runner(node);
                self.on(node, crate::truth::Node::reboot);
            }
            13 => {
                let gpu = GpuNumber::from(u16::try_from(self.chance.below(GPUS.into())).unwrap());
                // What somebody has, a person does not get.
                self.on(node, |node| {
                    if node.claims.values().all(|(held, _)| !held.contains(&gpu)) {
                        node.taken_by_hand.insert(gpu);
                    }
                });
            }
            14 => self.on(node, |node| node.taken_by_hand.clear()),
            15 => self.change_faults(),
            _ => {
                if let Some(host) = self.hosts.any(&self.chance) {
                    // A user gives up on a host that is gone.
                    let _ =
                        tokio::time::timeout(Duration::from_secs(5), self.users.act(&host)).await;
                }
            }
        }
    }

    fn start_runner_if_none(&mut self, index: usize) {
        if self
            .nodes
            .get(index)
            .is_some_and(|machine| machine.runner.is_none())
        {
            self.start_runner(index);
        }
    }

    async fn start_host_if_none(&mut self, index: usize) {
        if self.running_hosts.get(index).is_some_and(Option::is_none) {
            self.start_host(index).await;
        }
    }

    fn on(&self, index: usize, change: impl FnOnce(&mut crate::truth::Node)) {
        if let Some(machine) = self.nodes.get(index) {
            self.tell(&format!("something happens to node {index}"));
            change(self.truth.lock().node(&machine.name));
        }
    }

    fn change_faults(&self) {
        let some = |most: u64| {
            if self.chance.in_thousand(500) {
                self.chance.below(most)
            } else {
                0
            }
        };
        self.faults.set(Faults {
            request_lost: some(100),
            answer_lost: some(100),
            delay_ms: 5 + some(2000),
            store_unavailable: some(150),
            store_unknown: some(150),
            start_fails: some(300),
            engine_unknown: some(100),
        });
    }

    /// Nothing goes wrong any more.
    async fn calm(&mut self) {
        self.faults.set(Faults::none());
        for index in 0..self.nodes.len() {
            self.on(index, |node| {
                node.cut_off = None;
                node.is_full = false;
                node.taken_by_hand.clear();
            });
            self.start_runner_if_none(index);
        }
        for index in 0..self.running_hosts.len() {
            self.start_host_if_none(index).await;
        }
    }

    fn outcome(self, problems: Vec<String>) -> Outcome {
        let truth = self.truth.lock();
        let mut outcome = Outcome {
            problems: truth.violations.iter().cloned().chain(problems).collect(),
            tasks: self.users.tasks.len(),
            begun: truth.begun.len(),
            kills: self.kills,
            states: BTreeMap::new(),
        };
        drop(truth);
        if let Some(host) = self.hosts.any(&self.chance) {
            for task in host
                .tasks(&vfioctl_api::TaskFilter {
                    limit: Some(1000),
                    ..Default::default()
                })
                .tasks
            {
                *outcome.states.entry(task.state.name()).or_default() += 1;
            }
        }
        outcome
    }
}
