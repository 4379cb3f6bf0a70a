//! `vfioctl task` and `vfioctl vps` for people.

use vfioctl_api::{MemorySize, TaskState};

use super::list::or_none;
use super::machine::quoted;
use super::moment;
use crate::output::Answered;
use crate::record::{AskedRecord, ContainerRecord, Layout, TaskRecord, TasksRecord};
use crate::table::Table;
use crate::width::{plain, shortened};

/// Widest command in a list; `task show` has all of it.
const COMMAND_COLUMNS: usize = 40;

impl Answered for TasksRecord {
    fn text(&self) -> String {
        match self {
            Self::One {
                task,
                is_short: false,
            } => task_text(task),
            Self::One {
                task,
                is_short: true,
            } => {
                format!("{}: {}\n", task.id, plain(&task.sentence()))
            }
            Self::Many { tasks, layout, .. } => tasks_text(tasks, *layout),
            Self::Removed { removed } => format!("forgotten: {}\n", plain(removed)),
        }
    }
}

impl TaskRecord {
    /// What it is called: its number, and its name where it has one.
    fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{}  {name}", self.id),
            None => self.id.clone(),
        }
    }

    /// Where it is: the node and its GPUs.
    pub(crate) fn place(&self) -> Option<String> {
        let node = self.node.as_ref()?;
        Some(match self.gpus.as_slice() {
            [] => node.clone(),
            [one] => format!("{node}, GPU {one}"),
            many => format!("{node}, GPUs {}", numbers(many)),
        })
    }

    /// How it stands, in one sentence: what becomes of it, where, and why.
    pub(crate) fn sentence(&self) -> String {
        let place = self
            .place()
            .map(|place| format!(" on {place}"))
            .unwrap_or_default();
        let state = match self.state {
            TaskState::Queued => "queued".to_owned(),
            TaskState::Assigned => format!("assigned to {}", self.place().unwrap_or_default()),
            TaskState::OutOfMemory => format!("out of memory{place}"),
            other => format!("{other}{place}"),
        };
        let why = self.progress.clone().or_else(|| self.reason.clone());
        match why.or_else(|| self.end()) {
            Some(why) => format!("{state}: {why}"),
            None => state,
        }
    }

    /// How it ended, where nobody has said why.
    fn end(&self) -> Option<String> {
        match (self.state, &self.exit) {
            (TaskState::OutOfMemory, _) => Some("it used more memory than it was given".to_owned()),
            (TaskState::Failed, Some(exit)) => {
                Some(format!("it ended with status {}", exit.status))
            }
            _ => None,
        }
    }

    fn backend(&self) -> &'static str {
        match self.asked.machine {
            Some(_) => "machine",
            None => "container",
        }
    }
}

fn numbers(gpus: &[u16]) -> String {
    let texts: Vec<String> = gpus.iter().map(u16::to_string).collect();
    texts.join(",")
}

fn tasks_text(tasks: &[TaskRecord], layout: Layout) -> String {
    if tasks.is_empty() {
        return String::new();
    }
    let mut table = Table::titled(match layout {
        Layout::Commands => &[
            "TASK",
            "NAME",
            "USER",
            "STATE",
            "NODE",
            "GPUS",
            "CORES",
            "MEMORY",
            "SUBMITTED",
            "COMMAND",
        ],
        Layout::Servers => &[
            "VPS", "NAME", "USER", "STATE", "NODE", "GPUS", "CORES", "MEMORY", "BACKEND", "SSH",
        ],
        Layout::Compact => &["TASK", "NAME", "STATE", "NODE"][..],
    });
    for task in tasks {
        let (id, name, state) = (
            task.id.clone(),
            or_none(task.name.clone()),
            task.state.to_string(),
        );
        let node = or_none(task.node.clone());
        if layout == Layout::Compact {
            table.row([id, name, state, node]);
            continue;
        }
        let gpus = or_none(Some(numbers(&task.gpus)).filter(|numbers| !numbers.is_empty()));
        let memory = task
            .asked
            .memory_mib
            .map(|mib| MemorySize::from_mib(mib).to_string());
        let rest = match layout {
            Layout::Servers => [
                task.backend().to_owned(),
                or_none(
                    task.ssh
                        .as_ref()
                        .map(|ssh| format!("{}@{}:{}", ssh.user, ssh.address, ssh.port)),
                ),
            ],
            _ => [moment(task.submitted), command_text(&task.asked)],
        };
        let first = [id, name, task.owner.clone(), state, node, gpus];
        let room = [task.asked.cores.to_string(), or_none(memory)];
        table.row(first.into_iter().chain(room).chain(rest));
    }
    table.text("")
}

