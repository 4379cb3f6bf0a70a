//! A page of documentation as a story: commands that people type, and what they see.
//!
//! A block with the word `console` has commands, each behind a prompt that says who types it where, and
//! what it prints. `[…]` stands for anything, alone for any lines. What differs each time (tokens,
//! fingerprints, names of tasks, times) is found out when it is printed, and stands in later commands as
//! what it really is.

use std::collections::BTreeMap;

/// What a command may print that is elided.
const ELLIPSIS: &str = "[…]";

/// A command, and what the page says that it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it stands in the page.
    pub line: usize,
    /// Who types it.
    pub user: String,
    /// Where.
    pub place: String,
    /// The command, with all its lines.
    pub command: String,
    /// What it prints.
    pub output: Vec<String>,
}

/// Finds the steps of a page.
///
/// # Panics
/// Where a block begins without a command.
pub fn read_steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    let mut is_command = false;
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_inside = line == "```console";
            is_command = false;
            continue;
        }
        if !is_inside {
            continue;
        }
        if let Some((user, place, command)) = read_prompt(line) {
            steps.push(Step {
                line: number + 1,
                user: user.to_owned(),
                place: place.to_owned(),
                command: command.to_owned(),
                output: Vec::new(),
            });
            is_command = true;
        } else {
            let step = steps.last_mut().unwrap();
            match line.strip_prefix("> ").filter(|_| is_command) {
                Some(more) => step.command += &format!("\n{more}"),
                None => {
                    is_command = false;
                    step.output.push(line.to_owned());
                }
            }
        }
    }
    steps
}

fn read_prompt(line: &str) -> Option<(&str, &str, &str)> {
    let (prompt, command) = line.split_once(' ')?;
    let (user, place) = prompt.split_once('@')?;
    let place = match user {
        "root" => place.strip_suffix('#')?,
        _ => place.strip_suffix('$')?,
    };
    Some((user, place, command))
}

/// What stands in the page, and what it is this time.
#[derive(Debug, Clone, Default)]
pub struct Known(BTreeMap<String, String>);

impl Known {
    /// A command with what is known put in.
    pub fn put_in(&self, command: &str) -> String {
        let pieces = split(command);
        let known = |piece: &str| self.0.get(piece).cloned();
        let pieces = pieces
            .iter()
            .map(|piece| known(piece).unwrap_or_else(|| (*piece).to_owned()));
        pieces.collect()
    }

    /// Whether the page tells the truth; learns from it.
    pub fn learn(&mut self, expected: &[String], printed: &str) -> bool {
        let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
        match fit_lines(self, expected, &printed) {
            Some(known) => {
                *self = known;
                true
            }
            None => false,
        }
    }
}

fn fit_lines(known: &Known, expected: &[String], printed: &[&str]) -> Option<Known> {
    let Some((first, rest)) = expected.split_first() else {
        return printed.is_empty().then(|| known.clone());
    };
    if first.trim() == ELLIPSIS {
        return (0..=printed.len()).find_map(|skipped| fit_lines(known, rest, &printed[skipped..]));
    }
    let (line, others) = printed.split_first()?;
    let words: Vec<&str> = first.split_whitespace().collect();
    let seen: Vec<&str> = line.split_whitespace().collect();
    let known = fit_words(known, &words, &seen)?;
    fit_lines(&known, rest, others)
}

fn fit_words(known: &Known, expected: &[&str], printed: &[&str]) -> Option<Known> {
    let Some((first, rest)) = expected.split_first() else {
        return printed.is_empty().then(|| known.clone());
    };
    if *first == ELLIPSIS {
        return (0..=printed.len()).find_map(|skipped| fit_words(known, rest, &printed[skipped..]));
    }
    if let Some((before, after)) = first.split_once(ELLIPSIS) {
        // It may stand for several words too.
        return (1..=printed.len()).find_map(|taken| {
            let (words, others) = printed.split_at(taken);
            let words = words.join(" ");
            let fits = words.len() >= before.len() + after.len()
                && words.starts_with(before)
                && words.ends_with(after);
            fits.then(|| fit_words(known, rest, others)).flatten()
        });
    }
    let (word, others) = printed.split_first()?;
    let known = fit_word(known, first, word)?;
    fit_words(&known, rest, others)
}

