//! What `strace` wrote of a helper.

use std::collections::BTreeMap;

/// How often the thread that serves a call makes each system call: the one that writes the journal,
/// which is the first to call `fsync`.
///
/// # Panics
/// Where no thread did.
pub fn count_server_calls(log: &str) -> BTreeMap<String, usize> {
    let calls: Vec<(&str, &str)> = log
        .lines()
        .filter_map(|line| {
            let (thread, call) = line.split_once(char::is_whitespace)?;
            let (name, _) = call.trim_start().split_once('(')?;
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_name.then_some((thread, name))
        })
        .collect();
    let server = calls.iter().find(|(_, name)| *name == "fsync").unwrap().0;
    let mut counts = BTreeMap::new();
    for (_, name) in calls.iter().filter(|(thread, _)| *thread == server) {
        *counts.entry((*name).to_owned()).or_default() += 1;
    }
    counts
}
