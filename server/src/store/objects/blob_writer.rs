//! Bytes on their way to become an object, verified as they come.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
};

use onsave_protocol::{FileEntry, digest::Hasher};

use super::Objects;
use crate::store::{StoreError, volume::remove_leftover};

/// Bytes on their way to become an object.
///
/// Dropping it before [`BlobWriter::finish`] leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    objects: Arc<Objects>,
    expected: FileEntry,
    hasher: Hasher,
    written: u64,
    /// Where the bytes go; `None` when the object is here already, and they are only verified.
    staged: Option<Staged>,
}

#[derive(Debug)]
struct Staged {
    file: File,
    path: PathBuf,
}

impl BlobWriter {
    /// Returns a writer of `expected`; `present` is the size that the object has already.
    pub(super) fn new(
        objects: Arc<Objects>,
        expected: FileEntry,
        present: Option<u64>,
    ) -> Result<Self, StoreError> {
        // An object of another size is damaged; what comes now replaces it.
        let staged = if present == Some(expected.size) {
            None
        } else {
            let created = Staged::create(objects.volume.new_staging_path("blob"));
            Some(objects.signal.noting_full(created)?)
        };
        Ok(Self {
            objects,
            expected,
            hasher: Hasher::new(),
            written: 0,
            staged,
        })
    }

    /// Adds `bytes` to the blob.
    ///
    /// # Errors
    ///
    /// [`StoreError::SizeMismatch`] when they are more than was announced; nothing of them is
    /// written then. [`StoreError::VolumeFull`] and [`StoreError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.written.saturating_add(bytes.len() as u64);
        if written > self.expected.size {
            return Err(self.wrong_size(written));
        }
        if let Some(staged) = &mut self.staged {
            let written = staged.file.write_all(bytes);
            let written = written.map_err(StoreError::io("write", &staged.path));
            self.objects.signal.noting_full(written)?;
        }
        self.hasher.update(bytes);
        self.written = written;
        Ok(())
    }

    /// Makes the blob ready to be named by a commit.
    ///
    /// It is made durable by the commit that names it.
    ///
    /// # Errors
    ///
    /// [`StoreError::SizeMismatch`] and [`StoreError::DigestMismatch`] when the bytes are not those
    /// that were announced.
    pub fn finish(mut self) -> Result<(), StoreError> {
        if self.written != self.expected.size {
            return Err(self.wrong_size(self.written));
        }
        let actual = std::mem::take(&mut self.hasher).finish();
        if actual != self.expected.digest {
            return Err(StoreError::DigestMismatch {
                expected: self.expected.digest,
                actual,
            });
        }
        match self.staged.take() {
            Some(staged) => {
                let taken = self.objects.take(self.expected, staged.path);
                self.objects.signal.noting_full(taken)
            }
            None => Ok(()),
        }
    }

    fn wrong_size(&self, actual: u64) -> StoreError {
        StoreError::SizeMismatch {
            digest: self.expected.digest,
            expected: self.expected.size,
            actual,
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some(staged) = &self.staged {
            remove_leftover(&staged.path);
        }
    }
}

impl Staged {
    fn create(path: PathBuf) -> Result<Self, StoreError> {
        // Read-only for everybody from the start: hard links to it stand in the trees.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        Ok(Self { file, path })
    }
}
