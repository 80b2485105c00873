//! The rhythm of a site's saves: how long each kind of save may take to go on, as learned from those
//! that were seen.
//!
//! Pure, and owns what was learned: counts and gaps, no path and no time of day. The settle machine
//! feeds it and asks it for waits; [`kept`] writes it down. It knows nothing of windows.
//!
//! A save is known by how its file came to be whole, its [`Habit`], since that is what sets a person's
//! editor apart from a generator. Each habit has a wait of its own:
//!
//! | known of the habit | wait after one whole file |
//! |---|---|
//! | less than [`FIRST_EVIDENCE`] single saves | [`SAFE`], or more |
//! | single saves, and nothing else | [`LEAST`] |
//! | it began bursts too | 3 × the longest first gap among the last [`REMEMBERED_GAPS`], at least [`LEAST_OF_BURSTS`], at most [`SAFE`] |
//! | a first gap of more than half of [`SAFE`] | 2 × that gap, at most [`MOST`] |
//!
//! - A batch that went on after it was closed was published too early. Its gap is remembered at once, so
//!   that the next one like it is waited for; the habit is back at [`SAFE`], and needs twice the
//!   evidence from then on, up to 16 times.
//! - A burst pauses, and a pause that outlasts its window publishes half a site. So the longest pause of
//!   each of the last [`REMEMBERED_BURSTS`] bursts is remembered, and bursts wait for 2.5 × the longest
//!   of them, at most [`MOST_IN_BURST`]: on a busy machine, they take twice as long.
//! - Whether a file was there before makes no difference to who writes it in place, so that those two
//!   habits share their gaps. Their evidence is their own.
//! - A gap is forgotten when newer ones replace it, or after [`FORGET_AFTER`] single saves.

pub mod kept;

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

/// The wait before anything is known.
pub const SAFE: Duration = Duration::from_millis(25);

/// The shortest wait: the events of one save come within a millisecond or two of each other.
pub const LEAST: Duration = Duration::from_millis(4);

/// The shortest wait after what has begun bursts before: their first gaps differ from run to run.
pub const LEAST_OF_BURSTS: Duration = Duration::from_millis(10);

/// The longest wait after one whole file.
pub const MOST: Duration = Duration::from_millis(400);

/// The longest wait that is learned for a burst.
pub const MOST_IN_BURST: Duration = Duration::from_millis(800);

/// Single saves of a habit that are seen before its wait shrinks.
pub const FIRST_EVIDENCE: u32 = 5;

/// First gaps that are remembered of a habit.
pub const REMEMBERED_GAPS: usize = 8;

/// Bursts whose longest pause is remembered.
pub const REMEMBERED_BURSTS: usize = 16;

/// Single saves after which the oldest gap of their habit is forgotten.
pub const FORGET_AFTER: u32 = 200;

/// A burst that pauses longer counts as several.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often the evidence that is needed doubles.
const MOST_DOUBLINGS: u32 = 4;

/// A learned wait is that many gaps long, as long as it stays below [`SAFE`]; beyond, [`BEYOND_SAFE`].
const GAPS: u32 = 3;
const BEYOND_SAFE: u32 = 2;

/// How the file of a single save came to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Renamed into place, or opened and closed without a byte.
    Renamed,
    /// Written where it was, and closed.
    Rewritten,
    /// Made, written and closed.
    Made,
    /// Removed or moved away, and then made anew.
    Remade,
}

impl Habit {
    /// Every habit, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Renamed, Self::Rewritten, Self::Made, Self::Remade];

    /// Returns what people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Renamed => "renamed into place",
            Self::Rewritten => "written in place",
            Self::Made => "a new file",
            Self::Remade => "removed and made anew",
        }
    }
}

/// What was learned of a site's saves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rhythm {
    renamed: Known,
    rewritten: Known,
    made: Known,
    remade: Known,
    /// The longest pause of each of the last bursts, in microseconds.
    pauses: VecDeque<u32>,
}

/// What was learned of one habit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    /// Single saves since the last that was published too early.
    single: u32,
    /// How often a save was published too early, as far as it counts.
    early: u32,
    /// How long bursts took to go on after their first file, in microseconds.
    gaps: VecDeque<u32>,
}

/// What a habit's wait rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Single saves since the last that was published too early.
    pub single: u32,
    /// Single saves that are needed before the wait shrinks.
    pub needed: u32,
    /// The longest first gap that is remembered.
    pub longest_gap: Option<Duration>,
}

impl Rhythm {
    /// Returns how long nothing may happen after one whole file.
    #[must_use]
    pub fn wait(&self, habit: Habit) -> Duration {
        self.known(habit).wait()
    }

    /// Returns how long nothing may happen in a burst, at least; zero while no burst was seen.
    #[must_use]
    pub fn burst_wait(&self) -> Duration {
        (longest(&self.pauses) * 5 / 2).min(MOST_IN_BURST)
    }

