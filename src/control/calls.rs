//! The calls: one request → one answer, the same on the socket and on the address.
//!
//! What a caller asks for is done to its end, also when the caller leaves: a hang-up never cuts a
//! rollback. Nothing here waits for the daemon but the calls that ask it for something, and the daemon
//! waits for nothing here.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE},
};
use onsave_protocol::DeployId;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    Asked, MOST_WAITING,
    answers::{LogLines, RollbackTo},
    dashboard,
    errands::{ErrandError, Errands},
    events::Feed,
    guard::{Asker, Guard},
    query,
    reply::{self, Body, Refused},
    router::{self, NoCall, Route},
    status::{PublishNow, Status},
};
use crate::{
    after_publish::{BadDeliveryId, DeliveryId},
    hooks::Hooks,
    log_ring::LogRing,
};

/// The longest body of a request, in bytes: a switch or two.
const MOST_BODY: usize = 4 * 1024;

/// How long a body may take.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// What every connection has.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) ask: mpsc::Sender<Asked>,
    pub(super) told: watch::Receiver<Status>,
    pub(super) errands: Option<Arc<Errands>>,
    pub(super) logs: LogRing,
    pub(super) hooks: Option<Arc<Hooks>>,
    /// What is done to its end; ends with the last connection and the daemon.
    pub(super) under_way: Arc<Mutex<JoinSet<()>>>,
}

/// What is asked, taken apart.
struct Asking<'a> {
    route: Route,
    path: &'a str,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
    body: Incoming,
}

/// Answers a request; without a guard, of somebody who may do everything.
pub(super) async fn answer(
    request: Request<Incoming>,
    shared: &Shared,
    guard: Option<&Guard>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let asker = match guard.map(|guard| guard.asker(&head.uri, &head.headers)) {
        None => Asker::Own,
        Some(Ok(asker)) => asker,
        Some(Err(denied)) => {
            let mut response = reply::denied(denied);
            reply::finish(&mut response, None);
            return response;
        }
    };
    let path = head.uri.path();
    let may = |route| match guard {
        Some(guard) => guard.may(asker, route, &head.headers),
        None => Ok(()),
    };
    let mut response = match router::find(&head.method, path) {
        Err(NoCall::OtherMethod(allowed)) if head.method == Method::OPTIONS => {
            let is_preflight = head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
            match asker {
                Asker::Allowed(_) if is_preflight => reply::preflight(&allowed, &head.headers),
                Asker::Allowed(_) | Asker::Own => reply::options(&allowed),
            }
        }
        Err(NoCall::OtherMethod(allowed)) => reply::other_method(&allowed),
        Err(NoCall::UnknownPath) => {
            let error = format!("there is no call {path}");
            let refused = Refused::new(StatusCode::NOT_FOUND, "not_found", error);
            reply::refused(refused.with_hint("GET /openapi.json describes those that there are"))
        }
        Ok(route) => {
            let asking = Asking {
                route,
                path,
                query: head.uri.query(),
                headers: &head.headers,
                body,
            };
            match may(route) {
                Err(denied) => reply::denied(denied),
                Ok(()) => call(asking, shared).await.unwrap_or_else(reply::refused),
            }
        }
    };
    reply::finish(&mut response, Some(asker));
    response
}

async fn call(asking: Asking<'_>, shared: &Shared) -> Result<Response<Body>, Refused> {
    match asking.route {
        Route::Logs | Route::Events => {}
        _ => query::nothing(asking.query).map_err(bad_query)?,
    }
    match asking.route {
        Route::Dashboard(file) => Ok(dashboard::file(file)),
        Route::Description => Ok(reply::bytes(
            Bytes::from_static(include_bytes!("openapi.json")),
            "application/json",
        )),
        Route::Status => Ok(status(shared)),
        Route::Events => {
            let lines = query::events(asking.query).map_err(bad_query)?;
            let logs = lines.map(|lines| shared.logs.follow(lines));
            Ok(Feed::of_status(shared.told.clone(), logs).response())
        }
        Route::Logs => {
            let wanted = query::logs(asking.query).map_err(bad_query)?;
            if wanted.follow {
                let logs = shared.logs.follow(wanted.lines);
                return Ok(Feed::of_logs(shared.told.clone(), logs).response());
            }
            let lines = shared.logs.tail(wanted.lines);
            Ok(reply::json(StatusCode::OK, &LogLines { lines }))
        }
        Route::Deploys => errand(shared, |errands| async move { errands.deploys().await }).await,
        Route::Deploy => {
            let id = deploy_id(asking.path)?;
            errand(shared, |errands| async move { errands.deploy(id).await }).await
        }
        Route::Pending => errand(shared, |errands| async move { errands.pending().await }).await,
        Route::Server => errand(shared, |errands| async move { errands.server().await }).await,
        Route::Deliveries => {
            errand(shared, |errands| async move { errands.deliveries().await }).await
        }
        Route::Publish
        | Route::Pause
        | Route::Resume
        | Route::Rollback
        | Route::Rebuild
        | Route::Resend
        | Route::Drop => act(asking, shared).await,
    }
}

