use super::*;
use crate::cluster_sample::{container_vps, machine_vps, queued, training};
use crate::record::schema::assert_answer;

#[test]
fn a_task_is_told_whole() {
    let record = TasksRecord::one(training());
    assert_eq!(
        record.text(),
        "\
01jd3k7x9qz4m  training
  state        failed on gpu-1, GPUs 0,1: it ended with status 3
  user         ann
  kind         a command in a container
  asked for    gpu-1:0::0,1
  cores        8
  memory       32 GiB
  image        registry.example/pytorch:2.5
  command      python train.py --name 'my run'
  folder       /work
  mount        /data:/data:ro
  environment  API_TOKEN EPOCHS
  submitted    2026-11-22 13:41:05 UTC
  assigned     2026-11-22 13:41:06 UTC
  started      2026-11-22 13:41:09 UTC
  ended        2026-11-22 14:02:51 UTC
"
    );
    assert_answer("task", &record);
}

#[test]
fn a_task_that_waits_says_for_what() {
    let record = TasksRecord::one(queued());
    let lines: Vec<String> = record.text().lines().map(str::to_owned).collect();
    assert_eq!(
        lines[1],
        "  state      queued: no node has 2 free GPUs like '4090'"
    );
    assert_eq!(
        lines[4],
        "  asked for  any node, 2 GPUs like '4090' with 20 GiB or more"
    );
    assert_answer("task", &record);
}

#[test]
fn a_server_says_how_it_is_reached() {
    let record = TasksRecord::one(machine_vps());
    assert_eq!(
        record.text(),
        "\
01jd3k8000abc  desk
  state      running on gpu-1, GPU 2
  user       ann
  kind       a server in a machine
  asked for  gpu-1::2
  cores      8
  memory     16 GiB
  image      debian-12
  disk       100 GiB
  SSH keys   1 key may come in
  SSH        debian@10.0.0.5 port 20022; 'vfioctl vps ssh 01jd3k8000abc'
  SSH key    ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB3Kd
  run        2
  submitted  2026-11-22 13:50:00 UTC
  assigned   2026-11-22 13:50:00 UTC
  started    2026-11-22 13:50:40 UTC
"
    );
    assert_answer("task", &record);
}

#[test]
fn lists_have_what_matters_of_each() {
    let many = |layout| TasksRecord::Many {
        tasks: vec![queued().into(), training().into()],
        more: false,
        layout,
    };
    assert_eq!(
        many(Layout::Commands).text(),
        "\
TASK           NAME      USER  STATE   NODE   GPUS  CORES  MEMORY  SUBMITTED                COMMAND
01jd3k9fffff0  -         bob   queued  -      -     1      -       2026-11-22 14:10:00 UTC  nvidia-smi
01jd3k7x9qz4m  training  ann   failed  gpu-1  0,1   8      32 GiB  2026-11-22 13:41:05 UTC  python train.py --name 'my run'
"
    );
    assert_eq!(
        many(Layout::Compact).text(),
        "\
TASK           NAME      STATE   NODE
01jd3k9fffff0  -         queued  -
01jd3k7x9qz4m  training  failed  gpu-1
"
    );
    let servers = TasksRecord::Many {
        tasks: vec![machine_vps().into(), container_vps().into()],
        more: true,
        layout: Layout::Servers,
    };
    assert_eq!(
        servers.text(),
        "\
VPS            NAME  USER  STATE     NODE   GPUS  CORES  MEMORY  BACKEND    SSH
01jd3k8000abc  desk  ann   running   gpu-1  2     8      16 GiB  machine    debian@10.0.0.5:20022
01jd3k80zzzzz  -     bob   starting  gpu-2  0     1      -       container  -
"
    );
    assert_answer("task", &servers);
}

#[test]
fn each_end_of_a_task_has_its_words() {
    let mut task: TaskRecord = training().into();
    let mut sentence = |state, reason: Option<&str>| {
        task.state = state;
        task.reason = reason.map(str::to_owned);
        task.exit = None;
        task.sentence()
    };
    assert_eq!(
        sentence(TaskState::Completed, None),
        "completed on gpu-1, GPUs 0,1"
    );
    assert_eq!(
        sentence(TaskState::OutOfMemory, None),
        "out of memory on gpu-1, GPUs 0,1: it used more memory than it was given"
    );
    assert_eq!(
        sentence(TaskState::Lost, Some("its node is gone")),
        "lost on gpu-1, GPUs 0,1: its node is gone"
    );
    assert_eq!(
        sentence(TaskState::Assigned, None),
        "assigned to gpu-1, GPUs 0,1"
    );
}
