//! Whether there is UEFI firmware for guests.

use crate::Answer;

use super::distribution::Package;
use super::{Check, Facts, Finding, Run};

pub(super) const CHECK: Check = Check {
    id: "ovmf",
    title: "OVMF",
    why: "most GPUs start in a guest only under UEFI; OVMF is the UEFI firmware of guests, and \
          without it only PC BIOS is left",
    looks_at: &[
        "/usr/share/OVMF/, /usr/share/edk2/, /usr/share/edk2-ovmf/, /usr/share/qemu/",
        "/usr/share/qemu/firmware/*.json: QEMU's descriptions of firmware",
    ],
    rule: "Passes where an image of OVMF's code is found; warns where none is.",
    run: Run::Once(run),
};

const PACKAGE: Package = Package {
    debian: "ovmf",
    fedora: "edk2-ovmf",
    arch: "edk2-ovmf",
    suse: "qemu-ovmf-x86_64",
    words: "OVMF, the UEFI firmware for QEMU's x86 machines",
};

fn run(facts: &Facts) -> Finding {
    let Answer::Known(images) = &facts.host.guest_firmware else {
        return Finding::cannot_see("/usr/share cannot be read");
    };
    match images.split_first() {
        None => Finding::warning("no image of OVMF in /usr/share")
            .with_fix(facts.host.distribution.install(&PACKAGE)),
        Some((first, [])) => Finding::pass(first),
        Some((first, others)) => Finding::pass(format!("{first} and {} more", others.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    fn with(images: &[&str]) -> Finding {
        let mut facts = sample::good();
        let images = images.iter().map(|image| (*image).to_owned()).collect();
        facts.host.guest_firmware = Answer::Known(images);
        run(&facts)
    }

    #[test]
    fn found_images_pass() {
        assert_eq!(with(&["/a.fd"]), Finding::pass("/a.fd"));
        assert_eq!(
            with(&["/a.fd", "/b.fd", "/c.fd"]),
            Finding::pass("/a.fd and 2 more")
        );
    }

    #[test]
    fn no_image_is_a_warning_with_the_command_that_installs_it() {
        assert_eq!(
            with(&[]),
            Finding::warning("no image of OVMF in /usr/share").with_fix("sudo apt install ovmf")
        );
    }

    #[test]
    fn a_hidden_folder_is_not_an_empty_one() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