fn fit_word(known: &Known, expected: &str, printed: &str) -> Option<Known> {
    if expected == printed {
        return Some(known.clone());
    }
    let (pieces, seen) = (split(expected), split(printed));
    if pieces.len() != seen.len() {
        return None;
    }
    let mut known = known.clone();
    for (piece, seen) in pieces.into_iter().zip(seen) {
        let is_known = known.0.get(piece).is_some_and(|value| value == seen);
        if piece == seen || is_known {
            continue;
        }
        let kind = kind_of(piece)?;
        if kind_of(seen)? != kind || (kind != Kind::Time && known.0.contains_key(piece)) {
            return None;
        }
        if kind != Kind::Time {
            known.0.insert(piece.to_owned(), seen.to_owned());
        }
    }
    Some(known)
}

/// Pieces of letters, digits and `_`, and what is between them.
fn split(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (at, c) in text.char_indices() {
        let before = text[begin..at].chars().next();
        if before.is_some_and(|before| is_word(before) != is_word(c)) {
            pieces.push(&text[begin..at]);
            begin = at;
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

/// What differs each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    Digest,
    TokenId,
    Task,
    Time,
}

fn kind_of(piece: &str) -> Option<Kind> {
    let is_hex = piece.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = piece.bytes().all(|byte| byte.is_ascii_digit());
    match piece.len() {
        64 if is_hex => Some(Kind::Digest),
        13 if piece.starts_with("01") => Some(Kind::Task),
        12 if is_hex => Some(Kind::TokenId),
        2 | 4 if is_number => Some(Kind::Time),
        len if len > 70 && piece.starts_with("vfioctl_") => Some(Kind::Token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(expected: &str, printed: &str) -> bool {
        let lines: Vec<String> = expected.lines().map(str::to_owned).collect();
        Known::default().learn(&lines, printed)
    }

    #[test]
    fn steps_are_found() {
        let page = "x\n```console\na@b$ one\n> two\nout\n```\n```text\nroot@b# no\n```\n\
                    ```console\nroot@c# three\n```\n";
        let steps = read_steps(page);
        let found: Vec<_> = steps
            .iter()
            .map(|step| {
                (
                    step.place.as_str(),
                    step.command.as_str(),
                    step.output.len(),
                )
            })
            .collect();
        assert_eq!(found, [("b", "one\ntwo", 1), ("c", "three", 0)]);
    }

    #[test]
    fn what_is_elided_is_anything_and_the_rest_is_not() {
        assert!(fits("a\n[…]\nb", "a\n1\n2\nb"));
        assert!(fits("a  b […] c", "a b x y c"));
        assert!(fits("0123[…]9, x", "0123456789, x"));
        assert!(fits("verdict ([…])", "verdict (1 pass, 2 fail)"));
        assert!(!fits("a", "a\nb"));
        assert!(!fits("a\nb", "a"));
        assert!(!fits("GPU 1", "GPU 2"), "a number is not a time");
    }

    #[test]
    fn what_differs_each_time_is_the_same_the_next_time() {
        let mut known = Known::default();
        let line = ["01nggnh9y8r7r: at 12:30".to_owned()];
        assert!(known.learn(&line, "01aaaaaaaaaaa: at 09:00"));
        assert_eq!(known.put_in("show 01nggnh9y8r7r"), "show 01aaaaaaaaaaa");
        assert!(!known.learn(&line, "01bbbbbbbbbbb: at 09:00"));
        assert!(known.learn(&line, "01aaaaaaaaaaa: at 09:01"));
    }
}
