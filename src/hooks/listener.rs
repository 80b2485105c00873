//! The hooks' own address: connections, their limits, and nothing else of the daemon.
//!
//! HTTP/1.1, one request a connection: senders come rarely, and a proxy in front keeps its own.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Hooks;

/// Connections at once; each may hold a body in memory.
const MOST_CONNECTIONS: usize = 32;

/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a connection may take as a whole: its head, its body and its answer.
const CONNECTION_TIME: Duration = Duration::from_mins(1);

/// The longest head of a request, in bytes.
const MOST_HEAD: usize = 32 * 1024;

/// Pause after the system refused a connection, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, hooks: Arc<Hooks>) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection to the hooks failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let hooks = Arc::clone(&hooks);
        connections.spawn(async move {
            let _permit = permit;
            let service = service_fn(|request| {
                let hooks = Arc::clone(&hooks);
                async move { Ok::<_, Infallible>(hooks.answer(request, Some(peer.ip())).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(MOST_HEAD)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            match timeout(CONNECTION_TIME, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection to the hooks broke"),
                Err(_) => tracing::debug!("a connection to the hooks took too long"),
            }
        });
    }
}
