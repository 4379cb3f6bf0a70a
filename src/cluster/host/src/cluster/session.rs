//! Sessions: what runners say, and what they are told.

use std::time::Duration;

use vfioctl_api::{
    NodeName, NodeReport, Problem, ProblemCode, Register, Registered, Run, Sync, SyncReply, TaskId,
    TaskStatus,
};
use vfioctl_scheduler::{Record, life};
use vfioctl_store::{ErrorKind, Transaction};

use super::draft::Draft;
use super::waiting::{Exchange, Waiting};
use super::{Alive, Cluster, lease_of, to_json, unavailable};
use crate::keys;
use crate::limits::{HEARTBEAT, LEASE, MAX_GPUS, MAX_STATUSES, MAX_WAIT};

/// Statuses that one operation takes up: each may free room on the node, whose allocation is one more.
const STATUSES_AT_ONCE: usize = 24;

impl Cluster {
    /// A runner presents itself.
    ///
    /// # Errors
    /// Where the node has not joined, or another machine runs as it; and where the report makes no sense.
    pub async fn register(
        &self,
        node: &NodeName,
        register: Register,
    ) -> Result<Registered, Problem> {
        check_report(&register.report)?;
        check_count(&register.tasks)?;
        let before = {
            let state = self.mirror.read();
            let known = state
                .nodes
                .get(node)
                .filter(|known| known.enrolled.is_some());
            known.ok_or_else(|| not_enrolled(node))?.alive.clone()
        };
        if let Some(alive) = &before
            && alive.value.machine != register.report.machine
        {
            let message = format!("another machine runs as node '{node}' at this moment");
            return Err(Problem::new(ProblemCode::Exists, message)
                .hint("give each machine a name of its own: 'vfioctl node invite NAME'"));
        }
        let lease = self
            .store
            .grant(LEASE)
            .await
            .map_err(|error| unavailable(&error))?;
        let alive = Alive {
            session: self.random_word(),
            incarnation: register.incarnation,
            machine: register.report.machine.clone(),
            lease: lease.number(),
        };
        let (report, key) = (keys::report(node), keys::alive(node));
        let transaction = Transaction::new()
            .if_unchanged(&key, before.as_ref().map_or(0, |kept| kept.revision))
            .put(&report, to_json(&register.report)?)
            .put_leased(&key, to_json(&alive)?, lease);
        if !self.write(transaction, &[report, key]).await? {
            let message = format!("node '{node}' registers from elsewhere at this moment");
            return Err(Problem::new(ProblemCode::Exists, message).hint("try again in a moment"));
        }
        if let Some(before) = before {
            // It would end by itself.
            let _ = self.store.revoke(lease_of(&before.value)).await;
        }
        self.hear(node, None);
        // Not before the node is there: until then, another host may take its tasks for lost.
        let stale = self.reconcile(node, register.tasks).await?;
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(Registered {
            session: alive.session,
            lease_ms: milliseconds(LEASE),
            heartbeat_ms: milliseconds(HEARTBEAT),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stale,
        })
    }

