//! The stat index: what each local file's metadata was when its bytes were hashed.
//!
//! Keyed by the local path, which has the same rules as a site path but need not be NFC. Cost in
//! memory: about 130 bytes a file beside the path, whose text is shared with the manifest.
//!
//! A file is taken as unchanged when size, modification time, change time, inode and device are
//! all what they were. Two saves within one tick of the file system's clock can agree in all of
//! them, so git's rule for racily clean entries applies: an entry whose times are not older than
//! the scan that hashed it by [`RACY_MARGIN`] is kept with a stamp that matches nothing
//! ([`Stamp::never`]), and is hashed again when it is next looked at.

use std::{
    collections::{BTreeMap, btree_map},
    fs::Metadata,
    ops::Bound,
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use onsave_protocol::{FileEntry, SitePath};

use crate::site_names::LocalFiles;

/// How much older than the scan a file's times must be to be trusted.
///
/// The coarsest clock in use, that of FAT, ticks every two seconds; a local one every few
/// milliseconds.
pub(super) const RACY_MARGIN: Duration = Duration::from_secs(2);

/// A modification time further ahead of the clock than this was set by hand and says nothing
/// about when the file was written; the change time cannot be set.
const FORGED_AHEAD: Duration = Duration::from_hours(24);

/// A file's metadata, but for its size, in nanoseconds since 1970 and as the kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) modified: i64,
    pub(super) changed: i64,
    pub(super) inode: u64,
    pub(super) device: u64,
}

/// The wall clock when a scan began, before it looked at any file.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanStart(i64);

/// What the index says of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) stamp: Stamp,
    pub(super) entry: FileEntry,
}

impl ScanStart {
    pub(super) fn new(now: SystemTime) -> Self {
        let nanoseconds = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        Self(nanoseconds)
    }
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// Returns a stamp that no file has, so that its entry is hashed again.
    pub(super) const fn never() -> Self {
        Self {
            modified: i64::MIN,
            changed: i64::MIN,
            inode: 0,
            device: 0,
        }
    }

    /// Returns the stamp, or one that matches nothing if a later save could look the same.
    pub(super) fn unless_racy(self, start: ScanStart) -> Self {
        let trusted_before = start.0.saturating_sub(as_i64(RACY_MARGIN));
        let forged_after = start.0.saturating_add(as_i64(FORGED_AHEAD));
        let recently_modified = self.modified >= trusted_before && self.modified <= forged_after;
        if self.changed >= trusted_before || recently_modified {
            Self::never()
        } else {
            self
        }
    }
}

fn nanoseconds(seconds: i64, fraction: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(fraction)
}

fn as_i64(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Local path → stamp, digest and size.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StatIndex {
    files: BTreeMap<SitePath, Indexed>,
}

impl StatIndex {
    pub(super) fn get(&self, local: &str) -> Option<(&SitePath, &Indexed)> {
        self.files.get_key_value(local)
    }

    pub(super) fn insert(&mut self, local: SitePath, indexed: Indexed) -> Option<Indexed> {
        match self.files.entry(local) {
            // The key stays, so that its text remains shared with the manifest's.
            btree_map::Entry::Occupied(mut known) => Some(known.insert(indexed)),
            btree_map::Entry::Vacant(place) => {
                place.insert(indexed);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, local: &str) -> Option<Indexed> {
        self.files.remove(local)
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&SitePath, &Indexed)> {
        self.files.iter()
    }

    /// Returns the files at `path` or, when it is a folder, below it.
    pub(super) fn at_or_below(&self, path: &str) -> Vec<SitePath> {
        let itself = self.files.get_key_value(path).map(|(key, _)| key.clone());
        itself
            .into_iter()
            .chain(self.below(path).cloned())
            .collect()
    }

    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a SitePath> {
        let start = format!("{folder}/");
        self.files
            .range::<str, _>((Bound::Excluded(start.as_str()), Bound::Unbounded))
            .map(|(path, _)| path)
            .take_while(move |path| path.is_inside(folder))
    }
}

impl LocalFiles for StatIndex {
    fn file(&self, local: &str) -> Option<&SitePath> {
        self.files.get_key_value(local).map(|(path, _)| path)
    }

    fn is_folder(&self, local: &str) -> bool {
        self.below(local).next().is_some()
    }
}

impl FromIterator<(SitePath, Indexed)> for StatIndex {
    /// Builds a dense tree: one insertion after the other would leave it half empty.
    fn from_iter<I: IntoIterator<Item = (SitePath, Indexed)>>(files: I) -> Self {
        Self {
            files: files.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use onsave_protocol::Sha256Digest;

    use super::*;

    #[test]
    fn what_lies_below_is_found_among_neighbours() {
        let indexed = Indexed {
            stamp: Stamp::never(),
            entry: FileEntry {
                digest: Sha256Digest::of(b""),
                size: 0,
            },
        };
        let names = ["a", "a-b", "a.html", "a/x", "a/y/z", "a0", "b"];
        let index: StatIndex = names
            .iter()
            .map(|name| (SitePath::parse(name).unwrap(), indexed))
            .collect();
        let found = |path| -> Vec<String> {
            index
                .at_or_below(path)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(found("a"), ["a", "a/x", "a/y/z"]);
        assert_eq!(found("a/y"), ["a/y/z"]);
        assert_eq!(found("b"), ["b"]);
        assert_eq!(found("c"), [""; 0]);
        assert!(index.is_folder("a") && !index.is_folder("b"));
    }

    #[test]
    fn racy_times() {
        const SECOND: i64 = 1_000_000_000;
        let now = 1_000_000 * SECOND;
        let start = ScanStart(now);
        let day = 24 * 60 * 60 * SECOND;
        for (modified, changed, racy) in [
            (now - 3 * SECOND, now - 3 * SECOND, false),
            (now - SECOND, now - SECOND, true),
            (now, now, true),
            (now + SECOND, now + SECOND, true),
            (0, now - SECOND, true),
            (0, now - 3 * SECOND, false),
            (now - SECOND, now - 3 * SECOND, true),
            (now + 2 * day, now - 3 * SECOND, false),
            (now - 3 * SECOND, now + 2 * day, true),
        ] {
            let stamp = Stamp {
                modified,
                changed,
                inode: 1,
                device: 1,
            };
            let expected = if racy { Stamp::never() } else { stamp };
            assert_eq!(stamp.unless_racy(start), expected, "{modified} {changed}");
        }
    }
}
