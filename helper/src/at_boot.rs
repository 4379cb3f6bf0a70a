//! What the configuration asks for when the machine boots, before drivers bind: run once by
//! `vfioctl-acs.service`, without a socket.
//!
//! Nothing below `/var` is touched: it may not be mounted yet. Claims of earlier boots say nothing
//! about this one, and what is changed is written down below the runtime directory.

use std::path::Path;

use vfioctl_core::plan::{OverridePlan, RegroupPlan};

use crate::configuration::{self, AtBoot};
use crate::helper::Helper;
use crate::regroup::{look, regroup, undo};
use crate::{MethodError, audit};

/// Does what the configuration asks for.
///
/// # Errors
/// A sentence for the log: what could not be done, and why.
pub(crate) fn run(helper: &Helper, path: &Path) -> Result<(), String> {
    let configuration = configuration::read(path)?;
    let Some(wanted) = configuration.at_boot else {
        return Ok(());
    };
    // A run of this boot that was killed.
    if let Some(unfinished) = helper.acs.unfinished() {
        undo(helper, &unfinished);
    }
    isolate(helper, &wanted).map_err(|error| match error {
        MethodError::Refused { message, hint, .. } | MethodError::Failed { message, hint, .. } => {
            format!("{message}; try: {hint}")
        }
        other => format!("{other:?}"),
    })
}

fn isolate(helper: &Helper, wanted: &AtBoot) -> Result<(), MethodError> {
    let looked = look(helper)?;
    let (plan, rest): (RegroupPlan, Vec<String>) = match wanted {
        AtBoot::Gpus => {
            let OverridePlan {
                regroup,
                impossible,
                ..
            } = looked.regrouping().plan_override(&[])?;
            let rest = impossible
                .into_iter()
                .map(|(_, refusal)| refusal.to_string());
            (regroup, rest.collect())
        }
        AtBoot::Ports(ports) => (looked.regrouping().plan_ports(ports)?, Vec::new()),
    };
    for sentence in rest {
        audit::warning(&sentence);
    }
    for port in &plan.ports {
        audit::info(&format!("switching on ACS of {}", port.original.address));
    }
    if !plan.steps.is_empty() {
        regroup(helper, &looked.snapshot, &plan, 0, &mut |_| {})?;
    }
    audit::info(&format!(
        "at boot: {} ports changed, {} functions grouped anew",
        plan.ports.len(),
        plan.originals.len()
    ));
    Ok(())
}
