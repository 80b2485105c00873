//! The signals that end the process: SIGTERM, as a platform sends, and SIGINT, as Ctrl-C does.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for the signals; from its making on, they do not kill the process any more.
#[derive(Debug)]
pub struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignals {
    /// Returns a waiter; to be made inside a runtime, and before the process says that it is ready.
    ///
    /// # Errors
    ///
    /// What the system says when a handler cannot be installed.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Completes at the first signal.
    pub async fn received(mut self) {
        // Both are cancel-safe: no signal is lost between two polls.
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: shutting down");
    }
}
