//! The network between a lab and this machine's loopback, by which labs are nodes of a cluster.
//!
//! A lab reaches nothing but [`OUTSIDE`], whose ports lead where [`Lab::lead_out`] says, and is
//! reached where [`Lab::lead_in`] says. Both go through QEMU's user network (`restrict=on`), which
//! needs no device, privilege or name space of this machine.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::{Error, Result, Wrap};
use super::machine::quote_option;
use super::{Lab, SHORT, quote};

/// The address at which a lab finds this machine's loopback; it is `outside` in its `/etc/hosts`.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);

/// The ports of [`OUTSIDE`]. They are fixed because QEMU takes them only when it starts, and several
/// because several control planes may run; the last is where a host listens by itself.
pub const OUTSIDE_PORTS: [u16; 4] = [8443, 8444, 8445, 8470];

/// A lab's own address; `tests/lab/overlay/usr/local/sbin/lab-network` gives it.
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// The network's name in QEMU; the card in `machine.args` is connected to it.
const ID: &str = "n1";

/// QEMU starts a program for each connection of the lab. `guestfwd` to a character device would
/// do without, but carries one connection in all of QEMU's life. The program looks up where to go
/// when it starts, so that this can change while the machine runs.
pub(crate) fn netdev(folder: &Path) -> String {
    let mut option = format!("user,id={ID},restrict=on");
    for port in OUTSIDE_PORTS {
        let program = format!(
            r#"sh -c 'exec 2>/dev/null; exec busybox nc 127.0.0.1 "$(cat "$0")"' {}"#,
            quote(&quote_option(&destination_file(folder, port)))
        );
        option += &format!(",guestfwd=tcp:{OUTSIDE}:{port}-cmd:{program}");
    }
    option
}

fn destination_file(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("outside-{port}"))
}

impl Lab {
    /// Leads connections of the lab to one of the [`OUTSIDE_PORTS`] to a port of this machine's
    /// loopback from now on; those that there are stay. `None` ends new ones as soon as they are
    /// made, which is also what the lab sees where nobody listens.
    ///
    /// # Errors
    ///
    /// When the lab has no such port.
    pub fn lead_out(&self, outside_port: u16, to: Option<u16>) -> Result<()> {
        if !OUTSIDE_PORTS.contains(&outside_port) {
            return Err(Error::new(format!(
                "port {outside_port} leads nowhere, only {OUTSIDE_PORTS:?} do"
            )));
        }
        let file = destination_file(self.folder.path(), outside_port);
        match to {
            Some(port) => {
                // In one step: a connection may be looking.
                let part = file.with_extension("part");
                std::fs::write(&part, port.to_string()).wrap_path("write", &part)?;
                std::fs::rename(&part, &file).wrap_path("rename", &part)
            }
            None => match std::fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).wrap_path("remove", &file)
                }
                _ => Ok(()),
            },
        }
    }

    /// Leads a port of this machine's loopback, which is chosen here, to a port of the lab.
    ///
    /// # Errors
    ///
    /// When QEMU cannot listen.
    pub fn lead_in(&self, port: u16) -> Result<SocketAddr> {
        let answer = self.monitor(&format!("hostfwd_add {ID} tcp:127.0.0.1:0-{INSIDE}:{port}"))?;
        if !answer.is_empty() {
            return Err(Error::new(format!("QEMU leads no port in: {answer}")));
        }
        // The port that the kernel chose stands only in this table for people.
        let table = self.monitor("info usernet")?;
        find_forwarded(&table, port)
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .ok_or_else(|| Error::new(format!("no port leads to {port} in:\n{table}")))
    }

    /// Cuts the lab off: as if somebody had pulled the cable, nothing more comes through in either
    /// direction, and connections stay as they are until their own limits.
    ///
    /// # Errors
    ///
    /// When QEMU refuses.
    pub fn cut_network(&self) -> Result<()> {
        self.set_link(false)
    }

    /// Ends what [`Lab::cut_network`] began.
    ///
    /// # Errors
    ///
    /// When QEMU refuses.
    pub fn mend_network(&self) -> Result<()> {
        self.set_link(true)
    }

    fn set_link(&self, is_up: bool) -> Result<()> {
        self.qmp("set_link", json!({ "name": ID, "up": is_up }))
            .map(drop)
    }

    /// Gives the lab a name, a machine-id and a network address of its own, all made of the name;
    /// restored machines have them in common otherwise, and two of them would be one node.
    ///
    /// # Errors
    ///
    /// When the name is none for a host, or the lab refuses.
    pub fn become_node(&self, name: &str) -> Result<()> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(is_name) {
            return Err(Error::new(format!("'{name}' is no name for a host")));
        }
        let script = format!(
            "set -e
            id=$(echo -n {name} | md5sum | cut -c 1-32)
            echo {name} >/etc/hostname
            echo {name} >/proc/sys/kernel/hostname
            echo 127.0.0.1 {name} >>/etc/hosts
            echo $id >/etc/machine-id
            card=$(basename /sys/bus/virtio/drivers/virtio_net/virtio*/net/*)
            ip link set $card down
            ip link set $card address 52:54:00:${{id:0:2}}:${{id:2:2}}:${{id:4:2}}
            ip link set $card up
            ip route add default via 10.0.2.2
            # QEMU learns the new address when the lab asks for QEMU's.
            timeout 2 bash -c 'echo >/dev/tcp/{OUTSIDE}/{}' 2>/dev/null || :",
            OUTSIDE_PORTS[0]
        );
        self.run(&script, SHORT)?.success().map(drop)
    }

    /// Runs a command of the monitor for people, where the other one has none.
    fn monitor(&self, line: &str) -> Result<String> {
        let answer = self.qmp("human-monitor-command", json!({ "command-line": line }))?;
        Ok(answer
            .as_str()
            .map_or_else(|| Value::to_string(&answer), |text| text.trim().to_owned()))
    }
}

/// Finds the newest port that leads to a port of the lab, in lines of this form:
///
/// ```text
///   Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
///   TCP[HOST_FORWARD]  27       127.0.0.1 39463       10.0.2.15    22     0     0
/// ```
fn find_forwarded(table: &str, port: u16) -> Option<u16> {
    let wanted = port.to_string();
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["TCP[HOST_FORWARD]", _, _, outer, _, inner, ..] if *inner == wanted => {
                outer.parse().ok()
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_port_is_found_in_the_table() {
        let table = "Hub -1 (n1):\n  \
            Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n  \
            TCP[HOST_FORWARD]  27       127.0.0.1 39463       10.0.2.15    22     0     0\n  \
            TCP[ESTABLISHED]   29       127.0.0.1 39464       10.0.2.15    23     0     0\n";
        assert_eq!(find_forwarded(table, 22), Some(39463));
        assert_eq!(find_forwarded(table, 23), None);
    }

    #[test]
    fn odd_folders_stay_one_word() {
        let option = netdev(Path::new("/tmp/a b,c'd"));
        assert!(
            option.contains(r"'/tmp/a b,,c'\''d/outside-8443'"),
            "{option}"
        );
    }
}
