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
    watch::WatchHealth,
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
    /// Whether what is owed may be published, or only together with a save.
    pub(super) trigger: Trigger,
    /// From the first event to the end of the burst.
    pub(super) settle: Duration,
    /// Whether a scan that finds something touched has to be followed by one that does not.
    pub(super) proof: Proof,
}

/// What shows that a burst is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Events settled.
    Settled,
    /// No events come: a second scan has to find nothing more.
    SecondScan,
    /// Nothing, and the longest wait is over: what is there is published.
    Waited,
}

impl Proof {
    /// Returns what the watcher can give.
    pub(super) const fn of(health: &WatchHealth) -> Self {
        match health {
            WatchHealth::Polling(_) => Self::SecondScan,
            WatchHealth::Starting
            | WatchHealth::Events
            | WatchHealth::Absent
            | WatchHealth::ReconcileOnly(_) => Self::Settled,
        }
    }
}

/// What it takes for what is owed to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Nothing more: it is due by itself.
    Owed,
    /// That the folder is looked at again.
    Look,
    /// A save: something that a scan finds touched.
    Save,
}

/// How a round ended, as far as the next one depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing is owed any more.
    InStep,
    /// What is owed waits until something happens in the site folder.
    WaitForLook(Owed),
    /// What is owed waits for a save: it is held, refused, or another deploy is current on purpose.
    WaitForSave(Owed),
    /// What is owed is tried again after a back-off, at least this long.
    TryAgain(Owed, Duration),
    /// What is owed cannot be sent before the folder was looked at again.
    ScanAgain(Owed),
    /// The folder was not there or could not be looked at: nothing is known of what was saved.
    NotSeen(Owed),
    /// Nothing was saved that what is owed waits for.
    Quiet(Owed),
    /// What is owed is sent when the next scan finds nothing more.
    ProveFirst(Owed),
}

/// What the owed waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waits {
    trigger: Trigger,
    /// Not before then, unless together with a save; nothing for at once.
    until: Option<Instant>,
}

impl Waits {
    const fn for_trigger(trigger: Trigger) -> Self {
        Self {
            trigger,
            until: None,
        }
    }
}

/// The daemon's plan.
#[derive(Debug)]
pub(super) struct Agenda {
    dirty: Dirty,
    /// First and last event of what settled since the last order.
    burst: Option<(Instant, Instant)>,
    owed: Owed,
    waits: Waits,
    /// What was owed waited for that, when the order that is out was taken.
    waited: Waits,
    /// When to look at what is dirty; nothing for at once.
    look_at: Option<Instant>,
    backoff: Backoff,
    rescan: Duration,
    /// Since when something is owed that waits for its proof.
    unproven: Option<Instant>,
    max_wait: Duration,
}

impl Agenda {
    /// Returns the plan of a start: look at everything.
    ///
    /// `max_wait` is the longest that a burst which never ends may hold a publish back.
    pub(super) const fn new(max_wait: Duration) -> Self {
        Self {
            dirty: Dirty::Everything,
            burst: None,
            owed: Owed::Everything,
            waits: Waits::for_trigger(Trigger::Owed),
            waited: Waits::for_trigger(Trigger::Owed),
            look_at: None,
            backoff: Backoff::DAEMON,
            rescan: FIRST_RESCAN,
            unproven: None,
            max_wait,
        }
    }

    /// Waits otherwise from now on.
    pub(super) const fn wait_otherwise(&mut self, max_wait: Duration) {
        self.max_wait = max_wait;
    }

    /// Takes in what settled: it is worked on as soon as no other order is out.
    pub(super) fn settled(&mut self, batch: Batch) {
        if matches!(batch.dirty, Dirty::Paths(_)) {
            // A save is worth a try, whatever the back-off said; a poll or a reconcile is none.
            self.waits.until = None;
        }
        self.dirty.merge(batch.dirty);
        let first = self.burst.map_or(batch.first, |(first, _)| first);
        self.burst = Some((first.min(batch.first), batch.last));
        self.look_at = None;
    }

    /// Notes that anything may differ from what the server has, and waits for nothing more.
    pub(super) fn owe_everything(&mut self) {
        self.owed = Owed::Everything;
        self.waits = Waits::for_trigger(Trigger::Owed);
    }

