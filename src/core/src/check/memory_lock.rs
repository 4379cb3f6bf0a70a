//! Whether enough memory may be locked for a guest with devices.

use crate::Answer;

use super::{Check, Facts, Finding, HelperState, Run};

pub(super) const CHECK: Check = Check {
    id: "memory-lock",
    title: "locked memory",
    why: "all memory of a guest with a device is locked in place, since the device may write to it \
          at any time; above the limit QEMU ends with 'VFIO_MAP_DMA failed: Cannot allocate \
          memory'",
    looks_at: &["/proc/self/limits: 'Max locked memory'"],
    rule: "Passes where the helper answers, which sets the limit of each machine it starts, and \
           where this user's own limit is unlimited or at least 4 GiB; warns below.",
    run: Run::Once(run),
};

/// Below this no guest of today's size starts.
const SMALL_GUEST_BYTES: u64 = 4 << 30;

fn run(facts: &Facts) -> Finding {
    let is_set_by_helper = matches!(facts.helper, HelperState::Answers { .. });
    let Answer::Known(limit) = facts.host.memory_lock else {
        return match is_set_by_helper {
            true => Finding::pass("the helper sets it for each machine"),
            false => Finding::cannot_see("the limits of this process cannot be read"),
        };
    };
    // The hard limit is what a process can give itself without help.
    match limit.hard_bytes {
        None => Finding::pass("unlimited"),
        Some(bytes) if bytes >= SMALL_GUEST_BYTES => Finding::pass(in_words(bytes)),
        Some(bytes) if is_set_by_helper => Finding::pass(format!(
            "{} for this user; the helper sets it for each machine",
            in_words(bytes)
        )),
        Some(bytes) => Finding::warning(format!("{} for this user", in_words(bytes))).with_fix(
            "start machines through the helper (check 'helper'), which sets it; for QEMU by hand: \
             sudo vfioctl setup, which lifts it for members of the group 'vfioctl', then log in \
             again",
        ),
    }
}

fn in_words(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryLock, State, sample};
    use super::*;

    fn with(hard_bytes: Option<u64>, helper: HelperState) -> Finding {
        let mut facts = sample::good();
        facts.host.memory_lock = Answer::Known(MemoryLock {
            soft_bytes: Some(0),
            hard_bytes,
        });
        facts.helper = helper;
        run(&facts)
    }

    #[test]
    fn the_kernels_default_is_a_warning_without_the_helper() {
        let finding = with(Some(8 << 20), HelperState::NotRunning);
        assert_eq!(
            (finding.state, finding.found.as_str()),
            (State::Warning, "8 MiB for this user")
        );
    }

    #[test]
    fn the_helper_raises_it() {
        let helper = sample::good().helper;
        assert_eq!(with(Some(8 << 20), helper).state, State::Pass);
    }

    #[test]
    fn large_limits_pass_by_themselves() {
        assert_eq!(
            with(None, HelperState::NotRunning),
            Finding::pass("unlimited")
        );
        assert_eq!(
            with(Some(64 << 30), HelperState::NotRunning),
            Finding::pass("64 GiB")
        );
    }

    #[test]
    fn a_hidden_limit_is_not_a_small_one() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
