//! A table of text: columns as wide as their widest cell on a terminal.

use std::fmt::Write as _;

use crate::width::{columns, plain};

/// A table of text. The last column is not padded, so it may be long.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<String>),
    Gap,
}

impl Table {
    /// A table with a line of titles.
    pub(crate) fn titled(titles: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(titles.iter().map(|title| (*title).to_owned()));
        table
    }

    /// Adds a row. Cells of a row that is too short stay empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells = cells
            .into_iter()
            .map(|cell| plain(&cell.into()).into_owned());
        self.rows.push(Row::Cells(cells.collect()));
    }

    /// Adds an empty line.
    pub(crate) fn gap(&mut self) {
        self.rows.push(Row::Gap);
    }

    /// The table as text, every line with this in front and a line feed behind.
    pub(crate) fn text(&self, indent: &str) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            for (index, cell) in cells.iter().enumerate() {
                match widths.get_mut(index) {
                    Some(width) => *width = (*width).max(columns(cell)),
                    None => widths.push(columns(cell)),
                }
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            if let Row::Cells(cells) = row {
                let mut line = indent.to_owned();
                for (cell, width) in cells.iter().zip(&widths) {
                    let padding = width.saturating_sub(columns(cell)) + 2;
                    // Writing to a string cannot fail.
                    let _ = write!(line, "{cell}{:padding$}", "");
                }
                text.push_str(line.trim_end());
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_on_the_terminal() {
        let mut table = Table::titled(&["A", "NAME", "STATE"]);
        table.row(["1", "漢字", "x"]);
        table.gap();
        table.row(["22", "abc", ""]);
        assert_eq!(
            table.text("  "),
            "  A   NAME  STATE\n  1   漢字  x\n\n  22  abc\n"
        );
    }

    #[test]
    fn a_cell_cannot_break_its_line() {
        let mut table = Table::default();
        table.row(["a\nb"]);
        assert_eq!(table.text(""), "a\\nb\n");
    }
}
