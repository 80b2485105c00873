//! The volume's layout, and the few ways in which it is written.
//!
//! Owns the lock on the root and the names in `staging/`. Everything that becomes visible does so by
//! rename(2) from this run's own folder below `staging/`, on one file system, so that no reader ever
//! sees a half-written file. What stands elsewhere in `staging/` was left by an earlier run; it is
//! never used, and the background worker removes it. Knows nothing of deploys.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use onsave_protocol::{DeployId, Sha256Digest};
use rustix::fs::FlockOperation;

use super::{DiskSpace, StoreError};

/// How many folders the objects are spread over: one for each first byte of a digest.
const OBJECT_FOLDERS: u16 = 256;

/// An open volume.
#[derive(Debug)]
pub(super) struct Volume {
    root: PathBuf,
    /// `staging/<run>/`: everything that this run has not finished.
    run: PathBuf,
    names: AtomicU64,
    root_folder: File,
    objects_folder: File,
    /// Held, never read: the lock ends when the file is closed, also by SIGKILL.
    _lock: File,
}

impl Volume {
    /// Locks the volume at `root`, made when it is not there, and returns it with the paths that
    /// earlier runs left in `staging/`.
    pub(super) fn open(root: &Path) -> Result<(Self, Vec<PathBuf>), StoreError> {
        fs::create_dir_all(root).map_err(StoreError::io("create", root))?;
        let lock = lock(
            root,
            OpenOptions::new().write(true).create(true).truncate(false),
        )?;
        make_layout(root)?;
        let staging = root.join("staging");
        let leftovers = entries(&staging)?;
        let run = staging.join(run_name()?);
        fs::create_dir(&run).map_err(StoreError::io("create", &run))?;
        let objects = root.join("objects");
        let volume = Self {
            root_folder: File::open(root).map_err(StoreError::io("open", root))?,
            objects_folder: File::open(&objects).map_err(StoreError::io("open", objects))?,
            root: root.to_owned(),
            run,
            names: AtomicU64::new(0),
            _lock: lock,
        };
        Ok((volume, leftovers))
    }

