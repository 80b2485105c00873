//! Deploys that v1 clients have begun and not committed.
//!
//! Held in memory and by reference: a base and a changeset, never a copy of the site. A restart
//! forgets them, and the client begins again. At most [`MOST_OPEN`] are open; one that nobody
//! touched for [`IDLE_MS`] makes room for another.

use std::collections::BTreeMap;

use onsave_protocol::{Changeset, DeployId, FileEntry, Sha256Digest, SitePath};

use super::StoreError;

/// Most deploys that are open at once.
pub(super) const MOST_OPEN: usize = 16;

/// How long an open deploy may be left alone before it makes room, in milliseconds.
const IDLE_MS: u64 = 60 * 60 * 1_000;

/// Every open deploy.
#[derive(Debug, Default)]
pub(super) struct StagedDeploys {
    open: BTreeMap<DeployId, Staged>,
}

/// One open deploy.
#[derive(Debug)]
pub(super) struct Staged {
    /// What was current when it was begun.
    pub(super) base: Option<DeployId>,
    /// What was put and removed since.
    pub(super) changeset: Changeset,
    touched_unix_ms: u64,
}

impl StagedDeploys {
    /// Makes sure that one more can be opened.
    pub(super) fn make_room(&mut self, now_unix_ms: u64) -> Result<(), StoreError> {
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
    pub(super) fn open(&mut self, id: DeployId, base: Option<DeployId>, now_unix_ms: u64) {
        let staged = Staged {
            base,
            changeset: Changeset::default(),
            touched_unix_ms: now_unix_ms,
        };
        self.open.insert(id, staged);
    }

    /// Returns an open deploy, touched now.
    pub(super) fn get(
        &mut self,
        id: DeployId,
        now_unix_ms: u64,
    ) -> Result<&mut Staged, StoreError> {
        let staged = self.open.get_mut(&id).ok_or(StoreError::NoSuchDeploy(id))?;
        staged.touched_unix_ms = now_unix_ms;
        Ok(staged)
    }

    /// Takes a deploy out.
    pub(super) fn take(&mut self, id: DeployId) -> Result<Staged, StoreError> {
        self.open.remove(&id).ok_or(StoreError::NoSuchDeploy(id))
    }

    /// Puts a deploy back that could not be committed, for another try.
    pub(super) fn put_back(&mut self, id: DeployId, staged: Staged) {
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
    pub(super) fn put(&mut self, path: SitePath, entry: FileEntry) {
        self.changeset.removes.remove(&path);
        self.changeset.puts.insert(path, entry);
    }

    /// Notes that `path` is to be gone.
    pub(super) fn remove(&mut self, path: SitePath) {
        self.changeset.puts.remove(&path);
        self.changeset.removes.insert(path);
    }
}
