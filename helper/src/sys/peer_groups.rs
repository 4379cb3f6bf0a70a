//! `SO_PEERGROUPS`: the supplementary groups of the other end of a Unix socket.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

/// Linux lets a process have this many groups (`NGROUPS_MAX`, `limits.h`); callers have a few.
const MAX_GROUPS: usize = 65_536;

/// The supplementary groups that the peer had when it connected.
#[expect(unsafe_code, reason = "no safe wrapper has this socket option")]
pub(crate) fn peer_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut len = libc::socklen_t::try_from(std::mem::size_of_val(groups.as_slice()))
            .map_err(io::Error::other)?;
        // SAFETY: `groups` is a live buffer of `len` bytes for the kernel to fill, `len` a live
        // socklen_t that it sets to the bytes it filled or would need; both outlive the call.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let count = usize::try_from(len).map_err(io::Error::other)? / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // ERANGE: the buffer is too small, and `len` says what is needed.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > MAX_GROUPS
        {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}
