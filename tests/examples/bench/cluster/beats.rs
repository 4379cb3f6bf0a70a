//! Heartbeats: as they come from runners that have nothing else to say, and as many as there can be.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::host::{Host, Use};
use super::links::{Answer, Links, PATIENCE};
use super::nodes::{Heard, Nodes};
use crate::Result;

/// How often a runner comes (`HEARTBEAT` of the host).
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// Longest sleep of this side: what is due is asked at that moment.
const TICK: Duration = Duration::from_millis(1);

/// How a runner waits for its next heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// At the host, for orders: the next request follows the answer at once. So runners do.
    AtHost,
    /// By itself: the host answers at once.
    AtHome,
}

/// Runners that come again and again, spread evenly over the time between two heartbeats.
pub(super) struct Beats {
    wait: Wait,
    /// When which node comes first, and when again; in both, the first first.
    first: VecDeque<(Instant, usize)>,
    again: VecDeque<(Instant, usize)>,
    asked: usize,
}

/// What has happened.
pub(super) enum Event {
    /// A node was answered.
    Heard(Heard),
    /// An answer to somebody who is no node.
    Other(Answer),
    /// Nothing yet.
    Nothing,
}

impl Beats {
    /// The first of them comes now, the last one a heartbeat later. One that is not connected connects
    /// for it.
    pub(super) fn begin(nodes: Range<usize>, wait: Wait) -> Self {
        let (now, count) = (Instant::now(), nodes.len().max(1));
        let first = nodes.enumerate().map(|(index, node)| {
            let part = index as f64 / count as f64;
            (now + HEARTBEAT.mul_f64(part), node)
        });
        Self {
            wait,
            first: first.collect(),
            again: VecDeque::new(),
            asked: 0,
        }
    }

    /// Goes on until every node is connected, and a heartbeat longer.
    pub(super) fn settle(&mut self, links: &mut Links, nodes: &mut Nodes) -> Result<()> {
        let start = Instant::now();
        while nodes.connected < nodes.count() {
            self.turn(links, nodes)?;
            // They come at some thousand a second, unless others have the core.
            if start.elapsed() > 3 * PATIENCE {
                let left = nodes.count() - nodes.connected;
                return Err(format!("{left} nodes have not come"));
            }
        }
        self.run(links, nodes, HEARTBEAT).map(drop)
    }

    /// Asks what is due, and takes one answer.
    pub(super) fn turn(&mut self, links: &mut Links, nodes: &mut Nodes) -> Result<Event> {
        let wait = match self.wait {
            Wait::AtHost => HEARTBEAT,
            Wait::AtHome => Duration::ZERO,
        };
        for due in [&mut self.first, &mut self.again] {
            while let Some((at, node)) = due.front().copied()
                && at <= Instant::now()
                && nodes.can_ask(node)
            {
                due.pop_front();
                nodes.ask(links, node, wait)?;
                self.asked += 1;
            }
        }
        let event = take(links, nodes)?;
        if let Event::Heard(heard) = &event {
            self.asked -= 1;
            let next = match self.wait {
                Wait::AtHost => Instant::now(),
                Wait::AtHome => heard.asked_at + HEARTBEAT,
            };
            self.again.push_back((next, heard.node));
        }
        Ok(event)
    }

    /// Goes on for so long, and tells how long each answer took.
    pub(super) fn run(
        &mut self,
        links: &mut Links,
        nodes: &mut Nodes,
        time: Duration,
    ) -> Result<Vec<Duration>> {
        let end = Instant::now() + time;
        let mut took = Vec::new();
        while Instant::now() < end {
            if let Event::Heard(heard) = self.turn(links, nodes)? {
                took.extend(heard.took);
            }
        }
        Ok(took)
    }

    /// Takes the last answers, and comes no more.
    pub(super) fn end(mut self, links: &mut Links, nodes: &mut Nodes) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.asked > 0 {
            if let Event::Heard(_) = take(links, nodes)? {
                self.asked -= 1;
            }
            if Instant::now() > deadline {
                return Err(format!("{} heartbeats were never answered", self.asked));
            }
        }
        Ok(())
    }
}

fn take(links: &mut Links, nodes: &mut Nodes) -> Result<Event> {
    let Some(answer) = links.wait(TICK)? else {
        return Ok(Event::Nothing);
    };
    if !nodes.is_on(answer.link) {
        return Ok(Event::Other(answer));
    }
    let heard = nodes.take(links, &answer)?;
    Ok(heard.map_or(Event::Nothing, Event::Heard))
}

/// What a host was able to do.
pub(super) struct Saturation {
    pub(super) count: usize,
    pub(super) used: Use,
}

/// As many heartbeats as the host takes: so many are always on their way, of all nodes in turn.
pub(super) fn saturate(
    host: &Host,
    links: &mut Links,
    nodes: &mut Nodes,
    on_their_way: usize,
    time: Duration,
) -> Result<Saturation> {
    let mut idle: VecDeque<usize> = (0..nodes.count()).collect();
    let mut count = 0;
    let since = host.count()?;
    let end = Instant::now() + time;
    let mut asked = 0;
    while Instant::now() < end {
        while asked < on_their_way
            && let Some(node) = idle.pop_front()
        {
            nodes.ask(links, node, Duration::ZERO)?;
            asked += 1;
        }
        let answer = links.await_answer()?;
        if let Some(heard) = nodes.take(links, &answer)? {
            idle.push_back(heard.node);
            count += 1;
            asked -= 1;
        }
    }
    let used = host.used(&since)?;
    while asked > 0 {
        let answer = links.await_answer()?;
        asked -= usize::from(nodes.take(links, &answer)?.is_some());
    }
    Ok(Saturation { count, used })
}
