//! A lab that is a node of a cluster: with everything as `scripts/install` installs it, and container
//! engines.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ClusterHost;
use crate::lab::{OUTSIDE_PORTS, Profile};
use crate::world::LabWorld;

/// More than anything on a node takes that is not broken.
const LIMIT: Duration = Duration::from_secs(120);

/// What the file of a node says besides: names do not resolve there, and a network of a container's own
/// costs a second.
const CONFIGURATION: &str = "\
[runner.containers]
default_image = \"localhost/lab-python:1\"
network = \"host\"
";

/// A lab that is a node.
#[derive(Debug)]
pub struct LabNode {
    lab: LabWorld,
    name: String,
}

impl LabNode {
    /// Has a lab join a cluster, as an administrator does it, and waits until it takes work.
    /// `configuration` goes on where its file is in the table of containers.
    ///
    /// # Panics
    /// Where something of that fails.
    pub fn join(host: &ClusterHost, name: &str, configuration: &str) -> Self {
        let lab = LabWorld::start_as(Profile::Engines);
        lab.machine().become_node(name).unwrap();
        let node = Self {
            lab,
            name: name.to_owned(),
        };
        node.lead_to(Some(host));
        let invitation = host.ask("POST", "/v1/joins", &json!({"node": name}));
        let token = invitation["token"].as_str().unwrap();
        node.root(&format!(
            "set -e
            mkdir -p /etc/vfioctl
            cat >/etc/vfioctl/vfioctl.toml <<'END'\n{CONFIGURATION}{configuration}\nEND
            umask 077; echo {token} >/run/token
            vfioctl-runner join https://outside:{port} --token-file /run/token
            systemctl --quiet enable --now vfioctl-runner",
            port = OUTSIDE_PORTS[0],
        ));
        node.wait_until(host, "online");
        node
    }

    /// Leads the node to a host, or to none.
    ///
    /// # Panics
    /// Where the lab does not do it.
    pub fn lead_to(&self, host: Option<&ClusterHost>) {
        let port = host.map(|host| host.address().port());
        self.lab.machine().lead_out(OUTSIDE_PORTS[0], port).unwrap();
    }

    /// Waits until a host says this of the node.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn wait_until(&self, host: &ClusterHost, state: &str) {
        let path = format!("/v1/nodes/{}", self.name);
        self.wait_for(&format!("'{}' is {state}", self.name), || {
            host.try_ask("GET", &path, &Value::Null).json()["state"] == state
        });
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// Where that does not come.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_so() {
            assert!(Instant::now() < deadline, "in vain: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Runs a script as root; its text.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn root(&self, script: &str) -> String {
        self.lab.root(script)
    }

    /// The machine.
    pub fn lab(&self) -> &LabWorld {
        &self.lab
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its runner has written into the journal.
    pub fn log(&self) -> String {
        self.root("journalctl --unit vfioctl-runner --output cat --no-pager | tail -n 60")
    }
}
