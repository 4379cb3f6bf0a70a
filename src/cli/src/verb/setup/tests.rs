use std::fs;

use serde_json::Value;
use vfioctl_core::check::{CommandLine, ModuleState};
use vfioctl_setup::Command;

use super::*;

/// Writes down what it is asked to run.
#[derive(Default)]
struct Recorder {
    ran: Vec<String>,
}

impl RunProgram for Recorder {
    fn run(&mut self, command: &Command) -> Result<(), Error> {
        self.ran.push(command.text());
        Ok(())
    }
}

/// A Debian with GRUB, in a folder.
struct Place {
    folder: tempfile::TempDir,
    line: &'static str,
}

/// What a call came to.
struct Outcome {
    verdict: Verdict,
    answer: String,
    conversation: String,
    ran: Vec<String>,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
            line: "BOOT_IMAGE=/x quiet",
        };
        place.write("etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n");
        place.write("etc/default/grub.d/a.cfg", "");
        place.write("etc/security/limits.conf", "* - memlock unlimited\n");
        place.write("etc/modules", "vfio-pci\n");
        place.write("usr/sbin/update-grub", "");
        place.write("usr/sbin/grub-mkconfig", "/etc/default/grub.d");
        place
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn is_set_up(&self) -> bool {
        self.folder
            .path()
            .join("etc/default/grub.d/vfioctl.cfg")
            .exists()
    }

    /// Calls the verb; a user who types `typed`, or has no terminal.
    fn call(&self, words: &str, is_root: bool, typed: Option<&str>) -> Outcome {
        let arguments = SetupArgs {
            plan: words.contains("--plan"),
            yes: words.contains("--yes"),
            undo: words.contains("--undo"),
        };
        let machine = Machine {
            vendor: Answer::Known("GenuineIntel".to_owned()),
            command_line: Answer::Known(CommandLine::new(self.line)),
            kernel_release: Answer::Known("6.1".to_owned()),
            is_iommu_on: Answer::Known(true),
            vfio_pci: Answer::Known(ModuleState::Loaded),
        };
        let mut ask = || Ok(typed.unwrap_or_default().to_owned());
        let mut caller = Caller {
            is_root,
            ask: match typed {
                Some(_) => Some(&mut ask),
                None => None,
            },
        };
        let mut programs = Recorder::default();
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let json = words.contains("--json");
        let mut output = Output::new(&mut answer, &mut conversation, json);
        let root = self.folder.path();
        let done = super::answer(
            &arguments,
            root,
            machine,
            &mut caller,
            &mut programs,
            &mut output,
        );
        let verdict = done.unwrap_or_else(|failure| {
            output.fail(&failure);
            failure.verdict()
        });
        Outcome {
            verdict,
            answer: String::from_utf8(answer).unwrap(),
            conversation: String::from_utf8(conversation).unwrap(),
            ran: programs.ran,
        }
    }
}

const STEPS: &str = "boot loader: GRUB (there is an /etc/default/grub)\nby these steps\n  \
    1. write /etc/default/grub.d/vfioctl.cfg: add 'intel_iommu=on iommu=pt'\n       \
    + # Written by 'vfioctl setup'; 'sudo vfioctl setup --undo' takes it away.\n       \
    + GRUB_CMDLINE_LINUX_DEFAULT=\"${GRUB_CMDLINE_LINUX_DEFAULT} intel_iommu=on iommu=pt\"\n  \
    2. run /usr/sbin/update-grub\n";

#[test]
fn anybody_may_see_the_plan() {
    let place = Place::new();
    let outcome = place.call("--plan", false, None);
    assert_eq!(outcome.verdict, Verdict::Yes);
    assert_eq!(
        outcome.answer,
        format!("{STEPS}nothing was changed\nafter that the machine has to be started again\n")
    );
    assert!(!place.is_set_up() && outcome.ran.is_empty());
}

#[test]
fn only_root_may_apply_it() {
    let place = Place::new();
    let outcome = place.call("--yes", false, Some("yes"));
    assert_eq!(outcome.verdict, Verdict::CouldNot);
    assert_eq!(
        outcome.conversation,
        "vfioctl: only root can change the configuration\n  try: run 'sudo vfioctl setup'; \
         'vfioctl setup --plan' shows what it would do\n"
    );
    assert!(!place.is_set_up());
}

