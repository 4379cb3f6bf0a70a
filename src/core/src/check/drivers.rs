//! Which drivers of GPUs are loaded, in which version.

use crate::Answer;

use super::{Check, Facts, Finding, GpuDriver, Run};

pub(super) const CHECK: Check = Check {
    id: "drivers",
    title: "GPU drivers",
    why: "the host's driver must let go of a GPU before a guest can have it; some versions of \
          NVIDIA's never do while anything has used it",
    looks_at: &[
        "/sys/module/NAME/ and /sys/module/NAME/version: nvidia, nouveau, amdgpu, radeon, i915, xe",
        "/proc/sys/kernel/osrelease: drivers that are part of the kernel have no other version",
    ],
    rule: "Passes and names the drivers and their versions; warns for NVIDIA's from 595 on.",
    run: Run::Once(run),
};

/// The first version of NVIDIA's driver reported to keep waiting for users of a GPU that are gone
/// (NVIDIA/open-gpu-kernel-modules issues 1119 and 1374; still so in 610).
const NVIDIA_LEAKS_SINCE: u32 = 595;

fn run(facts: &Facts) -> Finding {
    let Answer::Known(drivers) = &facts.host.drivers else {
        return Finding::cannot_see("the kernel does not show its modules");
    };
    if drivers.is_empty() {
        return Finding::pass("none is loaded");
    }
    let kernel = match &facts.host.kernel_release {
        Answer::Known(release) => format!("of kernel {release}"),
        Answer::CannotSee => "of the kernel".to_owned(),
    };
    let named = |driver: &GpuDriver| match &driver.version {
        Some(version) => format!("{} {version}", driver.name),
        None => format!("{} {kernel}", driver.name),
    };
    let found = drivers.iter().map(named).collect::<Vec<_>>().join(", ");
    match drivers.iter().any(may_never_let_go) {
        true => Finding::warning(format!(
            "{found}; from version {NVIDIA_LEAKS_SINCE} on nvidia may never let go of a GPU that \
             was in use"
        ))
        .with_fix(
            "stop everything that uses the GPU (nvidia-persistenced, displays, monitoring) before \
             you give it away; 'vfioctl show ADDRESS' names what has it open",
        ),
        false => Finding::pass(found),
    }
}

fn may_never_let_go(driver: &GpuDriver) -> bool {
    let major = driver
        .version
        .as_deref()
        .and_then(|version| version.split('.').next());
    driver.name == "nvidia"
        && major.and_then(|major| major.parse::<u32>().ok()) >= Some(NVIDIA_LEAKS_SINCE)
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    fn with_nvidia(version: &str) -> Finding {
        let mut facts = sample::good();
        let name = "nvidia".to_owned();
        facts.host.drivers = Answer::Known(vec![GpuDriver {
            name,
            version: Some(version.to_owned()),
        }]);
        run(&facts)
    }

    #[test]
    fn drivers_of_the_kernel_have_the_kernels_version() {
        assert_eq!(
            run(&sample::good()),
            Finding::pass("i915 of kernel 6.1.0-56-amd64, nvidia 535.183.01")
        );
    }

    #[test]
    fn versions_that_may_never_let_go_are_a_warning() {
        assert_eq!(with_nvidia("594.1").state, State::Pass);
        assert_eq!(with_nvidia("595.99").state, State::Warning);
        assert_eq!(with_nvidia("strange").state, State::Pass);
    }

    #[test]
    fn hidden_modules_are_not_missing_drivers() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
