//! Asking the public site for what was just published, off the path of saves.
//!
//! At most one check is under way: a newer publish voids the one before. What it finds matters only while
//! nothing else is owed.

use tokio::task::JoinError;

use super::{Daemon, DaemonError, round};
use crate::{
    publish::PublishReport,
    verify_live::{LiveCheck, LiveVerdict},
};

impl Daemon {
    /// Asks the public site for one changed file, off the path of the next publish.
    pub(super) fn check_live(&mut self, report: &PublishReport) {
        let Some(verifier) = self.live.clone() else {
            return;
        };
        if let Some(check) = LiveCheck::of(&report.changeset) {
            self.live_checks.abort_all();
            self.live_checks.spawn(async move {
                let verdict = verifier.verify(&check).await;
                (check, verdict)
            });
        }
    }

    /// Takes in what a check found.
    ///
    /// # Errors
    ///
    /// When the check panicked.
    pub(super) fn live_checked(
        &mut self,
        checked: Result<(LiveCheck, LiveVerdict), JoinError>,
    ) -> Result<(), DaemonError> {
        let (check, verdict) = match checked {
            Ok(checked) => checked,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // A round under way may have replaced the file while it was asked for, and what is still
        // owed is about to.
        let idle = self.agenda.is_idle();
        let Some(hands) = self.hands.take_if(|_| idle) else {
            return Ok(());
        };
        if let LiveVerdict::Mismatch { .. } = verdict {
            self.upkeep.remember_now(&hands);
            let recheck = round::recheck(hands, (check, verdict));
            self.round = Some(Box::pin(async { Ok(recheck.await) }));
        } else {
            verdict.log();
            self.hands = Some(hands);
        }
        Ok(())
    }
}
