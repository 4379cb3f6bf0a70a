//! Signals that tell a program to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Comes true when the program is told to end, by SIGTERM or SIGINT; the service manager is told that
/// it does.
///
/// # Errors
/// Where the system lets nobody wait for signals.
pub fn until_told() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (told, ending) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        told.send_replace(true);
        // Dropped, it would look like an end of its own.
        std::future::pending::<()>().await;
    });
    Ok(ending)
}
