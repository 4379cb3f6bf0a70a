//! Why a text is no dump.

use std::fmt;

/// Why a text is no dump of a PCI machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpError {
    /// There is nothing in it.
    Empty,
    /// It has bytes that no text has.
    NotText,
    /// It is longer than any machine's dump.
    TooLong,
    /// It has more functions than a domain has addresses.
    TooManyFunctions,
    /// It is the tree of `lspci -t`, which has neither types nor registers.
    OnlyTree,
    /// No line of it begins a device as lspci prints one.
    NoDevices,
}

impl DumpError {
    /// What to try.
    pub fn hint(self) -> &'static str {
        match self {
            Self::TooLong | Self::TooManyFunctions => {
                "give the dump of one machine: the output of 'sudo lspci -D -xxxx'"
            }
            _ => {
                "take the dump on the other machine with 'sudo lspci -D -xxxx > FILE' or \
                 'sudo vfioctl report FILE'"
            }
        }
    }
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::NotText => "it is not text",
            Self::TooLong => "it is longer than 64 MiB",
            Self::TooManyFunctions => "it has more than 65536 functions",
            Self::OnlyTree => "it is the tree of 'lspci -t', which has neither types nor registers",
            Self::NoDevices => "no line of it begins a device as lspci prints one",
        })
    }
}

impl std::error::Error for DumpError {}
