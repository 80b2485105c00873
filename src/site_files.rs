//! The bytes of the site folder's files, read when they are published and checked against the scan.
//!
//! Owns no file and no state that a save changes: a snapshot of where files are, cheap to make, that
//! outlives the scan on the publisher's threads. Where a path leads meanwhile does not matter, since
//! bytes that were not scanned are refused.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use onsave_protocol::{FileEntry, SitePath};

use crate::{
    publish::{ReadError, SiteBytes},
    scan,
};

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

    fn place(&self, path: &SitePath) -> Cow<'_, Path> {
        match self.other_names.get(path) {
            Some(other) => Cow::Borrowed(other),
            None => Cow::Owned(self.root.join(path.as_str())),
        }
    }
}

impl SiteBytes for SiteFiles {
    fn read(&self, path: &SitePath, expected: &FileEntry) -> Result<Bytes, ReadError> {
        match scan::read_checked(&self.place(path), expected) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, path: &SitePath, expected: &FileEntry) -> Result<File, ReadError> {
        Ok(scan::open_checked(&self.place(path), expected)?)
    }
}

impl From<scan::ReadError> for ReadError {
    /// Leaves the local path out: the publisher names the site path.
    fn from(error: scan::ReadError) -> Self {
        match error {
            scan::ReadError::Changed { .. } => Self::ChangedSinceScan,
            scan::ReadError::Io { source, .. } => Self::Io(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use onsave_protocol::Sha256Digest;

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
