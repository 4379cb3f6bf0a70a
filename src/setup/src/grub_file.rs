//! `/etc/default/grub` and the files of `/etc/default/grub.d/`: shell, of which the assignments to
//! two variables are understood, and edited in place.
//!
//! GRUB: `grub-mkconfig` sources the files one after the other; the kernel gets
//! `GRUB_CMDLINE_LINUX` and then `GRUB_CMDLINE_LINUX_DEFAULT` (`util/grub.d/10_linux.in`). The file
//! is lexed as `sh` does it (POSIX.1-2017, Shell Command Language, 2.2 and 2.3), without running
//! anything: an assignment below an `if` is taken as one that happens.

use std::ops::Range;

use crate::parameters::{Vendor, correction_text, words};
use crate::splice::Splice;

/// A variable with parameters of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable {
    /// `GRUB_CMDLINE_LINUX`: for every entry.
    Always,
    /// `GRUB_CMDLINE_LINUX_DEFAULT`: for every entry but those for recovery.
    Default,
}

/// A file that cannot be edited safely, as a reason.
pub(crate) type NotUnderstood = String;

/// What the files before have set, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Variables {
    always: Vec<u8>,
    default: Vec<u8>,
}

impl Variables {
    /// The line that the kernel gets.
    pub(crate) fn line(&self) -> Vec<u8> {
        [&self.always, b" ".as_slice(), &self.default].concat()
    }

    fn of(&mut self, variable: Variable) -> &mut Vec<u8> {
        match variable {
            Variable::Always => &mut self.always,
            Variable::Default => &mut self.default,
        }
    }

    /// Sets what a file sets.
    pub(crate) fn source(&mut self, file: &GrubFile) {
        for assignment in &file.assignments {
            let mut value = Vec::new();
            for character in &assignment.value {
                match character.meaning {
                    Meaning::Byte(byte) => value.push(byte),
                    Meaning::Value(variable) => value.extend_from_slice(self.of(variable)),
                }
            }
            *self.of(assignment.variable) = value;
        }
    }
}

/// The assignments of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrubFile {
    assignments: Vec<Assignment>,
    len: usize,
    ends_line: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    variable: Variable,
    /// What the shell makes of the word, and where each part of it stands.
    value: Vec<Character>,
    /// The word behind `=`.
    range: Range<usize>,
    /// Where something can be put in before the quote that ends the word.
    before_quote: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Character {
    meaning: Meaning,
    range: Range<usize>,
    /// Which run of equal quoting it stands in; text over two of them is not replaced.
    run: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Byte(u8),
    Value(Variable),
}

impl GrubFile {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// Where a quote is never closed: nobody can say then what an edit would mean.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, NotUnderstood> {
        let assignments = Lexer { bytes, at: 0 }.assignments()?;
        Ok(Self {
            assignments,
            len: bytes.len(),
            ends_line: bytes.last().is_none_or(|byte| *byte == b'\n'),
        })
    }

    /// What is to be replaced in this file, with a sentence for each.
    ///
    /// # Errors
    /// Where a parameter is written over several quotes or lines.
    pub(crate) fn corrections(
        &self,
        vendor: Vendor,
    ) -> Result<(Vec<Splice>, Vec<String>), NotUnderstood> {
        let (mut splices, mut said) = (Vec::new(), Vec::new());
        for assignment in &self.assignments {
            // The value of another variable ends a word; it is looked at where it is set.
            let text: Vec<u8> = assignment.value.iter().map(Character::byte).collect();
            for word in words(&text) {
                let old = text.get(word.clone()).unwrap_or_default();
                let Some(new) = vendor.corrected(old) else {
                    continue;
                };
                let characters = assignment.value.get(word.clone()).unwrap_or_default();
                let said_word = String::from_utf8_lossy(old);
                let range = one_range(characters).ok_or_else(|| {
                    format!("'{said_word}' is written with quotes or line ends inside")
                })?;
                said.push(correction_text(old, &new));
                splices.push(Splice {
                    range: assignment.with_space(range, word.start, new.is_empty()),
                    by: new.into_bytes(),
                });
            }
        }
        Ok((splices, said))
    }

    /// Puts parameters behind the last value of `GRUB_CMDLINE_LINUX_DEFAULT`.
    pub(crate) fn added(&self, bytes: &[u8], parameters: &str) -> Splice {
        let last = self
            .assignments
            .iter()
            .rev()
            .find(|assignment| assignment.variable == Variable::Default);
        let Some(last) = last else {
            let start = if self.ends_line { "" } else { "\n" };
            let line = format!("{start}GRUB_CMDLINE_LINUX_DEFAULT=\"{parameters}\"\n");
            return Splice::insert(self.len, line);
        };
        let is_spaced = last
            .value
            .last()
            .is_none_or(|character| character.byte().is_ascii_whitespace());
        let text = match is_spaced {
            true => parameters.to_owned(),
            false => format!(" {parameters}"),
        };
        if let Some(at) = last.before_quote {
            return Splice::insert(at, text);
        }
        let word = bytes.get(last.range.clone()).unwrap_or_default();
        let is_simple = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-=,./:".contains(byte);
        if word.iter().all(is_simple) {
            let word = String::from_utf8_lossy(word);
            return Splice {
                range: last.range.clone(),
                by: format!("\"{word}{text}\"").into_bytes(),
            };
        }
        // A quoted part behind an unquoted one is the same word.
        Splice::insert(last.range.end, format!("\"{text}\""))
    }
}

