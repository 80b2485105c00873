//! The wall clock, read at the rim and handed in, so that tests can hold it still.
//!
//! Waits do not use it: they use tokio's clock.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Where the server reads the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// Returns the clock of the system.
    #[must_use]
    pub fn system() -> Self {
        Self::from_fn(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the module that reads the clock"
            )]
            let now = SystemTime::now();
            // A clock before 1970 is a broken clock; every signature is then out of its window.
            now.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
        })
    }

    /// Returns a clock that reads what `read` returns: the time since the Unix epoch.
    pub fn from_fn(read: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Returns the time since the Unix epoch.
    #[must_use]
    pub fn unix(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
