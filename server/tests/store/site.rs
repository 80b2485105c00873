//! A volume in a temporary folder, and the few steps that every test takes.

use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use onsave_protocol::{Changeset, DeployId, FileEntry, Sha256Digest, SitePath};
use onsave_server::store::{
    Clock, CommitRequest, Committed, DeployNote, Store, StoreError, StoreOptions, verify,
};

/// A clock that the test sets.
#[derive(Debug, Default)]
pub(crate) struct TestClock(pub(crate) AtomicU64);

impl Clock for TestClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A temporary volume.
pub(crate) struct TestVolume {
    folder: tempfile::TempDir,
}

impl TestVolume {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions::new(self.root())
    }

    /// Opens the store, keeping the newest two deploys.
    pub(crate) fn open(&self) -> Store {
        Store::open(StoreOptions {
            keep_deploys: NonZeroUsize::new(2).unwrap(),
            ..self.options()
        })
        .unwrap()
    }

    /// Opens the store with objects swept as soon as no deploy names them.
    pub(crate) fn open_without_grace(&self) -> Store {
        Store::open(StoreOptions {
            keep_deploys: NonZeroUsize::new(2).unwrap(),
            object_grace: Duration::ZERO,
            ..self.options()
        })
        .unwrap()
    }

    pub(crate) fn tree(&self, id: DeployId) -> PathBuf {
        self.path("deploys").join(id.to_string())
    }

    pub(crate) fn object(&self, content: &str) -> PathBuf {
        let hex = entry(content).digest.to_hex();
        self.path("objects").join(&hex[..2]).join(hex)
    }

    /// The deploy that the symlink names, and its files.
    pub(crate) fn served_tree(&self) -> (DeployId, BTreeMap<String, Vec<u8>>) {
        let target = fs::read_link(self.path("current")).unwrap();
        let id = target.strip_prefix("deploys").unwrap().to_str().unwrap();
        (
            DeployId::parse(id).unwrap(),
            files_below(&self.path("current")),
        )
    }

    /// Everything that is in `staging/` below the folder of the run.
    pub(crate) fn staged_leftovers(&self) -> Vec<PathBuf> {
        let runs = fs::read_dir(self.path("staging")).unwrap();
        runs.flat_map(|run| fs::read_dir(run.unwrap().path()).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    /// Checks the closed volume, and that nothing at all is found.
    pub(crate) fn assert_whole(&self) {
        let report = verify(self.root()).unwrap();
        assert!(report.findings.is_empty(), "{report}");
    }
}

pub(crate) fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                files.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

pub(crate) fn folders_below(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned()];
    let mut at = 0;
    while let Some(folder) = folders.get(at).cloned() {
        let entries = fs::read_dir(folder).unwrap();
        folders.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_dir()),
        );
        at += 1;
    }
    folders
}

pub(crate) fn path(text: &str) -> SitePath {
    SitePath::parse(text).unwrap()
}

pub(crate) fn entry(content: &str) -> FileEntry {
    FileEntry {
        digest: Sha256Digest::of(content.as_bytes()),
        size: content.len() as u64,
    }
}

pub(crate) fn upload(store: &Store, content: &str) -> Result<FileEntry, StoreError> {
    let entry = entry(content);
    let mut writer = store.stage(entry)?;
    writer.write(content.as_bytes())?;
    writer.finish()?;
    Ok(entry)
}

pub(crate) fn changeset(puts: &[(&str, &str)], removes: &[&str]) -> Changeset {
    Changeset {
        puts: puts
            .iter()
            .map(|(name, content)| (path(name), entry(content)))
            .collect(),
        removes: removes.iter().map(|name| path(name)).collect(),
    }
}

pub(crate) fn request(store: &Store, changeset: Changeset) -> CommitRequest {
    CommitRequest {
        base: store.current().deploy_id(),
        changeset,
        note: DeployNote::default(),
    }
}

/// Uploads and commits on whatever is current.
pub(crate) fn try_publish(
    store: &Store,
    puts: &[(&str, &str)],
    removes: &[&str],
) -> Result<Committed, StoreError> {
    for (_, content) in puts {
        upload(store, content)?;
    }
    store.commit(request(store, changeset(puts, removes)))
}

pub(crate) fn publish(store: &Store, puts: &[(&str, &str)], removes: &[&str]) -> DeployId {
    try_publish(store, puts, removes).unwrap().deploy_id
}

/// What is served, read through the snapshot and the objects.
pub(crate) fn served(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let snapshot = store.current();
    let read = |entry: &FileEntry| {
        let mut bytes = Vec::new();
        let mut file = store.open_object(&entry.digest).unwrap();
        io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, entry.size);
        assert_eq!(Sha256Digest::of(&bytes), entry.digest);
        bytes
    };
    snapshot
        .iter()
        .map(|(path, entry)| (path.to_string(), read(entry)))
        .collect()
}

pub(crate) fn expected(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()))
        .collect()
}

pub(crate) fn ids(store: &Store) -> Vec<DeployId> {
    store
        .deploys()
        .iter()
        .map(|deploy| deploy.deploy_id)
        .collect()
}

pub(crate) fn with_clock(options: StoreOptions, clock: &Arc<TestClock>) -> StoreOptions {
    StoreOptions {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        ..options
    }
}
