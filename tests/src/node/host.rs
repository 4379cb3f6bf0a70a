//! A host in this process: gives orders, and writes down what a runner tells. A question and an answer a
//! connection, each a line of JSON; a log is bytes until the connection ends.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vfioctl_api::{
    LogOrder, LogStream, NodeReport, Order, Phase, Register, Registered, Sync, SyncReply, TaskId,
};

/// What a runner says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    Register(Box<Register>),
    Sync(Box<Sync>),
    Log { stream: String },
}

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    orders: BTreeMap<TaskId, (u64, Order)>,
    phases: BTreeMap<TaskId, Vec<(u32, Phase)>>,
    registrations: u32,
    report: Option<NodeReport>,
    logs: Vec<LogOrder>,
    sent: BTreeMap<String, Vec<u8>>,
}

/// A number for a task, later ones greater.
pub(super) fn new_task() -> TaskId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    TaskId::new(
        seconds,
        std::process::id() << 12 | COUNT.fetch_add(1, Ordering::Relaxed),
    )
}

impl Host {
    pub(super) fn start(socket: &Path, user: u32) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        chown(socket, Some(user), None).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        // Ends with the test program.
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        Self { state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn order(&self, order: Order) {
        let mut state = self.lock();
        state.revision += 1;
        let revision = state.revision;
        state.orders.insert(order.task.clone(), (revision, order));
    }

    pub(super) fn phase(&self, task: &TaskId, run: u32) -> Option<Phase> {
        let state = self.lock();
        let last = state
            .phases
            .get(task)?
            .iter()
            .rev()
            .find(|(of, _)| *of == run)?;
        Some(last.1.clone())
    }

    pub(super) fn phases(&self, task: &TaskId) -> Vec<Phase> {
        let state = self.lock();
        state
            .phases
            .get(task)
            .into_iter()
            .flatten()
            .map(|(_, phase)| phase.clone())
            .collect()
    }

    pub(super) fn registrations(&self) -> u32 {
        self.lock().registrations
    }

    pub(super) fn report(&self) -> Option<NodeReport> {
        self.lock().report.clone()
    }

    pub(super) fn ask_for_log(
        &self,
        task: &TaskId,
        log: LogStream,
        offset: u64,
        follow: bool,
    ) -> String {
        let mut state = self.lock();
        state.revision += 1;
        let stream = format!("log-{}", state.revision);
        let order = LogOrder {
            stream: stream.clone(),
            host: "test".into(),
            task: task.clone(),
            log,
            offset,
            follow,
        };
        state.logs.push(order);
        stream
    }

    pub(super) fn log(&self, stream: &str) -> Option<Vec<u8>> {
        self.lock().sent.get(stream).cloned()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(stream: UnixStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    // A runner that was killed says half of it, or nothing.
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let Ok(question) = serde_json::from_str::<Question>(&line) else {
        return;
    };
    let reply = match question {
        Question::Register(register) => serde_json::to_vec(&take_registration(state, *register)),
        Question::Sync(sync) => serde_json::to_vec(&exchange(state, *sync)),
        Question::Log { stream } => {
            let mut bytes = Vec::new();
            if reader.read_to_end(&mut bytes).is_ok() {
                lock(state).sent.insert(stream, bytes);
            }
            return;
        }
    };
    let _ = reader.into_inner().write_all(&reply.unwrap());
}

fn take_registration(state: &Mutex<State>, register: Register) -> Registered {
    let mut state = lock(state);
    state.registrations += 1;
    state.report = Some(register.report);
    note(&mut state, register.tasks);
    Registered {
        session: format!("session-{}", state.registrations),
        lease_ms: 60_000,
        heartbeat_ms: 500,
        version: "test".into(),
        stale: Vec::new(),
    }
}

fn note(state: &mut State, statuses: Vec<vfioctl_api::TaskStatus>) {
    for status in statuses {
        state
            .phases
            .entry(status.task)
            .or_default()
            .push((status.run, status.phase));
    }
}

fn exchange(state: &Mutex<State>, sync: Sync) -> SyncReply {
    let deadline = Instant::now() + Duration::from_millis(sync.wait_ms);
    {
        let mut state = lock(state);
        note(&mut state, sync.statuses);
        if let Some(report) = sync.report {
            state.report = Some(*report);
        }
    }
    loop {
        {
            let mut state = lock(state);
            let orders: Vec<Order> = state
                .orders
                .values()
                .filter(|(revision, _)| *revision > sync.seen)
                .map(|(_, order)| order.clone())
                .collect();
            let logs = std::mem::take(&mut state.logs);
            let has_news = !orders.is_empty() || !logs.is_empty() || !sync.accepts.is_empty();
            if has_news || Instant::now() >= deadline {
                return SyncReply {
                    revision: state.revision,
                    orders,
                    accepted: sync.accepts,
                    logs,
                    ..SyncReply::default()
                };
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
