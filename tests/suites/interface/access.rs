//! Every route, and everybody who may come: no token, one that was never one, one whose time is over, one
//! that was revoked, each role, a node, and a node of another cluster. What must come of it is derived from
//! the table in the host (`api::policy`); that every route stands in that table is tested there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;
use vfioctl_api::Role;
use vfioctl_host::api::policy::{Permission, RULES, Rule};
use vfioctl_tests::cluster::{ClusterHost, Member, StoreOf};
use vfioctl_tests::suite;

/// How somebody comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comer {
    NoToken,
    Garbage,
    Expired,
    Revoked,
    User(Role),
    Node,
    StrangeNode,
}

const COMERS: [Comer; 10] = [
    Comer::NoToken,
    Comer::Garbage,
    Comer::Expired,
    Comer::Revoked,
    Comer::User(Role::Viewer),
    Comer::User(Role::User),
    Comer::User(Role::Operator),
    Comer::User(Role::Admin),
    Comer::Node,
    Comer::StrangeNode,
];

/// What must come of it.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Whoever comes is not known.
    Unknown,
    /// Whoever comes may not.
    Forbidden,
    /// It is looked at.
    Served,
    /// No connection is made at all.
    NoConnection,
}

struct Setting {
    host: ClusterHost,
    node: Member,
    stranger: Member,
    expired: String,
    revoked: String,
    tokens: Vec<(Role, String)>,
}

impl Setting {
    fn make() -> Self {
        let host = ClusterHost::start(&StoreOf::File);
        let other = ClusterHost::start(&StoreOf::File);
        let node = host.join("node1");
        let stranger = other.join("node1");
        let expired = host.add_user("gone", "admin", Some(Duration::from_secs(1)));
        let revoked = host.add_user("former", "admin", None);
        let users = host.ask("GET", "/v1/users", &serde_json::Value::Null);
        let former = users.as_array().unwrap().iter();
        let former = former
            .clone()
            .find(|user| user["name"] == "former")
            .unwrap();
        let token = former["tokens"][0]["id"].as_str().unwrap();
        host.ask("DELETE", &format!("/v1/tokens/{token}"), &json!(null));
        let roles = [Role::Viewer, Role::User, Role::Operator, Role::Admin];
        let tokens = roles.map(|role| {
            let name = format!("one-{role}");
            (role, host.add_user(&name, &role.to_string(), None))
        });
        std::thread::sleep(Duration::from_millis(1100));
        Self {
            host,
            node,
            stranger,
            expired,
            revoked,
            tokens: tokens.into(),
        }
    }

    fn token_of(&self, comer: Comer) -> Option<&str> {
        match comer {
            Comer::NoToken | Comer::Node | Comer::StrangeNode => None,
            Comer::Garbage => Some("nobody-ever-had-this"),
            Comer::Expired => Some(&self.expired),
            Comer::Revoked => Some(&self.revoked),
            Comer::User(role) => {
                let token = self.tokens.iter().find(|(of, _)| *of == role);
                Some(&token.unwrap().1)
            }
        }
    }
}

/// One route a trial; each with all comers.
pub(crate) fn trials() -> Vec<Trial> {
    let setting: Arc<OnceLock<Setting>> = Arc::default();
    let trials = RULES.iter().map(|rule| {
        let setting = Arc::clone(&setting);
        suite::trial(format!("access_{}_{}", rule.method, rule.path), move || {
            check(setting.get_or_init(Setting::make), rule)
        })
    });
    trials.collect()
}

fn check(setting: &Setting, rule: &Rule) {
    for comer in COMERS {
        let (wanted, came) = (expected(rule, comer), try_it(setting, rule, comer));
        assert_eq!(
            wanted, came.0,
            "{} {} by {comer:?}: {}",
            rule.method, rule.path, came.1
        );
    }
}

fn expected(rule: &Rule, comer: Comer) -> Outcome {
    match (rule.permission, comer) {
        // A certificate of another authority does not even get in.
        (_, Comer::StrangeNode) => Outcome::NoConnection,
        (Permission::Anyone, _) => Outcome::Served,
        (Permission::Node, Comer::Node) => Outcome::Served,
        (Permission::Node, _) => Outcome::Unknown,
        (Permission::Role(least), Comer::User(role)) if role >= least => Outcome::Served,
        (Permission::Role(_), Comer::User(_)) => Outcome::Forbidden,
        (Permission::Role(_), _) => Outcome::Unknown,
    }
}

fn try_it(setting: &Setting, rule: &Rule, comer: Comer) -> (Outcome, String) {
    let mut wire = match comer {
        Comer::Node => setting.host.wire_of(&setting.node.identity),
        Comer::StrangeNode => setting.host.wire_of(&setting.stranger.identity),
        _ => setting.host.wire(),
    };
    // Nothing of that name is there, so nothing is changed; one's own tokens are one's own business.
    let user = match comer {
        Comer::User(role) => format!("one-{role}"),
        _ => "nobody".to_owned(),
    };
    let user = if rule.path.ends_with("/tokens") {
        user
    } else {
        "nobody".to_owned()
    };
    let path = rule
        .path
        .replace("{task}", "0000000000000")
        .replace("{node}", "nowhere")
        .replace("{user}", &user)
        .replace("{token}", "nothing")
        .replace("{stream}", "nothing");
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: h\r\n", rule.method);
    if let Some(token) = setting.token_of(comer) {
        head.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    // An open stream would wait for events.
    let is_endless = rule.path.ends_with("/events");
    let method = if is_endless { "HEAD" } else { rule.method };
    let head = head.replacen(rule.method, method, 1);
    let body = "{\"nothing\": 1}";
    let request = match method {
        "GET" | "HEAD" => format!("{head}connection: close\r\n\r\n"),
        _ => format!(
            "{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    };
    match wire.send(request.as_bytes()) {
        Err(error) => (Outcome::NoConnection, error.to_string()),
        Ok(answer) => {
            let text = format!("{} {}", answer.status, answer.text());
            let outcome = match answer.status {
                401 => Outcome::Unknown,
                403 => Outcome::Forbidden,
                500.. => panic!("{text}"),
                _ => Outcome::Served,
            };
            (outcome, text)
        }
    }
}
