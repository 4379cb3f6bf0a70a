//! The agent: keeps in touch with a host, and has the node do what it is told.
//!
//! Two loops talk to the host: one waits for orders, one tells what has changed. Each task has a
//! `worker` of its own, which drives it through its stages and writes each down before it goes on.
//! `board` is what all of them share. The lease is what the agent may begin new work under: cut off
//! from every host, it goes on with what runs and begins nothing.

mod board;
mod lease;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{RwLock, Semaphore};
use tokio::time::Instant;
use vfioctl_api::{LogOrder, NodeReport, Register, Sync, SyncReply, Telemetry};

use crate::journal::{Journal, JournalError};
use crate::limits::{FIRST_RETRY, LONGEST_RETRY, MAX_LOGS, REPORT_BEAT};
use crate::link::{Link, LinkError};
use crate::world::World;

use board::{Board, Question};
use lease::Lease;
use worker::Verdict;

/// Tells what time it is.
pub type Clock = Arc<dyn Fn() -> u64 + Send + std::marker::Sync>;

/// What an agent is made of.
pub struct Parts {
    /// The link to a host.
    pub link: Arc<dyn Link>,
    /// The node.
    pub world: Arc<dyn World>,
    /// What must not be forgotten.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Clock,
    /// Names this start of the program among all.
    pub incarnation: String,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parts({})", self.incarnation)
    }
}

/// The agent of a node.
#[derive(Debug)]
struct Agent {
    parts: Parts,
    board: Arc<Board>,
    lease: Arc<Lease>,
    session: std::sync::Mutex<Option<Session>>,
    /// The full picture as the host knows it.
    reported: std::sync::Mutex<Option<NodeReport>>,
    logs: Arc<Semaphore>,
    /// Held by every exchange, and alone by a registration: what an exchange brings is on the board
    /// before the board is told.
    talking: RwLock<()>,
    /// What went wrong last. It is said once, until something goes well.
    trouble: std::sync::Mutex<Option<String>>,
}

/// A registration.
#[derive(Debug, Clone)]
struct Session {
    name: String,
    seen: u64,
    heartbeat: Duration,
}

/// Runs the agent; it ends when it is dropped, and its tasks with it. What they have begun goes on.
///
/// # Errors
/// Where the journal cannot be read.
pub async fn run(parts: Parts) -> Result<(), JournalError> {
    let board = Board::open(&parts).await?;
    let lease = board.lease();
    let agent = Arc::new(Agent {
        parts,
        board,
        lease,
        session: std::sync::Mutex::default(),
        reported: std::sync::Mutex::default(),
        logs: Arc::new(Semaphore::new(MAX_LOGS)),
        talking: RwLock::new(()),
        trouble: std::sync::Mutex::default(),
    });
    let _workers = Workers(Arc::clone(&agent.board));
    agent.board.take_up();
    // All three end together, when this future is dropped.
    tokio::join!(agent.poll(), agent.push(), agent.look());
    Ok(())
}

/// Ends the workers with the agent: each of them holds the board, so the board would never go by itself.
#[derive(Debug)]
struct Workers(Arc<Board>);

impl Drop for Workers {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Agent {
    fn session(&self) -> Option<Session> {
        self.session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn set_session(&self, session: Option<Session>) {
        *self
            .session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = session;
    }

    fn reported(&self) -> std::sync::MutexGuard<'_, Option<NodeReport>> {
        self.reported
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits for orders, over and over.
    async fn poll(&self) {
        let mut pause = FIRST_RETRY;
        loop {
            let done = match self.session() {
                Some(session) => {
                    let telemetry = Some(self.parts.world.telemetry().await);
                    self.exchange(&session, session.heartbeat, None, telemetry)
                        .await
                }
                None => self.register().await,
            };
            match done {
                Ok(()) => {
                    pause = FIRST_RETRY;
                    self.note_well();
                }
                Err(error) => {
                    self.note(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_RETRY);
                }
            }
        }
    }

    /// Tells what has changed, as soon as it has.
    async fn push(&self) {
        let mut pause = FIRST_RETRY;
        loop {
            self.board.wait_for_news().await;
            let Some(session) = self.session() else {
                // Registering tells everything.
                tokio::time::sleep(FIRST_RETRY).await;
                continue;
            };
            match self.exchange(&session, Duration::ZERO, None, None).await {
                Ok(()) => pause = FIRST_RETRY,
                Err(error) => {
                    self.note(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_RETRY);
                }
            }
        }
    }

    /// Looks at the node now and then, and whenever a task has begun or ended, and tells what has changed.
    async fn look(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.board.wait_for_change() => {}
                () = tokio::time::sleep(REPORT_BEAT) => {}
            }
            let Some(session) = self.session() else {
                continue;
            };
            let report = self.parts.world.report().await;
            let is_news = self.reported().as_ref() != Some(&report);
            if is_news
                && let Err(error) = self
                    .exchange(&session, Duration::ZERO, Some(report), None)
                    .await
            {
                self.note(&error);
            }
        }
    }

