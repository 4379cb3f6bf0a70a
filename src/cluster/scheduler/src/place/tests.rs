use vfioctl_api::{Capability, GpuMode, GpuRequest, Holder, HolderKind, MemorySize, Submission};

use super::*;
use crate::allocation::{Allocation, Use};
use crate::sample;

fn room(name: &str, gpus: u16) -> Room {
    let node = name.parse().unwrap();
    Room::new(
        &node,
        &sample::report(gpus),
        &Allocation::default(),
        true,
        false,
    )
}

fn alice() -> UserName {
    "alice".parse().unwrap()
}

fn decide(rooms: &[Room], submission: &Submission) -> Decision {
    place(rooms, &alice(), &Demand::of(submission))
}

#[track_caller]
fn put(rooms: &mut [Room], number: u32, submission: &Submission) -> Placement {
    let Decision::Now(placement) = decide(rooms, submission) else {
        panic!("{:?}", decide(rooms, submission))
    };
    let room = rooms
        .iter_mut()
        .find(|room| room.node == placement.node)
        .unwrap();
    room.take(&TaskId::new(1, number), &placement.share);
    placement
}

fn obstacle(decision: Decision) -> Obstacle {
    match decision {
        Decision::Later(obstacle) | Decision::Never(obstacle) => obstacle,
        Decision::Now(placement) => panic!("{placement:?}"),
    }
}

fn described(count: u16, model: Option<&str>) -> Submission {
    let mut submission = sample::submission(None);
    submission.gpus = Some(GpuRequest {
        count,
        model: model.map(Into::into),
        memory_min: None,
    });
    submission
}

#[test]
fn containers_share_a_gpu_and_a_machine_does_not() {
    let mut rooms = [room("a", 2)];
    put(&mut rooms, 1, &sample::submission(Some("a::0")));
    put(&mut rooms, 2, &sample::submission(Some("a::0,1")));
    let refused = obstacle(decide(&rooms, &sample::machine_submission(Some("a::0"))));
    assert!(
        matches!(
            &refused,
            Obstacle::GpuTaken {
                gpu_use: Use::Shared,
                through: None,
                ..
            }
        ),
        "{refused:?}"
    );
    let text = refused.to_string();
    assert!(
        text.contains("container") && text.contains("of alice has GPU 0 of node 'a'"),
        "{text}"
    );
    let mut alone = sample::submission(Some("a::1"));
    alone.gpu_mode = GpuMode::Exclusive;
    assert!(matches!(
        decide(&rooms, &alone),
        Decision::Later(Obstacle::GpuTaken { .. })
    ));
}

#[test]
fn gpus_that_cannot_be_kept_apart_are_reserved_together() {
    let mut rooms = [room("a", 4)];
    put(&mut rooms, 1, &sample::submission(Some("a::2")));
    let refused = obstacle(decide(&rooms, &sample::machine_submission(Some("a::3"))));
    assert!(
        matches!(&refused, Obstacle::GpuTaken { through: Some(through), .. } if through.get() == 2),
        "{refused:?}"
    );
    let mut rooms = [room("a", 4)];
    put(&mut rooms, 1, &sample::machine_submission(Some("a::3")));
    assert!(matches!(
        decide(&rooms, &sample::submission(Some("a::2"))),
        Decision::Later(_)
    ));
    assert!(matches!(
        decide(&rooms, &sample::machine_submission(Some("a::2"))),
        Decision::Later(_)
    ));
    put(&mut rooms, 2, &sample::machine_submission(Some("a::0")));
    // Two containers on both are well beside each other.
    let mut rooms = [room("a", 4)];
    put(&mut rooms, 1, &sample::submission(Some("a::2")));
    put(&mut rooms, 2, &sample::submission(Some("a::3")));
    // And one machine may have both.
    let mut rooms = [room("a", 4)];
    put(&mut rooms, 1, &sample::machine_submission(Some("a::2,3")));
}

