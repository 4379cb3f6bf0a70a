//! How a process in a container tells that it has ended, while its shell still drains what it did not read.

use bytes::Bytes;

/// Tells it, to what was the process' standard error, by the number that it has introduced itself with. The
/// control character is what nobody writes who means something else, so nothing else is held back.
pub(super) const FAREWELL: &str = "echo \u{1e}vfioctl-session-ended-$$ >&3; ";

/// The text by which the end of a process is told, as it comes, wherever in its standard error.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// What is waited for; nothing, where none comes or it has come.
    text: String,
    held: Vec<u8>,
}

impl Farewell {
    /// That of a process with a number; 0 says none.
    pub(super) fn of(pid: u32) -> Self {
        let text = match pid {
            0 => String::new(),
            pid => Self::text_of(pid),
        };
        Self {
            text,
            held: Vec::new(),
        }
    }

    pub(super) fn text_of(pid: u32) -> String {
        format!("\u{1e}vfioctl-session-ended-{pid}\n")
    }

    /// Takes what comes; what of it is output, and whether the end is told.
    pub(super) fn take(&mut self, bytes: Bytes) -> (Bytes, bool) {
        if self.text.is_empty() {
            return (bytes, false);
        }
        let text = self.text.as_bytes();
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(&bytes);
        if let Some(at) = all.windows(text.len()).position(|window| window == text) {
            all.drain(at..at + text.len());
            self.text.clear();
            return (all.into(), true);
        }
        // The longest end that may be its beginning.
        let longest = all.len().min(text.len() - 1);
        let begun = (0..=longest)
            .rev()
            .find(|len| text.get(..*len).is_some_and(|begin| all.ends_with(begin)));
        self.held = all.split_off(all.len() - begun.unwrap_or(0));
        (all.into(), false)
    }

    /// What was held back of a text that has not come whole.
    pub(super) fn into_held(self) -> Bytes {
        self.held.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(parts: &[&'static str]) -> (Vec<Bytes>, Bytes, bool) {
        let mut farewell = Farewell::of(12);
        let mut is_said = false;
        let taken = parts.iter().map(|part| {
            let (rest, said) = farewell.take(Bytes::from_static(part.as_bytes()));
            is_said |= said;
            rest
        });
        (taken.collect(), farewell.into_held(), is_said)
    }

    #[test]
    fn end_is_told_wherever_it_stands_and_is_no_output() {
        let told = |parts: &[&'static str]| {
            let (taken, held, is_said) = take(parts);
            (
                String::from_utf8([taken.concat(), held.to_vec()].concat()).unwrap(),
                is_said,
            )
        };
        assert_eq!(
            told(&["\u{1e}vfioctl-session-ended-12\n"]),
            (String::new(), true)
        );
        assert_eq!(
            told(&["a\u{1e}", "vfioctl-session-ended-1", "2\nb", "c"]),
            ("abc".into(), true)
        );
        for other in [
            "\u{1e}vfioctl-session-ended-13\n",
            "\u{1e}\u{1e}",
            "a\u{1e}vfioctl",
        ] {
            assert_eq!(told(&[other]), (other.into(), false));
        }
    }

    #[test]
    fn only_what_may_be_its_beginning_is_held_back() {
        let (taken, held, _) = take(&["prompt> v", "a\u{1e}vf", "x", "\u{1e}"]);
        assert_eq!(taken, ["prompt> v", "a", "\u{1e}vfx", ""]);
        assert_eq!(held, "\u{1e}");
    }
}