    fn note(&self, error: &LinkError) {
        if error.is_session_ended() {
            self.set_session(None);
            return;
        }
        let text = error.to_string();
        let mut trouble = self.trouble();
        if trouble.as_ref() != Some(&text) {
            crate::log::warning(&format!("{text}; trying again"));
            *trouble = Some(text);
        }
    }

    fn note_well(&self) {
        if self.trouble().take().is_some() {
            crate::log::info("in touch with the cluster again");
        }
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn register(&self) -> Result<(), LinkError> {
        let report = self.parts.world.report().await;
        let _alone = self.talking.write().await;
        let told = self.board.statuses_for_register();
        let register = Register {
            incarnation: self.parts.incarnation.clone(),
            report: report.clone(),
            tasks: told.clone(),
        };
        let sent = Instant::now();
        let registered = self.parts.link.register(&register).await?;
        self.lease
            .renew(sent, Duration::from_millis(registered.lease_ms));
        self.board.were_told(&told).await;
        for run in &registered.stale {
            self.board.stale(run).await;
        }
        *self.reported() = Some(report);
        self.set_session(Some(Session {
            name: registered.session,
            seen: 0,
            heartbeat: Duration::from_millis(registered.heartbeat_ms),
        }));
        crate::log::info("registered with the cluster");
        Ok(())
    }

    async fn exchange(
        &self,
        session: &Session,
        wait: Duration,
        report: Option<NodeReport>,
        telemetry: Option<Telemetry>,
    ) -> Result<(), LinkError> {
        let _talking = self.talking.read().await;
        let statuses = self.board.news();
        let questions = self.board.questions();
        let sync = Sync {
            session: session.name.clone(),
            seen: session.seen,
            accepts: questions.iter().map(|asked| asked.run.clone()).collect(),
            statuses: statuses.clone(),
            report: report.clone().map(Box::new),
            telemetry,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let sent = Instant::now();
        let reply = self.parts.link.sync(&sync).await;
        let reply = reply.inspect_err(|_| self.board.were_not_told(&statuses))?;
        // From when it was sent: the host counts from a later moment.
        self.lease.renew_again(sent);
        self.board.were_told(&statuses).await;
        if report.is_some() {
            *self.reported() = report;
        }
        self.take(session, &questions, reply).await;
        Ok(())
    }

    async fn take(&self, session: &Session, questions: &[Question], reply: SyncReply) {
        for order in reply.orders {
            self.board.take_order(order).await;
        }
        for question in questions {
            if reply.accepted.contains(&question.run) {
                self.board.answer(question, Verdict::Accepted);
            } else if reply.refused.contains(&question.run) {
                self.board.answer(question, Verdict::Refused);
            }
        }
        for run in &reply.stale {
            self.board.stale(run).await;
        }
        for order in reply.logs {
            self.send_log(order);
        }
        let mut now = self
            .session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(now) = now.as_mut().filter(|now| now.name == session.name) {
            now.seen = now.seen.max(reply.revision);
        }
    }

    /// Sends a log beside everything else.
    fn send_log(&self, order: LogOrder) {
        let Ok(permit) = Arc::clone(&self.logs).try_acquire_owned() else {
            crate::log::warning(&format!(
                "{MAX_LOGS} logs are being read; one more has to wait"
            ));
            return;
        };
        let (link, world) = (Arc::clone(&self.parts.link), Arc::clone(&self.parts.world));
        tokio::spawn(async move {
            let _permit = permit;
            let bytes = match world.read_log(&order).await {
                Ok(bytes) => bytes,
                Err(reason) => {
                    let text = format!("(the log cannot be read: {reason})\n").into_bytes();
                    Box::pin(futures_util::stream::iter([Ok(text)])) as crate::link::Bytes
                }
            };
            // The reader may have gone, which is no error.
            let _ = link.send_log(&order, bytes).await;
        });
    }
}
