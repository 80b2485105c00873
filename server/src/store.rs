//! The deploy store: the only writer of the volume.
//!
//! ```text
//! <root>/objects/ab/<sha256>      the bytes of every file, once      objects
//! <root>/manifests/<id>           one deploy                         manifest_file, history
//! <root>/head                     names the current deploy           head, commit
//! <root>/deploys/<id>/            the deploy as a plain tree         tree, forest
//! <root>/current → deploys/<id>   the symlink                        forest
//! <root>/staging/                 what is not finished               volume
//! <root>/lock                     held while a server is open        volume
//! ```
//!
//! Objects, manifests and the head are the truth; trees are made from them. A commit
//! ([`Store::commit`]) costs what it changes and is durable when it returns; whatever costs the size of
//! the site happens on one background thread. Serving reads [`Store::serving`], which never waits.
//!
//! Invariants: the head names a deploy whose manifests and objects are durable; an object's bytes
//! were verified before it got its name; the symlink names a whole tree; ids increase.
//!
//! Locks, in the order in which they are taken: `staged`, `commits`, `history`, the objects' own.
//! `commits` is held while the disk works, the others are not (but for one rename at a time).
//!
//! Every call may block on the disk, but for [`Store::current`], [`Store::serving`] and [`Store::deploys`]: async callers
//! keep them off the runtime's threads. The store knows nothing of HTTP, signatures or time-outs.

use std::{
    fs::File,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use onsave_protocol::{
    Changeset, DeployId, FileEntry, Sha256Digest, SitePath, limits,
    wire::v2::{DeployDetail, DeploySummary},
};

pub use self::{
    clock::{Clock, SystemClock},
    error::StoreError,
    objects::BlobWriter,
    verify::{Finding, Severity, VerifyReport, verify},
};
use self::{
    forest::Forest,
    history::{History, Unreadable},
    manifest_file::ManifestFile,
    objects::Objects,
    signal::Signal,
    staged::StagedDeploys,
    volume::Volume,
};
use crate::{current::Current, snapshot::Snapshot};

mod background;
mod clock;
mod commit;
mod error;
mod forest;
mod head;
mod history;
mod manifest_file;
mod objects;
mod sealed;
mod serving;
mod signal;
mod staged;
mod tree;
mod verify;
mod volume;

/// How many of the newest deploys are kept by default.
const KEEP_DEPLOYS: NonZeroUsize = NonZeroUsize::new(5).expect("5 is not 0");

/// How long an object that no deploy names is kept by default: a broken first sync is resumed within
/// a day, or starts over.
const OBJECT_GRACE: Duration = Duration::from_hours(24);

/// How a store is opened; [`StoreOptions::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The volume's root folder; made when it is not there.
    pub root: PathBuf,
    /// How many of the newest deploys are kept; current is kept whichever it is.
    pub keep_deploys: NonZeroUsize,
    /// How long an object that no deploy names is kept for whoever claimed it.
    pub object_grace: Duration,
    /// Most files in one deploy.
    pub max_files: usize,
    /// Largest file, in bytes.
    pub max_file_bytes: u64,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl StoreOptions {
    /// Returns the defaults for a volume at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            keep_deploys: KEEP_DEPLOYS,
            object_grace: OBJECT_GRACE,
            max_files: limits::MAX_FILES,
            max_file_bytes: limits::MAX_FILE_BYTES,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Who made a deploy and what they say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployNote {
    /// Who publishes.
    pub published_by: Option<String>,
    /// What they say of it.
    pub message: Option<String>,
}

/// A deploy to be made.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The deploy that the changeset was made against; must be current.
    pub base: Option<DeployId>,
    /// What changes. Removing what is absent changes nothing.
    pub changeset: Changeset,
    /// Who made it.
    pub note: DeployNote,
}

/// What is current after a commit or a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The deploy that is current now.
    pub deploy_id: DeployId,
    /// The deploy that was current before.
    pub previous: Option<DeployId>,
    /// Files in the deploy.
    pub files: u64,
    /// Bytes of all files in the deploy.
    pub bytes: u64,
}

/// Space of the volume's file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size of the file system.
    pub total: u64,
    /// What is free for this process.
    pub free: u64,
}

