//! Making a deploy current: commit and rollback.
//!
//! The order is the store's promise, and stands in [`Inner::commit`] from top to bottom: everything is
//! checked before anything is written; the objects and the manifest that names them are durable before
//! the head that names it; the head is durable before what is served is swapped and the caller is
//! answered. A crash at any instant leaves the old head or the new one. Nothing here
//! costs more than what changed; what does, the background worker does later.

use std::sync::Arc;

use onsave_protocol::{Changeset, DeployId};

use super::{
    CommitRequest, Committed, Inner, StoreError,
    forest::Forest,
    head::Head,
    history::Deploy,
    lock,
    manifest_file::{self, Header},
    volume::remove_leftover,
};
use crate::{
    current::Current,
    snapshot::{Changes, Snapshot},
};

impl Inner {
    /// Makes a deploy and makes it current; its id is `reserved`, or a new one.
    pub(super) fn commit(
        &self,
        request: CommitRequest,
        reserved: Option<DeployId>,
    ) -> Result<Committed, StoreError> {
        let mut forest = lock(&self.commits);
        let serving = self.current.load_full();
        let base = serving.snapshot();
        self.check_base(request.base, reserved)?;
        let id = match reserved {
            Some(id) => id,
            None => self.next_id()?,
        };
        let (next, changes) = base.changed(id, &request.changeset)?;
        self.check_limits(base, &next, &request.changeset)?;
        self.objects.claim_all(request.changeset.puts.values())?;
        let rules = self.objects.rules(&next, serving.rules())?;

        let named = changes.puts().map(|(_, entry)| &entry.digest);
        self.objects.promote(named)?;
        let header = Header {
            base: request.base,
            committed_unix_ms: self.options.clock.unix_ms(),
            after_return: request.base.is_some() && request.base != lock(&self.history).newest(),
            published_by: request.note.published_by,
            message: request.note.message,
            ..Header::new(id, &next, &changes)
        };
        let written = self.write_manifest(&header, &changes, &next);
        // After the manifest: the journal has the objects' names by then, and this costs little.
        if let Err(error) = written.and_then(|()| self.objects.sync_names()) {
            remove_leftover(&self.volume.manifest_path(id));
            return Err(error);
        }
        let head = lock(&self.history).head_with(id);
        if let Err(error) = head.write(&self.volume) {
            self.undo(id);
            return Err(error);
        }

        let next = Arc::new(next);
        let snapshot = Arc::clone(&next);
        let mut history = lock(&self.history);
        history.add(Deploy { header, snapshot });
        history.take_head(head);
        let earlier = history.earlier(self.options.clock.unix_ms());
        drop(history);
        let now = Current::new(Arc::clone(&next), rules, earlier);
        self.current.store(Arc::new(now));

        if let Err(error) = forest.grow_from_spare(base, &next) {
            warn_of_tree(id, &error);
        }
        follow(&mut forest, id);
        drop(forest);
        self.signal.wake();
        Ok(committed(&next, id, request.base))
    }

    /// Makes a kept deploy current again.
    pub(super) fn rollback(
        &self,
        to: Option<DeployId>,
        expected: Option<DeployId>,
    ) -> Result<Committed, StoreError> {
        let mut forest = lock(&self.commits);
        let history = lock(&self.history);
        let previous = history.current_id();
        if expected.is_some() && expected != previous {
            return Err(StoreError::BaseNotCurrent { current: previous });
        }
        let id = to
            .or_else(|| history.before_current())
            .ok_or(StoreError::NoEarlierDeploy)?;
        let deploy = history.get(id).ok_or(StoreError::NoSuchDeploy(id))?;
        let next = Arc::clone(&deploy.snapshot);
        let head = history.head_with(id);
        drop(history);
        if previous != Some(id) {
            let serving = self.current.load_full();
            let rules = self.objects.rules(&next, serving.rules())?;
            if let Err(error) = head.write(&self.volume) {
                self.restore_head();
                return Err(error);
            }
            let now = self.options.clock.unix_ms();
            let mut history = lock(&self.history);
            history.take_head(head);
            let earlier = history.earlier(now);
            drop(history);
            let back = Arc::new(serving.snapshot().returned_to(&next, now));
            self.current
                .store(Arc::new(Current::new(back, rules, earlier)));
            follow(&mut forest, id);
        }
        drop(forest);
        self.signal.wake();
        Ok(committed(&next, id, previous))
    }

    fn check_base(
        &self,
        base: Option<DeployId>,
        reserved: Option<DeployId>,
    ) -> Result<(), StoreError> {
        let history = lock(&self.history);
        let current = history.current_id();
        // An id that was reserved before a newer deploy was made would not increase.
        let overtaken = reserved.is_some_and(|id| Some(id) <= history.newest());
        if base == current && !overtaken {
            Ok(())
        } else {
            Err(StoreError::BaseNotCurrent { current })
        }
    }

    fn check_limits(
        &self,
        base: &Snapshot,
        next: &Snapshot,
        changeset: &Changeset,
    ) -> Result<(), StoreError> {
        let (files, limit) = (next.len(), self.options.max_files);
        // A site that is over a limit that was lowered since may still shrink.
        if files > limit && files > base.len() {
            return Err(StoreError::TooManyFiles { files, limit });
        }
        let limit = self.options.max_file_bytes;
        let sizes = changeset.puts.values().map(|entry| entry.size);
        match sizes.max().filter(|bytes| *bytes > limit) {
            Some(bytes) => Err(StoreError::TooLarge { bytes, limit }),
            None => Ok(()),
        }
    }

    /// Writes a manifest, durably.
    pub(super) fn write_manifest(
        &self,
        header: &Header,
        changes: &Changes,
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        let path = self.volume.manifest_path(header.id);
        self.volume.replace_file(&path, |out| {
            manifest_file::write(out, header, changes, snapshot)
        })
    }

    /// Takes back a commit whose head could not be written.
    fn undo(&self, id: DeployId) {
        // While the head on the volume may name the deploy, its manifest has to stay; a start
        // removes one that no head names.
        if self.restore_head() {
            remove_leftover(&self.volume.manifest_path(id));
        }
    }

    /// Makes the head on the volume name what is served, and returns whether it does.
    ///
    /// A head that could not be made durable may have its name already.
    fn restore_head(&self) -> bool {
        let served = lock(&self.history).head().cloned();
        let on_volume = Head::read(&self.volume);
        if on_volume.is_ok_and(|head| {
            head.map(|head| head.current) == self.current.load().snapshot().deploy_id()
        }) {
            return true;
        }
        match Head::restore(served.as_ref(), &self.volume) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "failed to put back the head after a commit that failed"
                );
                false
            }
        }
    }
}

/// Moves the symlink to the deploy's tree, when that is whole.
fn follow(forest: &mut Forest, id: DeployId) {
    if !forest.is_whole(id) || forest.linked() == Some(id) {
        return;
    }
    if let Err(error) = forest.point_at(id) {
        warn_of_tree(id, &error);
    }
}

fn committed(now: &Snapshot, deploy_id: DeployId, previous: Option<DeployId>) -> Committed {
    Committed {
        deploy_id,
        previous,
        files: now.len() as u64,
        bytes: now.total_bytes(),
    }
}

/// The deploy is current whatever becomes of its tree, which the background worker makes anew.
fn warn_of_tree(id: DeployId, error: &StoreError) {
    tracing::warn!(
        deploy.id = %id,
        error = error as &dyn std::error::Error,
        "failed to move the tree of a deploy into place"
    );
}
