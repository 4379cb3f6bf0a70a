//! Making a base image of Debian's packages: small, with cloud-init and OpenSSH, for UEFI and BIOS.
//!
//! As root, since the files in it belong to root, and with nothing of this machine changed: no loop
//! device, no mount, no package. What is made lies in `/var/tmp` (or `TMPDIR`) until it is whole.
//!
//! Both boot loaders take kernel and initramfs from the EFI system partition, where a hook in the
//! image keeps them up to date: systemd-boot by UEFI, GRUB by a BIOS. The root grows to the size of
//! the machine's disk at each boot, before anything else runs.

mod bios;
mod disk;
mod identifiers;
mod packages;
mod sources;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::library::{Image, Library};
use crate::limits::{LONG_PROGRAM, MAX_PACKAGES};
use crate::name::ImageName;
use crate::program::{Program, QEMU_IMG, SHA256SUM, expect_programs};
use crate::record::{Description, Firmware, Origin};
use crate::size::DiskSize;
use crate::work::WorkFolder;
use bios::BiosCode;
use disk::{EspFile, MKFS, SFDISK};
use identifiers::Identifiers;
use sources::{APT_CONFIG, APT_GET, KEYRING};
use tree::{DPKG_QUERY, MMDEBSTRAP, UNSHARE};

pub use packages::{InvalidPackageName, PackageName, Variant};
pub use sources::Suite;

/// What an image that is made can be as small as: what is unpacked, and room to start.
const LEAST_MIB: u64 = 3 << 10;

/// Programs that are needed. The keyring is a file, and looked for apart.
const PROGRAMS: [Program; 9] = [
    MMDEBSTRAP, APT_GET, APT_CONFIG, DPKG_QUERY, SFDISK, MKFS, QEMU_IMG, UNSHARE, SHA256SUM,
];

/// How an image is made of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The name of the image.
    pub name: ImageName,
    /// The release.
    pub suite: Suite,
    /// The size of its disk; machines may have larger ones.
    pub size: DiskSize,
    /// What it is for.
    pub variant: Variant,
    /// Packages that it has beside the usual ones.
    pub include: Vec<PackageName>,
}

impl Recipe {
    /// What making it would do, as sentences; changes nothing.
    ///
    /// # Errors
    /// Where it could not be made here.
    pub fn plan(&self, library: &Library) -> Result<Vec<String>, Error> {
        self.expect_possible(library)?;
        let suite = self.suite.name();
        let packages = self.packages().join(", ");
        let disk = library.disk_path(&self.name);
        Ok(vec![
            format!("unpack Debian '{suite}' with mmdebstrap, aside: {packages}"),
            "make GRUB's image for a BIOS of packages that are unpacked aside".to_owned(),
            format!("write a disk of {}: boot loaders, kernel, root", self.size),
            "convert it to qcow2, check it with qemu-img and note its SHA-256".to_owned(),
            format!("name it '{}'", disk.display()),
        ])
    }

    /// Everything that decides what the image is, as a text: the recipe and the files it goes by.
    /// Together with the versions of [`Recipe::packages`] it tells whether an image is out of date.
    pub fn inputs(&self) -> String {
        let mut text = format!(
            "{} {} {} {}\n{:?}\n",
            self.name,
            self.suite.name(),
            self.size.bytes(),
            self.variant.name(),
            self.packages()
        );
        for (path, mode, content) in tree::FILES {
            text.push_str(&format!("{path} {mode:o}\n{content}"));
        }
        for (name, script) in tree::HOOKS {
            text.push_str(&format!("{name}\n{script}"));
        }
        text
    }

    /// The packages that are asked for.
    pub fn packages(&self) -> Vec<&str> {
        packages::wanted(self.variant, &self.include)
    }

    /// Makes the image. `tell` hears of each thing before it is done.
    ///
    /// # Errors
    /// Where it cannot be made; then nothing is left of it.
    pub fn create(&self, library: &Library, tell: &mut dyn FnMut(&str)) -> Result<Image, Error> {
        if !rustix::process::geteuid().is_root() {
            let what = "only root can make an image of packages: its files belong to root";
            let hint = "run it with sudo; with --plan anybody sees what it would do";
            return Err(Error::new(ErrorKind::NotRoot, what).with_hint(hint));
        }
        self.expect_possible(library)?;
        library.prepare()?;
        let sources = sources::read_sources(self.suite)?;
        let ids = self.identifiers()?;
        let work = WorkFolder::make(&temporary_folder())?;
        // apt fetches as a user of its own.
        work.open_to_all()?;
        let suite = self.suite.name();
        tell(&format!("unpacking Debian '{suite}' (about a minute)"));
        let root = tree::unpack(&work, suite, &self.packages(), &sources, &ids)?;
        tree::finish(&root, &sources, &ids)?;
        let packages = tree::list_packages(&root)?;
        let kernel = tree::find_kernel(&root)?;
        tell(&format!("writing the disk, with Linux {kernel}"));
        let disk = work.join("disk");
        self.write_disk(&disk, &work, &root, &kernel, &ids)?;
        tell("converting it to qcow2");
        let beside = WorkFolder::make(library.folder())?;
        let whole = beside.join("disk");
        QEMU_IMG
            .call()
            .arguments(["convert", "-f", "raw", "-O", "qcow2", "-c"])
            .arguments(["-o", "compression_type=zstd"])
            .argument(&disk)
            .argument(&whole)
            .limit(LONG_PROGRAM)
            .run()?;
        let said = Description {
            origin: Origin::Packages {
                suite: suite.to_owned(),
                variant: self.variant.name().to_owned(),
                packages: u64::try_from(packages.lines().count()).unwrap_or(u64::MAX),
                packages_sha256: sum_of(packages)?,
                kernel,
            },
            firmware: Firmware::Any,
            distribution: Some(self.suite.distribution().to_owned()),
            cloud_init: Some(true),
        };
        library.publish(&whole, &self.name, said, tell)
    }

