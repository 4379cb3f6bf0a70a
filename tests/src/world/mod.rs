//! Where a case is run: on a machine in a folder with a fake kernel, or in the lab.
//!
//! A case sees a [`World`] and not which one it is, so that what the fake kernel claims is held
//! against a real one by every case.

mod answer;
mod fake;
mod lab;
mod program;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use answer::Answer;
pub use fake::FakeWorld;
pub use lab::LabWorld;
pub(crate) use lab::call_script;
pub use program::{is_root, program};

/// Someone who calls. All worlds have the same people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The superuser.
    Root,
    /// In the group `vfioctl`.
    Alice,
    /// In the group `vfioctl`.
    Bob,
    /// Not in the group.
    Carol,
}

impl User {
    /// The user's number.
    pub fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Alice => 1001,
            Self::Bob => 1002,
            Self::Carol => 1003,
        }
    }

    /// The user's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Alice => "alice",
            Self::Bob => "bob",
            Self::Carol => "carol",
        }
    }

    /// Whether the user may call the helper.
    pub fn is_member(self) -> bool {
        matches!(self, Self::Alice | Self::Bob)
    }
}

/// What there is to compare before and after: drivers, overrides, VFIO nodes with owner and mode,
/// pins, files of the helper's state.
pub type Picture = BTreeMap<String, String>;

/// Makes sure that nothing has changed, and tells what has.
///
/// # Panics
/// Where something has.
#[track_caller]
pub fn assert_same(now: &Picture, before: &Picture, when: &str) {
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let changes: Vec<String> = keys
        .into_iter()
        .filter(|key| before.get(*key) != now.get(*key))
        .map(|key| format!("{key}: {:?}, was {:?}", now.get(key), before.get(key)))
        .collect();
    assert!(changes.is_empty(), "{when}:\n{}", changes.join("\n"));
}

/// A machine with the product on it.
pub trait World: Sync {
    /// Runs `vfioctl --json ARGUMENTS` as a user.
    fn vfioctl(&self, user: User, arguments: &[&str]) -> Answer;

    /// Calls a method of the helper, as a program of the user's does; tells the whole reply.
    fn call(&self, user: User, method: &str, parameters: &Value) -> Value;

    /// Everything to compare.
    fn picture(&self) -> Picture;

    /// Writes a function's `driver_override`, as root; an empty text clears it.
    fn set_override(&self, address: &str, text: &str);

    /// Kills the helper as `kill -9` does, where one runs.
    fn kill_helper(&self);

    /// Makes sure that the helper can be called again after it was killed or stopped.
    fn start_helper(&self);

    /// Ends the helper and its socket.
    fn stop_helper(&self);

    /// Listens where an old helper would, whose answer to everything is this; tells the socket.
    fn old_helper(&self, reply: &str) -> String;

    /// The fake one, for cases that tell the kernel what to do wrong.
    fn fake(&self) -> Option<&FakeWorld> {
        None
    }

    /// The lab, for cases that need a real machine.
    fn lab(&self) -> Option<&LabWorld> {
        None
    }

    /// The driver of a function.
    fn driver(&self, address: &str) -> Option<String> {
        self.picture().get(&format!("driver {address}")).cloned()
    }

    /// The `driver_override` of a function, as the kernel shows it.
    fn driver_override(&self, address: &str) -> String {
        self.picture()[&format!("override {address}")].clone()
    }

    /// The number of a function's group.
    fn group(&self, address: &str) -> String {
        self.picture()[&format!("group {address}")].clone()
    }

    /// Owner and mode of a group's VFIO node: `1001 600`.
    fn node(&self, group: &str) -> Option<String> {
        self.picture().get(&format!("node {group}")).cloned()
    }

    /// The names of pins: `0000:01:00.0-0x1234-0x1111-0x1af4-0x1100`.
    fn pins(&self) -> Vec<String> {
        let keys = self.picture().into_keys();
        keys.filter_map(|key| key.strip_prefix("pin ").map(str::to_owned))
            .collect()
    }

    /// The files of the helper's state: `claims/0000:01:00.0.json`.
    fn state(&self) -> Vec<String> {
        let files = self.picture().into_keys();
        files
            .filter_map(|key| key.strip_prefix("state ").map(str::to_owned))
            .collect()
    }
}
