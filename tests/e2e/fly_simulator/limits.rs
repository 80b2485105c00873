//! How often each action may be asked of each thing: the platform's documented limits.

use std::{collections::HashMap, time::Duration};

use super::route::Operation;

/// How much a bucket holds, and how much comes back each second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: f64,
    each_second: f64,
}

const USUAL: Rate = Rate {
    burst: 3.0,
    each_second: 1.0,
};

/// Asking for one machine is allowed more often.
const OF_ONE_MACHINE: Rate = Rate {
    burst: 10.0,
    each_second: 5.0,
};

#[derive(Debug)]
struct Bucket {
    level: f64,
    at: Duration,
}

/// The buckets of all that was asked.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    buckets: HashMap<(Operation, String), Bucket>,
}

impl Limits {
    /// Returns whether one more request is within the limit. `now` is since the start.
    pub(crate) fn admit(&mut self, operation: Operation, id: &str, now: Duration) -> bool {
        let rate = if operation == Operation::MachineGet {
            OF_ONE_MACHINE
        } else {
            USUAL
        };
        let bucket = self
            .buckets
            .entry((operation, id.to_owned()))
            .or_insert(Bucket {
                level: rate.burst,
                at: now,
            });
        let gained = now.saturating_sub(bucket.at).as_secs_f64() * rate.each_second;
        bucket.level = (bucket.level + gained).min(rate.burst);
        bucket.at = now;
        if bucket.level < 1.0 {
            return false;
        }
        bucket.level -= 1.0;
        true
    }
}

#[test]
fn a_burst_is_taken_and_then_one_each_second() {
    let mut limits = Limits::default();
    let at = Duration::from_millis;
    let mut ask = |id: &str, now| limits.admit(Operation::AppGet, id, at(now));
    assert!(ask("a", 0) && ask("a", 0) && ask("a", 0));
    assert!(!ask("a", 0) && !ask("a", 900));
    assert!(ask("b", 900), "each thing has a limit of its own");
    assert!(ask("a", 1_000) && !ask("a", 1_100));
    assert!(ask("a", 60_000) && ask("a", 60_000) && ask("a", 60_000) && !ask("a", 60_000));
}

#[test]
fn one_machine_may_be_asked_for_more_often() {
    let mut limits = Limits::default();
    let admitted = (0..20)
        .filter(|_| limits.admit(Operation::MachineGet, "m", Duration::ZERO))
        .count();
    assert_eq!(admitted, 10);
}
