//! When the command runs: a pure state machine over (sources changed, the run ended, now).
//!
//! Owns no clock, no process and no file. One run at a time. Its law:
//!
//! | while | a changed source |
//! |---|---|
//! | nothing runs | starts a run |
//! | a run is under way, queue | one more run follows, however many changes there were |
//! | a run is under way, restart | the run is ended, and another begins; after [`MAX_RESTARTS`] in a row one is let end, so that a site that is saved all the time is built at all |
//!
//! A command that writes its own sources would run for ever. Whether a change was its own cannot be told
//! from the change, but from when it comes: [`SLOWED_AFTER`] finished runs in a row with a change
//! meanwhile make the next one wait, longer each time, and a change within such a wait is somebody's
//! save, which starts over. When [`HALTED_AFTER`] runs saw changes and no wait did, the changes are
//! the command's own, and nothing runs until one comes while nothing does.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use crate::config::OnChange;

/// Restarts in a row before a run is let end.
const MAX_RESTARTS: u32 = 5;

/// Finished runs in a row, each with changes meanwhile, before the next one waits.
const SLOWED_AFTER: u32 = 3;

/// As many before there is no next one.
const HALTED_AFTER: u32 = 6;

/// The first wait; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Where the build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    /// A run is due then.
    Due(Instant),
    Running,
    /// The run under way is being ended, and another follows.
    Stopping,
    /// A run came to its end, and it is looked what changed meanwhile.
    Closing,
}

/// The plan of a daemon's builds.
#[derive(Debug)]
pub(crate) struct Plan {
    on_change: OnChange,
    phase: Phase,
    /// The site folder is as a run made it.
    is_whole: bool,
    /// What changed while the run was under way.
    meanwhile: BTreeSet<String>,
    /// What changed during each run of the streak.
    common: BTreeSet<String>,
    /// Finished runs in a row with changes meanwhile.
    streak: u32,
    restarts: u32,
    /// Somebody asked for a run while one was under way.
    is_asked: bool,
}

/// What follows at once from a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing.
    Nothing,
    /// The run under way has to be ended.
    Stop,
}

/// What a person should know once a run is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Nothing.
    None,
    /// It may be that the command writes these sources; the next run waits.
    Slowed(BTreeSet<String>),
    /// The command writes these sources; no run follows.
    Halted(BTreeSet<String>),
}

impl Plan {
    /// Returns the plan of a start: one run, at once.
    pub(crate) const fn new(on_change: OnChange, now: Instant) -> Self {
        Self {
            on_change,
            phase: Phase::Due(now),
            is_whole: false,
            meanwhile: BTreeSet::new(),
            common: BTreeSet::new(),
            streak: 0,
            restarts: 0,
            is_asked: false,
        }
    }

    /// Takes in which sources changed.
    pub(crate) fn changed(&mut self, paths: BTreeSet<String>, now: Instant) -> Answer {
        if paths.is_empty() {
            return Answer::Nothing;
        }
        match self.phase {
            Phase::Idle | Phase::Due(_) => {
                self.streak = 0;
                self.phase = Phase::Due(now);
            }
            Phase::Running
                if self.on_change == OnChange::Restart && self.restarts < MAX_RESTARTS =>
            {
                self.restarts += 1;
                self.phase = Phase::Stopping;
                return Answer::Stop;
            }
            Phase::Running | Phase::Closing => self.meanwhile.extend(paths),
            Phase::Stopping => {}
        }
        Answer::Nothing
    }

    /// Asks for a run where the site folder is not whole and none is under way or due.
    pub(crate) const fn try_again(&mut self, now: Instant) {
        if self.is_whole {
            return;
        }
        match self.phase {
            Phase::Idle => self.phase = Phase::Due(now),
            // It failed already.
            Phase::Closing => self.is_asked = true,
            Phase::Due(_) | Phase::Running | Phase::Stopping => {}
        }
    }

