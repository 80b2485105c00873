//! The immutable snapshot being served, swapped whole at commit.
//!
//! A [`Snapshot`] never changes: a commit makes the next one from it, and the two share everything
//! that did not change. A request takes one snapshot and uses it from start to end, so it sees one
//! whole deploy. Making the next snapshot, asking for a path and asking for a folder cost
//! O(log files); nothing here reads the volume.

use std::ops::Bound;

use imbl::{OrdMap, ordmap::DiffItem};
use onsave_protocol::{Changeset, DeployId, FileEntry, SitePath, manifest::PathConflict};

/// Every file of one deploy.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    deploy_id: Option<DeployId>,
    files: OrdMap<SitePath, FileEntry>,
    total_bytes: u64,
}

/// What really changes between two deploys; unlike a [`Changeset`] it holds no change that leaves
/// things as they are, and tells new files from changed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Files that were not there, in the order of their paths.
    pub(crate) added: Vec<(SitePath, FileEntry)>,
    /// Files that had other bytes, in the order of their paths.
    pub(crate) changed: Vec<(SitePath, FileEntry)>,
    /// Files that are gone, in the order of their paths.
    pub(crate) removed: Vec<SitePath>,
}

impl Changes {
    /// Returns the files that are new or have other bytes.
    pub(crate) fn puts(&self) -> impl Iterator<Item = &(SitePath, FileEntry)> {
        self.added.iter().chain(&self.changed)
    }
}

impl Snapshot {
    /// Returns the deploy that this is; `None` before the first.
    #[must_use]
    pub fn deploy_id(&self) -> Option<DeployId> {
        self.deploy_id
    }

    /// Returns what stands at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&FileEntry> {
        self.files.get(path)
    }

    /// Returns whether any file lies below `folder`, at any depth.
    #[must_use]
    pub fn has_folder(&self, folder: &str) -> bool {
        self.first_inside(folder).is_some()
    }

    /// Returns how many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Returns whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the sum of all sizes, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Returns the files in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&SitePath, &FileEntry)> {
        self.files.iter()
    }

    /// Returns this snapshot changed as `changeset` says, as deploy `id`.
    ///
    /// # Errors
    ///
    /// A [`PathConflict`] when a put would make one path a file and a folder at once.
    pub(crate) fn changed(
        &self,
        id: DeployId,
        changeset: &Changeset,
    ) -> Result<(Self, Changes), PathConflict> {
        let mut next = self.clone();
        next.deploy_id = Some(id);
        let mut changes = Changes::default();
        for path in &changeset.removes {
            // A path that is removed and put is put: the puts come second.
            if !changeset.puts.contains_key(path) && next.remove(path.as_str()) {
                changes.removed.push(path.clone());
            }
        }
        for (path, entry) in &changeset.puts {
            match next.put(path.clone(), *entry) {
                None => changes.added.push((path.clone(), *entry)),
                Some(before) if before != *entry => changes.changed.push((path.clone(), *entry)),
                Some(_) => {}
            }
        }
        for path in changeset.puts.keys() {
            next.check_path(path)?;
        }
        Ok((next, changes))
    }

    /// Returns this snapshot with `changes` made, as deploy `id`.
    ///
    /// For changes that were checked when they were committed.
    pub(crate) fn replayed(&self, id: DeployId, changes: &Changes) -> Self {
        let mut next = self.clone();
        next.deploy_id = Some(id);
        for path in &changes.removed {
            next.remove(path.as_str());
        }
        for (path, entry) in changes.puts() {
            next.put(path.clone(), *entry);
        }
        next
    }

    /// Returns what turns this snapshot into `other`.
    ///
    /// The cost grows with the difference when one was made from the other, however many steps ago.
    pub(crate) fn changes_to(&self, other: &Self) -> Changes {
        let mut changes = Changes::default();
        for item in self.files.diff(&other.files) {
            match item {
                DiffItem::Add(path, entry) => changes.added.push((path.clone(), *entry)),
                DiffItem::Update { new, .. } => changes.changed.push((new.0.clone(), *new.1)),
                DiffItem::Remove(path, _) => changes.removed.push(path.clone()),
            }
        }
        changes
    }

    fn put(&mut self, path: SitePath, entry: FileEntry) -> Option<FileEntry> {
        let before = self.files.insert(path, entry);
        self.total_bytes += entry.size;
        self.total_bytes -= before.map_or(0, |before| before.size);
        before
    }

    fn remove(&mut self, path: &str) -> bool {
        let before = self.files.remove(path);
        self.total_bytes -= before.map_or(0, |before| before.size);
        before.is_some()
    }

    fn check_path(&self, path: &SitePath) -> Result<(), PathConflict> {
        for folder in path.folders() {
            if let Some((file, _)) = self.files.get_key_value(folder) {
                return Err(PathConflict {
                    file: file.clone(),
                    inside: path.clone(),
                });
            }
        }
        match self.first_inside(path.as_str()) {
            Some(inside) => Err(PathConflict {
                file: path.clone(),
                inside: inside.clone(),
            }),
            None => Ok(()),
        }
    }

    fn first_inside(&self, folder: &str) -> Option<&SitePath> {
        // `0` is the character after `/`: everything below the folder, and nothing else, lies
        // between the two.
        let (from, to) = (format!("{folder}/"), format!("{folder}0"));
        self.files
            .range::<_, str>((Bound::Excluded(from.as_str()), Bound::Excluded(to.as_str())))
            .next()
            .map(|(path, _)| path)
    }
}
