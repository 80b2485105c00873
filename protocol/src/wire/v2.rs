//! JSON shapes of the second generation, which publishes in one exchange.

use serde::{Deserialize, Serialize};

use crate::{deploy_id::DeployId, digest::Sha256Digest, site_path::SitePath};

/// Response header that tells a client that the server speaks this generation: its value is `2`.
///
/// Sent with every answer below `/_icd/`.
pub const PROTOCOL_HEADER: &str = "onsave-protocol";

/// Request header with an id that both sides log, so that their logs can be joined.
pub const REQUEST_ID_HEADER: &str = "onsave-request-id";

/// Media type of a changeset: a [`frame`](super::frame) of [`ChangesetHeader`] and bytes.
pub const CHANGESET_TYPE: &str = "application/vnd.onsave.changeset";

/// Media type of a pack: a [`frame`](super::frame) of [`PackHeader`] and bytes.
pub const PACK_TYPE: &str = "application/vnd.onsave.pack";

/// Where the bytes of a put or a packed blob are.
///
/// The encoded bytes follow the frame's header, in the order of the records that have any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum Source {
    /// In the frame, as they are.
    Inline,
    /// In the frame, as one zstd frame (RFC 8878) of `length` bytes.
    Zstd {
        /// Encoded length in bytes.
        length: u64,
    },
    /// In the frame, as one zstd frame of `length` bytes that refers to the bytes of another
    /// object on the server (zstd's reference prefix).
    ZstdAgainst {
        /// Encoded length in bytes.
        length: u64,
        /// The object that the frame refers to.
        base: Sha256Digest,
    },
    /// On the server already, under this hash.
    Stored,
}

impl Source {
    /// Returns how many bytes of the frame belong to a file of `size` bytes.
    #[must_use]
    pub const fn encoded_length(&self, size: u64) -> u64 {
        match self {
            Self::Inline => size,
            Self::Zstd { length } | Self::ZstdAgainst { length, .. } => *length,
            Self::Stored => 0,
        }
    }
}

/// One file of a changeset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRecord {
    /// Where the file stands in the site, in NFC.
    pub path: SitePath,
    /// SHA-256 of the file's bytes.
    pub sha256: Sha256Digest,
    /// The file's length in bytes.
    pub size: u64,
    /// Where the bytes are.
    #[serde(flatten)]
    pub source: Source,
}

/// The header of `POST /_icd/changesets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangesetHeader {
    /// Files that are new or have other bytes.
    #[serde(default)]
    pub puts: Vec<PutRecord>,
    /// Files that go; removing what is absent is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<SitePath>,
    /// Who publishes, for the list of deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_by: Option<String>,
    /// What the publisher says of it, for the list of deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer to `POST /_icd/changesets` and `POST /_icd/rollback` of the second generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The deploy that is current now.
    pub deploy_id: DeployId,
    /// The deploy that was current before.
    pub previous_deploy_id: Option<DeployId>,
    /// Files in the deploy.
    pub files: u64,
    /// Bytes of all files in the deploy.
    pub bytes: u64,
    /// Milliseconds from the request's last byte to the answer.
    pub server_ms: f64,
}

/// One blob of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRecord {
    /// SHA-256 of the blob.
    pub sha256: Sha256Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// Where the bytes are; never [`Source::Stored`].
    #[serde(flatten)]
    pub source: Source,
}

/// The header of `POST /_icd/blobs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackHeader {
    /// The blobs, in the order of their bytes.
    pub blobs: Vec<PackRecord>,
}

/// The body of `POST /_icd/blobs/missing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRequest {
    /// Blobs that a changeset is going to name.
    pub blobs: Vec<Sha256Digest>,
}

/// The answer to `POST /_icd/blobs/missing`, to a pack and to `PUT /_icd/blobs/{sha256}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingAnswer {
    /// Those of the named blobs that the server does not have.
    pub missing: Vec<Sha256Digest>,
}

/// One deploy in the answer to `GET /_icd/deploys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploySummary {
    /// The deploy.
    pub deploy_id: DeployId,
    /// The deploy that it was made from.
    pub base_deploy_id: Option<DeployId>,
    /// Unix time of the commit, in milliseconds.
    pub committed_unix_ms: u64,
    /// Files in the deploy.
    pub files: u64,
    /// Bytes of all files in the deploy.
    pub bytes: u64,
    /// Files that were put against the base.
    pub puts: u64,
    /// Files that were removed against the base.
    pub removes: u64,
    /// Who published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_by: Option<String>,
    /// What the publisher said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether it is the deploy that is being served.
    pub current: bool,
}

/// The answer to `GET /_icd/deploys`: newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployList {
    /// The kept deploys.
    pub deploys: Vec<DeploySummary>,
}

/// The answer to `GET /_icd/deploys/{id}`: one deploy and what it changed against its base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployDetail {
    /// The deploy.
    #[serde(flatten)]
    pub summary: DeploySummary,
    /// Paths that are new against the base.
    pub added: Vec<SitePath>,
    /// Paths with other bytes than in the base.
    pub changed: Vec<SitePath>,
    /// Paths that the base had.
    pub removed: Vec<SitePath>,
}

/// The signed answer to `GET /_icd/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedHealth {
    /// Always true.
    pub ok: bool,
    /// The version of the first generation's protocol.
    pub version: String,
    /// The deploy that is being served.
    pub current_deploy_id: Option<DeployId>,
    /// Files being served.
    pub files: u64,
    /// Bytes of the files being served.
    pub bytes: u64,
    /// Size of the volume's file system, in bytes.
    pub volume_bytes: u64,
    /// Free bytes of the volume's file system.
    pub volume_free_bytes: u64,
    /// Version of the server's build.
    pub server_version: String,
    /// The server's Unix time in milliseconds.
    pub unix_ms: u64,
}