    /// Locks a volume that exists, to read it; makes nothing.
    pub(super) fn open_to_read(root: &Path) -> Result<Self, StoreError> {
        let lock = lock(root, OpenOptions::new().read(true))?;
        let objects = root.join("objects");
        Ok(Self {
            root_folder: File::open(root).map_err(StoreError::io("open", root))?,
            objects_folder: File::open(&objects).map_err(StoreError::io("open", objects))?,
            root: root.to_owned(),
            run: root.join("staging"),
            names: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Returns the file that names the current deploy.
    pub(super) fn head_path(&self) -> PathBuf {
        self.root.join("head")
    }

    /// Returns the symlink to the current deploy's tree.
    pub(super) fn current_path(&self) -> PathBuf {
        self.root.join("current")
    }

    /// Returns the folder of all manifests.
    pub(super) fn manifests_path(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// Returns the manifest of a deploy.
    pub(super) fn manifest_path(&self, id: DeployId) -> PathBuf {
        self.manifests_path().join(id.to_string())
    }

    /// Returns the folder of all trees.
    pub(super) fn trees_path(&self) -> PathBuf {
        self.root.join("deploys")
    }

    /// Returns the tree of a deploy.
    pub(super) fn tree_path(&self, id: DeployId) -> PathBuf {
        self.trees_path().join(id.to_string())
    }

    /// Returns the folder of all objects.
    pub(super) fn objects_path(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// Returns the folders that objects stand in; a file beside them is not ours.
    pub(super) fn object_folders(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut folders = entries(&self.objects_path())?;
        folders.retain(|path| path.is_dir());
        Ok(folders)
    }

    /// Returns where an object stands, relative to [`Volume::objects`].
    pub(super) fn object_name(digest: &Sha256Digest) -> String {
        let hex = digest.to_hex();
        format!("{}/{hex}", &hex[..2])
    }

    /// Returns where an object stands.
    pub(super) fn object_path(&self, digest: &Sha256Digest) -> PathBuf {
        self.objects_path().join(Self::object_name(digest))
    }

    /// Returns the folder of all objects, open.
    pub(super) fn objects(&self) -> &File {
        &self.objects_folder
    }

    /// Returns a path in this run's part of `staging/` that nothing stands at.
    pub(super) fn new_staging_path(&self, kind: &str) -> PathBuf {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        self.run.join(format!("{kind}-{number}"))
    }

    /// Replaces the file at `path`, atomically and durably, with what `fill` writes.
    ///
    /// When it fails before the new file has the name, nothing changed and nothing is left behind.
    pub(super) fn replace_file(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let staged = self.new_staging_path("file");
        let written = write_durably(&staged, fill)
            .and_then(|()| fs::rename(&staged, path).map_err(StoreError::io("replace", path)));
        if let Err(error) = written {
            remove_leftover(&staged);
            return Err(error);
        }
        sync_folder(path.parent().unwrap_or(&self.root))
    }

    /// Makes `path` a symlink to `target`, atomically.
    pub(super) fn replace_symlink(&self, path: &Path, target: &Path) -> Result<(), StoreError> {
        let staged = self.new_staging_path("link");
        std::os::unix::fs::symlink(target, &staged).map_err(StoreError::io("create", &staged))?;
        fs::rename(&staged, path).map_err(|error| {
            remove_leftover(&staged);
            StoreError::io("replace", path)(error)
        })
    }

    /// Makes everything on the volume's file system durable.
    pub(super) fn sync_everything(&self) -> Result<(), StoreError> {
        rustix::fs::syncfs(&self.root_folder).map_err(StoreError::io("sync", &self.root))
    }

    /// Returns the size of the volume's file system, and what is free on it.
    pub(super) fn disk_space(&self) -> Result<DiskSpace, StoreError> {
        let stat = rustix::fs::fstatvfs(&self.root_folder)
            .map_err(StoreError::io("ask for the space of", &self.root))?;
        Ok(DiskSpace {
            total: stat.f_blocks * stat.f_frsize,
            free: stat.f_bavail * stat.f_frsize,
        })
    }
}

/// Makes what was renamed into `folder` durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::io("sync", folder))
}

/// Removes a file of `staging/` after a failure.
///
/// The failure is what the caller hears of; a file that stays is removed at the next start.
pub(super) fn remove_leftover(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "failed to remove a temporary file");
    }
}

/// Returns the paths in `folder`.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(StoreError::io("list", folder))
}

/// Returns the deploys that the names in `folder` are ids of; other names are not ours.
pub(super) fn deploy_ids_in(folder: &Path) -> Result<Vec<DeployId>, StoreError> {
    let names = entries(folder)?;
    Ok(names.iter().filter_map(|path| named_deploy(path)).collect())
}

/// Returns the deploy that the last part of `path` is the id of.
pub(super) fn named_deploy(path: &Path) -> Option<DeployId> {
    DeployId::parse(path.file_name()?.to_str()?).ok()
}

fn write_durably(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), StoreError> {
    let created = File::create_new(path).map_err(StoreError::io("create", path))?;
    let mut out = BufWriter::new(created);
    fill(&mut out)
        .and_then(|()| out.flush())
        .and_then(|()| out.get_ref().sync_all())
        .map_err(StoreError::io("write", path))
}

fn lock(root: &Path, options: &mut OpenOptions) -> Result<File, StoreError> {
    let path = root.join("lock");
    let file = options
        .mode(0o644)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    match rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked {
            root: root.to_owned(),
        }),
        Err(error) => Err(StoreError::io("lock", path)(error)),
    }
}

fn make_layout(root: &Path) -> Result<(), StoreError> {
    let objects = root.join("objects");
    let mut made = false;
    for name in ["objects", "manifests", "deploys", "staging"] {
        made |= make_folder(&root.join(name))?;
    }
    for first in 0..OBJECT_FOLDERS {
        made |= make_folder(&objects.join(format!("{first:02x}")))?;
    }
    if made {
        sync_folder(&objects)?;
        sync_folder(root)?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<bool, StoreError> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(StoreError::io("create", path)(error)),
    }
}

fn run_name() -> Result<String, StoreError> {
    // Random, so that no leftover of an earlier run can have the name, whatever the clock says.
    let [high, low] = [random()?, random()?];
    Ok(format!("{high:08x}{low:08x}"))
}

/// Returns a random number of the system's.
pub(super) fn random() -> Result<u32, StoreError> {
    getrandom::u32().map_err(|error| {
        let error = io::Error::other(error.to_string());
        StoreError::io("read", "the system's random source")(error)
    })
}
