//! The board: every task of the node, what is wanted of it, and what has to be told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use vfioctl_api::{Order, Phase, Run, TaskId, TaskStatus, Wanted};

use super::lease::Lease;
use super::worker::{self, Verdict};
use super::{Clock, Parts};
use crate::journal::{Journal, JournalError, Saved, Stage};
use crate::limits::{MAX_KEPT, MAX_STATUSES};
use crate::world::World;

/// Every task of the node.
pub(super) struct Board {
    tasks: Mutex<BTreeMap<TaskId, Entry>>,
    pub(super) world: Arc<dyn World>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) lease: Arc<Lease>,
    pub(super) clock: Clock,
    /// There is something to tell.
    news: Notify,
    /// A task has begun or ended, so that the node looks different.
    changed: Notify,
}

/// A task of the node.
struct Entry {
    saved: Saved,
    /// What is to be told of it, as it is now.
    status: TaskStatus,
    /// Whether that has changed since it was told.
    is_news: bool,
    /// Whether the host shall be asked for it.
    is_asked_for: bool,
    wanted: watch::Sender<Wanted>,
    verdict: watch::Sender<Option<Verdict>>,
    worker: Option<tokio::task::JoinHandle<()>>,
    /// A later run, which waits for the end of this one.
    next: Option<Order>,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Board({} tasks)", self.lock().len())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // What it has begun goes on without it.
        if let Some(worker) = &self.worker {
            worker.abort();
        }
    }
}

impl Board {
    /// Reads what an earlier runner wrote down.
    pub(super) async fn open(parts: &Parts) -> Result<Arc<Self>, JournalError> {
        let saved = parts.journal.read().await?;
        let now = (parts.clock)();
        let tasks = saved
            .into_iter()
            .map(|saved| (saved.order.task.clone(), Entry::of(saved, now)));
        Ok(Arc::new(Self {
            tasks: Mutex::new(tasks.collect()),
            world: Arc::clone(&parts.world),
            journal: Arc::clone(&parts.journal),
            lease: Arc::default(),
            clock: Arc::clone(&parts.clock),
            news: Notify::new(),
            changed: Notify::new(),
        }))
    }

