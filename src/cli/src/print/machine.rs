//! `vfioctl vm` for people.

use std::fmt::Write as _;

use super::list::or_none;
use super::utc;
use crate::output::Answered;
use crate::record::{MachinePlanRecord, MachineRecord, MachinesRecord, SpecRecord, VmRecord};
use crate::table::Table;
use crate::width::plain;

impl Answered for VmRecord {
    fn text(&self) -> String {
        match self {
            Self::One { machine } => machine_text(machine),
            Self::Many(machines) => machines_text(machines),
            Self::Plan { plan } => plan_text(plan),
            Self::Removed(removed) => format!("forgotten: {}\n", plain(&removed.removed)),
        }
    }
}

fn machines_text(record: &MachinesRecord) -> String {
    if record.machines.is_empty() {
        return String::new();
    }
    let mut table = Table::titled(&[
        "NAME", "USER", "STATE", "MEMORY", "CORES", "SINCE", "DEVICES",
    ]);
    for machine in &record.machines {
        let devices = Some(machine.spec.devices.join(" ")).filter(|devices| !devices.is_empty());
        table.row([
            machine.name.clone(),
            user(machine),
            machine.state.to_owned(),
            memory_text(machine.spec.memory_mib),
            machine.spec.cores.to_string(),
            utc(machine.since),
            or_none(devices),
        ]);
    }
    table.text("")
}

fn machine_text(machine: &MachineRecord) -> String {
    let mut table = Table::default();
    let state = match (&machine.ended, &machine.qemu_status) {
        (Some(ended), _) => format!("{}: {ended}", machine.state),
        (None, Some(status)) if status != machine.state => {
            format!("{}, QEMU says '{status}'", machine.state)
        }
        (None, _) => machine.state.to_owned(),
    };
    table.row(["state", &state]);
    table.row(["user", &user(machine)]);
    table.row(["since", &utc(machine.since)]);
    if let Some(pid) = machine.pid {
        table.row(["process", &pid.to_string()]);
    }
    if let Some(unit) = &machine.unit {
        table.row(["unit", unit]);
    }
    spec_rows(&mut table, &machine.spec);
    for sentence in &machine.devices_home {
        table.row(["devices", sentence]);
    }
    format!("{}\n{}", plain(&machine.name), table.text("  "))
}

fn spec_rows(table: &mut Table, spec: &SpecRecord) {
    table.row(["memory", &memory_text(spec.memory_mib)]);
    table.row(["cores", &spec.cores.to_string()]);
    match (&spec.kernel, &spec.uefi) {
        (Some(kernel), _) => {
            table.row(["kernel", &kernel.image]);
            for (name, value) in [("initrd", &kernel.initrd), ("append", &kernel.append)] {
                if let Some(value) = value {
                    table.row([name, value]);
                }
            }
        }
        (None, Some(uefi)) => {
            table.row(["UEFI code", &uefi.code]);
            let variables = uefi.variables.as_deref().unwrap_or("none: nothing is kept");
            table.row(["UEFI variables", variables]);
        }
        (None, None) => table.row(["firmware", "BIOS"]),
    }
    for disk in &spec.disks {
        let access = if disk.read_only { ", read only" } else { "" };
        table.row(["disk", &format!("{} ({}{access})", disk.path, disk.format)]);
    }
    for device in &spec.devices {
        table.row(["device", device]);
    }
    let network = match &spec.socket {
        Some(socket) => format!("{} by {socket}", spec.network),
        None => spec.network.to_owned(),
    };
    table.row(["network", &network]);
    for forward in &spec.forwards {
        let text = format!(
            "{}:{} to port {}",
            forward.address, forward.port, forward.guest_port
        );
        table.row(["forward", &text]);
    }
}

fn plan_text(plan: &MachinePlanRecord) -> String {
    let mut text = String::new();
    if !plan.steps.is_empty() {
        text.push_str("before the machine starts\n");
        for (index, step) in plan.steps.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {}. {}", index + 1, plain(step));
        }
    }
    let _ = writeln!(
        text,
        "then, with {} s until it answers",
        plan.start_timeout_s
    );
    let mut arguments = plan.arguments.iter().peekable();
    let mut is_first = true;
    while let Some(argument) = arguments.next() {
        let mut line = quoted(argument);
        // An option stands on one line with its value.
        if argument.starts_with('-')
            && let Some(value) = arguments.next_if(|next| !next.starts_with('-'))
        {
            line = format!("{line} {}", quoted(value));
        }
        let indent = if is_first { "  " } else { "    " };
        let end = if arguments.peek().is_some() {
            " \\"
        } else {
            ""
        };
        let _ = writeln!(text, "{indent}{line}{end}");
        is_first = false;
    }
    text.push_str("nothing was changed\n");
    text
}

