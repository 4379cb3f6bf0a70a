//! The page about the checks, made from their registry.

use std::fmt::Write as _;

use super::REGISTRY;

const HEAD: &str = "\
<!-- Generated from src/core/src/check/. Do not edit: vfioctl check --document > docs/checks.md -->

# What `vfioctl check` looks at

`vfioctl check` tells whether this machine can give devices to guests, and what to do where it
cannot. It changes nothing. Each check comes out as one of four states:

| state | meaning |
|---|---|
| `pass` | good |
| `warning` | works, with something to know or to lose |
| `fail` | stands in the way of giving a device to a guest |
| `cannot see` | good or not, this user cannot see which; never taken for a fail |

The exit status is 0 where no check fails, 1 where one does, 2 where the machine could not be
looked at. `--only ID,ID` runs some checks, `--list` lists them, `--verbose` says for every check
why it matters, `--json` prints the table for programs (`cannot see` is `cannot_see` there).

| id | check |
|---|---|
";

/// The page about the checks (`docs/checks.md`), in Markdown.
pub fn document() -> String {
    let mut page = HEAD.to_owned();
    for check in REGISTRY {
        // Writing to a String does not fail.
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} |", check.id, check.title);
    }
    for check in REGISTRY {
        let _ = write!(page, "\n## {}\n\n", check.id);
        let _ = write!(page, "**{}.** Why: {}.\n\n", check.title, check.why);
        let _ = write!(page, "{}\n\nLooks at:\n\n", check.rule);
        for source in check.looks_at {
            let _ = writeln!(page, "* {source}");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_one_that_the_checks_make() {
        let page = include_str!("../../../../docs/checks.md");
        assert_eq!(
            page,
            document(),
            "write it anew: vfioctl check --document > docs/checks.md"
        );
    }
}
