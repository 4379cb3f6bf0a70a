//! passt: what it is told. Written for Debian 12's (2023-03-09) and later.
//!
//! <https://passt.top/builds/latest/web/passt.1.html>

use std::net::IpAddr;

use vfioctl_scan::SysRoot;

/// Name servers that are passed on: more are of no use to a resolver (`resolv.conf(5)`, `MAXNS`).
const MAX_SERVERS: usize = 3;

/// The arguments of passt for a machine that is reached by SSH at a port of an address; without one, by
/// nobody.
pub(super) fn arguments(reached: Option<(IpAddr, u16)>, servers: &[IpAddr]) -> Vec<String> {
    let forward = match reached {
        None => "none".to_owned(),
        Some((address, port)) if address.is_unspecified() => format!("{port}:22"),
        Some((address, port)) => format!("{address}/{port}:22"),
    };
    // The address of the gateway would mean this node.
    let mut words = ["--quiet", "--no-map-gw", "--tcp-ports", &forward]
        .map(str::to_owned)
        .to_vec();
    for server in servers {
        words.extend(["--dns".to_owned(), server.to_string()]);
    }
    words
}

/// Name servers that a guest has to be told of, since those that passt finds are on the loopback of this
/// node, where no guest may go: those that systemd-resolved asks itself (`systemd-resolved(8)`).
pub(super) fn find_servers(root: &SysRoot) -> Vec<IpAddr> {
    // Where it is a link out of its folder, it is that of systemd-resolved, or of something like it.
    let own = root.etc.read_text("resolv.conf").ok().flatten();
    let usable = |text: &str| -> Vec<IpAddr> {
        let servers = parse_servers(text).into_iter();
        servers.filter(|server| !server.is_loopback()).collect()
    };
    if own.as_deref().is_some_and(|text| !usable(text).is_empty()) {
        return Vec::new();
    }
    let behind = root
        .run
        .read_text("systemd/resolve/resolv.conf")
        .ok()
        .flatten();
    let mut servers = usable(&behind.unwrap_or_default());
    servers.truncate(MAX_SERVERS);
    servers
}

/// The servers of a `resolv.conf(5)`. Those of a link have a card behind '%', and are none for a guest.
fn parse_servers(text: &str) -> Vec<IpAddr> {
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next())
            .flatten()
    });
    words.filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passt_listens_where_it_is_told_and_nowhere_else() {
        let words =
            |address: &str| arguments(Some((address.parse().unwrap(), 43_000)), &[]).join(" ");
        assert_eq!(
            words("192.0.2.7"),
            "--quiet --no-map-gw --tcp-ports 192.0.2.7/43000:22"
        );
        assert_eq!(
            words("fd00::7"),
            "--quiet --no-map-gw --tcp-ports fd00::7/43000:22"
        );
        assert_eq!(words("0.0.0.0"), "--quiet --no-map-gw --tcp-ports 43000:22");
        let servers = ["192.0.2.53", "fd00::53"].map(|text| text.parse().unwrap());
        assert_eq!(
            arguments(None, &servers).join(" "),
            "--quiet --no-map-gw --tcp-ports none --dns 192.0.2.53 --dns fd00::53"
        );
    }

    #[test]
    fn servers_on_the_loopback_are_replaced_by_those_behind_them() {
        let found = |own: &str, behind: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            for name in ["sys", "proc", "etc", "run/systemd/resolve"] {
                std::fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            let path = folder.path().join("run/systemd/resolve");
            match own {
                "link" => std::os::unix::fs::symlink(
                    "../run/systemd/resolve/stub-resolv.conf",
                    folder.path().join("etc/resolv.conf"),
                ),
                text => std::fs::write(folder.path().join("etc/resolv.conf"), text),
            }
            .unwrap();
            std::fs::write(path.join("stub-resolv.conf"), "nameserver 127.0.0.53").unwrap();
            if let Some(text) = behind {
                std::fs::write(path.join("resolv.conf"), text).unwrap();
            }
            let servers = find_servers(&SysRoot::below(folder.path()).unwrap());
            servers.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let behind = "# text\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a\n\
            nameserver fd00::1\nnameserver 127.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3";
        let three = ["10.0.0.1", "fd00::1", "10.0.0.2"];
        assert_eq!(found("nameserver 127.0.0.53\n", Some(behind)), three);
        assert_eq!(found("link", Some(behind)), three);
        // passt finds them itself.
        assert_eq!(found("nameserver 10.9.9.9", Some(behind)), [""; 0]);
        assert_eq!(found("nameserver 127.0.0.1", None), [""; 0]);
    }
}
