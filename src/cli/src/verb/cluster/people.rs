//! `vfioctl user`, `token` and `audit`: who may what, and who did what.

use vfioctl_api::{AddUser, TokenRequest};

use crate::Done;
use crate::cluster::Host;
use crate::command_line::{TokenVerb, UserVerb};
use crate::print::moment;
use crate::record::{AuditLinesRecord, NewTokenRecord, UserRecord, UsersRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl user`.
pub(super) fn user(verb: UserVerb, host: &Host, session: &mut Session<'_>) -> Done {
    let record = match verb {
        UserVerb::List => UsersRecord::Many {
            users: host.users()?.into_iter().map(UserRecord::from).collect(),
        },
        UserVerb::Add { user, role } => {
            let add = AddUser {
                name: user.user,
                role,
            };
            let user = host.add_user(&add)?;
            let text = format!(
                "'vfioctl user token {}' makes a token to log in with",
                user.name
            );
            session.output.progress(&text);
            UsersRecord::One { user: user.into() }
        }
        UserVerb::Rm(one) => {
            host.remove_user(&one.user)?;
            UsersRecord::Removed {
                removed: one.user.into(),
            }
        }
        UserVerb::Token { user, valid, note } => {
            let request = TokenRequest {
                note,
                valid_s: valid.map(|valid| valid.seconds()),
            };
            let token: NewTokenRecord = host.add_token(&user.user, &request)?.into();
            let until = match token.expires {
                Some(expires) => format!("until {}", moment(expires)),
                None => "until it is revoked".to_owned(),
            };
            session.output.progress(&format!(
                "a token for {}, with the ID {}, {until}; it is shown this once:",
                token.user, token.id
            ));
            UsersRecord::Token { token }
        }
    };
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

/// Answers `vfioctl token`.
pub(super) fn token(verb: &TokenVerb, host: &Host, session: &mut Session<'_>) -> Done {
    let TokenVerb::Revoke { token } = verb;
    host.revoke(token)?;
    let revoked = token.to_string();
    session.output.answer(&UsersRecord::Revoked { revoked })?;
    Ok(Verdict::Yes)
}

/// Answers `vfioctl audit`.
pub(super) fn audit(limit: u32, host: &Host, session: &mut Session<'_>) -> Done {
    let lines = host.audit(limit)?;
    let record = AuditLinesRecord {
        lines: lines.into_iter().map(Into::into).collect(),
    };
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake_host::{Reply, ok, run};

    #[test]
    fn a_token_stands_alone_on_standard_output() {
        let token = json!({"id": "0a", "created": 0, "user": "bob", "token": "vfioctl_0a_x", "expires": 2_592_000_000_u64});
        let words = ["user", "token", "bob", "--valid", "30d", "--note", "laptop"];
        let outcome = run(&words, vec![Reply::Json(201, token)]);
        assert_eq!(
            (outcome.verdict, outcome.answer.as_str()),
            (Verdict::Yes, "vfioctl_0a_x\n")
        );
        assert_eq!(
            outcome.conversation,
            "a token for bob, with the ID 0a, until 1970-01-31 00:00:00 UTC; it is shown this once:\n"
        );
        assert_eq!(outcome.questions(), ["POST /v1/users/bob/tokens"]);
        assert_eq!(
            outcome.asked[0].body,
            json!({"note": "laptop", "valid_s": 2_592_000})
        );
    }

    #[test]
    fn each_verb_asks_for_its_own() {
        let user = json!({"name": "bob", "role": "operator", "created": 0});
        let nothing = || Reply::Json(204, json!(null));
        let cases: [(&[&str], Reply, &str, &str); 5] = [
            (
                &["user", "add", "bob", "--role", "operator"],
                Reply::Json(201, user.clone()),
                "POST /v1/users",
                "bob is an operator now\n",
            ),
            (
                &["user", "rm", "bob"],
                nothing(),
                "DELETE /v1/users/bob",
                "removed: bob\n",
            ),
            (
                &["token", "revoke", "0a1b"],
                nothing(),
                "DELETE /v1/tokens/0a1b",
                "revoked: 0a1b\n",
            ),
            (
                &["audit", "-l", "5"],
                ok(json!([])),
                "GET /v1/audit?limit=5",
                "",
            ),
            (&["user", "list"], ok(json!([])), "GET /v1/users", ""),
        ];
        for (words, reply, question, answer) in cases {
            let outcome = run(words, vec![reply]);
            assert_eq!(
                (
                    outcome.verdict,
                    outcome.questions(),
                    outcome.answer.as_str()
                ),
                (Verdict::Yes, vec![question], answer),
                "{words:?}"
            );
        }
    }
}
