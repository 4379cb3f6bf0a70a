//! The state: tasks, nodes and people, as the store has them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::de::DeserializeOwned;
use vfioctl_api::{Moment, NodeName, NodeReport, TaskId, TaskState, UserName, Wanted};
use vfioctl_scheduler::{Allocation, Record, Room};
use vfioctl_store::{Entry, Key, Listing, Revision};

use crate::access::{JoinRecord, TokenRecord, UserRecord};

use super::node::Node;
use super::report::Report;

/// Something of the store, with when it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    pub(crate) revision: Revision,
}

impl Default for Kept<Allocation> {
    fn default() -> Self {
        Self {
            value: Allocation::default(),
            revision: 0,
        }
    }
}

/// What the store holds, understood.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    pub(crate) tasks: BTreeMap<TaskId, Kept<Record>>,
    /// Tasks that wait, the first first.
    pub(crate) queue: BTreeSet<TaskId>,
    /// In boxes, since a tree has many empty places.
    pub(crate) nodes: BTreeMap<NodeName, Box<Node>>,
    pub(crate) users: BTreeMap<UserName, Kept<UserRecord>>,
    pub(crate) tokens: HashMap<String, Kept<TokenRecord>>,
    pub(crate) joins: HashMap<String, Kept<JoinRecord>>,
    /// Which node a certificate is of.
    pub(crate) certificates: HashMap<String, NodeName>,
    pub(crate) leader: Option<Kept<String>>,
}

/// Whether what is known is as new as what is told.
fn is_known<T>(known: Option<&Kept<T>>, revision: Revision) -> bool {
    known.is_some_and(|kept| kept.revision >= revision)
}

fn read<T: DeserializeOwned>(entry: &Entry) -> Option<Kept<T>> {
    match serde_json::from_slice(&entry.value) {
        Ok(value) => Some(Kept {
            value,
            revision: entry.revision,
        }),
        Err(error) => {
            crate::log::warning(&format!(
                "'{}' in the store is not understood ({error}), ignoring",
                entry.key
            ));
            None
        }
    }
}

impl State {
    /// Takes all that the store holds; tells every task that is another one now.
    pub(crate) fn replace(&mut self, listing: &Listing, now: Moment) -> Vec<TaskId> {
        let mut told = Vec::new();
        let there: BTreeSet<&Key> = listing.entries.iter().map(|entry| &entry.key).collect();
        for key in self.keys() {
            if !there.contains(&key) {
                told.extend(self.delete(&key, listing.revision));
            }
        }
        for entry in &listing.entries {
            told.extend(self.put(entry, now));
        }
        self.revision = self.revision.max(listing.revision);
        told
    }

    fn keys(&self) -> Vec<Key> {
        let tasks = self.tasks.keys().map(crate::keys::task);
        let nodes = self.nodes.iter().flat_map(|(name, node)| node.keys(name));
        let users = self.users.keys().map(crate::keys::user);
        let tokens = self
            .tokens
            .keys()
            .filter_map(|id| crate::keys::made("tokens", id));
        let joins = self
            .joins
            .keys()
            .filter_map(|id| crate::keys::made("joins", id));
        let leader = self.leader.iter().map(|_| crate::keys::leader());
        tasks
            .chain(nodes)
            .chain(users)
            .chain(tokens)
            .chain(joins)
            .chain(leader)
            .collect()
    }

    /// Takes an entry, unless what is known is as new.
    pub(crate) fn put(&mut self, entry: &Entry, now: Moment) -> Option<TaskId> {
        let words: Vec<&str> = entry.key.as_str().split('/').collect();
        match words.as_slice() {
            ["tasks", id] => id
                .parse()
                .map_or_else(|_| None, |id| self.put_task(id, entry)),
            ["leader"] => {
                if !is_known(self.leader.as_ref(), entry.revision) {
                    self.leader = read(entry);
                }
                None
            }
            ["users", name] => {
                if let Ok(name) = name.parse::<UserName>()
                    && !is_known(self.users.get(&name), entry.revision)
                    && let Some(user) = read(entry)
                {
                    self.users.insert(name, user);
                }
                None
            }
            ["tokens", id] => {
                if !is_known(self.tokens.get(*id), entry.revision)
                    && let Some(token) = read(entry)
                {
                    self.tokens.insert((*id).to_owned(), token);
                }
                None
            }
            ["joins", id] => {
                if !is_known(self.joins.get(*id), entry.revision)
                    && let Some(join) = read(entry)
                {
                    self.joins.insert((*id).to_owned(), join);
                }
                None
            }
            [kind, name, rest @ ..] => match name.parse::<NodeName>() {
                Ok(name) => self.put_node(kind, &name, rest, entry, now),
                Err(_) => None,
            },
            _ => None,
        }
    }

    fn put_task(&mut self, id: TaskId, entry: &Entry) -> Option<TaskId> {
        if is_known(self.tasks.get(&id), entry.revision) {
            return None;
        }
        let record = read::<Record>(entry)?;
        self.set_task(id, record)
    }

