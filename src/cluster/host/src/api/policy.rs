//! Policy: who may use which route. What is not in this table nobody may use.

use std::fmt;

use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use vfioctl_api::Role;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Everybody who reaches the host.
    Anyone,
    /// Users of this role and above.
    Role(Role),
    /// The runner of a node, by its certificate.
    Node,
}

/// A route, and who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The method.
    pub method: &'static str,
    /// The path, with names in braces.
    pub path: &'static str,
    /// Who may use it.
    pub permission: Permission,
    /// Whether it changes something, and so is in the audit log.
    pub is_audited: bool,
}

const fn rule(
    method: &'static str,
    path: &'static str,
    permission: Permission,
    is_audited: bool,
) -> Rule {
    Rule {
        method,
        path,
        permission,
        is_audited,
    }
}

use Permission::{Anyone, Node, Role as Of};
use Role::{Admin, Operator, User, Viewer};

/// Every route. A user ends only tasks of their own; that is looked at where the task is known.
pub const RULES: &[Rule] = &[
    rule("GET", "/v1/version", Anyone, false),
    rule("GET", "/v1/authority", Anyone, false),
    rule("GET", "/v1/openapi.json", Anyone, false),
    rule("GET", "/v1/me", Of(Viewer), false),
    rule("GET", "/v1/tasks", Of(Viewer), false),
    rule("POST", "/v1/tasks", Of(User), true),
    rule("GET", "/v1/tasks/{task}", Of(Viewer), false),
    rule("DELETE", "/v1/tasks/{task}", Of(User), true),
    rule("POST", "/v1/tasks/{task}/kill", Of(User), true),
    rule("POST", "/v1/tasks/{task}/stop", Of(User), true),
    rule("POST", "/v1/tasks/{task}/start", Of(User), true),
    rule("GET", "/v1/tasks/{task}/log", Of(User), false),
    rule("GET", "/v1/tasks/{task}/events", Of(Viewer), false),
    rule("GET", "/v1/events", Of(Viewer), false),
    rule("GET", "/v1/nodes", Of(Viewer), false),
    rule("GET", "/v1/nodes/{node}", Of(Viewer), false),
    rule("DELETE", "/v1/nodes/{node}", Of(Admin), true),
    rule("POST", "/v1/nodes/{node}/drain", Of(Operator), true),
    rule("POST", "/v1/nodes/{node}/resume", Of(Operator), true),
    rule("GET", "/v1/gpus", Of(Viewer), false),
    rule("GET", "/v1/summary", Of(Viewer), false),
    rule("GET", "/v1/users", Of(Admin), false),
    rule("POST", "/v1/users", Of(Admin), true),
    rule("DELETE", "/v1/users/{user}", Of(Admin), true),
    rule("POST", "/v1/users/{user}/tokens", Of(Viewer), true),
    rule("DELETE", "/v1/tokens/{token}", Of(Viewer), true),
    rule("POST", "/v1/joins", Of(Admin), true),
    rule("GET", "/v1/audit", Of(Admin), false),
    rule("POST", "/v1/runner/enrol", Anyone, true),
    rule("POST", "/v1/runner/register", Node, true),
    rule("POST", "/v1/runner/sync", Node, false),
    rule("POST", "/v1/runner/streams/{stream}", Node, false),
];

/// The rule of a route.
pub(crate) fn find(method: &str, path: &str) -> Option<&'static Rule> {
    // What may be read may be asked about.
    let method = if method == "HEAD" { "GET" } else { method };
    RULES
        .iter()
        .find(|rule| rule.method == method && rule.path == path)
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Role(role) => role.fmt(f),
            Self::Node => f.write_str("node"),
        }
    }
}

/// Writes into a description who may use what.
pub(crate) fn describe(description: &mut OpenApi) {
    for (path, item) in &mut description.paths.paths {
        let operations: [(&str, Option<&mut Operation>); 3] = [
            ("GET", item.get.as_mut()),
            ("POST", item.post.as_mut()),
            ("DELETE", item.delete.as_mut()),
        ];
        for (method, operation) in operations {
            if let (Some(operation), Some(rule)) = (operation, find(method, path)) {
                let permission = rule.permission.to_string();
                operation.extensions = Some(
                    Extensions::builder()
                        .add("x-permission", permission)
                        .build(),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_rule_and_every_rule_a_route() {
        let description = crate::api::description();
        let mut described = vec![("GET".to_owned(), "/v1/openapi.json".to_owned())];
        for (path, item) in &description.paths.paths {
            for (method, is_there) in [
                ("GET", item.get.is_some()),
                ("POST", item.post.is_some()),
                ("DELETE", item.delete.is_some()),
            ] {
                if is_there {
                    described.push((method.to_owned(), path.clone()));
                }
            }
            assert!(item.put.is_none() && item.patch.is_none(), "{path}");
        }
        described.sort();
        let mut ruled: Vec<_> = RULES
            .iter()
            .map(|rule| (rule.method.to_owned(), rule.path.to_owned()))
            .collect();
        ruled.sort();
        assert_eq!(described, ruled);
    }

    #[test]
    fn what_changes_something_is_audited() {
        let quiet = RULES
            .iter()
            .filter(|rule| rule.method != "GET" && !rule.is_audited);
        let quiet: Vec<&str> = quiet.map(|rule| rule.path).collect();
        assert_eq!(quiet, ["/v1/runner/sync", "/v1/runner/streams/{stream}"]);
    }
}
