//! What is to be done next: a pure state machine over batches, outcomes and time.
//!
//! Owns what has to be scanned, what is scanned and not yet published, and when to try again. At
//! most one order is out at a time; what settles meanwhile merges into the next, so that the newest
//! state wins and nothing is queued twice. Owns no clock: time comes in with every call.

use std::{collections::BTreeSet, mem, time::Duration};

use onsave_protocol::SitePath;
use tokio::time::Instant;

use crate::{
    dirty::{Dirty, MAX_DIRTY_PATHS},
    publish::Backoff,
    settle::Batch,
};

/// The first wait before files that changed while they were read are looked at again; doubled each
/// time up to [`LONGEST_RESCAN`].
const FIRST_RESCAN: Duration = Duration::from_millis(25);

/// The longest such wait: a file that is written without end costs one look a second.
const LONGEST_RESCAN: Duration = Duration::from_secs(1);

/// What is scanned and may differ from what the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owed {
    /// At most these paths.
    Paths(BTreeSet<SitePath>),
    /// Anything.
    Everything,
}

impl Owed {
    pub(super) const fn nothing() -> Self {
        Self::Paths(BTreeSet::new())
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Paths(paths) if paths.is_empty())
    }

    /// Adds paths; decays to everything beyond [`MAX_DIRTY_PATHS`].
    pub(super) fn add(&mut self, touched: BTreeSet<SitePath>) {
        if let Self::Paths(paths) = self {
            paths.extend(touched);
            if paths.len() > MAX_DIRTY_PATHS {
                *self = Self::Everything;
            }
        }
    }
}

/// One round of work.
#[derive(Debug)]
pub(super) struct Order {
    /// Where to scan.
    pub(super) dirty: Dirty,
    /// What an earlier round left unpublished.
    pub(super) owed: Owed,
    /// Whether it may be published now, or only once a save touched something.
    pub(super) trigger: Trigger,
    /// From the first event to the end of the burst.
    pub(super) settle: Duration,
}

/// What makes a round publish what is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// That anything is owed.
    Owed,
    /// A save: something that this round's scan finds touched.
    Save,
}

/// How a round ended, as far as the next one depends on it.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nothing is owed any more.
    InStep,
    /// What is owed waits for a save: it is held, refused, or another deploy is current on purpose.
    WaitForSave(Owed),
    /// What is owed is tried again after a back-off, at least this long.
    TryAgain(Owed, Duration),
    /// The folder has to be looked at again before anything can be said.
    ScanAgain(Owed, Dirty),
}

/// The daemon's plan.
#[derive(Debug)]
pub(super) struct Agenda {
    dirty: Dirty,
    /// First and last event of what settled since the last order.
    burst: Option<(Instant, Instant)>,
    owed: Owed,
    trigger: Trigger,
    due: Option<Instant>,
    backoff: Backoff,
    rescan: Duration,
}

impl Agenda {
    /// Returns the plan of a start: look at everything.
    pub(super) const fn new() -> Self {
        Self {
            dirty: Dirty::Everything,
            burst: None,
            owed: Owed::Everything,
            trigger: Trigger::Owed,
            due: None,
            backoff: Backoff::DAEMON,
            rescan: FIRST_RESCAN,
        }
    }

    /// Takes in what settled: it is worked on as soon as no other order is out.
    pub(super) fn settled(&mut self, batch: Batch) {
        self.dirty.merge(batch.dirty);
        let first = self.burst.map_or(batch.first, |(first, _)| first);
        self.burst = Some((first.min(batch.first), batch.last));
        // A new state is worth a try, whatever the back-off said of the old one.
        self.due = None;
    }

    /// Notes that the server's deploy is not the one that paths were owed against.
    pub(super) fn remote_moved(&mut self) {
        self.owed = Owed::Everything;
        self.trigger = Trigger::Save;
    }

