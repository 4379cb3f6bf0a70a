//! `/etc/passwd`: names of users, for messages. Never for decisions.

use crate::SysRoot;

/// The name of a user, where the machine's own file has one. Users of a directory service have
/// none here: asking it would make a privileged process load and run foreign code.
pub fn read_user_name(root: &SysRoot, uid: u32) -> Option<String> {
    let text = root.etc.read_text("passwd").ok().flatten()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid && !name.is_empty()).then(|| name.to_owned())
    })
}
