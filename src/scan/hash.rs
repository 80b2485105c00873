//! Reading files: their digest, and proof that they did not change meanwhile.
//!
//! A file is opened once and looked at before and after, through the same handle: what was hashed
//! is one state of one inode, or the file is unstable and is hashed again later. Reading makes
//! open and close events of our own, which the watcher leaves out.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use onsave_protocol::{FileEntry, Sha256Digest, digest::Hasher};

use crate::shown::ShownPath;

use super::{
    secrets::{Suspicion, is_private_key},
    stat_index::Stamp,
};

/// Bytes read at once; large enough that the system calls cost nothing beside the hash.
const BUFFER_BYTES: usize = 128 * 1024;

/// What came of hashing a file.
#[derive(Debug)]
pub(super) enum Hashed {
    /// Its digest, and its metadata both before and after.
    Stable { entry: FileEntry, stamp: Stamp },
    /// It changed while it was read.
    Unstable,
    /// It is a private key.
    Secret,
    /// It was a regular file when it was looked at, and is none any more.
    NotAFile,
}

/// Why a file's bytes cannot be had for a publish.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is not what the scan saw: scan again.
    #[error("{} changed since it was scanned", ShownPath(path))]
    Changed {
        /// The local file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("failed to read {}", ShownPath(path))]
    Io {
        /// The local file.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
}

/// Returns the bytes of a small file, when they are what the scan saw.
///
/// Holds the whole file in memory: meant for files below
/// [`LARGE_FILE_BYTES`](onsave_protocol::limits::LARGE_FILE_BYTES). Blocks.
///
/// # Errors
///
/// [`ReadError::Changed`] when the size or the digest differs, or the file is gone.
pub fn read_checked(path: &Path, expected: &FileEntry) -> Result<Vec<u8>, ReadError> {
    let file = open_checked(path, expected)?;
    let mut bytes = Vec::with_capacity(usize::try_from(expected.size).unwrap_or(0));
    // One byte more than expected is enough to see that it grew.
    let mut bounded = file.take(expected.size.saturating_add(1));
    bounded
        .read_to_end(&mut bytes)
        .map_err(|source| io_error(path, source))?;
    if bytes.len() as u64 != expected.size || Sha256Digest::of(&bytes) != expected.digest {
        return Err(changed(path));
    }
    Ok(bytes)
}

/// Opens a file to be sent as a stream, when its size is what the scan saw.
///
/// Whoever sends it names the digest, so that bytes that change meanwhile are refused by the
/// server. Blocks, but does not wait when the path has become a pipe.
///
/// # Errors
///
/// [`ReadError::Changed`] when the size differs, or the file is gone or no regular file any more.
pub fn open_checked(path: &Path, expected: &FileEntry) -> Result<File, ReadError> {
    let (file, metadata) = match open(path) {
        Ok(opened) => opened,
        Err(error) if crate::site_folder::is_gone(&error) => return Err(changed(path)),
        Err(source) => return Err(io_error(path, source)),
    };
    if !metadata.is_file() || metadata.len() != expected.size {
        return Err(changed(path));
    }
    Ok(file)
}

fn changed(path: &Path) -> ReadError {
    ReadError::Changed {
        path: path.to_owned(),
    }
}

fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Opens without waiting for a writer, should the path have become a pipe.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// Hashes files, one after the other, in one buffer.
#[derive(Debug, Default)]
pub(super) struct FileHasher {
    buffer: Vec<u8>,
}

impl FileHasher {
    /// Reads the file and returns its digest, if it held still.
    pub(super) fn hash(&mut self, path: &Path, suspicion: Suspicion) -> io::Result<Hashed> {
        let (mut file, before) = open(path)?;
        if !before.is_file() {
            return Ok(Hashed::NotAFile);
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_BYTES];
        }
        let (mut hasher, mut size) = (Hasher::new(), 0);
        loop {
            let read = match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if size == 0 && is_private_key(&self.buffer[..read], suspicion) {
                return Ok(Hashed::Secret);
            }
            hasher.update(&self.buffer[..read]);
            size += read as u64;
        }
        let after = file.metadata()?;
        let stamp = Stamp::of(&after);
        if Stamp::of(&before) != stamp || before.len() != size || after.len() != size {
            return Ok(Hashed::Unstable);
        }
        let digest = hasher.finish();
        Ok(Hashed::Stable {
            entry: FileEntry { digest, size },
            stamp,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(bytes: &[u8]) -> FileEntry {
        FileEntry {
            digest: Sha256Digest::of(bytes),
            size: bytes.len() as u64,
        }
    }

    #[test]
    fn a_file_is_hashed_whole() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("f");
        let mut hasher = FileHasher::default();
        for length in [0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES * 2 + 7] {
            let bytes = vec![b'x'; length];
            fs::write(&file, &bytes).unwrap();
            let Hashed::Stable { entry: seen, .. } = hasher.hash(&file, Suspicion::None).unwrap()
            else {
                panic!("it held still");
            };
            assert_eq!(seen, entry(&bytes));
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let pipe = home.path().join("pipe");
        let mode = rustix::fs::Mode::from(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let hashed = FileHasher::default().hash(&pipe, Suspicion::None).unwrap();
        assert!(matches!(hashed, Hashed::NotAFile));
        let refused = open_checked(&pipe, &entry(b"")).unwrap_err();
        assert!(matches!(refused, ReadError::Changed { .. }));
    }

    #[test]
    fn bytes_are_given_only_when_they_are_what_was_scanned() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("f");
        fs::write(&file, "saved").unwrap();
        assert_eq!(read_checked(&file, &entry(b"saved")).unwrap(), b"saved");
        for other in [b"sAved".as_slice(), b"save", b"saved!", b""] {
            let refused = read_checked(&file, &entry(other)).unwrap_err();
            assert!(matches!(refused, ReadError::Changed { .. }), "{refused}");
        }
        fs::remove_file(&file).unwrap();
        let refused = open_checked(&file, &entry(b"saved")).unwrap_err();
        assert!(matches!(refused, ReadError::Changed { .. }));
    }
}
