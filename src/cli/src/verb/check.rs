//! `vfioctl check`: is this machine fit to give devices away?

use std::fmt::Write as _;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use vfioctl_core::check::{self, Check, Facts, HelperState, REGISTRY, Row, State, Verdict};
use vfioctl_core::claim::Claim;
use vfioctl_core::{Answer, Snapshot};
use vfioctl_scan::SysRoot;

use crate::programs::ask_programs;
use crate::width::{columns, plain};

/// What is asked of `vfioctl check`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CheckArgs {
    /// Say why each check matters, also where it passed.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Run these checks only; '--list' lists them.
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = ids())]
    pub(crate) only: Vec<String>,
    /// List the checks and run none.
    #[arg(long, conflicts_with_all = ["verbose", "only"])]
    pub(crate) list: bool,
    /// Print the page about the checks (docs/checks.md).
    #[arg(long, hide = true, exclusive = true)]
    pub(crate) document: bool,
}

/// What the caller has found out with or without the helper.
pub(crate) struct Looked {
    /// The PCI machine.
    pub(crate) snapshot: Snapshot,
    /// Who has which device; `CannotSee` where the helper did not tell.
    pub(crate) claims: Answer<Vec<Claim>>,
    /// Whether the helper answers.
    pub(crate) helper: HelperState,
}

/// The answer: what goes to stdout, and what the exit status says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The text for stdout, with a line feed at its end.
    pub(crate) text: String,
    /// Whether a check failed.
    pub(crate) verdict: Verdict,
}

/// Answers `vfioctl check`. `look` is called once, and not at all for `--list` and `--document`.
///
/// # Errors
/// Those of `look`.
pub(crate) fn run<E>(
    args: &CheckArgs,
    is_json: bool,
    root: &SysRoot,
    look: impl FnOnce() -> Result<Looked, E>,
) -> Result<Checked, E> {
    if args.document {
        return Ok(Checked {
            text: check::document(),
            verdict: Verdict::Pass,
        });
    }
    if args.list {
        return Ok(Checked {
            text: list_text(is_json),
            verdict: Verdict::Pass,
        });
    }
    let looked = look()?;
    let facts = Facts {
        snapshot: looked.snapshot,
        claims: looked.claims,
        host: vfioctl_scan::host::read_host(root),
        programs: ask_programs(),
        helper: looked.helper,
    };
    let is_wanted =
        |check: &Check| args.only.is_empty() || args.only.iter().any(|id| id == check.id);
    let rows = check::rows(&facts, is_wanted);
    let verdict = check::verdict(&rows);
    let text = match is_json {
        true => json_text(&Document::of(&rows, verdict)),
        false => table_text(&rows, verdict, args.verbose),
    };
    Ok(Checked { text, verdict })
}

fn ids() -> PossibleValuesParser {
    PossibleValuesParser::new(REGISTRY.iter().map(|check| check.id))
}

fn table_text(rows: &[Row], verdict: Verdict, is_verbose: bool) -> String {
    let mut lines = vec![(
        "STATE".to_owned(),
        "CHECK".to_owned(),
        "FOUND".into(),
        Vec::new(),
    )];
    for row in rows {
        let finding = &row.finding;
        let check = match finding.subject {
            Some(address) => format!("{} {address}", row.id),
            None => row.id.to_owned(),
        };
        let is_explained = is_verbose || finding.state != State::Pass;
        let why = is_explained.then(|| format!("why: {}", row.why));
        let fix = finding
            .fix
            .as_ref()
            .map(|fix| format!("fix: {}", plain(fix)));
        let below: Vec<String> = why.into_iter().chain(fix).collect();
        lines.push((
            finding.state.to_string(),
            check,
            plain(&finding.found),
            below,
        ));
    }
    let widest = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or_default() + 2;
    let state_width = widest(&mut lines.iter().map(|(state, ..)| columns(state)));
    let check_width = widest(&mut lines.iter().map(|(_, check, ..)| columns(check)));
    let mut text = String::new();
    for (state, check, found, below) in &lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{state:state_width$}{check:check_width$}{found}");
        for line in below {
            let _ = writeln!(text, "{:state_width$}{line}", "");
        }
    }
    let count = |state| rows.iter().filter(|row| row.finding.state == state).count();
    let counts = [State::Pass, State::Warning, State::Fail, State::CannotSee]
        .map(|state| format!("{} {state}", count(state)));
    let _ = writeln!(text, "\nverdict: {verdict} ({})", counts.join(", "));
    text
}

fn list_text(is_json: bool) -> String {
    if is_json {
        let listed = |check: &Check| Listed {
            id: check.id,
            title: check.title,
            why: check.why,
        };
        return json_text(&List {
            schema: 1,
            checks: REGISTRY.iter().map(listed).collect(),
        });
    }
    let width = REGISTRY
        .iter()
        .map(|check| columns(check.id))
        .max()
        .unwrap_or_default()
        + 2;
    REGISTRY
        .iter()
        .map(|check| format!("{:width$}{}\n", check.id, check.title))
        .collect()
}

