//! The socket's side of the control API: one request → one answer.
//!
//! Bodies are read up to [`MOST_BODY`] bytes, connections are served up to [`MOST_CONNECTIONS`] at
//! once. Nothing here waits for the daemon but the calls that ask it for something.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::UnixListener,
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::sleep,
};

use super::{
    Asked,
    status::{PublishNow, Refusal, Status},
};

/// The longest body of a request, in bytes: a switch or two.
const MOST_BODY: usize = 4 * 1024;

/// Connections at once: a person's terminals, and a few tools.
const MOST_CONNECTIONS: usize = 32;

/// Pause after the system refused a connection, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, Infallible>;

/// What every connection has.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) ask: mpsc::Sender<Asked>,
    pub(super) told: watch::Receiver<Status>,
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: UnixListener, shared: Shared) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection to the control socket failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let shared = shared.clone();
        connections.spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| answer(request, shared.clone()));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection to the control socket broke");
            }
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Shared) -> Result<Response<Body>, Infallible> {
    let allowed = match request.uri().path() {
        "/v1/status" | "/v1/events" => Method::GET,
        "/v1/publish" | "/v1/pause" | "/v1/resume" => Method::POST,
        path => {
            let error = format!("there is no call {path}");
            return Ok(refusal(StatusCode::NOT_FOUND, "not_found", error));
        }
    };
    if request.method() != allowed {
        let error = format!("this call takes {allowed}");
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", error);
        if let Ok(allowed) = allowed.as_str().parse() {
            response.headers_mut().insert(ALLOW, allowed);
        }
        return Ok(response);
    }
    Ok(match request.uri().path() {
        "/v1/status" => json(StatusCode::OK, &*shared.told.borrow()),
        "/v1/events" => events(shared.told),
        "/v1/pause" => switch(&shared, |done| Asked::Pause { done }).await,
        "/v1/resume" => switch(&shared, |done| Asked::Resume { done }).await,
        _ => publish(request, &shared).await,
    })
}

/// Tells how the site stands at once, and whenever it changes, until the peer leaves.
fn events(mut told: watch::Receiver<Status>) -> Response<Body> {
    told.mark_changed();
    let events = stream::unfold(told, |mut told| async move {
        told.changed().await.ok()?;
        let status = told.borrow_and_update().clone();
        // Text and numbers: nothing that cannot be written.
        let text = serde_json::to_string(&status).unwrap_or_default();
        let event = format!("event: status\ndata: {text}\n\n");
        Some((Ok(Frame::data(Bytes::from(event))), told))
    });
    let mut response = Response::new(StreamBody::new(events).boxed());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        "text/event-stream".parse().expect("it is ASCII"),
    );
    headers.insert(CACHE_CONTROL, "no-store".parse().expect("it is ASCII"));
    response
}

async fn switch(
    shared: &Shared,
    asked: impl FnOnce(oneshot::Sender<()>) -> Asked,
) -> Response<Body> {
    match ask(shared, asked).await {
        Ok(()) => json(StatusCode::OK, &*shared.told.borrow()),
        Err(response) => response,
    }
}

async fn publish(request: Request<Incoming>, shared: &Shared) -> Response<Body> {
    let Ok(body) = Limited::new(request.into_body(), MOST_BODY).collect().await else {
        let error = format!("the body cannot be read, or is longer than {MOST_BODY} bytes");
        return refusal(StatusCode::BAD_REQUEST, "bad_body", error);
    };
    let body = body.to_bytes();
    let how: PublishNow = if body.is_empty() {
        PublishNow::default()
    } else {
        match serde_json::from_slice(&body) {
            Ok(how) => how,
            Err(error) => {
                let error = format!("the body is not what this call takes: {error}");
                return refusal(StatusCode::BAD_REQUEST, "bad_body", error);
            }
        }
    };
    match ask(shared, |done| Asked::Publish { how, done }).await {
        Ok(published) => json(StatusCode::OK, &published),
        Err(response) => response,
    }
}

/// Asks the daemon, and waits for what it says.
async fn ask<T>(
    shared: &Shared,
    asked: impl FnOnce(oneshot::Sender<T>) -> Asked,
) -> Result<T, Response<Body>> {
    let (done, answer) = oneshot::channel();
    if shared.ask.try_send(asked(done)).is_err() {
        let error = "too much is asked of the daemon at once".to_owned();
        return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", error));
    }
    answer.await.map_err(|_| {
        let error = "the daemon ended before it was done".to_owned();
        refusal(StatusCode::SERVICE_UNAVAILABLE, "stopping", error)
    })
}

fn refusal(status: StatusCode, code: &str, error: String) -> Response<Body> {
    let body = Refusal {
        code: code.to_owned(),
        error,
    };
    json(status, &body)
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Text and numbers: nothing that cannot be written.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        "application/json".parse().expect("it is ASCII"),
    );
    headers.insert(CACHE_CONTROL, "no-store".parse().expect("it is ASCII"));
    response
}