/// An open volume. Clones are the same store; it is closed with the last of them.
#[derive(Debug, Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

/// What the handles own together: the state, and the thread that works on it.
#[derive(Debug)]
struct Handle {
    inner: Arc<Inner>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// The store's state, shared with the background worker.
#[derive(Debug)]
struct Inner {
    options: StoreOptions,
    volume: Arc<Volume>,
    objects: Arc<Objects>,
    current: ArcSwap<Current>,
    history: Mutex<History>,
    /// One commit at a time: held for a whole commit.
    commits: Mutex<Forest>,
    staged: Mutex<StagedDeploys>,
    signal: Arc<Signal>,
}

impl Store {
    /// Opens the volume, made when it is not there, and starts the background worker.
    ///
    /// Reads the head and the manifests; trees are checked in the background.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] while another server has it open, [`StoreError::Corrupt`] when the
    /// head or the current deploy's manifest is damaged.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let (volume, leftovers) = Volume::open(&options.root)?;
        let volume = Arc::new(volume);
        let (history, unreadable) = History::load(&volume, options.keep_deploys)?;
        for Unreadable { id, error } in unreadable {
            if Some(id) == history.current_id() {
                return Err(error);
            }
            tracing::error!(
                deploy.id = %id,
                error = &error as &dyn std::error::Error,
                "a kept deploy cannot be read, and is not offered for rollback"
            );
        }
        let forest = Forest::open(Arc::clone(&volume), leftovers)?;
        let signal = Arc::new(Signal::default());
        let objects = Arc::new(Objects::new(Arc::clone(&volume), Arc::clone(&signal)));
        let current = serving::at_start(&history, &volume, &objects)?;
        let inner = Arc::new(Inner {
            objects,
            current: ArcSwap::from_pointee(current),
            history: Mutex::new(history),
            commits: Mutex::new(forest),
            staged: Mutex::default(),
            signal,
            volume,
            options,
        });
        let working = Arc::clone(&inner);
        let worker = thread::Builder::new()
            .name("store-background".into())
            .spawn(move || background::run(&working))
            .map_err(StoreError::io("start the worker of", &inner.options.root))?;
        let worker = Mutex::new(Some(worker));
        Ok(Self {
            handle: Arc::new(Handle { inner, worker }),
        })
    }

