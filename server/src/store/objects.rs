//! The objects: the bytes of every file, once, named by their hash.
//!
//! Owns `objects/` and the blobs that wait in `staging/`. A blob is verified while it is written
//! ([`BlobWriter`]), waits under a name that no restart trusts, and becomes an object by rename
//! after its bytes are durable. So whatever stands in `objects/` matched its name and is whole, also
//! after a power cut, which can only lose objects that no deploy names. The names themselves are made
//! durable together, right before the head that needs them ([`Objects::sync_names`]).
//!
//! An object that no deploy names is removed by a [`Sweep`] when nobody claimed it for a
//! while. A claim moves the object's ctime; claims and removals exclude each other, and a claim made
//! while a sweep runs protects the object from that sweep whatever the clock says.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use onsave_protocol::{FileEntry, Sha256Digest};
use rustix::fs::Mode;

use super::{
    StoreError, lock,
    signal::Signal,
    volume::{Volume, entries, remove_leftover, sync_folder},
};

mod blob_writer;

pub use self::blob_writer::BlobWriter;

/// Up to this many blobs are made durable each by its own fsync; for more, one syncfs is cheaper.
const FEW: usize = 16;

/// When so many blobs wait, they become objects without waiting for a commit: bounds the memory
/// that waiting takes, and what a first sync loses when the server is killed.
const MOST_WAITING: usize = 4_096;

/// When the waiting blobs have so many bytes, they become objects without waiting for a commit.
const MOST_WAITING_BYTES: u64 = 256 * 1024 * 1024;

/// Everything that is, or is going to be, in `objects/`.
#[derive(Debug)]
pub(super) struct Objects {
    volume: Arc<Volume>,
    signal: Arc<Signal>,
    state: Mutex<State>,
    /// One promotion at a time, so that each blob is renamed once; held while the disk works.
    promotions: Mutex<()>,
    /// One sweep at a time.
    sweeps: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Verified blobs that are not durable yet.
    waiting: HashMap<Sha256Digest, Waiting>,
    waiting_bytes: u64,
    /// Folders of `objects/` with names that are not durable yet.
    unsynced: HashSet<PathBuf>,
    /// Folders of `objects/` that were synced in this run. What stands in another may have been
    /// put there by a run that was killed before it came to it.
    synced: HashSet<PathBuf>,
    /// What was claimed since the running sweep began; `None` when none runs.
    claimed: Option<HashSet<Sha256Digest>>,
}

#[derive(Debug, Clone)]
struct Waiting {
    path: PathBuf,
    size: u64,
}

/// A running sweep: from its making on, what is claimed stays.
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    objects: &'a Objects,
    _only: std::sync::MutexGuard<'a, ()>,
}

impl Objects {
    /// Returns the objects of `volume`.
    pub(super) fn new(volume: Arc<Volume>, signal: Arc<Signal>) -> Self {
        Self {
            volume,
            signal,
            state: Mutex::default(),
            promotions: Mutex::default(),
            sweeps: Mutex::default(),
        }
    }

