//! The accept loop: one thread a connection, and a bound on everything.
//!
//! The varlink crate parses, dispatches and answers `org.varlink.service`; its own listener is
//! not used, since a handful of idle callers starve it (`docs/architecture.md`).

mod connection;
mod slots;

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::audit;
use crate::helper::Helper;
use crate::limits::{ACCEPT_BACK_OFF, CONNECTION_STACK_BYTES};
use crate::peer::Peer;

use slots::Slots;

/// Answers callers until there has been nothing to do for `idle`; without it, for ever.
///
/// # Errors
/// Where the socket itself fails. Running out of descriptors or threads is no such failure: it is
/// logged and waited out.
pub fn serve(
    listener: &UnixListener,
    helper: &Arc<Helper>,
    idle: Option<Duration>,
) -> io::Result<()> {
    let slots = Arc::new(Slots::default());
    listener.set_nonblocking(true)?;
    let mut busy_at = Instant::now();
    // Looked at this often, so that the end of a machine's watch starts the idle time.
    let tick = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    loop {
        let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&tick)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                busy_at = Instant::now();
                accept(listener, helper, &slots);
            }
            Err(errno) => return Err(errno.into()),
        }
        if !slots.is_empty() || !helper.is_idle() {
            busy_at = Instant::now();
        }
        if idle.is_some_and(|idle| busy_at.elapsed() >= idle) {
            return Ok(());
        }
    }
}

fn accept(listener: &UnixListener, helper: &Arc<Helper>, slots: &Arc<Slots>) {
    let stream = match listener.accept() {
        Ok((stream, _)) => stream,
        Err(error) => {
            if error.kind() != io::ErrorKind::WouldBlock {
                audit::warning(&format!("cannot accept a connection: {error}; waiting"));
                std::thread::sleep(ACCEPT_BACK_OFF);
            }
            return;
        }
    };
    if let Err(error) = start_connection(stream, helper, slots) {
        audit::warning(&format!("cannot serve a connection: {error}; closing it"));
    }
}

fn start_connection(
    stream: UnixStream,
    helper: &Arc<Helper>,
    slots: &Arc<Slots>,
) -> io::Result<()> {
    let peer = Peer::of(&stream)?;
    // Over the limit the connection is closed without a word: a word could block.
    let Some(slot) = slots.take(peer.uid) else {
        return Ok(());
    };
    let helper = Arc::clone(helper);
    std::thread::Builder::new()
        .stack_size(CONNECTION_STACK_BYTES)
        .spawn(move || {
            let _slot = slot;
            connection::serve(&stream, &peer, &helper);
        })?;
    Ok(())
}
