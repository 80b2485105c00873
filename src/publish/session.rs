//! Signed calls to one server: sign, send, send again where that is safe, read the answer.
//!
//! Owns the HTTP client and the signer. A pooled connection may be closed by the other side in the
//! very moment in which a request is written to it (the server was restarted): such an exchange is
//! made again at once, signed again, when a repetition cannot do harm.

use std::sync::Arc;

use arc_swap::ArcSwap;
use onsave_protocol::{
    Secret, Sha256Digest,
    digest::hex,
    wire::{
        error::{ErrorBody, ErrorCode},
        v2::REQUEST_ID_HEADER,
    },
};
use serde::de::DeserializeOwned;

use super::{
    error::{Asked, PublishError, refusal},
    retry::RetryClass,
    sign::{Generations, NoRandomness, Precondition, Signer, Unsigned},
};
use crate::http::{Answer, Body, Http, HttpError, Patience, Request, Wire};

/// How often one call is sent at most: every pooled connection may be stale after a restart.
const MAX_SENDS: u32 = 4;

/// The longest answer to a call that answers a few fields, in bytes.
pub(crate) const SHORT_ANSWER_BYTES: u64 = 1024 * 1024;

/// The longest answer to a call that lists paths or digests, in bytes after decoding: a million
/// files with long paths.
pub(crate) const LISTING_BYTES: u64 = 512 * 1024 * 1024;

/// What messages call the local target: its port is another one each time and tells nobody anything.
pub(crate) const LOCAL_TARGET: &str = "the local target";

/// A server and the secret that it shares.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Scheme, host and port: `https://example.org`.
    pub url: String,
    /// The secret.
    pub secret: Secret,
    /// Where the secret was read, for errors: a variable's name or a file.
    pub secret_origin: String,
    /// What messages call the server: its address, or "the local target".
    pub name: String,
}

/// Whether a call may be sent again when its answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It does the same twice as once, or is refused the second time.
    Safe,
    /// It would do something twice.
    Never,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'static str,
    pub(crate) path_and_query: &'a str,
    pub(crate) generations: Generations,
    pub(crate) precondition: Precondition<'a>,
    pub(crate) media_type: Option<&'static str>,
    pub(crate) body: Body,
    /// SHA-256 of the body.
    pub(crate) digest: Sha256Digest,
    pub(crate) patience: Patience,
    pub(crate) answer_limit: u64,
    pub(crate) repeat: Repeat,
}

impl<'a> Call<'a> {
    /// Returns a call of the second generation without a body, answered promptly and briefly.
    pub(crate) fn new(method: &'static str, path_and_query: &'a str) -> Self {
        Self {
            method,
            path_and_query,
            generations: Generations::V2,
            precondition: Precondition::None,
            media_type: None,
            body: Body::Parts(Vec::new()),
            digest: Sha256Digest::of(b""),
            patience: Patience::PROMPT,
            answer_limit: SHORT_ANSWER_BYTES,
            repeat: Repeat::Safe,
        }
    }

    /// Returns the call with a body of JSON.
    pub(crate) fn with_json(mut self, json: Vec<u8>) -> Self {
        self.digest = Sha256Digest::of(&json);
        self.body = Body::Parts(vec![json.into()]);
        self.media_type = Some("application/json");
        self
    }
}

/// Signed calls to one server.
#[derive(Debug)]
pub(crate) struct Session {
    http: Http,
    /// Replaced when the server takes another secret.
    signer: ArcSwap<Signer>,
    /// What messages call the server.
    url: String,
    secret_origin: String,
}

