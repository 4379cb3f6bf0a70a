//! What the tests share: an engine of each kind, started with the first test and ended with the last, and
//! ways to say what is wanted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use vfioctl_api::{
    Backend, Container, Exit, GpuMode, Kind as TaskKind, MemorySize, Order, Phase, Submission,
};
use vfioctl_tests::node::{ENGINE_GROUP, Node, Setup};
use vfioctl_tests::service::{Engine, Kind};

/// A test, and its name.
pub(crate) struct Test(pub(crate) &'static str, pub(crate) fn(&Bed));

/// An engine of a kind. It ends with the last test that holds this.
pub(crate) struct Bed {
    pub(crate) kind: Kind,
    engine: Mutex<Option<Arc<Engine>>>,
}

impl Bed {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            engine: Mutex::default(),
        }
    }

    /// The engine.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            engine.get_or_insert_with(|| Arc::new(Engine::start(self.kind, ENGINE_GROUP).unwrap())),
        )
    }

    /// What a node is told that has this engine and no helper.
    pub(crate) fn setup(&self) -> Setup {
        setup_of(&self.engine())
    }

    /// A node of its own.
    pub(crate) fn node(&self) -> Node {
        Node::start(&self.setup())
    }

    /// A line of the engine's own command.
    pub(crate) fn say(&self, words: &[&str]) -> String {
        self.engine().command(words).unwrap().success().unwrap()
    }

    /// The containers of a task, whatever they do.
    pub(crate) fn containers_of(&self, order: &Order) -> Vec<String> {
        let filter = format!("label=dev.vfioctl.task={}", order.task);
        let listed = self.say(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]);
        listed.lines().map(str::to_owned).collect()
    }
}

/// What a node is told that has an engine and no helper.
pub(crate) fn setup_of(engine: &Engine) -> Setup {
    Setup {
        engine: engine.socket(),
        helper: no_helper(),
        ..Setup::default()
    }
}

/// A place where there is no helper, and never was one.
pub(crate) fn no_helper() -> PathBuf {
    "/no/such/folder/helper.sock".into()
}

/// A command in a container.
pub(crate) fn command(words: &[&str]) -> Submission {
    submission(
        TaskKind::Command,
        Container {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Container::default()
        },
    )
}

/// A script in a container.
pub(crate) fn sh(script: &str) -> Submission {
    command(&["sh", "-c", script])
}

/// A server that waits.
pub(crate) fn server() -> Submission {
    submission(TaskKind::Vps, Container::default())
}

fn submission(kind: TaskKind, container: Container) -> Submission {
    Submission {
        kind,
        name: None,
        backend: Backend::Container(container),
        target: None,
        gpus: None,
        gpu_mode: GpuMode::Shared,
        cores: 1,
        memory: Some(MemorySize::from_mib(64)),
        ssh: None,
        queue: false,
    }
}

/// The container of a submission, to be changed.
pub(crate) fn container(submission: &mut Submission) -> &mut Container {
    match &mut submission.backend {
        Backend::Container(container) => container,
        Backend::Machine(_) => panic!("it is a machine"),
    }
}

/// The end of a process with a status.
pub(crate) fn exited(status: i64) -> Phase {
    Phase::Exited(Exit {
        status,
        out_of_memory: false,
    })
}

/// Why a run did not start, and whether it may elsewhere or later.
#[track_caller]
pub(crate) fn not_started(phase: Phase) -> (String, bool) {
    match phase {
        Phase::NotStarted { reason, may_retry } => (reason, may_retry),
        other => panic!("it started: {other:?}"),
    }
}