    pub(super) fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.lease)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Entry>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with what an earlier runner began.
    pub(super) fn take_up(self: &Arc<Self>) {
        let ids: Vec<TaskId> = self.lock().keys().cloned().collect();
        for id in ids {
            self.start_worker(&id);
        }
    }

    fn start_worker(self: &Arc<Self>, id: &TaskId) {
        let mut tasks = self.lock();
        let Some(entry) = tasks.get_mut(id) else {
            return;
        };
        let has_one = entry
            .worker
            .as_ref()
            .is_some_and(|worker| !worker.is_finished());
        if has_one || entry.is_done() {
            return;
        }
        let work = worker::drive(
            Arc::clone(self),
            entry.saved.clone(),
            entry.wanted.subscribe(),
            entry.verdict.subscribe(),
        );
        entry.worker = Some(tokio::spawn(work));
    }

    /// Takes an order.
    pub(super) async fn take_order(self: &Arc<Self>, order: Order) {
        let id = order.task.clone();
        {
            let mut tasks = self.lock();
            match tasks.get_mut(&id) {
                // The same run: only what is wanted of it may be new.
                Some(entry) if entry.saved.order.run == order.run => {
                    entry.saved.order.wanted = order.wanted;
                    entry.wanted.send_if_modified(|wanted| {
                        let is_news = *wanted != order.wanted;
                        *wanted = order.wanted;
                        is_news
                    });
                }
                // A run that is over is followed by the next; one that is not is followed when it is.
                Some(entry) if entry.saved.order.run < order.run => {
                    if entry.is_over() {
                        *entry = Entry::ordered(order, (self.clock)());
                    } else {
                        entry.next = Some(order);
                        return;
                    }
                }
                Some(_) => return,
                None => {
                    tasks.insert(id.clone(), Entry::ordered(order, (self.clock)()));
                }
            }
        }
        self.start_worker(&id);
    }

    /// The host has given a task to this runner for good.
    pub(super) fn accepted(&self, run: &Run) {
        self.give_verdict(run, Verdict::Accepted);
    }

    /// The host has not.
    pub(super) fn refused(&self, run: &Run) {
        self.give_verdict(run, Verdict::Refused);
    }

    fn give_verdict(&self, run: &Run, verdict: Verdict) {
        let mut tasks = self.lock();
        let entry = tasks
            .get_mut(&run.task)
            .filter(|entry| entry.saved.order.run == run.run);
        if let Some(entry) = entry.filter(|entry| entry.is_asked_for) {
            entry.is_asked_for = false;
            entry.verdict.send_replace(Some(verdict));
        }
    }

    /// A run is none of the cluster's any more: nothing of it shall be left.
    pub(super) fn stale(self: &Arc<Self>, run: &Run) {
        {
            let mut tasks = self.lock();
            let entry = tasks
                .get_mut(&run.task)
                .filter(|entry| entry.saved.order.run == run.run);
            let Some(entry) = entry else { return };
            entry.saved.order.wanted = Wanted::Remove;
            entry.wanted.send_replace(Wanted::Remove);
        }
        self.start_worker(&run.task);
    }

    /// The host shall be asked for a task.
    pub(super) fn ask_for(&self, task: &TaskId) {
        if let Some(entry) = self.lock().get_mut(task) {
            entry.verdict.send_replace(None);
            entry.is_asked_for = true;
        }
        self.news.notify_one();
    }

    /// Tasks that the host shall be asked for.
    pub(super) fn accepts(&self) -> Vec<Run> {
        let tasks = self.lock();
        let asked = tasks
            .values()
            .filter(|entry| entry.is_asked_for)
            .take(MAX_STATUSES);
        let accepts = asked.map(|entry| Run {
            task: entry.saved.order.task.clone(),
            run: entry.saved.order.run,
        });
        accepts.collect()
    }

    /// Where a task is has changed.
    pub(super) fn set_phase(&self, task: &TaskId, run: u32, phase: Phase) {
        {
            let mut tasks = self.lock();
            let entry = tasks
                .get_mut(task)
                .filter(|entry| entry.saved.order.run == run);
            let Some(entry) = entry.filter(|entry| entry.status.phase != phase) else {
                return;
            };
            entry.status.phase = phase;
            entry.status.at = (self.clock)();
            entry.is_news = true;
        }
        self.news.notify_one();
    }

    /// Writes down how far a task has come; it is on disk when this returns.
    pub(super) async fn save(
        &self,
        task: &TaskId,
        run: u32,
        stage: Stage,
    ) -> Result<(), JournalError> {
        let saved = {
            let mut tasks = self.lock();
            let entry = tasks
                .get_mut(task)
                .filter(|entry| entry.saved.order.run == run);
            let Some(entry) = entry else {
                return Err(JournalError(format!("task '{task}' is not known any more")));
            };
            Saved {
                order: entry.saved.order.clone(),
                stage,
            }
        };
        self.journal.save(&saved).await?;
        if let Some(entry) = self
            .lock()
            .get_mut(task)
            .filter(|entry| entry.saved.order.run == run)
        {
            entry.saved.stage = saved.stage;
        }
        Ok(())
    }

    /// A run is over: begins the next one, where that waits.
    pub(super) async fn follow(self: &Arc<Self>, task: &TaskId) {
        let next = self
            .lock()
            .get_mut(task)
            .and_then(|entry| entry.next.take());
        if let Some(order) = next {
            // It replaces the run whose worker says this, so it is taken by another.
            let board = Arc::clone(self);
            tokio::spawn(async move { board.take_order(order).await });
        }
    }

    /// Nothing is left of a task, and it is forgotten.
    pub(super) async fn forget(&self, task: &TaskId) -> Result<(), JournalError> {
        self.journal.forget(task).await?;
        self.lock().remove(task);
        Ok(())
    }

    /// That the node looks different now.
    pub(super) fn note_change(&self) {
        self.changed.notify_one();
    }

    pub(super) async fn wait_for_news(&self) {
        self.news.notified().await;
    }

    pub(super) async fn wait_for_change(&self) {
        self.changed.notified().await;
    }

    /// What has to be told, and from now on counts as being told.
    pub(super) fn news(&self) -> Vec<TaskStatus> {
        let mut tasks = self.lock();
        let mut told = Vec::new();
        let mut has_more = false;
        for entry in tasks.values_mut().filter(|entry| entry.is_news) {
            if told.len() == MAX_STATUSES {
                has_more = true;
                break;
            }
            entry.is_news = false;
            told.push(entry.status.clone());
        }
        drop(tasks);
        if has_more {
            self.news.notify_one();
        }
        told
    }

    /// Every task that the host has to know of, when the runner presents itself.
    pub(super) fn statuses_for_register(&self) -> Vec<TaskStatus> {
        let mut tasks = self.lock();
        let untold = tasks
            .values_mut()
            .filter(|entry| !matches!(entry.saved.stage, Stage::Over { told: true, .. }));
        let statuses = untold.map(|entry| {
            entry.is_news = false;
            entry.status.clone()
        });
        statuses.collect()
    }

    /// A host knows these now.
    pub(super) async fn were_told(&self, told: &[TaskStatus]) {
        for status in told {
            let is_end = status.phase.is_over();
            let ended = {
                let tasks = self.lock();
                let entry = tasks
                    .get(&status.task)
                    .filter(|entry| entry.status == *status);
                entry.filter(|_| is_end).map(|entry| entry.saved.clone())
            };
            match ended {
                Some(Saved {
                    stage:
                        Stage::Over {
                            phase,
                            at,
                            told: false,
                        },
                    order,
                }) => {
                    if matches!(phase, Phase::Removed | Phase::NotStarted { .. }) {
                        let _ = self.forget(&order.task).await;
                        continue;
                    }
                    let stage = Stage::Over {
                        phase,
                        at,
                        told: true,
                    };
                    // Where it cannot be written down, it is told once more.
                    let _ = self.save(&order.task, order.run, stage).await;
                }
                Some(saved) if status.phase == Phase::Removed => {
                    let _ = self.forget(&saved.order.task).await;
                }
                _ => {}
            }
        }
        self.forget_surplus().await;
    }

    /// No host knows these.
    pub(super) fn were_not_told(&self, told: &[TaskStatus]) {
        {
            let mut tasks = self.lock();
            for status in told {
                if let Some(entry) = tasks.get_mut(&status.task) {
                    entry.is_news = true;
                }
            }
        }
        if !told.is_empty() {
            self.news.notify_one();
        }
    }

    /// Ends that a host knows are kept for their logs, but not without end.
    async fn forget_surplus(&self) {
        let surplus: BTreeSet<TaskId> = {
            let tasks = self.lock();
            let told: Vec<&TaskId> = tasks
                .iter()
                .filter(|(_, entry)| matches!(entry.saved.stage, Stage::Over { told: true, .. }))
                .map(|(id, _)| id)
                .collect();
            let surplus = told.len().saturating_sub(MAX_KEPT);
            told.into_iter().take(surplus).cloned().collect()
        };
        for task in surplus {
            let _ = self.forget(&task).await;
        }
    }
}

