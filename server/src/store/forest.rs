//! All trees of the volume: which are whole, which one the `current` symlink names, and the spare.
//!
//! Owns `deploys/` and the symlink. Lives under the store's commit lock: a commit uses the spare, and
//! the background worker makes it. A tree in `deploys/` is never changed; it comes whole, by rename,
//! and goes whole. The symlink names whole trees only.
//!
//! Trees are made from objects and manifests and can be made again, so nothing here is synced. A crash
//! of the server cannot leave a symlink to an incomplete tree; a power cut could, on a file system
//! that does not keep the order of renames as ext4, xfs and btrfs do. A start compares each tree with
//! its deploy in the background, and makes anew what is not whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use onsave_protocol::DeployId;
use rustix::fs::{CWD, RenameFlags};

use super::{
    StoreError,
    tree::{self, LinkStep, Rest, TreeEditor},
    volume::{Volume, deploy_ids_in, named_deploy},
};
use crate::snapshot::Snapshot;

/// What is known of the trees.
#[derive(Debug)]
pub(super) struct Forest {
    volume: Arc<Volume>,
    link: LinkStep,
    /// Whole trees in `deploys/`, with what they hold.
    whole: BTreeMap<DeployId, Arc<Snapshot>>,
    /// Trees in `deploys/` that nobody compared with their deploy yet.
    unknown: BTreeSet<DeployId>,
    /// The tree that the symlink names.
    linked: Option<DeployId>,
    /// A tree in `staging/`, to become the next deploy's.
    spare: Option<Tree>,
    /// What is to be removed from `staging/`.
    trash: Vec<PathBuf>,
}

/// A tree in `staging/`.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    holds: Arc<Snapshot>,
}

impl Forest {
    /// Looks at what an earlier run left; `leftovers` is what it left in `staging/`.
    pub(super) fn open(volume: Arc<Volume>, leftovers: Vec<PathBuf>) -> Result<Self, StoreError> {
        let unknown = deploy_ids_in(&volume.trees_path())?;
        let linked = fs::read_link(volume.current_path()).ok();
        Ok(Self {
            link: tree::link,
            whole: BTreeMap::new(),
            unknown: unknown.into_iter().collect(),
            linked: linked.as_deref().and_then(named_deploy),
            spare: None,
            trash: leftovers,
            volume,
        })
    }

    /// Returns whether the deploy's tree is whole and in its place.
    pub(super) fn is_whole(&self, id: DeployId) -> bool {
        self.whole.contains_key(&id)
    }

    /// Returns the deploy that the symlink names.
    pub(super) fn linked(&self) -> Option<DeployId> {
        self.linked
    }

    /// Returns the deploys with a tree, whole or not, that `keep` does not keep.
    ///
    /// The one that the symlink names is not among them.
    pub(super) fn prunable(&self, keep: impl Fn(DeployId) -> bool) -> Vec<DeployId> {
        let trees = self.whole.keys().chain(&self.unknown).copied();
        trees
            .filter(|id| !keep(*id) && self.linked != Some(*id))
            .collect()
    }

    /// Returns whether there is a spare that does not hold `snapshot` yet.
    pub(super) fn has_stale_spare(&self, snapshot: &Snapshot) -> bool {
        let spare = self.spare.as_ref();
        spare.is_some_and(|spare| spare.holds.deploy_id() != snapshot.deploy_id())
    }

    /// Takes the spare out, to work on it without the lock.
    pub(super) fn take_spare(&mut self) -> Option<Tree> {
        self.spare.take()
    }

    /// Puts the spare back, or what became of it.
    pub(super) fn put_spare(&mut self, tree: Tree) {
        match self.spare {
            None => self.spare = Some(tree),
            Some(_) => self.trash.push(tree.path),
        }
    }

