//! The lab itself: that it starts, and is what `tests/lab/README.md` says. What else is tested in
//! it can be believed only after this.

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use vfioctl_tests::lab::{BootFile, BootOptions, EDU, GUEST, Lab, Profile};

    const LIMIT: Duration = Duration::from_secs(60);

    /// Ten times what it takes on an idle machine.
    const RESTORE_LIMIT: Duration = Duration::from_secs(15);

    const BIND: &str = "bind() {
        cd /sys/bus/pci
        echo vfio-pci >devices/$1/driver_override
        [ ! -e devices/$1/driver ] || echo $1 >devices/$1/driver/unbind
        echo $1 >drivers/vfio-pci/bind
    }
    modprobe vfio-pci";

    fn run(lab: &Lab, script: &str) -> String {
        lab.run(script, LIMIT).unwrap().success().unwrap()
    }

    fn restore() -> Lab {
        Lab::restore(Profile::Plain).unwrap()
    }

    /// Names the members of a device's group, or nothing where it is in none.
    fn group_of(lab: &Lab, address: &str) -> String {
        run(
            lab,
            &format!("cd /sys/bus/pci/devices/0000:{address}; ls -m iommu_group/devices || :"),
        )
        .lines()
        .filter(|line| !line.contains("cannot access"))
        .map(|line| line.replace("0000:", ""))
        .collect()
    }

    #[test]
    fn restored_lab_answers_soon_and_knows_the_time() {
        drop(restore()); // the first one may have to be built
        let start = Instant::now();
        let lab = restore();
        assert!(
            start.elapsed() < RESTORE_LIMIT,
            "it took {:?}",
            start.elapsed()
        );
        let host = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let guest: u64 = run(&lab, "date +%s").trim().parse().unwrap();
        assert!(
            guest.abs_diff(host.as_secs()) < 10,
            "{guest} here, {host:?} outside"
        );
    }

    #[test]
    fn groups_are_as_designed() {
        let lab = restore();
        let of = |address| group_of(&lab, address);
        assert_eq!(of("01:00.0"), "01:00.0, 01:00.1");
        assert_eq!(of("02:00.0"), "02:00.0, 02:00.1");
        assert_eq!(of("03:00.0"), "00:05.0, 00:05.1, 03:00.0, 04:00.0");
        assert_eq!(of("07:00.0"), "06:00.0, 07:00.0");
        assert_eq!(of("08:00.0"), "06:01.0, 08:00.0");
        assert_eq!(of("09:00.0"), "09:00.0");
        assert_eq!(of("0c:00.0"), "0c:00.0");
        assert_eq!(of("0d:00.0"), "0d:00.0");
        assert_eq!(of("81:00.0"), "");
    }

    #[test]
    fn lab_lives_on_a_disk_and_a_card_of_their_own() {
        let lab = restore();
        assert_eq!(run(&lab, "findmnt -no FSTYPE /").trim(), "overlay");
        let disk = run(
            &lab,
            "realpath /sys/class/block/$(findmnt -no SOURCE /srv | xargs basename)",
        );
        assert!(disk.contains("/0000:0c:00.0/"), "{disk}");
        let card = run(
            &lab,
            "realpath /sys/class/net/$(ip route | sed -n 's/^default.* dev \\([^ ]*\\).*/\\1/p')",
        );
        assert!(card.contains("/0000:0d:00.0/"), "{card}");
    }

    #[test]
    fn people_are_there_and_scripts_run_as_them() {
        let lab = restore();
        for (user, uid) in [("alice", 1001), ("bob", 1002), ("carol", 1003)] {
            let output = lab
                .run_as(user, "id -u; echo \"$HOME\" 'as is'", LIMIT)
                .unwrap();
            assert_eq!(
                output.success().unwrap(),
                format!("{uid}\n/home/{user} as is\n")
            );
        }
    }

    #[test]
    fn kernel_has_nothing_to_complain_about() {
        let text = run(&restore(), "dmesg");
        for word in ["BUG", "WARNING", "Call Trace", "Oops"] {
            assert!(!text.contains(word), "{text}");
        }
    }

    #[test]
    fn script_is_ended_after_its_time_and_may_leave_children() {
        let lab = restore();
        let output = lab
            .run("echo first; sleep 100", Duration::from_secs(1))
            .unwrap();
        assert!(output.is_timed_out());
        assert_eq!(output.text, "first\n");
        let start = Instant::now();
        assert_eq!(run(&lab, "sleep 100 & echo here"), "here\n");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn scripts_run_side_by_side() {
        let lab = restore();
        std::thread::scope(|scope| {
            // Each waits for the other; one after the other they would never end.
            let one =
                scope.spawn(|| run(&lab, "touch /run/1; until [ -e /run/2 ]; do sleep .1; done"));
            let two =
                scope.spawn(|| run(&lab, "touch /run/2; until [ -e /run/1 ]; do sleep .1; done"));
            assert_eq!(
                (one.join().unwrap(), two.join().unwrap()),
                (String::new(), String::new())
            );
        });
    }

    #[test]
    fn nested_guest_uses_devices_and_reaches_no_memory_but_its_own() {
        let lab = restore();
        lab.rescan(EDU).unwrap();
        let text = run(
            &lab,
            &format!(
                "{BIND}
                for device in {EDU} 0000:01:00.0 0000:01:00.1; do bind $device; done
                qemu-system-x86_64 -nodefaults -machine q35,accel=tcg -m 64 -display none \
                    -serial stdio -kernel {GUEST} -device vfio-pci,host={EDU},addr=4.0 \
                    -device vfio-pci,host=0000:01:00.0,addr=5.0,multifunction=on \
                    -device vfio-pci,host=0000:01:00.1,addr=5.1"
            ),
        );
        assert!(text.contains("RESULT tests=10 fails=0"), "{text}");
        let foreign = text
            .split("edu.dma_foreign sent to ")
            .nth(1)
            .unwrap()
            .get(..8)
            .unwrap();
        let fault = run(&lab, "dmesg | grep 'DMAR: .DMA Write'");
        let address = foreign.trim_start_matches('0');
        assert!(
            fault.contains(&format!("[09:00.0] fault addr 0x{address}")),
            "{fault}"
        );
    }

    #[test]
    fn power_button_ends_a_guest_that_waits() {
        let text = run(
            &restore(),
            &format!(
                "cd $(mktemp -d)
                qemu-system-x86_64 -nodefaults -machine q35,accel=tcg -m 64 -display none \
                    -serial file:log -qmp unix:qmp,server=on,wait=off -kernel {GUEST} -append wait &
                until grep -q WAITING log; do sleep .2; done
                echo '{{\"execute\":\"qmp_capabilities\"}}{{\"execute\":\"system_powerdown\"}}' |
                    socat -t 5 - unix-connect:qmp >/dev/null
                wait $! && cat log"
            ),
        );
        assert!(text.ends_with("WAITING\nPOWER BUTTON\n"), "{text}");
    }

    #[test]
    fn vendor_profile_shows_other_cards() {
        let lab = Lab::restore(Profile::Vendor).unwrap();
        let text = run(&lab, "lspci -nn");
        for card in [
            "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [GeForce RTX 4090]",
            "01:00.1 Audio device [0403]: NVIDIA Corporation AD102",
            "02:00.0 3D controller [0302]: NVIDIA Corporation",
            "03:00.0 VGA compatible controller [0300]: Advanced Micro Devices",
            "04:00.0 VGA compatible controller [0300]: Intel Corporation DG2 [Arc A770]",
        ] {
            assert!(text.contains(card), "no {card} in {text}");
        }
        assert!(text.contains("[10de:2684]"));
        let driver = run(
            &lab,
            "modprobe nvidia ids=10de:2684; cd /sys/bus/pci/devices; realpath 0000:01:00.0/driver",
        );
        assert!(driver.ends_with("/nvidia\n"), "{driver}");
    }

    #[test]
    fn driver_with_faults_binds_fails_and_hangs_as_asked() {
        let lab = restore();
        lab.rescan(EDU).unwrap();
        let bind = format!("echo {EDU} >/sys/bus/pci/drivers/hangdrv/bind");
        run(&lab, "modprobe hangdrv ids=1234:11e8 probe_errno=16");
        assert_eq!(lab.run(&bind, LIMIT).unwrap().rc, 1);
        run(
            &lab,
            &format!("echo 0 >/sys/module/hangdrv/parameters/probe_errno; {bind}"),
        );
        let unbind = format!(
            "exec 9</dev/fakegpu-{EDU}
            (exec 9<&-; echo {EDU} >/sys/bus/pci/drivers/hangdrv/unbind; touch /run/unbound) &
            sleep 1; [ ! -e /run/unbound ]; grep -H State /proc/$!/status
            exec 9<&-; wait; [ -e /run/unbound ]"
        );
        assert!(run(&lab, &unbind).contains("D (disk sleep)"));
    }

    #[test]
    fn disk_with_virtual_functions_can_be_added() {
        let lab = restore();
        let disk = serde_json::json!({
            "driver": "nvme", "id": "disk", "bus": "rp6", "subsys": "sub0", "serial": "lab",
            "sriov_max_vfs": 4, "sriov_vq_flexible": 8, "sriov_vi_flexible": 4,
            "max_ioqpairs": 26, "msix_qsize": 25,
        });
        lab.qmp("device_add", disk).unwrap();
        let text = run(
            &lab,
            "cd /sys/bus/pci/devices
            until [ -e 0000:0a:00.0/driver ]; do sleep .1; done
            cd 0000:0a:00.0
            echo 0 >sriov_drivers_autoprobe; echo 4 >sriov_numvfs
            for i in 0 1 2 3; do ls virtfn$i/iommu_group/devices; done",
        );
        assert_eq!(
            text,
            "0000:0a:00.1\n0000:0a:00.2\n0000:0a:00.3\n0000:0a:00.4\n"
        );
    }

    #[test]
    fn real_boot_takes_files_and_arguments() {
        let options = BootOptions {
            kernel: None,
            kernel_args: vec!["lab.test=1".to_owned()],
            files: vec![BootFile {
                path: "/etc/lab/test".into(),
                content: b"here\n".to_vec(),
                mode: 0o640,
            }],
            hook: Some("touch /new/etc/lab/hooked".to_owned()),
        };
        let lab = Lab::boot(Profile::Plain, &options).unwrap();
        let text = run(
            &lab,
            "systemctl is-system-running; cd /etc/lab; cat test; stat -c %a *",
        );
        assert_eq!(text, "running\nhere\n644\n640\n");
        assert!(run(&lab, "cat /proc/cmdline").contains("lab.test=1"));
    }
}
