//! How the site stands, in one line for whoever looks at the service from outside.
//!
//! Pure: outcomes come in, a text comes out. The log tells each thing once, when it happens; this
//! says at any time what holds now.

use std::{fmt, path::Path, time::Duration};

use super::round::Outcome;
use crate::{
    control::status::{HeldPublish, StateWord},
    last_publish::OnStart,
    publish::{FailureKind, PublishError, PublishReport, RetryClass, Timings},
};

/// How the site stands.
#[derive(Debug)]
pub(super) struct Standing {
    /// Where visitors see the site.
    url: String,
    state: State,
    /// What the last publish would have done that is held.
    held: Option<HeldPublish>,
    last_publish: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nothing is known yet.
    Starting,
    /// The server has what the folder has.
    Live,
    /// There is no site folder to publish, or none that is whole: this says why, and passes when there
    /// is.
    Waiting(String),
    /// The server has something else: the word, and why.
    Behind(StateWord, String),
}

/// What goes on at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing, or nothing that takes long enough to be told.
    Little,
    /// A round that takes long.
    Publishing,
}

impl Standing {
    pub(super) const fn new(url: String) -> Self {
        Self {
            url,
            state: State::Starting,
            held: None,
            last_publish: None,
        }
    }

    /// Names another URL from now on.
    pub(super) fn name_url(&mut self, url: &str) {
        url.clone_into(&mut self.url);
    }

    /// Takes in how a round ended.
    pub(super) fn outcome(&mut self, outcome: &Outcome, site: &Path) {
        let state = match outcome {
            Outcome::Published(report, timings) => {
                self.last_publish = Some(took(report, *timings));
                State::Live
            }
            Outcome::InStep => State::Live,
            // A folder that is back as it was: nothing is scanned that is not known.
            Outcome::Quiet(owed) if owed.is_nothing() => match &self.state {
                State::Waiting(_) => State::Live,
                state => state.clone(),
            },
            Outcome::Quiet(_) | Outcome::Unproven(_) | Outcome::Rechecked(_) => return,
            Outcome::Absent(_) => {
                State::Waiting(format!("there is no site folder {}", site.display()))
            }
            Outcome::ScanFailed(_, _, error) => {
                State::Waiting(crate::error_report::with_causes(error))
            }
            Outcome::LeftAlone(_, decision) => match decision {
                OnStart::HeldByRollback => State::Behind(
                    StateWord::LeftAlone,
                    "the target went back to an earlier deploy".into(),
                ),
                OnStart::HeldByOther => State::Behind(
                    StateWord::LeftAlone,
                    "somebody else published to the target".into(),
                ),
                OnStart::Publish | OnStart::InStep => return,
            },
            Outcome::Strict(_) => State::Behind(
                StateWord::Held,
                "publish.strict forbids what the log warns of".to_owned(),
            ),
            Outcome::Held { removes, of, .. } => State::Behind(
                StateWord::Held,
                format!("would remove {removes} of {of} files"),
            ),
            Outcome::Failed(_, error) => match failed(error) {
                Some(state) => state,
                None => return,
            },
        };
        self.held = match outcome {
            Outcome::Held { removes, of, .. } => Some(HeldPublish {
                removes: *removes,
                of: *of,
            }),
            // A scan that found nothing new leaves it held.
            Outcome::Quiet(_) => self.held,
            _ => None,
        };
        self.state = state;
    }

    /// Takes in that the server went back to an earlier deploy, as somebody asked.
    pub(super) fn went_back(&mut self, deploy_id: &str) {
        self.held = None;
        self.state = State::Behind(
            StateWord::LeftAlone,
            format!("the target went back to {deploy_id}"),
        );
    }

    /// Returns what a held publish would do, where one is held.
    pub(super) fn held(&self) -> Option<HeldPublish> {
        let is_held = matches!(&self.state, State::Behind(StateWord::Held, _));
        self.held.filter(|_| is_held)
    }

    /// Takes in that a build failed, for this reason.
    pub(super) fn not_built(&mut self, error: &str) {
        self.state = State::Waiting(error.to_owned());
    }

    /// Returns the state in one word, and why it is so where there is more to say.
    pub(super) fn told(&self) -> (StateWord, Option<String>) {
        match &self.state {
            State::Starting => (StateWord::Starting, None),
            State::Live => (StateWord::Live, None),
            State::Waiting(why) => (StateWord::Waiting, Some(why.clone())),
            State::Behind(word, why) => (*word, Some(why.clone())),
        }
    }

    /// Returns the line.
    pub(super) fn text(&self, doing: Doing) -> String {
        match doing {
            Doing::Publishing => format!("publishing to {}", self.url),
            Doing::Little => self.to_string(),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Starting => write!(f, "watching, for {}", self.url),
            State::Live => {
                write!(f, "live: {}", self.url)?;
                match self.last_publish {
                    Some(took) => write!(f, ", last publish {} ms", took.as_millis()),
                    None => Ok(()),
                }
            }
            State::Waiting(why) => write!(f, "waiting: {why}"),
            State::Behind(word, why) => write!(f, "{}: {why}", word.word()),
        }
    }
}