#[test]
fn it_asks_and_takes_only_a_yes() {
    let place = Place::new();
    let outcome = place.call("", true, Some("y\n"));
    assert_eq!(outcome.verdict, Verdict::No);
    assert_eq!(
        outcome.conversation,
        format!(
            "{STEPS}type 'yes' to take these steps: vfioctl: the answer was not 'yes'; nothing was \
             changed\n"
        )
    );
    assert!(!place.is_set_up());
    let outcome = place.call("", true, Some("yes\n"));
    assert_eq!(outcome.verdict, Verdict::Yes);
    assert!(place.is_set_up());
    assert_eq!(outcome.ran, ["/usr/sbin/update-grub"]);
    assert_eq!(
        outcome.answer,
        "done: 2 steps\nwaiting for a reboot: start the machine again, then run 'vfioctl check'\n"
    );
}

#[test]
fn where_nobody_can_be_asked_it_wants_a_yes_beforehand() {
    let place = Place::new();
    let because = [
        ("", "there is no terminal"),
        ("--json", "the answer is for a program"),
    ];
    for (words, because) in because {
        let outcome = place.call(words, true, None);
        assert_eq!(outcome.verdict, Verdict::CouldNot);
        assert_eq!(
            outcome.conversation,
            format!(
                "vfioctl: nobody can be asked whether to go on\n  because: {because}\n  try: add \
                 '--yes' to go on without being asked, or see 'vfioctl setup --plan'\n"
            )
        );
    }
    assert_eq!(
        place.call("--json", true, Some("yes")).verdict,
        Verdict::CouldNot
    );
    assert!(!place.is_set_up());
}

#[test]
fn a_second_call_has_nothing_to_do() {
    let mut place = Place::new();
    place.call("--yes", true, None);
    let second = place.call("--yes", true, None);
    assert_eq!(
        (second.verdict, second.answer.as_str(), second.ran.len()),
        (
            Verdict::Yes,
            "nothing to do\n\
             waiting for a reboot: start the machine again, then run 'vfioctl check'\n",
            0
        )
    );
    place.line = "BOOT_IMAGE=/x quiet intel_iommu=on iommu=pt";
    // Nothing to do needs no root and asks nobody.
    let third = place.call("", false, None);
    assert_eq!(
        (third.verdict, third.answer.as_str()),
        (Verdict::Yes, "nothing to do\n")
    );
}

#[test]
fn undoing_takes_it_away_and_says_what_it_left() {
    let place = Place::new();
    place.call("--yes", true, None);
    let plan = place.call("--undo --plan", true, None);
    assert_eq!(
        plan.answer,
        "by these steps\n  1. remove /etc/default/grub.d/vfioctl.cfg\n  \
         2. run /usr/sbin/update-grub\nnothing was changed\n\
         the running kernel keeps its parameters until the machine is started again\n"
    );
    let undone = place.call("--undo --yes", true, None);
    assert_eq!((undone.verdict, undone.ran.len()), (Verdict::Yes, 1));
    assert!(!place.is_set_up());
    assert_eq!(place.call("--undo", true, None).answer, "nothing to undo\n");

    place.call("--yes", true, None);
    place.write("etc/default/grub.d/vfioctl.cfg", "mine");
    let left = place.call("--undo --yes", true, None);
    assert_eq!(left.verdict, Verdict::No);
    assert_eq!(
        left.answer,
        "left: /etc/default/grub.d/vfioctl.cfg was edited by somebody since; before 'vfioctl \
         setup' there was none\n"
    );
}

#[test]
fn what_is_left_to_be_done_by_hand_is_a_no() {
    let place = Place::new();
    fs::remove_file(place.folder.path().join("etc/default/grub")).unwrap();
    for words in ["--plan", "--yes"] {
        let outcome = place.call(words, true, None);
        assert_eq!(outcome.verdict, Verdict::No, "{words}");
        assert!(
            outcome
                .answer
                .starts_with("by hand: add 'intel_iommu=on iommu=pt' to the ")
        );
    }
}

#[test]
fn a_broken_record_is_told_and_nothing_is_done() {
    let place = Place::new();
    place.write("var/lib/vfioctl/setup/record.json", "{}");
    let outcome = place.call("--undo --json", true, None);
    let answer: Value = serde_json::from_str(&outcome.answer).unwrap();
    assert_eq!(outcome.verdict, Verdict::CouldNot);
    assert_eq!(answer["error"]["name"], "RecordBroken");
}

#[test]
fn a_program_is_told_in_json() {
    let place = Place::new();
    let outcome = place.call("--yes --json", true, None);
    let answer: Value = serde_json::from_str(&outcome.answer).unwrap();
    assert_eq!(
        (outcome.verdict, outcome.conversation.as_str()),
        (Verdict::Yes, "")
    );
    assert_eq!(answer["schema"], 1);
    assert_eq!(answer["boot_loader"]["kind"], "grub");
    assert_eq!(answer["steps"][1]["command"][0], "/usr/sbin/update-grub");
}
