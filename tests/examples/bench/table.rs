//! What is printed in the end.

use std::fmt;

/// What should be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// Ours is at most this part of the peer's.
    Ratio(f64),
    /// Ours is below this many of its unit.
    Below(f64),
    /// Ours is at least this many of its unit.
    AtLeast(f64),
    /// For comparison only.
    None,
}

/// The rows so far, and what is missing.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<[String; 6]>,
    missing: Vec<String>,
    skipped: Vec<String>,
    notes: Vec<String>,
}

impl Table {
    /// Adds a comparison of two numbers in the same unit.
    pub(crate) fn compare(
        &mut self,
        what: &str,
        unit: &str,
        ours: f64,
        peer: (&str, f64),
        aim: Aim,
    ) {
        let (name, peers) = peer;
        let ratio = ours / peers;
        let (aim, verdict) = judge(aim, unit, ours, Some(ratio));
        self.rows.push([
            what.to_owned(),
            with_unit(ours, unit),
            format!("{name}: {}", with_unit(peers, unit)),
            format!("{ratio:.2}"),
            aim,
            verdict,
        ]);
    }

    /// Adds a number that stands alone.
    pub(crate) fn alone(&mut self, what: &str, unit: &str, ours: f64, aim: Aim) {
        let (aim, verdict) = judge(aim, unit, ours, None);
        self.rows.push([
            what.to_owned(),
            with_unit(ours, unit),
            "-".into(),
            "-".into(),
            aim,
            verdict,
        ]);
    }

    /// Notes that something could not be measured although it should have been.
    pub(crate) fn did_not_run(&mut self, what: &str, reason: String) {
        self.missing.push(format!("{what}: {reason}"));
    }

    /// Notes that a peer is not to be had here.
    pub(crate) fn skip(&mut self, what: &str, reason: &str) {
        self.skipped.push(format!("{what}: {reason}"));
    }

    /// Notes what has to be known of a number.
    pub(crate) fn note(&mut self, what: &str, note: &str) {
        self.notes.push(format!("{what}: {note}"));
    }

    /// Whether everything ran that should have.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

fn judge(aim: Aim, unit: &str, ours: f64, ratio: Option<f64>) -> (String, String) {
    let (text, is_met) = match aim {
        Aim::Ratio(most) => (format!("ratio <= {most:.2}"), ratio.map(|r| r <= most)),
        Aim::Below(most) => (format!("< {}", with_unit(most, unit)), Some(ours < most)),
        Aim::AtLeast(least) => (
            format!(">= {}", with_unit(least, unit)),
            Some(ours >= least),
        ),
        Aim::None => ("-".into(), None),
    };
    let verdict = match is_met {
        Some(true) => "met",
        Some(false) => "NOT MET",
        None => "-",
    };
    (text, verdict.into())
}

fn with_unit(number: f64, unit: &str) -> String {
    let digits = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.digits$} {unit}")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["WHAT", "OURS", "PEER", "RATIO", "AIM", "VERDICT"].map(str::to_owned);
        let rows: Vec<&[String; 6]> = std::iter::once(&head).chain(&self.rows).collect();
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row.iter()) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in rows {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        writeln!(
            f,
            "\n{} rows, {} not met, {} skipped, {} did not run",
            self.rows.len(),
            self.rows.iter().filter(|row| row[5] == "NOT MET").count(),
            self.skipped.len(),
            self.missing.len()
        )?;
        for line in &self.skipped {
            writeln!(f, "skipped: {line}")?;
        }
        for line in &self.notes {
            writeln!(f, "note: {line}")?;
        }
        for line in &self.missing {
            writeln!(f, "DID NOT RUN: {line}")?;
        }
        Ok(())
    }
}
