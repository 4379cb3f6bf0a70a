//! The size of what is installed.

use std::fs;

use crate::table::Aim;
use crate::{Bench, Result};

pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    for (program, aim) in [("vfioctl-helper", Aim::Below(3.0)), ("vfioctl", Aim::None)] {
        let path = bench.folder.join(program);
        let bytes = fs::metadata(&path)
            .map_err(|error| format!("look at {}: {error}", path.display()))?
            .len();
        let kib = u32::try_from(bytes / 1024).map_err(|error| error.to_string())?;
        bench.table.alone(
            &format!("size of {program}"),
            "MiB",
            f64::from(kib) / 1024.0,
            aim,
        );
    }
    Ok(())
}
