//! Refusals on the wire: a stable code, a text for people, and what the client needs to go on.

use serde::{Deserialize, Serialize};

use crate::{deploy_id::DeployId, digest::Sha256Digest};

/// A stable code for every way in which the server refuses.
///
/// Codes are never renamed; new ones may be added, and a client treats an unknown code by its HTTP
/// status alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 401: no signature headers.
    MissingAuthHeaders,
    /// 401: the time is not a number of seconds.
    BadTimestamp,
    /// 401: the time is more than 300 s from the server's.
    TimestampSkew,
    /// 401: wrong secret, changed request, or a malformed signature.
    InvalidSignature,
    /// 401: the nonce was used before.
    NonceReused,
    /// 429: too many failed signatures from this peer.
    TooManyFailures,
    /// 503: more requests at once than the server takes.
    Busy,
    /// 400: the request is malformed.
    BadRequest,
    /// 400: a site path is refused.
    BadPath,
    /// 400: one path would be a file and a folder at once.
    PathConflict,
    /// 400: the body does not match its `Content-Digest`, or a file its hash.
    DigestMismatch,
    /// 404: no such route or deploy.
    NotFound,
    /// 405: the route exists for another method.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    Timeout,
    /// 409: the v1 deploy was staged on a base that is not current any more.
    StagingConflict,
    /// 411: the call needs `Content-Length`.
    LengthRequired,
    /// 412: the base deploy is not current.
    BaseNotCurrent,
    /// 428: the call needs `If-Match` or `If-None-Match`.
    PreconditionRequired,
    /// 413: the body or a file is over its limit.
    TooLarge,
    /// 422: blobs that the changeset names are not on the server.
    MissingBlobs,
    /// 400: there is no earlier deploy to go back to.
    NoEarlierDeploy,
    /// 507: the volume is full; the site stays as it was.
    VolumeFull,
    /// 503: the server is shutting down.
    ShuttingDown,
    /// 500: the server failed; its log says how.
    Internal,
    /// A code that this build does not know.
    #[serde(other)]
    Unknown,
}

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// What happened, for people; the texts of v1's 401 are part of the protocol.
    pub error: String,
    /// The stable code. Absent from servers of the first generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// With [`ErrorCode::BaseNotCurrent`]: the current deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_deploy_id: Option<DeployId>,
    /// With [`ErrorCode::MissingBlobs`]: what the server lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Sha256Digest>,
}
