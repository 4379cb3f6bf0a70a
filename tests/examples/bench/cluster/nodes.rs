//! Nodes: simulated runners. Each has joined with a token and has a certificate of its own; they say
//! to the host what real ones say (`src/cluster/runner/src/agent/`), and start nothing.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;
use serde_json::{Value, json};
use vfioctl_api::{Run, SyncReply};
use vfioctl_tests::cluster::{Identity, client_config};

use super::host::Host;
use super::links::{Answer, Links, Request, request};
use crate::Result;

/// GPUs of a node.
pub(super) const GPUS: u16 = 4;
/// Connections by which nodes are let in.
const DOORS: usize = 64;
/// Nodes that present themselves at once: fewer than what waits to be accepted at most.
const AT_ONCE: usize = 64;

/// A simulated runner.
struct Node {
    name: String,
    config: Arc<ClientConfig>,
    link: Option<usize>,
    session: String,
    seen: u64,
    asked: Asked,
    at: Instant,
    /// Whether anything was heard on its connection.
    is_connected: bool,
    /// The request of its last heartbeat; it is the same as long as nothing happens.
    beat: Option<(u64, Duration, Request)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Register,
    Beat(Duration),
}

/// What a node was answered.
pub(super) struct Heard {
    pub(super) node: usize,
    /// How long it took, without the time that the host was asked to wait; none where it had a reason
    /// to answer earlier, and for a registration.
    pub(super) took: Option<Duration>,
    pub(super) asked_at: Instant,
    pub(super) reply: SyncReply,
}

/// All nodes.
pub(super) struct Nodes {
    /// All of them have one key: it takes a while to make 10,000, and a host does not see it.
    key: String,
    signing_request: String,
    authority: String,
    all: Vec<Node>,
    by_link: Vec<Option<usize>>,
    /// How often one had to register anew.
    pub(super) returned: usize,
    /// How many have heard something on the connection that they have,
    pub(super) connected: usize,
    /// and nothing yet.
    connecting: usize,
}

