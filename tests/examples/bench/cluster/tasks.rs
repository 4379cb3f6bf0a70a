//! Tasks: from a user's submission to the moment at which the runner may start, and how many
//! submissions a second are on disk when they are answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vfioctl_api::{Run, Wanted};
use vfioctl_tests::cluster::client_config;

use super::beats::{Beats, Event};
use super::host::{Host, Use};
use super::links::{Answer, Links, PATIENCE, Request, request};
use super::nodes::{Heard, Nodes};
use crate::Result;

/// Users that submit at once, each over connections of their own.
const USERS: usize = 16;
/// Connections of each.
const CONNECTIONS: usize = 8;

/// How long it took from a submission until
#[derive(Default)]
pub(super) struct Delays {
    /// its user was answered,
    pub(super) answered: Vec<Duration>,
    /// the order was at its node,
    pub(super) ordered: Vec<Duration>,
    /// the runner there had asked and was told to start.
    pub(super) started: Vec<Duration>,
}

/// Users with their connections.
pub(super) struct Users {
    /// Connection and token.
    doors: Vec<(usize, String)>,
}

impl Users {
    /// Adds users to the cluster, and connects them.
    pub(super) fn arrive(host: &Host, links: &mut Links) -> Result<Self> {
        let config = Arc::new(client_config(&host.cluster.authority(), None));
        let mut doors = Vec::new();
        for user in 0..USERS {
            let token = host.cluster.add_user(&format!("user-{user}"), "user", None);
            for _ in 0..CONNECTIONS {
                doors.push((links.open(&config)?, token.clone()));
            }
        }
        Ok(Self { doors })
    }

    pub(super) fn count() -> usize {
        USERS * CONNECTIONS
    }

    fn first(&self) -> Result<(usize, &str)> {
        let first = self.doors.first();
        let (door, token) = first.ok_or("there is no user")?;
        Ok((*door, token))
    }
}

/// `vfioctl task submit -t NODE -- python train.py`.
fn submission(token: &str, node: &str) -> Request {
    let body = json!({
        "kind": "command", "target": node,
        "backend": {"container": {"command": ["python", "train.py"], "image": "docker.io/library/python:3",
            "environment": {"EPOCHS": "12"}, "working_folder": "/home/alice"}},
    });
    request("POST", "/v1/tasks", Some(token), &body.to_string())
}

/// One task after the other, each on another node.
pub(super) fn submit_and_start(
    links: &mut Links,
    nodes: &mut Nodes,
    beats: &mut Beats,
    users: &Users,
    count: usize,
) -> Result<Delays> {
    let (door, token) = users.first()?;
    let mut delays = Delays::default();
    let mut seconds = vec![None; nodes.count()];
    for number in 0..count {
        let node = number % nodes.count();
        let mut one = One {
            node,
            door,
            second: seconds.get(node).copied().flatten(),
            began: Instant::now(),
            run: None,
            is_answered: false,
            has_ended: false,
            is_over: false,
        };
        links.ask(door, &submission(token, nodes.name(node)))?;
        while !one.turn(links, nodes, beats, &mut delays)? {}
        if let Some(second) = seconds.get_mut(node) {
            *second = one.second;
        }
    }
    for second in seconds.into_iter().flatten() {
        links.close(second);
    }
    Ok(delays)
}

/// One task on its way.
struct One {
    node: usize,
    /// The user's connection.
    door: usize,
    /// The node's second one: a runner opens it when it has something to say while the first waits.
    second: Option<usize>,
    began: Instant,
    /// What the node was given.
    run: Option<Run>,
    is_answered: bool,
    /// Whether the node has told that it has.
    has_ended: bool,
    /// Whether the host has that on disk.
    is_over: bool,
}

impl One {
    /// Goes on; tells whether the task has ended.
    fn turn(
        &mut self,
        links: &mut Links,
        nodes: &mut Nodes,
        beats: &mut Beats,
        delays: &mut Delays,
    ) -> Result<bool> {
        if self.began.elapsed() > PATIENCE {
            return Err(format!("{} was not given its task", nodes.name(self.node)));
        }
        match beats.turn(links, nodes)? {
            Event::Heard(heard) if heard.node == self.node => {
                self.take_order(links, nodes, &heard, delays)?;
            }
            Event::Other(answer) if answer.link == self.door => {
                answer.good()?;
                delays.answered.push(answer.at - self.began);
                self.is_answered = true;
            }
            Event::Other(answer) if Some(answer.link) == self.second => {
                if self.has_ended {
                    answer.good()?;
                    self.is_over = true;
                } else {
                    self.take_leave(links, nodes, &answer, delays)?;
                }
            }
            _ => {}
        }
        Ok(self.is_answered && self.is_over)
    }