    /// Asks for a run that begins from now on: at once, or after the one under way, which is let end.
    pub(crate) const fn ask(&mut self, now: Instant) {
        match self.phase {
            Phase::Idle | Phase::Due(_) => self.phase = Phase::Due(now),
            Phase::Running | Phase::Closing => self.is_asked = true,
            Phase::Stopping => {}
        }
    }

    /// Returns when a run is due.
    pub(crate) const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Due(at) => Some(at),
            Phase::Idle | Phase::Running | Phase::Stopping | Phase::Closing => None,
        }
    }

    /// Notes that a run begins: the site folder is in pieces until it succeeds.
    pub(crate) fn begun(&mut self) {
        self.phase = Phase::Running;
        self.is_whole = false;
        self.is_asked = false;
        self.meanwhile.clear();
    }

    /// Notes that the run came to its end. Unless it was ended for another, [`closed`](Self::closed)
    /// has to follow; returns whether it has.
    pub(crate) fn ended(&mut self, is_success: bool, now: Instant) -> bool {
        if self.phase == Phase::Stopping {
            self.phase = Phase::Due(now);
            return false;
        }
        self.is_whole = is_success;
        self.restarts = 0;
        self.phase = Phase::Closing;
        true
    }

    /// Takes in what else changed until the run's end.
    pub(crate) fn closed(&mut self, paths: BTreeSet<String>, now: Instant) -> Echo {
        let echo = self.echo(paths, now);
        if std::mem::take(&mut self.is_asked) {
            // No change of the command's own asks.
            self.phase = Phase::Due(now);
        }
        echo
    }

    fn echo(&mut self, paths: BTreeSet<String>, now: Instant) -> Echo {
        self.meanwhile.extend(paths);
        let changed = std::mem::take(&mut self.meanwhile);
        if changed.is_empty() {
            self.streak = 0;
            self.phase = Phase::Idle;
            return Echo::None;
        }
        self.streak += 1;
        let both = |common: &BTreeSet<String>| common.intersection(&changed).cloned().collect();
        self.common = match self.streak {
            1 => changed.clone(),
            _ => both(&self.common),
        };
        let told = if self.common.is_empty() {
            changed
        } else {
            self.common.clone()
        };
        match self.streak {
            HALTED_AFTER.. => {
                self.streak = 0;
                self.phase = Phase::Idle;
                Echo::Halted(told)
            }
            SLOWED_AFTER.. => {
                let wait = FIRST_WAIT * 2_u32.pow(self.streak - SLOWED_AFTER);
                self.phase = Phase::Due(now + wait);
                if self.streak == SLOWED_AFTER {
                    Echo::Slowed(told)
                } else {
                    Echo::None
                }
            }
            _ => {
                self.phase = Phase::Due(now);
                Echo::None
            }
        }
    }

    /// Returns whether the site folder may be published: nothing runs, and the last run succeeded.
    pub(crate) const fn lets_publish(&self) -> bool {
        self.is_whole
    }

    /// Returns whether a run is under way.
    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Stopping)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use OnChange::{Queue, Restart};

    fn paths(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn nothing() -> BTreeSet<String> {
        BTreeSet::new()
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns a plan after its first run.
    fn idle(on_change: OnChange, now: Instant) -> Plan {
        let mut plan = Plan::new(on_change, now);
        plan.begun();
        assert!(plan.ended(true, now));
        assert_eq!(plan.closed(nothing(), now), Echo::None);
        plan
    }

    #[test]
    fn who_asks_gets_a_run_that_begins_afterwards() {
        let now = Instant::now();
        for on_change in [Queue, Restart] {
            let mut plan = idle(on_change, now);
            plan.ask(now);
            assert_eq!(plan.due(), Some(now));
            plan.begun();
            plan.ask(now);
            assert!(plan.is_running(), "the run under way is let end");
            assert!(plan.ended(true, now));
            assert!(plan.lets_publish());
            plan.ask(now);
            assert_eq!(plan.closed(nothing(), now), Echo::None);
            assert_eq!(plan.due(), Some(now), "one run for both");
            plan.begun();
            assert!(plan.ended(false, now));
            plan.closed(nothing(), now);
            assert_eq!(plan.due(), None);
        }
    }

    #[test]
    fn who_tries_again_right_after_a_failure_gets_a_run() {
        let now = Instant::now();
        for is_success in [false, true] {
            let mut plan = idle(Queue, now);
            plan.ask(now);
            plan.begun();
            plan.ended(is_success, now);
            plan.try_again(now);
            plan.closed(nothing(), now);
            assert_eq!(plan.due(), (!is_success).then_some(now));
        }
    }

    #[test]
    fn who_asks_waits_for_no_echo() {
        let now = Instant::now();
        let mut plan = idle(Queue, now);
        for _ in 0..HALTED_AFTER {
            plan.ask(now);
            plan.begun();
            plan.ended(true, now);
            plan.closed(paths(&["own"]), now);
        }
        assert_eq!(plan.due(), None, "the command's own changes start none");
        plan.begun();
        plan.ask(now);
        plan.ended(true, now);
        plan.closed(paths(&["own"]), now);
        assert_eq!(plan.due(), Some(now));
    }

    #[test]
    fn a_start_builds_before_anything_is_published() {
        let now = Instant::now();
        let mut plan = Plan::new(Queue, now);
        assert_eq!(plan.due(), Some(now));
        assert!(!plan.lets_publish());
        plan.begun();
        assert!(!plan.lets_publish() && plan.is_running());
        plan.ended(true, now);
        assert!(plan.lets_publish(), "at once, whatever changed meanwhile");
        plan.closed(nothing(), now);
        assert_eq!(plan.due(), None);
    }

    #[test]
    fn queued_changes_are_one_more_run() {
        let now = Instant::now();
        let mut plan = idle(Queue, now);
        assert_eq!(plan.changed(paths(&["a"]), now), Answer::Nothing);
        assert_eq!(plan.due(), Some(now));
        assert!(plan.lets_publish(), "until it begins");
        plan.begun();
        for name in ["a", "b", "c"] {
            assert_eq!(plan.changed(paths(&[name]), now), Answer::Nothing);
        }
        assert_eq!(plan.due(), None);
        assert!(plan.ended(true, now));
        plan.closed(nothing(), now + SECOND);
        assert_eq!(plan.due(), Some(now + SECOND));
        plan.begun();
        plan.ended(true, now);
        plan.closed(nothing(), now);
        assert_eq!(plan.due(), None);
    }

    #[test]
    fn a_restart_ends_the_run_and_begins_another() {
        let now = Instant::now();
        let mut plan = idle(Restart, now);
        plan.changed(paths(&["a"]), now);
        plan.begun();
        assert_eq!(plan.changed(paths(&["b"]), now), Answer::Stop);
        assert_eq!(plan.changed(paths(&["c"]), now), Answer::Nothing, "once");
        assert!(!plan.ended(false, now), "nothing is to be looked at");
        assert_eq!(plan.due(), Some(now));
        assert!(!plan.lets_publish(), "the folder is in pieces");
        plan.begun();
        plan.ended(true, now);
        assert!(plan.lets_publish());
    }

    #[test]
    fn a_run_that_succeeded_although_it_was_to_be_ended_is_not_published() {
        let now = Instant::now();
        let mut plan = idle(Restart, now);
        plan.begun();
        plan.changed(paths(&["b"]), now);
        plan.ended(true, now);
        assert!(!plan.lets_publish(), "another begins, and writes at once");
    }

    #[test]
    fn saves_without_end_let_a_run_end_now_and_then() {
        let now = Instant::now();
        let mut plan = idle(Restart, now);
        plan.begun();
        for _ in 0..MAX_RESTARTS {
            assert_eq!(plan.changed(paths(&["a"]), now), Answer::Stop);
            plan.ended(false, now);
            plan.begun();
        }
        assert_eq!(plan.changed(paths(&["a"]), now), Answer::Nothing);
        plan.ended(true, now);
        assert!(plan.lets_publish());
        plan.closed(nothing(), now);
        assert!(plan.due().is_some(), "and what was saved is built");
        plan.begun();
        assert_eq!(plan.changed(paths(&["a"]), now), Answer::Stop);
    }

    #[test]
    fn a_failure_leaves_the_site_alone_until_a_success() {
        let now = Instant::now();
        let mut plan = idle(Queue, now);
        plan.changed(paths(&["a"]), now);
        plan.begun();
        plan.ended(false, now);
        plan.closed(nothing(), now);
        assert!(!plan.lets_publish());
        assert_eq!(plan.due(), None, "it would fail again");
        let mut asked = plan;
        asked.try_again(now);
        assert_eq!(asked.due(), Some(now), "unless somebody asks");
        let mut plan = asked;
        plan.changed(paths(&["a"]), now);
        assert!(!plan.lets_publish());
        plan.begun();
        plan.ended(true, now);
        assert!(plan.lets_publish());
    }

    #[test]
    fn a_command_that_writes_its_sources_is_slowed_and_then_halted() {
        let now = Instant::now();
        let mut plan = Plan::new(Queue, now);
        let mut told = Vec::new();
        for run in 0.. {
            let Some(at) = plan.due() else {
                break;
            };
            assert!(run < 20, "it goes on without end");
            plan.begun();
            plan.changed(paths(&["other", &run.to_string()]), at);
            plan.ended(true, at);
            let echo = plan.closed(paths(&["made.json", &run.to_string()]), at);
            let wait = plan.due().map(|next| (next - at).as_secs());
            told.push((echo, wait));
        }
        let made = paths(&["made.json", "other"]);
        let expected = [
            (Echo::None, Some(0)),
            (Echo::None, Some(0)),
            (Echo::Slowed(made.clone()), Some(1)),
            (Echo::None, Some(2)),
            (Echo::None, Some(4)),
            (Echo::Halted(made), None),
        ];
        assert_eq!(told, expected);
        plan.changed(paths(&["saved"]), now);
        assert_eq!(plan.due(), Some(now), "somebody saved");
    }

    #[test]
    fn a_save_in_the_wait_starts_over() {
        let now = Instant::now();
        let mut plan = Plan::new(Queue, now);
        for _ in 0..50 {
            for _ in 0..HALTED_AFTER - 1 {
                plan.begun();
                plan.ended(true, now);
                plan.closed(paths(&["page.md"]), now);
            }
            assert!(plan.due().is_some_and(|at| at > now));
            plan.changed(paths(&["page.md"]), now);
            assert_eq!(plan.due(), Some(now));
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Save,
        End(bool),
        Close,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Save),
            any::<bool>().prop_map(Step::End),
            Just(Step::Close)
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        /// A save is always followed by the begin of a run, unless the command was found to write its
        /// own sources; and the site is published only as a whole run left it.
        #[test]
        fn no_save_is_forgotten(restart: bool, steps in steps()) {
            let now = Instant::now();
            let mut plan = Plan::new(if restart { Restart } else { Queue }, now);
            let (mut stale, mut whole, mut closing, mut halted) = (true, false, false, false);
            for step in steps {
                match step {
                    Step::Save => {
                        stale = true;
                        halted &= plan.is_running() || closing;
                        plan.changed(paths(&["a"]), now);
                    }
                    Step::End(success) if plan.is_running() => {
                        closing = plan.ended(success, now);
                        whole = closing && success;
                    }
                    Step::Close if closing => {
                        closing = false;
                        halted = matches!(plan.closed(nothing(), now), Echo::Halted(_));
                    }
                    Step::End(_) | Step::Close => {}
                }
                prop_assert_eq!(plan.lets_publish(), whole);
                if plan.due().is_some() {
                    plan.begun();
                    (stale, whole) = (false, false);
                }
                prop_assert!(!stale || halted || closing || plan.is_running());
            }
        }
    }
}
