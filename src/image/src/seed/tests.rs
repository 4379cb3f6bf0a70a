use std::io::{Cursor, Read as _};

use serde_json::Value;

use super::sample::{OTHER_PUBLIC_KEY, PRIVATE_KEY, PUBLIC_KEY, seed};
use super::*;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn user_data(seed: &Seed) -> Value {
    let files = seed.files();
    parsed(files.user_data.strip_prefix("#cloud-config\n").unwrap())
}

#[test]
fn meta_data_and_network_are_as_they_were_written_down() {
    let files = seed().files();
    assert_eq!(
        files.meta_data,
        "{\n  \"instance-id\": \"vps-1\",\n  \"local-hostname\": \"guest\"\n}\n"
    );
    assert_eq!(
        parsed(&files.network_config),
        json!({"version": 2, "ethernets": {"first":
            {"match": {"name": "e*"}, "dhcp4": true, "dhcp6": true, "optional": true}}})
    );
    let known = Network::Dhcp(Some("52:54:00:12:34:56".parse().unwrap()));
    assert_eq!(
        known.config().pointer("/ethernets/first/match"),
        Some(&json!({"macaddress": "52:54:00:12:34:56"}))
    );
}

#[test]
fn user_data_makes_one_user_who_logs_in_by_key() {
    assert_eq!(
        user_data(&seed()),
        json!({
            "hostname": "guest",
            "manage_etc_hosts": "localhost",
            "disable_root": true,
            "ssh_pwauth": false,
            "ssh_deletekeys": true,
            "ssh_keys": {"ed25519_private": PRIVATE_KEY, "ed25519_public": PUBLIC_KEY},
            "users": [{
                "name": "alice",
                "shell": "/bin/bash",
                "lock_passwd": true,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [OTHER_PUBLIC_KEY],
            }],
        })
    );
}

#[test]
fn a_machine_that_nobody_may_log_in_to_has_its_user_all_the_same() {
    let closed = Seed {
        authorized_keys: AuthorizedKeys::nobody(),
        ..seed()
    };
    let data = user_data(&closed);
    assert_eq!(data.pointer("/users/0/name"), Some(&json!("alice")));
    assert_eq!(data.pointer("/users/0/ssh_authorized_keys"), None);
}

#[test]
fn a_comment_that_looks_like_yaml_stays_a_comment() {
    let line = format!("{OTHER_PUBLIC_KEY} \"]}}], \"runcmd\": [\"id\"], 'x': \\ # & *a !!python");
    let hostile = Seed {
        authorized_keys: AuthorizedKeys::new(vec![line.parse().unwrap()]).unwrap(),
        ..seed()
    };
    let data = user_data(&hostile);
    assert_eq!(data.get("runcmd"), None);
    assert_eq!(
        data.pointer("/users/0/ssh_authorized_keys"),
        Some(&json!([line]))
    );
    let plain = user_data(&seed());
    let keys = |data: &Value| {
        data.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&data), keys(&plain));
}

#[test]
fn the_driver_is_installed_by_a_unit_that_nothing_waits_for() {
    let with_driver = Seed {
        nvidia: Some("535.183.01".parse().unwrap()),
        ..seed()
    };
    let data = user_data(&with_driver);
    let command = data.pointer("/runcmd/0").unwrap();
    assert_eq!(command[0], "systemd-run");
    assert_eq!(command[1], "--no-block");
    assert_eq!(command[6], "535.183.01");
    assert_eq!(data.pointer("/write_files/0/path"), Some(&command[5]));
}

#[test]
fn the_disk_has_the_files_and_is_the_same_each_time() {
    let seed = seed();
    let disk = seed.to_disk().unwrap();
    assert_eq!(disk.len(), 1 << 20);
    assert!(disk == seed.to_disk().unwrap());
    let mut copy = disk;
    let system = fatfs::FileSystem::new(Cursor::new(&mut copy), fatfs::FsOptions::new()).unwrap();
    assert_eq!(system.volume_label(), "CIDATA");
    let root = system.root_dir();
    let read = |name: &str| {
        let mut text = String::new();
        root.open_file(name)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    let files = seed.files();
    assert_eq!(read("meta-data"), files.meta_data);
    assert_eq!(read("user-data"), files.user_data);
    assert_eq!(read("network-config"), files.network_config);
}

#[test]
fn the_largest_seed_has_room_on_its_disk() {
    let line = format!("{OTHER_PUBLIC_KEY} {}", "\"".repeat(4000));
    let large = Seed {
        authorized_keys: AuthorizedKeys::new(vec![line.parse().unwrap(); 64]).unwrap(),
        nvidia: Some("535.183.01".parse().unwrap()),
        ..seed()
    };
    assert!(large.files().user_data.len() > 500_000);
    assert!(large.to_disk().is_ok());
}

#[test]
fn the_file_is_for_its_owner_and_the_group_that_is_named() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.img");
    let mode = |group| {
        seed().write(&path, group).unwrap();
        std::fs::metadata(&path).unwrap().mode() & 0o7777
    };
    assert_eq!(mode(None), 0o600);
    assert_eq!(mode(Some(rustix::process::getegid().as_raw())), 0o640);
}