    /// Takes what is to be removed.
    pub(super) fn take_trash(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.trash)
    }

    /// Returns whether there is something to be removed.
    pub(super) fn has_trash(&self) -> bool {
        !self.trash.is_empty()
    }

    /// Notes something in `staging/` that is to be removed.
    pub(super) fn throw_away(&mut self, path: PathBuf) {
        self.trash.push(path);
    }

    /// Makes the spare, when it holds `base`, the tree of the deploy that `next` is.
    ///
    /// Costs what changed. Does nothing when there is no such spare.
    pub(super) fn grow_from_spare(
        &mut self,
        base: &Snapshot,
        next: &Arc<Snapshot>,
    ) -> Result<(), StoreError> {
        if self.spare.is_none() || self.has_stale_spare(base) {
            return Ok(());
        }
        let Some(spare) = self.spare.take() else {
            return Ok(());
        };
        // Without rests: the commit waits for what it changed, however much that is.
        let rolled = self.workshop().roll(spare, next, &|_| {});
        match rolled {
            Ok(tree) => self.plant(tree),
            Err((tree, error)) => {
                self.trash.push(tree);
                Err(error)
            }
        }
    }

    /// Puts a whole tree into its place, in the stead of what stands there.
    pub(super) fn plant(&mut self, tree: Tree) -> Result<(), StoreError> {
        let Some(id) = tree.holds.deploy_id() else {
            self.trash.push(tree.path);
            return Ok(());
        };
        let place = self.volume.tree_path(id);
        match put_in_place(&tree.path, &place) {
            Ok(old) => self.trash.extend(old),
            Err(error) => {
                self.trash.push(tree.path);
                return Err(StoreError::io("create", place)(error));
            }
        }
        self.unknown.remove(&id);
        self.whole.insert(id, tree.holds);
        Ok(())
    }

    /// Notes that the tree that stands in its place is whole.
    pub(super) fn note_whole(&mut self, id: DeployId, holds: Arc<Snapshot>) {
        self.unknown.remove(&id);
        self.whole.insert(id, holds);
    }

    /// Moves the symlink to a whole tree.
    pub(super) fn point_at(&mut self, id: DeployId) -> Result<(), StoreError> {
        let target = Path::new("deploys").join(id.to_string());
        self.volume
            .replace_symlink(&self.volume.current_path(), &target)?;
        self.linked = Some(id);
        Ok(())
    }

    /// Takes a pruned deploy's tree out of its place: it becomes the spare, when there is none, and
    /// is removed otherwise.
    pub(super) fn uproot(&mut self, id: DeployId) -> Result<(), StoreError> {
        let place = self.volume.tree_path(id);
        let path = self.volume.new_staging_path("tree");
        fs::rename(&place, &path).map_err(StoreError::io("move", place))?;
        self.unknown.remove(&id);
        match self.whole.remove(&id) {
            Some(holds) => self.put_spare(Tree { path, holds }),
            None => self.trash.push(path),
        }
        Ok(())
    }

    /// Returns what makes trees without the lock.
    pub(super) fn workshop(&self) -> Workshop {
        Workshop {
            volume: Arc::clone(&self.volume),
            link: self.link,
        }
    }
}

/// Makes trees in `staging/`, without the lock.
#[derive(Debug)]
pub(super) struct Workshop {
    volume: Arc<Volume>,
    link: LinkStep,
}

impl Workshop {
    /// Returns a new tree of `snapshot`; on failure, what is to be removed as well.
    pub(super) fn make(
        &self,
        snapshot: &Arc<Snapshot>,
        rest: Rest<'_>,
    ) -> Result<Tree, (PathBuf, StoreError)> {
        let path = self.volume.new_staging_path("tree");
        let made = fs::create_dir(&path)
            .map_err(StoreError::io("create", &path))
            .and_then(|()| {
                TreeEditor::open(&self.volume, &path, (self.link, rest))?.fill(snapshot)
            });
        let holds = Arc::clone(snapshot);
        match made {
            Ok(()) => Ok(Tree { path, holds }),
            Err(error) => Err((path, error)),
        }
    }

    /// Returns the tree changed to hold `snapshot`; on failure, what is to be removed as well.
    pub(super) fn roll(
        &self,
        tree: Tree,
        snapshot: &Arc<Snapshot>,
        rest: Rest<'_>,
    ) -> Result<Tree, (PathBuf, StoreError)> {
        let changes = tree.holds.changes_to(snapshot);
        let rolled = TreeEditor::open(&self.volume, &tree.path, (self.link, rest))
            .and_then(|mut editor| editor.apply(&changes));
        let holds = Arc::clone(snapshot);
        match rolled {
            Ok(()) => Ok(Tree { holds, ..tree }),
            Err(error) => Err((tree.path, error)),
        }
    }

    /// Returns whether the deploy's tree stands in its place and is whole.
    pub(super) fn stands_whole(
        &self,
        id: DeployId,
        snapshot: &Snapshot,
    ) -> Result<bool, StoreError> {
        let place = self.volume.tree_path(id);
        if !place.is_dir() {
            return Ok(false);
        }
        let faults = tree::compare(&self.volume, &place, snapshot)?;
        if let Some(first) = faults.first() {
            tracing::warn!(deploy.id = %id, faults = faults.len(), ?first, "a tree is not whole and is made anew");
        }
        Ok(faults.is_empty())
    }
}

/// Moves `tree` to `place`, and returns where that put what stood there.
fn put_in_place(tree: &Path, place: &Path) -> io::Result<Option<PathBuf>> {
    match fs::rename(tree, place) {
        Ok(()) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        Err(error) => return Err(error),
    }
    // Exchanged in one step, so that whoever reads through the symlink finds a tree at any instant.
    rustix::fs::renameat_with(CWD, tree, CWD, place, RenameFlags::EXCHANGE)?;
    Ok(Some(tree.to_owned()))
}