    /// Holds what a runner knows of its tasks against what is known here.
    async fn reconcile(&self, node: &NodeName, told: Vec<TaskStatus>) -> Result<Vec<Run>, Problem> {
        let known: Vec<(TaskId, u32)> = {
            let state = self.mirror.read();
            let of_node = |record: &Record| record.task.node.as_ref() == Some(node);
            let tasks = state
                .nodes
                .get(node)
                .into_iter()
                .flat_map(|node| &node.tasks);
            let records = tasks.filter_map(|id| state.tasks.get(id).map(|kept| &kept.value));
            records
                .filter(|record| of_node(record))
                .map(|record| (record.task.id.clone(), record.task.run))
                .collect()
        };
        let is_told = |(id, run): &&(TaskId, u32)| {
            told.iter()
                .any(|status| status.task == *id && status.run == *run)
        };
        let traceless: Vec<TaskId> = known
            .iter()
            .filter(|task| !is_told(task))
            .map(|(id, _)| id.clone())
            .collect();
        for ids in traceless.chunks(STATUSES_AT_ONCE) {
            let (node, ids) = (node.clone(), ids.to_vec());
            let weight = 2 * ids.len() + 2;
            let operation = move |draft: &mut Draft<'_>, now| {
                for id in &ids {
                    let record = draft
                        .task(id)
                        .filter(|record| record.task.node.as_ref() == Some(&node));
                    if let Some(changed) = record.and_then(|record| life::no_trace(record, now)) {
                        draft.put(changed, None);
                    }
                }
                Ok(())
            };
            self.ledger.run(weight, operation).await?;
        }
        self.take_statuses(node, told).await
    }

    /// One exchange with a runner.
    ///
    /// # Errors
    /// [`ProblemCode::SessionEnded`]: it has to register anew. Others where the store does not answer: what
    /// it told may not have been taken, and has to be told again.
    pub async fn sync(&self, node: &NodeName, sync: Sync) -> Result<SyncReply, Problem> {
        match self.hear_sync(node, sync).await? {
            Exchange::Over(reply) => Ok(reply),
            Exchange::Waits(waiting) => waiting.reply(self).await,
        }
    }

    /// The first part of an exchange: takes what the runner tells.
    ///
    /// # Errors
    /// As those of [`Self::sync`].
    pub(crate) async fn hear_sync(&self, node: &NodeName, sync: Sync) -> Result<Exchange, Problem> {
        let alive = self.check_session(node, &sync.session)?;
        check_count(&sync.statuses)?;
        match self.store.renew(lease_of(&alive)).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::LeaseGone => return Err(session_ended(node)),
            Err(error) => return Err(unavailable(&error)),
        }
        self.hear(node, sync.telemetry);
        if let Some(report) = sync.report {
            self.take_report(node, &report).await?;
        }
        let mut reply = SyncReply {
            stale: self.take_statuses(node, sync.statuses).await?,
            ..SyncReply::default()
        };
        if !sync.accepts.is_empty() {
            check_many(sync.accepts.len())?;
            self.accept(node, &alive.incarnation, &sync.accepts, &mut reply)
                .await?;
        }
        let must_answer = [&reply.accepted, &reply.refused, &reply.stale]
            .iter()
            .any(|runs| !runs.is_empty());
        let wait = if must_answer {
            Duration::ZERO
        } else {
            Duration::from_millis(sync.wait_ms).min(MAX_WAIT)
        };
        let waiting = Waiting::new(node, sync.session, sync.seen, wait);
        Ok(match waiting.look(self, &mut reply)? || wait.is_zero() {
            true => Exchange::Over(reply),
            false => Exchange::Waits(waiting),
        })
    }

    fn check_session(&self, node: &NodeName, session: &str) -> Result<Alive, Problem> {
        let state = self.mirror.read();
        let alive = state.nodes.get(node).and_then(|node| node.alive.as_ref());
        let alive = alive.filter(|alive| alive.value.session == session);
        alive
            .map(|alive| alive.value.clone())
            .ok_or_else(|| session_ended(node))
    }

    fn hear(&self, node: &NodeName, telemetry: Option<vfioctl_api::Telemetry>) {
        let now = self.now();
        self.mirror.change(|state| {
            if let Some(node) = state.nodes.get_mut(node) {
                node.heard = Some(now);
                if telemetry.is_some() {
                    node.telemetry = telemetry;
                }
            }
        });
    }

    async fn take_report(&self, node: &NodeName, report: &NodeReport) -> Result<(), Problem> {
        check_report(report)?;
        let text = to_json(report)?;
        let is_news = {
            let state = self.mirror.read();
            let known = state.nodes.get(node).and_then(|node| node.report.as_ref());
            known.is_none_or(|known| known.value.text() != text)
        };
        if is_news {
            let key = keys::report(node);
            let transaction = Transaction::new().put(&key, text);
            self.write(transaction, &[key]).await?;
        }
        Ok(())
    }

    /// Takes up what a runner tells of its tasks; tells the runs that are none of the cluster's any more.
    async fn take_statuses(
        &self,
        node: &NodeName,
        statuses: Vec<TaskStatus>,
    ) -> Result<Vec<Run>, Problem> {
        let mut all_stale = Vec::new();
        for statuses in statuses.chunks(STATUSES_AT_ONCE) {
            let (node, statuses) = (node.clone(), statuses.to_vec());
            let weight = 2 * statuses.len() + 2;
            let operation = move |draft: &mut Draft<'_>, now| {
                let mut stale = Vec::new();
                for status in &statuses {
                    let record = draft.task(&status.task);
                    if record.is_none_or(|record| is_stale(record, &node, status)) {
                        stale.push(Run {
                            task: status.task.clone(),
                            run: status.run,
                        });
                    }
                    match record.map(|record| life::observe(record, &node, status, now)) {
                        Some(life::Observed::Changed(record)) => draft.put(*record, None),
                        Some(life::Observed::Gone) => draft.remove(&status.task),
                        Some(life::Observed::Known) | None => {}
                    }
                }
                Ok(stale)
            };
            all_stale.extend(self.ledger.run(weight, operation).await?);
        }
        Ok(all_stale)
    }

    async fn accept(
        &self,
        node: &NodeName,
        incarnation: &str,
        accepts: &[Run],
        reply: &mut SyncReply,
    ) -> Result<(), Problem> {
        for accepts in accepts.chunks(STATUSES_AT_ONCE) {
            let (node, incarnation, accepts) =
                (node.clone(), incarnation.to_owned(), accepts.to_vec());
            let weight = 2 * accepts.len() + 2;
            let operation = move |draft: &mut Draft<'_>, _| {
                let (mut accepted, mut refused) = (Vec::new(), Vec::new());
                for accept in &accepts {
                    let taken = draft
                        .task(&accept.task)
                        .and_then(|record| life::accept(record, &node, accept.run, &incarnation));
                    match taken {
                        Some(record) => {
                            draft.put(record, None);
                            accepted.push(accept.clone());
                        }
                        None => refused.push(accept.clone()),
                    }
                }
                Ok((accepted, refused))
            };
            let (accepted, refused) = self.ledger.run(weight, operation).await?;
            reply.accepted.extend(accepted);
            reply.refused.extend(refused);
        }
        Ok(())
    }
}