    fn take_order(
        &mut self,
        links: &mut Links,
        nodes: &Nodes,
        heard: &Heard,
        delays: &mut Delays,
    ) -> Result<()> {
        let mut orders = heard.reply.orders.iter();
        let (Some(order), None) = (orders.find(|order| order.wanted == Wanted::Run), &self.run)
        else {
            return Ok(());
        };
        delays.ordered.push(self.began.elapsed());
        let second = match self.second {
            Some(second) => second,
            None => nodes.open_second(links, self.node)?,
        };
        self.second = Some(second);
        let run = Run {
            task: order.task.clone(),
            run: order.run,
        };
        links.ask(second, &nodes.tell(self.node, Some(&run), &[])?)?;
        self.run = Some(run);
        Ok(())
    }

    /// Takes the word that the node may start, and tells how it ended.
    fn take_leave(
        &mut self,
        links: &mut Links,
        nodes: &Nodes,
        answer: &Answer,
        delays: &mut Delays,
    ) -> Result<()> {
        let reply = answer.json()?;
        let Some(run) = self.run.as_ref().filter(|run| {
            let own = json!({"task": run.task, "run": run.run});
            reply.pointer("/accepted/0") == Some(&own)
        }) else {
            return Err(format!("the runner may not start its task: {reply}"));
        };
        delays.started.push(answer.at - self.began);
        let status = json!({"task": run.task, "run": run.run, "at": 1_790_000_000_000_u64,
            "phase": {"exited": {"status": 0}}});
        links.ask(answer.link, &nodes.tell(self.node, None, &[status])?)?;
        self.has_ended = true;
        Ok(())
    }
}

/// Submissions that were answered, and how long that took.
pub(super) struct Submitted {
    /// All of them, with those that were answered when the time was over.
    pub(super) answered: usize,
    pub(super) took: Vec<Duration>,
    pub(super) used: Use,
}

/// How many tasks the host knows.
pub(super) fn known(host: &Host) -> Result<usize> {
    let summary = host.cluster.ask("GET", "/v1/summary", &Value::Null);
    let states = summary.get("tasks").and_then(Value::as_object);
    let states = states.ok_or("no tasks are told")?;
    let counts = states.values().filter_map(Value::as_u64);
    usize::try_from(counts.sum::<u64>()).map_err(|error| error.to_string())
}

/// All users submit at once, over and over, each time to the next node.
pub(super) fn submit_many(
    host: &Host,
    links: &mut Links,
    nodes: &mut Nodes,
    beats: &mut Beats,
    users: &Users,
    time: Duration,
) -> Result<Submitted> {
    let begin = Instant::now();
    let since = host.count()?;
    let first = users.first()?.0;
    let mut began = vec![begin; users.doors.len()];
    let mut took = Vec::new();
    let mut submitted = 0;
    let mut submit = |links: &mut Links, nodes: &Nodes, door: usize| {
        let (link, token) = users.doors.get(door).ok_or("there is no such user")?;
        let node = submitted % nodes.count();
        submitted += 1;
        links.ask(*link, &submission(token, nodes.name(node)))
    };
    for door in 0..users.doors.len() {
        submit(links, nodes, door)?;
    }
    let mut busy = users.doors.len();
    let mut counted = None;
    while busy > 0 {
        let Event::Other(answer) = beats.turn(links, nodes)? else {
            if begin.elapsed() > time + PATIENCE {
                return Err("submissions were never answered".into());
            }
            continue;
        };
        answer.good()?;
        let door = answer.link - first;
        if begin.elapsed() < time {
            if let Some(began) = began.get_mut(door) {
                took.push(answer.at - *began);
                *began = Instant::now();
            }
            submit(links, nodes, door)?;
        } else {
            if counted.is_none() {
                counted = Some(host.used(&since)?);
            }
            busy -= 1;
        }
    }
    let used = counted.ok_or("nothing was submitted")?;
    Ok(Submitted {
        answered: submitted,
        took,
        used,
    })
}
