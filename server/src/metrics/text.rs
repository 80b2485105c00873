//! The counters as text.

use std::{
    fmt::{Display, Write as _},
    sync::{PoisonError, atomic::Ordering},
};

use super::{BUCKETS, Histogram, METHODS, Metrics, PublishKind};
use crate::store::Store;

/// Text in the exposition format.
#[derive(Debug, Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// `labels` are in braces, or empty.
    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    /// `label` is such as `kind="v1"`, or empty.
    fn histogram(&mut self, name: &str, label: &str, histogram: &Histogram) {
        let comma = if label.is_empty() { "" } else { "," };
        let mut sum = 0;
        for (bound, bucket) in BUCKETS.iter().zip(&histogram.buckets) {
            sum += bucket.load(Ordering::Relaxed);
            let bound = *bound as f64 / 1_000_000.0;
            let labels = format!("{{{label}{comma}le=\"{bound}\"}}");
            self.sample(&format!("{name}_bucket"), &labels, sum);
        }
        // Counts may move while they are read: what is in the buckets is counted in any case.
        let count = histogram.count.load(Ordering::Relaxed).max(sum);
        let labels = format!("{{{label}{comma}le=\"+Inf\"}}");
        self.sample(&format!("{name}_bucket"), &labels, count);
        let labels = match label {
            "" => String::new(),
            label => format!("{{{label}}}"),
        };
        let seconds = histogram.sum_us.load(Ordering::Relaxed) as f64 / 1_000_000.0;
        self.sample(&format!("{name}_sum"), &labels, seconds);
        self.sample(&format!("{name}_count"), &labels, count);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let written = writeln!(self.0, "{line}");
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
}

/// Returns everything that a scrape is told. Blocking: asks the volume for its space.
pub(super) fn render(metrics: &Metrics, store: &Store) -> String {
    let mut out = Exposition::default();
    requests(&mut out, metrics);
    publishes(&mut out, metrics);
    deploy(&mut out, store);
    process(&mut out);
    out.0
}

fn requests(out: &mut Exposition, metrics: &Metrics) {
    let name = "onsave_http_requests_total";
    out.family(name, "counter", "Answers that are over.");
    for (method, counts) in METHODS.iter().zip(&metrics.requests) {
        for (status, count) in (100..).zip(counts) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let labels = format!("{{method=\"{method}\",status=\"{status}\"}}");
                out.sample(name, &labels, count);
            }
        }
    }
    let number = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    out.single(
        "onsave_http_response_bytes_total",
        "counter",
        "Bytes of bodies that were handed over to be sent.",
        number(&metrics.response_bytes),
    );
    let name = "onsave_http_request_duration_seconds";
    let help = "From a request's head to the end of its answer.";
    out.family(name, "histogram", help);
    out.histogram(name, "", &metrics.durations);
    out.single(
        "onsave_http_requests_in_flight",
        "gauge",
        "Requests that are being answered.",
        metrics.in_flight.load(Ordering::Relaxed),
    );
    out.single(
        "onsave_connections_open",
        "gauge",
        "Connections that are open.",
        metrics.connections_open.load(Ordering::Relaxed),
    );
    out.single(
        "onsave_connections_accepted_total",
        "counter",
        "Connections that were accepted.",
        number(&metrics.connections_accepted),
    );
}

fn publishes(out: &mut Exposition, metrics: &Metrics) {
    let name = "onsave_publish_duration_seconds";
    let help = "From the head of a request that made a deploy current to its answer.";
    out.family(name, "histogram", help);
    for kind in PublishKind::ALL {
        let label = format!("kind=\"{}\"", kind.name());
        out.histogram(name, &label, &metrics.publishes[kind as usize]);
    }
    let name = "onsave_sync_refusals_total";
    out.family(name, "counter", "Refusals of the sync endpoint.");
    let refusals = metrics.refusals.lock();
    for (code, count) in &*refusals.unwrap_or_else(PoisonError::into_inner) {
        out.sample(name, &format!("{{code=\"{code}\"}}"), count);
    }
}

fn deploy(out: &mut Exposition, store: &Store) {
    let current = store.current();
    let name = "onsave_deploy_info";
    out.family(name, "gauge", "The deploy that is current.");
    if let Some(id) = current.deploy_id() {
        out.sample(name, &format!("{{deploy_id=\"{id}\"}}"), 1);
        out.single(
            "onsave_deploy_created_timestamp_seconds",
            "gauge",
            "When the current deploy was made.",
            id.unix_ms() as f64 / 1_000.0,
        );
    }
    let help = "Files of the current deploy.";
    out.single("onsave_deploy_files", "gauge", help, current.len());
    let help = "Bytes of all files of the current deploy.";
    out.single("onsave_deploy_bytes", "gauge", help, current.total_bytes());
    // A volume that does not answer is in the log of whoever needs it; the rest is told.
    if let Ok(space) = store.disk_space() {
        let help = "Size of the volume's file system.";
        out.single("onsave_volume_bytes", "gauge", help, space.total);
        let help = "What is free on the volume's file system.";
        out.single("onsave_volume_free_bytes", "gauge", help, space.free);
    }
}

fn process(out: &mut Exposition) {
    let name = "onsave_build_info";
    out.family(name, "gauge", "The version of the server.");
    let labels = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    out.sample(name, &labels, 1);
    if let Some(kilobytes) = resident_kilobytes() {
        out.single(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            kilobytes * 1_024,
        );
    }
}

fn resident_kilobytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
