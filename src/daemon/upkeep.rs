//! What is kept for the next start, written while nothing else is to be done.
//!
//! Owns the times: the last publish is remembered soon after it, the stat index now and then and at
//! the stop. Both cost time that grows with the site, so that neither stands between a save and its
//! being live. What is lost with a crash is only time: an older index hashes more files again, an
//! older memory of the last publish publishes what is there.

use std::{path::PathBuf, time::Duration};

use tokio::time::Instant;

use super::round::Hands;
use crate::last_publish::LastPublish;

/// How long after a publish it is remembered; further saves in a row put it off.
const REMEMBER_AFTER: Duration = Duration::from_secs(2);

/// Least time between two writings of the stat index.
const KEEP_INDEX_EVERY: Duration = Duration::from_mins(5);

/// What is to be kept, and when.
#[derive(Debug)]
pub(super) struct Upkeep {
    last_publish: PathBuf,
    target: String,
    remember: Option<Instant>,
    keep_index: Option<Instant>,
    index_kept: Option<Instant>,
}

impl Upkeep {
    /// Returns the upkeep of a start; `last_publish` is the file, `target` what it is remembered of.
    pub(super) const fn new(last_publish: PathBuf, target: String) -> Self {
        Self {
            last_publish,
            target,
            remember: None,
            keep_index: None,
            index_kept: None,
        }
    }

    /// Notes that the server has the local tree.
    pub(super) fn in_step(&mut self, now: Instant) {
        self.remember = Some(now + REMEMBER_AFTER);
    }

    /// Notes that files were hashed.
    pub(super) fn hashed(&mut self, now: Instant) {
        let at = self
            .index_kept
            .map_or(now, |kept| kept + KEEP_INDEX_EVERY)
            .max(now + REMEMBER_AFTER);
        self.keep_index.get_or_insert(at);
    }

    /// Returns when the next writing is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.remember.into_iter().chain(self.keep_index).min()
    }

    /// Writes what is due at `now`; blocks for some milliseconds at tens of thousands of files.
    pub(super) fn run_if_due(&mut self, now: Instant, hands: &mut Hands) {
        if self.remember.is_some_and(|at| at <= now) {
            self.remember(hands);
        }
        if self.keep_index.is_some_and(|at| at <= now) {
            self.keep_index(hands);
            self.index_kept = Some(now);
        }
    }

    /// Writes everything that is not written yet: the daemon stops.
    pub(super) fn finish(&mut self, hands: &mut Hands) {
        self.remember_now(hands);
        self.keep_index(hands);
    }

    /// Writes the memory of the last publish at once, if it is not written yet: what is known of the
    /// server is about to be replaced by what it has now.
    pub(super) fn remember_now(&mut self, hands: &Hands) {
        if self.remember.is_some() {
            self.remember(hands);
        }
    }

    fn remember(&mut self, hands: &Hands) {
        self.remember = None;
        // A deploy that was fetched is none of ours.
        let Some(remote) = hands.publisher.remote().filter(|remote| remote.agrees()) else {
            return;
        };
        let Some(id) = remote.deploy_id() else {
            return;
        };
        // As it was published: the local tree may have moved on, and be held or waiting.
        let tree = remote.manifest().tree_digest();
        let last = LastPublish::new(self.target.clone(), id.to_owned(), tree);
        if let Err(error) = last.store(&self.last_publish) {
            tracing::warn!(
                path = %self.last_publish.display(),
                %error,
                "the last publish cannot be remembered: a start after a rollback would publish again"
            );
        }
    }

    fn keep_index(&mut self, hands: &mut Hands) {
        self.keep_index = None;
        if let Err(error) = hands.scanner.keep_index() {
            tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "the stat index cannot be kept: the next start reads every file again"
            );
        }
    }
}