    /// Opens an object, or a blob that is going to be one.
    pub(super) fn open(&self, digest: &Sha256Digest) -> Result<File, StoreError> {
        // The waiting blobs first: between the two looks a blob can only become an object.
        let waiting = lock(&self.state).waiting.get(digest).cloned();
        if let Some(waiting) = waiting
            && let Ok(file) = File::open(&waiting.path)
        {
            return Ok(file);
        }
        let path = self.volume.object_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::MissingBlobs(vec![*digest]),
            _ => StoreError::io("open", path)(error),
        })
    }

    /// Claims a blob for an upload that is going on, and returns its size; `None` when it is not
    /// here.
    pub(super) fn claim(&self, digest: &Sha256Digest) -> Result<Option<u64>, StoreError> {
        let mut state = lock(&self.state);
        let size = if let Some(waiting) = state.waiting.get(digest) {
            Some(waiting.size)
        } else {
            let path = self.volume.object_path(digest);
            let size = touch(&path)?;
            if size.is_some() {
                state.distrust_name(&path);
            }
            size
        };
        if let (Some(_), Some(claimed)) = (size, &mut state.claimed) {
            claimed.insert(*digest);
        }
        Ok(size)
    }

    /// Claims every blob that `entries` name.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingBlobs`], with all that are not here in their full size.
    pub(super) fn claim_all<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a FileEntry>,
    ) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        let mut seen = HashSet::new();
        for entry in entries {
            if seen.insert(entry.digest) && self.claim(&entry.digest)? != Some(entry.size) {
                missing.push(entry.digest);
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(StoreError::MissingBlobs(missing))
        }
    }

    /// Starts a blob that is to be `expected`.
    pub(super) fn stage(self: &Arc<Self>, expected: FileEntry) -> Result<BlobWriter, StoreError> {
        let present = self.claim(&expected.digest)?;
        BlobWriter::new(Arc::clone(self), expected, present)
    }

    /// Takes a verified blob at `path`.
    fn take(&self, entry: FileEntry, path: PathBuf) -> Result<(), StoreError> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        if let Some(claimed) = &mut state.claimed {
            claimed.insert(entry.digest);
        }
        let size = entry.size;
        match state.waiting.entry(entry.digest) {
            // Two uploads of the same bytes; the first may be on its way into `objects/` by now.
            Entry::Occupied(_) => remove_leftover(&path),
            Entry::Vacant(place) => {
                place.insert(Waiting { path, size });
                state.waiting_bytes += size;
            }
        }
        let many = state.waiting.len() >= MOST_WAITING || state.waiting_bytes >= MOST_WAITING_BYTES;
        drop(guard);
        if many { self.promote_waiting() } else { Ok(()) }
    }

    /// Makes all waiting blobs objects.
    pub(super) fn promote_waiting(&self) -> Result<(), StoreError> {
        let all: Vec<Sha256Digest> = lock(&self.state).waiting.keys().copied().collect();
        self.promote(all.iter())
    }

    /// Makes those of the blobs that still wait objects: their bytes are durable then, and their
    /// names after [`Objects::sync_names`].
    ///
    /// When it fails, those that are not objects yet keep waiting.
    pub(super) fn promote<'a>(
        &self,
        digests: impl IntoIterator<Item = &'a Sha256Digest>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = lock(&self.promotions);
        let waiting = self.waiting_among(digests);
        if waiting.is_empty() {
            return Ok(());
        }
        self.make_bytes_durable(&waiting)?;
        for (digest, blob) in &waiting {
            let path = self.volume.object_path(digest);
            // Under the lock, so that a claim finds the blob in one of the two places.
            let mut state = lock(&self.state);
            fs::rename(&blob.path, &path).map_err(StoreError::io("create", &path))?;
            state.waiting.remove(digest);
            state.waiting_bytes -= blob.size;
            state.unsynced.extend(path.parent().map(Path::to_owned));
        }
        Ok(())
    }

    /// Makes the names of all objects durable.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        let folders = std::mem::take(&mut lock(&self.state).unsynced);
        let synced = if folders.len() > FEW {
            self.volume.sync_everything()
        } else {
            folders.iter().try_for_each(|folder| sync_folder(folder))
        };
        let mut state = lock(&self.state);
        match synced {
            Ok(()) => state.synced.extend(folders),
            Err(_) => state.unsynced.extend(folders),
        }
        synced
    }

    fn waiting_among<'a>(
        &self,
        digests: impl IntoIterator<Item = &'a Sha256Digest>,
    ) -> HashMap<Sha256Digest, Waiting> {
        let state = lock(&self.state);
        digests
            .into_iter()
            .filter_map(|digest| Some((*digest, state.waiting.get(digest)?.clone())))
            .collect()
    }

    fn make_bytes_durable(
        &self,
        waiting: &HashMap<Sha256Digest, Waiting>,
    ) -> Result<(), StoreError> {
        if waiting.len() > FEW {
            return self.volume.sync_everything();
        }
        waiting.values().try_for_each(|blob| {
            File::open(&blob.path)
                .and_then(|file| file.sync_all())
                .map_err(StoreError::io("sync", &blob.path))
        })
    }

    /// Begins a sweep.
    ///
    /// What the kept deploys name must be collected after this, and no commit may be between its
    /// claims and its end when this is called.
    pub(super) fn begin_sweep(&self) -> Sweep<'_> {
        let only = lock(&self.sweeps);
        lock(&self.state).claimed = Some(HashSet::new());
        Sweep {
            objects: self,
            _only: only,
        }
    }
}

impl State {
    /// Has the name of an object that was found made durable, unless this run did so before.
    fn distrust_name(&mut self, path: &Path) {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !self.synced.contains(*folder))
        {
            self.unsynced.insert(folder.to_owned());
        }
    }
}

