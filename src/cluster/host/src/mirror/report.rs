//! The report of a node, kept as the text that the store has.
//!
//! Of 10,000 nodes, reports are the most that a host holds in memory, and a store in memory holds their
//! texts anyway. Read, each takes thrice as much; it is read for a few microseconds where somebody asks.
//! What placing looks at all the time is the node's room.

use std::sync::Arc;

use vfioctl_api::NodeReport;

/// The report of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report(Arc<[u8]>);

impl Report {
    /// Takes the text of a report that was read.
    pub(super) fn of(text: &Arc<[u8]>) -> Self {
        Self(Arc::clone(text))
    }

    /// Its text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.0
    }

    /// What it says; it was read when it came, so it can be read again.
    pub(crate) fn read(&self) -> Option<NodeReport> {
        serde_json::from_slice(&self.0).ok()
    }
}
