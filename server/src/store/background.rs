//! The background worker: the one thread that does what costs more than a commit may.
//!
//! It owns no list of work: it looks at the store's state, does the most urgent thing that is amiss,
//! and looks again, until nothing is. So a burst of commits makes no queue, a crash loses no work, and
//! what is done first is what readers of `/srv/current` wait for. What fails is logged, left for this
//! round, and tried again at the next commit or after a minute.

use std::{collections::HashSet, os::fd::OwnedFd, sync::Arc, time::Duration};

use onsave_protocol::{DeployId, Sha256Digest};
use tokio::time::Instant;

use super::{
    Inner, StoreError,
    forest::Forest,
    history::History,
    lock,
    manifest_file::{Header, Kind, ManifestFile},
    signal::Next,
    tree,
};
use crate::snapshot::Snapshot;

/// Shortest time between two sweeps of the objects: a sweep looks at all of them.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);

/// How long the worker waits before it tries again what failed.
const RETRY_PAUSE: Duration = Duration::from_mins(1);

/// Longer than anybody waits; the worker is woken when there is work.
const NO_HURRY: Duration = Duration::from_hours(24);

/// One thing that is amiss, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Task {
    /// The volume is full: remove all that no deploy needs.
    MakeRoom,
    /// The symlink could name a tree that is nearer to current.
    Point(DeployId),
    /// The current deploy has no tree.
    GrowCurrent(DeployId),
    /// There are manifests and trees of deploys that are not kept.
    Prune,
    /// The spare does not hold what current holds.
    RollSpare,
    /// Another kept deploy has no tree.
    Grow(DeployId),
    /// A deploy stands on a long chain of changesets.
    List(DeployId),
    /// There is something in `staging/` that nobody uses.
    Discard,
    /// Objects may be there that no deploy needs.
    Sweep,
}

/// When the objects are swept.
#[derive(Debug)]
struct SweepSchedule {
    wanted: bool,
    not_before: Instant,
}

/// Works until the store is closed.
pub(super) fn run(inner: &Arc<Inner>) {
    let _gone = SayWhenGone(inner);
    let mut schedule = SweepSchedule {
        wanted: true,
        not_before: Instant::now(),
    };
    let mut pause = NO_HURRY;
    while inner.signal.wait_for_work(pause) == Next::Work {
        pause = inner.work(&mut schedule);
        inner.signal.done();
    }
}

struct SayWhenGone<'a>(&'a Inner);

impl Drop for SayWhenGone<'_> {
    fn drop(&mut self) {
        self.0.signal.gone();
    }
}

impl Inner {
    /// Does what there is to do, and returns how long to wait before looking again unasked.
    fn work(&self, schedule: &mut SweepSchedule) -> Duration {
        let mut failed = HashSet::new();
        while let Some(task) = self.next_task(&failed, schedule) {
            if let Err(error) = self.run_task(task, schedule) {
                tracing::error!(
                    ?task,
                    error = &error as &dyn std::error::Error,
                    "background work on the volume failed"
                );
                failed.insert(task);
            }
        }
        if !failed.is_empty() {
            return RETRY_PAUSE;
        }
        if schedule.wanted {
            schedule
                .not_before
                .saturating_duration_since(Instant::now())
        } else {
            NO_HURRY
        }
    }

    fn run_task(&self, task: Task, schedule: &mut SweepSchedule) -> Result<(), StoreError> {
        match task {
            Task::MakeRoom => self.sweep_objects(None),
            Task::Point(id) => lock(&self.commits).point_at(id),
            Task::GrowCurrent(id) | Task::Grow(id) => self.grow(id),
            Task::Prune => {
                schedule.wanted = true;
                self.prune()
            }
            Task::RollSpare => self.roll_spare(),
            Task::List(id) => self.list(id),
            Task::Discard => self.discard(),
            Task::Sweep => {
                self.sweep_objects(Some(self.options.object_grace))?;
                schedule.wanted = false;
                schedule.not_before = Instant::now() + SWEEP_INTERVAL;
                Ok(())
            }
        }
    }

