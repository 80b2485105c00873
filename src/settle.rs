//! The settle machine: decides when a burst of file events is over.
//!
//! Pure: it owns no clock, no channel and no file, only the window that is open. Time comes in
//! with every notice and every question, so that each case is a table in virtual time.
//!
//! The law. A window opens with the first notice. It is due once nothing happened for *wait*, and
//! at the latest `max_wait` after its first notice. *wait* follows from what was seen so far:
//!
//! | seen in the window | wait |
//! |---|---|
//! | one path, whole (closed by its writer, or renamed into place) | `quiet` |
//! | several paths, or a burst that goes on | at least 2 × `quiet`, at least 4 × the longest gap between notices |
//! | a file created and not yet closed, a removal, a new folder | at least 4 × `quiet` |
//! | bytes written and not yet closed, a folder removed, [`MASS_REMOVAL`] or more removals that are half of all paths, lost events, another site folder | 16 × `quiet` |
//!
//! No wait exceeds 16 × `quiet` (400 ms by default), so that the gap rule ends.
//!
//! - A window that opens within 4 × `quiet` of the last event of the batch before, with another path
//!   than that batch's only one, goes on with its burst: nobody saves two files by hand that fast,
//!   and a generator that takes 30 ms for each page lets its first page out, not every page. Saving
//!   one file again and again stays fast. A generator that pauses longer is published page by page;
//!   a longer `quiet` is the remedy.
//! - A file that came and went within the window (a lock, a temporary file), and the old name of a
//!   rename within the site folder, are not counted: a save by temporary file and rename is a
//!   single save. They are still handed on for the scan.
//! - A removal waits, because it is often the first half of a replacement.
//! - Nothing is lost: the batch names every path of every notice, or everything.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tokio::time::Instant;

use crate::dirty::{Cause, Change, Dirty, MAX_DIRTY_PATHS, News, Notice, Trace};

/// Removals that look like a generator's clean step when they are also half of what changed.
pub const MASS_REMOVAL: usize = 10;

const SEVERAL_PATHS: u32 = 2;
const UNFINISHED: u32 = 4;
const LONGEST: u32 = 16;
const GAPS: u32 = 4;
const SAME_BURST: u32 = 4;

/// The machine; at most one window is open.
#[derive(Debug)]
pub struct Settle {
    quiet: Duration,
    max_wait: Duration,
    window: Option<Window>,
    before: Option<Closed>,
}

/// What is remembered of the batch before: enough to see a burst go on.
#[derive(Debug)]
struct Closed {
    last: Instant,
    only: Option<PathBuf>,
}

/// What settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where to scan.
    pub dirty: Dirty,
    /// When the first event of the batch came.
    pub first: Instant,
    /// When its last event came.
    pub last: Instant,
}

#[derive(Debug)]
struct Window {
    first: Instant,
    last: Instant,
    longest_gap: Duration,
    traces: BTreeMap<PathBuf, Trace>,
    tally: [usize; STAGES],
    everything: bool,
    storm: bool,
    /// The batch that was over only just before.
    after: Option<Closed>,
}

/// How far the writer of a path has got.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Whole,
    Opened,
    Writing,
    FolderNew,
    Removed,
    FolderRemoved,
}

const STAGES: usize = 6;

impl Settle {
    /// Returns a machine with no window open.
    ///
    /// `quiet` is the wait of a single save, `max_wait` the longest wait from a first event.
    #[must_use]
    pub const fn new(quiet: Duration, max_wait: Duration) -> Self {
        Self {
            quiet,
            max_wait,
            window: None,
            before: None,
        }
    }

    /// Waits otherwise from now on; a window that is open goes by the new waits.
    pub const fn wait_otherwise(&mut self, quiet: Duration, max_wait: Duration) {
        self.quiet = quiet;
        self.max_wait = max_wait;
    }

    /// Takes in a notice; opens a window when none is open.
    pub fn event(&mut self, notice: Notice) {
        let at = notice.at;
        let window = self.window.get_or_insert_with(|| Window::open(at));
        let gap = |before: &Closed| at.saturating_duration_since(before.last);
        if let (Some(before), News::Changes(_)) = (self.before.take(), &notice.news)
            && gap(&before) <= self.quiet * SAME_BURST
        {
            window.longest_gap = gap(&before);
            window.after = Some(before);
        }
        // A notice may be stamped a little before the one that was handed over first.
        let gap = at.saturating_duration_since(window.last);
        window.longest_gap = window.longest_gap.max(gap);
        window.last = window.last.max(at);
        window.first = window.first.min(at);
        match notice.news {
            News::Changes(changes) => {
                for (path, trace) in changes {
                    window.note(path, trace);
                }
            }
            News::Whole(cause) => {
                window.everything = true;
                window.storm |= match cause {
                    Cause::FolderReplaced | Cause::Overflow => true,
                    Cause::Start | Cause::Poll | Cause::Reconcile => false,
                };
            }
        }
    }

