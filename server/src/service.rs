//! One request: its peer and id, its span, its route, and the way to its answer.
//!
//! Calls of the sync endpoint run in tasks of their own, which a shutdown waits for: a peer that
//! hangs up ends its upload, but never cuts a commit.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, Response, request::Parts};
use hyper::body::Incoming;
use onsave_protocol::wire::v2::REQUEST_ID_HEADER;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::{
    auth::{Authority, NonceError, is_signed},
    config::{PeerSource, ServerConfig, Timeouts},
    deploys::{Endpoint, unsigned_health},
    metrics::{Metrics, PublishKind},
    observer::Observer,
    reply::{Refusal, without_body},
    request_body::RequestBody,
    router::{NoRoute, Route, route},
    static_files::{ReplyBody, SiteRequest, StaticFiles},
    store::Store,
};

/// The header in which Fly's proxy names the visitor.
const FLY_CLIENT_IP: &str = "fly-client-ip";

/// Longest request id that is taken over from a client, in characters.
const MAX_REQUEST_ID: usize = 64;

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Service {
    authority: Authority,
    site: StaticFiles,
    endpoint: Endpoint,
    timeouts: Timeouts,
    peer_source: PeerSource,
    observer: Observer,
    calls: TaskTracker,
}

impl Service {
    /// Returns the service of `config` over `store`. Blocking: reads the file of nonces.
    ///
    /// # Errors
    ///
    /// [`NonceError`].
    pub(crate) fn new(config: &ServerConfig, store: Store) -> Result<Self, NonceError> {
        Ok(Self {
            authority: Authority::new(config)?,
            site: StaticFiles::new(store.clone(), config.serving.clone()),
            endpoint: Endpoint {
                store,
                clock: Arc::clone(&config.clock),
                limits: config.limits.clone(),
            },
            timeouts: config.timeouts.clone(),
            peer_source: config.peer_source,
            observer: Observer::new(config.observation.clone(), Arc::clone(&config.clock)),
            calls: TaskTracker::new(),
        })
    }

    /// Returns the calls that are under way, also those whose peer is gone.
    pub(crate) const fn calls(&self) -> &TaskTracker {
        &self.calls
    }