    fn next_task(&self, failed: &HashSet<Task>, schedule: &SweepSchedule) -> Option<Task> {
        let full = self.signal.take_full().then_some(Task::MakeRoom);
        let forest = lock(&self.commits);
        let history = lock(&self.history);
        let urgent = [
            full,
            point(&forest, &history),
            grow_current(&forest, &history),
        ];
        let urgent = urgent.into_iter().flatten();
        let mut tasks: Vec<Task> = urgent.filter(|task| !failed.contains(task)).collect();
        if tasks.is_empty() && !self.signal.is_stopping() {
            // The rest is done at the next start as well as now.
            let sweep = schedule.wanted && Instant::now() >= schedule.not_before;
            let rest = [
                prune(&forest, &history),
                roll_spare(&forest, &history),
                grow_another(&forest, &history, failed),
                history.needs_full_listing().map(Task::List),
                forest.has_trash().then_some(Task::Discard),
                sweep.then_some(Task::Sweep),
            ];
            let rest = rest.into_iter().flatten();
            tasks.extend(rest.filter(|task| !failed.contains(task)));
        }
        tasks.first().copied()
    }

    /// Makes sure that a kept deploy has a whole tree in its place.
    fn grow(&self, id: DeployId) -> Result<(), StoreError> {
        let (snapshot, is_current) = {
            let history = lock(&self.history);
            let Some(deploy) = history.get(id) else {
                return Ok(());
            };
            (
                Arc::clone(&deploy.snapshot),
                history.current_id() == Some(id),
            )
        };
        let workshop = lock(&self.commits).workshop();
        if workshop.stands_whole(id, &snapshot)? {
            lock(&self.commits).note_whole(id, snapshot);
            return Ok(());
        }
        // The spare is for current: an old deploy's tree is not waited for.
        let spare = if is_current {
            lock(&self.commits).take_spare()
        } else {
            None
        };
        let grown = match spare {
            Some(spare) => workshop.roll(spare, &snapshot, &|changed| self.rest(changed)),
            None => workshop.make(&snapshot, &|changed| self.rest(changed)),
        };
        let mut forest = lock(&self.commits);
        match grown {
            Ok(tree) => forest.plant(tree),
            Err((path, error)) => {
                forest.throw_away(path);
                Err(error)
            }
        }
    }

    /// Lets a commit go first that waits, and keeps the next one from waiting long.
    ///
    /// A commit's fsync carries all that the file system's journal holds by then: without this, the
    /// thousands of links of a tree.
    fn rest(&self, changed: &OwnedFd) {
        drop(lock(&self.commits));
        // What cannot be synced here is made again at the next start, as every tree.
        if let Err(error) = rustix::fs::fsync(changed) {
            tracing::debug!(%error, "failed to sync a tree that is being made");
        }
    }

    fn prune(&self) -> Result<(), StoreError> {
        let mut forest = lock(&self.commits);
        // A head that lists what is gone would look like a loss.
        let shortened = lock(&self.history).shortened_head().cloned();
        if let Some(head) = shortened {
            head.write(&self.volume)?;
            lock(&self.history).note_shortened_head();
        }
        let (trees, manifests) = {
            let history = lock(&self.history);
            let kept = |id| history.get(id).is_some();
            (forest.prunable(kept), history.unneeded_manifests())
        };
        // Newest first: the one that becomes the spare has the least to catch up with.
        for id in trees.into_iter().rev() {
            forest.uproot(id)?;
        }
        drop(forest);
        for id in manifests {
            let path = self.volume.manifest_path(id);
            std::fs::remove_file(&path).map_err(StoreError::io("remove", path))?;
            lock(&self.history).forget_manifest(id);
        }
        Ok(())
    }

    fn roll_spare(&self) -> Result<(), StoreError> {
        let (spare, workshop) = {
            let mut forest = lock(&self.commits);
            (forest.take_spare(), forest.workshop())
        };
        let Some(spare) = spare else {
            return Ok(());
        };
        let current = Arc::clone(self.current.load().snapshot());
        let rolled = workshop.roll(spare, &current, &|changed| {
            self.rest(changed);
        });
        let mut forest = lock(&self.commits);
        match rolled {
            Ok(tree) => {
                forest.put_spare(tree);
                Ok(())
            }
            Err((path, error)) => {
                forest.throw_away(path);
                Err(error)
            }
        }
    }

