//! The fence: every write and every unsafe operation of the helper stands in this folder.

mod attribute;
mod console;
mod device_locks;
mod dirs;
mod live;
mod machine_log;
mod ownership;
mod peer_groups;
mod privileges;
mod process;
mod spawn;
mod state_dir;

pub(crate) use console::trim_console;
pub(crate) use dirs::{RuntimeDirs, bind_socket};
pub use live::LiveKernel;
pub(crate) use machine_log::{MachineLog, read_machine_log};
pub(crate) use peer_groups::peer_groups;
pub(crate) use privileges::drop_privileges;
pub(crate) use process::{Process, kill};
pub(crate) use spawn::{Confinement, spawn};
pub(crate) use state_dir::StateDir;