fn command_text(asked: &AskedRecord) -> String {
    let words = asked
        .container
        .as_ref()
        .map(|container| container.command.as_slice());
    let command = shell_line(words.unwrap_or_default());
    or_none(Some(shortened(&command, COMMAND_COLUMNS).into_owned()).filter(|text| !text.is_empty()))
}

/// Words as a shell takes them.
pub(crate) fn shell_line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

fn task_text(task: &TaskRecord) -> String {
    let mut table = Table::default();
    table.row(["state", &task.sentence()]);
    table.row(["user", &task.owner]);
    let what = match (task.kind, task.backend()) {
        ("command", _) => "a command in a container",
        (_, "machine") => "a server in a machine",
        _ => "a server in a container",
    };
    table.row(["kind", what]);
    asked_rows(&mut table, &task.asked);
    if let Some(ssh) = &task.ssh {
        let line = format!(
            "{}@{} port {}; 'vfioctl vps ssh {}'",
            ssh.user, ssh.address, ssh.port, task.id
        );
        table.row(["SSH", &line]);
        table.row(["SSH key", &ssh.host_key]);
    }
    if task.run > 1 {
        table.row(["run", &task.run.to_string()]);
    }
    table.row(["submitted", &moment(task.submitted)]);
    for (name, at) in [
        ("assigned", task.assigned),
        ("started", task.started),
        ("ended", task.ended),
    ] {
        if let Some(at) = at {
            table.row([name, &moment(at)]);
        }
    }
    format!("{}\n{}", plain(&task.title()), table.text("  "))
}

fn asked_rows(table: &mut Table, asked: &AskedRecord) {
    table.row(["asked for", &wanted(asked)]);
    table.row(["cores", &asked.cores.to_string()]);
    let memory = match (asked.memory_mib, &asked.machine) {
        (Some(mib), _) => MemorySize::from_mib(mib).to_string(),
        (None, Some(_)) => "the node's default".to_owned(),
        (None, None) => "no limit".to_owned(),
    };
    table.row(["memory", &memory]);
    if let Some(machine) = &asked.machine {
        table.row([
            "image",
            machine.image.as_deref().unwrap_or("the node's default"),
        ]);
        let disk = machine.disk_gib.map(|gib| format!("{gib} GiB"));
        table.row(["disk", disk.as_deref().unwrap_or("as large as the image")]);
    }
    if let Some(container) = &asked.container {
        container_rows(table, container);
    }
    if let Some(keys) = &asked.ssh_keys {
        let keys = match keys.len() {
            0 => "none".to_owned(),
            1 => "1 key may come in".to_owned(),
            many => format!("{many} keys may come in"),
        };
        table.row(["SSH keys", &keys]);
    }
}

fn container_rows(table: &mut Table, container: &ContainerRecord) {
    match (&container.image, &container.archive) {
        (Some(image), _) => table.row(["image", image]),
        (None, Some(archive)) => table.row(["archive", archive]),
        (None, None) => table.row(["image", "the node's default"]),
    }
    if !container.command.is_empty() {
        table.row(["command", &shell_line(&container.command)]);
    }
    if let Some(folder) = &container.working_folder {
        table.row(["folder", folder]);
    }
    for mount in &container.mounts {
        table.row(["mount", mount]);
    }
    if !container.environment.is_empty() {
        // Values may be secrets; a program that needs them gets them by --json.
        let names: Vec<&str> = container.environment.keys().map(String::as_str).collect();
        table.row(["environment", &names.join(" ")]);
    }
    if container.privileged {
        table.row(["privileged", "yes"]);
    }
}

/// Where it was asked to go, and with which GPUs.
fn wanted(asked: &AskedRecord) -> String {
    let place = asked
        .target
        .clone()
        .unwrap_or_else(|| "any node".to_owned());
    let gpus = asked.gpus.as_ref().map(|gpus| {
        let plural = if gpus.count == 1 { "" } else { "s" };
        let model = gpus.model.as_ref().map(|model| format!(" like '{model}'"));
        let memory = gpus
            .memory_min_mib
            .map(|mib| format!(" with {} or more", MemorySize::from_mib(mib)));
        format!(
            ", {} GPU{plural}{}{}",
            gpus.count,
            model.unwrap_or_default(),
            memory.unwrap_or_default()
        )
    });
    let exclusive = match asked.gpu_mode {
        "exclusive" => ", GPUs for it alone",
        _ => "",
    };
    format!("{place}{}{exclusive}", gpus.unwrap_or_default())
}

#[cfg(test)]
mod tests;