/// The calls that act.
async fn act(asking: Asking<'_>, shared: &Shared) -> Result<Response<Body>, Refused> {
    let route = asking.route;
    if route == Route::Publish {
        let how: PublishNow = json_of(asking).await?;
        let published = ask(shared, |done| Asked::Publish { how, done }).await?;
        return Ok(reply::json(StatusCode::OK, &published));
    }
    if route == Route::Rollback {
        let RollbackTo { deploy_id } = json_of(asking).await?;
        let daemon = shared.ask.clone();
        return errand(shared, |errands| async move {
            let went = errands.roll_back(deploy_id).await?;
            // The daemon may have ended meanwhile.
            let _told = daemon
                .send(Asked::WentBack {
                    deploy_id: went.deploy_id.clone(),
                })
                .await;
            Ok(went)
        })
        .await;
    }
    let path = asking.path.to_owned();
    // No more is to be said to these.
    let Nothing {} = json_of(asking).await?;
    match route {
        Route::Resend => {
            let id = delivery_id(&path)?;
            return errand(shared, |errands| async move { errands.resend(id).await }).await;
        }
        Route::Drop => {
            let id = delivery_id(&path)?;
            return errand(shared, |errands| async move { errands.give_up(id).await }).await;
        }
        Route::Pause => ask(shared, |done| Asked::Pause { done }).await?,
        Route::Resume => ask(shared, |done| Asked::Resume { done }).await?,
        _ => return errand(shared, |errands| async move { errands.rebuild().await }).await,
    }
    Ok(status(shared))
}

/// What a call takes that takes nothing: an empty body, or an empty object.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn status(shared: &Shared) -> Response<Body> {
    reply::json(StatusCode::OK, &*shared.told.borrow())
}

fn deploy_id(path: &str) -> Result<DeployId, Refused> {
    let text = path.rsplit('/').next().unwrap_or_default();
    DeployId::parse(text).map_err(|_| {
        let error = "this is not the id of a deploy";
        let refused = Refused::new(StatusCode::NOT_FOUND, "no_such_deploy", error);
        refused.with_hint("GET /v1/deploys lists those that the server keeps")
    })
}

/// Returns the delivery of `/v1/deliveries/{deliveryId}/…`.
fn delivery_id(path: &str) -> Result<DeliveryId, Refused> {
    let text = path.rsplit('/').nth(1).unwrap_or_default();
    text.parse().map_err(|error: BadDeliveryId| {
        let refused = Refused::new(StatusCode::NOT_FOUND, "no_such_delivery", error.to_string());
        refused.with_hint("GET /v1/deliveries lists those there are")
    })
}

/// Does an errand to its end, whoever waits for it.
async fn errand<T, W>(
    shared: &Shared,
    work: impl FnOnce(Arc<Errands>) -> W,
) -> Result<Response<Body>, Refused>
where
    T: Serialize + Send + 'static,
    W: Future<Output = Result<T, ErrandError>> + Send + 'static,
{
    let errands = shared.errands.clone().ok_or_else(stopping)?;
    let work = work(errands);
    let (done, answer) = oneshot::channel();
    {
        let mut under_way = shared
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= MOST_WAITING {
            return Err(busy());
        }
        under_way.spawn(async move {
            // Who asked may be gone.
            let _told = done.send(work.await);
        });
    }
    answer.await.map(reply::errand).map_err(|_| stopping())
}

/// Asks the daemon, and waits for what it says.
async fn ask<T>(
    shared: &Shared,
    asked: impl FnOnce(oneshot::Sender<T>) -> Asked,
) -> Result<T, Refused> {
    let (done, answer) = oneshot::channel();
    if shared.ask.try_send(asked(done)).is_err() {
        return Err(busy());
    }
    answer.await.map_err(|_| stopping())
}

/// Returns the body as what the call takes; an empty one stands for nothing said.
async fn json_of<T: DeserializeOwned + Default>(asking: Asking<'_>) -> Result<T, Refused> {
    let body = Limited::new(asking.body, MOST_BODY).collect();
    let body = match timeout(BODY_PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let error = format!("the body cannot be read, or is longer than {MOST_BODY} bytes");
            return Err(Refused::new(StatusCode::BAD_REQUEST, "bad_body", error));
        }
        Err(_) => {
            let error = format!("the body took longer than {} s", BODY_PATIENCE.as_secs());
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(Refused::new(status, "slow_body", error));
        }
    };
    if body.is_empty() {
        return Ok(T::default());
    }
    let kind = asking.headers.get(CONTENT_TYPE);
    // A form of another site cannot say so.
    if !kind.is_some_and(|kind| is_json(kind.as_bytes())) {
        let error = "the body must be JSON, and say so";
        let refused = Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_type", error);
        return Err(refused.with_hint("send the header `Content-Type: application/json`"));
    }
    serde_json::from_slice(&body).map_err(|error| {
        let error = format!("the body is not what this call takes: {error}");
        Refused::new(StatusCode::BAD_REQUEST, "bad_body", error)
    })
}

fn is_json(kind: &[u8]) -> bool {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
}

fn bad_query(error: String) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "bad_query", error)
}

fn busy() -> Refused {
    let error = "too much is asked of the daemon at once";
    let refused = Refused::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error);
    refused.with_hint("ask again in a moment")
}

fn stopping() -> Refused {
    let error = "the daemon ended before it was done";
    let refused = Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", error);
    refused.with_hint("`onsave watch` starts it again")
}
