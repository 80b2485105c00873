//! One tree: a deploy as plain files, each a hard link to its object.
//!
//! Makes, changes, compares and removes trees; knows nothing of which deploy is current. A tree is
//! only ever changed while it stands in `staging/`. Paths are taken relative to an open folder,
//! since a site path may be as long as the system takes for a whole path, and no folder of it stays
//! open while another is worked on, since it may be deeper than a process may have files open.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use onsave_protocol::{FileEntry, Sha256Digest, SitePath, digest::Hasher};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use super::{StoreError, volume::Volume};
use crate::snapshot::{Changes, Snapshot};

/// Makes one hard link: the object's name below `objects/`, the folder and the name there.
///
/// A parameter, because what a file system does at its limit of links cannot be had on every one.
pub(super) type LinkStep = fn(&File, &str, &OwnedFd, &str) -> rustix::io::Result<()>;

/// The step that asks the system.
pub(super) fn link(
    objects: &File,
    object: &str,
    folder: &OwnedFd,
    name: &str,
) -> rustix::io::Result<()> {
    rustix::fs::linkat(objects, object, folder, name, AtFlags::empty())
}

/// Changes to a tree between two rests.
///
/// A rest costs about as much as a durable save; this many links cost some ten times that.
const SLICE: u32 = 128;

/// What is done between two slices of changes to a tree, with the folder that was changed last.
pub(super) type Rest<'a> = &'a dyn Fn(&OwnedFd);

/// A tree in `staging/` that is being changed.
pub(super) struct TreeEditor<'a> {
    volume: &'a Volume,
    link: LinkStep,
    path: &'a Path,
    rest: Rest<'a>,
    /// Changes since the last rest.
    changes: u32,
    root: OwnedFd,
    /// The folder that was used last: the next path most often lies in it as well.
    open: Option<(String, OwnedFd)>,
}

