//! A secret, typed on a terminal without being seen there, or read from standard input.

use std::io::{self, IsTerminal as _, Read, stdin};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::limits;

/// What Ctrl-C sends.
const INTERRUPT: u8 = 3;

/// Reads a line from standard input; where that is a terminal, it does not show what is typed. None:
/// the person does not want to.
///
/// # Errors
/// Where it cannot be read, or is too long.
pub(super) fn read_secret() -> io::Result<Option<String>> {
    let _hidden = match stdin().is_terminal() {
        true => Some(Hidden::begin()?),
        false => None,
    };
    read_line(&mut stdin().lock())
}

/// A terminal that does not show what is typed. It is as it was when this ends.
///
/// A signal in between would leave it so for the shell. So Ctrl-C makes none, but ends the line.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
        hidden.local_modes |= LocalModes::ECHONL | LocalModes::ICANON;
        // The second sign that ends a line (`termios(3)`).
        hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Reads to the end of a line, byte by byte: what stands behind it is not for this.
fn read_line(input: &mut impl Read) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while input.read(&mut byte)? == 1 {
        match byte {
            [b'\n'] => break,
            [INTERRUPT] => return Ok(None),
            [_] if line.len() >= limits::TOKEN_BYTES => {
                return Err(io::Error::other("the line is longer than any token"));
            }
            [byte] => line.push(byte),
        }
    }
    let text = String::from_utf8(line).map_err(|_| io::Error::other("it is no text"))?;
    Ok(Some(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends() {
        let read = |mut bytes: &[u8]| read_line(&mut bytes).map_err(|error| error.to_string());
        assert_eq!(read(b"vfioctl_a_b\r\nmore"), Ok(Some("vfioctl_a_b".into())));
        assert_eq!(read(b" a"), Ok(Some("a".into())));
        assert_eq!(read(b""), Ok(Some(String::new())));
        assert_eq!(read(b"ab\x03"), Ok(None));
        assert!(read(&vec![b'x'; limits::TOKEN_BYTES + 1]).is_err());
        assert!(read(b"\xff\n").is_err());
    }
}
