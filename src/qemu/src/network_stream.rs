//! A network stream: how a Unix socket of a network process becomes a `-netdev` of QEMU.
//!
//! Given as JSON, like a block node, so that nothing in the path has a meaning.
//! <https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html>, `NetdevStreamOptions`, since 7.2.

use serde::Serialize;
use vfioctl_core::machine::FilePath;

/// A `-netdev` that connects to a Unix socket. The fields are written in this order.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkStream<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    server: bool,
    addr: Address<'a>,
}

#[derive(Debug, Serialize)]
struct Address<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    path: &'a str,
}

impl<'a> NetworkStream<'a> {
    /// Describes a connection to a socket.
    pub(crate) fn to(id: &'a str, socket: &'a FilePath) -> Self {
        let addr = Address {
            kind: "unix",
            path: socket.as_str(),
        };
        Self {
            kind: "stream",
            id,
            server: false,
            addr,
        }
    }

    /// The value of `-netdev`.
    pub(crate) fn to_json(&self) -> String {
        // Strings and booleans always serialise; were it otherwise, QEMU would refuse the empty
        // value and not start.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_path_stays_one_value() {
        for path in [
            "/run/passt.sock",
            "/a,server=on",
            "/a\",\"server\":true,\"x\":\"",
            "/a\\",
            "/\u{202e}é",
        ] {
            let socket = FilePath::new(path).unwrap();
            let json = NetworkStream::to("net0", &socket).to_json();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(
                value,
                serde_json::json!({
                    "type": "stream", "id": "net0", "server": false,
                    "addr": {"type": "unix", "path": path},
                })
            );
        }
    }
}