    /// Returns what the wait after such a save rests on.
    #[must_use]
    pub fn evidence(&self, habit: Habit) -> Evidence {
        let known = self.known(habit);
        Evidence {
            single: known.single,
            needed: known.needed(),
            longest_gap: (!known.gaps.is_empty()).then(|| longest(&known.gaps)),
        }
    }

    /// Returns the longest pause of the bursts that are remembered.
    #[must_use]
    pub fn longest_pause(&self) -> Option<Duration> {
        (!self.pauses.is_empty()).then(|| longest(&self.pauses))
    }

    /// Notes a save of one file that nothing followed.
    pub fn single_save(&mut self, habit: Habit) {
        let known = self.known_mut(habit);
        known.single = known.single.saturating_add(1);
        if known.single.is_multiple_of(FORGET_AFTER) {
            known.gaps.pop_front();
        }
    }

    /// Notes that a save of one file paused so long after it looked whole; short pauses are covered by
    /// every wait.
    pub fn went_on_alone(&mut self, habit: Habit, pause: Duration) {
        if pause * GAPS > LEAST {
            self.remember(habit, pause);
        }
    }

    /// Notes a burst that went on `gap` after its first file was whole.
    pub fn burst_began(&mut self, habit: Habit, gap: Duration) {
        self.remember(habit, gap);
    }

    /// Notes a save that was published, and went on `gap` after its file was whole.
    pub fn published_early(&mut self, habit: Habit, gap: Duration) {
        self.remember(habit, gap);
        let known = self.known_mut(habit);
        known.single = 0;
        known.early = (known.early + 1).min(MOST_DOUBLINGS);
    }

    /// Notes the longest pause of a burst that began.
    pub fn burst_paused(&mut self, pause: Duration) {
        remember(&mut self.pauses, pause, REMEMBERED_BURSTS);
    }

    /// Notes a pause of the burst that was noted last.
    pub fn burst_paused_again(&mut self, pause: Duration) {
        if let Some(last) = self.pauses.back_mut() {
            *last = (*last).max(microseconds(pause));
        }
    }

    fn remember(&mut self, habit: Habit, gap: Duration) {
        let kin = match habit {
            Habit::Rewritten => Some(Habit::Made),
            Habit::Made => Some(Habit::Rewritten),
            Habit::Renamed | Habit::Remade => None,
        };
        for habit in kin.into_iter().chain([habit]) {
            remember(&mut self.known_mut(habit).gaps, gap, REMEMBERED_GAPS);
        }
    }

    /// Returns whether this can have been learned; what comes from a file may be anything.
    fn is_sound(&self) -> bool {
        let most = microseconds(LONGEST_PAUSE);
        let bounded = |gaps: &VecDeque<u32>, count| {
            gaps.len() <= count && gaps.iter().all(|gap| *gap <= most)
        };
        let is_known = |habit| {
            let known = self.known(habit);
            known.early <= MOST_DOUBLINGS && bounded(&known.gaps, REMEMBERED_GAPS)
        };
        Habit::ALL.into_iter().all(is_known) && bounded(&self.pauses, REMEMBERED_BURSTS)
    }

    const fn known(&self, habit: Habit) -> &Known {
        match habit {
            Habit::Renamed => &self.renamed,
            Habit::Rewritten => &self.rewritten,
            Habit::Made => &self.made,
            Habit::Remade => &self.remade,
        }
    }

    const fn known_mut(&mut self, habit: Habit) -> &mut Known {
        match habit {
            Habit::Renamed => &mut self.renamed,
            Habit::Rewritten => &mut self.rewritten,
            Habit::Made => &mut self.made,
            Habit::Remade => &mut self.remade,
        }
    }
}

impl Known {
    const fn needed(&self) -> u32 {
        FIRST_EVIDENCE << self.early
    }

    fn wait(&self) -> Duration {
        let longest = longest(&self.gaps);
        let shortest = if self.gaps.is_empty() {
            LEAST
        } else {
            LEAST_OF_BURSTS
        };
        let learned = if self.single < self.needed() {
            SAFE
        } else {
            (longest * GAPS).clamp(shortest, SAFE)
        };
        learned.max(longest * BEYOND_SAFE).min(MOST)
    }
}

/// Adds a gap, and forgets the oldest beyond `most`.
fn remember(gaps: &mut VecDeque<u32>, gap: Duration, most: usize) {
    while gaps.len() >= most {
        gaps.pop_front();
    }
    gaps.push_back(microseconds(gap));
}

fn longest(gaps: &VecDeque<u32>) -> Duration {
    Duration::from_micros(gaps.iter().copied().max().unwrap_or(0).into())
}

fn microseconds(gap: Duration) -> u32 {
    u32::try_from(gap.min(LONGEST_PAUSE).as_micros()).expect("a second has a million")
}

#[cfg(test)]
mod tests;