#[test]
fn what_never_fits_is_told_from_what_does_not_fit_now() {
    let rooms = [room("a", 2)];
    let never = |submission: &Submission| match decide(&rooms, submission) {
        Decision::Never(obstacle) => obstacle.problem().code,
        other => panic!("{other:?}"),
    };
    use vfioctl_api::ProblemCode::{Impossible, NotFound};
    assert_eq!(never(&sample::submission(Some("b"))), NotFound);
    assert_eq!(never(&sample::submission(Some("a::7"))), Impossible);
    assert_eq!(never(&sample::submission(Some("a:1"))), Impossible);
    let mut large = sample::submission(None);
    large.cores = 9;
    assert_eq!(never(&large), Impossible);
    large.cores = 1;
    large.memory = Some(MemorySize::from_mib(16 * 1024));
    assert_eq!(never(&large), Impossible, "something is left to the node");
    assert_eq!(never(&described(3, None)), Impossible);
    assert_eq!(never(&described(1, Some("h100"))), Impossible);
    let mut image = sample::machine_submission(Some("a"));
    image.backend = vfioctl_api::Backend::Machine(vfioctl_api::Machine {
        image: "none".parse().ok(),
        disk_gib: None,
    });
    assert_eq!(never(&image), Impossible);
    let none = decide(&[], &sample::submission(None));
    assert!(
        !matches!(none, Decision::Never(_)),
        "the first node may come"
    );
}

#[test]
fn a_node_that_is_away_or_drained_takes_nothing() {
    let mut rooms = [room("a", 1)];
    rooms[0].is_online = false;
    assert!(matches!(
        decide(&rooms, &sample::submission(None)),
        Decision::Later(_)
    ));
    rooms[0].is_online = true;
    rooms[0].is_drained = true;
    let drained = obstacle(decide(&rooms, &sample::submission(Some("a"))));
    assert!(matches!(drained, Obstacle::Drained(_)));
}

#[test]
fn cores_and_memory_run_out() {
    let mut rooms = [room("a", 0)];
    let mut half = sample::submission(None);
    half.cores = 5;
    half.memory = Some(MemorySize::from_mib(8 * 1024));
    put(&mut rooms, 1, &half);
    assert!(matches!(decide(&rooms, &half), Decision::Later(_)));
    half.cores = 3;
    assert!(matches!(decide(&rooms, &half), Decision::Later(_)));
    half.memory = None;
    put(&mut rooms, 2, &half);
    // A machine takes the node's default where it names no memory.
    let mut rooms = [room("a", 0)];
    let machine = put(&mut rooms, 1, &sample::machine_submission(Some("a")));
    assert_eq!(machine.share.memory_mib, 4096);
}

#[test]
fn gpus_that_nobody_has_come_first_and_full_nodes_before_empty_ones() {
    let mut rooms = [room("a", 2), room("b", 2), room("c", 0)];
    let first = put(&mut rooms, 1, &described(1, Some("rtx 4090")));
    assert_eq!(first.node.as_str(), "a");
    let second = put(&mut rooms, 2, &described(1, None));
    assert_eq!(
        (second.node.as_str(), second.gpus[0].get()),
        ("a", 1),
        "b stays whole"
    );
    let both = put(&mut rooms, 3, &described(2, None));
    assert_eq!(both.node.as_str(), "b");
    // All are in use; shared ones are shared.
    let shared = put(&mut rooms, 4, &described(1, None));
    assert_eq!(shared.node.as_str(), "a");
    let no_gpu = put(&mut rooms, 5, &sample::submission(None));
    assert_eq!(
        no_gpu.node.as_str(),
        "c",
        "nodes with GPUs are left to those who need them"
    );
}

