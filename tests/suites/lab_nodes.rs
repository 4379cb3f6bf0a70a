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
        let port = listen(echo);
        let text = run(
            &restore(),
            &format!(
                "for address in 10.0.2.2 10.0.2.3 192.0.2.1; do
                    timeout 5 bash -c \"echo >/dev/tcp/$address/{port}\" && echo $address &
                done 2>/dev/null
                wait"
            ),
        );
        assert_eq!(text, "");
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
        let identity = "hostname; cat /etc/machine-id
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
            assert_ne!(one, two, "{texts:?}");
        }
    }

    #[test]
    fn restored_lab_knows_that_its_random_numbers_are_not_its_own() {
        let text = run(
            &restore(),
            "dmesg | grep -c 'crng reseeded due to virtual machine fork'",
        );
        assert_eq!(text, "1\n");
    }

    /// The node of the card at an address; the numbers of nodes depend on who was first.
    const NODE_OF: &str = "node_of() { readlink -f /dev/dri/by-path/pci-0000:$1-card; }
        number_of() { stat -c %t:%T $1; }";

    fn restore_engines() -> Lab {
        Lab::restore(Profile::Engines).unwrap()
    }

    #[test]
    fn both_engines_run_a_container_soon_and_python_in_it() {
        let lab = restore_engines();
        for engine in ["docker", "podman"] {
            let text = run(
                &lab,
                &format!(
                    "{engine} run --rm --network=host localhost/lab:1 echo hello
                    echo 'import os; print(os.environ[\"WORD\"], 2**64)' >/tmp/train.py
                    {engine} run --rm --network=host -v /tmp:/work -w /work -e WORD=trained \
                        localhost/lab-python:1 python train.py"
                ),
            );
            assert_eq!(text, "hello\ntrained 18446744073709551616\n", "{engine}");
        }
    }

    #[test]
    fn engines_answer_at_their_sockets_and_alice_may_use_neither() {
        let lab = restore_engines();
        let text = run(
            &lab,
            "for socket in docker.sock podman/podman.sock; do
                curl -s --unix-socket /run/$socket http://engine/_ping; echo
            done
            stat -c '%U:%G %a' /run/docker.sock; systemctl is-system-running",
        );
        assert_eq!(text, "OK\nOK\nroot:docker 660\nrunning\n");
        let ask = "curl -s --unix-socket /run/docker.sock http://engine/_ping";
        assert_ne!(lab.run_as("alice", ask, LIMIT).unwrap().rc, 0);
    }

    #[test]
    fn containers_share_a_card_and_see_no_other() {
        let lab = restore_engines();
        for engine in ["docker", "podman"] {
            let text = run(
                &lab,
                &format!(
                    "{NODE_OF}
                    card=$(node_of 02:00.0)
                    for name in one two; do
                        {engine} run --detach --name $name --network=host --device $card \
                            localhost/lab:1 sleep 1000 >/dev/null || exit
                    done
                    for name in one two; do
                        {engine} exec $name sh -c \"ls /dev/dri; stat -c %t:%T $card; exec 3<>$card\" ||
                            exit
                    done
                    echo \"${{card##*/}} $(number_of $card)\"
                    {engine} kill one two >/dev/null && {engine} rm one two >/dev/null"
                ),
            );
            let (inside, outside) = text.trim_end().rsplit_once('\n').unwrap();
            let (card, number) = outside.split_once(' ').unwrap();
            assert_eq!(
                inside,
                format!("{card}\n{number}\n{card}\n{number}"),
                "{engine}"
            );
        }
    }

    #[test]
    fn container_has_its_card_while_another_is_on_vfio_pci() {
        let lab = restore_engines();
        let text = run(
            &lab,
            &format!(
                "{NODE_OF}
                card=$(node_of 02:00.0)
                modprobe vfio-pci; cd /sys/bus/pci
                echo vfio-pci >devices/0000:01:00.0/driver_override
                echo 0000:01:00.0 >drivers/bochs-drm/unbind; echo 0000:01:00.0 >drivers_probe
                basename $(readlink devices/0000:01:00.0/driver)
                [ -e $(node_of 01:00.0) ] && echo it has a node
                docker run --rm --network=host --device $card localhost/lab:1 \
                    sh -c \"exec 3<>$card && ls /dev/dri | wc -l\""
            ),
        );
        assert_eq!(text, "vfio-pci\n1\n");
    }

    #[test]
    fn containers_have_a_network_that_reaches_outside() {
        let lab = restore_engines();
        lab.lead_out(PORT, Some(listen(echo))).unwrap();
        for engine in ["docker", "podman"] {
            let text = run(
                &lab,
                &format!(
                    "{engine} run --rm localhost/lab:1 \
                        sh -c 'echo through | nc -w 20 {OUTSIDE} {PORT}'"
                ),
            );
            assert_eq!(text, "through\n", "{engine}");
        }
    }

    /// QEMU in the lab, as it would be for `-kernel`, but with a disk.
    fn boot_nested(disk: &str, options: &str) -> String {
        format!(
            "cd $(mktemp -d)
            qemu-img create -q -f qcow2 -F qcow2 -b /usr/local/share/lab/{disk} disk.qcow2
            qemu-system-x86_64 -nodefaults -machine q35,accel=tcg -m 64 -display none \
                -drive file=disk.qcow2,format=qcow2,if=virtio {options}"
        )
    }

    #[test]
    fn nested_machine_boots_from_a_disk_and_tests_its_devices() {
        let lab = restore();
        let boot = boot_nested("guest.qcow2", "-serial stdio -device bochs-display");
        let text = run(&lab, &boot);
        assert!(text.starts_with("GUEST up\n"), "{text}");
        assert!(text.contains(" 1234:1111 class 038000 "), "{text}");
        assert!(text.ends_with("RESULT tests=2 fails=0\n"), "{text}");
    }

    #[test]
    fn nested_machine_from_a_disk_obeys_the_power_button() {
        let options = "-serial file:log -qmp unix:qmp,server=on,wait=off &
            until grep -q WAITING log; do sleep .2; done
            echo '{\"execute\":\"qmp_capabilities\"}{\"execute\":\"system_powerdown\"}' |
                socat -t 5 - unix-connect:qmp >/dev/null
            wait $! && cat log";
        let text = run(&restore(), &boot_nested("guest-wait.qcow2", options));
        assert!(text.ends_with("WAITING\nPOWER BUTTON\n"), "{text}");
    }
}
