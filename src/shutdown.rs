//! When to stop: SIGINT (Ctrl-C) or SIGTERM. SIGHUP keeps its usual meaning, so that `nohup` works.

use std::{future::Future, io};

use tokio::signal::unix::{SignalKind, signal as listen};

/// Returns a future that resolves at the first signal to stop.
///
/// The signals are listened to from now on, not from the first poll on, so that none is missed.
///
/// # Errors
///
/// When the system does not let signals be listened to.
pub fn signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
