//! JSON shapes of the first generation, byte-compatible with clients and servers that speak it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Header with the Unix time in seconds at which the request was signed.
pub const TIMESTAMP_HEADER: &str = "x-cms-timestamp";

/// Header with `sha256=<hex>`.
pub const SIGNATURE_HEADER: &str = "x-cms-signature";

/// `GET /_icd/health`, unsigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Always true.
    pub ok: bool,
    /// The protocol's version.
    pub version: String,
}

/// `GET /_icd/manifest`.
///
/// Paths and digests are plain text here: a server of another make may hold what this build would
/// refuse, and that must not hide the rest. Deploy ids of such servers are opaque as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestBody {
    /// The current deploy; `null` before the first.
    pub deploy_id: Option<String>,
    /// Site path → SHA-256 in hex.
    pub files: BTreeMap<String, String>,
}

/// `POST /_icd/deploys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    /// The staged deploy, to be filled and committed.
    pub deploy_id: String,
}

/// The answer to a put, a delete and an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Always true.
    pub ok: bool,
}

/// The answer to a commit and a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Committed {
    /// Always true.
    pub ok: bool,
    /// The deploy that is current now.
    pub deploy_id: String,
}

/// The body of `POST /_icd/rollback`; an empty body means the deploy before current.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackRequest {
    /// The deploy to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_id: Option<String>,
}
