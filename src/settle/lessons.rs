//! What closed windows teach: which saves stood alone, which went on, and how long bursts paused.
//!
//! Pure; owns the run under way (the windows that are one piece of work, as far as one can tell) and
//! hands the [`Rhythm`] what follows from it. When a window is due is not decided here.
//!
//! | a window, and the one before | what it is |
//! |---|---|
//! | the same path again | another save; within [`rhythm::SAFE`], the same one, published too early |
//! | another path, within [`Lessons::same_burst`] | the same burst |
//! | another path, within [`rhythm::LONGEST_PAUSE`] of a burst | the same burst: nobody saves by hand just after several files were written |
//! | several paths, within [`rhythm::MOST`] of a single save | a burst that began with that save |
//! | a third other path in a row, each within [`rhythm::MOST`] and written in place | a slow burst, page by page |
//! | anything else | apart |
//!
//! Files that are renamed into place one by one stay apart: each is a finished write, and whoever saves
//! so takes care that nobody sees half of anything.

use std::time::Duration;

use crate::rhythm::{self, Habit, Rhythm};

/// Other paths nearer than this are one burst, before anything is known.
const SAME_BURST: Duration = Duration::from_millis(100);

/// So many saves of other paths, each soon after the one before, are no person's.
const SLOW_BURST: u32 = 3;

/// What is learned, and what it is learned from.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    rhythm: Rhythm,
    run: Run,
    is_news: bool,
}

/// The windows that are one piece of work.
#[derive(Debug, Default)]
struct Run {
    is_burst: bool,
    is_noted: bool,
    /// The longest pause in it.
    pause: Duration,
    /// Windows so far that are single saves.
    singles: u32,
    /// How it began, and went on, where that was a single save and is not noted.
    began: Option<(Habit, Duration)>,
}

/// A window that was closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lesson {
    /// How it follows on the one before, and how long after, where that is not long ago.
    pub(super) after: Option<(Follows, Duration)>,
    /// What the window before was, where it was a single save.
    pub(super) before: Option<Habit>,
    /// Whether more than one path counts in it.
    pub(super) is_burst: bool,
    /// What it is, where it is a single save.
    pub(super) habit: Option<Habit>,
    /// What it was while one whole file was all, and how long it took to go on from there.
    pub(super) began: Option<(Habit, Duration)>,
    /// Its longest pause, but for those of a writer that has the file open, or a clean step.
    pub(super) pause: Duration,
}

/// How a window follows on the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing counts in it: locks and temporary files that came and went.
    Nothing,
    /// The one path of the window before, again.
    Again,
    /// Others.
    Others,
}

impl Lessons {
    pub(super) fn new(rhythm: Rhythm) -> Self {
        Self {
            rhythm,
            ..Self::default()
        }
    }

    pub(super) const fn rhythm(&self) -> &Rhythm {
        &self.rhythm
    }

    /// Returns what was learned, where that is news since the last call.
    pub(super) fn news(&mut self) -> Option<&Rhythm> {
        std::mem::take(&mut self.is_news).then_some(&self.rhythm)
    }

    /// Returns how near another path is to be of the same burst.
    pub(super) fn same_burst(&self) -> Duration {
        SAME_BURST.max(self.rhythm.burst_wait())
    }

    /// Notes that nothing followed on a single save.
    pub(super) fn stood_alone(&mut self, habit: Habit) {
        self.rhythm.single_save(habit);
        self.is_news = true;
    }

    /// Takes in a window that was closed.
    pub(super) fn closed(&mut self, lesson: &Lesson) {
        match lesson.after {
            Some((Follows::Nothing, _)) => {
                if let Some(habit) = lesson.before {
                    self.stood_alone(habit);
                }
                return;
            }
            Some((Follows::Again, gap)) => {
                match lesson.before {
                    // What is renamed into place was whole before: that is another save.
                    Some(habit) if gap <= rhythm::SAFE && lesson.habit != Some(Habit::Renamed) => {
                        self.rhythm.published_early(habit, gap);
                        self.is_news = true;
                    }
                    Some(habit) => self.stood_alone(habit),
                    None => {}
                }
                self.run = Run::default();
            }
            Some((Follows::Others, gap)) => self.followed(lesson, gap),
            None => self.run = Run::default(),
        }
        self.note_within(lesson);
    }

    /// Takes in that other paths follow on the window before.
    fn followed(&mut self, lesson: &Lesson, gap: Duration) {
        let is_near = gap <= self.same_burst();
        let is_soon = gap <= rhythm::MOST;
        let began = lesson.before.map(|habit| (habit, gap));
        if is_near || self.run.is_burst || (is_soon && lesson.is_burst) {
            self.run.is_burst = true;
            self.published_early(began);
        } else if is_soon && lesson.habit != Some(Habit::Renamed) {
            self.run.began = self.run.began.or(began);
            if self.run.singles + 1 >= SLOW_BURST {
                self.run.is_burst = true;
                let began = self.run.began.take();
                self.published_early(began);
            }
        } else {
            if let Some(habit) = lesson.before {
                self.stood_alone(habit);
            }
            self.run = Run::default();
            return;
        }
        self.run.pause = self.run.pause.max(gap);
    }

    fn published_early(&mut self, began: Option<(Habit, Duration)>) {
        if let Some((habit, gap)) = began {
            self.rhythm.published_early(habit, gap);
            self.is_news = true;
        }
    }

    /// Takes in what went on within the window itself.
    fn note_within(&mut self, lesson: &Lesson) {
        if lesson.is_burst {
            self.run.is_burst = true;
            if let Some((habit, gap)) = lesson.began {
                self.rhythm.burst_began(habit, gap);
                self.is_news = true;
            }
        } else {
            self.run.singles += 1;
            if let Some((habit, pause)) = lesson.began
                && habit != Habit::Renamed
            {
                self.rhythm.went_on_alone(habit, pause);
                self.is_news = true;
            }
        }
        self.run.pause = self.run.pause.max(lesson.pause);
        if self.run.is_burst {
            if std::mem::replace(&mut self.run.is_noted, true) {
                self.rhythm.burst_paused_again(self.run.pause);
            } else {
                self.rhythm.burst_paused(self.run.pause);
            }
            self.is_news = true;
        }
    }
}
