//! `/etc/passwd` and `/etc/group`: names of users, for messages and never for decisions; numbers of
//! groups of the system.

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

/// The number of a group of the system, which stands in the machine's own file (`group(5)`).
pub fn read_group_number(root: &SysRoot, name: &str) -> Option<u32> {
    let text = root.etc.read_text("group").ok().flatten()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let number = fields.nth(1)?.parse().ok()?;
        is_it.then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_their_fields() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sys", "proc", "etc"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let write = |name: &str, text| std::fs::write(folder.path().join("etc").join(name), text);
        write(
            "passwd",
            "root:x:0:0::/root:/bin/sh\n:x:7:\nbob:x:1002:5::/:\n",
        )
        .unwrap();
        write("group", "broken\nkvm2:x:9:\nkvm:x:108:bob,ann\n").unwrap();
        let root = SysRoot::below(folder.path()).unwrap();
        assert_eq!(read_user_name(&root, 1002).as_deref(), Some("bob"));
        assert_eq!(read_user_name(&root, 7), None);
        assert_eq!(read_group_number(&root, "kvm"), Some(108));
        assert_eq!(read_group_number(&root, "bob"), None);
    }
}
