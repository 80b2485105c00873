//! When a publish is tried again: a pure law over failures, which owns no clock and no timer.
//!
//! Nothing is queued: whoever retries diffs again first, so that the newest state is sent, once.

use std::time::Duration;

/// What a failure asks for before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// Trying again changes nothing: somebody has to act.
    Never,
    /// The same may succeed later.
    Backoff,
    /// The server's deploy is not the one that was held: fetch its manifest, diff, publish at once.
    FreshManifest,
    /// The site folder changed: scan again, publish at once.
    Rescan,
    /// Sign again and send at once.
    SignAgain,
}

/// Exponential back-off with full jitter.
///
/// The wait after the nth failure in a row is uniform between zero and
/// `min(cap, base * 2^(n-1))`, so that clients of a server that comes back do not arrive together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// What the daemon uses: half a second, doubling up to half a minute. A server that restarts is
    /// found again within seconds, and one that is down for a night costs two requests a minute.
    pub const DAEMON: Self = Self::new(Duration::from_millis(500), Duration::from_secs(30));

    /// Returns a back-off that has seen no failure.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            failures: 0,
        }
    }

    /// Returns how many failures there were in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and returns how long to wait; `random` is uniform over all its values.
    pub fn failed(&mut self, random: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.min(31));
        let ceiling = self.base.saturating_mul(doubled).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Forgets the failures: the server answered.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waits(mut backoff: Backoff, random: u32) -> Vec<Duration> {
        (0..40).map(|_| backoff.failed(random)).collect()
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(3));
        let ms: Vec<u128> = waits(backoff, u32::MAX)
            .iter()
            .take(5)
            .map(Duration::as_millis)
            .collect();
        assert_eq!(ms, [500, 1_000, 2_000, 3_000, 3_000]);
    }

    #[test]
    fn success_starts_again() {
        let mut backoff = Backoff::DAEMON;
        let first = backoff.failed(u32::MAX);
        assert!(backoff.failed(u32::MAX) > first);
        backoff.succeeded();
        assert_eq!(backoff, Backoff::DAEMON);
        assert_eq!(backoff.failed(u32::MAX), first);
    }

    proptest! {
        #[test]
        fn no_wait_is_over_the_cap(base in 1_u64..10_000, cap in 1_u64..100_000, random: u32) {
            let cap = Duration::from_millis(cap);
            for wait in waits(Backoff::new(Duration::from_millis(base), cap), random) {
                prop_assert!(wait <= cap);
            }
        }

        #[test]
        fn waits_never_shrink_for_equal_luck(base in 1_u64..10_000, cap in 1_u64..100_000, random: u32) {
            let backoff = Backoff::new(Duration::from_millis(base), Duration::from_millis(cap));
            prop_assert!(waits(backoff, random).is_sorted());
        }

        #[test]
        fn luck_spreads_over_the_whole_range(failures in 0_usize..40, low: u32, high: u32) {
            let (low, high) = (low.min(high), low.max(high));
            let wait = |random| waits(Backoff::DAEMON, random)[failures];
            prop_assert!(wait(low) <= wait(high));
            prop_assert_eq!(wait(0), Duration::ZERO);
        }
    }
}
