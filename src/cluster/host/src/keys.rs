//! Keys: where in the store what stands.
//!
//! | key | what | written by |
//! |---|---|---|
//! | `tasks/ID` | a task ([`vfioctl_scheduler::Record`]) | the ledger |
//! | `allocations/NODE` | who holds what there ([`vfioctl_scheduler::Allocation`]) | the ledger, with the task |
//! | `nodes/NODE` | that the node may come ([`crate::cluster::Enrolled`]) | joining, removing |
//! | `reports/NODE` | what it is ([`vfioctl_api::NodeReport`]) | its runner, through any host |
//! | `drained/NODE` | that nothing new is placed there | operators |
//! | `alive/NODE` | that it is there, under its lease ([`crate::cluster::Alive`]) | its runner, through any host |
//! | `users/NAME`, `tokens/ID`, `joins/ID` | who may what ([`crate::access`]) | administrators |
//! | `leader` | which host places what waits, under its lease | hosts |
//! | `logs/NODE/ID` | that somebody wants to read a log, under a lease | hosts |

use vfioctl_api::{NodeName, TaskId, UserName};
use vfioctl_store::{Key, Prefix};

/// Makes a key of words that are names.
#[expect(
    clippy::expect_used,
    reason = "names have no slash, are not empty and are shorter than a key may be"
)]
fn key(words: &[&str]) -> Key {
    Key::new(words).expect("names make keys")
}

/// All that a cluster knows.
pub(crate) fn all() -> Prefix {
    Prefix::all()
}

pub(crate) fn task(id: &TaskId) -> Key {
    key(&["tasks", id.as_str()])
}

pub(crate) fn allocation(node: &NodeName) -> Key {
    key(&["allocations", node.as_str()])
}

pub(crate) fn node(node: &NodeName) -> Key {
    key(&["nodes", node.as_str()])
}

pub(crate) fn report(node: &NodeName) -> Key {
    key(&["reports", node.as_str()])
}

pub(crate) fn drained(node: &NodeName) -> Key {
    key(&["drained", node.as_str()])
}

pub(crate) fn alive(node: &NodeName) -> Key {
    key(&["alive", node.as_str()])
}

pub(crate) fn user(name: &UserName) -> Key {
    key(&["users", name.as_str()])
}

pub(crate) fn leader() -> Key {
    key(&["leader"])
}

/// The key of something that a host has made a word for: letters and digits.
pub(crate) fn made(kind: &str, id: &str) -> Option<Key> {
    Key::new(&[kind, id]).ok()
}

/// The key of a log that somebody wants to read.
pub(crate) fn log(node: &NodeName, stream: &str) -> Option<Key> {
    Key::new(&["logs", node.as_str(), stream]).ok()
}
