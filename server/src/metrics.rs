//! Counters of what the server does, and their text for Prometheus (exposition format 0.0.4).
//!
//! On the way of a request there are only relaxed additions to atomics; everything else, the volume's
//! space among it, is asked when somebody scrapes. Its own small writer rather than a registry: the set
//! of metrics is fixed, and so are their labels.

mod endpoint;
mod text;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Method;
use onsave_protocol::wire::error::ErrorCode;

pub use self::endpoint::serve as serve_metrics;

/// Upper bounds of the buckets of durations, in microseconds: from what is in memory to a download over
/// a slow line.
const BUCKETS: [u64; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 10_000_000, 60_000_000,
];

/// Statuses that are counted one by one, from 100 on.
const STATUSES: usize = 500;

/// Kinds of methods.
const METHODS: [&str; 3] = ["GET", "HEAD", "other"];

/// Counts of durations.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

/// How something became current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishKind {
    /// By a changeset.
    Changeset,
    /// By a commit of the first generation.
    V1,
    /// By going back.
    Rollback,
}

impl PublishKind {
    const ALL: [Self; 3] = [Self::Changeset, Self::V1, Self::Rollback];

    const fn name(self) -> &'static str {
        match self {
            Self::Changeset => "changeset",
            Self::V1 => "v1",
            Self::Rollback => "rollback",
        }
    }
}

/// The counters of one server.
#[derive(Debug)]
pub struct Metrics {
    requests: [Box<[AtomicU64]>; METHODS.len()],
    response_bytes: AtomicU64,
    durations: Histogram,
    pub(crate) in_flight: AtomicI64,
    pub(crate) connections_open: AtomicI64,
    pub(crate) connections_accepted: AtomicU64,
    publishes: [Histogram; PublishKind::ALL.len()],
    refusals: Mutex<BTreeMap<String, u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let statuses = || (0..STATUSES).map(|_| AtomicU64::new(0)).collect();
        Self {
            requests: [statuses(), statuses(), statuses()],
            response_bytes: AtomicU64::new(0),
            durations: Histogram::default(),
            in_flight: AtomicI64::new(0),
            connections_open: AtomicI64::new(0),
            connections_accepted: AtomicU64::new(0),
            publishes: Default::default(),
            refusals: Mutex::default(),
        }
    }
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = BUCKETS.iter().position(|bound| took <= *bound) {
            self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(took, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts an answer that is over.
    pub(crate) fn answered(&self, method: &Method, status: u16, bytes: u64, took: Duration) {
        let method = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            _ => 2,
        };
        // HTTP has no status outside of these.
        if let Some(count) = self.requests[method].get(usize::from(status.saturating_sub(100))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.response_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.durations.observe(took);
    }

    /// Counts a publish that is done.
    pub(crate) fn published(&self, kind: PublishKind, took: Duration) {
        self.publishes[kind as usize].observe(took);
    }

    /// Counts a refusal of the sync endpoint.
    pub(crate) fn refused(&self, code: ErrorCode) {
        // The code's name on the wire; refusals are rare, and those of one peer are rate-limited.
        let name = serde_json::to_value(code).ok();
        let name = name.as_ref().and_then(|name| name.as_str());
        let name = name.unwrap_or("unknown").to_owned();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry(name).or_default() += 1;
    }

    /// Counts a connection for as long as what is returned lives.
    pub(crate) fn connection(self: &std::sync::Arc<Self>) -> OpenConnection {
        self.connections_accepted.fetch_add(1, Ordering::Relaxed);
        self.connections_open.fetch_add(1, Ordering::Relaxed);
        OpenConnection(std::sync::Arc::clone(self))
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct OpenConnection(std::sync::Arc<Metrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}
