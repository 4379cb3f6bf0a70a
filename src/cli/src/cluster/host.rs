//! A host of the cluster: what can be asked of it, each with its types.

use serde::Serialize;
use ureq::http::Method;
use vfioctl_api::{
    AddUser, AuditLine, JoinToken, JoinTokenRequest, LogStream, NewToken, NodeName, NodeView, Page,
    Submission, Summary, Task, TaskFilter, TokenRequest, User, UserName, WhoAmI,
};

use super::access::Access;
use super::connection::{Connection, Times};
use super::event_stream::EventStream;
use super::host_error::HostError;
use super::named::{TaskReference, TokenId};

/// A host of the cluster.
pub(crate) struct Host {
    connection: Connection,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPart {
    /// Which log.
    pub(crate) log: LogStream,
    /// From which byte on.
    pub(crate) offset: u64,
    /// Whether to go on with what is written later.
    pub(crate) follow: bool,
}

type Answer<T> = Result<T, HostError>;

impl Host {
    /// Takes what it needs; asks nothing yet.
    pub(crate) fn new(access: Access, times: Times) -> Self {
        Self {
            connection: Connection::new(access, times),
        }
    }

    /// Which cluster it is of.
    pub(crate) fn access(&self) -> &Access {
        self.connection.access()
    }

    /// Who asks.
    pub(crate) fn me(&self) -> Answer<WhoAmI> {
        self.get("me")
    }

    /// Asks for work.
    pub(crate) fn submit(&self, submission: &Submission) -> Answer<Task> {
        self.post("tasks", submission)
    }

    /// Tasks, the latest first.
    pub(crate) fn tasks(&self, filter: &TaskFilter) -> Answer<Page> {
        self.get(&format!("tasks{}", question(filter)))
    }

    /// One task.
    pub(crate) fn task(&self, task: &TaskReference) -> Answer<Task> {
        self.get(&format!("tasks/{task}"))
    }

    /// Ends a task at once.
    pub(crate) fn kill(&self, task: &TaskReference) -> Answer<Task> {
        self.tell(&format!("tasks/{task}/kill"))
    }

    /// Stops a server.
    pub(crate) fn stop(&self, task: &TaskReference) -> Answer<Task> {
        self.tell(&format!("tasks/{task}/stop"))
    }

    /// Starts a server that was stopped.
    pub(crate) fn start(&self, task: &TaskReference) -> Answer<Task> {
        self.tell(&format!("tasks/{task}/start"))
    }

    /// Forgets a task; with `force`, whatever it does and wherever its node is.
    pub(crate) fn remove_task(&self, task: &TaskReference, force: bool) -> Answer<Task> {
        let path = format!("tasks/{task}?force={force}");
        self.connection.ask(Method::DELETE, &path, None)
    }