    /// Replaces a deploy's manifest by a full listing.
    fn list(&self, id: DeployId) -> Result<(), StoreError> {
        let Some(deploy) = lock(&self.history).get(id).cloned() else {
            return Ok(());
        };
        let changes = ManifestFile::read(&self.volume, id)?.changes;
        let header = Header {
            kind: Kind::Full,
            ..deploy.header
        };
        self.write_manifest(&header, &changes, &deploy.snapshot)?;
        lock(&self.history).note_full_listing(header);
        Ok(())
    }

    fn discard(&self) -> Result<(), StoreError> {
        let trash = lock(&self.commits).take_trash();
        let mut outcome = Ok(());
        for path in trash {
            if let Err(error) = tree::discard(&path, &|changed| self.rest(changed)) {
                lock(&self.commits).throw_away(path);
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Removes the objects that no deploy names and that nobody claimed for `grace`; without it,
    /// whoever claimed them.
    pub(super) fn sweep_objects(&self, grace: Option<Duration>) -> Result<(), StoreError> {
        let cutoff = grace
            .map(|grace| Duration::from_millis(self.options.clock.unix_ms()).saturating_sub(grace));
        if cutoff.is_some() {
            // So that what nobody commits gets old as well.
            self.objects.promote_waiting()?;
        }
        let sweep = self.objects.begin_sweep();
        let named = self.named_objects();
        let removed = sweep.run(&named, cutoff)?;
        tracing::debug!(
            objects.removed = removed,
            objects.named = named.len(),
            "swept the objects"
        );
        Ok(())
    }

    /// Returns every object that a kept or staged deploy names, sorted.
    fn named_objects(&self) -> Vec<Sha256Digest> {
        // Waits for a commit that is between its claims and its end.
        let commits = lock(&self.commits);
        let kept: Vec<Arc<Snapshot>> = {
            let history = lock(&self.history);
            let deploys = history.newest_first();
            deploys.map(|deploy| Arc::clone(&deploy.snapshot)).collect()
        };
        let mut named: Vec<Sha256Digest> = lock(&self.staged).named().collect();
        drop(commits);
        let mut before = Arc::new(Snapshot::default());
        for snapshot in kept {
            // Neighbours share almost everything, which need not be named again.
            let changes = before.changes_to(&snapshot);
            named.extend(changes.puts().map(|(_, entry)| entry.digest));
            before = snapshot;
        }
        named.sort_unstable();
        named.dedup();
        named
    }
}

/// The tree nearest to current, when the symlink names an older one or none.
fn point(forest: &Forest, history: &History) -> Option<Task> {
    let steps = std::iter::successors(history.current_id(), |id| {
        history.get(*id).and_then(|deploy| deploy.header.base)
    });
    let nearest = steps
        .take_while(|id| history.get(*id).is_some())
        .find(|id| forest.is_whole(*id))?;
    let stays = forest
        .linked()
        .is_some_and(|linked| linked >= nearest && history.leads_to_current(linked));
    (!stays).then_some(Task::Point(nearest))
}

fn grow_current(forest: &Forest, history: &History) -> Option<Task> {
    let current = history.current_id()?;
    (!forest.is_whole(current)).then_some(Task::GrowCurrent(current))
}

fn prune(forest: &Forest, history: &History) -> Option<Task> {
    let kept = |id| history.get(id).is_some();
    let anything = history.shortened_head().is_some()
        || !forest.prunable(kept).is_empty()
        || !history.unneeded_manifests().is_empty();
    anything.then_some(Task::Prune)
}

fn roll_spare(forest: &Forest, history: &History) -> Option<Task> {
    let current = history.current()?;
    forest
        .has_stale_spare(&current.snapshot)
        .then_some(Task::RollSpare)
}

fn grow_another(forest: &Forest, history: &History, failed: &HashSet<Task>) -> Option<Task> {
    let missing = history
        .newest_first()
        .map(|deploy| deploy.header.id)
        .filter(|id| !forest.is_whole(*id));
    missing.map(Task::Grow).find(|task| !failed.contains(task))
}
