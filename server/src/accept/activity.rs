//! What a connection is at: how many requests are under way, and whether any came since.
//!
//! One number, so that a request costs two additions and no lock. The stream of the connection reads
//! it to tell the bytes of a head from those of a body, and an idle connection from a busy one.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// One more request was begun: the upper half counts them, and may wrap.
const BEGUN: u64 = 1 << 32;

/// One more request is under way: the lower half counts them.
const UNDER_WAY: u64 = 1;

/// The requests of one connection; shared by its stream and its service.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<AtomicU64>);

/// The activity at one moment; two that are equal say that no request began or ended in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment(u64);

/// A request that is under way until this is dropped, with the last of its answer.
#[derive(Debug)]
pub(super) struct UnderWay(Activity);

impl Activity {
    /// Notes that a request's head is whole: what comes now is a body, or the next request.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.fetch_add(BEGUN + UNDER_WAY, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Returns what the connection is at.
    pub(super) fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::Relaxed))
    }
}

impl Moment {
    /// Returns whether no request was under way.
    pub(super) const fn is_quiet(self) -> bool {
        self.0 & (BEGUN - 1) == 0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(UNDER_WAY, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_and_go() {
        let activity = Activity::default();
        let fresh = activity.now();
        assert!(fresh.is_quiet());
        let (one, two) = (activity.begin(), activity.begin());
        assert!(!activity.now().is_quiet());
        drop(one);
        assert!(!activity.now().is_quiet());
        drop(two);
        assert!(activity.now().is_quiet());
        assert_ne!(activity.now(), fresh, "it was busy in between");
    }
}