impl<'a> TreeEditor<'a> {
    /// Opens the tree at `path`; `rest` is called now and then while it is changed.
    pub(super) fn open(
        volume: &'a Volume,
        path: &'a Path,
        (link, rest): (LinkStep, Rest<'a>),
    ) -> Result<Self, StoreError> {
        Ok(Self {
            volume,
            link,
            path,
            rest,
            changes: 0,
            root: open_root(path)?,
            open: None,
        })
    }

    /// Makes the tree of `snapshot` in an empty folder.
    pub(super) fn fill(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        snapshot
            .iter()
            .try_for_each(|(path, entry)| self.add(path, entry))
    }

    /// Makes `changes`; folders that become empty go.
    pub(super) fn apply(&mut self, changes: &Changes) -> Result<(), StoreError> {
        // Removals first: a file may become a folder, and the other way round.
        for path in &changes.removed {
            self.remove_file(path)?;
            self.remove_empty_folders(path)?;
        }
        for (path, entry) in &changes.changed {
            self.remove_file(path)?;
            self.add(path, entry)?;
        }
        for (path, entry) in &changes.added {
            self.add(path, entry)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &SitePath, entry: &FileEntry) -> Result<(), StoreError> {
        let (link, objects) = (self.link, self.volume.objects());
        let object = Volume::object_name(&entry.digest);
        let name = path.file_name();
        let folder = self.folder(path)?;
        let made = match link(objects, &object, folder, name) {
            // As many links as one file may have (65,000 on ext4).
            Err(Errno::MLINK) => copy(objects, &object, folder, name),
            made => made.map_err(io::Error::from),
        };
        made.map_err(StoreError::io("link", self.path.join(path.as_str())))?;
        self.note_change();
        Ok(())
    }

    fn note_change(&mut self) {
        self.changes += 1;
        if self.changes >= SLICE
            && let Some((_, folder)) = &self.open
        {
            self.changes = 0;
            (self.rest)(folder);
        }
    }

    fn remove_file(&mut self, path: &SitePath) -> Result<(), StoreError> {
        let name = path.file_name();
        let folder = self.folder(path)?;
        rustix::fs::unlinkat(folder, name, AtFlags::empty())
            .map_err(StoreError::io("remove", self.path.join(path.as_str())))?;
        self.note_change();
        Ok(())
    }

    fn remove_empty_folders(&mut self, path: &SitePath) -> Result<(), StoreError> {
        let folders: Vec<&str> = path.folders().collect();
        for folder in folders.into_iter().rev() {
            match rustix::fs::unlinkat(&self.root, folder, AtFlags::REMOVEDIR) {
                Ok(()) => self.open = None,
                Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
                Err(error) => {
                    return Err(StoreError::io("remove", self.path.join(folder))(error));
                }
            }
        }
        Ok(())
    }

    /// Returns the folder that `path` lies in, made when it is not there.
    fn folder(&mut self, path: &SitePath) -> Result<&OwnedFd, StoreError> {
        let name = path.folders().last().unwrap_or(".");
        let open = match self.open.take() {
            Some(open) if open.0 == name => open,
            _ => (name.to_owned(), self.open_folder(path, name)?),
        };
        Ok(&self.open.insert(open).1)
    }

    fn open_folder(&self, path: &SitePath, name: &str) -> Result<OwnedFd, StoreError> {
        match open_in(&self.root, name) {
            Err(Errno::NOENT) => {}
            opened => return opened.map_err(StoreError::io("open", self.path.join(name))),
        }
        for folder in path.folders() {
            match rustix::fs::mkdirat(&self.root, folder, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => {
                    return Err(StoreError::io("create", self.path.join(folder))(error));
                }
            }
        }
        open_in(&self.root, name).map_err(StoreError::io("open", self.path.join(name)))
    }
}

/// How a tree differs from its deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TreeFault {
    /// Something stands in the tree that the deploy does not have.
    Extra(String),
    /// A file is not the deploy's: other bytes, or no plain file.
    Differs(String),
    /// So many files of the deploy are not in the tree.
    Missing(usize),
}

/// Returns how the tree at `path` differs from `snapshot`.
///
/// A file that is the same inode as its object is taken for it; any other is hashed.
pub(super) fn compare(
    volume: &Volume,
    path: &Path,
    snapshot: &Snapshot,
) -> Result<Vec<TreeFault>, StoreError> {
    let mut faults = Vec::new();
    let mut files = 0;
    walk(path, |entry| {
        let expected = snapshot.get(&entry.path);
        match (entry.kind, expected) {
            (FileType::Directory, _) if snapshot.has_folder(&entry.path) => {}
            (FileType::RegularFile, Some(expected)) => {
                files += 1;
                let same = is_file(volume, entry, &expected.digest);
                if !same.map_err(StoreError::io("compare", path.join(&entry.path)))? {
                    faults.push(TreeFault::Differs(entry.path.clone()));
                }
            }
            (_, None) => faults.push(TreeFault::Extra(entry.path.clone())),
            (_, Some(_)) => {
                files += 1;
                faults.push(TreeFault::Differs(entry.path.clone()));
            }
        }
        Ok(())
    })?;
    if files < snapshot.len() {
        faults.push(TreeFault::Missing(snapshot.len() - files));
    }
    Ok(faults)
}

/// Removes the tree, folder or file at `path`; `rest` is called now and then.
pub(super) fn discard(path: &Path, rest: Rest<'_>) -> Result<(), StoreError> {
    if !path.symlink_metadata().is_ok_and(|stat| stat.is_dir()) {
        return std::fs::remove_file(path).map_err(StoreError::io("remove", path));
    }
    let root = open_root(path)?;
    let mut folders: Vec<String> = Vec::new();
    let mut removed = 0;
    walk(path, |entry| {
        if entry.kind == FileType::Directory {
            folders.push(entry.path.clone());
            return Ok(());
        }
        rustix::fs::unlinkat(entry.folder, entry.name, AtFlags::empty())
            .map_err(StoreError::io("remove", path.join(&entry.path)))?;
        removed += 1;
        if removed % SLICE == 0 {
            rest(entry.folder);
        }
        Ok(())
    })?;
    // A folder is met before those in it.
    for folder in folders.iter().rev() {
        rustix::fs::unlinkat(&root, folder.as_str(), AtFlags::REMOVEDIR)
            .map_err(StoreError::io("remove", path.join(folder)))?;
    }
    std::fs::remove_dir(path).map_err(StoreError::io("remove", path))
}

/// Something that [`walk`] met.
struct Met<'a> {
    /// Relative to the tree.
    path: String,
    name: &'a std::ffi::CStr,
    folder: &'a OwnedFd,
    kind: FileType,
}

