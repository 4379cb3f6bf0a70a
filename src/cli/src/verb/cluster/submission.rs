//! Submissions, as they are typed.

use std::collections::BTreeMap;

use vfioctl_api::{Backend, Container, GpuRequest, Kind, Machine, MemorySize, Submission};

use crate::command_line::{ContainerArgs, MachineArgs, Needs, VariableArgument};
use crate::failure::Failure;

/// Puts a submission together, and checks it as a host would.
///
/// # Errors
/// Where it makes no sense.
pub(super) fn submission(
    kind: Kind,
    needs: Needs,
    backend: Backend,
) -> Result<Submission, Failure> {
    let submission = Submission {
        kind,
        name: needs.name,
        backend,
        target: needs.target,
        gpus: needs.gpus.map(|count| GpuRequest {
            count,
            model: needs.gpu_model,
            memory_min: needs.memory_min,
        }),
        gpu_mode: needs.gpu_mode.into(),
        cores: needs.cores,
        memory: needs.memory,
        ssh: None,
        queue: needs.queue,
    };
    check(&submission)?;
    Ok(submission)
}

/// Checks a submission as a host would.
///
/// # Errors
/// Where it makes no sense.
pub(super) fn check(submission: &Submission) -> Result<(), Failure> {
    let verb = match submission.kind {
        Kind::Command => "vfioctl task submit",
        Kind::Vps => "vfioctl vps create",
    };
    let checked = submission.check();
    checked.map_err(|error| Failure::usage(error.to_string()).hint(format!("'{verb} --help'")))
}

/// The container that is asked for.
///
/// # Errors
/// Where a variable shall be as it is here and is not, or an option is about machines.
pub(super) fn container(
    arguments: ContainerArgs,
    machine: &MachineArgs,
    command: Vec<String>,
) -> Result<Backend, Failure> {
    let options = [
        ("--vm-image", machine.vm_image.is_some()),
        ("--vm-disk", machine.vm_disk.is_some()),
        ("--vm-memory", machine.vm_memory.is_some()),
    ];
    if let Some((option, _)) = options.iter().find(|(_, is_there)| *is_there) {
        return Err(Failure::usage(format!(
            "{option} is about machines, and this is a container"
        ))
        .hint("add '--backend machine'"));
    }
    Ok(Backend::Container(Container {
        command,
        image: arguments.image,
        archive: arguments.container,
        mounts: arguments.mount,
        environment: environment(arguments.environment)?,
        working_folder: arguments.working_folder,
        privileged: arguments.privileged,
    }))
}

/// The machine that is asked for, and its memory where that was given in the machine's own way.
///
/// # Errors
/// Where an option is about containers, or the memory is none.
pub(super) fn machine(
    arguments: MachineArgs,
    container: &ContainerArgs,
) -> Result<(Backend, Option<MemorySize>), Failure> {
    let options = [
        ("--image", container.image.is_some()),
        ("--container", container.container.is_some()),
        ("--mount", !container.mount.is_empty()),
        ("--env", !container.environment.is_empty()),
        ("--workdir", container.working_folder.is_some()),
        ("--privileged", container.privileged),
    ];
    if let Some((option, _)) = options.iter().find(|(_, is_there)| *is_there) {
        let hint = match *option {
            "--image" | "--container" => "name the base image of a machine with --vm-image",
            _ => "leave it out, or make a container: '--backend container'",
        };
        return Err(Failure::usage(format!(
            "{option} is about containers, and this is a machine"
        ))
        .hint(hint));
    }
    let backend = Backend::Machine(Machine {
        image: arguments.vm_image,
        disk_gib: arguments.vm_disk,
    });
    Ok((backend, arguments.vm_memory.map(MemorySize::from_mib)))
}

fn environment(variables: Vec<VariableArgument>) -> Result<BTreeMap<String, String>, Failure> {
    let mut environment = BTreeMap::new();
    for VariableArgument { name, value } in variables {
        let value = match value {
            Some(value) => value,
            None => std::env::var(&name).map_err(|error| {
                Failure::usage(format!("the variable '{name}' cannot be passed on"))
                    .because(error.to_string())
                    .hint("give it a value: NAME=VALUE")
            })?,
        };
        environment.insert(name, value);
    }
    Ok(environment)
}
