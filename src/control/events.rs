//! Server-sent events: how the site stands and what is logged, as it happens.
//!
//! Nothing is queued for a reader: one that is slow gets the newest status, and the log lines that are
//! still kept. A reader that is gone is noticed by a heartbeat, which also keeps proxies patient.

use std::{convert::Infallible, fmt::Write as _, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Response,
    body::Frame,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{reply::Body, status::Status};
use crate::log_ring::{Follower, LogLine};

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a reader hears.
#[derive(Debug)]
pub(super) struct Feed {
    /// Ends the feed with the daemon.
    told: watch::Receiver<Status>,
    hears_status: bool,
    logs: Option<Follower>,
    heartbeat: Interval,
}

impl Feed {
    /// Returns a feed of the status, at once and whenever it changes, and of the log where `logs` is.
    pub(super) fn of_status(mut told: watch::Receiver<Status>, logs: Option<Follower>) -> Self {
        told.mark_changed();
        Self::new(told, true, logs)
    }

    /// Returns a feed of the log alone.
    pub(super) fn of_logs(told: watch::Receiver<Status>, logs: Follower) -> Self {
        Self::new(told, false, Some(logs))
    }

    fn new(told: watch::Receiver<Status>, hears_status: bool, logs: Option<Follower>) -> Self {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            told,
            hears_status,
            logs,
            heartbeat,
        }
    }

    /// Returns the answer that goes on until the reader or the daemon leaves.
    pub(super) fn response(self) -> Response<Body> {
        let events = stream::unfold(self, |mut feed| async move {
            let text = feed.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), feed))
        });
        let mut response = Response::new(StreamBody::new(events).boxed());
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    /// Returns what is to be said next; nothing once the daemon is gone.
    async fn next(&mut self) -> Option<String> {
        loop {
            tokio::select! {
                // Cancel-safe, as tokio says of it.
                changed = self.told.changed() => {
                    changed.ok()?;
                    let status = self.told.borrow_and_update().clone();
                    if self.hears_status {
                        return Some(event("status", None, &status));
                    }
                }
                // Cancel-safe, as `Follower::next` says.
                lines = next_lines(&mut self.logs) => return Some(log_events(&lines)),
                // Cancel-safe: only time passes.
                _ = self.heartbeat.tick() => return Some(":\n\n".to_owned()),
            }
        }
    }
}

async fn next_lines(logs: &mut Option<Follower>) -> Vec<LogLine> {
    match logs {
        Some(logs) => logs.next().await,
        None => std::future::pending().await,
    }
}

fn log_events(lines: &[LogLine]) -> String {
    let events = lines
        .iter()
        .map(|line| event("log", Some(line.number), line));
    events.collect()
}

fn event(name: &str, id: Option<u64>, value: &impl Serialize) -> String {
    // Text and numbers, nothing that cannot be written; JSON has no line feed outside of its strings,
    // and writes those inside as `\n`.
    let data = serde_json::to_string(value).unwrap_or_default();
    let mut text = format!("event: {name}\n");
    if let Some(id) = id {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "id: {id}");
    }
    text + "data: " + &data + "\n\n"
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::log_ring::LogRing;

    fn say(ring: &LogRing, text: &str) {
        let subscriber = tracing_subscriber::registry().with(ring.clone());
        tracing::subscriber::with_default(subscriber, || tracing::info!("{text}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_tells_the_status_the_log_and_that_it_is_there() {
        let (status, told) = watch::channel(Status::starting("a"));
        let ring = LogRing::default();
        say(&ring, "line\nfeed");
        let mut feed = Feed::of_status(told, Some(ring.follow(10)));
        let mut said = [feed.next().await.unwrap(), feed.next().await.unwrap()];
        said.sort();
        assert!(
            said[0].starts_with("event: log\nid: 1\ndata: {"),
            "{said:?}"
        );
        assert!(said[0].contains(r"line\nfeed"), "{said:?}");
        assert!(said[1].starts_with("event: status\ndata: {"), "{said:?}");
        assert_eq!(feed.next().await.unwrap(), ":\n\n");
        drop(status);
        assert_eq!(feed.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_feed_of_the_log_tells_no_status() {
        let (status, told) = watch::channel(Status::starting("a"));
        let ring = LogRing::default();
        let mut feed = Feed::of_logs(told, ring.follow(0));
        status.send_modify(|status| status.paused = true);
        assert_eq!(feed.next().await.unwrap(), ":\n\n");
        say(&ring, "more");
        assert!(
            feed.next()
                .await
                .unwrap()
                .starts_with("event: log\nid: 1\n")
        );
    }
}
