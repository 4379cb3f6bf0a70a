//! The specification of a machine: from a file, or from the command line.

use std::error::Error;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use vfioctl_core::machine::{Boot, Disk, FilePath, MachineSpec, Network};

use crate::command_line::{Create, NetworkArgument, UefiArgument};
use crate::failure::Failure;
use crate::firmware::find_code;
use crate::limits;
use crate::session::Session;

/// Reads the specification that was named or typed. Relative paths of the command line start at
/// the current directory, those of a file at the file's folder.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_spec(arguments: &Create, session: &Session<'_>) -> Result<MachineSpec, Failure> {
    match &arguments.spec {
        Some(file) => read_file(file),
        None => {
            let uefi = || match &arguments.uefi {
                Some(uefi) => read_uefi(uefi, session).map(Some),
                None => Ok(None),
            };
            typed(arguments, uefi()?)
        }
    }
}

fn read_file(file: &Path) -> Result<MachineSpec, Failure> {
    let name = file.display();
    let cannot_read = |error: &dyn Error| {
        Failure::could_not(
            "CannotRead",
            format!("cannot read the specification '{name}'"),
        )
        .because(error.to_string())
    };
    let path = std::path::absolute(file).map_err(|error| cannot_read(&error))?;
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|open| open.take(limits::SPEC_FILE).read_to_string(&mut text))
        .map_err(|error| cannot_read(&error))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    vfioctl_qemu::parse_spec(&text, folder)
        .map_err(|error| Failure::usage(format!("'{name}': {error}")).caused_by(&error))
}

/// The machine as it was typed.
fn typed(arguments: &Create, uefi: Option<Boot>) -> Result<MachineSpec, Failure> {
    // clap has made sure of both.
    let (Some(name), Some(memory_mib)) = (&arguments.name, arguments.memory) else {
        return Err(Failure::usage("a machine has a name and memory"));
    };
    let kernel = arguments.kernel.as_ref().map(|image| {
        Ok::<_, Failure>(Boot::Kernel {
            image: absolute(image)?,
            initrd: arguments.initrd.as_deref().map(absolute).transpose()?,
            append: arguments.append.clone().unwrap_or_default(),
        })
    });
    let disks = arguments.disk.iter().map(|disk| {
        let path = absolute(&disk.path)?;
        Ok(Disk {
            path,
            format: disk.format,
            read_only: disk.read_only,
        })
    });
    let spec = MachineSpec {
        name: name.clone(),
        memory_mib,
        cores: arguments.cores,
        boot: kernel.transpose()?.or(uefi).unwrap_or(Boot::Bios),
        disks: disks.collect::<Result<_, Failure>>()?,
        devices: arguments.device.clone(),
        network: network(arguments)?,
    };
    spec.check()
        .map_err(|error| Failure::usage(error.to_string()).hint(help()))
}

fn network(arguments: &Create) -> Result<Network, Failure> {
    let forwards = arguments.forward.clone();
    match &arguments.network {
        NetworkArgument::User => Ok(Network::User { forwards }),
        _ if !forwards.is_empty() => {
            Err(Failure::usage("'--forward' is for QEMU's own network only")
                .hint("add '--network user'"))
        }
        NetworkArgument::None => Ok(Network::None),
        NetworkArgument::Stream(socket) => Ok(Network::Stream {
            socket: absolute(socket)?,
        }),
    }
}

fn read_uefi(uefi: &UefiArgument, session: &Session<'_>) -> Result<Boot, Failure> {
    let code = match &uefi.code {
        Some(code) => code.clone(),
        None => find_code(&session.root()?)
            .map(PathBuf::from)
            .ok_or_else(|| {
                Failure::could_not("NoFirmware", "no UEFI firmware was found below /usr/share")
                    .hint("install OVMF (package 'ovmf' or 'edk2-ovmf'), or name it: --uefi=CODE")
            })?,
    };
    Ok(Boot::Uefi {
        code: absolute(&code)?,
        variables: uefi.variables.as_deref().map(absolute).transpose()?,
    })
}

fn absolute(path: &Path) -> Result<FilePath, Failure> {
    let whole = std::path::absolute(path).map_err(|error| {
        Failure::usage(format!("'{}' cannot be made absolute", path.display()))
            .because(error.to_string())
    })?;
    let text = whole.to_str().ok_or_else(|| {
        Failure::usage(format!(
            "'{}' is not UTF-8, which varlink cannot carry",
            path.display()
        ))
    })?;
    FilePath::new(text).map_err(|error| Failure::usage(error.to_string()).hint(help()))
}

