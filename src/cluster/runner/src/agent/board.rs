//! The board: every task of the node, what is wanted of it, and what has to be told of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use vfioctl_api::{Kind, Order, Phase, Run, TaskId, TaskStatus, Wanted};

use super::lease::Lease;
use super::worker::{self, Verdict};
use super::{Clock, Parts};
use crate::journal::{Journal, JournalError, Saved, Stage};
use crate::limits::{MAX_KEPT, MAX_STATUSES};
use crate::world::World;

/// Every task of the node.
pub(super) struct Board {
    tasks: Mutex<BTreeMap<TaskId, Entry>>,
    /// Held while orders are taken, and while a task is forgotten: neither undoes the other.
    coming_and_going: tokio::sync::Mutex<()>,
    questions: AtomicU64,
    has_ended: AtomicBool,
    pub(super) world: Arc<dyn World>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) lease: Arc<Lease>,
    pub(super) clock: Clock,
    /// There is something to tell.
    news: Notify,
    /// A task has begun or ended, so that the node looks different.
    changed: Notify,
}

/// Whether a run is this runner's, as a host is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) run: Run,
    number: u64,
}

/// A task of the node.
struct Entry {
    saved: Saved,
    /// What is to be told of it, as it is now.
    status: TaskStatus,
    /// Whether that has changed since it was told.
    is_news: bool,
    /// That the host shall be asked for it: the number of the question.
    question: Option<u64>,
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
            coming_and_going: tokio::sync::Mutex::default(),
            questions: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
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

    /// Ends every worker, and lets none begin.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.lock().clear();
    }

    fn start_worker(self: &Arc<Self>, id: &TaskId) {
        let mut tasks = self.lock();
        if self.has_ended.load(Ordering::Relaxed) {
            return;
        }
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
        let _coming = self.coming_and_going.lock().await;
        {
            let mut tasks = self.lock();
            match tasks.get_mut(&id) {
                // The same run: only what is wanted of it may be new. An answer that comes late may still
                // want what was wanted before.
                Some(entry) if entry.saved.order.run == order.run => {
                    let wanted = order.wanted.max(entry.saved.order.wanted);
                    entry.saved.order.wanted = wanted;
                    entry.wanted.send_if_modified(|now| {
                        let is_news = *now != wanted;
                        *now = wanted;
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

    /// A host has answered a question. An answer to an earlier one is of no use: what it allowed may
    /// have been given back since.
    pub(super) fn answer(&self, question: &Question, verdict: Verdict) {
        let mut tasks = self.lock();
        let entry = tasks
            .get_mut(&question.run.task)
            .filter(|entry| entry.question == Some(question.number));
        if let Some(entry) = entry {
            entry.question = None;
            entry.verdict.send_replace(Some(verdict));
        }
    }

    /// A run is none of the cluster's any more: nothing of it shall be left.
    pub(super) async fn stale(self: &Arc<Self>, run: &Run) {
        let _coming = self.coming_and_going.lock().await;
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
            entry.question = Some(self.questions.fetch_add(1, Ordering::Relaxed));
        }
        self.news.notify_one();
    }

    /// What a host shall be asked.
    pub(super) fn questions(&self) -> Vec<Question> {
        let tasks = self.lock();
        let asked = tasks.values().filter_map(|entry| {
            let run = Run {
                task: entry.saved.order.task.clone(),
                run: entry.saved.order.run,
            };
            let number = entry.question?;
            Some(Question { run, number })
        });
        asked.take(MAX_STATUSES).collect()
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

    /// Forgets a task that is over, unless more has been ordered meanwhile.
    async fn forget(&self, told: &TaskStatus) {
        let _going = self.coming_and_going.lock().await;
        let is_left = |entry: &Entry| {
            let is_being_removed = *entry.wanted.borrow() == Wanted::Remove;
            let is_removed = told.phase == Phase::Removed;
            entry.status == *told && entry.next.is_none() && (is_removed || !is_being_removed)
        };
        if !self.lock().get(&told.task).is_some_and(is_left) {
            return;
        }
        // Where the disk refuses, it is told once more after the next start, and forgotten then.
        match self.journal.forget(&told.task).await {
            Ok(()) => drop(self.lock().remove(&told.task)),
            Err(error) => crate::log::warning(&format!("task '{}': {error}", told.task)),
        }
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

    /// Every task that there is anything of, when the runner presents itself: the host tells which of
    /// them are none of the cluster's any more.
    pub(super) fn statuses_for_register(&self) -> Vec<TaskStatus> {
        let mut tasks = self.lock();
        let statuses = tasks.values_mut().map(|entry| {
            entry.is_news = false;
            entry.status.clone()
        });
        statuses.collect()
    }

    /// A host knows these now.
    pub(super) async fn were_told(&self, told: &[TaskStatus]) {
        for status in told.iter().filter(|status| status.phase.is_over()) {
            let is_as_told = |entry: &&Entry| entry.status == *status && entry.is_over();
            let has_remains = {
                let tasks = self.lock();
                let entry = tasks.get(&status.task).filter(is_as_told);
                entry.map(Entry::has_remains)
            };
            if has_remains == Some(false) {
                self.forget(status).await;
            } else if has_remains == Some(true) {
                let stage = Stage::Over {
                    phase: status.phase.clone(),
                    at: status.at,
                    told: true,
                };
                // Where it cannot be written down, it is told once more.
                let _ = self.save(&status.task, status.run, stage).await;
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

    /// Ends of commands that a host knows are kept for their logs, but not without end. Servers stay:
    /// what they wrote is theirs until somebody removes them.
    async fn forget_surplus(&self) {
        let surplus: Vec<TaskStatus> = {
            let tasks = self.lock();
            let told: Vec<&Entry> = tasks
                .values()
                .filter(|entry| matches!(entry.saved.stage, Stage::Over { told: true, .. }))
                .filter(|entry| entry.saved.order.submission.kind == Kind::Command)
                .collect();
            let surplus = told.len().saturating_sub(MAX_KEPT);
            let surplus = told.into_iter().take(surplus);
            surplus.map(|entry| entry.status.clone()).collect()
        };
        for status in surplus {
            self.forget(&status).await;
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
            question: None,
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

    /// Whether anything is left on the node of a task that is over.
    fn has_remains(&self) -> bool {
        match self.status.phase {
            Phase::Removed => false,
            // An earlier run of a server left its disk.
            Phase::NotStarted { .. } => {
                let order = &self.saved.order;
                order.run > 1 && order.submission.kind == Kind::Vps
            }
            _ => true,
        }
    }

    /// Whether there is nothing to do for it: it is over, and may stay.
    fn is_done(&self) -> bool {
        self.is_over() && *self.wanted.borrow() != Wanted::Remove
    }
}
