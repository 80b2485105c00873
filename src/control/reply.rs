//! Answers: JSON, refusals with their codes, and the headers that every answer has.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, VARY, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use serde::Serialize;

use super::{
    errands::ErrandError,
    guard::{Asker, Denied},
    status::Refusal,
};
use crate::error_report;

/// The body of every answer.
pub(super) type Body = BoxBody<Bytes, Infallible>;

/// What the page may load and who may frame it: itself, and nobody.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How long a browser may remember what a page of an allowed origin may send, in seconds.
const PREFLIGHT_AGE: &str = "600";

static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
static OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
static ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Returns `value` as an answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Text and numbers: nothing that cannot be written.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = bytes(Bytes::from(text), "application/json");
    *response.status_mut() = status;
    response
}

/// Returns a file as an answer.
pub(super) fn bytes(bytes: Bytes, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes).boxed());
    let value = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

/// Why a request gets nothing.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    error: String,
    hint: Option<String>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self {
            status,
            code,
            error: error.into(),
            hint: None,
        }
    }

    /// Says what to do about it.
    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { hint, ..self }
    }
}

/// Returns a refusal as an answer.
pub(super) fn refused(refused: Refused) -> Response<Body> {
    let body = Refusal {
        code: refused.code.to_owned(),
        error: refused.error,
        hint: refused.hint,
    };
    json(refused.status, &body)
}

/// Returns the answer to whom the guard does not let pass.
pub(super) fn denied(denied: Denied) -> Response<Body> {
    let status = match denied {
        Denied::NoHost => StatusCode::BAD_REQUEST,
        Denied::Host | Denied::Origin | Denied::CrossSite => StatusCode::FORBIDDEN,
        Denied::NoToken | Denied::WrongToken => StatusCode::UNAUTHORIZED,
    };
    let refusal = Refused::new(status, denied.code(), denied.to_string());
    let mut response = refused(refusal.with_hint(denied.hint()));
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Returns what became of an errand.
pub(super) fn errand(outcome: Result<impl Serialize, ErrandError>) -> Response<Body> {
    match outcome {
        Ok(value) => json(StatusCode::OK, &value),
        Err(error) => {
            let (status, code) = error.code();
            let mut refusal = Refused::new(status, code, error_report::with_causes(&error));
            refusal.hint = error.hint();
            refused(refusal)
        }
    }
}

/// Returns the answer to a request that the path has no method for.
pub(super) fn other_method(allowed: &[Method]) -> Response<Body> {
    let names = names(allowed);
    let error = format!("this call takes {names}");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = refused(Refused::new(status, "method_not_allowed", error));
    insert(response.headers_mut(), ALLOW, &names);
    response
}

/// Returns what a path can be asked with.
pub(super) fn options(allowed: &[Method]) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = StatusCode::NO_CONTENT;
    insert(response.headers_mut(), ALLOW, &names(allowed));
    response
}

/// Returns what a page of an allowed origin is told before it asks.
pub(super) fn preflight(allowed: &[Method], asked: &HeaderMap) -> Response<Body> {
    let mut response = options(allowed);
    let headers = response.headers_mut();
    insert(headers, ACCESS_CONTROL_ALLOW_METHODS, &names(allowed));
    insert(
        headers,
        ACCESS_CONTROL_ALLOW_HEADERS,
        "authorization, content-type",
    );
    insert(headers, ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    if asked.contains_key("access-control-request-private-network") {
        insert(headers, ALLOW_PRIVATE.clone(), "true");
    }
    response
}

/// Adds what every answer has. Only a page of an allowed origin is told that it may read it.
pub(super) fn finish(response: &mut Response<Body>, asker: Option<Asker<'_>>) {
    let headers = response.headers_mut();
    insert(headers, CONTENT_SECURITY_POLICY, POLICY);
    insert(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(headers, X_FRAME_OPTIONS, "DENY");
    insert(headers, REFERRER_POLICY, "no-referrer");
    insert(headers, RESOURCE_POLICY.clone(), "same-origin");
    insert(headers, OPENER_POLICY.clone(), "same-origin");
    insert(headers, CACHE_CONTROL, "no-store");
    insert(headers, VARY, ORIGIN.as_str());
    if let Some(Asker::Allowed(origin)) = asker {
        insert(headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

fn names(methods: &[Method]) -> String {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.join(", ")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Texts of this program, and an origin that came as a header.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
