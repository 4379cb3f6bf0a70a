//! How a process in a container tells which number it has there.

use bytes::Bytes;

/// Tells the number that a process has in its container, on a line of its own before anything else; the
/// process goes on as what follows. An engine tells only the number outside, which is nothing to go by
/// where name spaces lie between.
pub(super) const INTRODUCTION: &str = "echo vfioctl-session-$$ >&2; ";
/// How that line begins.
const INTRODUCED: &[u8] = b"vfioctl-session-";
/// The line by which a process introduces itself, as it comes.
#[derive(Debug, Default)]
pub(super) struct Introduction {
    held: Vec<u8>,
}

impl Introduction {
    /// Takes what comes; tells the number, and what is behind the line. 0: it is no introduction, and all
    /// that came is output.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<(u32, Bytes)> {
        const LONGEST: usize = INTRODUCED.len() + 12;
        self.held.extend(bytes);
        let begin = self.held.iter().zip(INTRODUCED);
        let fits = begin.into_iter().all(|(is, shall)| is == shall);
        let end = self.held.iter().position(|byte| *byte == b'\n');
        if fits && end.is_none() && self.held.len() < LONGEST {
            return None;
        }
        let held = std::mem::take(&mut self.held);
        let line = end.and_then(|end| held.split_at_checked(end + 1));
        let number = line.and_then(|(line, rest)| {
            let number = std::str::from_utf8(line.strip_prefix(INTRODUCED)?).ok()?;
            Some((
                number.trim_end().parse().ok()?,
                Bytes::copy_from_slice(rest),
            ))
        });
        Some(number.unwrap_or_else(|| (0, held.into())))
    }

    /// What was held back of a line that has not ended.
    pub(super) fn into_held(self) -> Bytes {
        self.held.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_introduces_itself_and_what_is_behind_is_output() {
        let take = |parts: &[&str]| {
            let mut introduction = Introduction::default();
            parts
                .iter()
                .find_map(|part| introduction.take(part.as_bytes()))
        };
        let output = |pid, text: &'static str| Some((pid, Bytes::from_static(text.as_bytes())));
        assert_eq!(take(&["vfioctl-session-12\n"]), output(12, ""));
        assert_eq!(
            take(&["vfioctl-ses", "sion-12\r\nmore"]),
            output(12, "more")
        );
        assert_eq!(take(&["vfioctl-ses"]), None);
        for text in [
            "error\n",
            "vfioctl-session-x\n",
            "vfioctl-session-12345678901234",
        ] {
            assert_eq!(take(&[text]), output(0, text));
        }
    }
}
