//! Labs as nodes of a cluster: container engines in them, the network between them and this
//! machine, and the disks that machines inside them boot from.

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use vfioctl_tests::lab::{Lab, OUTSIDE, OUTSIDE_PORTS, Profile};

    const LIMIT: Duration = Duration::from_secs(60);
    const PORT: u16 = OUTSIDE_PORTS[0];

    fn run(lab: &Lab, script: &str) -> String {
        lab.run(script, LIMIT).unwrap().success().unwrap()
    }

    fn restore() -> Lab {
        Lab::restore(Profile::Plain).unwrap()
    }

    /// Serves every connection with `serve`, each in a thread of its own, and returns the port.
    fn listen(serve: fn(TcpStream)) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
        port
    }

    fn echo(stream: TcpStream) {
        let _ = std::io::copy(&mut &stream, &mut &stream);
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn connect(address: SocketAddr) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        BufReader::new(stream)
    }

    fn ask(peer: &mut BufReader<TcpStream>, question: &str) -> String {
        writeln!(peer.get_mut(), "{question}").unwrap();
        let mut answer = String::new();
        peer.read_line(&mut answer).unwrap();
        answer
    }

    #[test]
    fn many_connections_lead_out_side_by_side_and_lose_nothing() {
        let lab = restore();
        lab.lead_out(PORT, Some(listen(echo))).unwrap();
        let text = run(
            &lab,
            &format!(
                "cd $(mktemp -d); target=tcp:{OUTSIDE}:{PORT}
                # One that lives as long as all the others together.
                exec 3<>/dev/tcp/outside/{PORT}
                head -c 300000 /dev/urandom >sent
                for i in $(seq 20); do socat -t 30 - $target <sent >back-$i & jobs+=\" $!\"; done
                echo first >&3
                wait $jobs
                for i in $(seq 20); do cmp sent back-$i || exit; done
                for i in $(seq 30); do
                    [ \"$(echo again $i | socat -t 30 - $target)\" = \"again $i\" ] || exit
                done
                echo last >&3; head -n 2 <&3"
            ),
        );
        assert_eq!(text, "first\nlast\n");
    }

    #[test]
    fn where_nobody_listens_connections_end_at_once() {
        let lab = restore();
        let script = format!("timeout 20 socat -t 1 - tcp:{OUTSIDE}:{PORT} </dev/null; echo $?");
        assert_eq!(run(&lab, &script), "0\n");
        lab.lead_out(PORT, Some(listen(echo))).unwrap();
        lab.lead_out(PORT, None).unwrap();
        assert_eq!(run(&lab, &script), "0\n");
        assert!(lab.lead_out(1, None).is_err());
    }

    #[test]
    fn nothing_else_is_reached_from_the_lab() {
        let lab = restore();
        let port = listen(echo);
        for address in ["10.0.2.2", "10.0.2.3", "192.0.2.1"] {
            let output = lab.run(
                &format!("timeout 5 bash -c 'echo >/dev/tcp/{address}/{port}'"),
                LIMIT,
            );
            assert_ne!(output.unwrap().rc, 0, "{address} was reached");
        }
    }

    #[test]
    fn ports_lead_into_the_lab() {
        let lab = restore();
        run(
            &lab,
            "socat tcp-listen:7000,fork,reuseaddr exec:cat </dev/null >/dev/null 2>&1 &
            until ss -ltn | grep -q :7000; do sleep .1; done",
        );
        let address = lab.lead_in(7000).unwrap();
        let mut peers: Vec<_> = (0..10).map(|_| connect(address)).collect();
        for (i, peer) in peers.iter_mut().enumerate() {
            assert_eq!(ask(peer, &format!("number {i}")), format!("number {i}\n"));
        }
    }

    #[test]
    fn network_that_is_cut_is_silent_until_it_is_mended() {
        let lab = restore();
        lab.lead_out(PORT, Some(listen(echo))).unwrap();
        let open = format!("exec 3<>/dev/tcp/{OUTSIDE}/{PORT}; echo before >&3; head -n 1 <&3");
        let script = format!(
            "{open}; touch /run/open; until [ -e /run/cut ]; do sleep .1; done
            echo during >&3; read -t 2 line <&3 && echo heard $line; touch /run/waited
            read -t 60 line <&3 && echo heard $line"
        );
        let text = std::thread::scope(|scope| {
            let talk = scope.spawn(|| run(&lab, &script));
            run(&lab, "until [ -e /run/open ]; do sleep .1; done");
            lab.cut_network().unwrap();
            let fails = format!("timeout 5 bash -c '{open}'");
            assert_ne!(lab.run(&fails, LIMIT).unwrap().rc, 0);
            run(
                &lab,
                "touch /run/cut; until [ -e /run/waited ]; do sleep .1; done",
            );
            lab.mend_network().unwrap();
            talk.join().unwrap()
        });
        assert_eq!(text, "before\nheard during\n");
    }

    #[test]
    fn two_labs_are_two_nodes() {
        let identity = "hostname; cat /etc/machine-id; ip route get 10.0.2.100 | head -n 1
            cat /sys/bus/virtio/drivers/virtio_net/virtio*/net/*/address
            head -c 16 /dev/urandom | od -An -tx1";
        let port = listen(|mut stream| {
            let mut name = String::new();
            BufReader::new(&stream).read_line(&mut name).unwrap();
            write!(stream, "welcome {name}").unwrap();
        });
        let texts = ["node1", "node2"].map(|name| {
            let lab = restore();
            lab.become_node(name).unwrap();
            lab.lead_out(PORT, Some(port)).unwrap();
            (lab, name)
        });
        let texts = texts.each_ref().map(|(lab, name)| {
            let hello = format!("exec 3<>/dev/tcp/outside/{PORT}; hostname >&3; cat <&3");
            assert_eq!(run(lab, &hello), format!("welcome {name}\n"));
            run(lab, identity)
        });
        for (one, two) in texts[0].lines().zip(texts[1].lines()) {
            assert!(one != two || one.starts_with("10.0.2.100 dev"), "{texts:?}");
        }
    }

    #[test]
    fn restored_labs_draw_different_random_numbers() {
        let draw = || run(&restore(), "head -c 16 /dev/urandom | od -An -tx1");
        assert_ne!(draw(), draw());
    }
}
