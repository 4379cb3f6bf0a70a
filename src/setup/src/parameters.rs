//! Parameters of the kernel: which a processor needs for its IOMMU, and which stand in the way.
//!
//! Linux: `Documentation/admin-guide/kernel-parameters.txt`, `intel_iommu=`, `amd_iommu=`,
//! `iommu=`, `iommu.passthrough=`. Intel's driver is on by itself only where the kernel was made
//! so (`CONFIG_INTEL_IOMMU_DEFAULT_ON`). AMD's is always on; `amd_iommu=on` is no value it knows.
//! `iommu=pt` spares the host's own devices the translation; guests have it all the same.

use std::ops::Range;

use crate::splice::Splice;

/// Whose IOMMU the processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vendor {
    /// VT-d.
    Intel,
    /// AMD-Vi.
    Amd,
}

impl Vendor {
    /// Takes the vendor as the processor names it.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "GenuineIntel" => Some(Self::Intel),
            "AuthenticAMD" | "HygonGenuine" => Some(Self::Amd),
            _ => None,
        }
    }

    /// The parameters that it needs.
    pub(crate) fn wanted(self) -> &'static [&'static str] {
        match self {
            Self::Intel => &["intel_iommu=on", "iommu=pt"],
            Self::Amd => &["iommu=pt"],
        }
    }

    /// Those that it needs and that are not among these words.
    pub(crate) fn missing<'a>(self, words: impl Iterator<Item = &'a [u8]>) -> Vec<&'static str> {
        let words: Vec<_> = words.filter_map(Parameter::of).collect();
        let is_there = |wanted: &str| {
            words.iter().any(|word| match wanted {
                "intel_iommu=on" => word.name == "intel_iommu" && word.has("on"),
                // The newer name of the same choice; whoever has made it has made it.
                _ => word.name == "iommu.passthrough" || word.name == "iommu" && word.has("pt"),
            })
        };
        let wanted = self.wanted().iter().copied();
        wanted.filter(|wanted| !is_there(wanted)).collect()
    }

    /// What must stand in the place of a word; `None` where it may stay.
    pub(crate) fn corrected(self, word: &[u8]) -> Option<String> {
        let parameter = Parameter::of(word)?;
        let (bad, good): (&[&str], &str) = match (self, parameter.name.as_str()) {
            (Self::Intel, "intel_iommu") => (&["off", "on"], "on"),
            (Self::Amd, "amd_iommu") if parameter.has("off") => (&["off"], ""),
            (_, "iommu") => (&["off", "nopt", "pt"], "pt"),
            _ => return None,
        };
        let is_bad = |option: &str| bad.contains(&option) && option != good;
        let options: Vec<&str> = parameter.value.split(',').collect();
        if options.contains(&good) && !options.iter().any(|option| is_bad(option)) {
            return None;
        }
        let kept = options.into_iter().filter(|option| !bad.contains(option));
        let all: Vec<&str> = std::iter::once(good)
            .chain(kept)
            .filter(|option| !option.is_empty())
            .collect();
        match all.is_empty() {
            true => Some(String::new()),
            false => Some(format!("{}={}", parameter.name, all.join(","))),
        }
    }

    /// Whether a kernel that was started with this line has all that is needed.
    pub(crate) fn is_content_with(self, line: &[u8]) -> bool {
        let words = || words(line).into_iter().filter_map(|word| line.get(word));
        self.missing(words()).is_empty() && words().all(|word| self.corrected(word).is_none())
    }
}

struct Parameter<'a> {
    name: String,
    value: &'a str,
}

impl<'a> Parameter<'a> {
    /// The kernel takes `-` for `_` in names (`kernel/params.c`, `parameq`).
    fn of(word: &'a [u8]) -> Option<Self> {
        let word = std::str::from_utf8(word).ok()?;
        let (name, value) = word.split_once('=')?;
        Some(Self {
            name: name.replace('-', "_"),
            value,
        })
    }

    fn has(&self, option: &str) -> bool {
        self.value.split(',').any(|part| part == option)
    }
}

