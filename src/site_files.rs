//! The bytes of the site folder's files, read when they are published and checked against the scan.
//!
//! Owns no file and no state that a save changes: a snapshot of where files are, cheap to make, that
//! outlives the scan on the publisher's threads. Where a path leads meanwhile does not matter, since
//! bytes that were not scanned are refused.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use bytes::Bytes;
use onsave_protocol::{FileEntry, Sha256Digest, SitePath};

use crate::publish::{ReadError, SiteBytes};

/// Where the files of one site folder are.
#[derive(Debug, Clone, Default)]
pub struct SiteFiles {
    root: PathBuf,
    /// Files whose name on the disk is not their site path: in another normal form.
    other_names: HashMap<SitePath, PathBuf>,
}

impl SiteFiles {
    /// Returns the files below `root`, each under its site path except those of `other_names`, whose
    /// paths are absolute.
    #[must_use]
    pub const fn new(root: PathBuf, other_names: HashMap<SitePath, PathBuf>) -> Self {
        Self { root, other_names }
    }

    fn open_sized(&self, path: &SitePath, expected: &FileEntry) -> Result<File, ReadError> {
        let file = match self.other_names.get(path) {
            Some(other) => File::open(other),
            None => File::open(self.root.join(path.as_str())),
        };
        let file = file.map_err(gone_or_unreadable)?;
        let metadata = file.metadata().map_err(ReadError::Io)?;
        if !metadata.is_file() || metadata.len() != expected.size {
            return Err(ReadError::ChangedSinceScan);
        }
        Ok(file)
    }
}

impl SiteBytes for SiteFiles {
    fn read(&self, path: &SitePath, expected: &FileEntry) -> Result<Bytes, ReadError> {
        let file = self.open_sized(path, expected)?;
        let capacity = usize::try_from(expected.size).unwrap_or_default();
        let mut bytes = Vec::with_capacity(capacity);
        // A file that grows while it is read is not the one that was scanned: one byte tells.
        file.take(expected.size + 1)
            .read_to_end(&mut bytes)
            .map_err(ReadError::Io)?;
        if Sha256Digest::of(&bytes) != expected.digest {
            return Err(ReadError::ChangedSinceScan);
        }
        Ok(bytes.into())
    }

    fn open(&self, path: &SitePath, expected: &FileEntry) -> Result<File, ReadError> {
        self.open_sized(path, expected)
    }
}

fn gone_or_unreadable(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            ReadError::ChangedSinceScan
        }
        _ => ReadError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn path(text: &str) -> SitePath {
        SitePath::parse(text).unwrap()
    }

    fn entry(bytes: &[u8]) -> FileEntry {
        FileEntry {
            digest: Sha256Digest::of(bytes),
            size: bytes.len() as u64,
        }
    }

    #[test]
    fn only_what_was_scanned_is_read() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), b"old!").unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();
        let files = SiteFiles::new(root.path().into(), HashMap::new());
        assert_eq!(
            files.read(&path("a"), &entry(b"old!")).unwrap(),
            &b"old!"[..]
        );
        for (file, scanned) in [
            ("a", &b"new!"[..]),
            ("a", b"longer"),
            ("a", b"old"),
            ("gone", b"old!"),
            ("folder", b"old!"),
            ("a/inside", b"old!"),
        ] {
            let read = files.read(&path(file), &entry(scanned));
            assert!(matches!(read, Err(ReadError::ChangedSinceScan)), "{file}");
        }
        assert!(
            files.open(&path("a"), &entry(b"new!")).is_ok(),
            "the size is all it sees"
        );
        assert!(files.open(&path("a"), &entry(b"longer")).is_err());
    }

    #[test]
    fn a_name_in_another_normal_form_is_found() {
        let root = tempfile::tempdir().unwrap();
        let on_disk = root.path().join("u\u{308}.html");
        fs::write(&on_disk, b"x").unwrap();
        let other_names = HashMap::from([(path("\u{fc}.html"), on_disk)]);
        let files = SiteFiles::new(root.path().into(), other_names);
        assert!(files.read(&path("\u{fc}.html"), &entry(b"x")).is_ok());
    }
}
