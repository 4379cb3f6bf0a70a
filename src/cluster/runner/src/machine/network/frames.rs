//! Frames on a stream, as QEMU and passt exchange them: each with its length before it, in four bytes of
//! the network's order (QEMU, `net/stream.c` and `net/net.c`, `net_fill_rstate`).

use std::io::{self, Read, Write};

/// Longest frame: QEMU's own limit is 68 KiB (`NET_BUFSIZE`, `include/net/net.h`).
const MAX_FRAME: usize = 128 << 10;
/// How much is read at once: a few frames of the longest kind that passt makes.
const BUFFER: usize = 4 * MAX_FRAME;
const LENGTH: usize = 4;

/// Passes frames on until there are no more, but for those that may not pass.
///
/// # Errors
/// Where one side breaks, or what comes are no frames.
pub(super) fn pass_on(
    from: &mut impl Read,
    to: &mut impl Write,
    mut lets_pass: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        match from.read(room) {
            Ok(0) if filled == 0 => return Ok(()),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let read = buffer.get(..filled).unwrap_or_default();
        let done = pass_whole_frames(read, to, &mut lets_pass)?;
        buffer.copy_within(done..filled, 0);
        filled -= done;
    }
}

/// Passes on the whole frames at the beginning of some bytes; how many bytes those are.
fn pass_whole_frames(
    bytes: &[u8],
    to: &mut impl Write,
    lets_pass: &mut impl FnMut(&[u8]) -> bool,
) -> io::Result<usize> {
    // Neighbours that pass are written at once.
    let mut run = 0..0;
    loop {
        let at = run.end;
        let Some(length) = read_length(bytes, at)? else {
            break;
        };
        let Some(frame) = bytes.get(at + LENGTH..at + LENGTH + length) else {
            break;
        };
        let end = at + LENGTH + length;
        if lets_pass(frame) {
            run.end = end;
        } else {
            to.write_all(bytes.get(run).unwrap_or_default())?;
            run = end..end;
        }
    }
    let done = run.end;
    to.write_all(bytes.get(run).unwrap_or_default())?;
    Ok(done)
}

/// The length of the frame that begins there, where that has come.
fn read_length(bytes: &[u8], at: usize) -> io::Result<Option<usize>> {
    let four = bytes
        .get(at..at + LENGTH)
        .and_then(|four| four.try_into().ok());
    let Some(length) = four.map(u32::from_be_bytes) else {
        return Ok(None);
    };
    match usize::try_from(length) {
        Ok(length) if length <= MAX_FRAME => Ok(Some(length)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it has in pieces of a size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(room.len()).min(self.0.len());
            room[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        let lengths = frames.iter().map(|frame| {
            let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
            [&length[..], frame].concat()
        });
        lengths.flatten().collect()
    }

    #[test]
    fn frames_pass_whole_however_they_come() {
        let frames: Vec<Vec<u8>> = [0, 1, 60, 1500, 65_550, 3, MAX_FRAME]
            .iter()
            .enumerate()
            .map(|(index, len)| vec![u8::try_from(index).unwrap(); *len])
            .collect();
        let stream = framed(&frames);
        for piece in [1, 3, 4096, usize::MAX] {
            for blocked in 0..=frames.len() {
                let mut passed = Vec::new();
                let mut index = 0;
                let lets_pass = |frame: &[u8]| {
                    assert_eq!(frame, frames[index]);
                    index += 1;
                    index != blocked
                };
                pass_on(&mut Pieces(&stream, piece), &mut passed, lets_pass).unwrap();
                let mut expected = frames.clone();
                if blocked > 0 {
                    expected.remove(blocked - 1);
                }
                assert!(passed == framed(&expected), "pieces of {piece}, {blocked}");
            }
        }
    }

    #[test]
    fn what_is_no_frame_ends_it() {
        let kind = |bytes: &[u8]| {
            let mut passed = Vec::new();
            let ended = pass_on(&mut Pieces(bytes, 100), &mut passed, |_| true);
            assert_eq!(passed, Vec::<u8>::new());
            ended.map_err(|error| error.kind())
        };
        assert_eq!(kind(&[]), Ok(()));
        assert_eq!(kind(&[0, 0]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(kind(&[0, 0, 0, 2, 1]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(kind(&[0, 3, 0, 0, 1]), Err(io::ErrorKind::InvalidData));
        assert_eq!(kind(&[0xff; 8]), Err(io::ErrorKind::InvalidData));
    }
}