    /// Returns when the next order is due; nothing while there is nothing to do.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let waits = !self.owed.is_nothing() && self.trigger == Trigger::Owed;
        if self.dirty.is_nothing() && !waits {
            return None;
        }
        Some(self.due.unwrap_or(now))
    }

    /// Returns the next order, when it is due at `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<Order> {
        if self.due(now)? > now {
            return None;
        }
        self.due = None;
        Some(Order {
            dirty: mem::replace(&mut self.dirty, Dirty::nothing()),
            owed: mem::replace(&mut self.owed, Owed::nothing()),
            trigger: mem::replace(&mut self.trigger, Trigger::Owed),
            settle: self.burst.take().map_or(Duration::ZERO, |(first, _)| {
                now.saturating_duration_since(first)
            }),
        })
    }

    /// Takes in how the order that was out ended; `random` is uniform over all its values.
    pub(super) fn ended(&mut self, ended: Ended, now: Instant, random: u32) {
        let saved_meanwhile = self.burst.is_some();
        match ended {
            Ended::InStep => {
                self.owed = Owed::nothing();
                self.calm();
            }
            Ended::WaitForSave(owed) => {
                self.owed = owed;
                self.trigger = Trigger::Save;
                self.calm();
            }
            Ended::TryAgain(owed, at_least) => {
                self.owed = owed;
                let wait = self.backoff.failed(random).max(at_least);
                self.rescan = FIRST_RESCAN;
                self.due = (!saved_meanwhile).then_some(now + wait);
            }
            Ended::ScanAgain(owed, dirty) => {
                self.owed = owed;
                self.dirty.merge(dirty);
                self.due = (!saved_meanwhile).then_some(now + self.rescan);
                self.rescan = (self.rescan * 2).min(LONGEST_RESCAN);
            }
        }
    }

    fn calm(&mut self) {
        self.backoff.succeeded();
        self.rescan = FIRST_RESCAN;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn batch(path: &str, first: Instant, last: Instant) -> Batch {
        Batch {
            dirty: Dirty::Paths([PathBuf::from(path)].into()),
            first,
            last,
        }
    }

    fn paths(names: &[&str]) -> BTreeSet<SitePath> {
        names
            .iter()
            .map(|name| SitePath::parse(name).unwrap())
            .collect()
    }

    const HALF: u32 = u32::MAX / 2;

    /// Returns an agenda whose start is over.
    fn in_step(now: Instant) -> Agenda {
        let mut agenda = Agenda::new();
        assert!(agenda.take(now).is_some());
        agenda.ended(Ended::InStep, now, HALF);
        agenda
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_looks_at_everything_at_once() {
        let now = Instant::now();
        let mut agenda = Agenda::new();
        assert_eq!(agenda.due(now), Some(now));
        let order = agenda.take(now).unwrap();
        assert_eq!(order.dirty, Dirty::Everything);
        assert_eq!(order.owed, Owed::Everything);
        assert_eq!(agenda.due(now), None, "one order is enough");
    }

    #[tokio::test(start_paused = true)]
    async fn batches_merge_while_an_order_is_out() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now + ms(5)));
        agenda.settled(batch("b", now + ms(50), now + ms(60)));
        let order = agenda.take(now + ms(100)).unwrap();
        assert_eq!(order.dirty, Dirty::Paths(["a".into(), "b".into()].into()));
        assert_eq!(order.settle, ms(100), "counted from the first event");
        assert!(agenda.take(now + ms(100)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_backs_off_and_a_save_does_not_wait_for_it() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now));
        agenda.take(now).unwrap();
        let owed = Owed::Paths(paths(&["a"]));
        agenda.ended(Ended::TryAgain(owed.clone(), Duration::ZERO), now, HALF);
        let due = agenda.due(now).unwrap();
        assert!(due > now, "{:?}", due - now);
        assert!(agenda.take(now).is_none());

        agenda.settled(batch("b", now, now));
        let order = agenda.take(now).unwrap();
        assert_eq!(order.owed, owed, "the failed one goes along");

        agenda.ended(
            Ended::TryAgain(owed, Duration::from_secs(7)),
            now,
            HALF,
        );
        assert!(agenda.due(now).unwrap() >= now + Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_save_during_a_failing_publish_is_tried_at_once() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now));
        agenda.take(now).unwrap();
        agenda.settled(batch("b", now, now));
        let owed = Owed::Paths(paths(&["a"]));
        agenda.ended(Ended::TryAgain(owed, Duration::ZERO), now, HALF);
        assert_eq!(agenda.due(now), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_waits_for_a_save() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now));
        agenda.take(now).unwrap();
        let owed = Owed::Paths(paths(&["a"]));
        agenda.ended(Ended::WaitForSave(owed.clone()), now, HALF);
        assert_eq!(agenda.due(now), None);

        agenda.settled(batch("b", now, now));
        let order = agenda.take(now).unwrap();
        assert_eq!((order.owed, order.trigger), (owed, Trigger::Save));
    }

    #[tokio::test(start_paused = true)]
    async fn unstable_files_are_looked_at_again_less_and_less_often() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let dirty = Dirty::Paths([PathBuf::from("log")].into());
            agenda.ended(Ended::ScanAgain(Owed::nothing(), dirty), now, HALF);
            let due = agenda.due(now).unwrap();
            waits.push(due - now);
            assert!(agenda.take(due).is_some());
        }
        assert_eq!(waits[0], FIRST_RESCAN);
        assert!(waits.is_sorted());
        assert_eq!(waits[7], LONGEST_RESCAN);
    }

    #[test]
    fn too_many_owed_paths_are_everything() {
        let mut owed = Owed::nothing();
        let many: BTreeSet<SitePath> = (0..=MAX_DIRTY_PATHS)
            .map(|number| SitePath::parse(&number.to_string()).unwrap())
            .collect();
        owed.add(many);
        assert_eq!(owed, Owed::Everything);
        owed.add(paths(&["a"]));
        assert_eq!(owed, Owed::Everything);
    }
}
