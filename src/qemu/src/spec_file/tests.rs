//! Whole files and what is said about broken ones.

use super::*;

fn parse(text: &str) -> Result<MachineSpec, SpecFileError> {
    parse_spec(text, Path::new("/srv/vm"))
}

fn path(text: &str) -> FilePath {
    FilePath::new(text).unwrap()
}

#[test]
fn a_full_file_is_read() {
    let text = r#"
name = "gaming"
memory = "16GiB"
cores = 8
firmware = "uefi"
devices = ["0000:01:00.0", "02:00.0"]
network = "user"
forwards = ["2222:22", "0.0.0.0:8080:80"]

[uefi]
code = "/fw/code.fd"
variables = "vars.fd"

[[disks]]
path = "../a,b.qcow2"
format = "qcow2"

[[disks]]
path = "/dev/sdb"
format = "raw"
read_only = true
"#;
    let disk = |at: &str, format, read_only| Disk {
        path: path(at),
        format,
        read_only,
    };
    assert_eq!(
        parse(text),
        Ok(MachineSpec {
            name: "gaming".parse().unwrap(),
            memory_mib: 16384,
            cores: 8,
            boot: Boot::Uefi {
                code: path("/fw/code.fd"),
                variables: Some(path("/srv/vm/vars.fd"))
            },
            disks: vec![
                disk("/srv/vm/../a,b.qcow2", DiskFormat::Qcow2, false),
                disk("/dev/sdb", DiskFormat::Raw, true),
            ],
            devices: vec![
                "0000:01:00.0".parse().unwrap(),
                "0000:02:00.0".parse().unwrap()
            ],
            network: Network::User {
                forwards: vec![
                    "2222:22".parse().unwrap(),
                    "0.0.0.0:8080:80".parse().unwrap()
                ]
            },
        })
    );
}

#[test]
fn a_short_file_has_defaults() {
    let text = "name = 'k'\nmemory = 512\n[kernel]\nimage = 'vmlinuz'\nappend = 'quiet'\n";
    assert_eq!(
        parse(text),
        Ok(MachineSpec {
            name: "k".parse().unwrap(),
            memory_mib: 512,
            cores: 1,
            boot: Boot::Kernel {
                image: path("/srv/vm/vmlinuz"),
                initrd: None,
                append: "quiet".into()
            },
            disks: Vec::new(),
            devices: Vec::new(),
            network: Network::None,
        })
    );
}

/// What is said: line, key, kind and the whole message.
fn told(text: &str) -> (Option<usize>, Option<String>, SpecFileErrorKind, String) {
    let error = parse(text).unwrap_err();
    assert!(!error.hint().is_empty());
    (
        error.line(),
        error.key().map(str::to_owned),
        error.kind(),
        error.to_string(),
    )
}

#[test]
fn a_network_stream_has_a_socket() {
    let text = "network = 'stream'\nsocket = 'passt.sock'\n[kernel]\nimage = 'a'\n";
    let socket = path("/srv/vm/passt.sock");
    assert_eq!(
        parse(&file_with(text)).map(|spec| spec.network),
        Ok(Network::Stream { socket })
    );
    let long = format!("network = 'stream'\nsocket = '/{}'\n", "s".repeat(107));
    let error = parse(&file_with(&(long + "[kernel]\nimage = 'a'\n"))).unwrap_err();
    assert_eq!((error.line(), error.key()), (Some(4), Some("socket")));
}

/// A good file with one line added or put in the place of another.
fn file_with(lines: &str) -> String {
    let mut text = String::from("name = 'm'\nmemory = 512\n");
    text.push_str(lines);
    text
}

