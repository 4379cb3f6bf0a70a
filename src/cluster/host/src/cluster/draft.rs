//! Drafts: what some operations would change, all together, before any of it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use vfioctl_api::{NodeName, Problem, TaskId};
use vfioctl_scheduler::{Allocation, Demand, Record, Room, Share};
use vfioctl_store::{Key, Transaction, WatchedChange};

use super::to_json;
use crate::keys;
use crate::mirror::State;

/// What some operations would change. Later ones see what earlier ones do.
#[derive(Debug)]
pub(crate) struct Draft<'s> {
    state: &'s State,
    tasks: BTreeMap<TaskId, Option<Record>>,
    allocations: BTreeMap<NodeName, Allocation>,
    rooms: BTreeMap<NodeName, Room>,
    /// Keys at which nothing may stand when this is written.
    absent: Vec<Key>,
}

/// A draft, to be written, and to be taken into the mirror once it is.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) transaction: Transaction,
    pub(crate) changes: Vec<WatchedChange>,
    /// Keys that are not written, and that it depends on.
    pub(crate) looked_at: Vec<Key>,
}

impl<'s> Draft<'s> {
    /// A draft that changes nothing yet.
    pub(crate) fn new(state: &'s State) -> Self {
        Self {
            state,
            tasks: BTreeMap::new(),
            allocations: BTreeMap::new(),
            rooms: BTreeMap::new(),
            absent: Vec::new(),
        }
    }

    /// What was before the draft.
    pub(crate) fn state(&self) -> &'s State {
        self.state
    }

    /// A task.
    pub(crate) fn task(&self, id: &TaskId) -> Option<&Record> {
        match self.tasks.get(id) {
            Some(drafted) => drafted.as_ref(),
            None => self.state.tasks.get(id).map(|kept| &kept.value),
        }
    }

    /// The room of every node.
    fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.state
            .rooms()
            .map(|room| self.rooms.get(&room.node).unwrap_or(room))
    }

    /// The rooms that a demand is for: that of the node it names, or of every node.
    pub(crate) fn rooms_for(&self, demand: &Demand<'_>) -> Vec<&Room> {
        match demand.target {
            Some(target) => self.room(&target.node).into_iter().collect(),
            None => self.rooms().collect(),
        }
    }

    /// The room of one node.
    pub(crate) fn room(&self, node: &NodeName) -> Option<&Room> {
        let drafted = self.rooms.get(node);
        drafted.or_else(|| self.state.nodes.get(node)?.room.as_ref())
    }

    /// Makes a task this. What it holds on its node is what it held, or `share`; one that holds nothing
    /// any more gives back what it held.
    pub(crate) fn put(&mut self, record: Record, share: Option<Share>) {
        let id = record.task.id.clone();
        let before = self.task(&id).and_then(|before| before.task.node.clone());
        let holds = record.task.state.holds_room();
        if let Some(before) = before
            && (!holds || record.task.node.as_ref() != Some(&before))
        {
            self.free(&before, &id);
        }
        if let (true, Some(node), Some(share)) = (holds, &record.task.node, share) {
            self.hold(&node.clone(), &id, share);
        }
        self.tasks.insert(id, Some(record));
    }

    /// The draft holds only where nothing stands at a key, whatever this host knows of it.
    pub(crate) fn require_absent(&mut self, key: Key) {
        if !self.absent.contains(&key) {
            self.absent.push(key);
        }
    }

    /// Forgets a task.
    pub(crate) fn remove(&mut self, id: &TaskId) {
        if let Some(node) = self.task(id).and_then(|record| record.task.node.clone()) {
            self.free(&node, id);
        }
        self.tasks.insert(id.clone(), None);
    }

    fn allocation(&mut self, node: &NodeName) -> &mut Allocation {
        let kept = || {
            self.state
                .nodes
                .get(node)
                .map(|node| node.allocation.value.clone())
        };
        self.allocations
            .entry(node.clone())
            .or_insert_with(|| kept().unwrap_or_default())
    }

    fn free(&mut self, node: &NodeName, id: &TaskId) {
        let known = self.allocations.get(node);
        let known = known.or_else(|| Some(&self.state.nodes.get(node)?.allocation.value));
        if known.is_some_and(|allocation| allocation.shares.contains_key(id)) {
            self.allocation(node).shares.remove(id);
            self.make_room(node);
        }
    }

    fn hold(&mut self, node: &NodeName, id: &TaskId, share: Share) {
        self.allocation(node).shares.insert(id.clone(), share);
        self.make_room(node);
    }

    fn make_room(&mut self, node: &NodeName) {
        let (Some(known), Some(allocation)) =
            (self.state.nodes.get(node), self.allocations.get(node))
        else {
            return;
        };
        if let Some(room) = &known.room {
            self.rooms.insert(node.clone(), room.taken_by(allocation));
        }
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.allocations.is_empty()
    }

    /// The draft as a transaction: nothing of it is written where anything that it was made of has
    /// changed meanwhile.
    pub(crate) fn write(&self) -> Result<Written, Problem> {
        let mut written = Written::default();
        let mut transaction = Transaction::new();
        for key in &self.absent {
            transaction = transaction.if_absent(key);
            written.looked_at.push(key.clone());
        }
        for (id, record) in &self.tasks {
            let key = keys::task(id);
            let known = self.state.tasks.get(id);
            let revision = known.map_or(0, |kept| kept.revision);
            // What others do with the task meanwhile is a conflict, also where it is only looked at.
            if known.is_none() && record.is_none() {
                continue;
            }
            transaction = transaction.if_unchanged(&key, revision);
            match record {
                Some(record) => {
                    let value: Arc<[u8]> = to_json(record)?.into();
                    written.changes.push(put(&key, &value));
                    transaction = transaction.put(&key, value);
                }
                None => {
                    written.changes.push(WatchedChange::Deleted(key.clone()));
                    transaction = transaction.delete(&key);
                }
            }
        }
        for (node, allocation) in &self.allocations {
            let key = keys::allocation(node);
            let revision = self
                .state
                .nodes
                .get(node)
                .map_or(0, |node| node.allocation.revision);
            let value: Arc<[u8]> = to_json(allocation)?.into();
            written.changes.push(put(&key, &value));
            transaction = transaction.if_unchanged(&key, revision).put(&key, value);
        }
        written.transaction = transaction;
        Ok(written)
    }
}

fn put(key: &Key, value: &Arc<[u8]>) -> WatchedChange {
    WatchedChange::Put(vfioctl_store::Entry {
        key: key.clone(),
        value: Arc::clone(value),
        // Set once it is known.
        revision: 0,
    })
}

impl Written {
    /// The changes, as those of a revision.
    pub(crate) fn at(mut self, revision: vfioctl_store::Revision) -> Vec<WatchedChange> {
        for change in &mut self.changes {
            if let WatchedChange::Put(entry) = change {
                entry.revision = revision;
            }
        }
        self.changes
    }
}
