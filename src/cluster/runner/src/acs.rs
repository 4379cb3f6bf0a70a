//! `[acs] override = true`: the GPUs of a node are isolated as far as its hardware can, when the runner
//! starts. The helper does it (`io.vfioctl.Acs`); where everything is as it should be, it does nothing.

use std::path::{Path, PathBuf};

use vfioctl_protocol::{Client, ClientError, acs};
use vfioctl_service::log;

use crate::limits::{ACS_STEP, ACS_TIME};

/// A GPU that shares its group with no other device already: of that nothing is told.
const ISOLATED: &str = "isolated";

/// Isolates every GPU. Says what is not well, as sentences: a node works without it.
pub(crate) async fn isolate_gpus(helper: PathBuf) -> Vec<String> {
    let ask = tokio::task::spawn_blocking(move || isolate(&helper).map_err(|error| words(&error)));
    let told = match tokio::time::timeout(ACS_TIME, ask).await {
        Ok(Ok(Ok(told))) => told,
        Ok(Ok(Err(because))) => vec![format!("ACS is not overridden: {because}")],
        Ok(Err(error)) => vec![format!("ACS is not overridden: {error}")],
        Err(_) => vec![format!(
            "ACS is not overridden yet: the helper has not ended within {} s",
            ACS_TIME.as_secs()
        )],
    };
    for sentence in &told {
        log::warning(sentence);
    }
    told
}

fn isolate(helper: &Path) -> Result<Vec<String>, ClientError> {
    let mut client = Client::connect(helper)?;
    let every = acs::PlanIsolate_Args {
        addresses: Vec::new(),
    };
    let planned: acs::PlanIsolate_Reply =
        client.call("io.vfioctl.Acs.PlanIsolate", every, ACS_STEP)?;
    let plan = planned.plan;
    if !plan.ports.is_empty() {
        let seen = acs::Isolate_Args {
            addresses: Vec::new(),
            members: Some(plan.members),
        };
        let tell = |reply: acs::Isolate_Reply| {
            if let Some(step) = reply.step {
                log::info(&format!("ACS override: {}", step.text));
            }
        };
        client.call_more("io.vfioctl.Acs.Isolate", seen, ACS_STEP, tell)?;
    }
    let others = plan.others.into_iter();
    let others = others.filter(|other| other.reason != ISOLATED);
    Ok(others.map(|other| sentence(&other)).collect())
}

/// What is said of a device that stays as it is. A refusal names it, a verdict does not.
fn sentence(other: &acs::Other) -> String {
    let acs::Other {
        address, message, ..
    } = other;
    match message.contains(address.as_str()) {
        true => format!("ACS override: {message}"),
        false => format!("ACS override: {address}: {message}"),
    }
}

fn words(error: &ClientError) -> String {
    match error {
        ClientError::Remote(remote) => remote.sentence(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_that_stays_is_named() {
        let told = |message: &str| {
            sentence(&acs::Other {
                address: "0000:07:00.0".into(),
                reason: "open_switch".into(),
                message: message.into(),
                hint: None,
            })
        };
        assert_eq!(told("shared"), "ACS override: 0000:07:00.0: shared");
        assert_eq!(
            told("0000:07:00.0 cannot be separated"),
            "ACS override: 0000:07:00.0 cannot be separated"
        );
    }
}
