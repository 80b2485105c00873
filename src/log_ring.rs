//! The last lines of this process's log, in memory, for whoever looks at a running daemon.
//!
//! Owns at most [`KEPT_LINES`] lines of bounded size; the oldest goes when a new one comes, and who
//! reads too slowly is told how many it missed. Writing takes a short lock and waits for nobody. The
//! ring has what the configured filter lets through, as the log itself does, and is only lost with
//! the process.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::wall_clock;

/// Lines that are kept.
pub const KEPT_LINES: usize = 1_000;

/// The texts of a line together, in bytes: what is longer is cut, and fields that come after it are
/// left out. With the number of lines, it bounds the ring's memory.
const MOST_TEXT: usize = 4_096;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// The line's number in this process, from 1 and without a gap.
    pub number: u64,
    /// When it was written, in Unix milliseconds.
    pub unix_ms: u64,
    /// How grave it is.
    pub level: LogLevel,
    /// The part of the program that says it.
    pub target: String,
    /// What it says.
    pub message: String,
    /// Its figures and names.
    pub fields: Map<String, Value>,
}

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Somebody must act.
    Error,
    /// Something went wrong and is mended.
    Warn,
    /// A publish, or a stage of the daemon's life.
    Info,
    /// For who looks for a fault.
    Debug,
    /// Each file.
    Trace,
}

impl LogLevel {
    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }

    /// Returns the word that a log line has.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }
}

/// The last lines; clones are the same ring.
#[derive(Debug, Clone)]
pub struct LogRing {
    kept: Arc<Mutex<Kept>>,
    /// The number of the last line, for who waits.
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    /// The number of the last line.
    last: u64,
}

impl Default for LogRing {
    fn default() -> Self {
        Self {
            kept: Arc::default(),
            last: watch::Sender::new(0),
        }
    }
}

impl LogRing {
    /// Returns the last `count` lines, the oldest first.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<LogLine> {
        let kept = self.kept();
        let skipped = kept.lines.len().saturating_sub(count);
        kept.lines.iter().skip(skipped).cloned().collect()
    }

    /// Returns a reader that begins with the last `count` lines.
    #[must_use]
    pub fn follow(&self, count: usize) -> Follower {
        let mut last = self.last.subscribe();
        last.mark_changed();
        let seen = self.kept().last.saturating_sub(count as u64);
        let ring = self.clone();
        Follower { ring, last, seen }
    }

    fn push(&self, mut line: LogLine) {
        let mut kept = self.kept();
        kept.last += 1;
        let number = kept.last;
        line.number = number;
        kept.lines.push_back(line);
        if kept.lines.len() > KEPT_LINES {
            kept.lines.pop_front();
        }
        drop(kept);
        // Two writers may pass each other here: the number only grows.
        self.last.send_modify(|last| *last = number.max(*last));
    }

    fn after(&self, seen: u64) -> Vec<LogLine> {
        let kept = self.kept();
        let new = kept.lines.iter().filter(|line| line.number > seen);
        new.cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a ring as it grows.
#[derive(Debug)]
pub struct Follower {
    ring: LogRing,
    last: watch::Receiver<u64>,
    seen: u64,
}

impl Follower {
    /// Waits for lines that were not read yet, and returns them, the oldest first. Cancel-safe.
    ///
    /// Where the reader was slower than the log, lines are missing: their numbers tell.
    pub async fn next(&mut self) -> Vec<LogLine> {
        loop {
            // The ring holds the sender, and this holds the ring.
            if self.last.changed().await.is_err() {
                return std::future::pending().await;
            }
            self.last.borrow_and_update();
            let lines = self.ring.after(self.seen);
            if let Some(newest) = lines.last() {
                self.seen = newest.number;
                return lines;
            }
        }
    }
}

/// Writes what is logged into the ring.
impl<S: Subscriber> Layer<S> for LogRing {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words {
            message: String::new(),
            fields: Map::new(),
            room: MOST_TEXT,
        };
        event.record(&mut words);
        let unix_ms = wall_clock::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| u64::try_from(since.as_millis()).ok())
            .unwrap_or(0);
        self.push(LogLine {
            number: 0,
            unix_ms,
            level: LogLevel::of(*event.metadata().level()),
            target: event.metadata().target().to_owned(),
            message: words.message,
            fields: words.fields,
        });
    }
}

/// What an event says.
struct Words {
    message: String,
    fields: Map<String, Value>,
    /// Bytes that are left.
    room: usize,
}

impl Words {
    fn text(&mut self, field: &Field, mut text: String) {
        if text.len() > self.room {
            let end = text.floor_char_boundary(self.room);
            text.truncate(end);
            text.push('…');
        }
        self.put(field, text.into());
    }

    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        // A number is as long as a short word.
        let length = value.as_str().map_or(8, str::len) + name.len();
        if self.room == 0 {
            return;
        }
        self.room = self.room.saturating_sub(length);
        match value {
            Value::String(text) if name == "message" => self.message = text,
            value => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, crate::error_report::with_causes(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn logged(log: impl FnOnce()) -> LogRing {
        let ring = LogRing::default();
        let subscriber = tracing_subscriber::registry().with(ring.clone());
        tracing::subscriber::with_default(subscriber, log);
        ring
    }

    #[test]
    fn a_line_keeps_its_message_and_its_fields_apart() {
        let ring = logged(|| {
            let cause = std::io::Error::other("the disk is gone");
            let cause = &cause as &(dyn std::error::Error + 'static);
            tracing::warn!(files.changed = 3, path = %"a", error = cause, "not {}", "published");
        });
        let lines = ring.tail(10);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].number, 1);
        assert_eq!(lines[0].level, LogLevel::Warn);
        assert_eq!(lines[0].message, "not published");
        assert!(lines[0].unix_ms > 1_700_000_000_000);
        let fields = serde_json::to_value(&lines[0].fields).unwrap();
        let expected =
            serde_json::json!({"files.changed": 3, "path": "a", "error": "the disk is gone"});
        assert_eq!(fields, expected);
    }

    #[test]
    fn the_ring_is_bounded_and_so_is_a_line() {
        let ring = logged(|| {
            for number in 0..KEPT_LINES + 5 {
                tracing::info!("{number}");
            }
            tracing::info!("{}", "é".repeat(MOST_TEXT));
        });
        let lines = ring.tail(usize::MAX);
        assert_eq!(lines.len(), KEPT_LINES);
        assert_eq!(lines[0].message, "6");
        let last = lines.last().unwrap();
        assert_eq!(last.number, KEPT_LINES as u64 + 6);
        assert!(last.message.len() <= MOST_TEXT + '…'.len_utf8());
        assert_eq!(ring.tail(2).len(), 2);
    }

    #[tokio::test]
    async fn a_follower_begins_with_the_last_lines_and_misses_none() {
        let ring = logged(|| {
            for number in 0..5 {
                tracing::info!("{number}");
            }
        });
        let mut follower = ring.follow(2);
        let first = follower.next().await;
        let numbers = |lines: &[LogLine]| lines.iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(numbers(&first), [4, 5]);
        let subscriber = tracing_subscriber::registry().with(ring.clone());
        tracing::subscriber::with_default(subscriber, || tracing::info!("more"));
        assert_eq!(numbers(&follower.next().await), [6]);
    }

    #[tokio::test]
    async fn a_follower_of_a_silent_log_waits() {
        let ring = LogRing::default();
        let mut follower = ring.follow(10);
        let waited = tokio::time::timeout(std::time::Duration::ZERO, follower.next());
        assert!(waited.await.is_err());
    }
}
