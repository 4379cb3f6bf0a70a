//! A worker: drives one run of one task from its order to its end.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use vfioctl_api::{Exit, Order, Phase, Wanted};

use super::board::Board;
use crate::journal::{Saved, Stage};
use crate::limits::{ASK_AGAIN, WRITE_AGAIN};
use crate::world::{Backend, Begin, BeginHook, Found, Running, StartError, Teller, Unknown};

/// What the host says about a task that it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is this runner's for good.
    Accepted,
    /// It is not.
    Refused,
}

/// What a worker works with.
struct Worker {
    board: Arc<Board>,
    backend: Arc<dyn Backend>,
    order: Order,
    wanted: watch::Receiver<Wanted>,
    verdict: watch::Receiver<Option<Verdict>>,
}

/// What comes next.
enum Next {
    /// Ask the host for it.
    Ask,
    /// Make it ready and begin.
    Start,
    /// An earlier runner may have begun it: look.
    Look {
        /// Whether it had been written down as begun.
        was_begun: bool,
    },
    /// It runs.
    Watch,
    /// It is over in this way; what it held goes back.
    Settle(Phase),
    /// It is over and written down; what is wanted of it now is to be removed, or to stay.
    Keep,
    /// Nothing of this run concerns this runner any more.
    Gone,
}

/// Drives a run.
pub(super) async fn drive(
    board: Arc<Board>,
    saved: Saved,
    wanted: watch::Receiver<Wanted>,
    verdict: watch::Receiver<Option<Verdict>>,
) {
    let backend = board.world.backend(&saved.order);
    let mut next = match saved.stage {
        Stage::Intended => Next::Ask,
        // The host may have given it to the runner that ended; asking tells.
        Stage::Accepted => Next::Ask,
        Stage::Preparing => Next::Look { was_begun: false },
        Stage::Begun => Next::Look { was_begun: true },
        Stage::Over { .. } => Next::Keep,
    };
    let mut worker = Worker {
        board,
        backend,
        order: saved.order,
        wanted,
        verdict,
    };
    loop {
        next = match next {
            Next::Ask => worker.ask().await,
            Next::Start => worker.start().await,
            Next::Look { was_begun } => worker.look(was_begun).await,
            Next::Watch => worker.watch().await,
            Next::Settle(phase) => worker.settle(phase).await,
            Next::Keep => match worker.keep().await {
                Some(next) => next,
                None => return,
            },
            Next::Gone => return,
        };
    }
}

impl Worker {
    fn wants(&self) -> Wanted {
        *self.wanted.borrow()
    }

    fn tell(&self, phase: Phase) {
        self.board
            .set_phase(&self.order.task, self.order.run, phase);
    }

    async fn save(&self, stage: Stage) -> bool {
        match self
            .board
            .save(&self.order.task, self.order.run, stage)
            .await
        {
            Ok(()) => true,
            Err(error) => {
                crate::log::error(&format!("task '{}': {error}", self.order.task));
                false
            }
        }
    }

