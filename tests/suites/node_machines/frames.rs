//! A guest that makes its frames by hand, to call the node that it runs on.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use vfioctl_runner::machine::{PASST, QEMU};
use vfioctl_tests::node::site::{NODE, Site};
use vfioctl_tests::world::program;

/// The address that passt gives a guest: that of its node.
const GUEST: &str = NODE;
const CARD: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// The port of the servers on the node.
const PORT: u16 = 18_081;
/// How long an answer may take; those that come take milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Servers on the node: one that listens on the loopback only, one on its address in the network.
const SERVERS: &str = "
import socket, threading
servers = []
for address in ('127.0.0.1', '10.213.0.1', '127.0.0.53'):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, 18081))
    server.listen(5)
    servers.append(server)
print('ready', flush=True)
threading.Event().wait()
";

pub(crate) fn guest_calls() {
    let site = Site::new(Path::new(QEMU), &[]).unwrap();
    let mut servers = site
        .on_node()
        .args(["setpriv", "--pdeathsig", "KILL", "python3", "-c", SERVERS])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    servers
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    let socket = site.folder().join("net.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut relay = site
        .on_node()
        .args(["setpriv", "--pdeathsig", "KILL"])
        .arg(program("vfioctl-runner"))
        .args(["relay", "--passt", PASST, "--patience", "30", "--socket"])
        .arg(&socket)
        .arg("--note")
        .arg(site.folder().join("network.json"))
        .args(["--", "--no-map-gw", "--quiet", "--ipv4-only"])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 6];
    relay
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    assert_eq!(&said, b"ready\n");
    let mut guest = Guest::at(&socket);
    // passt answers itself: the network works.
    assert!(guest.is_answered(&discover(), |frame| is_udp_to(frame, 68)));
    for target in ["127.0.0.1", "127.0.0.53", "0.0.0.0", NODE] {
        for source in [GUEST, "10.213.0.77"] {
            let called = guest.calls(source, target);
            assert!(!called, "{source} has called {target}");
        }
    }
    // The other computer says that nobody listens there, as it says to anybody.
    assert!(guest.is_refused(GUEST, "10.213.0.2"));
    drop(guest);
    let deadline = Instant::now() + Duration::from_secs(20);
    while relay.try_wait().unwrap().is_none() {
        assert!(
            Instant::now() < deadline,
            "the relay does not end with its machine"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let left = site.processes();
    assert!(left.iter().all(|line| !line.contains("passt")), "{left:?}");
    // And without it, so that this test can fail.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut passt = site
        .on_node()
        .args([
            "setpriv",
            "--pdeathsig",
            "KILL",
            PASST,
            "--foreground",
            "--quiet",
        ])
        .args([
            "--no-map-gw",
            "--ipv4-only",
            "--runas",
            "1001:1001",
            "--fd",
            "0",
        ])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut guest = Guest::on(ours);
    assert!(guest.is_answered(&discover(), |frame| is_udp_to(frame, 68)));
    assert!(
        guest.calls(GUEST, "127.0.0.1"),
        "passt has learned to keep a guest from its node, or this test looks at the wrong thing"
    );
    drop(guest);
    let _ = passt.kill();
    let _ = passt.wait();
    let _ = servers.kill();
    let _ = servers.wait();
}

struct Guest {
    stream: UnixStream,
    port: u16,
}

impl Guest {
    fn at(socket: &Path) -> Self {
        Self::on(UnixStream::connect(socket).unwrap())
    }

    fn on(stream: UnixStream) -> Self {
        Self {
            stream,
            port: 40_000,
        }
    }

    fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        self.stream
            .write_all(&[&length[..], frame].concat())
            .unwrap();
    }

    /// The next frame before a deadline.
    fn receive(&mut self, deadline: Instant) -> Option<Vec<u8>> {
        let left = deadline.checked_duration_since(Instant::now())?;
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    fn is_answered(&mut self, frame: &[u8], is_answer: impl Fn(&[u8]) -> bool) -> bool {
        self.send(frame);
        let deadline = Instant::now() + PATIENCE;
        while let Some(frame) = self.receive(deadline) {
            if is_answer(&frame) {
                return true;
            }
        }
        false
    }

    /// The flags of what is answered to a call; none where nothing is.
    fn call(&mut self, source: &str, target: &str) -> Option<u8> {
        self.port += 1;
        let port = self.port;
        let frame = ipv4(source, target, 6, &syn(source, target, port));
        self.send(&frame);
        let deadline = Instant::now() + PATIENCE;
        while let Some(frame) = self.receive(deadline) {
            let is_to_us = frame.len() >= 48
                && frame[12..14] == [8, 0]
                && frame[23] == 6
                && frame[36..38] == port.to_be_bytes();
            if is_to_us {
                return Some(frame[47]);
            }
        }
        None
    }

    fn calls(&mut self, source: &str, target: &str) -> bool {
        self.call(source, target)
            .is_some_and(|flags| flags & 2 != 0)
    }

    fn is_refused(&mut self, source: &str, target: &str) -> bool {
        self.call(source, target)
            .is_some_and(|flags| flags & 4 != 0)
    }
}

fn octets(address: &str) -> [u8; 4] {
    address.parse::<std::net::Ipv4Addr>().unwrap().octets()
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn ipv4(source: &str, target: &str, protocol: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + content.len()).unwrap().to_be_bytes();
    let mut header = [&[0x45, 0][..], &length, &[0, 1, 0, 0, 64, protocol, 0, 0]].concat();
    header.extend(octets(source));
    header.extend(octets(target));
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    [&[0xff; 6][..], &CARD, &[8, 0], &header, content].concat()
}

/// The first packet of a connection (RFC 9293, section 3.1).
fn syn(source: &str, target: &str, port: u16) -> Vec<u8> {
    let mut packet = [&port.to_be_bytes()[..], &PORT.to_be_bytes()].concat();
    packet.extend([0, 0, 0, 9, 0, 0, 0, 0, 5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let pseudo = [
        &octets(source)[..],
        &octets(target),
        &[0, 6, 0, 20],
        &packet,
    ]
    .concat();
    let sum = checksum(&pseudo);
    packet[16..18].copy_from_slice(&sum);
    packet
}

/// The question for an address (RFC 2131, section 2).
fn discover() -> Vec<u8> {
    let mut question = vec![0; 236];
    question[..8].copy_from_slice(&[1, 1, 6, 0, 0, 0, 0x12, 0x34]);
    question[28..34].copy_from_slice(&CARD);
    question.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255]);
    let length = u16::try_from(8 + question.len()).unwrap().to_be_bytes();
    let packet = [&[0, 68, 0, 67][..], &length, &[0, 0], &question].concat();
    ipv4("0.0.0.0", "255.255.255.255", 17, &packet)
}

fn is_udp_to(frame: &[u8], port: u16) -> bool {
    frame.len() > 38
        && frame[12..14] == [8, 0]
        && frame[23] == 17
        && frame[36..38] == port.to_be_bytes()
}
