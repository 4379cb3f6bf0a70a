//! Starting QEMU through systemd: a transient unit of its own, which survives the helper.
//!
//! Interface: `org.freedesktop.systemd1.Manager.StartTransientUnit`
//! (`org.freedesktop.systemd1(5)`), over process 1's own socket, which needs no message bus.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::dbus::{CallError, Connection, Value};
use super::{LaunchRequest, Launched, Launcher};
use crate::limits::{UNIT_GONE_TIME, UNIT_START_TIME};

/// Where process 1 listens for root.
const SOCKET: &str = "/run/systemd/private";
const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
/// How often the unit is asked for its process while it starts.
const POLL: Duration = Duration::from_millis(20);

/// Starts QEMU through systemd.
#[derive(Debug)]
pub struct SystemdLauncher {
    socket: PathBuf,
    /// The helper's own socket, which QEMU shall not reach.
    helper_socket: String,
}

impl SystemdLauncher {
    /// A launcher, where systemd is process 1 and answers root.
    pub fn detect(helper_socket: &str) -> Option<Self> {
        let socket = PathBuf::from(SOCKET);
        let helper_socket = helper_socket.to_owned();
        socket.exists().then_some(Self {
            socket,
            helper_socket,
        })
    }

    fn connect(&self) -> Result<Connection, String> {
        Connection::open(&self.socket, UNIT_START_TIME)
            .map_err(|error| format!("cannot reach systemd: {error}"))
    }

    fn main_pid(connection: &mut Connection, unit: &str) -> Result<Option<u32>, String> {
        let path = connection.call(
            DESTINATION,
            MANAGER_PATH,
            MANAGER,
            "GetUnit",
            &[Value::Text(unit.to_owned())],
        );
        let Ok(reply) = path else { return Ok(None) };
        let path = reply.object_path().ok_or("systemd names no unit")?;
        let reply = connection
            .call(
                DESTINATION,
                &path,
                "org.freedesktop.DBus.Properties",
                "Get",
                &[
                    Value::Text(SERVICE.to_owned()),
                    Value::Text("MainPID".to_owned()),
                ],
            )
            .map_err(|error| format!("cannot ask systemd for the process: {error}"))?;
        Ok(reply.variant_u32())
    }

    fn properties(&self, request: &LaunchRequest<'_>) -> Vec<Value> {
        let text = |text: &str| Value::Text(text.to_owned());
        let log = request.log.to_string_lossy();
        let arguments: Vec<Value> = request.arguments.iter().map(|a| text(a)).collect();
        let program = request.arguments.first().map_or("", String::as_str);
        let exec = Value::Struct(vec![
            text(program),
            Value::Array("s", arguments),
            Value::Bool(false),
        ]);
        let allow = request
            .devices
            .iter()
            .map(|node| Value::Struct(vec![text(node), text("rw")]))
            .collect();
        let families = ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"];
        let families = families.iter().map(|family| text(family)).collect();
        let list =
            |items: &[&str]| Value::Array("s", items.iter().map(|item| text(item)).collect());
        let property = |name: &str, value: Value| {
            Value::Struct(vec![text(name), Value::Variant(Box::new(value))])
        };
        let yes = || Value::Bool(true);
        vec![
            property(
                "Description",
                Value::Text(format!(
                    "vfioctl machine {} of uid {}",
                    request.name, request.peer.uid
                )),
            ),
            property("Type", text("exec")),
            property("ExecStart", Value::Array("(sasb)", vec![exec])),
            property("User", Value::Text(request.peer.uid.to_string())),
            property("Group", Value::Text(request.peer.gid.to_string())),
            // What QEMU makes lies in a folder that only its user and the helper can enter.
            property("UMask", Value::U32(0)),
            property("WorkingDirectory", text("/")),
            property("StandardInput", text("null")),
            property("StandardOutputFileToAppend", text(&log)),
            property("StandardErrorFileToAppend", text(&log)),
            // A unit that failed is forgotten like one that ended: the helper has seen its end.
            property("CollectMode", text("inactive-or-failed")),
            property("KillMode", text("mixed")),
            property("LimitMEMLOCK", Value::U64(request.locked_memory_bytes)),
            property("NoNewPrivileges", yes()),
            property("CapabilityBoundingSet", Value::U64(0)),
            property("AmbientCapabilities", Value::U64(0)),
            property("DevicePolicy", text("closed")),
            property("DeviceAllow", Value::Array("(ss)", allow)),
            property(
                "InaccessiblePaths",
                list(&[&format!("-{}", self.helper_socket)]),
            ),
            property("LockPersonality", yes()),
            property("ProtectClock", yes()),
            property("ProtectControlGroups", yes()),
            property("ProtectHostname", yes()),
            property("ProtectKernelLogs", yes()),
            property("ProtectKernelModules", yes()),
            property("ProtectKernelTunables", yes()),
            property("RestrictRealtime", yes()),
            property("RestrictSUIDSGID", yes()),
            property("SystemCallArchitectures", list(&["native"])),
            property(
                "RestrictAddressFamilies",
                Value::Struct(vec![yes(), Value::Array("s", families)]),
            ),
        ]
    }
}

/// A machine that is started again has had a unit of this name, which may not have gone yet.
fn start_unit(connection: &mut Connection, arguments: &[Value]) -> Result<(), CallError> {
    let deadline = Instant::now() + UNIT_GONE_TIME;
    loop {
        let method = "StartTransientUnit";
        match connection.call(DESTINATION, MANAGER_PATH, MANAGER, method, arguments) {
            Err(CallError::Remote(name, _)) if name == UNIT_EXISTS && Instant::now() < deadline => {
                std::thread::sleep(POLL);
            }
            answer => return answer.map(drop),
        }
    }
}

fn unit_name(uid: u32, name: &str) -> String {
    format!("vfioctl-machine-{uid}-{name}.service")
}

impl Launcher for SystemdLauncher {
    fn start(&self, request: &LaunchRequest<'_>) -> Result<Launched, String> {
        let unit = unit_name(request.peer.uid, request.name);
        let mut connection = self.connect()?;
        let arguments = [
            Value::Text(unit.clone()),
            Value::Text("fail".to_owned()),
            Value::Array("(sv)", self.properties(request)),
            Value::Array("(sa(sv))", Vec::new()),
        ];
        start_unit(&mut connection, &arguments)
            .map_err(|error| format!("systemd does not start '{unit}': {error}"))?;
        let deadline = Instant::now() + request.timeout.min(UNIT_START_TIME);
        let mut was_seen = false;
        while Instant::now() < deadline {
            match Self::main_pid(&mut connection, &unit)? {
                Some(pid) if pid != 0 => {
                    return Ok(Launched {
                        pid,
                        unit: Some(unit),
                    });
                }
                Some(_) => was_seen = true,
                // Seen and gone: it has ended already.
                None if was_seen => break,
                None => {}
            }
            std::thread::sleep(POLL);
        }
        Err(format!("unit '{unit}' ended at once, or did not start"))
    }

    fn unit_name(&self, uid: u32, name: &str) -> Option<String> {
        Some(unit_name(uid, name))
    }

    fn find(&self, unit: &str) -> Option<u32> {
        let mut connection = self.connect().ok()?;
        Self::main_pid(&mut connection, unit)
            .ok()
            .flatten()
            .filter(|pid| *pid != 0)
    }

    fn forks(&self) -> bool {
        false
    }
}
