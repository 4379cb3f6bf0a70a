//! `vfioctl cdi`: what may be typed.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

/// What to do about CDI specifications.
#[derive(Debug, Subcommand)]
pub(crate) enum CdiVerb {
    /// Write a CDI specification of this machine's GPUs, under which container engines find them.
    ///
    /// Each GPU that its own driver has is in it, as 'vfioctl.dev/gpu=ADDRESS', with its device nodes;
    /// for AMD's, /dev/kfd too. GPUs of NVIDIA are not: their driver's libraries belong into a
    /// container too, which 'nvidia-ctk cdi generate' knows. Device nodes are numbered by the order
    /// in which drivers come, so write it again after each boot, and when a GPU has changed its
    /// driver. vfioctl's own runner needs no such file: it looks at each start.
    ///
    /// Exit status 1 where there is no GPU to write down; then nothing is written.
    Generate {
        /// The file, as /etc/cdi/vfioctl.json; standard output without one. One that is there is
        /// replaced.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// List the devices that container engines find in /etc/cdi and /var/run/cdi.
    ///
    /// Exit status 1 where a specification there is none.
    List,
}
