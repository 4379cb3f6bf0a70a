//! `/usr/bin/` and its like: programs that write ISO images.

use vfioctl_core::Answer;

use crate::SysRoot;

const NAMES: [&str; 3] = ["genisoimage", "mkisofs", "xorriso"];

pub(super) fn read_iso_tools(root: &SysRoot) -> Answer<Vec<String>> {
    let Answer::Known(first) = super::seen(root.usr.list("bin")) else {
        return Answer::CannotSee;
    };
    let second = root
        .usr
        .list("local/bin")
        .ok()
        .flatten()
        .unwrap_or_default();
    let mut tools = Vec::new();
    // Names are enough: a link into /etc/alternatives/ leads out of this root.
    for (folder, names) in [("bin", first), ("local/bin", second)] {
        for name in names
            .into_iter()
            .filter(|name| NAMES.contains(&name.as_str()))
        {
            tools.push(root.usr.display(&format!("{folder}/{name}")));
        }
    }
    Answer::Known(tools)
}
