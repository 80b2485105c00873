//! When a person is told outside the log that the site is not what the folder is, and that it is again.
//!
//! [`Alarms`] are pure: the state comes in with the time, and what is to be told comes out. A trouble that
//! passes by itself, as a server that restarts or a train in a tunnel, is told to nobody. [`Bell`] tells
//! it to the desktop, where that is wanted.

use std::time::Duration;

use tokio::time::Instant;

use super::Daemon;
use crate::{
    control::status::StateWord,
    desktop::{Desktop, Urgency},
};

/// How long a trouble has to last that somebody could mend.
const MENDABLE: Duration = Duration::from_secs(2);

/// How long one has to last that mostly mends itself.
const PASSING: Duration = Duration::from_secs(20);

/// What a person is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Saves are not live: the state, and why.
    Trouble(StateWord, Option<String>),
    /// They are again.
    Over,
}

/// What was told, and what may have to be.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    trouble: Option<Trouble>,
    /// The last trouble that was told, until it is over.
    told: Option<(StateWord, Option<String>)>,
}

#[derive(Debug)]
struct Trouble {
    word: StateWord,
    since: Instant,
}

impl Alarms {
    /// Takes in how the site stands, and returns what a person is to be told now.
    pub(super) fn look(
        &mut self,
        (word, why): (StateWord, Option<String>),
        now: Instant,
    ) -> Option<Alarm> {
        let Some(patience) = patience(word) else {
            self.trouble = None;
            // What somebody wants is no end of what was told.
            let told = self.told.take_if(|_| word == StateWord::Live);
            return told.map(|_| Alarm::Over);
        };
        let trouble = match self.trouble.take() {
            Some(trouble) if trouble.word == word => trouble,
            _ => Trouble { word, since: now },
        };
        let is_due = trouble.since + patience <= now;
        self.trouble = Some(trouble);
        // The words of a trouble may change while it lasts (a count, a time); the trouble is told once.
        let is_told = self.told.as_ref().is_some_and(|(told, _)| *told == word);
        if !is_due || is_told {
            return None;
        }
        self.told = Some((word, why.clone()));
        Some(Alarm::Trouble(word, why))
    }

    /// Returns when to look again, though nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let trouble = self.trouble.as_ref()?;
        let is_told = self
            .told
            .as_ref()
            .is_some_and(|(told, _)| *told == trouble.word);
        let patience = patience(trouble.word)?;
        (!is_told).then(|| trouble.since + patience)
    }
}

/// Returns how long a state has to last before it is told; none where it is no trouble.
const fn patience(word: StateWord) -> Option<Duration> {
    match word {
        StateWord::Starting
        | StateWord::Live
        | StateWord::Publishing
        | StateWord::Building
        | StateWord::Paused
        | StateWord::LeftAlone => None,
        StateWord::Held | StateWord::Waiting | StateWord::Refused | StateWord::Failed => {
            Some(MENDABLE)
        }
        StateWord::Unreachable => Some(PASSING),
    }
}

/// Tells the desktop.
#[derive(Debug, Default)]
pub(super) struct Bell {
    alarms: Alarms,
    desktop: Desktop,
}

impl Bell {
    /// Returns when to look again, though nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        self.alarms.due()
    }
}

impl Daemon {
    /// Tells the desktop of a trouble that lasts, and of its end, where that is wanted.
    pub(super) fn tell_desktop(&mut self) {
        if !self.config.notify.desktop {
            // A reload may have turned it off: what was pending is due no more.
            self.bell.alarms = Alarms::default();
            return;
        }
        let alarm = self.bell.alarms.look(self.standing.told(), Instant::now());
        let Some(alarm) = alarm else {
            return;
        };
        let app = &self.config.app;
        let (urgency, title, text) = match alarm {
            Alarm::Trouble(word, why) => (
                Urgency::Normal,
                format!("{app}: {}", word.word()),
                why.unwrap_or_else(|| "saves are not live".to_owned()),
            ),
            Alarm::Over => (
                Urgency::Low,
                format!("{app} is live again"),
                "the site is what the folder is".to_owned(),
            ),
        };
        let kept = self.config.secret_variables();
        self.bell.desktop.notify(urgency, (&title, &text), &kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(alarms: &mut Alarms, word: StateWord, now: Instant) -> Option<Alarm> {
        alarms.look((word, Some("why".to_owned())), now)
    }

    fn trouble(word: StateWord) -> Alarm {
        Alarm::Trouble(word, Some("why".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_trouble_that_lasts_is_told_once_and_its_end_too() {
        let start = Instant::now();
        let mut alarms = Alarms::default();
        assert_eq!(look(&mut alarms, StateWord::Live, start), None);
        assert_eq!(look(&mut alarms, StateWord::Refused, start), None);
        assert_eq!(alarms.due(), Some(start + MENDABLE));
        let due = start + MENDABLE;
        assert_eq!(
            look(&mut alarms, StateWord::Refused, due),
            Some(trouble(StateWord::Refused))
        );
        assert_eq!(look(&mut alarms, StateWord::Refused, due + PASSING), None);
        assert_eq!(alarms.due(), None);
        assert_eq!(
            look(&mut alarms, StateWord::Live, due + PASSING),
            Some(Alarm::Over)
        );
        assert_eq!(look(&mut alarms, StateWord::Live, due + PASSING), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_by_itself_is_told_to_nobody() {
        let start = Instant::now();
        let mut alarms = Alarms::default();
        assert_eq!(look(&mut alarms, StateWord::Unreachable, start), None);
        assert_eq!(
            look(&mut alarms, StateWord::Unreachable, start + MENDABLE),
            None
        );
        assert_eq!(look(&mut alarms, StateWord::Live, start + MENDABLE), None);
        assert_eq!(alarms.due(), None);
        // The next one has its whole time again.
        assert_eq!(
            look(&mut alarms, StateWord::Unreachable, start + PASSING),
            None
        );
        assert_eq!(alarms.due(), Some(start + PASSING + PASSING));
    }

    #[tokio::test(start_paused = true)]
    async fn another_trouble_is_told_as_well() {
        let start = Instant::now();
        let mut alarms = Alarms::default();
        let _none = look(&mut alarms, StateWord::Held, start);
        assert_eq!(
            look(&mut alarms, StateWord::Held, start + MENDABLE),
            Some(trouble(StateWord::Held))
        );
        let later = start + PASSING;
        assert_eq!(look(&mut alarms, StateWord::Failed, later), None);
        assert_eq!(
            look(&mut alarms, StateWord::Failed, later + MENDABLE),
            Some(trouble(StateWord::Failed))
        );
        // Somebody goes back to an earlier deploy: no end, and nothing to wait for.
        assert_eq!(
            look(&mut alarms, StateWord::LeftAlone, later + PASSING),
            None
        );
        assert_eq!(alarms.due(), None);
        assert_eq!(
            look(&mut alarms, StateWord::Live, later + PASSING),
            Some(Alarm::Over)
        );
    }
}