    /// Returns when the open window is due, unless more happens until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let window = self.window.as_ref()?;
        let settled = window.last + window.wait(self.quiet);
        Some(settled.min(window.first + self.max_wait))
    }

    /// Returns the batch and closes the window, when it is due at `now`.
    pub fn due(&mut self, now: Instant) -> Option<Batch> {
        if now < self.deadline()? {
            return None;
        }
        let window = self.window.take()?;
        // A look at everything for its own sake, as at a start, is nobody's burst.
        let is_burst = window.storm || !window.traces.is_empty();
        self.before = is_burst.then(|| Closed {
            last: window.last,
            only: window.only_path().cloned(),
        });
        Some(Batch {
            first: window.first,
            last: window.last,
            dirty: if window.everything {
                Dirty::Everything
            } else {
                Dirty::Paths(window.traces.into_keys().collect())
            },
        })
    }
}

impl Window {
    fn open(at: Instant) -> Self {
        Self {
            first: at,
            last: at,
            longest_gap: Duration::ZERO,
            traces: BTreeMap::new(),
            tally: [0; STAGES],
            everything: false,
            storm: false,
            after: None,
        }
    }

    fn note(&mut self, path: PathBuf, trace: Trace) {
        if let Some(known) = self.traces.get_mut(&path) {
            if let Some(stage) = stage(*known) {
                self.tally[stage as usize] -= 1;
            }
            known.append(trace);
            if let Some(stage) = stage(*known) {
                self.tally[stage as usize] += 1;
            }
        } else if self.traces.len() < MAX_DIRTY_PATHS {
            if let Some(stage) = stage(trace) {
                self.tally[stage as usize] += 1;
            }
            self.traces.insert(path, trace);
        } else {
            self.everything = true;
            self.storm = true;
        }
    }

    fn wait(&self, quiet: Duration) -> Duration {
        let of = |stage: Stage| self.tally[stage as usize];
        let longest = quiet * LONGEST;
        let paths: usize = self.tally.iter().sum();
        let removed = of(Stage::Removed);
        let mass_removal = removed >= MASS_REMOVAL && removed * 2 >= paths;
        if self.storm || mass_removal || of(Stage::Writing) + of(Stage::FolderRemoved) > 0 {
            return longest;
        }
        let goes_on = self.goes_on();
        let floor = if of(Stage::Opened) + of(Stage::FolderNew) + removed > 0 {
            quiet * UNFINISHED
        } else if paths > 1 || goes_on {
            quiet * SEVERAL_PATHS
        } else {
            return quiet;
        };
        if paths > 1 || goes_on {
            (self.longest_gap * GAPS).clamp(floor, longest)
        } else {
            floor
        }
    }
}

impl Window {
    /// Returns whether this is more of the burst before, and not the same file saved again.
    fn goes_on(&self) -> bool {
        self.after.as_ref().is_some_and(|before| {
            let again = before.only.is_some() && self.only_path() == before.only.as_ref();
            !again
        })
    }

    /// Returns the path that counts, when there is only one.
    fn only_path(&self) -> Option<&PathBuf> {
        let counted = |(path, trace): (_, &Trace)| stage(*trace).map(|_| path);
        let mut paths = self.traces.iter().filter_map(counted);
        paths.next().filter(|_| paths.next().is_none())
    }
}

