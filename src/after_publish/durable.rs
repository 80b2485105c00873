//! The files of the queues and the locks between processes, and what fails with them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::durable_file::{self, Readers};

/// The queue on disk cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} {}", path.display())]
pub struct QueueError {
    /// What was done.
    pub operation: &'static str,
    /// To what.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

impl QueueError {
    /// Returns what turns a system's reason into this error.
    pub(super) fn of<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl Fn(io::Error) -> Self + 'a {
        move |source| Self {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let folder = self.path.parent().unwrap_or(&self.path);
        format!(
            "make {} writable for you, and leave room on its disk",
            folder.display()
        )
    }
}

/// Makes a folder that only its owner can read, with those above it.
pub(super) fn make_folder(path: &Path) -> Result<(), QueueError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(QueueError::of("make the folder", path))
}

/// Replaces a file, durably.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), QueueError> {
    let written = durable_file::replace(path, bytes, Readers::Owner);
    written.map_err(QueueError::of("write", path))
}

/// Makes durable what the folder of `path` names.
pub(super) fn sync_folder(path: &Path) -> Result<(), QueueError> {
    let folder = path.parent().unwrap_or(path);
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(QueueError::of("write", path))
}

/// Removes a file; that there is none is as good.
pub(super) fn remove(path: &Path) -> Result<(), QueueError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(QueueError::of("remove", path)),
    }
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

/// Waits until no other process has this lock, and takes it; given back when it is dropped, also by a
/// crash. Whoever has it has it for some milliseconds.
pub(super) fn lock(path: &Path) -> Result<File, QueueError> {
    let error = QueueError::of("lock", path);
    let file = private(path).map_err(&error)?;
    file.lock().map_err(&error)?;
    Ok(file)
}

/// Takes this lock, unless another process has it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>, QueueError> {
    let error = QueueError::of("lock", path);
    let file = private(path).map_err(&error)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(error(source)),
    }
}