impl Session {
    /// Returns a session that has not connected yet.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, PublishError> {
        let signer = Signer::new(endpoint.secret.clone());
        Self::with_signer(endpoint, signer)
    }

    /// Returns a session whose requests `signer` signs.
    pub(crate) fn with_signer(endpoint: Endpoint, signer: Signer) -> Result<Self, PublishError> {
        let url = endpoint.name;
        let http = Http::new(endpoint.url.trim_end_matches('/'));
        let http = http.map_err(|source| PublishError::NoAnswer {
            url: url.clone(),
            source,
        })?;
        Ok(Self {
            http,
            signer: ArcSwap::from_pointee(signer),
            url,
            secret_origin: endpoint.secret_origin,
        })
    }

    /// Signs with another secret from now on.
    pub(crate) fn use_secret(&self, secret: Secret) {
        let signer = self.signer.load().with_secret(secret);
        self.signer.store(Arc::new(signer));
    }

    /// Returns what messages call the server: its address, or "the local target".
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the HTTP client.
    pub(crate) const fn http(&self) -> &Http {
        &self.http
    }

    /// Returns how much went over the wire so far.
    pub(crate) fn wire(&self) -> Wire {
        self.http.wire()
    }

    /// Makes `call` and returns its answer: any status below 400.
    ///
    /// # Errors
    ///
    /// What the refusal or the lack of an answer means.
    pub(crate) async fn call(&self, mut call: Call<'_>) -> Result<Answer, PublishError> {
        let mut sends = 1;
        loop {
            let again = match (&call.body, call.repeat) {
                (Body::Parts(parts), Repeat::Safe) => Some(parts.clone()),
                (Body::File { .. }, _) | (_, Repeat::Never) => None,
            };
            let error = match self.send(&mut call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let (Some(parts), true) = (again, sends < MAX_SENDS) else {
                return Err(error.into_publish_error(&self.url));
            };
            if error.retry() != RetryClass::SignAgain {
                return Err(error.into_publish_error(&self.url));
            }
            tracing::debug!(url = self.url, path = call.path_and_query, sends, %error, "sent again");
            call.body = Body::Parts(parts);
            sends += 1;
        }
    }

    /// Makes `call` and returns what its answer says.
    ///
    /// # Errors
    ///
    /// As [`Session::call`], and [`PublishError::BadAnswer`].
    pub(crate) async fn call_json<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
    ) -> Result<T, PublishError> {
        self.parse(&self.call(call).await?)
    }

    /// Returns what `answer` says.
    pub(crate) fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, PublishError> {
        serde_json::from_slice(&answer.body).map_err(|source| PublishError::BadAnswer {
            url: self.url.clone(),
            source,
        })
    }

    async fn send(&self, call: &mut Call<'_>) -> Result<Answer, SendError> {
        let unsigned = Unsigned {
            method: call.method,
            path_and_query: call.path_and_query,
            body: call.digest,
            precondition: call.precondition,
        };
        let signed = self.signer.load().headers(&unsigned, call.generations);
        let mut headers = signed.map_err(|error| SendError::Refused(error.into()))?;
        // A few fields are not worth a coding, nor the bytes of asking for one.
        if call.answer_limit > SHORT_ANSWER_BYTES {
            headers.push(("accept-encoding", "zstd".into()));
        }
        let request_id = request_id().map_err(|error| SendError::Refused(error.into()))?;
        tracing::debug!(
            request.id = request_id,
            call.method,
            call.path_and_query,
            "calling"
        );
        headers.push((REQUEST_ID_HEADER, request_id));
        if let Some(media_type) = call.media_type {
            headers.push(("content-type", media_type.into()));
        }
        let body = std::mem::replace(&mut call.body, Body::Parts(Vec::new()));
        let request = Request {
            method: call.method,
            path_and_query: call.path_and_query,
            headers,
            body,
            patience: call.patience,
            answer_limit: call.answer_limit,
        };
        let answer = self.http.exchange(request).await.map_err(SendError::Lost)?;
        match answer.status {
            ..=399 => Ok(answer),
            401 if nonce_was_used(&answer) => Err(SendError::NonceReused(self.refusal(&answer))),
            _ => Err(SendError::Refused(self.refusal(&answer))),
        }
    }

    fn refusal(&self, answer: &Answer) -> PublishError {
        let local_time = jiff::Timestamp::try_from(self.signer.load().now())
            .map_or_else(|_| "an impossible time".into(), |time| time.to_string());
        refusal(
            answer,
            Asked {
                url: &self.url,
                secret_origin: &self.secret_origin,
                local_time: &local_time,
            },
        )
    }
}

/// Why one sending of a call failed.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Lost(HttpError),
    #[error("{0}")]
    NonceReused(PublishError),
    #[error("{0}")]
    Refused(PublishError),
}

impl SendError {
    const fn retry(&self) -> RetryClass {
        match self {
            // The connection was there and broke: most likely it was pooled and stale. Whether the
            // server acted is unknown, which is why the call says if that matters.
            Self::Lost(HttpError::Broken(_)) | Self::NonceReused(_) => RetryClass::SignAgain,
            Self::Lost(_) => RetryClass::Backoff,
            Self::Refused(error) => error.retry(),
        }
    }

    fn into_publish_error(self, url: &str) -> PublishError {
        match self {
            Self::Lost(source) => PublishError::NoAnswer {
                url: url.to_owned(),
                source,
            },
            Self::NonceReused(error) | Self::Refused(error) => error,
        }
    }
}

/// Returns an id that the server logs as well, so that both logs can be joined.
fn request_id() -> Result<String, NoRandomness> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(hex(&bytes))
}

fn nonce_was_used(answer: &Answer) -> bool {
    serde_json::from_slice::<ErrorBody>(&answer.body)
        .is_ok_and(|body| body.code == Some(ErrorCode::NonceReused))
}
