//! The filter: what a guest may not send into the network.
//!
//! A guest is somebody else on the network, and passt speaks for it with this node's own sockets. Some
//! versions connect wherever a frame says (measured with Debian 12's: a guest that routes 127.0.0.1 to
//! its network card reaches every server that listens on the node's loopback only, and those that a
//! firewall keeps from the network; `--no-map-gw` and `--outbound-if4` change nothing about it). So
//! frames that are meant for the node itself stop here.
//!
//! Frames are Ethernet II (IEEE 802.3, section 3.2.6) with IPv4 (RFC 791, section 3.1) or IPv6 (RFC 8200,
//! section 3) in them; places of fields are those of these documents.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

const HEADER: usize = 14;
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Addresses whose answer is remembered: a guest that scans the world must not fill the memory.
const MAX_REMEMBERED: usize = 4096;
/// How long an answer counts: addresses of a node change when its network does.
const REMEMBERED: Duration = Duration::from_secs(10);

/// What a guest may send.
#[derive(Debug)]
pub(super) struct Filter<L> {
    is_local: L,
    remembered: HashMap<IpAddr, (bool, Instant)>,
}

/// Where a packet goes, and how it begins.
struct Packet {
    target: IpAddr,
    kind: Kind,
}

enum Kind {
    /// Of a connection, with its flags.
    Tcp(u8),
    /// A question whether somebody is there, or an error.
    Control,
    /// Anything else, and what is in parts.
    Other,
}

impl<L: FnMut(IpAddr) -> bool> Filter<L> {
    /// A filter that tells by this whether an address is the node's own.
    pub(super) fn new(is_local: L) -> Self {
        Self {
            is_local,
            remembered: HashMap::new(),
        }
    }

    /// Whether a frame may go into the network.
    pub(super) fn lets_pass(&mut self, frame: &[u8]) -> bool {
        match read_number(frame, 12) {
            // The network answers these itself.
            Some(ARP) => true,
            Some(IPV4) => frame
                .get(HEADER..)
                .and_then(read_ipv4)
                .is_some_and(|packet| self.lets_packet_pass(&packet)),
            Some(IPV6) => frame
                .get(HEADER..)
                .and_then(read_ipv6)
                .is_some_and(|packet| self.lets_packet_pass(&packet)),
            // Nothing that passt would look at.
            _ => false,
        }
    }

    fn lets_packet_pass(&mut self, packet: &Packet) -> bool {
        if is_loopback(packet.target) {
            return false;
        }
        match packet.kind {
            Kind::Control => true,
            // Who connects to the guest may be the node itself, by another address of its own: then the
            // guest answers there. It must not begin there.
            Kind::Tcp(flags) if flags & SYN == 0 || flags & ACK != 0 => true,
            Kind::Tcp(_) | Kind::Other => !self.is_of_node(packet.target),
        }
    }

    fn is_of_node(&mut self, address: IpAddr) -> bool {
        if let IpAddr::V6(address) = address
            && is_link_local(address)
        {
            // Which card is meant does not stand in it, so it may always be one of the node's.
            return true;
        }
        let now = Instant::now();
        if let Some((is_local, asked)) = self.remembered.get(&address)
            && now.duration_since(*asked) < REMEMBERED
        {
            return *is_local;
        }
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.clear();
        }
        let is_local = (self.is_local)(address);
        self.remembered.insert(address, (is_local, now));
        is_local
    }
}

/// Whether an address is this node's, as the kernel sees it: it would send there from that address
/// itself, or by the loopback. Nothing is sent.
pub(super) fn is_local(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The port means nothing; 0 is refused by some versions.
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    // Where it cannot be sent to, there is nobody; a broadcast is such a case.
    source.is_ok_and(|source| source.ip() == address || source.ip().is_loopback())
}

/// Addresses that mean the sender itself, whoever that is. Linux takes 0.0.0.0 for 127.0.0.1.
fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.octets().first() == Some(&0),
        // ::1, ::, and IPv4 in IPv6, by which a socket of IPv6 speaks IPv4.
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, ..] = address.segments();
            [a, b, c, d, e] == [0; 5] && (f == 0 || f == 0xffff)
        }
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    first & 0xffc0 == 0xfe80
}

fn read_ipv4(packet: &[u8]) -> Option<Packet> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 {
        return None;
    }
    let target: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    // "More fragments", or an offset.
    let is_part = read_number(packet, 6)? & 0x3fff != 0;
    let kind = match *packet.get(9)? {
        _ if is_part => Kind::Other,
        TCP => Kind::Tcp(*packet.get(header + 13)?),
        ICMP => Kind::Control,
        _ => Kind::Other,
    };
    Some(Packet {
        target: Ipv4Addr::from(target).into(),
        kind,
    })
}

fn read_ipv6(packet: &[u8]) -> Option<Packet> {
    if packet.first()? >> 4 != 6 {
        return None;
    }
    let target: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    // What is behind other headers is seen as something else, which goes anywhere but to the node.
    let kind = match *packet.get(6)? {
        TCP => Kind::Tcp(*packet.get(40 + 13)?),
        ICMPV6 => Kind::Control,
        _ => Kind::Other,
    };
    Some(Packet {
        target: Ipv6Addr::from(target).into(),
        kind,
    })
}

