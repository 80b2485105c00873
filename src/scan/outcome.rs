//! What a scan came to: results, costs and errors.

use std::{collections::BTreeSet, io, ops::AddAssign, path::PathBuf};

use onsave_protocol::SitePath;

use super::warning::ScanWarning;
use crate::shown::ShownPath;

/// Why a scan failed; nothing of it was applied, and it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The site folder cannot be looked at, or is a file.
    #[error("failed to look at the site folder {}", ShownPath(path))]
    Folder {
        /// The configured site folder.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// A file or folder cannot be looked at, for a reason that says nothing about the tree.
    #[error("failed to look at {}", ShownPath(path))]
    Look {
        /// The file or folder.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// The stat index cannot be kept; the next start hashes everything.
    #[error("failed to keep the stat index {}", ShownPath(path))]
    Keep {
        /// The index file.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
}

/// What a scan came to.
#[derive(Debug)]
pub enum Scan {
    /// There is no site folder, or it vanished during the scan; nothing was applied.
    Absent,
    /// The manifest is what is on disk.
    Done(ScanOutcome),
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct ScanOutcome {
    /// Site paths whose entry in the manifest is new, another or gone since the scan before.
    pub touched: BTreeSet<SitePath>,
    /// Files that changed while they were read: to be scanned again shortly.
    pub unstable: BTreeSet<PathBuf>,
    /// Warnings that the scan before did not have.
    pub new_warnings: Vec<ScanWarning>,
    /// What the scan cost.
    pub counts: ScanCounts,
}

/// What a scan cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanCounts {
    /// Files whose metadata was looked at.
    pub files_seen: u64,
    /// Files whose bytes were read.
    pub files_hashed: u64,
    /// Bytes that were read.
    pub bytes_hashed: u64,
}

impl AddAssign for ScanCounts {
    fn add_assign(&mut self, other: Self) {
        self.files_seen += other.files_seen;
        self.files_hashed += other.files_hashed;
        self.bytes_hashed += other.bytes_hashed;
    }
}