    /// Asks the host for the task: only when it says so is it this runner's.
    async fn ask(&mut self) -> Next {
        if self.wants() != Wanted::Run {
            return Next::Settle(Phase::Killed);
        }
        // A trace of it, before the host is asked: a host that says yes relies on it.
        if !self.save(Stage::Intended).await {
            return Next::Settle(Phase::NotStarted {
                reason: "the node cannot write down what it does".into(),
                may_retry: true,
            });
        }
        self.board.ask_for(&self.order.task);
        let verdict = loop {
            if let Some(verdict) = *self.verdict.borrow_and_update() {
                break verdict;
            }
            tokio::select! {
                biased;
                changed = self.verdict.changed() => if changed.is_err() { return Next::Gone },
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return Next::Gone;
                    }
                    if self.wants() != Wanted::Run {
                        return Next::Settle(Phase::Killed);
                    }
                }
            }
        };
        match verdict {
            Verdict::Accepted if self.save(Stage::Accepted).await => Next::Start,
            Verdict::Accepted => Next::Settle(Phase::NotStarted {
                reason: "the node cannot write down what it does".into(),
                may_retry: true,
            }),
            // It went elsewhere, or to the runner before this one, which did not begin it.
            Verdict::Refused => Next::Settle(Phase::NotStarted {
                reason: "its runner was restarted before it began".into(),
                may_retry: true,
            }),
        }
    }

    async fn start(&mut self) -> Next {
        // Cut off from every host, nothing new is begun.
        let lease = Arc::clone(&self.board.lease);
        tokio::select! {
            biased;
            () = lease.valid() => {}
            _ = self.wanted.wait_for(|wanted| *wanted != Wanted::Run) => return Next::Settle(Phase::Killed),
        }
        if !self.save(Stage::Preparing).await {
            return Next::Settle(Phase::NotStarted {
                reason: "the node cannot write down what it does".into(),
                may_retry: true,
            });
        }
        let begin = Begin {
            teller: self.teller(),
            wanted: self.wanted.clone(),
            begun: Box::new(WriteBegun {
                board: Arc::clone(&self.board),
                order: self.order.clone(),
            }),
        };
        begin.tell("making it ready");
        match self.backend.start(&self.order, &begin).await {
            Ok(()) => {
                self.board.note_change();
                Next::Watch
            }
            Err(StartError::Failed { reason, may_retry }) => {
                Next::Settle(Phase::NotStarted { reason, may_retry })
            }
            Err(StartError::Cancelled) => Next::Settle(self.ended()),
            Err(StartError::Unknown(reason)) => {
                crate::log::warning(&format!(
                    "task '{}': {reason}; looking for it",
                    self.order.task
                ));
                Next::Look { was_begun: true }
            }
        }
    }

    fn teller(&self) -> Teller {
        let (board, order) = (Arc::clone(&self.board), self.order.clone());
        Teller::new(move |phase| board.set_phase(&order.task, order.run, phase))
    }

    /// Looks for what an earlier runner may have begun.
    async fn look(&mut self, was_begun: bool) -> Next {
        match self.backend.find(&self.order).await {
            Ok(Found::Running) if was_begun => Next::Watch,
            // Made ready and not begun: it goes, and whoever wants it begins anew.
            Ok(Found::Running | Found::Ended(_)) if !was_begun => {
                match self.backend.end(&self.order, true).await {
                    Ok(()) => Next::Settle(restarted()),
                    Err(error) => self.later(&error, Next::Look { was_begun }).await,
                }
            }
            Ok(Found::Ended(exit)) => Next::Settle(self.exited(exit)),
            Ok(Found::Absent) if was_begun => {
                let reason = "it is not there any more, and nobody knows how it ended".into();
                Next::Settle(Phase::Vanished { reason })
            }
            Ok(Found::Absent | Found::Running) => Next::Settle(restarted()),
            Err(error) => self.later(&error, Next::Look { was_begun }).await,
        }
    }

    async fn later(&self, error: &Unknown, next: Next) -> Next {
        crate::log::warning(&format!(
            "task '{}': {error}; trying again",
            self.order.task
        ));
        tokio::time::sleep(ASK_AGAIN).await;
        next
    }

    /// Waits for its end, and ends it where that is wanted.
    async fn watch(&mut self) -> Next {
        let running = Running {
            teller: self.teller(),
        };
        loop {
            let wants = *self.wanted.borrow_and_update();
            if wants != Wanted::Run {
                return self.end(wants).await;
            }
            tokio::select! {
                biased;
                changed = self.wanted.changed() => if changed.is_err() { return Next::Gone },
                found = self.backend.wait(&self.order, &running) => match found {
                    Ok(Found::Running) => {}
                    Ok(Found::Ended(exit)) => return Next::Settle(self.exited(exit)),
                    Ok(Found::Absent) => {
                        let reason = "it is not there any more, and nobody knows how it ended".into();
                        return Next::Settle(Phase::Vanished { reason });
                    }
                    Err(error) => {
                        crate::log::warning(&format!("task '{}': {error}; asking again", self.order.task));
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                },
            }
        }
    }

    async fn end(&mut self, wants: Wanted) -> Next {
        let at_once = wants != Wanted::Stop;
        // Asked to stop, it may take its time; who loses patience has it killed meanwhile.
        let ended = tokio::select! {
            biased;
            ended = self.backend.end(&self.order, at_once) => ended,
            _ = self.wanted.wait_for(|now| *now != wants), if !at_once => return Next::Watch,
        };
        match ended {
            Ok(()) => Next::Settle(self.ended()),
            Err(error) => self.later(&error, Next::Watch).await,
        }
    }

    /// How a run is over that was not wanted any more.
    fn ended(&self) -> Phase {
        match self.wants() {
            Wanted::Stop => Phase::Stopped,
            Wanted::Run | Wanted::Kill | Wanted::Remove => Phase::Killed,
        }
    }

    fn exited(&self, exit: Exit) -> Phase {
        match self.wants() {
            Wanted::Run => Phase::Exited(exit),
            Wanted::Stop => Phase::Stopped,
            Wanted::Kill | Wanted::Remove => Phase::Killed,
        }
    }

    /// What the run held goes back, and that it is over is written down and told.
    async fn settle(&mut self, phase: Phase) -> Next {
        while let Err(error) = self.backend.settle(&self.order).await {
            crate::log::warning(&format!(
                "task '{}': {error}; trying again",
                self.order.task
            ));
            tokio::time::sleep(ASK_AGAIN).await;
        }
        let stage = Stage::Over {
            phase: phase.clone(),
            at: (self.board.clock)(),
            told: false,
        };
        // A runner that is restarted before this is written finds its end once more.
        while !self.save(stage.clone()).await {
            tokio::time::sleep(WRITE_AGAIN).await;
        }
        self.board.note_change();
        self.tell(phase);
        self.board.follow(&self.order.task).await;
        Next::Keep
    }

    /// It is over. Its log and its disk stay until they are not wanted any more.
    async fn keep(&mut self) -> Option<Next> {
        if self
            .wanted
            .wait_for(|wanted| *wanted == Wanted::Remove)
            .await
            .is_err()
        {
            return None;
        }
        while let Err(error) = self.backend.remove(&self.order).await {
            crate::log::warning(&format!(
                "task '{}': {error}; trying again",
                self.order.task
            ));
            tokio::time::sleep(ASK_AGAIN).await;
        }
        let stage = Stage::Over {
            phase: Phase::Removed,
            at: (self.board.clock)(),
            told: false,
        };
        while !self.save(stage.clone()).await {
            tokio::time::sleep(WRITE_AGAIN).await;
        }
        self.tell(Phase::Removed);
        None
    }
}

fn restarted() -> Phase {
    Phase::NotStarted {
        reason: "its runner was restarted before it began".into(),
        may_retry: true,
    }
}

/// Writes down that a run begins.
#[derive(Debug)]
struct WriteBegun {
    board: Arc<Board>,
    order: Order,
}

#[async_trait]
impl BeginHook for WriteBegun {
    async fn begin(&self) -> Result<(), StartError> {
        self.board
            .save(&self.order.task, self.order.run, Stage::Begun)
            .await
            .map_err(|error| {
                StartError::not_now(format!("the node cannot write down what it does: {error}"))
            })
    }
}
