//! What is told of each request: counters, a line in the access log, `Server-Timing`.
//!
//! Where nothing of it is wanted, a request costs one look at two options and reads no clock. What is
//! told is told when the answer is over: the body carries a `Watch`, which counts what was really sent
//! and speaks when it is dropped, after the last byte or when the peer hung up.

mod access_log;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use http::{HeaderMap, HeaderValue, Method, Response, header::HeaderName, request::Parts};
use onsave_protocol::wire::error::ErrorCode;
use tokio::time::Instant;

use self::access_log::Line;
pub use self::access_log::{AccessLog, AccessLogFormat};
use crate::{
    metrics::{Metrics, PublishKind},
    static_files::ReplyBody,
    store::Clock,
};

/// The request header that asks for `Server-Timing`; its value does not matter.
const ASKS_FOR_TIMING: HeaderName = HeaderName::from_static("onsave-server-timing");

/// The answer's header (W3C Server Timing).
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What is told of requests.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// Where requests are counted.
    pub metrics: Option<Arc<Metrics>>,
    /// Where each gets a line.
    pub access_log: Option<Arc<AccessLog>>,
    /// Whether every answer says how long it took, and not only those that are asked to.
    pub server_timing: bool,
}

/// Tells it.
#[derive(Debug)]
pub(crate) struct Observer {
    observation: Observation,
    clock: Arc<dyn Clock>,
}

/// A request that is observed.
#[derive(Debug)]
pub(crate) struct Observed {
    started: Instant,
    method: Method,
    says_time: bool,
    line: Option<Box<Line>>,
    in_flight: Option<InFlight>,
}

/// Counts a request as being answered for as long as it lives, also when its peer hangs up first.
#[derive(Debug)]
struct InFlight(Arc<Metrics>);

impl InFlight {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(metrics))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Watches the body of an answer to its end.
#[derive(Debug)]
pub(crate) struct Watch {
    observation: Observation,
    started: Instant,
    method: Method,
    status: u16,
    bytes: u64,
    line: Option<Box<Line>>,
    _in_flight: Option<InFlight>,
}

impl Observer {
    /// Returns what tells `observation`, with times of `clock`.
    pub(crate) fn new(observation: Observation, clock: Arc<dyn Clock>) -> Self {
        Self { observation, clock }
    }

    /// Returns the counters, when there are any.
    pub(crate) const fn metrics(&self) -> Option<&Arc<Metrics>> {
        self.observation.metrics.as_ref()
    }

    /// Begins to observe a request; nothing when nothing is told of it. `peer` is asked only when it is
    /// told.
    pub(crate) fn begin(&self, parts: &Parts, peer: impl FnOnce() -> IpAddr) -> Option<Observed> {
        let Observation {
            metrics,
            access_log,
            server_timing,
        } = &self.observation;
        let says_time = *server_timing || parts.headers.contains_key(ASKS_FOR_TIMING);
        if metrics.is_none() && access_log.is_none() && !says_time {
            return None;
        }
        let line = access_log
            .as_ref()
            .map(|_| Box::new(Line::new(parts, peer(), self.clock.unix_ms())));
        Some(Observed {
            started: Instant::now(),
            method: parts.method.clone(),
            says_time,
            line,
            in_flight: metrics.as_ref().map(InFlight::new),
        })
    }

    /// Takes note of an answer that is made; the rest is told when it is over.
    pub(crate) fn answered(&self, observed: Observed, response: &mut Response<ReplyBody>) {
        if observed.says_time {
            say_time(response.headers_mut(), observed.started);
        }
        if self.observation.metrics.is_none() && observed.line.is_none() {
            return;
        }
        let watch = Watch {
            observation: self.observation.clone(),
            started: observed.started,
            method: observed.method,
            status: response.status().as_u16(),
            bytes: 0,
            line: observed.line,
            _in_flight: observed.in_flight,
        };
        response.body_mut().watch(watch);
    }

    /// Counts a refusal of the sync endpoint.
    pub(crate) fn refused(&self, code: ErrorCode) {
        if let Some(metrics) = self.metrics() {
            metrics.refused(code);
        }
    }

    /// Counts a publish of some kind that began at `started` and is done.
    pub(crate) fn published(&self, kind: PublishKind, started: Instant) {
        if let Some(metrics) = self.metrics() {
            metrics.published(kind, started.elapsed());
        }
    }
}

fn say_time(headers: &mut HeaderMap, started: Instant) {
    let milliseconds = started.elapsed().as_secs_f64() * 1_000.0;
    if let Ok(value) = HeaderValue::from_str(&format!("total;dur={milliseconds:.3}")) {
        headers.insert(SERVER_TIMING, value);
    }
}

impl Watch {
    /// Counts bytes that were handed over to be sent.
    pub(crate) const fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        if let Some(metrics) = &self.observation.metrics {
            metrics.answered(&self.method, self.status, self.bytes, took);
        }
        if let (Some(log), Some(line)) = (&self.observation.access_log, self.line.take()) {
            log.write(line.text(log.format(), self.status, self.bytes, took));
        }
    }
}
