//! `vfioctl setup` for people.

use std::fmt::Write as _;

use crate::output::Answered;
use crate::record::{BootLoaderKind, BootLoaderRecord, SetupRecord};
use crate::width::{plain, shortened};

/// Columns of a changed line that are shown; the file itself says the rest.
const LINE: usize = 160;

impl Answered for SetupRecord {
    fn text(&self) -> String {
        let mut text = self.steps_text();
        if self.planned {
            if !self.steps.is_empty() {
                text.push_str("nothing was changed\n");
            }
        } else {
            let done = match (self.steps.len(), self.undo) {
                (0, _) => String::new(),
                (1, _) => "done: 1 step\n".to_owned(),
                (count, _) => format!("done: {count} steps\n"),
            };
            text = format!("{}{done}", self.remarks());
        }
        text.push_str(&self.reboot_text());
        text
    }
}

impl SetupRecord {
    /// The steps and what is to be said of them, before they are taken.
    pub(crate) fn steps_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if let Some(boot_loader) = self.boot_loader.as_ref() {
            let _ = writeln!(text, "boot loader: {}", boot_loader_text(boot_loader));
        }
        if self.steps.is_empty() {
            text.push_str(&self.remarks());
            return text;
        }
        text.push_str("by these steps\n");
        for (index, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", index + 1, plain(&step.text));
            for line in &step.lines {
                let line = line.replace('\t', "    ");
                let _ = writeln!(text, "       {}", shortened(&plain(&line), LINE));
            }
        }
        text.push_str(&self.remarks());
        text
    }

    fn remarks(&self) -> String {
        let mut text = String::new();
        if self.steps.is_empty() {
            text.push_str(
                match (self.undo, self.left.is_empty(), self.by_hand.is_empty()) {
                    (true, true, _) => "nothing to undo\n",
                    (false, _, true) => "nothing to do\n",
                    _ => "",
                },
            );
        }
        for (word, sentences) in [
            ("by hand", &self.by_hand),
            ("note", &self.notes),
            ("left", &self.left),
        ] {
            for sentence in sentences {
                let _ = writeln!(text, "{word}: {}", plain(sentence));
            }
        }
        text
    }

    /// Whether a reboot now would be too early.
    fn is_something_left(&self) -> bool {
        self.planned && !self.steps.is_empty() || !self.by_hand.is_empty()
    }

    /// Whether the machine has to start again. Everything is waited for that is not in effect, also
    /// what an earlier call has set up.
    fn reboot_text(&self) -> String {
        let text = match (self.reboot, self.undo) {
            (Some(false), _) => "",
            (Some(true), true) => {
                "the running kernel keeps its parameters until the machine is started again\n"
            }
            (Some(true), false) if self.is_something_left() => {
                "after that the machine has to be started again\n"
            }
            (Some(true), false) => {
                "waiting for a reboot: start the machine again, then run 'vfioctl check'\n"
            }
            (None, _) => "whether the machine has to be started again cannot be seen\n",
        };
        text.to_owned()
    }
}

fn boot_loader_text(boot_loader: &BootLoaderRecord) -> String {
    let name = match boot_loader.kind {
        BootLoaderKind::Grub => "GRUB",
        BootLoaderKind::SystemdBoot => "systemd-boot",
        BootLoaderKind::KernelInstall => "kernel-install",
    };
    format!("{name} ({})", plain(&boot_loader.why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;
    use crate::record::{SetupStepRecord, SetupVerb};

    fn record(planned: bool) -> SetupRecord {
        SetupRecord {
            planned,
            undo: false,
            boot_loader: Some(BootLoaderRecord {
                kind: BootLoaderKind::Grub,
                why: "there is an /etc/default/grub".to_owned(),
            }),
            parameters: vec!["iommu=pt".to_owned()],
            steps: vec![
                SetupStepRecord {
                    verb: SetupVerb::Write,
                    path: Some("/etc/x".to_owned()),
                    command: None,
                    lines: vec!["+ \ta\u{1b}b".to_owned()],
                    text: "write /etc/x: add 'a'".to_owned(),
                },
                SetupStepRecord {
                    verb: SetupVerb::Run,
                    path: None,
                    command: Some(vec!["update-grub".to_owned()]),
                    lines: Vec::new(),
                    text: "run update-grub".to_owned(),
                },
            ],
            by_hand: Vec::new(),
            notes: vec!["it rains".to_owned()],
            left: Vec::new(),
            reboot: Some(true),
        }
    }

    #[test]
    fn a_plan_shows_its_steps_and_that_nothing_was_changed() {
        assert_eq!(
            record(true).text(),
            "boot loader: GRUB (there is an /etc/default/grub)\nby these steps\n  \
             1. write /etc/x: add 'a'\n       +     a\\u{1b}b\n  2. run update-grub\nnote: it rains\n\
             nothing was changed\nafter that the machine has to be started again\n"
        );
        assert_answer("setup", &record(true));
    }

    #[test]
    fn what_was_done_is_counted_and_the_reboot_named() {
        assert_eq!(
            record(false).text(),
            "note: it rains\ndone: 2 steps\n\
             waiting for a reboot: start the machine again, then run 'vfioctl check'\n"
        );
        assert_answer("setup", &record(false));
    }

    #[test]
    fn nothing_to_do_waits_for_a_reboot_or_for_nothing() {
        let mut record = SetupRecord {
            steps: Vec::new(),
            notes: Vec::new(),
            boot_loader: None,
            ..record(false)
        };
        assert_eq!(
            record.text(),
            "nothing to do\n\
             waiting for a reboot: start the machine again, then run 'vfioctl check'\n"
        );
        record.reboot = Some(false);
        assert_eq!(record.text(), "nothing to do\n");
        record.planned = true;
        assert_eq!(record.text(), "nothing to do\n");
        record.by_hand = vec!["add it".to_owned()];
        record.reboot = None;
        assert_eq!(
            record.text(),
            "by hand: add it\nwhether the machine has to be started again cannot be seen\n"
        );
        assert_answer("setup", &record);
        record.reboot = Some(true);
        record.planned = false;
        assert_eq!(
            record.text(),
            "by hand: add it\nafter that the machine has to be started again\n"
        );
    }

    #[test]
    fn undoing_tells_what_is_left() {
        let mut record = SetupRecord {
            undo: true,
            notes: Vec::new(),
            boot_loader: None,
            left: vec!["/etc/x was edited by somebody since".to_owned()],
            ..record(false)
        };
        assert_eq!(
            record.text(),
            "left: /etc/x was edited by somebody since\ndone: 2 steps\n\
             the running kernel keeps its parameters until the machine is started again\n"
        );
        record.steps.clear();
        record.left.clear();
        record.reboot = Some(false);
        assert_eq!(record.text(), "nothing to undo\n");
        assert_answer("setup", &record);
    }
}
