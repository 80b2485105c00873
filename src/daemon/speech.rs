//! What the daemon says of its rounds: one line for each that changed something, and one when a
//! state that lasts begins or ends, however often it is met again.

use std::{
    error::Error,
    mem::{Discriminant, discriminant},
    path::Path,
};

use super::round::{Outcome, Recheck};
use crate::{
    last_publish::OnStart,
    publish::{FailureKind, PublishError, RetryClass},
    scan::{ScanError, ScanOutcome},
};

/// More warnings than this of one scan are counted instead of told one by one.
const TOLD_WARNINGS: usize = 20;

/// A state that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    Absent,
    Unreadable,
    Failing(Discriminant<PublishError>),
    Held,
    Strict,
}

/// Says what is worth saying; remembers what was said.
#[derive(Debug, Default)]
pub(super) struct Speech {
    trouble: Option<Trouble>,
}

/// Says what a scan left out or doubts, that the scan before did not.
pub(super) fn warnings(scanned: &ScanOutcome) {
    for warning in scanned.new_warnings.iter().take(TOLD_WARNINGS) {
        tracing::warn!("{warning}");
    }
    let more = scanned.new_warnings.len().saturating_sub(TOLD_WARNINGS);
    if more > 0 {
        tracing::warn!("{more} more like these; `onsave publish --dry-run` lists them all");
    }
}

impl Speech {
    /// Says how a round ended, unless that was said before.
    pub(super) fn outcome(&mut self, outcome: &Outcome, site: &Path) {
        match outcome {
            Outcome::Quiet(_) | Outcome::Unproven(_) => {}
            Outcome::InStep => {
                self.well();
                tracing::debug!("the server has this already");
            }
            Outcome::Published(report, timings) => {
                self.well();
                report.log(*timings);
            }
            Outcome::LeftAlone(_, decision) => {
                self.well();
                left_alone(*decision);
            }
            Outcome::Absent(_) => {
                if self.begins(Trouble::Absent) {
                    tracing::warn!(path = %site.display(), "the site folder is not there; waiting for it");
                }
            }
            Outcome::ScanFailed(_, _, error) => {
                if self.begins(Trouble::Unreadable) {
                    scan_failed(error);
                }
            }
            Outcome::Strict(_) => {
                if self.begins(Trouble::Strict) {
                    tracing::error!(
                        "not published: publish.strict forbids what the warnings above name; mend or \
                         ignore it, and save"
                    );
                }
            }
            Outcome::Held { removes, of, .. } => {
                // Each time: only a save comes here, and whoever saved waits for it to be live.
                self.begins(Trouble::Held);
                tracing::warn!(
                    files.removed = removes,
                    files.before = of,
                    "held: this would remove {removes} of {of} files; it goes on when the files \
                     are back, or with `onsave publish --allow-removals`"
                );
            }
            Outcome::Failed(_, error) => self.failed(error),
            Outcome::Rechecked(recheck) => rechecked(recheck),
        }
    }

    fn failed(&mut self, error: &PublishError) {
        let cause = error as &(dyn Error + 'static);
        match error.retry() {
            RetryClass::Rescan => tracing::debug!(error = cause, "scanning again"),
            RetryClass::Never => {
                self.begins(Trouble::Failing(discriminant(error)));
                tracing::error!(error = cause, hint = error.hint(), "not published");
            }
            RetryClass::Backoff | RetryClass::FreshManifest | RetryClass::SignAgain => {
                let is_news = self.begins(Trouble::Failing(discriminant(error)));
                let hint = error.hint();
                match (is_news, error.kind()) {
                    // A secret or a clock does not mend itself.
                    (true, FailureKind::Refused) => {
                        tracing::error!(error = cause, hint, "not published; trying again");
                    }
                    (true, _) => tracing::warn!(error = cause, hint, "not published; trying again"),
                    (false, _) => tracing::debug!(error = cause, "not published yet"),
                }
            }
        }
    }

    /// Returns whether this trouble is news.
    fn begins(&mut self, trouble: Trouble) -> bool {
        if self.trouble.as_ref() == Some(&trouble) {
            return false;
        }
        self.trouble = Some(trouble);
        true
    }

    fn well(&mut self) {
        match self.trouble.take() {
            Some(Trouble::Failing(_)) => {
                tracing::info!("the target answers again");
            }
            Some(Trouble::Absent | Trouble::Unreadable) => {
                tracing::info!("the site folder is back");
            }
            Some(Trouble::Held | Trouble::Strict) | None => {}
        }
    }
}

fn scan_failed(error: &ScanError) {
    tracing::warn!(
        error = error as &(dyn Error + 'static),
        "not published: the site folder cannot be scanned; trying again"
    );
}

fn left_alone(decision: OnStart) {
    match decision {
        OnStart::HeldByRollback => tracing::info!(
            "the target went back to an earlier deploy, and nothing was saved since: left as it is \
             until the next save"
        ),
        OnStart::HeldByOther => tracing::info!(
            "the target serves a deploy of somebody else's, and nothing was saved here since the \
             last publish: left as it is until the next save"
        ),
        OnStart::Publish | OnStart::InStep => {}
    }
}

fn rechecked(recheck: &Recheck) {
    match recheck {
        Recheck::StillThere(verdict) => verdict.log(),
        Recheck::Superseded => tracing::info!("somebody else published meanwhile"),
        Recheck::Unknown(error) => tracing::debug!(
            error = error as &(dyn Error + 'static),
            "whether the publish is live cannot be told"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_though_its_words_change_with_the_time() {
        let skew = |second: u32| PublishError::ClockSkew {
            url: "https://example.org".into(),
            server: format!("Sun, 22 Nov 2026 03:00:{second:02} GMT"),
            local: format!("2026-11-22T04:00:{second:02}Z"),
        };
        let mut speech = Speech::default();
        assert!(speech.begins(Trouble::Failing(discriminant(&skew(1)))));
        assert!(!speech.begins(Trouble::Failing(discriminant(&skew(31)))));
        assert!(speech.begins(Trouble::Absent));
    }
}
