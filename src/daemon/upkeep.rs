//! What is kept for the next start, written while nothing else is to be done.
//!
//! Owns the times: the last publish is remembered soon after it, the stat index now and then and at
//! the stop, the versions of files that were sent in bulk are kept little by little, and what was
//! learned of the site's saves is kept with the rest. Most of it costs time that grows with the site,
//! so that none of it stands between a save and its being live. What is lost with a crash is only time: an older index hashes more files again, an
//! older memory of the last publish publishes what is there.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use onsave_protocol::{Changeset, FileEntry, SitePath};
use tokio::{task::JoinSet, time::Instant};

use super::round::Hands;
use crate::{
    config::WatchConfig,
    kept_versions::KeptVersions,
    last_publish::LastPublish,
    publish::SiteBytes as _,
    rhythm::{self, Rhythm},
    settle::Settle,
};

/// How long after a publish it is remembered; further saves in a row put it off.
const REMEMBER_AFTER: Duration = Duration::from_secs(2);

/// Least time between two writings of the stat index.
const KEEP_INDEX_EVERY: Duration = Duration::from_mins(5);

/// Files that are looked at in one go for whether their version is kept.
const VERSIONS_AT_ONCE: usize = 200;

/// Pause between two of those, which leaves the disk to saves.
const VERSIONS_PAUSE: Duration = Duration::from_millis(20);

/// A publish of more files than this was sent in bulk, and kept nothing itself.
const BULK_FILES: usize = 50;

/// What is to be kept, and when.
#[derive(Debug)]
pub(super) struct Upkeep {
    last_publish: PathBuf,
    target: String,
    rhythm: PathBuf,
    /// What was learned and is not kept yet, and when it is to be.
    learned: Option<(Rhythm, Instant)>,
    remember: Option<Instant>,
    keep_index: Option<Instant>,
    index_kept: Option<Instant>,
    keep_versions: Option<KeepVersions>,
    /// Whether all versions were looked at since the start.
    versions_seen: bool,
    /// At most one.
    keeping: JoinSet<()>,
}

/// Returns the settle machine of a start, with what is kept at `path` of the site's saves.
pub(super) fn settle(watch: &WatchConfig, path: &Path) -> Settle {
    Settle::new(watch.quiet, watch.max_wait).with_rhythm(rhythm::kept::load(path))
}

/// The way through the files whose versions are to be kept.
#[derive(Debug)]
struct KeepVersions {
    due: Instant,
    /// The last path that was looked at.
    after: Option<SitePath>,
}

impl Upkeep {
    /// Returns the upkeep of a start, with the files of the last publish and of the rhythm of saves;
    /// `target` is what the last publish is remembered of.
    pub(super) fn new((last_publish, rhythm): (PathBuf, PathBuf), target: String) -> Self {
        Self {
            last_publish,
            rhythm,
            learned: None,
            target,
            remember: None,
            keep_index: None,
            index_kept: None,
            keep_versions: None,
            versions_seen: false,
            keeping: JoinSet::new(),
        }
    }

    /// Notes that the server has the local tree.
    pub(super) fn in_step(&mut self, now: Instant) {
        self.remember = Some(now + REMEMBER_AFTER);
        if !self.versions_seen {
            self.versions_seen = true;
            self.keep_versions_from_start(now);
        }
    }

    /// Notes what was published.
    pub(super) fn published(&mut self, changeset: &Changeset, now: Instant) {
        if changeset.puts.len() > BULK_FILES {
            self.keep_versions_from_start(now);
        }
    }

    fn keep_versions_from_start(&mut self, now: Instant) {
        self.keep_versions = Some(KeepVersions {
            due: now + REMEMBER_AFTER,
            after: None,
        });
    }

    /// Takes what the machine learned of the site's saves, where that is news.
    pub(super) fn learned(&mut self, settle: &mut Settle) {
        if let Some(rhythm) = settle.learned() {
            let due = self.learned.as_ref().map(|(_, due)| *due);
            let due = due.unwrap_or_else(|| Instant::now() + REMEMBER_AFTER);
            self.learned = Some((rhythm.clone(), due));
        }
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
        let versions = self.keep_versions.as_ref().map(|versions| versions.due);
        let times = self.remember.into_iter().chain(self.keep_index);
        let learned = self.learned.as_ref().map(|(_, due)| *due);
        times.chain(versions).chain(learned).min()
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
        if self.learned.as_ref().is_some_and(|(_, due)| *due <= now) {
            self.keep_rhythm();
        }
        if let Some(versions) = self.keep_versions.take_if(|versions| versions.due <= now) {
            self.keep_versions = self.keep_some_versions(versions, now, hands);
        }
    }

    /// Keeps the versions of the next files, and returns how to go on; a file that changed since the scan
    /// is met again at its publish.
    fn keep_some_versions(
        &mut self,
        versions: KeepVersions,
        now: Instant,
        hands: &Hands,
    ) -> Option<KeepVersions> {
        while self.keeping.try_join_next().is_some() {}
        let due = now + VERSIONS_PAUSE;
        if !self.keeping.is_empty() {
            return Some(KeepVersions { due, ..versions });
        }
        let kept = Arc::clone(hands.publisher.versions()?);
        let files = hands.scanner.manifest().after(versions.after.as_ref());
        let next: Vec<(SitePath, FileEntry)> = files
            .take(VERSIONS_AT_ONCE)
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        let after = next.last().map(|(path, _)| path.clone())?;
        let site = hands.scanner.files();
        self.keeping.spawn_blocking(move || {
            for (path, entry) in next {
                if KeptVersions::is_wanted(&path, &entry)
                    && !kept.has(&entry.digest)
                    && let Ok(bytes) = site.read(&path, &entry)
                {
                    kept.keep(&entry.digest, &bytes);
                }
            }
        });
        Some(KeepVersions {
            due,
            after: Some(after),
        })
    }

    /// Writes everything that is not written yet: the daemon stops.
    pub(super) fn finish(&mut self, hands: &mut Hands) {
        self.remember_now(hands);
        self.keep_index(hands);
        self.keep_rhythm();
    }

    fn keep_rhythm(&mut self) {
        let Some((rhythm, _)) = self.learned.take() else {
            return;
        };
        if let Err(error) = rhythm::kept::store(&rhythm, &self.rhythm) {
            tracing::warn!(
                path = %self.rhythm.display(),
                %error,
                "what was learned of the site's saves cannot be kept: the next start learns anew"
            );
        }
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