#[test]
fn each_mistake_is_told_with_line_key_and_what_is_allowed() {
    use SpecFileErrorKind::{Combination, Form, Value};
    let cases = [
        (
            "core = 2\n",
            3,
            "core",
            Form,
            "unknown field 'core', expected one of 'name', 'memory', 'cores', 'firmware', 'kernel', 'uefi', 'disks', 'devices', 'network', 'forwards', 'socket'",
        ),
        (
            "cores = \"2\"\n",
            3,
            "cores",
            Form,
            "invalid type: string \"2\", expected u32",
        ),
        (
            "cores = -1\n",
            3,
            "cores",
            Form,
            "invalid value: integer '-1', expected u32",
        ),
        (
            "cores = 0\n[kernel]\nimage = 'a'\n",
            3,
            "cores",
            Value,
            "0 cores are outside 1 to 288",
        ),
        (
            "firmware = 'efi'\n",
            3,
            "firmware",
            Form,
            "unknown variant 'efi', expected 'bios' or 'uefi'",
        ),
        (
            "firmware = 'uefi'\n",
            3,
            "firmware",
            Combination,
            "there is no table [uefi] that names the firmware",
        ),
        (
            "network = 'bridge'\n",
            3,
            "network",
            Form,
            "unknown variant 'bridge', expected one of 'none', 'user', 'stream'",
        ),
        (
            "network = 'user'\nforwards = ['22']\n",
            4,
            "forwards",
            Value,
            "'22' is not [ADDRESS:]PORT:GUEST_PORT, with an IPv4 address and ports from 1 to 65535",
        ),
        (
            "network = 'user'\nforwards = [\n  '1:22',\n  '1:80',\n]\n[kernel]\nimage = 'a'\n",
            6,
            "forwards",
            Value,
            "port 1 of 127.0.0.1 is forwarded twice",
        ),
        (
            "forwards = ['2222:22']\n",
            3,
            "forwards",
            Combination,
            "only the network \"user\" has forwards",
        ),
        (
            "network = 'stream'\n",
            3,
            "network",
            Combination,
            "the network \"stream\" needs a socket",
        ),
        (
            "network = 'user'\nsocket = '/s'\n",
            4,
            "socket",
            Combination,
            "only the network \"stream\" has a socket",
        ),
        (
            "[kernel]\nimage = 'a'\n[uefi]\ncode = 'b'\n",
            5,
            "[uefi]",
            Combination,
            "a machine starts from a kernel or from UEFI, not from both",
        ),
        (
            "devices = [\n  '01:00.0',\n  '01:00',\n]\n",
            5,
            "devices",
            Value,
            "an address has the form 'domain:bus:device.function', as '0000:01:00.0'",
        ),
        (
            "devices = ['01:00.0', '0000:01:00.0']\n[kernel]\nimage = 'a'\n",
            3,
            "devices",
            Value,
            "0000:01:00.0 is named twice",
        ),
        (
            "[[disks]]\npath = '~/a'\nformat = 'raw'\n",
            4,
            "path",
            Value,
            "a path is absolute or relative to the file's folder; '~' is not replaced here",
        ),
        (
            "[[disks]]\npath = \"a\\nb\"\nformat = 'raw'\n",
            4,
            "path",
            Value,
            "'/srv/vm/a\\nb' is not an absolute path without control characters",
        ),
        (
            "[[disks]]\npath = 'a'\nformat = 'vmdk'\n",
            5,
            "format",
            Form,
            "unknown variant 'vmdk', expected 'raw' or 'qcow2'",
        ),
        (
            "[kernel]\nimage = 'a'\nappend = \"a\\u0000\"\n",
            5,
            "append",
            Value,
            "the kernel command line is longer than 2048 bytes or has control characters in it",
        ),
    ];
    for (lines, line, key, kind, message) in cases {
        let message = format!("line {line}: '{key}': {message}");
        let expected = (Some(line), Some(key.to_owned()), kind, message);
        assert_eq!(told(&file_with(lines)), expected, "{lines}");
    }
}

#[test]
fn what_is_missing_is_told_without_a_key_of_another() {
    use SpecFileErrorKind::{Combination, Form};
    let message = "there is neither a disk nor a kernel to start from";
    assert_eq!(
        told(&file_with("")),
        (None, None, Combination, message.into())
    );
    let message = "line 3: missing field 'format'";
    assert_eq!(
        told(&file_with("[[disks]]\npath = 'a'\n")),
        (Some(3), None, Form, message.into())
    );
    let message = "the file is longer than 65536 bytes";
    assert_eq!(
        told(&"#".repeat(SPEC_FILE_BYTES + 1)),
        (None, None, Form, message.into())
    );
}

#[test]
fn memory_is_told_whatever_its_form() {
    for value in ["'16GB'", "1.5", "-1", "true", "[1]", "''"] {
        let text = format!("name = 'm'\nmemory = {value}\n[kernel]\nimage = 'a'\n");
        let message =
            "line 2: 'memory': memory is given as '16GiB', '512MiB', or a whole number of MiB";
        assert_eq!(told(&text).3, message, "{value}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let deep = format!("name = {}", "[".repeat(30_000));
    for text in [
        "",
        "=",
        "name",
        "[[",
        "\u{0}",
        "é = 1",
        "name = \"é",
        "\r",
        deep.as_str(),
    ] {
        assert_eq!(told(text).2, SpecFileErrorKind::Form, "{text:.20}");
    }
}