    fn expect_possible(&self, library: &Library) -> Result<(), Error> {
        let not_here =
            |what: &str, hint: &str| Err(Error::new(ErrorKind::NotHere, what).with_hint(hint));
        if std::env::consts::ARCH != "x86_64" {
            return not_here(
                "images are made of packages on x86-64 only",
                "make it on such a machine, and import it here",
            );
        }
        if self.size.bytes() < LEAST_MIB << 20 {
            return not_here(
                "an image of less than 3GiB has no room for anything",
                "give it more",
            );
        }
        if self.include.len() > MAX_PACKAGES {
            return not_here(
                "these are too many packages",
                "install them in the machines",
            );
        }
        library.expect_free(&self.name)?;
        expect_programs(&PROGRAMS)?;
        match Path::new(KEYRING).is_file() {
            true => Ok(()),
            false => Err(
                Error::new(ErrorKind::Missing, "Debian's keys are not installed")
                    .with_hint("install them: sudo apt install debian-archive-keyring"),
            ),
        }
    }

    fn identifiers(&self) -> Result<Identifiers, Error> {
        let sum = sum_of(self.inputs())?;
        identifiers::of_sum(&sum)
            .ok_or_else(|| Error::new(ErrorKind::Program, "'sha256sum' answered no sum"))
    }

    fn write_disk(
        &self,
        disk: &Path,
        work: &WorkFolder,
        root: &Path,
        kernel: &str,
        ids: &Identifiers,
    ) -> Result<(), Error> {
        let read = |path: PathBuf| {
            let what = format!("cannot read '{}'", path.display());
            fs::read(&path).map_err(|error| Error::file(what, error))
        };
        let (boot, core) = (read(work.join("boot.img"))?, read(work.join("core.img"))?);
        let bios = BiosCode::new(&boot, &core, disk::BIOS_START, disk::BIOS_SECTORS)
            .map_err(|because| Error::new(ErrorKind::Program, because))?;
        // The serial console last: it is /dev/console, which QEMU keeps a log of.
        let command_line = format!(
            "root=PARTUUID={} ro console=tty0 console=ttyS0,115200",
            ids.root
        );
        let loader = root.join("usr/lib/systemd/boot/efi/systemd-bootx64.efi");
        let vmlinuz = root.join(format!("boot/vmlinuz-{kernel}"));
        let initrd = root.join(format!("boot/initrd.img-{kernel}"));
        let esp = [
            EspFile::Copy("EFI/BOOT/BOOTX64.EFI", &loader),
            EspFile::Text("loader/loader.conf", "timeout 0\n".to_owned()),
            EspFile::Text(
                "loader/entries/debian.conf",
                format!(
                    "title {}\nlinux /vmlinuz\ninitrd /initrd.img\noptions {command_line}\n",
                    self.suite.distribution()
                ),
            ),
            EspFile::Text(
                "grub/grub.cfg",
                format!("linux /vmlinuz {command_line}\ninitrd /initrd.img\nboot\n"),
            ),
            EspFile::Copy("vmlinuz", &vmlinuz),
            EspFile::Copy("initrd.img", &initrd),
        ];
        disk::make(disk, self.size, ids, root, &esp, &bios)
    }
}

/// The SHA-256 of a text.
fn sum_of(text: String) -> Result<String, Error> {
    let sum = SHA256SUM.call().text(text).run()?;
    Ok(sum.get(..64).unwrap_or_default().to_owned())
}

/// A folder with room for what is unpacked; `/tmp` is in memory on many machines.
fn temporary_folder() -> PathBuf {
    let named = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    named.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            name: "debian-12".parse().unwrap(),
            suite: Suite::Bookworm,
            size: DiskSize::USUAL,
            variant: Variant::Gpu,
            include: Vec::new(),
        }
    }

    #[test]
    fn the_inputs_change_with_everything_that_is_said() {
        let first = recipe().inputs();
        let others = [
            Recipe {
                size: "9GiB".parse().unwrap(),
                ..recipe()
            },
            Recipe {
                variant: Variant::Cloud,
                ..recipe()
            },
            Recipe {
                include: vec!["vim".parse().unwrap()],
                ..recipe()
            },
            Recipe {
                name: "other".parse().unwrap(),
                ..recipe()
            },
        ];
        for other in others {
            assert_ne!(other.inputs(), first);
        }
        assert!(first.contains("datasource_list"));
    }

    #[test]
    fn a_disk_without_room_is_refused_before_anything_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::at(folder.path().join("images"), None);
        let small = Recipe {
            size: "2GiB".parse().unwrap(),
            ..recipe()
        };
        assert_eq!(small.plan(&library).unwrap_err().kind(), ErrorKind::NotHere);
        assert!(!library.folder().exists());
    }
}
