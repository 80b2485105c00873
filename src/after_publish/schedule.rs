//! When a delivery is tried again, and when it is put aside: laws over answers and failures. Pure.
//!
//! A wait is drawn between half of its ceiling and the whole, so that it is never nothing and receivers
//! that come back are not met by everybody at once.

use std::time::{Duration, SystemTime};

use jiff::fmt::rfc2822;

/// The ceiling of the first wait.
const FIRST: Duration = Duration::from_secs(1);

/// The highest ceiling.
const LONGEST: Duration = Duration::from_hours(1);

/// The longest that a receiver may ask to be left alone.
const MOST_ASKED: Duration = Duration::from_hours(24);

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was taken.
    Taken,
    /// The same may be taken later.
    Later,
    /// The same is never taken.
    Refused,
}

/// Returns what a status means.
pub(super) const fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Taken,
        // What redirects is not followed: its address belongs into the configuration.
        300..=407 | 409..=428 | 430..=499 => Verdict::Refused,
        _ => Verdict::Later,
    }
}

/// Returns how long to wait after that many failures; `random` is uniform over all its values.
pub(super) fn wait_after(failures: u32, random: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(31));
    let half = FIRST.saturating_mul(doubled).min(LONGEST) / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Returns how long the value of a `Retry-After` asks for, at most a day.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let at = SystemTime::from(rfc2822::parse(value).ok()?.timestamp());
        at.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MOST_ASKED))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statuses() {
        for (status, expected) in [
            (200, Verdict::Taken),
            (202, Verdict::Taken),
            (204, Verdict::Taken),
            (301, Verdict::Refused),
            (400, Verdict::Refused),
            (401, Verdict::Refused),
            (408, Verdict::Later),
            (410, Verdict::Refused),
            (422, Verdict::Refused),
            (429, Verdict::Later),
            (500, Verdict::Later),
            (503, Verdict::Later),
            (100, Verdict::Later),
        ] {
            assert_eq!(verdict(status), expected, "{status}");
        }
    }

    #[test]
    fn a_receiver_says_when() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_777_000_000);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("9999999", now), Some(MOST_ASKED));
        let date = "Fri, 24 Apr 2026 03:07:40 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_mins(1)));
        assert_eq!(
            retry_after("Fri, 24 Apr 2020 03:07:40 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn the_default_number_of_tries_lasts_about_a_day() {
        let middle = u32::MAX / 2;
        let all: Duration = (1..43).map(|failures| wait_after(failures, middle)).sum();
        let hours = all.as_secs() / 3_600;
        assert!((22..=26).contains(&hours), "{hours} h");
    }

    proptest! {
        #[test]
        fn waits_grow_up_to_an_hour_and_are_never_nothing(failures in 1_u32..2_000, random: u32) {
            let wait = wait_after(failures, random);
            prop_assert!(wait >= FIRST / 2 && wait <= LONGEST);
            prop_assert!(wait_after(failures + 1, random) >= wait);
        }
    }
}
