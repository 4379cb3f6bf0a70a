//! Whether a program that writes ISO images is there.

use crate::Answer;

use super::distribution::Package;
use super::{Check, Facts, Finding, Run};

pub(super) const CHECK: Check = Check {
    id: "iso-tool",
    title: "ISO tool",
    why: "a guest from a cloud image gets its first settings (users, keys) from a small disk \
          beside it, which such a program writes",
    looks_at: &["/usr/bin/, /usr/local/bin/: genisoimage, mkisofs, xorriso"],
    rule: "Passes where one of the programs is found; warns where none is.",
    run: Run::Once(run),
};

const PACKAGE: Package = Package {
    debian: "genisoimage",
    fedora: "xorriso",
    arch: "libisoburn",
    suse: "xorriso",
    words: "genisoimage, mkisofs or xorriso",
};

fn run(facts: &Facts) -> Finding {
    let Answer::Known(tools) = &facts.host.iso_tools else {
        return Finding::cannot_see("the folders of programs cannot be read");
    };
    match tools.is_empty() {
        true => Finding::warning("none of genisoimage, mkisofs and xorriso in /usr")
            .with_fix(facts.host.distribution.install(&PACKAGE)),
        false => Finding::pass(tools.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    #[test]
    fn a_tool_passes_and_none_is_a_warning() {
        let mut facts = sample::good();
        assert_eq!(run(&facts), Finding::pass("/usr/bin/xorriso"));
        facts.host.iso_tools = Answer::Known(Vec::new());
        assert_eq!(run(&facts).state, State::Warning);
        assert_eq!(
            run(&facts).fix.as_deref(),
            Some("sudo apt install genisoimage")
        );
    }

    #[test]
    fn hidden_folders_are_not_empty_ones() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
