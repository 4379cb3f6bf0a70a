//! `/sys/module/NAME/`: the drivers of GPUs that are loaded, and their versions.
//!
//! Only modules from outside the kernel have a `version` worth telling; drivers of the kernel are
//! as old as the kernel.

use vfioctl_core::Answer;
use vfioctl_core::check::GpuDriver;

use crate::SysRoot;

const NAMES: [&str; 6] = ["amdgpu", "i915", "nouveau", "nvidia", "radeon", "xe"];

pub(super) fn read_gpu_drivers(root: &SysRoot) -> Answer<Vec<GpuDriver>> {
    let loaded = super::seen(root.sys.list("module"));
    loaded.map(|loaded| {
        let is_gpu = |name: &String| NAMES.contains(&name.as_str());
        loaded
            .into_iter()
            .filter(is_gpu)
            .map(|name| read_gpu_driver(root, name))
            .collect()
    })
}

fn read_gpu_driver(root: &SysRoot, name: String) -> GpuDriver {
    let version = root
        .sys
        .read_text(&format!("module/{name}/version"))
        .ok()
        .flatten();
    GpuDriver {
        name,
        version: version.filter(|version| !version.is_empty()),
    }
}
