//! The deploy store.

mod clock;
mod error;

use std::{
    fs::File,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use onsave_protocol::{
    Changeset, DeployId, FileEntry, Sha256Digest, SitePath,
    wire::v2::{DeployDetail, DeploySummary},
};

pub use self::{
    clock::{Clock, SystemClock},
    error::StoreError,
};
use crate::current::Snapshot;

/// How a store is opened; [`StoreOptions::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The volume's root folder; made when it is not there.
    pub root: PathBuf,
    /// How many of the newest deploys are kept, besides current.
    pub keep_deploys: NonZeroUsize,
    /// How long an object that no deploy names is kept for an upload that claimed it.
    pub object_grace: Duration,
    /// Most files in one deploy.
    pub max_files: usize,
    /// Largest file, in bytes.
    pub max_file_bytes: u64,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl StoreOptions {
    /// Returns the defaults for a volume at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let _ = root.into();
        unimplemented!()
    }
}

/// Who made a deploy and what they say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployNote {
    /// Who publishes.
    pub published_by: Option<String>,
    /// What they say of it.
    pub message: Option<String>,
}

/// A deploy to be made.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The deploy that the changeset was made against; must be current.
    pub base: Option<DeployId>,
    /// What changes.
    pub changeset: Changeset,
    /// Who made it.
    pub note: DeployNote,
}

/// What is current after a commit or a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The deploy that is current now.
    pub deploy_id: DeployId,
    /// The deploy that was current before.
    pub previous: Option<DeployId>,
    /// Files in the deploy.
    pub files: u64,
    /// Bytes of all files in the deploy.
    pub bytes: u64,
}

/// Space of the volume's file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size of the file system.
    pub total: u64,
    /// What is free for this process.
    pub free: u64,
}

/// The deploy store.
#[derive(Debug, Clone)]
pub struct Store(Arc<()>);

/// Bytes on their way to become an object.
#[derive(Debug)]
pub struct BlobWriter;

impl BlobWriter {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let _ = bytes;
        unimplemented!()
    }
    /// Verifies and makes the object.
    pub fn finish(self) -> Result<(), StoreError> {
        unimplemented!()
    }
}

/// What `verify` found.
#[derive(Debug)]
pub struct VerifyReport {
    /** What is wrong; Display for people. */
    pub findings: Vec<String>,
}

/// Checks everything on the volume at `root`.
pub fn verify(root: &Path) -> Result<VerifyReport, StoreError> {
    let _ = root;
    unimplemented!()
}

impl Store {
    /// Opens the volume.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let _ = options;
        unimplemented!()
    }
    /// Returns the snapshot being served.
    pub fn current(&self) -> Arc<Snapshot> {
        unimplemented!()
    }
    /// Opens an object.
    pub fn open_object(&self, digest: &Sha256Digest) -> Result<File, StoreError> {
        let _ = digest;
        unimplemented!()
    }
    /// Returns those that are missing.
    pub fn missing(&self, digests: &[Sha256Digest]) -> Result<Vec<Sha256Digest>, StoreError> {
        let _ = digests;
        unimplemented!()
    }
    /// Starts a blob.
    pub fn stage(&self, expected: FileEntry) -> Result<BlobWriter, StoreError> {
        let _ = expected;
        unimplemented!()
    }
    /// Commits.
    pub fn commit(&self, request: CommitRequest) -> Result<Committed, StoreError> {
        let _ = request;
        unimplemented!()
    }
    /// Rolls back.
    pub fn rollback(
        &self,
        to: Option<DeployId>,
        expected: Option<DeployId>,
    ) -> Result<Committed, StoreError> {
        let _ = (to, expected);
        unimplemented!()
    }
    /// Lists deploys, newest first.
    pub fn deploys(&self) -> Vec<DeploySummary> {
        unimplemented!()
    }
    /// One deploy.
    pub fn deploy(&self, id: DeployId) -> Result<DeployDetail, StoreError> {
        let _ = id;
        unimplemented!()
    }
    /// Begins a v1 deploy.
    pub fn begin(&self) -> Result<DeployId, StoreError> {
        unimplemented!()
    }
    /// Puts a file; its bytes were staged before.
    pub fn staged_put(
        &self,
        id: DeployId,
        path: SitePath,
        entry: FileEntry,
    ) -> Result<(), StoreError> {
        let _ = (id, path, entry);
        unimplemented!()
    }
    /// Removes a file, also when absent.
    pub fn staged_remove(&self, id: DeployId, path: SitePath) -> Result<(), StoreError> {
        let _ = (id, path);
        unimplemented!()
    }
    /// Commits a v1 deploy.
    pub fn staged_commit(&self, id: DeployId) -> Result<Committed, StoreError> {
        let _ = id;
        unimplemented!()
    }
    /// Aborts a v1 deploy.
    pub fn staged_abort(&self, id: DeployId) -> Result<(), StoreError> {
        let _ = id;
        unimplemented!()
    }
    /// Space of the volume.
    pub fn disk_space(&self) -> Result<DiskSpace, StoreError> {
        unimplemented!()
    }
    /// Waits until the background work is done.
    pub fn wait_idle(&self) {
        unimplemented!()
    }
    /// Ends the background work, everything durable.
    pub fn close(&self) {
        unimplemented!()
    }
}
