//! The settle machine: decides when a burst of file events is over.
//!
//! Pure: it owns no clock, no channel and no file, only the window that is open and what was learned.
//! Time comes in with every notice and every question, so that each case is a table in virtual time.
//!
//! The law. A window opens with the first notice. It is due once nothing happened for *wait*, and
//! at the latest `max_wait` after its first notice. *wait* follows from what was seen so far:
//!
//! | seen in the window | wait |
//! |---|---|
//! | one path, whole (closed by its writer, or renamed into place) | `quiet`; where it is learned, as [`crate::rhythm`] says for how the file came to be whole |
//! | several paths, or a burst that goes on | at least 2 × `quiet`, at least 4 × the longest gap between notices |
//! | a file created and not yet closed, a removal, a new folder; [`GENERATOR`] or more paths | at least 4 × `quiet` |
//! | bytes written and not yet closed, a folder removed, [`MASS_REMOVAL`] or more removals that are half of all paths, lost events, another site folder | 16 × `quiet` |
//!
//! `quiet` is 25 ms where the waits are learned ([`Quiet::Learned`]), so that nothing but the first row
//! and bursts is. No wait exceeds 16 × `quiet` (400 ms), so that the gap rule ends, but for bursts of a
//! site whose bursts were seen to pause longer.
//!
//! - A window that opens within 4 × `quiet` of the last event of the batch before, with another path
//!   than that batch's only one, goes on with its burst: nobody saves two files by hand that fast,
//!   and a generator that takes 30 ms for each page lets its first page out, not every page. Saving
//!   one file again and again stays fast. A generator that pauses longer is published page by page
//!   once, and is known by then (`lessons`).
//! - A file that came and went within the window (a lock, a temporary file), and the old name of a
//!   rename within the site folder, are not counted: a save by temporary file and rename is a
//!   single save. They are still handed on for the scan.
//! - A removal waits, because it is often the first half of a replacement.
//! - Nothing is lost: the batch names every path of every notice, or everything.

mod lessons;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tokio::time::Instant;

use self::lessons::{Follows, Lesson, Lessons};
use crate::{
    config::Quiet,
    dirty::{Cause, Change, Dirty, MAX_DIRTY_PATHS, News, Notice, Trace},
    rhythm::{self, Habit, Rhythm},
};

/// Removals that look like a generator's clean step when they are also half of what changed.
pub const MASS_REMOVAL: usize = 10;

/// So many paths at once are a generator's, and those pause between their steps: of hugo's recorded
/// runs, the longest pause is 78 ms.
pub const GENERATOR: usize = 10;

const SEVERAL_PATHS: u32 = 2;
const UNFINISHED: u32 = 4;
const LONGEST: u32 = 16;
const GAPS: u32 = 4;
const SAME_BURST: u32 = 4;

/// The machine; at most one window is open.
#[derive(Debug)]
pub struct Settle {
    quiet: Quiet,
    max_wait: Duration,
    window: Option<Window>,
    before: Option<Closed>,
    lessons: Lessons,
}

/// What is remembered of the batch before: enough to see a burst go on.
#[derive(Debug)]
struct Closed {
    last: Instant,
    only: Option<PathBuf>,
    /// What it was, where it was a single save.
    habit: Option<Habit>,
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
    /// The batch that was over only just before, and how long before.
    after: Option<(Closed, Duration)>,
    /// Whether that was so little that another path is of the same burst.
    is_near: bool,
    /// What it was while one whole file was all, and how long it took to go on from there.
    began: Option<(Habit, Duration)>,
    /// The longest gap, but for those that are waited for the longest anyway.
    pause: Duration,
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
    /// Returns a machine with no window open, that has learned nothing.
    ///
    /// `quiet` is the wait of a single save, `max_wait` the longest wait from a first event.
    #[must_use]
    pub fn new(quiet: Quiet, max_wait: Duration) -> Self {
        Self {
            quiet,
            max_wait,
            window: None,
            before: None,
            lessons: Lessons::default(),
        }
    }

    /// Returns the machine with what was learned before.
    #[must_use]
    pub fn with_rhythm(self, rhythm: Rhythm) -> Self {
        let lessons = Lessons::new(rhythm);
        Self { lessons, ..self }
    }

    /// Waits otherwise from now on; a window that is open goes by the new waits.
    pub const fn wait_otherwise(&mut self, quiet: Quiet, max_wait: Duration) {
        self.quiet = quiet;
        self.max_wait = max_wait;
    }

    /// Returns what was learned, where that is news since the last call.
    pub fn learned(&mut self) -> Option<&Rhythm> {
        self.lessons.news()
    }