/// The places of the words that are for the kernel: what follows `--` is for init, and white space
/// in double quotes does not end a word (`lib/cmdline.c`, `next_arg`).
pub(crate) fn words(line: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut is_quoted) = (None, false);
    for (at, byte) in line.iter().enumerate() {
        is_quoted ^= *byte == b'"';
        match (byte.is_ascii_whitespace() && !is_quoted, start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                found.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    found.extend(start.map(|from| from..line.len()));
    let end = found
        .iter()
        .position(|word| line.get(word.clone()) == Some(b"--".as_slice()));
    found.truncate(end.unwrap_or(found.len()));
    found
}

/// What is changed in one line of plain words, which begins at `offset` of its file: the words
/// that are wrong are replaced, and `missing` is put behind the last of them. Also a sentence for
/// each.
pub(crate) fn edit_line(
    line: &[u8],
    offset: usize,
    vendor: Vendor,
    missing: &[&str],
) -> (Vec<Splice>, Vec<String>) {
    let (mut splices, mut said) = (Vec::new(), Vec::new());
    let words = words(line);
    for word in &words {
        let old = line.get(word.clone()).unwrap_or_default();
        if let Some(new) = vendor.corrected(old) {
            said.push(correction_text(old, &new));
            // The space before a word goes with it.
            let before = line.get(..word.start).unwrap_or_default();
            let from = match new.is_empty() && before.ends_with(b" ") {
                true => word.start - 1,
                false => word.start,
            };
            splices.push(Splice {
                range: offset + from..offset + word.end,
                by: new.into_bytes(),
            });
        }
    }
    if !missing.is_empty() {
        let text = missing.join(" ");
        said.push(format!("add '{text}'"));
        splices.push(match words.last() {
            Some(word) => Splice::insert(offset + word.end, format!(" {text}")),
            // Before '--', or alone.
            None => match line.iter().position(|byte| !byte.is_ascii_whitespace()) {
                Some(at) => Splice::insert(offset + at, format!("{text} ")),
                // The first thing in a file, or what follows the word 'options'.
                None if offset == 0 => Splice::insert(0, text),
                None => Splice::insert(offset, format!(" {text}")),
            },
        });
    }
    (splices, said)
}

/// A correction as a sentence.
pub(crate) fn correction_text(old: &[u8], new: &str) -> String {
    let old = String::from_utf8_lossy(old);
    match new.is_empty() {
        true => format!("take out '{old}'"),
        false => format!("replace '{old}' by '{new}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splice::spliced;

    fn corrected(vendor: Vendor, word: &str) -> Option<String> {
        vendor.corrected(word.as_bytes())
    }

    #[test]
    fn what_switches_the_iommu_off_is_replaced() {
        for (word, new) in [
            ("intel_iommu=off", "intel_iommu=on"),
            ("intel-iommu=off,sm_on", "intel_iommu=on,sm_on"),
            ("intel_iommu=sm_on", "intel_iommu=on,sm_on"),
            ("iommu=off", "iommu=pt"),
            ("iommu=force,nopt", "iommu=pt,force"),
        ] {
            assert_eq!(corrected(Vendor::Intel, word).as_deref(), Some(new));
        }
        assert_eq!(corrected(Vendor::Amd, "amd_iommu=off").as_deref(), Some(""));
        assert_eq!(
            corrected(Vendor::Amd, "amd_iommu=off,fullflush").as_deref(),
            Some("amd_iommu=fullflush")
        );
    }

    #[test]
    fn what_is_right_stays() {
        for word in [
            "intel_iommu=on,sm_on",
            "iommu=pt",
            "iommu.passthrough=0",
            "quiet",
            "x=\u{e4}",
        ] {
            assert_eq!(corrected(Vendor::Intel, word), None, "{word}");
        }
        for word in ["amd_iommu=fullflush", "amd_iommu=on", "intel_iommu=off"] {
            assert_eq!(corrected(Vendor::Amd, word), None, "{word}");
        }
        assert_eq!(Vendor::Intel.corrected(b"iommu=\xff"), None);
    }

    #[test]
    fn a_line_has_what_is_needed_or_not() {
        assert!(Vendor::Intel.is_content_with(b"root=x intel_iommu=on iommu=pt"));
        assert!(Vendor::Intel.is_content_with(b"intel_iommu=on iommu.passthrough=1"));
        assert!(!Vendor::Intel.is_content_with(b"intel_iommu=on -- iommu=pt"));
        assert!(!Vendor::Intel.is_content_with(b"intel_iommu=on iommu=pt intel_iommu=off"));
        assert!(Vendor::Amd.is_content_with(b"iommu=pt\n"));
        assert!(!Vendor::Amd.is_content_with(b"iommu=pt amd_iommu=off"));
    }

    #[test]
    fn words_in_quotes_are_one_word_and_those_of_init_are_none() {
        let line = b"a \"b c\"=d  e -- f";
        let words: Vec<_> = words(line).into_iter().map(|word| &line[word]).collect();
        assert_eq!(words, [b"a".as_slice(), b"\"b c\"=d", b"e"]);
    }

    fn edited(line: &[u8], vendor: Vendor, missing: &[&str]) -> Vec<u8> {
        spliced(line, edit_line(line, 0, vendor, missing).0)
    }

    #[test]
    fn a_line_is_edited_in_place() {
        let line = b"quiet iommu=off x=\xff\xfe amd_iommu=off  -- single\r\n";
        assert_eq!(
            edited(line, Vendor::Amd, &[]),
            b"quiet iommu=pt x=\xff\xfe  -- single\r\n"
        );
        assert_eq!(
            edited(b"quiet -- single", Vendor::Amd, &["iommu=pt"]),
            b"quiet iommu=pt -- single"
        );
        assert_eq!(edited(b"", Vendor::Amd, &["iommu=pt"]), b"iommu=pt");
        assert_eq!(
            edited(b"-- a", Vendor::Amd, &["iommu=pt"]),
            b"iommu=pt -- a"
        );
    }

    #[test]
    fn very_long_lines_are_no_trouble() {
        let long = [b"x=".as_slice(), &vec![b'y'; 1 << 20]].concat();
        let line = [&long, b" iommu=off".as_slice()].concat();
        let result = [&long, b" iommu=pt".as_slice()].concat();
        assert!(edited(&line, Vendor::Amd, &[]) == result);
    }
}
