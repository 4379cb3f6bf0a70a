use super::*;
use crate::cluster_sample::{expected_node, gpu_node, offline_node};
use crate::record::schema::assert_answer;

/// The GPUs of the sample, with how each fares.
const FARES: &str = "  GPU  MODEL                                         USE  MEMORY           TEMPERATURE  POWER      STATE
  0    NVIDIA GeForce RTX 4090                       87%  20100/24576 MiB  71 C         312/450 W  2 containers of ann, bob
  1    NVIDIA GeForce RTX 4090                       -    24 GiB           -            -          reserved with GPU 2, for machine 01jd3k8000abc of ann
  2    AMD/ATI Navi 31 [Radeon RX 7900 XT/7900 XTX…  -    24 GiB           -            -          in machine 01jd3k8000abc of ann
  3    NVIDIA RTX A4000                              -    16 GiB           -            -          held by user 'carl' of the node
  4    ASPEED Graphics Family                        -    -                -            -          not passable: the host's console is on it; not for containers: it has no driver that containers can use
  5    Intel Arc A380                                -    -                -            -          free; not passable: it is in no IOMMU group: the IOMMU is off
  6    NVIDIA GeForce RTX 3090                       -    24 GiB           -            -          free
  7    NVIDIA GeForce RTX 3090                       -    -                -            -          not there
";

#[test]
fn nodes_stand_in_a_table() {
    let nodes = vec![gpu_node(), offline_node(), expected_node()];
    let record = NodesRecord::many(nodes, NodeLayout::Room);
    assert_eq!(
        record.text(),
        "\
NODE   STATE              CORES  MEMORY      GPUS         TASKS  CONTAINERS  MACHINES  HEARD
gpu-1  online             16/64  48/256 GiB  2 of 7 free  2      yes         yes       2026-11-22 14:11:05 UTC
gpu-2  offline            1/64   0/256 GiB   2            1      yes         no        2026-11-22 14:11:05 UTC
gpu-3  expected, drained  -      -           -            0      -           -         -
"
    );
    assert_answer("node", &record);
}

#[test]
fn everything_about_a_node_is_told() {
    let record = NodesRecord::one(gpu_node(), NodeLayout::Room);
    let text = record.text();
    let (first, rest) = text.split_once("\nGPU 1 ").unwrap();
    let expected = format!(
        "\
gpu-1
  state           online
  heard of        2026-11-22 14:11:05 UTC
  address         10.0.0.5
  cores           16 of 64 taken, 41% busy
  memory          48 GiB of 256 GiB taken, 58 GiB in use
  disk            800 GiB free
  containers      yes
  machines        yes
  a machine gets  debian-12, 4 GiB of memory
  runner          0.1.0
  helper          0.1.0
  system          Debian GNU/Linux 12 (bookworm)
  kernel          6.1.0-32-amd64
  QEMU            7.2.13
  engine          docker 20.10.24, GPUs of NVIDIA by cdi
  NVIDIA driver   550.163.01
  machine         9f2ac0ffee
  boot            1b6d-4a01

NUMA nodes
  NUMA  CORES  PROCESSORS  MEMORY
  0     32     0-31        128 GiB
  1     32     32-63       128 GiB

images for machines
  IMAGE      DISK    TAKES
  debian-12  10 GiB  1229 MiB

GPUs
{FARES}
GPU 0  NVIDIA GeForce RTX 4090
  place                0000:01:00.0, pci0000:00/01.0/00.0
  ID                   10de:2684
  UUID                 GPU-5d1ab1ee-0001
  driver               nvidia
  NUMA node            0
  IOMMU group          12
  functions            0000:01:00.0 0000:01:00.1
  for machines         yes
  for containers       yes
  used by              container 01jd3k7x9qz4m of ann
  used by              container 01jd3k7y00000 of bob
  held on the node by  container 'vfioctl-01jd3k7x9qz4m' of ann
"
    );
    assert_eq!(first, expected);
    assert!(rest.ends_with(
        "
tasks
  vfioctl task show 01jd3k7x9qz4m
  vfioctl task show 01jd3k8000abc

problems
  GPU 5 cannot be given to machines: switch the IOMMU on in the firmware
"
    ));
    for line in [
        "  together with    GPU 2: in a machine they go together",
        "  reserved for     machine 01jd3k8000abc of ann, for it alone, which has GPU 2",
        "  used by         machine 01jd3k8000abc of ann, for it alone",
        "  held on the node by  user 'carl' of the node, for it alone",
        "  for machines    no: it is in no IOMMU group: the IOMMU is off",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_there = rest
            .lines()
            .any(|other| other.split_whitespace().eq(words.iter().copied()));
        assert!(is_there, "{line}\n{rest}");
    }
    assert_answer("node", &record);
}

#[test]
fn a_node_that_never_came_says_how_it_can() {
    let record = NodesRecord::one(expected_node(), NodeLayout::Room);
    assert_eq!(
        record.text(),
        "\
gpu-3
  state     expected, drained
  heard of  -
  it has never come: 'vfioctl node invite' makes a token for it to join with
"
    );
    assert_answer("node", &record);
}

#[test]
fn health_tells_how_nodes_fare_and_what_is_wrong() {
    let record = NodesRecord::many(vec![gpu_node(), offline_node()], NodeLayout::Health);
    let expected = format!(
        "\
NODE   STATE    PROCESSORS  MEMORY      DISK FREE  PROBLEMS
gpu-1  online   41% busy    59/256 GiB  800 GiB    1
gpu-2  offline  -           -           -          1

GPUs of gpu-1
{FARES}
problems of gpu-1
  GPU 5 cannot be given to machines: switch the IOMMU on in the firmware

problems of gpu-2
  it has not been heard of lately
"
    );
    assert_eq!(record.text(), expected);
}

#[test]
fn the_others_are_short() {
    let mut node = gpu_node();
    node.drained = true;
    let drained = NodesRecord::one(node, NodeLayout::Drained);
    assert_eq!(
        drained.text(),
        "gpu-1 is drained: nothing new is placed there; 2 tasks hold room there\n"
    );
    let resumed = NodesRecord::one(expected_node(), NodeLayout::Drained);
    assert_eq!(
        resumed.text(),
        "gpu-3 is drained: nothing new is placed there; nothing runs there\n"
    );
    let summary = vfioctl_api::Summary {
        nodes: 3,
        nodes_online: 2,
        cores: 128,
        cores_taken: 17,
        memory: MemorySize::from_mib(524_288),
        memory_taken: MemorySize::from_mib(49_152),
        gpus: 9,
        gpus_free: 3,
        gpus_in_containers: 2,
        gpus_in_machines: 1,
        tasks: [("queued".to_owned(), 2), ("running".to_owned(), 3)].into(),
    };
    let summary = NodesRecord::Summary {
        summary: summary.into(),
    };
    assert_eq!(
        summary.text(),
        "\
nodes   2 of 3 online
cores   17 of 128 taken
memory  48 GiB of 512 GiB taken
GPUs    9: 3 free, 2 in containers, 1 in machines, 3 held or reserved
tasks   2 queued, 3 running
"
    );
    let invitation = NodesRecord::Invitation {
        invitation: InvitationRecord {
            node: "gpu-3".into(),
            host: "https://gpu-host:8470".into(),
            token: "t".into(),
            expires: 0,
            command: "echo t | sudo vfioctl-runner join https://gpu-host:8470".into(),
        },
    };
    assert_eq!(
        invitation.text(),
        "echo t | sudo vfioctl-runner join https://gpu-host:8470\n"
    );
    for record in [
        drained,
        summary,
        invitation,
        NodesRecord::Removed {
            removed: "a".into(),
        },
    ] {
        assert_answer("node", &record);
    }
}
