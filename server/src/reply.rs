//! Outcomes → HTTP: the only place that knows the status, the stable code, the public words and
//! the log words of every refusal of the sync endpoint.
//!
//! Public words say what happened and what to do next, and nothing of the volume's paths; what only
//! the operator may see goes to the log.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Body as _;
use onsave_protocol::{
    site_path::SitePathError,
    wire::{
        error::{ErrorBody, ErrorCode},
        v2::PROTOCOL_HEADER,
    },
};
use serde::Serialize;

use crate::{router::NoRoute, static_files::ReplyBody, store::StoreError};

/// Why the sync endpoint does not do what a request asks for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// 401.
    #[error("{}", .0.words())]
    Unauthorized(Unauthorized),
    /// The peer failed too often.
    #[error("too many failed signatures from this address; try again later")]
    TooManyFailures { retry_after: Duration },
    /// As many of the kind as allowed are under way.
    #[error("the server is busy; try again in a moment")]
    Busy,
    /// The request is malformed.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// A path is refused.
    #[error("{path:?} is no site path")]
    BadPath { path: String, source: SitePathError },
    /// The body is not the one that was signed, or bytes are not the file they were announced as.
    #[error("{0}")]
    DigestMismatch(Cow<'static, str>),
    /// No such route.
    #[error("there is nothing here")]
    NotFound,
    /// The route has other methods.
    #[error("this call allows {allow}")]
    MethodNotAllowed { allow: &'static str },
    /// The body stalled.
    #[error("the body did not arrive in time")]
    Timeout,
    /// The call cannot do with a body of unknown length.
    #[error("this call needs Content-Length")]
    LengthRequired,
    /// The call cannot do without a base.
    #[error("this call needs If-Match with the base deploy, or If-None-Match: * for the first one")]
    PreconditionRequired,
    /// Something is over its limit.
    #[error("{what} is over the server's limit of {limit}")]
    TooLarge { what: &'static str, limit: u64 },
    /// The peer hung up while it sent the body.
    #[error("the body broke off")]
    BrokenBody(#[source] hyper::Error),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task of the server's own failed.
    #[error("the server failed")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a request is not authenticated; the first four texts are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unauthorized {
    MissingHeaders,
    BadTimestamp,
    Skew,
    InvalidSignature,
    NonceReused,
}

impl Unauthorized {
    const fn words(self) -> &'static str {
        match self {
            Self::MissingHeaders => "missing auth headers",
            Self::BadTimestamp => "bad timestamp",
            Self::Skew => "timestamp skew too large",
            Self::InvalidSignature => "invalid signature",
            Self::NonceReused => "nonce was used before",
        }
    }

    const fn code(self) -> ErrorCode {
        match self {
            Self::MissingHeaders => ErrorCode::MissingAuthHeaders,
            Self::BadTimestamp => ErrorCode::BadTimestamp,
            Self::Skew => ErrorCode::TimestampSkew,
            Self::InvalidSignature => ErrorCode::InvalidSignature,
            Self::NonceReused => ErrorCode::NonceReused,
        }
    }
}

impl Refusal {
    /// Returns the refusal of a request that `what` is wrong with.
    pub(crate) fn bad_request(what: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(what.into())
    }

    /// Returns the refusal for a failure of the server's own.
    pub(crate) fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// Returns the HTTP status and the stable code.
    pub(crate) const fn status(&self) -> (StatusCode, ErrorCode) {
        match self {
            Self::Unauthorized(why) => (StatusCode::UNAUTHORIZED, why.code()),
            Self::TooManyFailures { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyFailures)
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Busy),
            Self::BadRequest(_) | Self::BrokenBody(_) => {
                (StatusCode::BAD_REQUEST, ErrorCode::BadRequest)
            }
            Self::BadPath { .. } => (StatusCode::BAD_REQUEST, ErrorCode::BadPath),
            Self::DigestMismatch(_) => (StatusCode::BAD_REQUEST, ErrorCode::DigestMismatch),
            Self::NotFound => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
            Self::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::MethodNotAllowed)
            }
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout),
            Self::LengthRequired => (StatusCode::LENGTH_REQUIRED, ErrorCode::LengthRequired),
            Self::PreconditionRequired => (
                StatusCode::PRECONDITION_REQUIRED,
                ErrorCode::PreconditionRequired,
            ),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge),
            Self::Store(error) => store_status(error),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
        }
    }

    /// Returns what the peer is told.
    fn body(&self) -> ErrorBody {
        let (status, code) = self.status();
        let error = if status == StatusCode::INTERNAL_SERVER_ERROR {
            "the server failed; its log says how".to_owned()
        } else {
            match self {
                Self::BadPath { source, .. } => format!("{self}: {source}"),
                Self::Store(StoreError::VolumeFull { .. }) => {
                    "the volume is full; the site stays as it was".to_owned()
                }
                _ => self.to_string(),
            }
        };
        let mut body = ErrorBody {
            error,
            code: Some(code),
            current_deploy_id: None,
            missing: Vec::new(),
        };
        match self {
            Self::Store(StoreError::BaseNotCurrent { current }) => {
                body.current_deploy_id = *current;
            }
            Self::Store(StoreError::MissingBlobs(missing)) => body.missing.clone_from(missing),
            _ => {}
        }
        body
    }

    /// Returns the answer.
    pub(crate) fn reply(&self) -> Response<ReplyBody> {
        let (status, _) = self.status();
        let mut response = json(status, &self.body());
        let headers = response.headers_mut();
        match self {
            Self::TooManyFailures { retry_after } => {
                headers.insert(header::RETRY_AFTER, (retry_after.as_secs() + 1).into());
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::MethodNotAllowed { allow } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            _ => {}
        }
        response
    }

    /// Writes the refusal to the log, once, inside the request's span.
    pub(crate) fn log(&self) {
        let (status, code) = self.status();
        let status_code = status.as_u16();
        let cause = chain(self);
        if status == StatusCode::INTERNAL_SERVER_ERROR || status == StatusCode::INSUFFICIENT_STORAGE
        {
            tracing::error!(http.status = status_code, ?code, "request failed: {cause}");
        } else if let Self::TooManyFailures { .. } = self {
            // The failures themselves are in the log; the rest could fill a disk with it.
            tracing::debug!(http.status = status_code, ?code, "request refused: {cause}");
        } else if let Self::Unauthorized(Unauthorized::InvalidSignature) = self {
            tracing::warn!(http.status = status_code, ?code, "request refused: {cause}");
        } else {
            tracing::info!(http.status = status_code, ?code, "request refused: {cause}");
        }
    }
}