impl Sweep<'_> {
    /// Removes every object that is not in `named`, which is sorted, was not claimed since the sweep
    /// began, and has not changed since `cutoff`, a time since the Unix epoch.
    ///
    /// Without a cutoff nothing but a claim made meanwhile protects an object, and waiting blobs go
    /// as well: the volume is full. Returns how many were removed. Files with other names are not
    /// ours, and stay.
    pub(super) fn run(
        self,
        named: &[Sha256Digest],
        cutoff: Option<Duration>,
    ) -> Result<u64, StoreError> {
        let mut removed = match cutoff {
            None => self.drop_waiting(named),
            Some(_) => 0,
        };
        for folder in self.objects.volume.object_folders()? {
            for path in entries(&folder)? {
                let digest =
                    object_named(&path).filter(|digest| named.binary_search(digest).is_err());
                if let Some(digest) = digest
                    && self.remove_unclaimed(&digest, &path, cutoff)?
                {
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    fn drop_waiting(&self, named: &[Sha256Digest]) -> u64 {
        let _no_promotion = lock(&self.objects.promotions);
        let mut state = lock(&self.objects.state);
        let State {
            waiting,
            waiting_bytes,
            claimed,
            ..
        } = &mut *state;
        let stays = |digest: &Sha256Digest| {
            named.binary_search(digest).is_ok()
                || claimed.as_ref().is_some_and(|set| set.contains(digest))
        };
        let mut dropped = 0;
        waiting.retain(|digest, blob| {
            let stays = stays(digest);
            if !stays {
                *waiting_bytes -= blob.size;
                remove_leftover(&blob.path);
                dropped += 1;
            }
            stays
        });
        dropped
    }

    fn remove_unclaimed(
        &self,
        digest: &Sha256Digest,
        path: &Path,
        cutoff: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let stat = match fs::symlink_metadata(path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::io("inspect", path)(error)),
        };
        let state = lock(&self.objects.state);
        let claimed = state
            .claimed
            .as_ref()
            .is_some_and(|set| set.contains(digest));
        if claimed || cutoff.is_some_and(|cutoff| changed_at(&stat) > cutoff) {
            return Ok(false);
        }
        fs::remove_file(path).map_err(StoreError::io("remove", path))?;
        Ok(true)
    }
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        lock(&self.objects.state).claimed = None;
    }
}

/// Returns the digest that an object's path names.
pub(super) fn object_named(path: &Path) -> Option<Sha256Digest> {
    let name = path.file_name()?.to_str()?;
    let digest = Sha256Digest::from_hex(name).ok()?;
    (digest.to_hex() == name).then_some(digest)
}

fn changed_at(stat: &fs::Metadata) -> Duration {
    let seconds = Duration::from_secs(u64::try_from(stat.ctime()).unwrap_or(0));
    seconds + Duration::from_nanos(u64::try_from(stat.ctime_nsec()).unwrap_or(0))
}

/// Moves the ctime of the file at `path`, and returns its size; `None` when there is no such file.
fn touch(path: &Path) -> Result<Option<u64>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    let stat = file.metadata().map_err(StoreError::io("inspect", path))?;
    // Setting the mode that it has moves the ctime and nothing else. The mtime stays: other servers
    // that read the trees make validators of it.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.mode() & 0o7777))
        .map_err(StoreError::io("claim", path))?;
    Ok(Some(stat.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &Path) -> Arc<Objects> {
        let (volume, _) = Volume::open(root).unwrap();
        Arc::new(Objects::new(Arc::new(volume), Arc::default()))
    }

    #[test]
    fn the_name_that_a_killed_run_left_is_made_durable_by_whoever_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let entry = FileEntry {
            digest: Sha256Digest::of(b"x"),
            size: 1,
        };
        let objects = open(folder.path());
        let mut blob = objects.stage(entry).unwrap();
        blob.write(b"x").unwrap();
        blob.finish().unwrap();
        // It has its name, and the run ends before the names are synced.
        objects.promote_waiting().unwrap();
        drop(objects);

        let objects = open(folder.path());
        for expected in [1, 0] {
            objects.claim_all([&entry]).unwrap();
            assert_eq!(lock(&objects.state).unsynced.len(), expected);
            objects.sync_names().unwrap();
            assert!(lock(&objects.state).unsynced.is_empty());
        }
    }
}