impl Assignment {
    /// The range of a word, with the space before it where the word goes for good.
    fn with_space(&self, range: Range<usize>, word: usize, is_removed: bool) -> Range<usize> {
        let before = word.checked_sub(1).and_then(|at| self.value.get(at));
        match before {
            Some(space)
                if is_removed
                    && space.meaning == Meaning::Byte(b' ')
                    && space.range.end == range.start =>
            {
                space.range.start..range.end
            }
            _ => range,
        }
    }
}

impl Character {
    fn byte(&self) -> u8 {
        match self.meaning {
            Meaning::Byte(byte) => byte,
            Meaning::Value(_) => b' ',
        }
    }
}

/// The bytes in the file of characters that stand side by side in one run of quoting.
fn one_range(characters: &[Character]) -> Option<Range<usize>> {
    let (first, last) = (characters.first()?, characters.last()?);
    let is_together = characters
        .windows(2)
        .all(|two| matches!(two, [a, b] if a.run == b.run && a.range.end == b.range.start));
    is_together.then_some(first.range.start..last.range.end)
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Words after which a command begins, as it does at the start of a line.
const BEFORE_COMMANDS: [&[u8]; 6] = [b"then", b"else", b"do", b"{", b"(", b"export"];

impl Lexer<'_> {
    fn assignments(mut self) -> Result<Vec<Assignment>, NotUnderstood> {
        let mut found = Vec::new();
        let mut is_command_start = true;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' | b';' | b'&' | b'|' | b'(' | b')' => {
                    self.at += 1;
                    is_command_start = true;
                }
                b'\\' if self.peek(1) == Some(b'\n') => self.at += 2,
                _ if byte.is_ascii_whitespace() => self.at += 1,
                b'#' => {
                    while self.peek(0).is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => {
                    let variable = self.variable_assigned().filter(|_| is_command_start);
                    let start = self.at;
                    let (value, before_quote) = self.word()?;
                    let range = start..self.at;
                    let word = self.bytes.get(range.clone()).unwrap_or_default();
                    is_command_start &= variable.is_some() || BEFORE_COMMANDS.contains(&word);
                    found.extend(variable.map(|variable| Assignment {
                        variable,
                        value,
                        range,
                        before_quote,
                    }));
                }
            }
        }
        Ok(found)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Takes `NAME=`, where it is one of ours.
    fn variable_assigned(&mut self) -> Option<Variable> {
        let names: [(&[u8], Variable); 2] = [
            (b"GRUB_CMDLINE_LINUX=", Variable::Always),
            (b"GRUB_CMDLINE_LINUX_DEFAULT=", Variable::Default),
        ];
        let (name, variable) = names
            .into_iter()
            .find(|(name, _)| self.rest().starts_with(name))?;
        self.at += name.len();
        Some(variable)
    }

    /// Takes a word: what the shell makes of it, and where its last quote begins.
    fn word(&mut self) -> Result<(Vec<Character>, Option<usize>), NotUnderstood> {
        let (mut value, mut quote, mut run) = (Vec::new(), None, 0);
        let mut opened_at = self.at;
        let mut before_quote = None;
        while let Some(byte) = self.peek(0) {
            if quote.is_none() && is_word_end(byte) {
                break;
            }
            let start = self.at;
            before_quote = None;
            if Some(byte) == quote {
                (quote, run, self.at) = (None, run + 1, self.at + 1);
                before_quote = Some(start);
                continue;
            }
            if quote.is_none() && (byte == b'"' || byte == b'\'') {
                (quote, run, opened_at, self.at) = (Some(byte), run + 1, start, self.at + 1);
                continue;
            }
            let meaning = match quote {
                Some(b'\'') => {
                    self.at += 1;
                    Some(Meaning::Byte(byte))
                }
                _ => self.character(byte, quote.is_some()),
            };
            value.extend(meaning.map(|meaning| Character {
                meaning,
                range: start..self.at,
                run,
            }));
        }
        if quote.is_some() {
            let lines = self.bytes.iter().take(opened_at);
            let line = lines.filter(|byte| **byte == b'\n').count() + 1;
            return Err(format!("the quote in line {line} is never closed"));
        }
        Ok((value, before_quote))
    }

    /// Takes one character outside single quotes; `None` for one that means nothing.
    fn character(&mut self, byte: u8, is_quoted: bool) -> Option<Meaning> {
        if byte == b'$' {
            let names: [(&[u8], Variable); 4] = [
                (b"${GRUB_CMDLINE_LINUX}", Variable::Always),
                (b"${GRUB_CMDLINE_LINUX_DEFAULT}", Variable::Default),
                (b"$GRUB_CMDLINE_LINUX_DEFAULT", Variable::Default),
                (b"$GRUB_CMDLINE_LINUX", Variable::Always),
            ];
            let found = names
                .into_iter()
                .find(|(name, _)| self.rest().starts_with(name));
            if let Some((name, variable)) = found {
                self.at += name.len();
                return Some(Meaning::Value(variable));
            }
        }
        let next = self.peek(1).filter(|_| byte == b'\\');
        match next {
            Some(b'\n') => {
                self.at += 2;
                None
            }
            Some(next) if !is_quoted || b"$`\"\\".contains(&next) => {
                self.at += 2;
                Some(Meaning::Byte(next))
            }
            _ => {
                self.at += 1;
                Some(Meaning::Byte(byte))
            }
        }
    }
}

fn is_word_end(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b";&|()".contains(&byte)
}

#[cfg(test)]
mod tests;
