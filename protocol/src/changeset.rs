//! What turns one manifest into the next, and the pure diff that finds it.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    manifest::{FileEntry, Manifest},
    site_path::SitePath,
};

/// Puts and removes that turn a base manifest into another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changeset {
    /// Files that are new or have other bytes.
    pub puts: BTreeMap<SitePath, FileEntry>,
    /// Files that are gone.
    pub removes: BTreeSet<SitePath>,
}

impl Changeset {
    /// Returns whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.removes.is_empty()
    }

    /// Returns how many paths change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.puts.len() + self.removes.len()
    }

    /// Changes `manifest` as this changeset says.
    ///
    /// Removing what is not there changes nothing.
    pub fn apply(&self, manifest: &mut Manifest) {
        for path in &self.removes {
            manifest.remove(path.as_str());
        }
        for (path, entry) in &self.puts {
            manifest.insert(path.clone(), *entry);
        }
    }
}

/// Returns the changeset that turns `from` into `to`, reading each manifest once.
#[must_use]
pub fn diff(from: &Manifest, to: &Manifest) -> Changeset {
    let mut changeset = Changeset::default();
    let mut old = from.iter().peekable();
    let mut new = to.iter().peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changeset,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old_path, _)), Some((new_path, _))) => old_path.cmp(new_path),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        changeset.note(before, after);
    }
}

/// Returns the changeset that turns `from` into `to`, looking only at `paths`.
///
/// Equals [`diff`] when the two manifests agree on every path that is not in `paths`; its cost
/// grows with `paths`, not with the site.
pub fn diff_paths<'a>(
    from: &Manifest,
    to: &Manifest,
    paths: impl IntoIterator<Item = &'a SitePath>,
) -> Changeset {
    let mut changeset = Changeset::default();
    for path in paths {
        let before = from.get(path.as_str()).map(|entry| (path, entry));
        let after = to.get(path.as_str()).map(|entry| (path, entry));
        changeset.note(before, after);
    }
    changeset
}

impl Changeset {
    fn note(
        &mut self,
        before: Option<(&SitePath, &FileEntry)>,
        after: Option<(&SitePath, &FileEntry)>,
    ) {
        match (before, after) {
            (Some((_, old)), Some((_, new))) if old.digest == new.digest => {}
            (_, Some((path, new))) => {
                self.puts.insert(path.clone(), *new);
            }
            (Some((path, _)), None) => {
                self.removes.insert(path.clone());
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Sha256Digest;

    fn manifests() -> impl Strategy<Value = Manifest> {
        prop::collection::btree_map("[abc](/[abc]){0,2}", 0_u8..4, 0..12).prop_map(|files| {
            files
                .into_iter()
                .map(|(path, content)| {
                    let entry = FileEntry {
                        digest: Sha256Digest::of(&[content]),
                        size: u64::from(content),
                    };
                    (SitePath::parse(&path).unwrap(), entry)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn applying_the_diff_gives_the_other(from in manifests(), to in manifests()) {
            let changeset = diff(&from, &to);
            let mut applied = from.clone();
            changeset.apply(&mut applied);
            prop_assert_eq!(&applied, &to);
            changeset.apply(&mut applied);
            prop_assert_eq!(&applied, &to, "applying twice changes nothing more");
        }

        #[test]
        fn equal_manifests_have_no_diff(manifest in manifests()) {
            prop_assert!(diff(&manifest, &manifest).is_empty());
        }

        #[test]
        fn the_diff_is_minimal(from in manifests(), to in manifests()) {
            let changeset = diff(&from, &to);
            for (path, entry) in &changeset.puts {
                prop_assert_ne!(from.get(path.as_str()).map(|e| e.digest), Some(entry.digest));
                prop_assert!(!changeset.removes.contains(path));
            }
            for path in &changeset.removes {
                prop_assert!(from.get(path.as_str()).is_some());
                prop_assert!(to.get(path.as_str()).is_none());
            }
        }

        #[test]
        fn the_narrow_diff_equals_the_wide_one(from in manifests(), to in manifests()) {
            let touched: Vec<SitePath> =
                from.iter().chain(to.iter()).map(|(path, _)| path.clone()).collect();
            prop_assert_eq!(diff_paths(&from, &to, &touched), diff(&from, &to));
        }
    }
}