impl Entry {
    /// A task that has just been ordered.
    fn ordered(order: Order, now: u64) -> Self {
        let saved = Saved {
            stage: Stage::Intended,
            order,
        };
        let mut entry = Self::of(saved, now);
        // Nothing is to be told before something has been done.
        entry.is_news = false;
        entry
    }

    /// A task that was written down.
    fn of(saved: Saved, now: u64) -> Self {
        let (phase, at, told) = match &saved.stage {
            Stage::Over { phase, at, told } => (phase.clone(), *at, *told),
            Stage::Intended | Stage::Accepted => (Phase::Accepted, now, false),
            Stage::Preparing | Stage::Begun => {
                let progress = "the runner was restarted and looks for it".to_owned();
                (Phase::Starting { progress }, now, false)
            }
        };
        Self {
            status: TaskStatus {
                task: saved.order.task.clone(),
                run: saved.order.run,
                phase,
                at,
            },
            is_news: !told,
            is_asked_for: false,
            wanted: watch::Sender::new(saved.order.wanted),
            verdict: watch::Sender::new(None),
            worker: None,
            next: None,
            saved,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.saved.stage, Stage::Over { .. })
    }

    /// Whether there is nothing to do for it: it is over, and may stay.
    fn is_done(&self) -> bool {
        self.is_over() && *self.wanted.borrow() != Wanted::Remove
    }
}