    /// Returns the files of the current deploy. Never waits.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(self.inner().current.load().snapshot())
    }

    /// Returns what is being served. Never waits.
    #[must_use]
    pub fn serving(&self) -> Arc<Current> {
        self.inner().current.load_full()
    }

    /// Returns the number of what is being served; see [`Current::serial`].
    pub(crate) fn serving_serial(&self) -> u64 {
        self.inner().current.load().serial()
    }

    /// Returns the time that the store goes by, in milliseconds of Unix time.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.inner().options.clock.unix_ms()
    }

    /// Opens the bytes of a file.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingBlobs`] when they are not on the volume.
    pub fn open_object(&self, digest: &Sha256Digest) -> Result<File, StoreError> {
        self.inner().objects.open(digest)
    }

    /// Returns those of `digests` that are not on the volume, each once, in their order.
    ///
    /// Those that are there are claimed: they stay for [`StoreOptions::object_grace`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn missing(&self, digests: &[Sha256Digest]) -> Result<Vec<Sha256Digest>, StoreError> {
        let mut seen = std::collections::HashSet::new();
        let mut missing = Vec::new();
        for digest in digests {
            if seen.insert(digest) && self.inner().objects.claim(digest)?.is_none() {
                missing.push(*digest);
            }
        }
        Ok(missing)
    }

    /// Starts a blob whose bytes are to be `expected`.
    ///
    /// When it is on the volume already, it is claimed, and the bytes are only verified.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`], [`StoreError::VolumeFull`], [`StoreError::Io`].
    pub fn stage(&self, expected: FileEntry) -> Result<BlobWriter, StoreError> {
        let (bytes, limit) = (expected.size, self.inner().options.max_file_bytes);
        if bytes > limit {
            return Err(StoreError::TooLarge { bytes, limit });
        }
        let inner = self.inner();
        inner.objects.stage(expected)
    }

    /// Makes a deploy and makes it current. When this returns, it survives power loss.
    ///
    /// # Errors
    ///
    /// [`StoreError::BaseNotCurrent`], [`StoreError::PathConflict`], [`StoreError::TooManyFiles`],
    /// [`StoreError::TooLarge`], [`StoreError::MissingBlobs`], [`StoreError::VolumeFull`],
    /// [`StoreError::Io`]; the deploy before stays current.
    pub fn commit(&self, request: CommitRequest) -> Result<Committed, StoreError> {
        self.inner()
            .signal
            .noting_full(self.inner().commit(request, None))
    }

    /// Makes a kept deploy current again: `to`, or the one that current was made from.
    ///
    /// Makes no new deploy. With `expected`, only when that is current. Going back to the current
    /// deploy changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::BaseNotCurrent`], [`StoreError::NoSuchDeploy`],
    /// [`StoreError::NoEarlierDeploy`], [`StoreError::VolumeFull`], [`StoreError::Io`].
    pub fn rollback(
        &self,
        to: Option<DeployId>,
        expected: Option<DeployId>,
    ) -> Result<Committed, StoreError> {
        self.inner()
            .signal
            .noting_full(self.inner().rollback(to, expected))
    }

    /// Returns the kept deploys, newest first.
    #[must_use]
    pub fn deploys(&self) -> Vec<DeploySummary> {
        lock(&self.inner().history).summaries()
    }

    /// Returns a kept deploy, and what it changed against its base.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchDeploy`], [`StoreError::Corrupt`], [`StoreError::Io`].
    pub fn deploy(&self, id: DeployId) -> Result<DeployDetail, StoreError> {
        let summary = || {
            let history = lock(&self.inner().history);
            let deploy = history.get(id).ok_or(StoreError::NoSuchDeploy(id))?;
            Ok(deploy.header.summary(history.current_id()))
        };
        let before: DeploySummary = summary()?;
        let changes = match ManifestFile::read(&self.inner().volume, id) {
            Ok(file) => file.changes,
            // It was pruned meanwhile, or it is really lost.
            Err(error) => return summary().and(Err(error)),
        };
        let paths = |files: Vec<(SitePath, FileEntry)>| files.into_iter().map(|(path, _)| path);
        Ok(DeployDetail {
            summary: before,
            added: paths(changes.added).collect(),
            changed: paths(changes.changed).collect(),
            removed: changes.removed,
        })
    }

    /// Returns the size of the volume's file system, and what is free on it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn disk_space(&self) -> Result<DiskSpace, StoreError> {
        self.inner().volume.disk_space()
    }

    /// Removes now the objects that no deploy names and nobody claimed within the grace time.
    ///
    /// The background worker does so at start, and at most every 10 minutes after a prune.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn sweep_objects(&self) -> Result<(), StoreError> {
        let inner = self.inner();
        inner.sweep_objects(Some(inner.options.object_grace))
    }

    /// Waits until the background worker has nothing to do.
    pub fn wait_idle(&self) {
        self.inner().signal.wait_idle();
    }

    /// Ends the background work, and keeps what was uploaded but not committed.
    ///
    /// Deploys are durable already. The current deploy's tree and the symlink are finished first; the rest is left for the next
    /// start. Commits work after it, but nothing cleans up behind them. Dropping the last handle
    /// closes as well.
    pub fn close(&self) {
        self.handle.close();
    }

    fn inner(&self) -> &Inner {
        &self.handle.inner
    }
}

impl Inner {
    fn next_id(&self) -> Result<DeployId, StoreError> {
        let random = volume::random()?;
        let now = self.options.clock.unix_ms();
        Ok(lock(&self.history).next_id(now, random))
    }
}

impl Handle {
    fn close(&self) {
        self.inner.signal.stop();
        let Some(worker) = lock(&self.worker).take() else {
            return;
        };
        if worker.join().is_err() {
            tracing::error!("the store's background worker panicked");
        }
        let objects = &self.inner.objects;
        if let Err(error) = objects
            .promote_waiting()
            .and_then(|()| objects.sync_names())
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "failed to keep what was uploaded but not committed"
            );
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// Locks, also after a panic elsewhere: what a lock guards is changed in single assignments that
/// follow the work on the disk, so that it is never half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
