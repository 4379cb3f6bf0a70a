//! An order and what it takes, for tests.

use vfioctl_api::{Order, TaskId, Wanted};
use vfioctl_image::Image;

use super::folder::Note;

const KEY: &str = "ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIC62bhj4BnZkCBvJFH4iwsBg7GTyARVlOSQNC4bFqICn ann@example";

/// The guide's machine: 16 GiB, 8 cores, the first GPU.
pub(super) fn order() -> Order {
    let submission = serde_json::json!({
        "kind": "vps", "name": "big", "backend": {"machine": {}}, "target": "node::0",
        "cores": 8, "memory": 16_384, "ssh": {"keys": [KEY]},
    });
    Order {
        task: TaskId::new(1_790_000_000, 7),
        run: 1,
        wanted: Wanted::Run,
        owner: "ann".parse().unwrap(),
        submission: serde_json::from_value(submission).unwrap(),
        gpus: vec![0.into()],
    }
}

/// A base image of 8 GiB.
pub(super) fn image() -> Image {
    let record = serde_json::json!({
        "schema": 1, "name": "debian-12", "disk_bytes": 8_u64 << 30, "file_bytes": 4, "sha256": "",
        "created": 0, "origin": {"kind": "file", "file": "a", "format": "raw"},
        "firmware": "any", "distribution": "debian", "cloud_init": true,
    });
    Image {
        name: "debian-12".parse().unwrap(),
        path: "/images/debian-12.qcow2".into(),
        record: serde_json::from_value(record).unwrap(),
    }
}

/// What was decided of its machine.
pub(super) fn note() -> Note {
    Note {
        schema: Note::SCHEMA,
        image: "debian-12".parse().unwrap(),
        firmware: Some("/usr/share/OVMF/OVMF_CODE_4M.fd".into()),
        user: "ann".into(),
        host_key: "ssh-ed25519 AAAA".into(),
        port: 43_000,
        has_passt: true,
        begun: 0,
        ended: None,
    }
}
