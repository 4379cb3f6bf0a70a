//! A node, as the store and its runner tell of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;
use vfioctl_api::{LogOrder, Moment, NodeName, TaskId, Telemetry};
use vfioctl_scheduler::{Allocation, Room};
use vfioctl_store::{Key, Revision};

use super::report::Report;
use super::state::Kept;
use crate::cluster::{Alive, Enrolled};

/// A node, with all that is known of it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) enrolled: Option<Kept<Enrolled>>,
    pub(crate) report: Option<Kept<Report>>,
    pub(crate) alive: Option<Kept<Alive>>,
    pub(crate) drained: Option<Revision>,
    pub(crate) allocation: Kept<Allocation>,
    /// What is left there, made of the above.
    pub(crate) room: Option<Room>,
    /// What its runner said last, to this host.
    pub(crate) telemetry: Option<Telemetry>,
    /// When, by this host's clock.
    pub(crate) heard: Option<Moment>,
    /// Since when it is not there, as far as this host knows.
    pub(crate) gone_since: Option<Moment>,
    /// Tasks that are its own.
    pub(crate) tasks: BTreeSet<TaskId>,
    /// When an order for it changed last.
    pub(crate) changed: Revision,
    /// Logs that somebody wants to read.
    pub(crate) logs: BTreeMap<String, Kept<LogOrder>>,
    /// Wakes whoever waits for orders.
    pub(crate) notify: Arc<Notify>,
}

impl Node {
    /// Makes its room anew, after something has changed.
    pub(crate) fn make_room(&mut self, name: &NodeName) {
        let is_online = self.alive.is_some();
        let is_drained = self.drained.is_some() || self.enrolled.is_none();
        let report = self.report.as_ref().and_then(|report| report.value.read());
        self.room = report.map(|report| {
            let allocation = &self.allocation.value;
            Room::new(name, &report, allocation, is_online, is_drained)
        });
    }

    /// Whether its runner is there, registered with this session.
    pub(crate) fn has_session(&self, session: &str) -> bool {
        let alive = self.alive.as_ref();
        alive.is_some_and(|alive| alive.value.session == session)
    }

    /// Whether nothing is known of it any more.
    pub(super) fn is_forgotten(&self) -> bool {
        self.enrolled.is_none()
            && self.report.is_none()
            && self.alive.is_none()
            && self.tasks.is_empty()
            && self.allocation.value.shares.is_empty()
    }

    pub(super) fn keys(&self, name: &NodeName) -> Vec<Key> {
        let mut keys = Vec::new();
        keys.extend(self.enrolled.iter().map(|_| crate::keys::node(name)));
        keys.extend(self.report.iter().map(|_| crate::keys::report(name)));
        keys.extend(self.alive.iter().map(|_| crate::keys::alive(name)));
        keys.extend(self.drained.iter().map(|_| crate::keys::drained(name)));
        if self.allocation.revision > 0 {
            keys.push(crate::keys::allocation(name));
        }
        keys.extend(
            self.logs
                .keys()
                .filter_map(|stream| crate::keys::log(name, stream)),
        );
        keys
    }
}
