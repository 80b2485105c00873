//! The files of one deploy, as an immutable snapshot.
//!
//! A [`Snapshot`] never changes: a commit makes the next one from it, and the two share everything
//! that did not change. Making the next snapshot, asking for a path and asking for a folder cost
//! O(log files); nothing here reads the volume.
//!
//! Each file knows the second in which it last changed at its path, for `Last-Modified`. Every change
//! comes later than all that was told before, also when two come within one second. Where an address
//! may mean another file than before, since a page was removed or somebody went back to an older
//! deploy, every file counts as changed: a visitor who asks by time alone is never told that nothing
//! changed when something did.

use std::ops::Bound;

use imbl::{OrdMap, ordmap::DiffItem};
use onsave_protocol::{Changeset, DeployId, FileEntry, SitePath, manifest::PathConflict};

/// Every file of one deploy.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    deploy_id: Option<DeployId>,
    files: OrdMap<SitePath, Placed>,
    total_bytes: u64,
    /// No file counts as older than this; Unix time in seconds.
    not_before: u32,
    /// The latest time that any file has, or had.
    latest: u32,
}

/// A file at its path, and since when.
#[derive(Debug, Clone, Copy)]
struct Placed {
    entry: FileEntry,
    /// Unix time in seconds; until 2106.
    since: u32,
}