/// The answer for programs.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    verdict: &'static str,
    checks: Vec<DocumentRow<'a>>,
}

#[derive(Serialize)]
struct DocumentRow<'a> {
    id: &'static str,
    title: &'a str,
    /// The function that the row is about; null where it is about the machine.
    address: Option<String>,
    state: &'static str,
    found: &'a str,
    why: &'static str,
    fix: Option<&'a str>,
}

/// The list of checks for programs.
#[derive(Serialize)]
struct List {
    schema: u32,
    checks: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    id: &'static str,
    title: &'static str,
    why: &'static str,
}

impl<'a> Document<'a> {
    fn of(rows: &'a [Row], verdict: Verdict) -> Self {
        let row = |row: &'a Row| DocumentRow {
            id: row.id,
            title: &row.title,
            address: row.finding.subject.map(|address| address.to_string()),
            state: row.finding.state.name(),
            found: &row.finding.found,
            why: row.why,
            fix: row.finding.fix.as_deref(),
        };
        Self {
            schema: 1,
            verdict: verdict.name(),
            checks: rows.iter().map(row).collect(),
        }
    }
}

fn json_text(document: &impl Serialize) -> String {
    // Strings, numbers and lists always serialize.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use vfioctl_core::check::Finding;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: CheckArgs,
    }

    fn row(id: &'static str, finding: Finding) -> Row {
        Row {
            id,
            title: format!("The {id}"),
            why: "because",
            finding,
        }
    }

    fn rows() -> Vec<Row> {
        let gpu = "0000:01:00.0".parse().unwrap();
        vec![
            row("kvm", Finding::pass("/dev/kvm can be opened")),
            row(
                "gpu",
                Finding::fail("cannot\u{1b}[31m")
                    .with_fix("do this")
                    .about(gpu),
            ),
            row("ovmf", Finding::cannot_see("hidden")),
        ]
    }

    #[test]
    fn what_did_not_pass_is_explained_below_its_row() {
        assert_eq!(
            table_text(&rows(), Verdict::Fail, false),
            "STATE       CHECK             FOUND\n\
             pass        kvm               /dev/kvm can be opened\n\
             fail        gpu 0000:01:00.0  cannot\\u{1b}[31m\n\
             \x20           why: because\n\
             \x20           fix: do this\n\
             cannot see  ovmf              hidden\n\
             \x20           why: because\n\
             \n\
             verdict: fail (1 pass, 0 warning, 1 fail, 1 cannot see)\n"
        );
    }

    #[test]
    fn verbose_explains_what_passed() {
        let rows = [row("kvm", Finding::pass("x"))];
        assert_eq!(
            table_text(&rows, Verdict::Pass, true),
            "STATE  CHECK  FOUND\npass   kvm    x\n       why: because\n\n\
             verdict: pass (1 pass, 0 warning, 0 fail, 0 cannot see)\n"
        );
    }

    #[test]
    fn the_answer_for_programs_has_these_fields() {
        let rows = rows();
        let text = json_text(&Document::of(&rows, Verdict::Fail));
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            answer,
            serde_json::json!({
                "schema": 1,
                "verdict": "fail",
                "checks": [
                    {
                        "id": "kvm", "title": "The kvm", "address": null, "state": "pass",
                        "found": "/dev/kvm can be opened", "why": "because", "fix": null,
                    },
                    {
                        "id": "gpu", "title": "The gpu", "address": "0000:01:00.0",
                        "state": "fail", "found": "cannot\u{1b}[31m", "why": "because",
                        "fix": "do this",
                    },
                    {
                        "id": "ovmf", "title": "The ovmf", "address": null,
                        "state": "cannot_see", "found": "hidden", "why": "because", "fix": null,
                    },
                ],
            })
        );
    }

    #[test]
    fn a_check_that_does_not_exist_cannot_be_asked_for() {
        let parse = |words: &[&str]| Command::try_parse_from(words).map(|command| command.args);
        let only = parse(&["check", "--only", "kvm,gpu"]).map(|args| args.only);
        assert_eq!(only.unwrap(), ["kvm", "gpu"]);
        assert!(parse(&["check", "--only", "kwm"]).is_err());
        assert!(parse(&["check", "--list", "--only", "kvm"]).is_err());
    }

    #[test]
    fn the_list_looks_at_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sys", "proc"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let root = SysRoot::below(folder.path()).unwrap();
        let args = CheckArgs {
            list: true,
            ..CheckArgs::default()
        };
        let checked = run(&args, false, &root, || Err("looked")).unwrap();
        assert_eq!(checked.verdict, Verdict::Pass);
        assert_eq!(checked.text.lines().count(), REGISTRY.len());
    }
}