    /// Takes a task.
    pub(crate) fn set_task(&mut self, id: TaskId, record: Kept<Record>) -> Option<TaskId> {
        let task = &record.value.task;
        if task.state == TaskState::Queued {
            self.queue.insert(id.clone());
        } else {
            self.queue.remove(&id);
        }
        let before = self
            .tasks
            .get(&id)
            .and_then(|kept| kept.value.task.node.clone());
        if let Some(before) = before.filter(|before| task.node.as_ref() != Some(before)) {
            self.leave_node(&before, &id, record.revision);
        }
        if let Some(node) = &task.node {
            let node = self.nodes.entry(node.clone()).or_default();
            if is_for_runner(&record.value) {
                node.tasks.insert(id.clone());
            } else {
                node.tasks.remove(&id);
            }
            node.changed = node.changed.max(record.revision);
            node.notify.notify_waiters();
        }
        self.tasks.insert(id.clone(), record);
        Some(id)
    }

    fn leave_node(&mut self, node: &NodeName, id: &TaskId, revision: Revision) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.tasks.remove(id);
            node.changed = node.changed.max(revision);
            node.notify.notify_waiters();
        }
    }

    fn put_node(
        &mut self,
        kind: &str,
        name: &NodeName,
        rest: &[&str],
        entry: &Entry,
        now: Moment,
    ) -> Option<TaskId> {
        let certificates = &mut self.certificates;
        let node = self.nodes.entry(name.clone()).or_default();
        match (kind, rest) {
            ("nodes", []) if !is_known(node.enrolled.as_ref(), entry.revision) => {
                if let Some(before) = &node.enrolled {
                    certificates.remove(&before.value.certificate);
                }
                node.enrolled = read(entry);
                if let Some(enrolled) = &node.enrolled {
                    certificates.insert(enrolled.value.certificate.clone(), name.clone());
                }
            }
            ("reports", []) if !is_known(node.report.as_ref(), entry.revision) => {
                node.report = read::<NodeReport>(entry).map(|kept| Kept {
                    value: Report::of(&entry.value),
                    revision: kept.revision,
                });
            }
            ("alive", []) if !is_known(node.alive.as_ref(), entry.revision) => {
                node.alive = read(entry);
                node.heard = node.heard.or(Some(now));
                node.gone_since = None;
            }
            ("drained", []) => node.drained = Some(entry.revision),
            ("allocations", []) if node.allocation.revision < entry.revision => {
                if let Some(allocation) = read(entry) {
                    node.allocation = allocation;
                }
                if let Some(room) = &mut node.room {
                    *room = room.taken_by(&node.allocation.value);
                }
                return None;
            }
            ("logs", [stream]) => {
                if let Some(order) = read(entry) {
                    node.logs.insert((*stream).to_owned(), order);
                    node.notify.notify_waiters();
                }
                return None;
            }
            _ => return None,
        }
        node.make_room(name);
        None
    }

    /// Forgets what stood under a key before the revision.
    pub(crate) fn delete(&mut self, key: &Key, revision: Revision) -> Option<TaskId> {
        let words: Vec<&str> = key.as_str().split('/').collect();
        match words.as_slice() {
            ["tasks", id] => {
                let Ok(id) = id.parse::<TaskId>() else {
                    return None;
                };
                if self
                    .tasks
                    .get(&id)
                    .is_none_or(|kept| kept.revision > revision)
                {
                    return None;
                }
                self.queue.remove(&id);
                let record = self.tasks.remove(&id);
                if let Some(node) = record.and_then(|kept| kept.value.task.node) {
                    self.leave_node(&node, &id, revision);
                }
                Some(id)
            }
            ["leader"] => {
                self.leader.take_if(|kept| kept.revision <= revision);
                None
            }
            ["users", name] => {
                if let Ok(name) = name.parse::<UserName>() {
                    self.users.remove(&name);
                }
                None
            }
            ["tokens", id] => {
                self.tokens.remove(*id);
                None
            }
            ["joins", id] => {
                self.joins.remove(*id);
                None
            }
            [kind, name, rest @ ..] => match name.parse::<NodeName>() {
                Ok(name) => self.delete_of_node(kind, &name, rest, revision),
                Err(_) => None,
            },
            _ => None,
        }
    }

    fn delete_of_node(
        &mut self,
        kind: &str,
        name: &NodeName,
        rest: &[&str],
        revision: Revision,
    ) -> Option<TaskId> {
        let node = self.nodes.get_mut(name)?;
        match (kind, rest) {
            ("nodes", []) => {
                if let Some(before) = node.enrolled.take_if(|kept| kept.revision <= revision) {
                    self.certificates.remove(&before.value.certificate);
                }
            }
            ("reports", []) => drop(node.report.take_if(|kept| kept.revision <= revision)),
            ("alive", []) => drop(node.alive.take_if(|kept| kept.revision <= revision)),
            ("drained", []) => drop(node.drained.take_if(|known| *known <= revision)),
            ("allocations", []) if node.allocation.revision <= revision => {
                node.allocation = Kept::default()
            }
            ("logs", [stream]) => {
                node.logs.remove(*stream);
                return None;
            }
            _ => {}
        }
        node.make_room(name);
        node.notify.notify_waiters();
        if node.is_forgotten() {
            self.nodes.remove(name);
        }
        None
    }

    /// The room of every node that has said what it is.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.nodes.values().filter_map(|node| node.room.as_ref())
    }
}

/// Whether a task is one that its node's runner has to know of.
pub(crate) fn is_for_runner(record: &Record) -> bool {
    record.task.node.is_some()
        && (record.task.state.holds_room() || record.wanted == Wanted::Remove)
}
