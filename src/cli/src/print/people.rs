//! `vfioctl login`, `user`, `token` and `audit` for people.

use super::list::or_none;
use super::moment;
use crate::output::Answered;
use crate::record::{AuditLinesRecord, LoginRecord, UserRecord, UsersRecord};
use crate::table::Table;
use crate::width::plain;

impl Answered for LoginRecord {
    fn text(&self) -> String {
        match self {
            Self::In {
                host,
                authority,
                user,
                role,
                file,
            } => {
                let mut table = Table::default();
                table.row(["host", host]);
                table.row(["authority", authority]);
                table.row(["user", user]);
                table.row(["role", role]);
                let origin = file
                    .as_deref()
                    .unwrap_or("the command line and the environment");
                table.row(["known by", origin]);
                table.text("")
            }
            Self::Out { forgotten } => match forgotten {
                Some(file) => format!("forgotten: {}\n", plain(file)),
                None => "no cluster was known\n".to_owned(),
            },
        }
    }
}

impl Answered for UsersRecord {
    fn text(&self) -> String {
        match self {
            Self::Many { users } => users_text(users),
            Self::One { user } => format!("{} is {} now\n", plain(&user.name), article(user.role)),
            // Alone on its line, so that a script can take it.
            Self::Token { token } => format!("{}\n", plain(&token.token)),
            Self::Removed { removed } => format!("removed: {}\n", plain(removed)),
            Self::Revoked { revoked } => format!("revoked: {}\n", plain(revoked)),
        }
    }
}

impl Answered for AuditLinesRecord {
    fn text(&self) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        let mut table = Table::titled(&["WHEN", "WHO", "FROM", "WHAT", "ON", "OUTCOME"]);
        for line in &self.lines {
            table.row([
                moment(line.at),
                line.who.clone(),
                line.from.clone(),
                line.verb.clone(),
                or_none(line.object.clone()),
                line.outcome.clone(),
            ]);
        }
        table.text("")
    }
}

fn article(role: &str) -> String {
    match role.starts_with(['a', 'o']) {
        true => format!("an {role}"),
        false => format!("a {role}"),
    }
}

/// A line for each token, and one for a user who has none.
fn users_text(users: &[UserRecord]) -> String {
    if users.is_empty() {
        return String::new();
    }
    let mut table = Table::titled(&["USER", "ROLE", "SINCE", "TOKEN", "MADE", "ENDS", "NOTE"]);
    for user in users {
        let mut own = [
            user.name.clone(),
            user.role.to_owned(),
            moment(user.created),
        ];
        if user.tokens.is_empty() {
            table.row(own.iter().cloned().chain(["-".to_owned()]));
        }
        for token in &user.tokens {
            let ends = token.expires.map_or_else(|| "never".to_owned(), moment);
            let cells = [
                token.id.clone(),
                moment(token.created),
                ends,
                or_none(token.note.clone()),
            ];
            table.row(own.into_iter().chain(cells));
            own = Default::default();
        }
    }
    table.text("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_sample::{audit_lines, users};
    use crate::record::NewTokenRecord;
    use crate::record::schema::assert_answer;

    #[test]
    fn users_stand_with_their_tokens() {
        let record = UsersRecord::Many {
            users: users().into_iter().map(UserRecord::from).collect(),
        };
        assert_eq!(
            record.text(),
            "\
USER  ROLE   SINCE                    TOKEN         MADE                     ENDS                     NOTE
ann   admin  2026-11-22 13:00:00 UTC  0a1b2c3d4e5f  2026-11-22 13:00:00 UTC  never                    -
                                      5f4e3d2c1b0a  2026-11-22 14:00:00 UTC  2026-12-22 14:00:00 UTC  laptop
bob   user   2026-11-22 13:30:00 UTC  -
"
        );
        assert_answer("user", &record);
        for record in [
            UsersRecord::One {
                user: users().swap_remove(1).into(),
            },
            UsersRecord::Removed {
                removed: "bob".into(),
            },
            UsersRecord::Revoked {
                revoked: "0a".into(),
            },
            UsersRecord::Token {
                token: NewTokenRecord {
                    id: "0a".into(),
                    user: "bob".into(),
                    token: "vfioctl_0a_x".into(),
                    expires: None,
                },
            },
        ] {
            assert_answer("user", &record);
        }
    }

    #[test]
    fn what_was_done_stands_in_a_table() {
        let record = AuditLinesRecord {
            lines: audit_lines().into_iter().map(Into::into).collect(),
        };
        assert_eq!(
            record.text(),
            "\
WHEN                     WHO         FROM      WHAT                        ON             OUTCOME
2026-11-22 13:41:05 UTC  ann         10.0.0.9  POST /v1/tasks              -              done
2026-11-22 13:41:07 UTC  bob         10.0.0.9  POST /v1/tasks/{task}/kill  01jd3k7x9qz4m  forbidden
2026-11-22 13:41:09 UTC  node gpu-1  10.0.0.5  POST /v1/runner/register    -              done
"
        );
        assert_answer("audit", &record);
    }

    #[test]
    fn a_login_says_who_asks_whom() {
        let record = LoginRecord::In {
            host: "https://gpu-host:8470".into(),
            authority: "ab".into(),
            user: "ann".into(),
            role: "admin",
            file: None,
        };
        assert_eq!(
            record.text(),
            "host       https://gpu-host:8470\nauthority  ab\nuser       ann\nrole       admin\n\
             known by   the command line and the environment\n"
        );
        assert_answer("login", &record);
        assert_answer("login", &LoginRecord::Out { forgotten: None });
    }
}