/// Two bytes, in the network's order.
fn read_number(bytes: &[u8], at: usize) -> Option<u16> {
    let two: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(two))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: u8 = 17;

    fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &[0x52; 6], &kind.to_be_bytes(), packet].concat()
    }

    /// A frame to an address; of TCP with these flags.
    fn frame(target: &str, protocol: u8, flags: u8) -> Vec<u8> {
        let mut rest = vec![0; 20];
        rest[13] = flags;
        match target.parse().unwrap() {
            IpAddr::V4(target) => {
                let mut header = vec![0; 20];
                header[0] = 0x45;
                header[9] = protocol;
                header[16..20].copy_from_slice(&target.octets());
                ethernet(IPV4, &[header, rest].concat())
            }
            IpAddr::V6(target) => {
                let mut header = vec![0; 40];
                header[0] = 0x60;
                header[6] = protocol;
                header[24..40].copy_from_slice(&target.octets());
                ethernet(IPV6, &[header, rest].concat())
            }
        }
    }

    /// Of a node with these two addresses.
    fn filter() -> Filter<impl FnMut(IpAddr) -> bool> {
        let own: [IpAddr; 2] = ["10.0.0.5", "fd00::5"].map(|text| text.parse().unwrap());
        Filter::new(move |address| own.contains(&address))
    }

    #[test]
    fn the_world_is_open() {
        for target in [
            "10.0.0.1",
            "192.0.2.1",
            "255.255.255.255",
            "224.0.0.251",
            "fd00::1",
            "2001:db8::1",
            "ff02::fb",
        ] {
            for (protocol, flags) in [(TCP, SYN), (TCP, ACK), (UDP, 0)] {
                assert!(
                    filter().lets_pass(&frame(target, protocol, flags)),
                    "{target} {protocol}"
                );
            }
        }
        assert!(filter().lets_pass(&ethernet(ARP, &[0; 28])));
    }

    #[test]
    fn the_loopback_is_closed_by_all_its_names() {
        for target in [
            "127.0.0.1",
            "127.0.0.53",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "::1",
            "::",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
        ] {
            for (protocol, flags) in [(TCP, SYN), (TCP, ACK), (UDP, 0), (ICMP, 0), (ICMPV6, 0)] {
                assert!(
                    !filter().lets_pass(&frame(target, protocol, flags)),
                    "{target} {protocol}"
                );
            }
        }
    }

    #[test]
    fn the_node_is_answered_and_never_called() {
        for target in ["10.0.0.5", "fd00::5", "fe80::1", "febf::1"] {
            for (protocol, flags, passes) in [
                (TCP, SYN, false),
                (TCP, SYN | 0x01, false),
                (TCP, SYN | 0x20, false),
                (TCP, SYN | ACK, true),
                (TCP, ACK, true),
                (TCP, 0x04, true),
                (UDP, 0, false),
            ] {
                assert_eq!(
                    filter().lets_pass(&frame(target, protocol, flags)),
                    passes,
                    "{target} {protocol} {flags:#x}"
                );
            }
        }
        assert!(filter().lets_pass(&frame("10.0.0.5", ICMP, 0)));
        assert!(filter().lets_pass(&frame("fe80::1", ICMPV6, 0)));
    }

    #[test]
    fn a_call_in_parts_or_behind_options_is_a_call() {
        let mut parts = frame("10.0.0.5", TCP, ACK);
        parts[HEADER + 6] = 0x20;
        assert!(!filter().lets_pass(&parts));
        let mut rest = frame("10.0.0.5", TCP, ACK);
        rest[HEADER + 7] = 0x01;
        assert!(!filter().lets_pass(&rest));
        // Eight bytes of options: flags are where the header says.
        let mut options = frame("10.0.0.5", TCP, 0);
        options[HEADER] = 0x47;
        options.extend([0; 8]);
        assert!(filter().lets_pass(&options));
        options[HEADER + 28 + 13] = SYN;
        assert!(!filter().lets_pass(&options));
        let behind = frame("fd00::5", 0, ACK);
        assert!(!filter().lets_pass(&behind), "a header before it");
    }

    #[test]
    fn what_is_no_frame_does_not_pass() {
        let whole = frame("10.0.0.1", TCP, ACK);
        for len in 0..HEADER + 20 + 13 {
            assert!(!filter().lets_pass(&whole[..len]), "{len} bytes");
        }
        let mut short = frame("10.0.0.1", TCP, ACK);
        short[HEADER] = 0x44;
        assert!(!filter().lets_pass(&short));
        let mut other = frame("10.0.0.1", TCP, ACK);
        other[HEADER] = 0x65;
        assert!(!filter().lets_pass(&other));
        // A frame with a tag of a VLAN, or of another protocol.
        for kind in [0x8100, 0x88cc, 0x0600, 60] {
            assert!(!filter().lets_pass(&ethernet(kind, &whole[HEADER..])));
        }
    }

    #[test]
    fn an_answer_is_remembered_and_not_without_end() {
        let mut asked = 0_u32;
        let mut filter = Filter::new(|_| {
            asked += 1;
            false
        });
        for _ in 0..3 {
            filter.lets_pass(&frame("10.0.0.1", TCP, SYN));
        }
        for low in 0..=u16::try_from(MAX_REMEMBERED).unwrap() {
            let [high, low] = low.to_be_bytes();
            filter.lets_pass(&frame(&format!("10.9.{high}.{low}"), UDP, 0));
        }
        assert!(filter.remembered.len() <= MAX_REMEMBERED);
        drop(filter);
        assert_eq!(asked, 4098);
    }

    #[test]
    fn the_loopback_is_the_nodes_own_and_documentation_is_not() {
        assert!(is_local("127.0.0.1".parse().unwrap()));
        assert!(is_local("127.0.0.53".parse().unwrap()));
        // Reserved for documentation (RFC 5737): nobody has it.
        assert!(!is_local("203.0.113.77".parse().unwrap()));
        assert!(!is_local("255.255.255.255".parse().unwrap()));
    }
}