fn walk(
    path: &Path,
    mut meet: impl FnMut(&Met<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let root = open_root(path)?;
    let mut pending = vec![String::new()];
    while let Some(folder_path) = pending.pop() {
        let at = || path.join(&folder_path);
        let shown = if folder_path.is_empty() {
            "."
        } else {
            &folder_path
        };
        let folder = open_in(&root, shown).map_err(StoreError::io("open", at()))?;
        let list = Dir::read_from(&folder).map_err(StoreError::io("list", at()))?;
        for entry in list {
            let entry = entry.map_err(StoreError::io("list", at()))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // A name that is no text is in no deploy; shown roughly, it matches none.
            let text = name.to_string_lossy();
            let path = match folder_path.as_str() {
                "" => text.into_owned(),
                folder => format!("{folder}/{text}"),
            };
            let kind = kind_of(&folder, &entry).map_err(StoreError::io("inspect", at()))?;
            let folder = &folder;
            meet(&Met {
                path: path.clone(),
                name,
                folder,
                kind,
            })?;
            if kind == FileType::Directory {
                pending.push(path);
            }
        }
    }
    Ok(())
}

/// Some file systems do not tell the type with the name.
fn kind_of(folder: &OwnedFd, entry: &rustix::fs::DirEntry) -> rustix::io::Result<FileType> {
    match entry.file_type() {
        FileType::Unknown => {
            let stat = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(FileType::from_raw_mode(stat.st_mode))
        }
        kind => Ok(kind),
    }
}

fn is_file(volume: &Volume, met: &Met<'_>, digest: &Sha256Digest) -> io::Result<bool> {
    let object = Volume::object_name(digest);
    let stat = rustix::fs::statat(met.folder, met.name, AtFlags::SYMLINK_NOFOLLOW)?;
    match rustix::fs::statat(volume.objects(), object.as_str(), AtFlags::empty()) {
        Ok(object) if (object.st_dev, object.st_ino) == (stat.st_dev, stat.st_ino) => {
            return Ok(true);
        }
        Ok(_) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(met.folder, met.name, flags, Mode::empty())?;
    Ok(hash(&mut File::from(file))? == *digest)
}

/// Returns the digest of everything that `file` holds.
pub(super) fn hash(file: &mut File) -> io::Result<Sha256Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match io::Read::read(file, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn copy(objects: &File, object: &str, folder: &OwnedFd, name: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut from = File::from(rustix::fs::openat(objects, object, flags, Mode::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut to = File::from(rustix::fs::openat(
        folder,
        name,
        flags,
        Mode::from_raw_mode(0o444),
    )?);
    io::copy(&mut from, &mut to).map(|_| ())
}

fn open_root(path: &Path) -> Result<OwnedFd, StoreError> {
    rustix::fs::open(path, FOLDER, Mode::empty()).map_err(StoreError::io("open", path))
}

fn open_in(root: &OwnedFd, folder: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(root, folder, FOLDER, Mode::empty())
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

    use onsave_protocol::{Changeset, DeployId};

    use super::*;

    /// A volume with one object, `hello`, and an empty folder for a tree.
    struct Fixture {
        _folder: tempfile::TempDir,
        volume: Volume,
        tree: PathBuf,
        hello: FileEntry,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (volume, _) = Volume::open(folder.path()).unwrap();
            let hello = FileEntry {
                digest: Sha256Digest::of(b"hello"),
                size: 5,
            };
            fs::write(volume.object_path(&hello.digest), "hello").unwrap();
            let tree = volume.new_staging_path("tree");
            fs::create_dir(&tree).unwrap();
            Self {
                _folder: folder,
                volume,
                tree,
                hello,
            }
        }

        /// A deploy that has `hello` at each path.
        fn snapshot(&self, paths: &[&str]) -> Snapshot {
            let puts = paths
                .iter()
                .map(|path| (SitePath::parse(path).unwrap(), self.hello))
                .collect();
            let changeset = Changeset {
                puts,
                ..Changeset::default()
            };
            let id = DeployId::after(None, 1, 1);
            Snapshot::default().changed(id, &changeset).unwrap().0
        }

        fn fill(&self, snapshot: &Snapshot, link: LinkStep) {
            TreeEditor::open(&self.volume, &self.tree, (link, &|_| {}))
                .and_then(|mut editor| editor.fill(snapshot))
                .unwrap();
        }

        fn faults(&self, snapshot: &Snapshot) -> Vec<TreeFault> {
            compare(&self.volume, &self.tree, snapshot).unwrap()
        }
    }

    fn at_the_limit(_: &File, _: &str, _: &OwnedFd, _: &str) -> rustix::io::Result<()> {
        Err(Errno::MLINK)
    }

    #[test]
    fn a_file_at_its_limit_of_links_is_copied() {
        let fixture = Fixture::new();
        let snapshot = fixture.snapshot(&["a", "b/c"]);
        fixture.fill(&snapshot, at_the_limit);
        let copy = fixture.tree.join("b/c");
        assert_eq!(fs::read(&copy).unwrap(), b"hello");
        let object = fs::metadata(fixture.volume.object_path(&fixture.hello.digest)).unwrap();
        assert_ne!(fs::metadata(&copy).unwrap().ino(), object.ino());
        assert_eq!(object.nlink(), 1);
        assert_eq!(fixture.faults(&snapshot), []);
    }

    #[test]
    fn another_failure_to_link_is_a_failure() {
        let fixture = Fixture::new();
        let snapshot = fixture.snapshot(&["a"]);
        fs::remove_file(fixture.volume.object_path(&fixture.hello.digest)).unwrap();
        let mut editor = TreeEditor::open(&fixture.volume, &fixture.tree, (link, &|_| {})).unwrap();
        let error = editor.fill(&snapshot).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Io {
                    operation: "link",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn the_longest_path_and_a_very_deep_one_have_their_place() {
        let fixture = Fixture::new();
        let segment = "s".repeat(255);
        let longest = format!(
            "{}/{}",
            vec![segment.as_str(); 15].join("/"),
            "t".repeat(255)
        );
        let longest = format!("{longest}{}", &"/u".repeat(4096)[..4096 - longest.len()]);
        let longest = longest.strip_suffix('/').unwrap_or(&longest);
        // Deeper than a process may have files open by default (1,024).
        let deep = vec!["d"; 1_100].join("/");
        let snapshot = fixture.snapshot(&[longest, &deep, "a"]);
        fixture.fill(&snapshot, link);
        assert_eq!(fixture.faults(&snapshot), []);

        let mut editor = TreeEditor::open(&fixture.volume, &fixture.tree, (link, &|_| {})).unwrap();
        let next = fixture.snapshot(&["a"]);
        editor.apply(&snapshot.changes_to(&next)).unwrap();
        assert_eq!(fixture.faults(&next), []);
        assert_eq!(fs::read_dir(&fixture.tree).unwrap().count(), 1);

        editor.apply(&next.changes_to(&snapshot)).unwrap();
        discard(&fixture.tree, &|_| {}).unwrap();
        assert!(!fixture.tree.exists());
    }

    #[test]
    fn long_work_rests_now_and_then() {
        let fixture = Fixture::new();
        let names: Vec<String> = (0..3 * SLICE).map(|number| format!("f/{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let snapshot = fixture.snapshot(&names);
        let rests = std::cell::Cell::new(0);
        let rest = |_: &OwnedFd| rests.set(rests.get() + 1);
        TreeEditor::open(&fixture.volume, &fixture.tree, (link, &rest))
            .and_then(|mut editor| editor.fill(&snapshot))
            .unwrap();
        assert_eq!(rests.replace(0), 3);
        discard(&fixture.tree, &rest).unwrap();
        assert_eq!(rests.get(), 3);
    }

    #[test]
    fn every_difference_is_found() {
        let fixture = Fixture::new();
        let snapshot = fixture.snapshot(&["a", "b/c", "d"]);
        fixture.fill(&snapshot, link);
        fs::remove_file(fixture.tree.join("b/c")).unwrap();
        fs::remove_file(fixture.tree.join("d")).unwrap();
        fs::write(fixture.tree.join("d"), "hallo").unwrap();
        fs::create_dir_all(fixture.tree.join("e/f")).unwrap();
        let mut faults = fixture.faults(&snapshot);
        faults.sort_by_key(|fault| format!("{fault:?}"));
        assert_eq!(
            faults,
            [
                TreeFault::Differs("d".into()),
                TreeFault::Extra("e".into()),
                TreeFault::Extra("e/f".into()),
                TreeFault::Missing(1),
            ]
        );
    }
}
