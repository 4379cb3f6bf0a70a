use vfioctl_api::{Exit, Phase, TaskStatus};

use super::*;
use crate::sample;

fn node() -> NodeName {
    "a".parse().unwrap()
}

fn status(record: &Record, phase: Phase) -> TaskStatus {
    TaskStatus {
        task: record.task.id.clone(),
        run: record.task.run,
        phase,
        at: 0,
    }
}

fn assigned(record: &Record) -> Record {
    assign(record, &node(), &[], 1)
}

fn running(record: &Record) -> Record {
    let accepted = accept(&assigned(record), &node(), record.task.run + 1, "r1").unwrap();
    told(
        &accepted,
        Phase::Running {
            progress: None,
            ssh: None,
        },
    )
}

#[track_caller]
fn told(record: &Record, phase: Phase) -> Record {
    match observe(record, &node(), &status(record, phase), 9) {
        Observed::Changed(record) => *record,
        other => panic!("{other:?}"),
    }
}

const EXIT_0: Phase = Phase::Exited(Exit {
    status: 0,
    out_of_memory: false,
});

#[test]
fn a_command_is_given_taken_up_run_and_done() {
    let done = told(&running(&sample::command()), EXIT_0);
    assert_eq!(
        (done.state(), done.task.run, done.task.ended),
        (TaskState::Completed, 1, Some(9))
    );
}

#[test]
fn ends_are_told_apart() {
    let running = running(&sample::command());
    let failed = told(
        &running,
        Phase::Exited(Exit {
            status: 3,
            out_of_memory: false,
        }),
    );
    assert_eq!(failed.state(), TaskState::Failed);
    let memory = told(
        &running,
        Phase::Exited(Exit {
            status: 137,
            out_of_memory: true,
        }),
    );
    assert_eq!(memory.state(), TaskState::OutOfMemory);
    let killing = kill(&running, 2).unwrap();
    assert_eq!(killing.state(), TaskState::Stopping);
    let killed = told(&killing, Phase::Killed);
    assert_eq!(killed.state(), TaskState::Killed);
    // It ended by itself at the same moment: it was wanted to.
    assert_eq!(told(&killing, EXIT_0).state(), TaskState::Killed);
}

#[test]
fn only_one_runner_ever_begins_a_task() {
    let given = assigned(&sample::command());
    let first = accept(&given, &node(), 1, "r1").unwrap();
    assert_eq!(
        accept(&first, &node(), 1, "r1"),
        Some(first.clone()),
        "asked again"
    );
    assert_eq!(accept(&first, &node(), 1, "r2"), None);
    assert_eq!(accept(&given, &"b".parse().unwrap(), 1, "r1"), None);
    assert_eq!(accept(&given, &node(), 2, "r1"), None);
    assert_eq!(accept(&kill(&given, 2).unwrap(), &node(), 1, "r1"), None);
}

#[test]
fn what_was_not_taken_up_goes_elsewhere_and_what_was_is_lost() {
    let given = assigned(&sample::command());
    let back = node_gone(&given, 5).unwrap();
    assert_eq!(
        (back.state(), back.task.node.clone()),
        (TaskState::Queued, None)
    );
    assert_eq!(accept(&back, &node(), 1, "r1"), None, "too late");

    let lost = node_gone(&running(&sample::command()), 5).unwrap();
    assert_eq!(lost.state(), TaskState::Lost);
    assert_eq!(node_gone(&lost, 6), None);
    // It comes back, and says what became of it.
    assert_eq!(
        told(
            &lost,
            Phase::Running {
                progress: None,
                ssh: None
            }
        )
        .state(),
        TaskState::Running
    );
    assert_eq!(told(&lost, EXIT_0).state(), TaskState::Completed);
    assert_eq!(no_trace(&lost, 6).unwrap().state(), TaskState::Failed);
    assert_eq!(no_trace(&given, 6), None, "it has not been told of it yet");
}