    /// Takes in that a build made the site folder anew: all of it is looked at, and what settled until
    /// then is a part of that.
    pub(super) fn built(&mut self, at: Instant) {
        self.burst = None;
        self.settled(Batch {
            dirty: Dirty::Everything,
            first: at,
            last: at,
        });
    }

    /// Returns whether nothing is to be scanned or published.
    pub(super) fn is_idle(&self) -> bool {
        self.dirty.is_nothing() && self.owed.is_nothing()
    }

    /// Returns when the next order is due; nothing while there is nothing to do.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let look = (!self.dirty.is_nothing()).then(|| self.look_at.unwrap_or(now));
        let owes = !self.owed.is_nothing() && self.waits.trigger == Trigger::Owed;
        let publish = owes.then(|| self.waits.until.unwrap_or(now));
        look.into_iter().chain(publish).min()
    }

    /// Returns the next order, when it is due at `now`; `proof` is what the watcher can give.
    pub(super) fn take(&mut self, now: Instant, proof: Proof) -> Option<Order> {
        if self.due(now)? > now {
            return None;
        }
        self.look_at = None;
        self.waited = mem::replace(&mut self.waits, Waits::for_trigger(Trigger::Owed));
        let waited_enough = self
            .unproven
            .is_some_and(|since| now.saturating_duration_since(since) >= self.max_wait);
        Some(Order {
            proof: if waited_enough { Proof::Waited } else { proof },
            dirty: mem::replace(&mut self.dirty, Dirty::nothing()),
            owed: mem::replace(&mut self.owed, Owed::nothing()),
            // What a look finds is worth a try before its time; that it was looked is not.
            trigger: match self.waited.until {
                Some(until) if until > now => Trigger::Save,
                _ => self.waited.trigger,
            },
            settle: self.burst.take().map_or(Duration::ZERO, |(first, _)| {
                now.saturating_duration_since(first)
            }),
        })
    }

    /// Takes in how the order that was out ended, and what has to be looked at again.
    ///
    /// `random` is uniform over all its values.
    pub(super) fn ended(&mut self, ended: Ended, again: Dirty, (now, random): (Instant, u32)) {
        if !matches!(ended, Ended::ProveFirst(_)) {
            self.unproven = None;
        }
        let must_look = matches!(ended, Ended::ScanAgain(_));
        let (owed, waits) = match ended {
            Ended::InStep => {
                self.backoff.succeeded();
                (Owed::nothing(), Waits::for_trigger(Trigger::Owed))
            }
            Ended::WaitForLook(owed) => {
                self.backoff.succeeded();
                (owed, Waits::for_trigger(Trigger::Look))
            }
            Ended::WaitForSave(owed) => {
                self.backoff.succeeded();
                (owed, Waits::for_trigger(Trigger::Save))
            }
            Ended::TryAgain(owed, at_least) => {
                let wait = self.backoff.failed(random).max(at_least);
                let waits = Waits {
                    trigger: Trigger::Owed,
                    until: Some(now + wait),
                };
                (owed, waits)
            }
            Ended::ScanAgain(owed) => (owed, Waits::for_trigger(Trigger::Look)),
            Ended::NotSeen(owed) => {
                // That the folder is back is no save, where one is waited for.
                let trigger = match self.waited.trigger {
                    Trigger::Save => Trigger::Save,
                    Trigger::Owed | Trigger::Look => Trigger::Look,
                };
                (owed, Waits::for_trigger(trigger))
            }
            Ended::Quiet(owed) => (owed, self.waited),
            Ended::ProveFirst(owed) => {
                // The next poll brings the second scan.
                self.unproven.get_or_insert(now);
                (owed, Waits::for_trigger(Trigger::Look))
            }
        };
        (self.owed, self.waits) = (owed, waits);
        self.look_again(again, must_look, now);
    }

    /// Plans to look at what did not hold still or gave no answer, less and less often.
    fn look_again(&mut self, again: Dirty, must_look: bool, now: Instant) {
        let again = match again {
            // Whoever asks for a look gets one, or what is owed would wait for ever.
            again if must_look && again.is_nothing() => Dirty::Everything,
            again => again,
        };
        if again.is_nothing() {
            self.rescan = FIRST_RESCAN;
            return;
        }
        // What settled meanwhile is looked at without a wait.
        self.look_at = self.burst.is_none().then(|| now + self.rescan);
        self.dirty.merge(again);
        self.rescan = (self.rescan * 2).min(LONGEST_RESCAN);
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

    const MAX_WAIT: Duration = Duration::from_secs(2);
    const HALF: u32 = u32::MAX / 2;

    /// Returns an agenda whose start is over.
    fn in_step(now: Instant) -> Agenda {
        let mut agenda = Agenda::new(MAX_WAIT);
        assert!(agenda.take(now, Proof::Settled).is_some());
        agenda.ended(Ended::InStep, Dirty::nothing(), (now, HALF));
        agenda
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_looks_at_everything_at_once() {
        let now = Instant::now();
        let mut agenda = Agenda::new(MAX_WAIT);
        assert_eq!(agenda.due(now), Some(now));
        let order = agenda.take(now, Proof::Settled).unwrap();
        assert_eq!(order.dirty, Dirty::Everything);
        assert_eq!(order.owed, Owed::Everything);
        assert_eq!(agenda.due(now), None, "one order is enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_is_looked_at_whole_and_took_no_time_to_settle() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now + ms(1)));
        agenda.built(now + ms(500));
        let order = agenda.take(now + ms(501), Proof::Settled).unwrap();
        assert_eq!(order.dirty, Dirty::Everything);
        assert_eq!(order.settle, ms(1));
        assert_eq!(agenda.due(now + ms(502)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_merge_while_an_order_is_out() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now + ms(5)));
        agenda.settled(batch("b", now + ms(50), now + ms(60)));
        let order = agenda.take(now + ms(100), Proof::Settled).unwrap();
        assert_eq!(order.dirty, Dirty::Paths(["a".into(), "b".into()].into()));
        assert_eq!(order.settle, ms(100), "counted from the first event");
        assert!(agenda.take(now + ms(100), Proof::Settled).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_backs_off_and_a_save_does_not_wait_for_it() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now));
        agenda.take(now, Proof::Settled).unwrap();
        let owed = Owed::Paths(paths(&["a"]));
        agenda.ended(
            Ended::TryAgain(owed.clone(), Duration::ZERO),
            Dirty::nothing(),
            (now, HALF),
        );
        let due = agenda.due(now).unwrap();
        assert!(due > now, "{:?}", due - now);
        assert!(agenda.take(now, Proof::Settled).is_none());

        agenda.settled(batch("b", now, now));
        let order = agenda.take(now, Proof::Settled).unwrap();
        assert_eq!(order.owed, owed, "the failed one goes along");

        let late = Ended::TryAgain(owed, Duration::from_secs(7));
        agenda.ended(late, Dirty::nothing(), (now, HALF));
        assert!(agenda.due(now).unwrap() >= now + Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_save_during_a_failing_publish_is_tried_at_once() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now));
        agenda.take(now, Proof::Settled).unwrap();
        agenda.settled(batch("b", now, now));
        let owed = Owed::Paths(paths(&["a"]));
        agenda.ended(
            Ended::TryAgain(owed, Duration::ZERO),
            Dirty::nothing(),
            (now, HALF),
        );
        assert_eq!(agenda.due(now), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_finds_no_save_does_not_shorten_a_back_off() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now));
        agenda.take(now, Proof::Settled).unwrap();
        let owed = Owed::Paths(paths(&["a"]));
        let late = Ended::TryAgain(owed.clone(), Duration::from_mins(1));
        agenda.ended(late, Dirty::nothing(), (now, HALF));
        for second in 1..60 {
            let then = now + Duration::from_secs(second);
            agenda.settled(Batch {
                dirty: Dirty::Everything,
                first: then,
                last: then,
            });
            let order = agenda.take(then, Proof::SecondScan).unwrap();
            assert_eq!(order.trigger, Trigger::Save);
            // A file that is written without end, too.
            let again = Dirty::Paths([PathBuf::from("log")].into());
            agenda.ended(Ended::Quiet(order.owed), again, (then, HALF));
        }
        let then = now + Duration::from_mins(1);
        let order = agenda.take(then, Proof::SecondScan).unwrap();
        assert_eq!((order.owed, order.trigger), (owed, Trigger::Owed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_goes_and_comes_back_is_no_save() {
        let now = Instant::now();
        let owed = Owed::Everything;
        for (before, after) in [
            (Ended::WaitForSave(owed.clone()), Trigger::Save),
            (Ended::WaitForLook(owed.clone()), Trigger::Look),
            (Ended::TryAgain(owed, Duration::ZERO), Trigger::Look),
        ] {
            let mut agenda = in_step(now);
            agenda.ended(before, Dirty::nothing(), (now, HALF));
            agenda.settled(batch("a", now, now));
            let order = agenda.take(now, Proof::Settled).unwrap();
            agenda.ended(Ended::NotSeen(order.owed), Dirty::nothing(), (now, HALF));
            assert_eq!(agenda.due(now), None);
            agenda.settled(batch("a", now, now));
            let order = agenda.take(now, Proof::Settled).unwrap();
            assert_eq!((order.owed, order.trigger), (Owed::Everything, after));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_that_fails_again_and_again_does_so_less_and_less_often() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        let owed = Owed::Paths(paths(&["a"]));
        for _ in 0..8 {
            agenda.ended(
                Ended::ScanAgain(owed.clone()),
                Dirty::nothing(),
                (now, HALF),
            );
            let due = agenda.due(now).unwrap();
            assert!(due > now, "no busy loop");
            let order = agenda.take(due, Proof::Settled).unwrap();
            assert_eq!(order.dirty, Dirty::Everything);
            assert_eq!((order.owed, order.trigger), (owed.clone(), Trigger::Look));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_waits_for_a_save() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        agenda.settled(batch("a", now, now));
        agenda.take(now, Proof::Settled).unwrap();
        let owed = Owed::Paths(paths(&["a"]));
        agenda.ended(
            Ended::WaitForSave(owed.clone()),
            Dirty::nothing(),
            (now, HALF),
        );
        assert_eq!(agenda.due(now), None);

        agenda.settled(batch("b", now, now));
        let order = agenda.take(now, Proof::Settled).unwrap();
        assert_eq!((order.owed, order.trigger), (owed, Trigger::Save));
    }

    #[tokio::test(start_paused = true)]
    async fn unstable_files_are_looked_at_again_less_and_less_often() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let dirty = Dirty::Paths([PathBuf::from("log")].into());
            agenda.ended(Ended::InStep, dirty, (now, HALF));
            let due = agenda.due(now).unwrap();
            waits.push(due - now);
            assert!(agenda.take(due, Proof::Settled).is_some());
        }
        assert_eq!(waits[0], FIRST_RESCAN);
        assert!(waits.is_sorted());
        assert_eq!(waits[7], LONGEST_RESCAN);
    }

    #[tokio::test(start_paused = true)]
    async fn without_events_a_second_scan_proves_that_a_burst_is_over() {
        let now = Instant::now();
        let mut agenda = in_step(now);
        let owed = Owed::Paths(paths(&["a"]));
        agenda.settled(batch("a", now, now));
        let order = agenda.take(now, Proof::SecondScan).unwrap();
        assert_eq!(order.proof, Proof::SecondScan);
        agenda.ended(
            Ended::ProveFirst(owed.clone()),
            Dirty::nothing(),
            (now, HALF),
        );
        assert_eq!(agenda.due(now), None, "the next poll is waited for");

        agenda.settled(batch("b", now, now));
        let order = agenda.take(now, Proof::SecondScan).unwrap();
        assert_eq!(
            (order.proof, order.trigger),
            (Proof::SecondScan, Trigger::Look)
        );
        agenda.ended(Ended::ProveFirst(owed), Dirty::nothing(), (now, HALF));

        let late = now + MAX_WAIT;
        agenda.settled(batch("c", late, late));
        let order = agenda.take(late, Proof::SecondScan).unwrap();
        assert_eq!(order.proof, Proof::Waited, "a burst without end is cut");
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
