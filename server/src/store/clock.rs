//! The store's only source of time.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the store takes the time from.
///
/// The time may stand still and step back: ids increase all the same, and what is kept for a while
/// is then kept longer.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
}

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the rim that reads the clock"
        )]
        let now = SystemTime::now();
        // A clock before 1970 is as good as one that stands at it: only the order of ids counts.
        now.duration_since(UNIX_EPOCH).map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }
}