/// The same file is the same whenever it came: differences between deploys are of bytes.
impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry
    }
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
        self.files.get(path).map(|placed| &placed.entry)
    }

    /// Returns what stands at `path`, and the Unix time in seconds since when it does, at the least.
    #[must_use]
    pub fn get_dated(&self, path: &str) -> Option<(FileEntry, u64)> {
        let placed = self.files.get(path)?;
        Some((placed.entry, placed.since.max(self.not_before).into()))
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
        self.files
            .iter()
            .map(|(path, placed)| (path, &placed.entry))
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
        let now = self.moment_after(id.unix_ms());
        let mut changes = Changes::default();
        for path in &changeset.removes {
            // A path that is removed and put is put: the puts come second.
            if !changeset.puts.contains_key(path) && next.remove(path.as_str(), now) {
                changes.removed.push(path.clone());
            }
        }
        for (path, entry) in &changeset.puts {
            match next.put(path.clone(), *entry, now) {
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
        let now = self.moment_after(id.unix_ms());
        for path in &changes.removed {
            next.remove(path.as_str(), now);
        }
        for (path, entry) in changes.puts() {
            next.put(path.clone(), *entry, now);
        }
        next
    }

    /// Returns `target` as it is when it is current after this snapshot, from `now_unix_ms` on.
    ///
    /// Every file counts as changed then: what was served in between is not told from here.
    pub(crate) fn returned_to(&self, target: &Self, now_unix_ms: u64) -> Self {
        let now = self.moment_after(now_unix_ms);
        Self {
            not_before: now,
            latest: now,
            ..target.clone()
        }
    }

    /// Returns this snapshot with every file changed in the deploy's own second, as after going back.
    pub(crate) fn all_changed(mut self) -> Self {
        let id = self.deploy_id.map_or(0, DeployId::unix_ms);
        self.not_before = self.latest.max(seconds(id));
        self.latest = self.not_before;
        self
    }

    /// Returns the second of a change that comes now: later than all before it.
    fn moment_after(&self, now_unix_ms: u64) -> u32 {
        seconds(now_unix_ms).max(self.latest.saturating_add(1))
    }

    /// Returns what turns this snapshot into `other`.
    ///
    /// The cost grows with the difference when one was made from the other, however many steps ago.
    pub(crate) fn changes_to(&self, other: &Self) -> Changes {
        let mut changes = Changes::default();
        for item in self.files.diff(&other.files) {
            match item {
                DiffItem::Add(path, placed) => changes.added.push((path.clone(), placed.entry)),
                DiffItem::Update { new, .. } => changes.changed.push((new.0.clone(), new.1.entry)),
                DiffItem::Remove(path, _) => changes.removed.push(path.clone()),
            }
        }
        changes
    }

    fn put(&mut self, path: SitePath, entry: FileEntry, now: u32) -> Option<FileEntry> {
        let before = self.files.get(path.as_str()).copied();
        if before.is_some_and(|before| before.entry == entry) {
            return Some(entry);
        }
        self.files.insert(path, Placed { entry, since: now });
        self.latest = now;
        self.total_bytes += entry.size;
        self.total_bytes -= before.map_or(0, |before| before.entry.size);
        before.map(|before| before.entry)
    }

    fn remove(&mut self, path: &str, now: u32) -> bool {
        let before = self.files.remove(path);
        if before.is_some() && may_hide_another(path) {
            self.not_before = now;
            self.latest = now;
        }
        self.total_bytes -= before.map_or(0, |before| before.entry.size);
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

/// Returns whether another file may be found at the address of this one when it is gone: an address
/// without an extension is looked for under several names.
fn may_hide_another(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.strip_suffix(".html").is_some() || !name.contains('.')
}

fn seconds(unix_ms: u64) -> u32 {
    u32::try_from(unix_ms / 1_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use onsave_protocol::{Manifest, Sha256Digest};
    use proptest::prelude::*;

    use super::*;

    fn id() -> DeployId {
        DeployId::after(None, 1, 1)
    }

    fn entry(content: u8) -> FileEntry {
        FileEntry {
            digest: Sha256Digest::of(&[content]),
            size: u64::from(content),
        }
    }

    fn path() -> impl Strategy<Value = SitePath> {
        "[ab](/[ab0-]){0,2}".prop_map(|text| SitePath::parse(&text).unwrap())
    }

    fn changesets() -> impl Strategy<Value = Vec<Changeset>> {
        let puts = prop::collection::btree_map(path(), (0_u8..4).prop_map(entry), 0..6);
        let removes = prop::collection::btree_set(path(), 0..4);
        let changeset = (puts, removes).prop_map(|(puts, removes)| Changeset { puts, removes });
        prop::collection::vec(changeset, 1..8)
    }

    fn manifest(snapshot: &Snapshot) -> Manifest {
        let files = snapshot.iter().map(|(path, entry)| (path.clone(), *entry));
        files.collect()
    }

    proptest! {
        #[test]
        fn a_snapshot_follows_the_manifest(changesets in changesets()) {
            let mut snapshot = Snapshot::default();
            let mut history = vec![snapshot.clone()];
            for changeset in changesets {
                let mut expected = manifest(&snapshot);
                changeset.apply(&mut expected);
                let Ok((next, changes)) = snapshot.changed(id(), &changeset) else {
                    prop_assert!(expected.check_tree().is_err());
                    continue;
                };
                prop_assert_eq!(expected.check_tree(), Ok(()));
                prop_assert_eq!(&manifest(&next), &expected);
                prop_assert_eq!(next.total_bytes(), expected.total_bytes());
                prop_assert_eq!(manifest(&snapshot.replayed(id(), &changes)), expected);
                prop_assert_eq!(&snapshot.changes_to(&next), &changes);
                snapshot = next;
                history.push(snapshot.clone());
            }
            for before in &history {
                let changes = before.changes_to(&snapshot);
                prop_assert_eq!(manifest(&before.replayed(id(), &changes)), manifest(&snapshot));
            }
        }

        #[test]
        fn a_folder_is_what_files_lie_in(changesets in changesets(), folder in path()) {
            let mut snapshot = Snapshot::default();
            for changeset in changesets {
                if let Ok((next, _)) = snapshot.changed(id(), &changeset) {
                    snapshot = next;
                }
            }
            let inside = snapshot.iter().any(|(path, _)| path.is_inside(folder.as_str()));
            prop_assert_eq!(snapshot.has_folder(folder.as_str()), inside);
        }
    }

    #[test]
    fn a_file_knows_since_when_it_is_as_it_is() {
        let path = SitePath::parse("a").unwrap();
        let put = |content| Changeset {
            puts: [(path.clone(), entry(content))].into(),
            ..Changeset::default()
        };
        let at = |unix_ms| DeployId::after(None, unix_ms, 1);
        let since = |snapshot: &Snapshot| snapshot.get_dated("a").unwrap().1;
        let (first, _) = Snapshot::default().changed(at(10_500), &put(1)).unwrap();
        assert_eq!(since(&first), 10);
        let (same, _) = first.changed(at(10_700), &put(1)).unwrap();
        assert_eq!(since(&same), 10, "nothing changed");
        let (second, _) = same.changed(at(10_900), &put(2)).unwrap();
        assert_eq!(since(&second), 11, "it changed within the second");
        let (third, changes) = second.changed(at(30_000), &put(1)).unwrap();
        assert_eq!(since(&third), 30, "old bytes, and new here");
        assert_eq!(since(&second.replayed(at(30_000), &changes)), 30);

        let back = third.returned_to(&second, 40_000);
        assert_eq!((since(&back), back.deploy_id()), (40, second.deploy_id()));
        assert_eq!(back.get("a"), second.get("a"));
        assert_eq!(since(&third.returned_to(&second, 30_100)), 31);
        // The bytes of the third and the first are the same, but those of what was between are not.
        let there_and_back = third
            .returned_to(&second, 40_000)
            .returned_to(&first, 50_000);
        assert_eq!(since(&there_and_back), 50);
        let later = at(60_000);
        let (fourth, _) = back.changed(later, &Changeset::default()).unwrap();
        assert_eq!(since(&fourth), 40, "also in a deploy that is made then");
    }

    #[test]
    fn what_comes_where_another_was_is_newer() {
        let path = |text: &str| SitePath::parse(text).unwrap();
        let put = |text: &str, content| Changeset {
            puts: [(path(text), entry(content))].into(),
            ..Changeset::default()
        };
        let gone = |text: &str| Changeset {
            removes: [path(text)].into(),
            ..Changeset::default()
        };
        let at = |unix_ms| DeployId::after(None, unix_ms, 1);
        let (first, _) = Snapshot::default()
            .changed(at(10_000), &put("a/index.html", 1))
            .unwrap();
        // The address `/a` may mean either, and means another one now, within the second.
        let (second, _) = first.changed(at(10_200), &put("a.html", 2)).unwrap();
        assert_eq!(second.get_dated("a.html").unwrap().1, 11);
        let (third, changes) = second.changed(at(10_400), &gone("a.html")).unwrap();
        assert_eq!(third.get_dated("a/index.html").unwrap().1, 12);
        let replayed = second.replayed(at(10_400), &changes);
        assert_eq!(replayed.get_dated("a/index.html").unwrap().1, 12);
        let (fourth, _) = third.changed(at(10_600), &put("a.html", 3)).unwrap();
        assert_eq!(fourth.get_dated("a.html").unwrap().1, 13);
        // An asset hides nothing.
        let (fifth, _) = fourth.changed(at(20_000), &put("b.css", 1)).unwrap();
        let (sixth, _) = fifth.changed(at(30_000), &gone("b.css")).unwrap();
        assert_eq!(sixth.get_dated("a.html").unwrap().1, 13);
    }

    #[test]
    fn many_files_share_what_did_not_change() {
        let puts = (0..20_000).map(|n| {
            let path = SitePath::parse(&format!("folder-{}/page-{n}", n % 100)).unwrap();
            (path, entry(1))
        });
        let all = Changeset {
            puts: puts.collect(),
            ..Changeset::default()
        };
        let (before, _) = Snapshot::default().changed(id(), &all).unwrap();
        let page = SitePath::parse("folder-7/page-7").unwrap();
        let new = SitePath::parse("folder-7/new").unwrap();
        let gone = SitePath::parse("folder-9/page-9").unwrap();
        let one = Changeset {
            puts: [(page.clone(), entry(2)), (new.clone(), entry(3))].into(),
            removes: [gone.clone()].into(),
        };
        let (after, changes) = before.changed(id(), &one).unwrap();
        assert_eq!(changes.added, [(new, entry(3))]);
        assert_eq!(changes.changed, [(page, entry(2))]);
        assert_eq!(changes.removed, [gone]);
        assert_eq!(before.changes_to(&after), changes);
        assert_eq!(after.len(), 20_000);
        assert_eq!(after.total_bytes(), 20_000 - 1 + 1 + 3);
    }
}
