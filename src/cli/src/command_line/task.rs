//! `vfioctl task`: what may be typed.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use vfioctl_api::{NodeName, TaskState};

use super::work::{ContainerArgs, Needs, OneTask};
use crate::cluster::{TaskReference, complete_node, complete_state, complete_task};
use crate::limits;

/// What to do with tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskVerb {
    /// Run a command in a container on a node of the cluster.
    ///
    /// Prints the task's number. The command stands behind '--', and its words stay as they are:
    /// vfioctl task submit -t mynode::0,1 -- python train.py
    Submit(Box<Submit>),
    /// List tasks, the latest first.
    List(TaskList),
    /// Tell everything about a task.
    #[command(visible_alias = "status")]
    Show(OneTask),
    /// Print what a task wrote: its bytes as they are.
    Logs(TaskLogs),
    /// End a task at once.
    Kill(OneTask),
    /// Wait until tasks have ended.
    ///
    /// Exit status 0 where every one of them was completed, 1 where one failed, was killed, ran out
    /// of memory, or is lost with its node.
    Wait {
        /// The tasks: their numbers, the beginnings of those, or their names.
        #[arg(value_name = "TASK", required = true, add = ArgValueCompleter::new(complete_task))]
        tasks: Vec<TaskReference>,
    },
    /// Forget a task that is over, with its log.
    Rm(Remove),
    /// Tell each change of a task until it is over.
    ///
    /// With --json, each change is an object on a line of its own.
    Watch(OneTask),
}

/// `task submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) needs: Needs,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
    /// Wait until it has ended. Exit status 0 where it was completed, 1 where it failed, was killed,
    /// ran out of memory, or is lost with its node.
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// The command and its words, behind '--'.
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// Which tasks or servers are listed.
#[derive(Debug, Args)]
pub(crate) struct TaskList {
    /// Those in this state only: queued, running, completed, failed and others.
    #[arg(short, long, visible_alias = "status", value_name = "STATE",
        add = ArgValueCompleter::new(complete_state))]
    pub(crate) state: Option<TaskState>,
    /// Those on this node only.
    #[arg(short, long, value_name = "NODE", add = ArgValueCompleter::new(complete_node))]
    pub(crate) node: Option<NodeName>,
    /// At most so many.
    #[arg(short, long, value_name = "NUMBER", default_value_t = limits::TASKS,
        value_parser = clap::value_parser!(u32).range(1..=limits::MOST_TASKS))]
    pub(crate) limit: u32,
    /// Only number, name, state and node of each.
    #[arg(short, long)]
    pub(crate) compact: bool,
    /// Your own only.
    #[arg(long)]
    pub(crate) mine: bool,
}

/// `task logs`, `vps logs`.
#[derive(Debug, Args)]
pub(crate) struct TaskLogs {
    #[command(flatten)]
    pub(crate) task: OneTask,
    /// Go on printing what is added until the task ends; wait for its start where need be.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print standard error instead; of a machine, what QEMU says instead of its serial console.
    #[arg(long)]
    pub(crate) stderr: bool,
}

/// `task rm`, `vps rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    pub(crate) task: OneTask,
    /// End it first where it runs, and forget it without its node where that is away.
    #[arg(short, long)]
    pub(crate) force: bool,
}