#[test]
fn what_the_node_refuses_is_told_in_its_words() {
    let mut rooms = [room("a", 1)];
    rooms[0].gpus[0].vfio = vfioctl_api::Capability::no("no IOMMU covers it");
    let refused = obstacle(decide(&rooms, &sample::machine_submission(Some("a::0"))));
    assert!(
        refused.to_string().ends_with("no IOMMU covers it"),
        "{refused}"
    );
    rooms[0].machines = vfioctl_api::Capability::no("QEMU is not installed");
    let refused = obstacle(decide(&rooms, &sample::machine_submission(Some("a"))));
    assert!(
        refused.to_string().contains("QEMU is not installed"),
        "{refused}"
    );
}

#[test]
fn a_queue_is_placed_in_order_and_nobody_blocks_the_rest() {
    let mut rooms = [room("a", 1)];
    let big = {
        let mut big = sample::submission(None);
        big.cores = 8;
        big
    };
    let small = sample::submission(None);
    let ids: Vec<TaskId> = (0..4).map(|n| TaskId::new(1, n)).collect();
    let owner = alice();
    let queued = |id, submission, not_before| Queued {
        id,
        owner: &owner,
        demand: Demand::of(submission),
        not_before,
    };
    let queue = vec![
        queued(&ids[0], &small, 0),
        queued(&ids[1], &big, 0),
        queued(&ids[2], &small, 100),
        queued(&ids[3], &small, 0),
    ];
    let decisions = place_all(&mut rooms, queue, 50);
    let placed: Vec<_> = decisions
        .iter()
        .map(|(id, decision)| (id, decision.is_ok()))
        .collect();
    assert_eq!(placed, [(&ids[0], true), (&ids[1], false), (&ids[3], true)]);
}

#[test]
fn the_best_node_is_found_in_whatever_order_they_come() {
    let wanted = described(1, None);
    let [idle, mut used, shared] = ["a", "b", "c"].map(|name| room(name, 2));
    let mut shared = [shared];
    put(&mut shared, 1, &described(2, None));
    let [shared] = shared;
    used.cores_free -= 1;
    let orders: [[&Room; 3]; 6] = [
        [&idle, &used, &shared],
        [&idle, &shared, &used],
        [&used, &idle, &shared],
        [&used, &shared, &idle],
        [&shared, &idle, &used],
        [&shared, &used, &idle],
    ];
    for rooms in orders {
        let decision = place(rooms, &alice(), &Demand::of(&wanted));
        let Decision::Now(placement) = decision else {
            panic!("{decision:?}")
        };
        assert_eq!(placement.node.as_str(), "b");
    }
}

#[test]
fn what_is_given_back_is_there_again() {
    let new = room("a", 4);
    let mut taken = [new.clone()];
    put(&mut taken, 1, &described(2, None));
    assert_ne!(format!("{:?}", taken[0]), format!("{new:?}"));
    let again = taken[0].taken_by(&Allocation::default());
    assert_eq!(format!("{again:?}"), format!("{new:?}"));
}

/// What the node says of work that has just ended must not keep the next away.
#[test]
fn cards_of_the_clusters_own_work_are_counted_by_the_cluster() {
    let held = |name: &str| {
        let mut report = sample::report(4);
        let because = "it belongs to machine";
        for number in [2, 3] {
            report.gpus[number].vfio = Capability::no(because);
            report.gpus[number].containers = Capability::no(because);
        }
        report.gpus[2].holders.push(Holder {
            kind: HolderKind::Machine,
            name: name.into(),
            user: None,
            exclusive: true,
        });
        let node = "a".parse().unwrap();
        let rooms = [Room::new(
            &node,
            &report,
            &Allocation::default(),
            true,
            false,
        )];
        ["a::2", "a::3"].map(|target| {
            let decision = decide(&rooms, &sample::machine_submission(Some(target)));
            matches!(decision, Decision::Now(_))
        })
    };
    let task = TaskId::new(1, 7);
    assert_eq!(held(&format!("vps-{task}")), [true, true]);
    assert_eq!(held("win"), [false, false], "somebody else's");
}