#[test]
fn a_word_about_another_run_changes_nothing() {
    let running = running(&sample::command());
    let mut old = status(&running, EXIT_0);
    old.run = 7;
    assert_eq!(observe(&running, &node(), &old, 9), Observed::Known);
    let other: NodeName = "b".parse().unwrap();
    assert_eq!(
        observe(&running, &other, &status(&running, EXIT_0), 9),
        Observed::Known
    );
    let done = told(&running, EXIT_0);
    let late = status(
        &done,
        Phase::Running {
            progress: None,
            ssh: None,
        },
    );
    assert_eq!(observe(&done, &node(), &late, 9), Observed::Known);
}

#[test]
fn a_node_that_cannot_start_it_is_not_the_end_of_a_command() {
    let mut record = sample::command();
    let phase = Phase::NotStarted {
        reason: "no".into(),
        may_retry: true,
    };
    let mut pauses = Vec::new();
    for _ in 1..MAX_FAILED_STARTS {
        let taken = accept(&assigned(&record), &node(), record.task.run + 1, "r").unwrap();
        record = told(&taken, phase.clone());
        assert_eq!(record.state(), TaskState::Queued);
        pauses.push(record.not_before - 9);
    }
    assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]);
    let taken = accept(&assigned(&record), &node(), record.task.run + 1, "r").unwrap();
    assert_eq!(told(&taken, phase).state(), TaskState::Failed);
    let never = Phase::NotStarted {
        reason: "no".into(),
        may_retry: false,
    };
    let taken = accept(&assigned(&sample::command()), &node(), 1, "r").unwrap();
    assert_eq!(told(&taken, never).state(), TaskState::Failed);
}

#[test]
fn a_server_stops_starts_and_keeps_what_it_wrote() {
    let running_server = running(&sample::machine());
    assert!(check_start(&running_server).is_err());
    let stopping = stop(&running_server).unwrap();
    assert_eq!(stop(&stopping), Ok(stopping.clone()));
    let stopped = told(&stopping, Phase::Stopped);
    assert_eq!(stopped.state(), TaskState::Stopped);
    assert_eq!(check_start(&stopped), Ok(()));
    let again = running(&stopped);
    assert_eq!((again.state(), again.task.run), (TaskState::Running, 2));
    // A second start that fails does not lose the disk.
    let taken = accept(&assigned(&stopped), &node(), 2, "r").unwrap();
    let phase = Phase::NotStarted {
        reason: "no".into(),
        may_retry: true,
    };
    assert_eq!(told(&taken, phase).state(), TaskState::Stopped);
    // It powered itself off.
    assert_eq!(told(&again, EXIT_0).state(), TaskState::Stopped);
    assert!(stop(&running(&sample::command())).is_err());
}

#[test]
fn what_is_over_is_removed_once_its_node_says_so() {
    let running = running(&sample::command());
    assert!(remove(&running).is_err());
    let done = told(&running, EXIT_0);
    let removed = remove(&done).unwrap().unwrap();
    assert_eq!(
        observe(&removed, &node(), &status(&removed, Phase::Removed), 9),
        Observed::Gone
    );
    assert_eq!(
        observe(&done, &node(), &status(&done, Phase::Removed), 9),
        Observed::Known
    );
    let never_begun = kill(&sample::command(), 2).unwrap();
    assert_eq!(remove(&never_begun), Ok(None));
}

#[test]
fn nothing_is_killed_twice() {
    let killed = kill(&sample::command(), 2).unwrap();
    assert_eq!(kill(&killed, 3).unwrap_err().code, ProblemCode::WrongState);
    let lost = node_gone(&running(&sample::command()), 5).unwrap();
    let killing = kill(&lost, 6).unwrap();
    assert_eq!(
        (killing.state(), killing.wanted),
        (TaskState::Lost, Wanted::Kill)
    );
    assert_eq!(told(&killing, Phase::Killed).state(), TaskState::Killed);
}