/// Whether a runner tells of a run that is none of the cluster's: the task went elsewhere, or has begun
/// anew.
fn is_stale(record: &Record, node: &NodeName, status: &TaskStatus) -> bool {
    record.task.node.as_ref() != Some(node) || record.task.run != status.run
}

fn check_report(report: &NodeReport) -> Result<(), Problem> {
    let wrong = |message: String| Err(Problem::new(ProblemCode::BadRequest, message));
    if report.gpus.len() > MAX_GPUS {
        return wrong(format!(
            "{} GPUs are more than {MAX_GPUS}",
            report.gpus.len()
        ));
    }
    if report.cores == 0 || report.memory.mib() == 0 {
        return wrong(
            "the runner tells of no processors or no memory; it could not read them".into(),
        );
    }
    if report.machine.is_empty() || report.machine.len() > 64 {
        return wrong("a node says which machine it is".into());
    }
    let mut numbers: Vec<_> = report.gpus.iter().map(|gpu| gpu.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() < report.gpus.len() {
        return wrong("two GPUs have one number".into());
    }
    Ok(())
}

fn check_count(statuses: &[TaskStatus]) -> Result<(), Problem> {
    check_many(statuses.len())
}

fn check_many(count: usize) -> Result<(), Problem> {
    if count <= MAX_STATUSES {
        return Ok(());
    }
    let message = format!("{count} tasks are more than {MAX_STATUSES} at once");
    Err(Problem::new(ProblemCode::TooMuch, message).hint("tell them in parts"))
}

pub(super) fn session_ended(node: &NodeName) -> Problem {
    let message = format!("node '{node}' is not registered with this session");
    Problem::new(ProblemCode::SessionEnded, message).hint("register anew")
}

fn not_enrolled(node: &NodeName) -> Problem {
    let message = format!("node '{node}' has not joined, or was removed");
    Problem::new(ProblemCode::Forbidden, message)
        .hint("join with a token of 'vfioctl node invite NAME': 'vfioctl-runner join'")
}