impl From<NoRoute> for Refusal {
    fn from(no_route: NoRoute) -> Self {
        match no_route {
            NoRoute::NotFound => Self::NotFound,
            NoRoute::MethodNotAllowed { allow } => Self::MethodNotAllowed { allow },
        }
    }
}

const fn store_status(error: &StoreError) -> (StatusCode, ErrorCode) {
    match error {
        StoreError::BaseNotCurrent { .. } => {
            (StatusCode::PRECONDITION_FAILED, ErrorCode::BaseNotCurrent)
        }
        StoreError::MissingBlobs(_) => (StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::MissingBlobs),
        StoreError::PathConflict(_) => (StatusCode::BAD_REQUEST, ErrorCode::PathConflict),
        StoreError::NoSuchDeploy(_) => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
        StoreError::NoEarlierDeploy => (StatusCode::BAD_REQUEST, ErrorCode::NoEarlierDeploy),
        StoreError::StagingConflict { .. } => (StatusCode::CONFLICT, ErrorCode::StagingConflict),
        StoreError::TooManyStaged { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Busy),
        StoreError::TooManyFiles { .. } | StoreError::TooLarge { .. } => {
            (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge)
        }
        StoreError::DigestMismatch { .. } | StoreError::SizeMismatch { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::DigestMismatch)
        }
        StoreError::VolumeFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::VolumeFull),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
    }
}

