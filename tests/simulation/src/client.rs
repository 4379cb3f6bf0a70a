//! Users: they submit, end and remove, whatever comes to their minds.

use std::collections::BTreeMap;

use vfioctl_api::{
    Backend, Container, GpuMode, GpuRequest, Kind, Machine, ProblemCode, Role, Submission, Task,
    TaskId,
};
use vfioctl_host::cluster::{Caller, Cluster};

use crate::chance::Chance;

/// Users of the cluster.
#[derive(Debug)]
pub(crate) struct Users {
    chance: Chance,
    nodes: Vec<String>,
    /// Tasks that a host took, and whether somebody wanted them removed.
    pub(crate) tasks: BTreeMap<TaskId, bool>,
}

impl Users {
    pub(crate) fn new(chance: Chance, nodes: Vec<String>) -> Self {
        Self {
            chance,
            nodes,
            tasks: BTreeMap::new(),
        }
    }

    /// Does one thing.
    pub(crate) async fn act(&mut self, host: &Cluster) {
        match self.chance.below(10) {
            0..=4 => self.submit(host).await,
            5 => {
                self.with_any(host, |host, id| async move { host.kill(root(), &id).await })
                    .await
            }
            6 => {
                self.with_any(host, |host, id| async move { host.stop(root(), &id).await })
                    .await
            }
            7 => {
                self.with_any(
                    host,
                    |host, id| async move { host.start(root(), &id).await },
                )
                .await
            }
            8 => self.remove(host, false).await,
            _ => self.remove(host, true).await,
        }
    }

    async fn submit(&mut self, host: &Cluster) {
        let submission = self.submission();
        let owner = "alice".parse().unwrap();
        match host.submit(owner, submission).await {
            Ok(task) => drop(self.tasks.insert(task.id, false)),
            Err(problem) => assert_told(problem.code),
        }
    }

    fn submission(&self) -> Submission {
        let is_server = self.chance.in_thousand(300);
        let is_machine = is_server && self.chance.in_thousand(500);
        let names_target = is_server || self.chance.in_thousand(500);
        let target = names_target.then(|| {
            let node = self.chance.pick(&self.nodes).cloned().unwrap_or_default();
            match self.chance.below(4) {
                0 => node,
                1 => format!("{node}::{},{}", 0, 1 + self.chance.below(3)),
                _ => format!("{node}::{}", self.chance.below(5)),
            }
        });
        let is_described = target.is_none() && self.chance.in_thousand(600);
        Submission {
            kind: if is_server { Kind::Vps } else { Kind::Command },
            name: None,
            backend: match is_machine {
                true => Backend::Machine(Machine::default()),
                false => Backend::Container(Container {
                    command: vec!["true".into()],
                    ..Container::default()
                }),
            },
            target: target.map(|target| target.parse().unwrap()),
            gpus: is_described.then(|| GpuRequest {
                count: 1 + u16::try_from(self.chance.below(2)).unwrap(),
                model: None,
                memory_min: None,
            }),
            gpu_mode: match self.chance.in_thousand(200) {
                true => GpuMode::Exclusive,
                false => GpuMode::Shared,
            },
            cores: 1 + u32::try_from(self.chance.below(6)).unwrap(),
            memory: None,
            ssh: None,
            queue: self.chance.in_thousand(300),
        }
    }

    async fn with_any<F>(&self, host: &Cluster, change: impl FnOnce(Cluster, String) -> F)
    where
        F: Future<Output = Result<Task, vfioctl_api::Problem>>,
    {
        let ids: Vec<&TaskId> = self.tasks.keys().collect();
        let Some(id) = self.chance.pick(&ids) else {
            return;
        };
        if let Err(problem) = change(host.clone(), id.to_string()).await {
            assert_told(problem.code);
        }
    }

    async fn remove(&mut self, host: &Cluster, force: bool) {
        let ids: Vec<TaskId> = self.tasks.keys().cloned().collect();
        let Some(id) = self.chance.pick(&ids) else {
            return;
        };
        // It may be removed also where nobody waits for the answer, or it says that nobody knows.
        let was_removed = self.tasks.insert(id.clone(), true).unwrap_or(false);
        if let Err(problem) = host.remove(root(), id.as_str(), force).await {
            assert_told(problem.code);
            if problem.code != ProblemCode::StoreUnavailable {
                self.tasks.insert(id.clone(), was_removed);
            }
        }
    }
}

fn root() -> Caller {
    Caller {
        user: "root".parse().unwrap(),
        role: Role::Admin,
    }
}

/// No defect of a host is ever told as something else.
fn assert_told(code: ProblemCode) {
    assert_ne!(
        code,
        ProblemCode::Internal,
        "a host told of a defect of its own"
    );
}
