//! Why the deploy store refuses or fails.

use std::{fmt, io, path::PathBuf};

use onsave_protocol::{DeployId, Sha256Digest, manifest::PathConflict};

/// Why the deploy store refuses or fails.
///
/// Whatever it is, the current deploy keeps being served.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the volume open.
    #[error("the volume {} is in use by another server", root.display())]
    Locked {
        /// The volume's root.
        root: PathBuf,
    },
    /// The changeset was made against a deploy that is not current.
    #[error("the base deploy is not current; current is {}", shown(*current))]
    BaseNotCurrent {
        /// The current deploy.
        current: Option<DeployId>,
    },
    /// The changeset names blobs that are not on the volume, or not with the size it says.
    #[error("{} blobs that the changeset names are not on the server", .0.len())]
    MissingBlobs(Vec<Sha256Digest>),
    /// One path would be a file and a folder at once.
    #[error(transparent)]
    PathConflict(#[from] PathConflict),
    /// There is no such deploy: it never was, or it is not kept any more.
    #[error("there is no deploy {0}")]
    NoSuchDeploy(DeployId),
    /// No kept deploy is older than the current one.
    #[error("there is no earlier deploy to go back to")]
    NoEarlierDeploy,
    /// Current moved since the v1 deploy was begun.
    #[error("deploy {deploy} was begun on {}, but current is {}", shown(*base), shown(*current))]
    StagingConflict {
        /// The deploy that was begun.
        deploy: DeployId,
        /// What was current then.
        base: Option<DeployId>,
        /// What is current now.
        current: Option<DeployId>,
    },
    /// As many v1 deploys are open as may be.
    #[error("{limit} deploys are open already; commit or abort one first")]
    TooManyStaged {
        /// How many may be open.
        limit: usize,
    },
    /// The site would have more files than the server takes.
    #[error("the site would have {files} files, and {limit} are allowed")]
    TooManyFiles {
        /// Files that the site would have.
        files: usize,
        /// Files that it may have.
        limit: usize,
    },
    /// A file is larger than the server takes.
    #[error("a file has {bytes} bytes, and {limit} are allowed")]
    TooLarge {
        /// The file's length.
        bytes: u64,
        /// The longest length that is taken.
        limit: u64,
    },
    /// The bytes of a blob are not those that were announced.
    #[error("the bytes hash to {actual}, not to {expected}")]
    DigestMismatch {
        /// What was announced.
        expected: Sha256Digest,
        /// What the bytes hash to.
        actual: Sha256Digest,
    },
    /// A blob is shorter or longer than was announced.
    #[error("blob {digest} has {actual} bytes or more, not {expected}")]
    SizeMismatch {
        /// The blob.
        digest: Sha256Digest,
        /// The length that was announced.
        expected: u64,
        /// The length that came; when it is over `expected`, the rest was not counted.
        actual: u64,
    },
    /// The volume, or the quota on it, is full.
    #[error("the volume is full: failed to {operation} {}", path.display())]
    VolumeFull {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the volume is damaged.
    #[error("{} is damaged: {what}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system refused an operation.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Returns a function that says that `operation` on `path` failed, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        move |source| {
            let (path, source) = (path.into(), source.into());
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::VolumeFull {
                    operation,
                    path,
                    source,
                },
                _ => Self::Io {
                    operation,
                    path,
                    source,
                },
            }
        }
    }

    /// Returns the error that says that the file at `path` is damaged.
    pub(crate) fn corrupt(path: impl Into<PathBuf>, what: impl fmt::Display) -> Self {
        Self::Corrupt {
            path: path.into(),
            what: what.to_string(),
        }
    }
}

fn shown(id: Option<DeployId>) -> String {
    id.map_or_else(|| "none".into(), |id| id.to_string())
}
