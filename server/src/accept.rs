//! The accept loop: connection permits, and the way out.
//!
//! | module | does |
//! |---|---|
//! | [`connection`] | one connection: HTTP/1 or HTTP/2 over the service |
//! | [`protocol`] | which of the two a connection speaks |
//! | [`http2`] | the limits of the second |
//! | [`timed_io`], [`lazy_timer`] | time limits of the socket, without a timer for each request |
//! | [`activity`], [`answer_body`] | which requests are under way |
//! | [`ending`] | how connections learn that the server ends |
//!
//! A shutdown goes in order, each step with a deadline: stop accepting and close the listener; tell
//! every connection to end after its request; cut those that do not; wait for the calls that run,
//! commits among them; close the store.

mod activity;
mod answer_body;
mod connection;
mod ending;
mod http2;
mod lazy_timer;
mod protocol;
mod timed_io;

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::task::TaskTracker;

use self::connection::Shared;
use crate::{auth::NonceError, config::ServerConfig, service::Service, store::Store};

/// How long accepting rests when the system has no descriptor or memory for a connection; each
/// connection that ends frees one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why serving ended in failure.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The memory of nonces cannot be used.
    #[error("the server cannot tell replayed requests")]
    Nonces(#[from] NonceError),
    /// Calls were still under way when the time to drain was over.
    #[error("{calls} calls were still under way when the time to drain was over")]
    Unfinished {
        /// How many.
        calls: usize,
    },
    /// A task of the server's own failed.
    #[error("a task of the server failed")]
    Task(#[from] tokio::task::JoinError),
}

/// Serves `store` on `listener` until `shutdown` completes, and then drains and closes the store.
///
/// # Errors
///
/// [`ServeError`]; what is committed stays committed in every case. A failing connection or request
/// is no error here: the log has it.
pub async fn serve(
    config: ServerConfig,
    store: Store,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let opened = (config.clone(), store.clone());
    let service = tokio::task::spawn_blocking(move || Service::new(&opened.0, opened.1)).await??;
    let service = Arc::new(service);
    let connections = Connections {
        shared: Arc::new(Shared::new(&config, Arc::clone(&service))),
        tasks: TaskTracker::new(),
        drain: config.timeouts.drain,
    };
    let permits = Arc::new(Semaphore::new(config.limits.connections));
    tokio::select! {
        // Neither branch loses anything: a connection that was accepted has its task.
        () = connections.accept(&listener, &permits) => {}
        () = shutdown => {}
    }
    // New connections are refused from here on, so that a proxy goes elsewhere.
    drop(listener);
    connections.drain().await;
    let calls = service.calls();
    calls.close();
    let finished = tokio::time::timeout(config.timeouts.drain, calls.wait()).await;
    if finished.is_err() {
        let calls = calls.len();
        return Err(ServeError::Unfinished { calls });
    }
    tokio::task::spawn_blocking(move || store.close()).await?;
    Ok(())
}

/// Every connection that is open.
struct Connections {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    /// How long they may take to end.
    drain: Duration,
}

impl Connections {
    /// Accepts for ever; each connection holds a permit until it ends.
    async fn accept(&self, listener: &TcpListener, permits: &Arc<Semaphore>) {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let serving = Arc::clone(&self.shared).serve(stream, peer.ip());
                    self.tasks.spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
                Err(error) if is_of_the_connection(&error) => {
                    tracing::debug!("a connection ended before it was accepted: {error}");
                }
                Err(error) => {
                    tracing::error!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn drain(&self) {
        let open = self.tasks.len();
        tracing::info!(connections = open, "draining {open} connections");
        self.tasks.close();
        self.shared.draining.give();
        let drained = tokio::time::timeout(self.drain, self.tasks.wait()).await;
        if drained.is_err() {
            let open = self.tasks.len();
            tracing::warn!(
                connections = open,
                "cutting {open} connections: the time to drain is over"
            );
            self.shared.cut.cancel();
            self.tasks.wait().await;
        }
        // A stream without its connection ends by itself.
        self.shared.streams.close();
        self.shared.streams.wait().await;
    }
}

/// Returns whether an accept failed because the peer went away, and not for want of resources.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