    /// Begins to read a log: its bytes as they are.
    pub(crate) fn read_log(
        &self,
        task: &TaskReference,
        part: LogPart,
    ) -> Answer<impl std::io::Read + use<>> {
        let log = match part.log {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        let LogPart { offset, follow, .. } = part;
        let path = format!("tasks/{task}/log?log={log}&offset={offset}&follow={follow}");
        let response = self.connection.stream(&path, "application/octet-stream")?;
        Ok(response.into_body().into_reader())
    }

    /// The error of a read in a log.
    pub(crate) fn error_of_read(&self, error: std::io::Error) -> HostError {
        self.connection.error_of_read(error)
    }

    /// Begins to watch a task.
    pub(crate) fn watch_task(&self, task: &TaskReference) -> Answer<EventStream<'_>> {
        let path = format!("tasks/{task}/events");
        let response = self.connection.stream(&path, "text/event-stream")?;
        Ok(EventStream::new(&self.connection, response))
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> Answer<Vec<NodeView>> {
        self.get("nodes")
    }

    /// One node.
    pub(crate) fn node(&self, node: &NodeName) -> Answer<NodeView> {
        self.get(&format!("nodes/{node}"))
    }

    /// Places nothing new on a node.
    pub(crate) fn drain(&self, node: &NodeName) -> Answer<NodeView> {
        self.tell(&format!("nodes/{node}/drain"))
    }

    /// Places work on a node again.
    pub(crate) fn resume(&self, node: &NodeName) -> Answer<NodeView> {
        self.tell(&format!("nodes/{node}/resume"))
    }

    /// Removes a node from the cluster.
    pub(crate) fn remove_node(&self, node: &NodeName) -> Answer<()> {
        self.connection
            .order(Method::DELETE, &format!("nodes/{node}"))
    }

    /// Makes a token with which a node can join.
    pub(crate) fn invite(&self, request: &JoinTokenRequest) -> Answer<JoinToken> {
        self.post("joins", request)
    }

    /// The whole cluster in numbers.
    pub(crate) fn summary(&self) -> Answer<Summary> {
        self.get("summary")
    }

    /// All users, with their tokens.
    pub(crate) fn users(&self) -> Answer<Vec<User>> {
        self.get("users")
    }

    /// Adds a user.
    pub(crate) fn add_user(&self, add: &AddUser) -> Answer<User> {
        self.post("users", add)
    }

    /// Removes a user and their tokens.
    pub(crate) fn remove_user(&self, user: &UserName) -> Answer<()> {
        self.connection
            .order(Method::DELETE, &format!("users/{user}"))
    }

    /// Makes a token for a user.
    pub(crate) fn add_token(&self, user: &UserName, request: &TokenRequest) -> Answer<NewToken> {
        self.post(&format!("users/{user}/tokens"), request)
    }

    /// Revokes a token.
    pub(crate) fn revoke(&self, token: &TokenId) -> Answer<()> {
        self.connection
            .order(Method::DELETE, &format!("tokens/{token}"))
    }

    /// Who changed what, the latest last.
    pub(crate) fn audit(&self, limit: u32) -> Answer<Vec<AuditLine>> {
        self.get(&format!("audit?limit={limit}"))
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.connection.ask(Method::GET, path, None)
    }

    fn tell<T: serde::de::DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.connection.ask(Method::POST, path, None)
    }

    fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Answer<T> {
        let body = serde_json::to_vec(body).map_err(|error| {
            self.connection
                .not_understood(format!("the question cannot be put into JSON: {error}"))
        })?;
        self.connection.ask(Method::POST, path, Some(body))
    }
}

/// What stands behind the question mark. Names and numbers need no escapes.
fn question(filter: &TaskFilter) -> String {
    let kind = filter.kind.map(|kind| match kind {
        vfioctl_api::Kind::Command => "command".to_owned(),
        vfioctl_api::Kind::Vps => "vps".to_owned(),
    });
    let parts = [
        ("state", filter.state.map(|state| state.to_string())),
        ("node", filter.node.as_ref().map(ToString::to_string)),
        ("owner", filter.owner.as_ref().map(ToString::to_string)),
        ("kind", kind),
        ("limit", filter.limit.map(|limit| limit.to_string())),
        ("before", filter.before.as_ref().map(ToString::to_string)),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
        .collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("?{}", parts.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_asks_for_what_it_names() {
        assert_eq!(question(&TaskFilter::default()), "");
        let filter = TaskFilter {
            state: "out_of_memory".parse().ok(),
            node: "gpu-1.lab".parse().ok(),
            owner: "ann_b".parse().ok(),
            kind: Some(vfioctl_api::Kind::Vps),
            limit: Some(7),
            before: "01jd3k7x9qz4m".parse().ok(),
        };
        assert_eq!(
            question(&filter),
            "?state=out_of_memory&node=gpu-1.lab&owner=ann_b&kind=vps&limit=7&before=01jd3k7x9qz4m"
        );
    }
}
