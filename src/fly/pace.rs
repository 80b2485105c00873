//! How often the platform may be asked: a token bucket for each action and what it is about.
//!
//! The documented limits are one call a second with bursts of three, per action and per id, and five
//! with bursts of ten for looking at a machine. Waiting here is cheaper than being refused. Owns
//! the buckets; a call that is dropped while it waits has used its place up, which errs towards
//! asking less often.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::action::{Action, Asked};

/// Buckets that have filled up again say nothing; they are dropped when there are so many.
const MAX_BUCKETS: usize = 256;

/// How often something may be asked.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Between two calls in the long run.
    interval: Duration,
    /// How many may come at once.
    burst: u32,
}

impl Limit {
    const fn of(action: Action) -> Self {
        match action {
            Action::GetMachine => Self {
                interval: Duration::from_millis(200),
                burst: 10,
            },
            _ => Self {
                interval: Duration::from_secs(1),
                burst: 3,
            },
        }
    }
}

/// The buckets of one client.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When each bucket is full again.
    full_at: Mutex<HashMap<Asked, Instant>>,
}

impl Pace {
    /// Waits until `asked` may be asked.
    pub(super) async fn wait(&self, asked: &Asked) {
        let at = self.reserve(asked, Instant::now());
        tokio::time::sleep_until(at).await;
    }

    /// Takes a place, and returns when it comes.
    fn reserve(&self, asked: &Asked, now: Instant) -> Instant {
        let limit = Limit::of(asked.action);
        // A time is whole whatever happened to the thread that wrote it.
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_at = buckets.entry(asked.clone()).or_insert(now);
        *full_at = (*full_at).max(now) + limit.interval;
        let slack = limit.interval * limit.burst;
        (*full_at - slack).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(action: Action, subject: &str) -> Asked {
        Asked {
            action,
            subject: subject.into(),
        }
    }

    /// Returns after how many milliseconds each of `count` calls goes out.
    async fn times(asked: &Asked, count: usize) -> Vec<u128> {
        let pace = Pace::default();
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..count {
            pace.wait(asked).await;
            times.push(start.elapsed().as_millis());
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_waits() {
        let list = asked(Action::ListVolumes, "app");
        assert_eq!(times(&list, 6).await, [0, 0, 0, 1_000, 2_000, 3_000]);
        let get = asked(Action::GetMachine, "m1");
        let times = times(&get, 12).await;
        assert_eq!(times[..10], [0; 10]);
        assert_eq!(times[10..], [200, 400]);
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_are_apart_and_fill_again() {
        let pace = Pace::default();
        let start = Instant::now();
        for subject in ["a", "b"] {
            for action in [Action::ListVolumes, Action::ListMachines] {
                for _ in 0..3 {
                    pace.wait(&asked(action, subject)).await;
                }
            }
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(3)).await;
        let start = Instant::now();
        for _ in 0..3 {
            pace.wait(&asked(Action::ListVolumes, "a")).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_are_bounded() {
        let pace = Pace::default();
        for index in 0..3 * MAX_BUCKETS {
            tokio::time::advance(Duration::from_secs(1)).await;
            pace.wait(&asked(Action::ListVolumes, &index.to_string()))
                .await;
        }
        assert!(pace.full_at.lock().unwrap().len() <= MAX_BUCKETS);
    }
}