/// The argument as a shell takes it.
pub(super) fn quoted(argument: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(is_bare) {
        return argument.to_owned();
    }
    plain(&format!("'{}'", argument.replace('\'', r"'\''"))).into_owned()
}

fn memory_text(mib: i64) -> String {
    if mib != 0 && mib % 1024 == 0 {
        format!("{} GiB", mib / 1024)
    } else {
        format!("{mib} MiB")
    }
}

fn user(machine: &MachineRecord) -> String {
    machine
        .user
        .clone()
        .unwrap_or_else(|| machine.uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;
    use crate::record::{DiskRecord, ForwardRecord, RemovedRecord, UefiRecord};

    fn machine() -> MachineRecord {
        MachineRecord {
            name: "win".into(),
            uid: 1000,
            user: Some("ann".into()),
            state: "running",
            qemu_status: Some("running".into()),
            pid: Some(4711),
            unit: None,
            since: 0,
            ended: None,
            devices_home: Vec::new(),
            spec: SpecRecord {
                memory_mib: 16384,
                cores: 8,
                kernel: None,
                uefi: Some(UefiRecord {
                    code: "/c.fd".into(),
                    variables: None,
                }),
                disks: vec![DiskRecord {
                    path: "/d".into(),
                    format: "qcow2",
                    read_only: true,
                }],
                devices: vec!["0000:01:00.0".into()],
                network: "user",
                forwards: vec![ForwardRecord {
                    address: "127.0.0.1".into(),
                    port: 2222,
                    guest_port: 22,
                }],
                socket: None,
            },
        }
    }

    #[test]
    fn a_machine_is_told_whole() {
        let record = VmRecord::One {
            machine: Box::new(machine()),
        };
        assert_eq!(
            record.text(),
            "win\n  state           running\n  user            ann\n  \
             since           1970-01-01 00:00:00 UTC\n  process         4711\n  \
             memory          16 GiB\n  cores           8\n  UEFI code       /c.fd\n  \
             UEFI variables  none: nothing is kept\n  disk            /d (qcow2, read only)\n  \
             device          0000:01:00.0\n  network         user\n  \
             forward         127.0.0.1:2222 to port 22\n"
        );
        assert_answer("vm", &record);
        let mut machine = machine();
        machine.spec.network = "stream";
        machine.spec.socket = Some("/run/p.sock".into());
        machine.spec.forwards.clear();
        let text = machine_text(&machine);
        assert_eq!(
            text.lines().last(),
            Some("  network         stream by /run/p.sock")
        );
    }

    #[test]
    fn a_machine_that_has_ended_says_how() {
        let mut machine = machine();
        machine.state = "stopped";
        machine.ended = Some("QEMU ended by itself".into());
        machine.devices_home = vec!["0000:01:00.0 is home".into()];
        let text = machine_text(&machine);
        assert_eq!(
            text.lines().nth(1),
            Some("  state           stopped: QEMU ended by itself")
        );
        assert_eq!(
            text.lines().last(),
            Some("  devices         0000:01:00.0 is home")
        );
    }

    #[test]
    fn machines_stand_in_a_table() {
        let record = VmRecord::Many(MachinesRecord {
            machines: vec![machine()],
        });
        assert_eq!(
            record.text(),
            "NAME  USER  STATE    MEMORY  CORES  SINCE                    DEVICES\n\
             win   ann   running  16 GiB  8      1970-01-01 00:00:00 UTC  0000:01:00.0\n"
        );
        assert_answer("vm", &record);
        assert_answer(
            "vm",
            &VmRecord::Many(MachinesRecord {
                machines: Vec::new(),
            }),
        );
    }

    #[test]
    fn a_plan_has_a_command_line_that_a_shell_takes() {
        let plan = MachinePlanRecord {
            steps: vec!["bind 0000:01:00.0 to vfio-pci".into()],
            arguments: [
                "/usr/bin/qemu",
                "-nodefaults",
                "-blockdev",
                "{\"a\": \"it's\"}",
            ]
            .map(str::to_owned)
            .into(),
            start_timeout_s: 90,
        };
        assert_eq!(
            plan_text(&plan),
            "before the machine starts\n  1. bind 0000:01:00.0 to vfio-pci\n\
             then, with 90 s until it answers\n  /usr/bin/qemu \\\n    -nodefaults \\\n    \
             -blockdev '{\"a\": \"it'\\''s\"}'\nnothing was changed\n"
        );
        assert_answer("vm", &VmRecord::Plan { plan });
    }

    #[test]
    fn a_forgotten_machine_is_named() {
        let record = VmRecord::Removed(RemovedRecord {
            removed: "win".into(),
        });
        assert_eq!(record.text(), "forgotten: win\n");
        assert_answer("vm", &record);
    }
}
