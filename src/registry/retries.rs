//! When a failed call is made again: a law over errors, and the wait that it asks for.

use std::time::Duration;

use super::{PushEvent, RegistryError, error::Retry};
use crate::{error_report::with_causes, publish::Backoff};

/// The longest that a registry may ask to be left alone; whoever wants more is told to try later.
const MAX_ASKED: Duration = Duration::from_mins(2);

/// How often and how fast calls are made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between tries that failed.
    pub(super) backoff: Backoff,
    /// Tries in all, the first included.
    pub(super) tries: u32,
    /// Between looks for a repository that is not there yet.
    pub(super) appearing: Duration,
    /// Such looks in all, the first included.
    pub(super) looks: u32,
}

impl Pace {
    /// Half a second doubling to eight, six tries: a registry that restarts is waited for, and one
    /// that is down is told within half a minute. A new app's repository is there within seconds.
    pub(super) const PUSH: Self = Self {
        backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(8)),
        tries: 6,
        appearing: Duration::from_secs(1),
        looks: 10,
    };
}

/// The tries of one call.
#[derive(Debug)]
pub(super) struct Retries {
    pace: Pace,
    looks: u32,
}

impl Retries {
    pub(super) fn new(pace: &Pace) -> Self {
        Self {
            pace: pace.clone(),
            looks: 0,
        }
    }

    /// Returns how long to wait before the next try, or nothing when there is none; `random` is
    /// uniform over all its values.
    fn after(&mut self, error: &RegistryError, random: u32) -> Option<Duration> {
        match error.retry() {
            Retry::Never => None,
            Retry::Appearing => {
                self.looks += 1;
                (self.looks < self.pace.looks).then_some(self.pace.appearing)
            }
            Retry::Backoff { asked } => {
                let asked = asked.unwrap_or_default();
                let wait = self.pace.backoff.failed(random).max(asked);
                (asked <= MAX_ASKED && self.pace.backoff.failures() < self.pace.tries)
                    .then_some(wait)
            }
        }
    }

    /// Waits until the next try, or returns the error when there is none.
    pub(super) async fn wait_after(
        &mut self,
        error: RegistryError,
        progress: &impl Fn(PushEvent),
    ) -> Result<(), RegistryError> {
        // Without randomness the longest wait is the polite one.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        let Some(wait) = self.after(&error, random) else {
            return Err(error);
        };
        let error = with_causes(&error);
        tracing::debug!(
            error,
            wait.ms = wait.as_millis(),
            "the registry is asked again: {error}"
        );
        progress(PushEvent::Retrying { error, wait });
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Refusal;

    fn refusal() -> Refusal {
        Refusal {
            status: 429,
            message: "slow down".into(),
            request_id: None,
        }
    }

    fn busy(seconds: Option<u64>) -> RegistryError {
        RegistryError::Busy {
            host: "r".into(),
            refusal: refusal(),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    fn unknown() -> RegistryError {
        RegistryError::UnknownRepository {
            host: "r".into(),
            repository: "app".into(),
            refusal: refusal(),
        }
    }

    #[test]
    fn what_may_pass_is_tried_six_times() {
        let mut retries = Retries::new(&Pace::PUSH);
        let waits: Vec<u128> = std::iter::from_fn(|| retries.after(&busy(None), u32::MAX))
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000]);
    }

    #[test]
    fn the_registry_may_ask_for_a_longer_wait_but_not_for_any() {
        let mut retries = Retries::new(&Pace::PUSH);
        let wait = retries.after(&busy(Some(7)), 0);
        assert_eq!(wait, Some(Duration::from_secs(7)));
        let wait = retries.after(&busy(Some(0)), u32::MAX);
        assert_eq!(wait, Some(Duration::from_secs(1)));
        assert_eq!(retries.after(&busy(Some(121)), 0), None);
    }

    #[test]
    fn a_new_repository_is_looked_for_at_an_even_pace() {
        let mut retries = Retries::new(&Pace::PUSH);
        let waits: Vec<Duration> = std::iter::from_fn(|| retries.after(&unknown(), 0)).collect();
        assert_eq!(waits, [Duration::from_secs(1); 9]);
        // Those looks took nothing from the tries of what fails otherwise.
        assert!(retries.after(&busy(None), 0).is_some());
    }

    #[test]
    fn what_stays_wrong_is_not_tried_again() {
        let mut retries = Retries::new(&Pace::PUSH);
        let error = RegistryError::BadHost { host: "a b".into() };
        assert_eq!(retries.after(&error, 0), None);
    }
}