/// Returns how far the path's writer is, or nothing for a path that does not count.
fn stage(trace: Trace) -> Option<Stage> {
    if trace.is_vanished() {
        return None;
    }
    match trace.last {
        Change::Touched | Change::Written => Some(Stage::Whole),
        Change::Created => Some(Stage::Opened),
        Change::Writing => Some(Stage::Writing),
        Change::Folder => Some(Stage::FolderNew),
        Change::Removed => Some(Stage::Removed),
        Change::FolderRemoved => Some(Stage::FolderRemoved),
        Change::MovedAway => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use Change::{Created, Folder, FolderRemoved, MovedAway, Removed, Touched, Writing, Written};

    const QUIET: u64 = 25;
    const MAX_WAIT: u64 = 2_000;

    fn machine() -> Settle {
        Settle::new(
            Duration::from_millis(QUIET),
            Duration::from_millis(MAX_WAIT),
        )
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn change(start: Instant, ms: u64, path: &str, change: Change) -> Notice {
        Notice {
            at: at(start, ms),
            news: News::Changes([(PathBuf::from(path), Trace::new(change))].into()),
        }
    }

    type Events<'a> = &'a [(u64, &'a str, Change)];

    /// Feeds the events; returns when each batch is due, in milliseconds, and its paths.
    fn run(events: Events<'_>) -> Vec<(u64, Vec<String>)> {
        let start = Instant::now();
        let mut settle = machine();
        let mut batches = Vec::new();
        let mut take = |settle: &mut Settle, until: Option<Instant>| {
            while let Some(deadline) = settle.deadline() {
                if until.is_some_and(|until| deadline > until) {
                    break;
                }
                let Dirty::Paths(paths) = settle.due(deadline).unwrap().dirty else {
                    panic!("only paths were fed");
                };
                let ms = deadline.duration_since(start).as_millis();
                let names = paths.iter().map(|path| path.display().to_string());
                batches.push((u64::try_from(ms).unwrap(), names.collect()));
            }
        };
        for (ms, path, kind) in events {
            take(&mut settle, Some(at(start, *ms)));
            settle.event(change(start, *ms, path, *kind));
        }
        take(&mut settle, None);
        batches
    }

    /// What happens, the events in time, and when each batch is due.
    type Case<'a> = (&'a str, Events<'a>, &'a [u64]);

    fn assert_due(cases: &[Case<'_>]) {
        for (name, events, due) in cases {
            let times: Vec<u64> = run(events).into_iter().map(|(ms, _)| ms).collect();
            assert_eq!(&times, due, "{name}");
        }
    }

    #[test]
    fn saves_of_one_file() {
        assert_due(&[
            (
                "in place: truncate, write, close",
                &[(0, "i", Writing), (1, "i", Writing), (2, "i", Written)],
                &[27],
            ),
            (
                "vim: the file becomes an (ignored) backup and is written anew",
                &[
                    (0, "i", Removed),
                    (0, "i", Created),
                    (1, "i", Writing),
                    (3, "i", Written),
                    (3, "i", Touched),
                ],
                &[28],
            ),
            (
                "a temporary file renamed into place (sed -i, many editors)",
                &[
                    (0, "sedA1b2C3", Created),
                    (1, "sedA1b2C3", Writing),
                    (2, "sedA1b2C3", Written),
                    (2, "sedA1b2C3", Removed),
                    (2, "i", Written),
                    (2, "sedA1b2C3", MovedAway),
                ],
                &[27],
            ),
            ("moved in from elsewhere", &[(0, "i", Written)], &[25]),
        ]);
    }

    #[test]
    fn bursts_that_outlast_a_window() {
        assert_due(&[
            (
                "a generator that takes 40 ms a page lets its first page out, and no other",
                &[
                    (0, "a", Written),
                    (40, "b", Written),
                    (80, "c", Written),
                    (120, "d", Written),
                ],
                &[25, 120 + 160],
            ),
            (
                "one file saved again and again by rename stays fast",
                &[
                    (0, "i", Written),
                    (40, "i.tmp", Created),
                    (41, "i.tmp", MovedAway),
                    (41, "i", Written),
                    (80, "i", Written),
                ],
                &[25, 66, 105],
            ),
            (
                "another file, later than a generator would be",
                &[(0, "a", Written), (101, "b", Written)],
                &[25, 126],
            ),
        ]);
    }

    #[test]
    fn what_stretches_a_window() {
        assert_due(&[
            (
                "a lock file that comes and goes beside the save",
                &[
                    (0, "i.lock", Created),
                    (1, "i", Written),
                    (2, "i.lock", Removed),
                ],
                &[27],
            ),
            (
                "a single removal may be half of a replacement",
                &[(0, "i", Removed)],
                &[100],
            ),
            (
                "removed and written again 60 ms later is one batch",
                &[(0, "i", Removed), (60, "i", Created), (61, "i", Written)],
                &[86],
            ),
            ("a link has no close", &[(0, "i", Created)], &[100]),
            (
                "a slow copy waits for its close",
                &[
                    (0, "v", Created),
                    (1, "v", Writing),
                    (300, "v", Writing),
                    (600, "v", Written),
                ],
                &[625],
            ),
            ("a writer that hangs", &[(0, "v", Writing)], &[400]),
            (
                "two saves far apart",
                &[(0, "a", Written), (100, "a", Written)],
                &[25, 125],
            ),
            (
                "two files at once",
                &[(0, "a", Written), (1, "b", Written)],
                &[51],
            ),
            ("a new folder", &[(0, "d", Folder)], &[100]),
            ("a removed folder", &[(0, "d", FolderRemoved)], &[400]),
            (
                "a file renamed is one path",
                &[(0, "a", Removed), (0, "b", Written), (0, "a", MovedAway)],
                &[25],
            ),
        ]);
    }

    #[test]
    fn the_gap_rule_holds_within_one_window() {
        // Two paths at once make it a burst; a gap of 40 ms then makes it wait 160 ms.
        let batches = run(&[(0, "a", Written), (0, "b", Written), (40, "c", Written)]);
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].0, 200);
    }

    #[test]
    fn a_generator_that_cleans_and_rewrites_is_one_batch() {
        let names: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
        let mut events = Vec::new();
        for (n, name) in (0..).zip(&names) {
            events.push((n, name.as_str(), Removed));
        }
        // It thinks for 300 ms between its clean step and its first page.
        for (n, name) in (0..).zip(&names) {
            events.push((340 + n * 2, name.as_str(), Created));
            events.push((341 + n * 2, name.as_str(), Written));
        }
        let batches = run(&events);
        assert_eq!(batches.len(), 1, "{batches:?}");
        assert_eq!(batches[0].1.len(), 40);
        assert!(batches[0].0 >= 340 + 80 + QUIET);
    }

    #[test]
    fn the_cap_ends_an_endless_burst() {
        let start = Instant::now();
        let mut settle = machine();
        for ms in (0..MAX_WAIT).step_by(10) {
            settle.event(change(start, ms, &format!("f{}", ms % 70), Writing));
            assert!(settle.due(at(start, ms)).is_none());
        }
        assert_eq!(settle.deadline(), Some(at(start, MAX_WAIT)));
        assert!(settle.due(at(start, MAX_WAIT)).is_some());
        assert_eq!(settle.deadline(), None);
    }

    #[test]
    fn lost_events_wait_long_and_routine_looks_do_not() {
        let start = Instant::now();
        for (cause, wait) in [
            (Cause::Start, QUIET),
            (Cause::Poll, QUIET),
            (Cause::Reconcile, QUIET),
            (Cause::Overflow, 400),
            (Cause::FolderReplaced, 400),
        ] {
            let mut settle = machine();
            settle.event(Notice {
                at: start,
                news: News::Whole(cause),
            });
            assert_eq!(settle.deadline(), Some(at(start, wait)), "{cause:?}");
            let batch = settle.due(at(start, wait)).unwrap();
            assert_eq!(batch.dirty, Dirty::Everything);
        }
    }

    #[test]
    fn more_paths_than_the_bound_are_everything() {
        let start = Instant::now();
        let mut settle = machine();
        for n in 0..=MAX_DIRTY_PATHS {
            settle.event(change(start, 0, &n.to_string(), Written));
        }
        assert_eq!(settle.due(at(start, 400)).unwrap().dirty, Dirty::Everything);
    }

    fn changes() -> impl Strategy<Value = Change> {
        prop::sample::select(vec![
            Touched,
            Created,
            Writing,
            Written,
            Folder,
            Removed,
            FolderRemoved,
            MovedAway,
        ])
    }

    proptest! {
        #[test]
        fn laws(events in prop::collection::vec((0_u64..60, "[a-e]", changes()), 1..60)) {
            let start = Instant::now();
            let mut settle = machine();
            let (mut now, mut first, mut last) = (0, None, 0);
            let (mut fed, mut seen) = (BTreeSet::new(), BTreeSet::new());
            for (gap, path, kind) in events {
                now += gap;
                if let Some(batch) = settle.due(at(start, now)) {
                    let Dirty::Paths(paths) = batch.dirty else { panic!() };
                    seen.extend(paths);
                    let capped = now >= first.unwrap() + MAX_WAIT;
                    prop_assert!(capped || now >= last + QUIET, "never before quiet, but for the cap");
                    first = None;
                }
                fed.insert(PathBuf::from(&path));
                settle.event(change(start, now, &path, kind));
                first.get_or_insert(now);
                last = now;
                let deadline = settle.deadline().unwrap();
                prop_assert!(deadline <= at(start, first.unwrap() + MAX_WAIT), "always by the cap");
                let longest = at(start, last + QUIET * u64::from(LONGEST));
                prop_assert!(deadline <= longest, "no wait is longer than stated");
            }
            let batch = settle.due(settle.deadline().unwrap()).unwrap();
            let Dirty::Paths(paths) = batch.dirty else { panic!() };
            seen.extend(paths);
            prop_assert_eq!(seen, fed, "nothing is lost");
            prop_assert!(settle.deadline().is_none());
        }
    }
}
