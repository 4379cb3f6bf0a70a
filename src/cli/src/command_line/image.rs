//! The command line of `vfioctl image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use vfioctl_image::{DiskSize, Firmware, ImageName, Library, PackageName, Suite, Variant};

use crate::completion::complete_image;

/// What to do with base images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageVerb {
    /// Take a disk image in as a base image: qcow2, or raw, which becomes qcow2.
    ///
    /// The file is copied. One that needs another file (a backing file, a data file) or is encrypted
    /// is refused: whoever starts a machine with it would open whatever it names.
    Import(ImportImage),
    /// List the base images.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Remove a base image, unless the disk of a machine is made of it.
    Rm {
        /// Name of the image.
        #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete_image))]
        name: ImageName,
        #[command(flatten)]
        place: Place,
        /// Folder below which machines have their disks.
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath,
            default_value = Library::MACHINES_FOLDER)]
        machines: PathBuf,
        /// Print what would be done; change nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Make a base image: a small Debian with cloud-init and OpenSSH, of Debian's packages.
    ///
    /// They come from where this machine's apt has them. Nothing is installed here, and no disk,
    /// loop device or mount of this machine is touched. The image boots by UEFI and by BIOS, has no
    /// password and no key, and its root grows to the size of the machine's disk. Wants root and
    /// some minutes.
    Create(CreateImage),
}

/// Where the images are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Folder of the images.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, env = "VFIOCTL_IMAGES",
        hide_env_values = true, default_value = Library::DEFAULT_FOLDER)]
    pub(crate) images: PathBuf,
}

/// `image import`.
#[derive(Debug, Args)]
pub(crate) struct ImportImage {
    /// The file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Name of the image; without it, the name of the file gives one.
    #[arg(long)]
    pub(crate) name: Option<ImageName>,
    /// What the image boots with.
    #[arg(long, value_name = "FIRMWARE", default_value = "any")]
    pub(crate) firmware: FirmwareArgument,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Group that may read the image, by name or number; without it, that of the folder.
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Print what would be done; change nothing.
    #[arg(long)]
    pub(crate) plan: bool,
}

/// `image create`.
#[derive(Debug, Args)]
pub(crate) struct CreateImage {
    /// Make it of Debian packages; the only way there is so far.
    #[arg(long, required = true)]
    pub(crate) from_packages: bool,
    /// Name of the image.
    #[arg(long, default_value = "debian-12")]
    pub(crate) name: ImageName,
    /// Release of Debian.
    #[arg(long, default_value = "bookworm")]
    pub(crate) suite: SuiteArgument,
    /// Size of its disk, as 8GiB; a machine's own may be larger, and the root grows.
    #[arg(long, default_value_t = DiskSize::USUAL)]
    pub(crate) size: DiskSize,
    /// More packages, with commas between them.
    #[arg(long, value_name = "PACKAGE", value_delimiter = ',')]
    pub(crate) include: Vec<PackageName>,
    /// What it is for: 'gpu' has Debian's usual kernel, with all drivers; 'cloud' a smaller one,
    /// which has none for GPUs.
    #[arg(long, default_value = "gpu")]
    pub(crate) variant: VariantArgument,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Group that may read the image, by name or number; without it, that of the folder.
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Print what would be done; change nothing.
    #[arg(long)]
    pub(crate) plan: bool,
}

/// What an image boots with.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FirmwareArgument {
    /// UEFI.
    Uefi,
    /// A PC's BIOS.
    Bios,
    /// Either.
    Any,
}

/// A release of Debian.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SuiteArgument {
    /// Debian 12.
    Bookworm,
}

/// What an image is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum VariantArgument {
    /// Machines with devices.
    Gpu,
    /// Machines without.
    Cloud,
}

impl From<FirmwareArgument> for Firmware {
    fn from(argument: FirmwareArgument) -> Self {
        match argument {
            FirmwareArgument::Uefi => Self::Uefi,
            FirmwareArgument::Bios => Self::Bios,
            FirmwareArgument::Any => Self::Any,
        }
    }
}

impl From<SuiteArgument> for Suite {
    fn from(argument: SuiteArgument) -> Self {
        match argument {
            SuiteArgument::Bookworm => Self::Bookworm,
        }
    }
}

impl From<VariantArgument> for Variant {
    fn from(argument: VariantArgument) -> Self {
        match argument {
            VariantArgument::Gpu => Self::Gpu,
            VariantArgument::Cloud => Self::Cloud,
        }
    }
}