    /// Takes in a notice; opens a window when none is open.
    pub fn event(&mut self, notice: Notice) {
        let at = notice.at;
        self.look_back(at, &notice.news);
        let window = self.window.get_or_insert_with(|| Window::open(at));
        // A notice may be stamped a little before the one that was handed over first.
        let gap = at.saturating_duration_since(window.last);
        window.note_gap(gap);
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

    /// Sees how the news follows on the batch before, once.
    fn look_back(&mut self, at: Instant, news: &News) {
        let Some(before) = self.before.take() else {
            return;
        };
        let gap = at.saturating_duration_since(before.last);
        let (same_burst, remembered) = match self.quiet {
            Quiet::Learned => (self.lessons.same_burst(), rhythm::LONGEST_PAUSE),
            Quiet::Fixed(quiet) => (quiet * SAME_BURST, quiet * SAME_BURST),
        };
        if gap > remembered {
            if let (Some(habit), Quiet::Learned) = (before.habit, self.quiet) {
                self.lessons.stood_alone(habit);
            }
        } else if let News::Changes(_) = news {
            let window = self.window.get_or_insert_with(|| Window::open(at));
            window.is_near = gap <= same_burst;
            if window.is_near {
                window.longest_gap = gap;
            }
            window.after = Some((before, gap));
        }
    }

    /// Returns when the open window is due, unless more happens until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let window = self.window.as_ref()?;
        let settled = window.last + self.wait(window);
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
        if is_burst && self.quiet == Quiet::Learned {
            self.lessons.closed(&window.lesson());
        }
        self.before = is_burst.then(|| Closed {
            last: window.last,
            only: window.only_path().cloned(),
            habit: window.habit().filter(|_| !window.goes_on()),
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

    /// Returns how long nothing may happen for the window to be over.
    fn wait(&self, window: &Window) -> Duration {
        let (quiet, burst) = match self.quiet {
            Quiet::Learned => (rhythm::SAFE, self.lessons.rhythm().burst_wait()),
            Quiet::Fixed(quiet) => (quiet, Duration::ZERO),
        };
        let of = |stage: Stage| window.tally[stage as usize];
        let longest = quiet * LONGEST;
        let is_burst = window.paths() > 1 || window.goes_on();
        let burst = if is_burst { burst } else { Duration::ZERO };
        if window.is_far_from_whole() {
            return longest.max(burst);
        }
        let is_unfinished = of(Stage::Opened) + of(Stage::FolderNew) + of(Stage::Removed) > 0;
        let floor = if is_unfinished || window.paths() >= GENERATOR {
            quiet * UNFINISHED
        } else if is_burst {
            quiet * SEVERAL_PATHS
        } else {
            return match (self.quiet, window.habit()) {
                (Quiet::Learned, Some(habit)) => self.lessons.rhythm().wait(habit),
                _ => quiet,
            };
        };
        if is_burst {
            (window.longest_gap * GAPS).clamp(floor, longest).max(burst)
        } else {
            floor
        }
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
            is_near: false,
            began: None,
            pause: Duration::ZERO,
        }
    }

    /// Takes in how long nothing happened, before what ends it is taken in.
    fn note_gap(&mut self, gap: Duration) {
        self.longest_gap = self.longest_gap.max(gap);
        if self.paths() > 0 && !self.is_far_from_whole() {
            self.pause = self.pause.max(gap);
        }
        if let Some(habit) = self.habit()
            && !self.goes_on()
        {
            let (habit, longest) = self.began.unwrap_or((habit, gap));
            self.began = Some((habit, longest.max(gap)));
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

    /// Returns how many paths count.
    fn paths(&self) -> usize {
        self.tally.iter().sum()
    }

    /// Returns whether it waits as long as any.
    fn is_far_from_whole(&self) -> bool {
        let of = |stage: Stage| self.tally[stage as usize];
        let removed = of(Stage::Removed);
        let mass_removal = removed >= MASS_REMOVAL && removed * 2 >= self.paths();
        self.storm || mass_removal || of(Stage::Writing) + of(Stage::FolderRemoved) > 0
    }

    /// Returns whether this is more of the burst before, and not the same file saved again.
    fn goes_on(&self) -> bool {
        self.is_near && self.follows() != Some(Follows::Again)
    }

    fn follows(&self) -> Option<Follows> {
        let (before, _) = self.after.as_ref()?;
        Some(if self.paths() == 0 {
            Follows::Nothing
        } else if before.only.is_some() && self.only_path() == before.only.as_ref() {
            Follows::Again
        } else {
            Follows::Others
        })
    }

    /// Returns the path that counts, when there is only one.
    fn only_path(&self) -> Option<&PathBuf> {
        let counted = |(path, trace): (_, &Trace)| stage(*trace).map(|_| path);
        let mut paths = self.traces.iter().filter_map(counted);
        paths.next().filter(|_| paths.next().is_none())
    }

    /// Returns how the file came to be whole, where one whole file is all.
    fn habit(&self) -> Option<Habit> {
        let is_all = self.paths() == 1 && self.tally[Stage::Whole as usize] == 1;
        if !is_all || self.everything {
            return None;
        }
        let trace = self.traces.get(self.only_path()?)?;
        match (trace.first, trace.last) {
            // A file is as whole as it was.
            (_, Change::Touched) | (Change::Folder | Change::FolderRemoved, _) => None,
            (Change::Written, _) => Some(Habit::Renamed),
            (Change::Writing | Change::Touched, _) => Some(Habit::Rewritten),
            (Change::Created, _) => Some(Habit::Made),
            (Change::Removed | Change::MovedAway, _) => Some(Habit::Remade),
        }
    }

    fn lesson(&self) -> Lesson {
        let after = self.after.as_ref();
        // A second look at a new folder is the watcher's own, and a mode is no content.
        let is_touch = |trace: &Trace| trace.last == Change::Touched;
        let follows = if self.traces.values().all(is_touch) {
            after.map(|_| Follows::Nothing)
        } else {
            self.follows()
        };
        Lesson {
            after: follows.zip(after.map(|(_, gap)| *gap)),
            before: after.and_then(|(before, _)| before.habit),
            habit: self.habit(),
            is_burst: self.paths() > 1 || self.storm,
            began: self.began,
            pause: self.pause,
        }
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
mod tests;
