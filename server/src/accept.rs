//! The accept loop: connection permits, the timers of each connection, and the way out.
//!
//! A shutdown goes in order, each step with a deadline: stop accepting and close the listener; tell
//! every connection to end after its request; cut those that do not; wait for the calls that run,
//! commits among them; close the store.

mod timed_io;

use std::{future::Future, io, net::IpAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::timed_io::{Phase, TimedIo};
use crate::{
    auth::NonceError,
    config::{Limits, ServerConfig, Timeouts},
    metrics::Metrics,
    service::Service,
    store::Store,
};

/// How long accepting rests when the system has no descriptor or memory for a connection; each
/// connection that ends frees one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Most headers of one request: several times what browsers and proxies send.
const MAX_HEADERS: usize = 100;

/// Bytes read ahead of one connection: bounds its memory, and is no bound on a body.
const BUFFER_BYTES: usize = 128 * 1024;

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
        service: Arc::clone(&service),
        builder: builder(&config.limits, &config.timeouts),
        timeouts: config.timeouts.clone(),
        tasks: TaskTracker::new(),
        draining: CancellationToken::new(),
        cut: CancellationToken::new(),
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

fn builder(limits: &Limits, timeouts: &Timeouts) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Hyper's one timer runs from the end of a request to the end of the next one's head: it
        // bounds an idle connection. A head that comes slowly is the business of `TimedIo`.
        .header_read_timeout(timeouts.keep_alive)
        .keep_alive(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(limits.head_bytes)
        .max_buf_size(BUFFER_BYTES.max(limits.head_bytes));
    builder
}

/// What every connection shares.
struct Connections {
    service: Arc<Service>,
    builder: http1::Builder,
    timeouts: Timeouts,
    tasks: TaskTracker,
    /// Connections end after the request that they are at.
    draining: CancellationToken,
    /// Connections end.
    cut: CancellationToken,
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
                Ok((stream, peer)) => self.start(stream, peer.ip(), permit),
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

    fn start(&self, stream: TcpStream, peer: IpAddr, permit: OwnedSemaphorePermit) {
        // An answer of one segment must not wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY cannot be set: {error}");
        }
        let phase = Phase::default();
        let io = TimedIo::new(stream, phase.clone(), &self.timeouts);
        let service = Arc::clone(&self.service);
        let answer = service_fn(move |request| {
            let (service, phase) = (Arc::clone(&service), phase.clone());
            async move {
                phase.request_begins();
                let response = service.answer(request, peer).await;
                phase.request_ends();
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let connection = self.builder.serve_connection(TokioIo::new(io), answer);
        let (draining, cut) = (self.draining.clone(), self.cut.clone());
        let counted = self.service.metrics().map(Metrics::connection);
        self.tasks.spawn(async move {
            let _permit = permit;
            let _counted = counted;
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = draining.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => ended,
                        () = cut.cancelled() => Ok(()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, "connection: {}", crate::reply::chain(&error));
            }
        });
    }

    async fn drain(&self) {
        let open = self.tasks.len();
        tracing::info!(connections = open, "draining {open} connections");
        self.tasks.close();
        self.draining.cancel();
        let drained = tokio::time::timeout(self.timeouts.drain, self.tasks.wait()).await;
        if drained.is_err() {
            let open = self.tasks.len();
            tracing::warn!(
                connections = open,
                "cutting {open} connections: the time to drain is over"
            );
            self.cut.cancel();
            self.tasks.wait().await;
        }
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