/// Returns an error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Returns a JSON answer of the sync endpoint.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<ReplyBody> {
    // The wire types hold text, numbers and lists: nothing that JSON cannot write.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(ReplyBody::full(Bytes::from(bytes)));
    *response.status_mut() = status;
    endpoint_headers(&mut response);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Returns what answers HEAD where `response` answers GET: the same headers, the length of the body among
/// them, and no body (RFC 9110, section 9.3.2).
pub(crate) fn without_body(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    let body = std::mem::replace(response.body_mut(), ReplyBody::empty());
    if let Some(length) = body.size_hint().exact() {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// Adds the headers that every answer below `/_icd` carries.
pub(crate) fn endpoint_headers(response: &mut Response<ReplyBody>) {
    let headers = response.headers_mut();
    headers.insert(PROTOCOL_HEADER, HeaderValue::from_static("2"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use onsave_protocol::{DeployId, Sha256Digest};

    use super::*;

    async fn told(refusal: Refusal) -> (u16, ErrorBody) {
        let (parts, body) = refusal.reply().into_parts();
        assert_eq!(parts.headers[PROTOCOL_HEADER], "2");
        assert_eq!(parts.headers[header::CACHE_CONTROL], "no-store");
        let bytes = body.collect().await.unwrap().to_bytes();
        (
            parts.status.as_u16(),
            serde_json::from_slice(&bytes).unwrap(),
        )
    }

    #[test]
    fn head_has_the_length_and_not_the_body() {
        let response = without_body(json(StatusCode::OK, &[1, 2, 3]));
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "7");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert!(response.body().is_end_stream());
    }

    #[tokio::test]
    async fn failures_of_the_volume_show_no_path() {
        let disk = || std::io::Error::other("the disk said this");
        let full = StoreError::VolumeFull {
            operation: "write",
            path: "/srv/staging/x".into(),
            source: disk(),
        };
        let failed = StoreError::Io {
            operation: "write",
            path: "/srv/staging/x".into(),
            source: disk(),
        };
        let damaged = StoreError::corrupt("/srv/manifests/x", "it is cut off");
        for (error, status, code) in [
            (full, 507, ErrorCode::VolumeFull),
            (failed, 500, ErrorCode::Internal),
            (damaged, 500, ErrorCode::Internal),
        ] {
            let (told_status, body) = told(error.into()).await;
            assert_eq!((told_status, body.code), (status, Some(code)));
            assert!(!body.error.contains("/srv"), "{}", body.error);
            assert!(!body.error.contains("disk said"), "{}", body.error);
        }
    }

    #[tokio::test]
    async fn refusals_say_what_the_client_needs_to_go_on() {
        let current = DeployId::after(None, 1, 2);
        let moved = StoreError::BaseNotCurrent {
            current: Some(current),
        };
        let (status, body) = told(moved.into()).await;
        assert_eq!((status, body.current_deploy_id), (412, Some(current)));
        let lacking = vec![Sha256Digest::of(b"x")];
        let (status, body) = told(StoreError::MissingBlobs(lacking.clone()).into()).await;
        assert_eq!((status, body.missing), (422, lacking));
    }

    #[test]
    fn whoever_may_try_again_is_told_when() {
        let after = |refusal: Refusal| {
            let reply = refusal.reply();
            let value = reply.headers().get(header::RETRY_AFTER).cloned();
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(after(Refusal::Busy).as_deref(), Some("1"));
        let staged = StoreError::TooManyStaged { limit: 16 };
        assert_eq!(after(staged.into()).as_deref(), Some("1"));
        let retry_after = Duration::from_millis(41_500);
        let held_off = Refusal::TooManyFailures { retry_after };
        assert_eq!(after(held_off).as_deref(), Some("42"));
        assert_eq!(after(Refusal::NotFound), None);
    }
}
