//! What the publisher needs of the site folder: the bytes that a manifest entry stands for.

use std::{fs::File, io};

use bytes::Bytes;
use onsave_protocol::{FileEntry, SitePath};

/// Gives the bytes of files as they were scanned.
///
/// Both calls block and are made on blocking threads. What is sent is what was hashed: bytes that are
/// not those of `expected` are never returned by [`SiteBytes::read`], and the server finds them out
/// where a file is streamed.
pub trait SiteBytes: Send + Sync {
    /// Returns the whole file, checked against its size and digest.
    ///
    /// # Errors
    ///
    /// [`ReadError::ChangedSinceScan`] when the file is gone or has other bytes.
    fn read(&self, path: &SitePath, expected: &FileEntry) -> Result<Bytes, ReadError>;

    /// Returns the file, open at its start, of the expected size.
    ///
    /// # Errors
    ///
    /// As [`SiteBytes::read`], as far as the size shows it.
    fn open(&self, path: &SitePath, expected: &FileEntry) -> Result<File, ReadError>;
}

/// Why the bytes of a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is gone or has other bytes than were scanned.
    #[error("the file changed since it was scanned")]
    ChangedSinceScan,
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
}
