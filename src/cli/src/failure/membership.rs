//! Membership in the group that may use the helper's socket.
//!
//! Groups of a session are fixed at login (`credentials(7)`), so someone just added to a group is
//! in it in `/etc/group` and not yet in the session.

use vfioctl_scan::{SysRoot, read_user_name};

/// The group that may use the helper's socket.
const GROUP: &str = "vfioctl";

/// Whether this user is in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Membership {
    /// In the database and in this session; then something else is wrong.
    Here,
    /// In the database, but this session began before that.
    NotInSession,
    /// Not at all.
    Outside {
        /// The user.
        user: String,
    },
    /// The machine has no such group.
    NoGroup,
}

/// Looks at `/etc/group` and at the groups of this process.
pub(super) fn read_membership(root: &SysRoot) -> Membership {
    let uid = rustix::process::getuid().as_raw();
    let user = read_user_name(root, uid).unwrap_or_else(|| uid.to_string());
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.push(rustix::process::getegid().as_raw());
    let database = root
        .etc
        .read_text("group")
        .ok()
        .flatten()
        .unwrap_or_default();
    find_membership(&database, &user, &groups)
}

fn find_membership(database: &str, user: &str, session: &[u32]) -> Membership {
    // name:password:GID:user,user
    let entry = database.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_group = fields.next() == Some(GROUP);
        let gid: u32 = fields.nth(1)?.parse().ok()?;
        is_group.then(|| (gid, fields.next().unwrap_or_default()))
    });
    match entry {
        None => Membership::NoGroup,
        Some((gid, _)) if session.contains(&gid) => Membership::Here,
        Some((_, members)) if members.split(',').any(|member| member == user) => {
            Membership::NotInSession
        }
        Some(_) => Membership::Outside {
            user: user.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_older_than_the_membership_is_told_apart() {
        let database = "root:x:0:\nvfioctl:x:987:ann,bob\nusers:x:100:carol\n";
        let cases = [
            ("ann", &[100, 987][..], Membership::Here),
            ("ann", &[100], Membership::NotInSession),
            (
                "carol",
                &[100],
                Membership::Outside {
                    user: "carol".into(),
                },
            ),
        ];
        for (user, session, expected) in cases {
            assert_eq!(find_membership(database, user, session), expected, "{user}");
        }
        assert_eq!(
            find_membership("root:x:0:\n", "ann", &[0]),
            Membership::NoGroup
        );
    }
}