    /// Returns the answer to a request from `socket_peer`.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        socket_peer: IpAddr,
    ) -> Response<ReplyBody> {
        let (parts, incoming) = request.into_parts();
        let observed = self
            .observer
            .begin(&parts, || self.peer(&parts.headers, socket_peer));
        let routed = route(&parts.method, parts.uri.path());
        let mut response = if let Ok(Route::Site) = routed {
            self.serve_site(&parts, socket_peer).await
        } else {
            let peer = self.peer(&parts.headers, socket_peer);
            let service = Arc::clone(self);
            // In a box of its own: what a call needs is large, and visitors would carry it about.
            Box::pin(service.endpoint_answer(routed, parts, incoming, peer)).await
        };
        if let Some(observed) = observed {
            self.observer.answered(observed, &mut response);
        }
        response
    }

    /// Returns the counters, when there are any.
    pub(crate) fn metrics(&self) -> Option<&Arc<Metrics>> {
        self.observer.metrics()
    }

    /// Answers a call of the sync endpoint, in a task of its own.
    async fn endpoint_answer(
        self: Arc<Self>,
        routed: Result<Route, NoRoute>,
        parts: Parts,
        incoming: Incoming,
        peer: IpAddr,
    ) -> Response<ReplyBody> {
        let request_id = request_id(&parts.headers);
        let span = tracing::info_span!(
            "request",
            request.id = request_id,
            http.method = %parts.method,
            http.route = routed.as_ref().map_or("none", Route::name),
            peer = %peer,
        );
        let is_head = parts.method == Method::HEAD;
        let service = Arc::clone(&self);
        let call = async move {
            let route = routed.map_err(Refusal::from)?;
            service.call(route, parts, incoming, peer).await
        };
        let service = Arc::clone(&self);
        let answered = self.calls.spawn(
            async move {
                let started = Instant::now();
                let answer: Result<_, Refusal> = call.await;
                service.count(routed, started, &answer);
                answer.unwrap_or_else(|refusal| {
                    refusal.log();
                    refusal.reply()
                })
            }
            .instrument(span.clone()),
        );
        let mut response = answered.await.unwrap_or_else(|error| {
            let refusal = Refusal::internal(error);
            span.in_scope(|| refusal.log());
            refusal.reply()
        });
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID_HEADER, value);
        }
        if is_head {
            response = without_body(response);
        }
        response
    }

    fn count(
        &self,
        routed: Result<Route, NoRoute>,
        started: Instant,
        answer: &Result<Response<ReplyBody>, Refusal>,
    ) {
        let kind = match routed {
            Ok(Route::PublishChangeset) => PublishKind::Changeset,
            Ok(Route::Commit(_)) => PublishKind::V1,
            Ok(Route::Rollback) => PublishKind::Rollback,
            _ => {
                if let Err(refusal) = answer {
                    self.observer.refused(refusal.status().1);
                }
                return;
            }
        };
        match answer {
            Ok(_) => self.observer.published(kind, started),
            Err(refusal) => self.observer.refused(refusal.status().1),
        }
    }

    /// Answers a visitor. A span and an id for each would cost more than most answers: there is a
    /// span where somebody looks at it.
    async fn serve_site(&self, parts: &Parts, socket_peer: IpAddr) -> Response<ReplyBody> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return self.site_answer(parts).await;
        }
        let peer = self.peer(&parts.headers, socket_peer);
        let span = tracing::debug_span!("request", http.method = %parts.method, peer = %peer);
        self.site_answer(parts).instrument(span).await
    }

    async fn site_answer(&self, parts: &Parts) -> Response<ReplyBody> {
        let request = SiteRequest {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        };
        let response = self.site.serve(request).await;
        tracing::debug!(
            http.status = response.status().as_u16(),
            http.path = parts.uri.path(),
            "site request"
        );
        response
    }

    async fn call(
        &self,
        route: Route,
        parts: Parts,
        incoming: Incoming,
        peer: IpAddr,
    ) -> Result<Response<ReplyBody>, Refusal> {
        if route == Route::Health && !is_signed(&parts.headers) {
            return Ok(unsigned_health());
        }
        let mut body = RequestBody::new(incoming, &parts.headers, self.timeouts.body_idle);
        let answer = match self.authority.verify(&parts, &mut body, peer).await {
            Ok(verified) => self.endpoint.call(route, &parts, verified).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &answer
            && !matches!(refusal, Refusal::Timeout | Refusal::BrokenBody(_))
        {
            body.discard(self.endpoint.limits.changeset_bytes).await;
        }
        answer
    }

    fn peer(&self, headers: &HeaderMap, socket_peer: IpAddr) -> IpAddr {
        let named = match self.peer_source {
            PeerSource::Socket => None,
            PeerSource::FlyClientIp => headers
                .get(FLY_CLIENT_IP)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.parse().ok()),
        };
        named.unwrap_or(socket_peer)
    }
}

/// Returns the client's id of the request when it is fit for a log, and else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let fit = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    headers
        .get(REQUEST_ID_HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(fit)
        .map_or_else(new_request_id, ToOwned::to_owned)
}

fn new_request_id() -> String {
    // An id only joins log lines: without random bytes, lines of two requests may be joined.
    let random = getrandom::u64().unwrap_or_default();
    format!("{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_taken_over_when_fit() {
        let id = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID_HEADER, HeaderValue::from_static(value));
            request_id(&headers)
        };
        assert_eq!(id("abc-123_X"), "abc-123_X");
        for unfit in ["", "a b", "a\"b", "a,b"] {
            assert_ne!(id(unfit), unfit);
            assert_eq!(id(unfit).len(), 16);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