impl Nodes {
    pub(super) fn new(host: &Host) -> Result<Self> {
        let failed = |error: rcgen::Error| format!("make a key: {error}");
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let params = rcgen::CertificateParams::default();
        let signing_request = params.serialize_request(&key).map_err(failed)?;
        Ok(Self {
            key: key.serialize_pem(),
            signing_request: signing_request.pem().map_err(failed)?,
            authority: host.cluster.authority(),
            all: Vec::new(),
            by_link: Vec::new(),
            returned: 0,
            connected: 0,
            connecting: 0,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn name(&self, node: usize) -> &str {
        self.all.get(node).map_or("", |node| &node.name)
    }

    /// Whether a connection is the one that a node waits for orders on.
    pub(super) fn is_on(&self, link: usize) -> bool {
        self.by_link.get(link).copied().flatten().is_some()
    }

    /// Lets nodes in until there are so many: each is invited, and enrols with its token.
    pub(super) fn grow(&mut self, links: &mut Links, host: &Host, count: usize) -> Result<()> {
        let nobody = Arc::new(client_config(&self.authority, None));
        let doors: Vec<usize> = (0..DOORS)
            .map(|_| links.open(&nobody))
            .collect::<Result<_>>()?;
        let mut next = self.all.len()..count;
        let mut names: Vec<Option<String>> = vec![None; doors.len()];
        let first = doors.first().copied().unwrap_or_default();
        let mut joined = Vec::new();
        links.drive(&doors, |door, answer| {
            let name = names.get_mut(door - first).ok_or("there is no such door")?;
            if let Some(answer) = answer {
                if let Some(token) = answer.text("/token")? {
                    let body = json!({"token": token, "request": self.signing_request});
                    let body = body.to_string();
                    return Ok(Some(request("POST", "/v1/runner/enrol", None, &body)));
                }
                let certificate = answer.text("/certificate")?.ok_or("no certificate came")?;
                joined.push((name.take().unwrap_or_default(), certificate));
            }
            let Some(number) = next.next() else {
                return Ok(None);
            };
            let node = format!("node-{number}");
            let body = json!({"node": node}).to_string();
            *name = Some(node);
            let token = Some(host.cluster.admin());
            Ok(Some(request("POST", "/v1/joins", token, &body)))
        })?;
        for door in doors {
            links.close(door);
        }
        for (name, certificate) in joined {
            let identity = Identity {
                certificate,
                key: self.key.clone(),
            };
            let mut config = client_config(&self.authority, Some(&identity));
            // Sessions of 10,000 configurations are much memory, and none is ever used again.
            config.resumption = Resumption::disabled();
            self.all.push(Node {
                name,
                config: Arc::new(config),
                link: None,
                session: String::new(),
                seen: 0,
                asked: Asked::Nothing,
                at: Instant::now(),
                is_connected: false,
                beat: None,
            });
        }
        Ok(())
    }

    fn node(&mut self, node: usize) -> Result<&mut Node> {
        let all = self.all.len();
        let found = self.all.get_mut(node);
        found.ok_or_else(|| format!("there are {all} nodes, and no node {node}"))
    }

    /// Has nodes say one thing each over a new connection, and hang up: those that are not registered
    /// register, others send a heartbeat.
    pub(super) fn visit(&mut self, links: &mut Links, nodes: Range<usize>) -> Result<()> {
        let mut coming = nodes.clone();
        let (mut busy, mut left) = (0, nodes.len());
        while left > 0 {
            while busy < AT_ONCE {
                let Some(node) = coming.next() else { break };
                self.ask(links, node, Duration::ZERO)?;
                busy += 1;
            }
            let answer = links.await_answer()?;
            let Some(heard) = self.take(links, &answer)? else {
                continue;
            };
            self.hang_up(links, heard.node);
            (busy, left) = (busy - 1, left - 1);
        }
        Ok(())
    }

    fn connect(&mut self, links: &mut Links, node: usize) -> Result<()> {
        let config = Arc::clone(&self.node(node)?.config);
        let link = links.open(&config)?;
        self.node(node)?.link = Some(link);
        self.connecting += 1;
        if self.by_link.len() <= link {
            self.by_link.resize(link + 1, None);
        }
        if let Some(place) = self.by_link.get_mut(link) {
            *place = Some(node);
        }
        Ok(())
    }

    fn hang_up(&mut self, links: &mut Links, node: usize) {
        let Some(node) = self.all.get_mut(node) else {
            return;
        };
        if let Some(link) = node.link.take() {
            links.close(link);
            match std::mem::replace(&mut node.is_connected, false) {
                true => self.connected -= 1,
                false => self.connecting -= 1,
            }
        }
    }

    /// All hang up.
    pub(super) fn leave(&mut self, links: &mut Links) {
        (0..self.all.len()).for_each(|node| self.hang_up(links, node));
    }

    /// A second connection of a node, as a runner has for what it tells while it waits for orders.
    pub(super) fn open_second(&self, links: &mut Links, node: usize) -> Result<usize> {
        let node = self.all.get(node).ok_or("there is no such node")?;
        links.open(&node.config)
    }

    /// Whether a node is connected, or can connect now: more at once than wait to be accepted are lost.
    pub(super) fn can_ask(&self, node: usize) -> bool {
        self.connecting < AT_ONCE || self.all.get(node).is_some_and(|node| node.link.is_some())
    }

    /// Sends a node's heartbeat, with which it waits for orders for so long; one that has no session
    /// registers. One that is not connected connects, and does not wait at first.
    pub(super) fn ask(&mut self, links: &mut Links, node: usize, wait: Duration) -> Result<()> {
        if self.node(node)?.link.is_none() {
            self.connect(links, node)?;
        }
        let node = self.node(node)?;
        let wait = if node.is_connected {
            wait
        } else {
            Duration::ZERO
        };
        let link = node.link.ok_or("the node is not connected")?;
        let request = if node.session.is_empty() {
            node.asked = Asked::Register;
            let body = json!({"incarnation": "1", "report": report(&node.name), "tasks": []});
            request("POST", "/v1/runner/register", None, &body.to_string())
        } else {
            node.asked = Asked::Beat(wait);
            node.heartbeat(wait)
        };
        node.at = Instant::now();
        links.ask(link, &request)
    }

    /// Takes an answer to a node; none where the node has to register and has asked for it, and where
    /// the answer is to somebody else.
    pub(super) fn take(&mut self, links: &mut Links, answer: &Answer) -> Result<Option<Heard>> {
        let Some(index) = self.by_link.get(answer.link).copied().flatten() else {
            return Ok(None);
        };
        let node = self.node(index)?;
        let is_new = !std::mem::replace(&mut node.is_connected, true);
        let asked_at = node.at;
        let asked = std::mem::replace(&mut node.asked, Asked::Nothing);
        let mut reply = SyncReply::default();
        let mut took = None;
        match asked {
            Asked::Nothing => return Err("the host answered what was not asked".into()),
            // A lease that ends just then is in the way of a registration; a runner tries again, too.
            _ if is_over(answer) => {
                node.session.clear();
                self.returned += 1;
                self.have_come(is_new);
                self.ask(links, index, Duration::ZERO)?;
                return Ok(None);
            }
            Asked::Register => {
                node.session = answer.text("/session")?.ok_or("no session came")?;
                node.seen = 0;
            }
            Asked::Beat(wait) => {
                reply = read_reply(answer.good()?)?;
                let is_news = reply.revision > node.seen || !reply.orders.is_empty();
                node.seen = node.seen.max(reply.revision);
                let elapsed = answer.at.duration_since(node.at);
                took = (wait.is_zero() || !is_news).then(|| elapsed.saturating_sub(wait));
            }
        }
        self.have_come(is_new);
        Ok(Some(Heard {
            node: index,
            took,
            asked_at,
            reply,
        }))
    }

    fn have_come(&mut self, is_new: bool) {
        self.connecting -= usize::from(is_new);
        self.connected += usize::from(is_new);
    }

    /// What a node says beside its heartbeat: that it would take up a run, or how that goes.
    pub(super) fn tell(
        &self,
        node: usize,
        accepts: Option<&Run>,
        statuses: &[Value],
    ) -> Result<Request> {
        let node = self.all.get(node).ok_or("there is no such node")?;
        let body = json!({
            "session": node.session, "seen": node.seen, "statuses": statuses, "wait_ms": 0,
            "accepts": accepts.as_slice(),
        });
        let body = body.to_string();
        Ok(request("POST", "/v1/runner/sync", None, &body))
    }
}

impl Node {
    fn heartbeat(&mut self, wait: Duration) -> Request {
        match &self.beat {
            Some((seen, waited, request)) if (*seen, *waited) == (self.seen, wait) => {
                Arc::clone(request)
            }
            _ => {
                let body = json!({
                    "session": self.session, "seen": self.seen, "telemetry": telemetry(),
                    "wait_ms": wait.as_millis(),
                });
                let request = request("POST", "/v1/runner/sync", None, &body.to_string());
                self.beat = Some((self.seen, wait, Arc::clone(&request)));
                request
            }
        }
    }
}

/// Nearly every reply is a revision and nothing else.
fn read_reply(body: &[u8]) -> Result<SyncReply> {
    let plain = body
        .strip_prefix(b"{\"revision\":")
        .and_then(|rest| rest.strip_suffix(b"}"));
    let plain = plain.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match plain {
        Some(revision) => Ok(SyncReply {
            revision,
            ..SyncReply::default()
        }),
        None => serde_json::from_slice(body).map_err(|error| format!("a reply: {error}")),
    }
}

/// Whether a node is no longer registered, or not yet.
fn is_over(answer: &Answer) -> bool {
    let problem: Value = match answer.status {
        200 => return false,
        _ => serde_json::from_slice(&answer.body).unwrap_or_default(),
    };
    let code = problem.pointer("/code").and_then(Value::as_str);
    matches!(code, Some("session_ended" | "exists"))
}

/// A node as an administrator has it.
fn report(name: &str) -> Value {
    let gpu = |number: u16| {
        json!({
            "number": number, "present": true, "address": format!("0000:{:02x}:00.0", number + 1),
            "path": format!("pci0000:00/{:02x}.0/00.0", number + 1), "vendor": "nvidia", "id": "10de:2684",
            "name": "AD102 [GeForce RTX 4090]", "uuid": format!("GPU-7e0d8a3c-1f4b-4f5e-9a60-{number:012}"),
            "memory_mib": 24_564, "driver": "nvidia", "numa": 0, "iommu_group": 14 + number,
            "functions": [format!("0000:{:02x}:00.0", number + 1), format!("0000:{:02x}:00.1", number + 1)],
            "vfio": {"available": true}, "containers": {"available": true},
        })
    };
    json!({
        "machine": name, "boot": "5fa1b54e-6f9a-4b33-93c5-a5b6b1c9f6a8", "address": "192.0.2.17",
        "versions": {"runner": "0.1.0", "helper": "0.1.0", "kernel": "6.1.0-31-amd64",
            "system": "Debian GNU/Linux 12 (bookworm)", "qemu": "7.2.17", "nvidia": "550.163.01",
            "engine": {"name": "docker", "version": "20.10.24", "nvidia": "runtime"}},
        "cores": 64, "memory": 262_144, "gpus": (0..GPUS).map(gpu).collect::<Vec<_>>(),
        "containers": {"available": true}, "machines": {"available": true},
        "images": [{"name": "debian-12", "virtual_bytes": 8_589_934_592_u64, "bytes": 714_080_256}],
        "default_image": "debian-12", "default_machine_memory": 4096,
    })
}

fn telemetry() -> Value {
    let gpu = |number: u16| {
        json!({"number": number, "utilisation_percent": 97, "memory_used_mib": 20_481, "temperature_c": 64,
            "power_w": 318, "power_limit_w": 450})
    };
    json!({
        "at": 1_790_000_000_000_u64, "processor_percent": 37, "memory_used_mib": 101_376,
        "disk_free_mib": 812_044, "gpus": (0..GPUS).map(gpu).collect::<Vec<_>>(),
    })
}
