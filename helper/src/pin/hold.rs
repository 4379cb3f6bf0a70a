//! Before udev loads the first driver: pinned functions are aimed at vfio-pci.
//!
//! The udev rule alone would lose a race that cannot be seen in most boots: udev handles devices
//! side by side, and the module loaded for one of two equal cards binds the other as well, whose
//! rule may not have run yet. `vfioctl-pin.service` runs this once, before udev.

use vfioctl_core::Snapshot;
use vfioctl_core::pci::DriverName;
use vfioctl_core::pin::Pin;
use vfioctl_core::plan::Step;
use vfioctl_scan::{SysRoot, read_function};

use crate::audit;
use crate::kernel::Kernel;
use crate::limits::WRITE_TIME;

/// Aims every function of these pins at vfio-pci; tells whether that worked. A pin of which any
/// function is not the pinned one is left alone whole.
pub(crate) fn hold_pinned(root: &SysRoot, kernel: &dyn Kernel, pins: &[Pin]) -> bool {
    let mut is_held = true;
    for pin in pins {
        let mut snapshot = Snapshot::default();
        for original in &pin.originals {
            match read_function(root, original.address) {
                Ok(Some(function)) => drop(snapshot.functions.insert(original.address, function)),
                Ok(None) => {}
                Err(error) => audit::warning(&format!("{error}: {}", error.because())),
            }
        }
        if let Some(mismatch) = pin.find_mismatch(&snapshot) {
            audit::warning(&format!("a pin is not kept: {mismatch}"));
            continue;
        }
        for function in snapshot.functions.values() {
            let address = function.address;
            if let Some(driver) = &function.driver {
                // In the initramfs, or built in. Recovery takes it over when all is up.
                audit::warning(&format!("pinned {address} is on {driver} already"));
                continue;
            }
            let step = Step::SetOverride {
                address,
                from: function.driver_override.clone().known().flatten(),
                to: Some(DriverName::vfio_pci().as_str().to_owned()),
            };
            match kernel.apply(&step, WRITE_TIME) {
                Ok(()) => audit::info(&format!("pinned {address}: {step}")),
                Err(error) => {
                    audit::error(&format!("could not {step}: {error}"));
                    is_held = false;
                }
            }
        }
    }
    is_held
}