fn help() -> &'static str {
    "'vfioctl vm create --help'"
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::command_line::{CommandLine, Late, Verb, VmVerb};

    fn create(words: &[&str]) -> Create {
        let words = ["vfioctl", "vm", "create"].iter().chain(words);
        match CommandLine::try_parse_from(words).map(|line| line.verb) {
            Ok(Verb::Vm(Late(VmVerb::Create(create)))) => *create,
            other => panic!("{other:?}"),
        }
    }

    fn wrong(words: &[&str]) -> bool {
        CommandLine::try_parse_from(["vfioctl", "vm", "create"].iter().chain(words)).is_err()
    }

    #[test]
    fn what_is_typed_becomes_a_specification() {
        let arguments = create(&[
            "win",
            "--memory",
            "4GiB",
            "--cores",
            "4",
            "--disk",
            "/d/a.qcow2,ro",
            "--kernel",
            "/k",
            "--append",
            "quiet",
            "--device",
            "01:00.0",
            "--network",
            "user",
            "--forward",
            "2222:22",
            "--forward",
            "0.0.0.0:80:8080",
        ]);
        let path = |text| FilePath::new(text).unwrap();
        let expected = MachineSpec {
            name: "win".parse().unwrap(),
            memory_mib: 4096,
            cores: 4,
            boot: Boot::Kernel {
                image: path("/k"),
                initrd: None,
                append: "quiet".into(),
            },
            disks: vec![Disk {
                path: path("/d/a.qcow2"),
                format: vfioctl_core::machine::DiskFormat::Qcow2,
                read_only: true,
            }],
            devices: vec!["0000:01:00.0".parse().unwrap()],
            network: Network::User {
                forwards: vec![
                    "2222:22".parse().unwrap(),
                    "0.0.0.0:80:8080".parse().unwrap(),
                ],
            },
        };
        assert_eq!(typed(&arguments, None), Ok(expected));
    }

    #[test]
    fn a_network_stream_is_typed_with_its_socket_and_has_no_forwards() {
        let words = |more: &[&str]| {
            let machine = ["m", "--memory", "64", "--kernel", "/k"];
            create(&[&machine[..], more].concat())
        };
        let stream = words(&["--network", "stream=/run/p.sock"]);
        let socket = FilePath::new("/run/p.sock").unwrap();
        let network = typed(&stream, None).map(|spec| spec.network);
        assert_eq!(network, Ok(Network::Stream { socket }));
        for network in ["none", "stream=/s"] {
            let arguments = words(&["--network", network, "--forward", "1:22"]);
            let failure = typed(&arguments, None).unwrap_err();
            assert!(
                failure.text().contains("'--network user'"),
                "{}",
                failure.text()
            );
        }
        assert!(wrong(&["m", "--memory", "64", "--network", "bridge"]));
        assert!(wrong(&["m", "--memory", "64", "--forward", "22"]));
        assert!(wrong(&["--spec", "f", "--forward", "1:22"]));
    }

    #[test]
    fn relative_paths_start_at_the_current_directory() {
        let expected = std::env::current_dir().unwrap().join("a/d.img");
        let path = absolute(Path::new("a/./d.img")).map(|path| path.to_string());
        assert_eq!(path, Ok(expected.to_str().unwrap().to_owned()));
    }

    #[test]
    fn a_machine_without_anything_to_start_from_is_told_so() {
        let failure = typed(&create(&["m", "--memory", "64"]), None).unwrap_err();
        assert_eq!(
            failure.text(),
            "vfioctl: there is neither a disk nor a kernel to start from\n  \
             try: 'vfioctl vm create --help'\n"
        );
    }

    #[test]
    fn a_file_and_options_do_not_mix_and_one_is_needed() {
        assert!(wrong(&[]));
        assert!(wrong(&["win"]));
        assert!(wrong(&["win", "--spec", "f", "--memory", "64"]));
        assert!(wrong(&["--spec", "f", "--memory", "64"]));
        assert!(wrong(&["--spec", "f", "--cores", "2"]));
        assert!(wrong(&["m", "--memory", "64", "--kernel", "/k", "--uefi"]));
        assert_eq!(create(&["--spec", "f"]).spec, Some("f".into()));
        assert_eq!(
            create(&["--memory", "64", "--uefi", "m"])
                .name
                .unwrap()
                .as_str(),
            "m"
        );
    }

    #[test]
    fn a_file_is_read_with_its_own_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.toml");
        std::fs::write(
            &file,
            "name = 'a'\nmemory = '1GiB'\n[kernel]\nimage = 'vmlinuz'",
        )
        .unwrap();
        let image = folder.path().join("vmlinuz");
        let boot = Boot::Kernel {
            image: FilePath::new(image.to_str().unwrap()).unwrap(),
            initrd: None,
            append: String::new(),
        };
        assert_eq!(read_file(&file).map(|spec| spec.boot), Ok(boot));
        let missing = read_file(&folder.path().join("none.toml")).unwrap_err();
        assert_eq!(missing.name(), "CannotRead");
    }
}
