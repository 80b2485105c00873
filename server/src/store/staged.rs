//! Deploys that v1 clients have begun and not committed.
//!
//! Held in memory and by reference: a base and a changeset, never a copy of the site. A restart
//! forgets them, and the client begins again. At most [`MOST_OPEN`] are open; one that nobody
//! touched for [`IDLE_MS`] makes room for another.

use std::collections::BTreeMap;

use onsave_protocol::{Changeset, DeployId, FileEntry, Sha256Digest, SitePath};

use super::{CommitRequest, Committed, DeployNote, Inner, Store, StoreError, lock};

/// Most deploys that are open at once.
const MOST_OPEN: usize = 16;

/// How long an open deploy may be left alone before it makes room, in milliseconds.
const IDLE_MS: u64 = 60 * 60 * 1_000;

/// The calls of the first generation.
impl Store {
    /// Begins a deploy of the first generation on the current one, and returns its id.
    ///
    /// It is in memory only, and not among [`Store::deploys`]. At most 16 are open; one that nobody
    /// touched for an hour makes room.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooManyStaged`].
    pub fn begin(&self) -> Result<DeployId, StoreError> {
        let inner = self.inner();
        let now = inner.options.clock.unix_ms();
        let mut staged = lock(&inner.staged);
        staged.make_room(now)?;
        let id = inner.next_id()?;
        staged.open(id, inner.current.load().snapshot().deploy_id(), now);
        Ok(id)
    }

    /// Puts a file into a deploy that was begun; its bytes were staged before.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchDeploy`], [`StoreError::MissingBlobs`], [`StoreError::TooManyFiles`].
    pub fn staged_put(
        &self,
        id: DeployId,
        path: SitePath,
        entry: FileEntry,
    ) -> Result<(), StoreError> {
        let inner = self.inner();
        // Held over the claim, so that a sweep finds the blob claimed or named.
        let mut open = lock(&inner.staged);
        let staged = open.get(id, inner.options.clock.unix_ms())?;
        inner.check_room(staged)?;
        inner.objects.claim_all([&entry])?;
        staged.put(path, entry);
        Ok(())
    }

    /// Removes a file from a deploy that was begun, also when it is absent.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchDeploy`], [`StoreError::TooManyFiles`].
    pub fn staged_remove(&self, id: DeployId, path: SitePath) -> Result<(), StoreError> {
        let inner = self.inner();
        let mut open = lock(&inner.staged);
        let staged = open.get(id, inner.options.clock.unix_ms())?;
        inner.check_room(staged)?;
        staged.remove(path);
        Ok(())
    }

    /// Makes a deploy that was begun current, under its id.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchDeploy`]; [`StoreError::StagingConflict`] when current moved since, and
    /// the deploy is dropped; otherwise as [`Store::commit`], and the deploy stays open.
    pub fn staged_commit(&self, id: DeployId) -> Result<Committed, StoreError> {
        let inner = self.inner();
        let staged = lock(&inner.staged).take(id)?;
        let base = staged.base;
        let request = CommitRequest {
            base,
            changeset: staged.changeset.clone(),
            note: DeployNote::default(),
        };
        match inner.signal.noting_full(inner.commit(request, Some(id))) {
            Err(StoreError::BaseNotCurrent { current }) => Err(StoreError::StagingConflict {
                deploy: id,
                base,
                current,
            }),
            Err(error) => {
                lock(&inner.staged).put_back(id, staged);
                Err(error)
            }
            committed => committed,
        }
    }

    /// Drops a deploy that was begun.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchDeploy`].
    pub fn staged_abort(&self, id: DeployId) -> Result<(), StoreError> {
        lock(&self.inner().staged).take(id).map(drop)
    }
}

impl Inner {
    /// Makes sure that a deploy may change one more file: as many as a site may have.
    fn check_room(&self, staged: &Staged) -> Result<(), StoreError> {
        let (files, limit) = (staged.changeset.len() + 1, self.options.max_files);
        if files > limit {
            return Err(StoreError::TooManyFiles { files, limit });
        }
        Ok(())
    }
}

/// Every open deploy.
#[derive(Debug, Default)]
pub(super) struct StagedDeploys {
    open: BTreeMap<DeployId, Staged>,
}

/// One open deploy.
#[derive(Debug)]
struct Staged {
    /// What was current when it was begun.
    base: Option<DeployId>,
    /// What was put and removed since.
    changeset: Changeset,
    touched_unix_ms: u64,
}

impl StagedDeploys {
    /// Makes sure that one more can be opened.
    fn make_room(&mut self, now_unix_ms: u64) -> Result<(), StoreError> {
        if self.open.len() >= MOST_OPEN {
            let idle = |staged: &Staged| now_unix_ms.saturating_sub(staged.touched_unix_ms);
            self.open.retain(|_, staged| idle(staged) <= IDLE_MS);
        }
        if self.open.len() >= MOST_OPEN {
            return Err(StoreError::TooManyStaged { limit: MOST_OPEN });
        }
        Ok(())
    }

    /// Opens a deploy on `base`.
    fn open(&mut self, id: DeployId, base: Option<DeployId>, now_unix_ms: u64) {
        let staged = Staged {
            base,
            changeset: Changeset::default(),
            touched_unix_ms: now_unix_ms,
        };
        self.open.insert(id, staged);
    }

    /// Returns an open deploy, touched now.
    fn get(&mut self, id: DeployId, now_unix_ms: u64) -> Result<&mut Staged, StoreError> {
        let staged = self.open.get_mut(&id).ok_or(StoreError::NoSuchDeploy(id))?;
        staged.touched_unix_ms = now_unix_ms;
        Ok(staged)
    }

    /// Takes a deploy out.
    fn take(&mut self, id: DeployId) -> Result<Staged, StoreError> {
        self.open.remove(&id).ok_or(StoreError::NoSuchDeploy(id))
    }

    /// Puts a deploy back that could not be committed, for another try.
    fn put_back(&mut self, id: DeployId, staged: Staged) {
        self.open.insert(id, staged);
    }

    /// Returns every blob that an open deploy names.
    pub(super) fn named(&self) -> impl Iterator<Item = Sha256Digest> {
        let entries = self
            .open
            .values()
            .flat_map(|staged| staged.changeset.puts.values());
        entries.map(|entry| entry.digest)
    }
}

impl Staged {
    /// Notes that `path` is to hold `entry`.
    fn put(&mut self, path: SitePath, entry: FileEntry) {
        self.changeset.removes.remove(&path);
        self.changeset.puts.insert(path, entry);
    }

    /// Notes that `path` is to be gone.
    fn remove(&mut self, path: SitePath) {
        self.changeset.puts.remove(&path);
        self.changeset.removes.insert(path);
    }
}