/// From the first file event to the server's answer.
fn took(report: &PublishReport, timings: Timings) -> Duration {
    timings.settle + timings.scan + report.send
}

/// Returns nothing for what the next round mends at once.
fn failed(error: &PublishError) -> Option<State> {
    if error.retry() == RetryClass::Rescan {
        return None;
    }
    let word = match error.kind() {
        FailureKind::Unreachable => StateWord::Unreachable,
        FailureKind::Refused => StateWord::Refused,
        FailureKind::SiteFolder | FailureKind::Internal => StateWord::Failed,
    };
    Some(State::Behind(word, error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io, sync::Arc};

    use onsave_protocol::Changeset;

    use super::*;
    use crate::{daemon::agenda::Owed, http::Wire, publish::ChangeCounts};

    fn standing() -> Standing {
        Standing::new("https://my-site.fly.dev".to_owned())
    }

    fn published() -> Outcome {
        let report = PublishReport {
            deploy_id: "1".into(),
            base: None,
            changeset: Arc::new(Changeset::default()),
            added: BTreeSet::new(),
            counts: ChangeCounts::default(),
            wire: Wire::default(),
            send: Duration::from_micros(5_900),
            server: None,
        };
        let timings = Timings {
            settle: Duration::from_millis(26),
            scan: Duration::from_millis(3),
        };
        Outcome::Published(report, timings)
    }

    fn after(outcomes: impl IntoIterator<Item = Outcome>) -> String {
        let mut standing = standing();
        for outcome in outcomes {
            standing.outcome(&outcome, Path::new("/site/deploy"));
        }
        standing.text(Doing::Little)
    }

    fn refused() -> PublishError {
        PublishError::WrongSecret {
            url: "https://my-site.fly.dev".into(),
            secret_origin: "variable ONSAVE_SYNC_SECRET".into(),
        }
    }

    #[test]
    fn each_outcome_has_its_line() {
        let live = "live: https://my-site.fly.dev";
        let nothing = Owed::nothing;
        assert_eq!(after([]), "watching, for https://my-site.fly.dev");
        assert_eq!(after([Outcome::InStep]), live);
        assert_eq!(after([published()]), format!("{live}, last publish 34 ms"));
        assert_eq!(
            after([Outcome::Absent(nothing())]),
            "waiting: there is no site folder /site/deploy"
        );
        let held = Outcome::Held {
            owed: Owed::Everything,
            removes: 11,
            of: 12,
        };
        assert_eq!(after([held]), "held: would remove 11 of 12 files");
        assert_eq!(
            after([Outcome::Failed(Owed::Everything, refused())]),
            "refused: https://my-site.fly.dev refuses the secret of variable ONSAVE_SYNC_SECRET"
        );
        assert_eq!(
            after([Outcome::LeftAlone(
                Owed::Everything,
                OnStart::HeldByRollback
            )]),
            "left alone: the target went back to an earlier deploy"
        );
        assert!(after([Outcome::Strict(Owed::Everything)]).starts_with("held: publish.strict"));
        assert_eq!(
            standing().text(Doing::Publishing),
            "publishing to https://my-site.fly.dev"
        );
    }

    #[test]
    fn what_was_published_last_stays_known() {
        let gone = Outcome::Failed(Owed::Everything, refused());
        assert!(after([published(), gone, Outcome::InStep]).ends_with("last publish 34 ms"));
    }

    #[test]
    fn a_folder_that_is_back_as_it_was_is_live_and_what_is_held_stays_held() {
        let quiet = || Outcome::Quiet(Owed::nothing());
        let absent = || Outcome::Absent(Owed::nothing());
        assert!(after([Outcome::InStep, absent(), quiet()]).starts_with("live: "));
        assert!(after([Outcome::Strict(Owed::Everything), quiet()]).starts_with("held: "));
        let owed = Outcome::Quiet(Owed::Everything);
        assert!(after([absent(), owed]).starts_with("waiting: "));
    }

    #[test]
    fn what_mends_itself_at_once_is_not_told() {
        let changed = PublishError::ChangedSinceScan { path: None };
        let outcome = Outcome::Failed(Owed::Everything, changed);
        assert!(after([Outcome::InStep, outcome]).starts_with("live: "));
    }

    #[test]
    fn a_folder_that_cannot_be_read_says_why() {
        let error = crate::scan::ScanError::Folder {
            path: "/site/deploy".into(),
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        };
        let outcome = Outcome::ScanFailed(Owed::nothing(), crate::dirty::Dirty::nothing(), error);
        let text = after([outcome]);
        assert!(
            text.starts_with("waiting: ") && text.ends_with("permission denied"),
            "{text}"
        );
    }
}
