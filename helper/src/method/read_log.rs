//! `ReadLog`: a part of a machine's log, for callers who cannot open it themselves.

use std::io;

use vfioctl_protocol::base64;
use vfioctl_protocol::machine::{ReadLog_Args_of, ReadLog_Reply};
use vfioctl_protocol::wire::WireError;

use super::list_machines::find_machine;
use super::session::Session;
use crate::MethodError;
use crate::limits::LOG_CHUNK_BYTES;
use crate::machine::Machine;
use crate::sys::{MachineLog, read_machine_log};

pub(super) fn read_log(
    session: &Session,
    name: &str,
    of: &ReadLog_Args_of,
    offset: i64,
) -> Result<ReadLog_Reply, MethodError> {
    let offset = u64::try_from(offset).map_err(|_| WireError {
        field: "offset",
        because: format!("{offset} is before the start"),
    })?;
    let log = match of {
        ReadLog_Args_of::console => MachineLog::Console,
        ReadLog_Args_of::qemu => MachineLog::Qemu,
    };
    let machine = find_machine(session, name)?;
    let folder = session
        .helper
        .runtime
        .machine(machine.uid, machine.name().as_str());
    let part = read_machine_log(&folder, log, machine.uid, offset, LOG_CHUNK_BYTES)
        .map_err(|error| no_log(&machine, &error))?;
    Ok(ReadLog_Reply {
        data: base64::encode(&part.bytes),
        next: i64::try_from(part.next).unwrap_or(i64::MAX),
        end: part.is_end,
    })
}

fn no_log(machine: &Machine, error: &io::Error) -> MethodError {
    let name = machine.name();
    let because = match error.kind() {
        io::ErrorKind::NotFound => "there is none; logs go with the boot".to_owned(),
        _ => error.to_string(),
    };
    MethodError::refused(
        "NoLog",
        format!("the log of machine '{name}' cannot be read: {because}"),
        format!("look at the machine with 'vfioctl vm show {name}'"),
    )
}
