//! When to stop: SIGINT (Ctrl-C) or SIGTERM. SIGHUP keeps its usual meaning, so that `nohup` works and a
//! terminal that is closed ends what runs in it; only under a service manager it asks for a reload.

use std::{future::Future, io};

use tokio::signal::unix::{Signal, SignalKind, signal as listen};

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

/// Returns SIGHUP, which does not end the process from now on.
///
/// # Errors
///
/// As [`signal`].
pub fn hangups() -> io::Result<Signal> {
    listen(SignalKind::hangup())
}
