//! Writes SVG: text that can only be text, whatever a device or a file calls itself.
//! <https://www.w3.org/TR/SVG11/>

use std::fmt::Write as _;

use crate::width::plain;

use super::layout::Rect;

/// A drawing in the making.
#[derive(Debug, Default)]
pub(super) struct Svg {
    out: String,
}

impl Svg {
    /// Opens an element; `attributes` are this program's own words.
    pub(super) fn open(&mut self, name: &str, attributes: &str) {
        let separator = if attributes.is_empty() { "" } else { " " };
        let _ = writeln!(self.out, "<{name}{separator}{attributes}>");
    }

    /// Closes it.
    pub(super) fn close(&mut self, name: &str) {
        let _ = writeln!(self.out, "</{name}>");
    }

    /// An element with nothing but text in it.
    pub(super) fn words(&mut self, name: &str, attributes: &str, text: &str) {
        let separator = if attributes.is_empty() { "" } else { " " };
        let text = escaped(text);
        let _ = writeln!(self.out, "<{name}{separator}{attributes}>{text}</{name}>");
    }

    /// Text at a place, in a class of the style sheet and, if need be, a colour.
    pub(super) fn text(&mut self, (x, y): (i32, i32), class: &str, fill: &str, text: &str) {
        let attributes = format!("x=\"{x}\" y=\"{y}\" class=\"{class}\" fill=\"{fill}\"");
        self.words("text", &attributes, text);
    }

    /// A box with round corners.
    pub(super) fn rect(&mut self, rect: Rect, radius: i32, attributes: &str) {
        let Rect {
            x,
            y,
            width,
            height,
        } = rect;
        let _ = writeln!(
            self.out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\" \
             {attributes}/>"
        );
    }

    /// A path.
    pub(super) fn path(&mut self, data: &str, attributes: &str) {
        let _ = writeln!(self.out, "<path d=\"{data}\" {attributes}/>");
    }

    /// Elements as they are: this program's own words only.
    pub(super) fn raw(&mut self, elements: &str) {
        self.out.push_str(elements);
    }

    /// The whole.
    pub(super) fn finish(self) -> String {
        self.out
    }
}

/// Text that is text in XML: controls are shown as escapes, the five signs as entities, and what
/// XML 1.0 forbids (section 2.2) as a question mark in a diamond.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_text() {
        assert_eq!(
            escaped("</text><script x='1' y=\"2\">&\u{1}\u{202e}\u{ffff}"),
            "&lt;/text&gt;&lt;script x=&apos;1&apos; y=&quot;2&quot;&gt;&amp;\\u{1}\\u{202e}\u{fffd}"
        );
    }
}
