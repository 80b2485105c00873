//! The address where the counters are scraped: `GET /metrics`, and nothing else.
//!
//! It has a listener of its own, so that it can be reached where the site cannot, and the other way
//! round. A scraper comes every few seconds: a handful of connections is all that is taken at once.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::{Metrics, text::render};
use crate::store::Store;

/// Most connections at once.
const MOST_CONNECTIONS: usize = 16;

/// How long a connection may wait for its next request, and a head may take.
const IDLE: Duration = Duration::from_mins(1);

/// How long accepting rests when the system has nothing for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers scrapes on `listener` until `shutdown` completes; connections are cut then.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    store: Store,
    shutdown: impl Future<Output = ()>,
) {
    // Dropping the set ends its tasks.
    let mut connections = JoinSet::new();
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let accepting = async {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    while connections.try_join_next().is_some() {}
                    let (metrics, store) = (Arc::clone(&metrics), store.clone());
                    connections.spawn(connection(stream, permit, metrics, store));
                }
                Err(error) => {
                    tracing::warn!("a scraper's connection cannot be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        // Neither branch loses anything that somebody waits for.
        () = accepting => {}
        () = shutdown => {}
    }
}

async fn connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
    store: Store,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (metrics, store) = (Arc::clone(&metrics), store.clone());
        async move { Ok::<_, Infallible>(answer(&request, metrics, store).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!("a scraper's connection: {error}");
    }
    drop(permit);
}

async fn answer(
    request: &Request<Incoming>,
    metrics: Arc<Metrics>,
    store: Store,
) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return words(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = words(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read\n");
        let allow = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    let rendering = tokio::task::spawn_blocking(move || render(&metrics, &store)).await;
    let text = rendering.map_err(io::Error::other);
    match text {
        Ok(text) => {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => {
            tracing::error!("the metrics cannot be told: {error}");
            words(StatusCode::INTERNAL_SERVER_ERROR, "the server failed\n")
        }
    }
}

fn words(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
