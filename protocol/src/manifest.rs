//! The manifest: site path → digest and size of every file of one tree.

use std::{collections::BTreeMap, ops::Bound};

use crate::{digest::Hasher, digest::Sha256Digest, site_path::SitePath};

/// What a manifest says of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileEntry {
    /// SHA-256 of the file's bytes.
    pub digest: Sha256Digest,
    /// The file's length in bytes.
    pub size: u64,
}

/// Every file of one tree, ordered by site path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    files: BTreeMap<SitePath, FileEntry>,
}

/// Two entries of one tree that cannot both be files: one is a folder of the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} is a file, and also a folder that holds {inside}")]
pub struct PathConflict {
    /// The path that is a file.
    pub file: SitePath,
    /// A path that needs `file` to be a folder.
    pub inside: SitePath,
}

impl Manifest {
    /// Returns a manifest without files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns what the manifest says of `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&FileEntry> {
        self.files.get(path)
    }

    /// Sets the entry of `path`, and returns what stood there.
    pub fn insert(&mut self, path: SitePath, entry: FileEntry) -> Option<FileEntry> {
        self.files.insert(path, entry)
    }

    /// Removes the entry of `path`, and returns it.
    pub fn remove(&mut self, path: &str) -> Option<FileEntry> {
        self.files.remove(path)
    }

    /// Returns the files in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&SitePath, &FileEntry)> {
        self.files.iter()
    }

    /// Returns the files whose paths come after `path`, in their order; all where there is none.
    pub fn after(&self, path: Option<&SitePath>) -> impl Iterator<Item = (&SitePath, &FileEntry)> {
        let start = path.map_or(Bound::Unbounded, Bound::Excluded);
        self.files.range::<SitePath, _>((start, Bound::Unbounded))
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
        self.files.values().map(|entry| entry.size).sum()
    }

    /// Returns a digest of all paths and digests, equal exactly for equal trees.
    #[must_use]
    pub fn tree_digest(&self) -> Sha256Digest {
        let mut hasher = Hasher::new();
        for (path, entry) in &self.files {
            // No path holds a NUL, so that the boundary is unambiguous.
            hasher.update(path.as_str().as_bytes());
            hasher.update(&[0]);
            hasher.update(entry.digest.as_bytes());
        }
        hasher.finish()
    }

    /// Checks that no file is also a folder of another.
    ///
    /// # Errors
    ///
    /// The first [`PathConflict`] in the order of paths.
    pub fn check_tree(&self) -> Result<(), PathConflict> {
        for path in self.files.keys() {
            for folder in path.folders() {
                if let Some((file, _)) = self.files.get_key_value(folder) {
                    return Err(PathConflict {
                        file: file.clone(),
                        inside: path.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

impl FromIterator<(SitePath, FileEntry)> for Manifest {
    fn from_iter<I: IntoIterator<Item = (SitePath, FileEntry)>>(files: I) -> Self {
        Self {
            files: files.into_iter().collect(),
        }
    }
}

impl IntoIterator for Manifest {
    type Item = (SitePath, FileEntry);
    type IntoIter = std::collections::btree_map::IntoIter<SitePath, FileEntry>;

    fn into_iter(self) -> Self::IntoIter {
        self.files.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        paths
            .iter()
            .map(|path| {
                let entry = FileEntry {
                    digest: Sha256Digest::of(path.as_bytes()),
                    size: 1,
                };
                (SitePath::parse(path).unwrap(), entry)
            })
            .collect()
    }

    #[test]
    fn a_file_that_is_also_a_folder_is_a_conflict() {
        assert_eq!(manifest(&["a", "a-b", "ab/c"]).check_tree(), Ok(()));
        let conflict = manifest(&["a", "a-b", "a/b/c"]).check_tree().unwrap_err();
        assert_eq!(conflict.file.as_str(), "a");
        assert_eq!(conflict.inside.as_str(), "a/b/c");
    }

    #[test]
    fn tree_digest_tells_trees_apart() {
        let one = manifest(&["a", "b"]);
        assert_eq!(one.tree_digest(), manifest(&["b", "a"]).tree_digest());
        assert_ne!(one.tree_digest(), manifest(&["a"]).tree_digest());
        assert_ne!(one.tree_digest(), Manifest::new().tree_digest());
    }
}
