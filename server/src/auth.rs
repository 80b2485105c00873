//! Who may call: signatures of both generations, and the one way to a [`Verified`] request.
//!
//! Owns the memory of nonces ([`nonces`]) and of failures ([`failures`]). A `Verified` is made here
//! alone, so that a call that takes one cannot be reached without a signature. The order is: has
//! this peer failed too often; is there a signature; is it right; was its nonce used. Only the
//! first generation's body is read here, since its signature covers it: it is bounded in size,
//! in time and in how many are held at once.

mod failures;
mod nonces;

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderMap, header::HeaderName, request::Parts};
use onsave_protocol::{
    Secret,
    limits::CLOCK_WINDOW_SECONDS,
    signature::{v1, v2},
    wire::v1::{SIGNATURE_HEADER as V1_SIGNATURE, TIMESTAMP_HEADER as V1_TIMESTAMP},
};
use tokio::sync::Semaphore;

pub use self::nonces::NonceError;
use self::{
    failures::Failures,
    nonces::{Nonces, Remembered},
};
use crate::{
    config::{Secrets, ServerConfig},
    reply::{Refusal, Unauthorized},
    request_body::RequestBody,
    store::Clock,
};

/// A first-generation body up to this size needs no slot: all connections together hold little.
const SMALL_BODY_BYTES: u64 = 16 * 1024;

/// How long a first-generation body waits for a slot before the answer is 503.
const SLOT_WAIT: Duration = Duration::from_secs(2);

/// Checks signatures.
#[derive(Debug)]
pub(crate) struct Authority {
    secrets: Secrets,
    key_ids: (String, Option<String>),
    clock: Arc<dyn Clock>,
    nonces: Nonces,
    failures: Failures,
    bodies: Arc<Semaphore>,
    body_bytes: u64,
    body_time: Duration,
}

/// A request whose signature is right; only [`Authority::verify`] makes one.
#[derive(Debug)]
pub(crate) struct Verified<'b> {
    generation: Generation,
    body: &'b mut RequestBody,
}

/// Which generation's signature a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    V1,
    V2,
}

impl Verified<'_> {
    /// Returns which generation's signature the request carries.
    pub(crate) const fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns the body that was signed.
    pub(crate) const fn body(&mut self) -> &mut RequestBody {
        self.body
    }

    /// Refuses a first-generation signature, which covers no precondition.
    pub(crate) const fn require_v2(&self) -> Result<(), Refusal> {
        match self.generation {
            Generation::V2 => Ok(()),
            Generation::V1 => Err(Refusal::Unauthorized(Unauthorized::MissingHeaders)),
        }
    }
}

/// Returns whether a request carries a header of either generation's signature.
pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    has_v2(headers) || headers.contains_key(V1_TIMESTAMP) || headers.contains_key(V1_SIGNATURE)
}

impl Authority {
    /// Returns the authority of `config`, with the nonces that its file remembers. Blocking.
    ///
    /// # Errors
    ///
    /// [`NonceError`] when the file cannot be read or made.
    pub(crate) fn new(config: &ServerConfig) -> Result<Self, NonceError> {
        let secrets = config.secrets.clone();
        Ok(Self {
            key_ids: (
                v2::key_id(&secrets.current),
                secrets.previous.as_ref().map(v2::key_id),
            ),
            secrets,
            clock: config.clock.clone(),
            nonces: Nonces::open(&config.nonce_file, config.clock.unix_ms() / 1000)?,
            failures: Failures::new(config.limits.failures_per_minute),
            bodies: Arc::new(Semaphore::new(config.limits.v1_bodies)),
            body_bytes: config.limits.v1_body_bytes as u64,
            body_time: config.timeouts.v1_body,
        })
    }

    /// Returns the request as verified, when its signature is right.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unauthorized`] and [`Refusal::TooManyFailures`]; for the first generation also
    /// what can go wrong while its body is read.
    pub(crate) async fn verify<'b>(
        &self,
        parts: &Parts,
        body: &'b mut RequestBody,
        peer: IpAddr,
    ) -> Result<Verified<'b>, Refusal> {
        let held_off = self
            .failures
            .blocked(peer)
            .map(|retry_after| Refusal::TooManyFailures { retry_after });
        // The first generation is checked only after its body, which a peer that is held off does not
        // get read. The second costs one HMAC over some headers: the owner, who may stand behind the
        // same address as whoever fails, gets through.
        let verified = match (has_v2(&parts.headers), &held_off) {
            (true, _) => self.verify_v2(parts, body).map(|()| Generation::V2),
            (false, None) => self.verify_v1(parts, body).await.map(|()| Generation::V1),
            (false, Some(_)) => Err(Unauthorized::InvalidSignature.into()),
        };
        match (verified, held_off) {
            (Ok(generation), _) => Ok(Verified { generation, body }),
            (Err(_), Some(held_off)) => Err(held_off),
            (Err(refusal), None) => {
                // A stalled body holds a slot without a signature: it counts as a failed one.
                let counts = matches!(
                    refusal,
                    Refusal::Timeout | Refusal::Unauthorized(Unauthorized::InvalidSignature)
                );
                if counts {
                    self.failures.record(peer);
                }
                Err(refusal)
            }
        }
    }

    fn verify_v2(&self, parts: &Parts, body: &mut RequestBody) -> Result<(), Refusal> {
        let headers = &parts.headers;
        let input = required(headers, v2::SIGNATURE_INPUT_HEADER)?;
        let signature = required(headers, v2::SIGNATURE_HEADER)?;
        let content_digest = required(headers, v2::CONTENT_DIGEST_HEADER)?;
        let claim = v2::Claim::parse(input, signature).map_err(Unauthorized::from)?;
        let secret = self
            .secret_of(&claim.parameters().key_id)
            .ok_or(Unauthorized::InvalidSignature)?;
        let request = v2::SignedRequest {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            content_digest,
            if_match: optional(headers, http::header::IF_MATCH.as_str())?,
            if_none_match: optional(headers, http::header::IF_NONE_MATCH.as_str())?,
        };
        let now = self.now();
        claim
            .verify(&request, secret, now)
            .map_err(Unauthorized::from)?;
        let digest =
            v2::parse_content_digest(content_digest).ok_or(Unauthorized::InvalidSignature)?;
        let parameters = claim.parameters();
        let until = parameters
            .expires
            .min(parameters.created.saturating_add(CLOCK_WINDOW_SECONDS));
        match self.nonces.remember(&parameters.nonce, until, now) {
            Remembered::New => {}
            Remembered::Known => return Err(Unauthorized::NonceReused.into()),
            Remembered::Full => return Err(Refusal::Busy),
        }
        body.expect_digest(digest);
        Ok(())
    }

    async fn verify_v1(&self, parts: &Parts, body: &mut RequestBody) -> Result<(), Refusal> {
        let timestamp = required(&parts.headers, V1_TIMESTAMP)?;
        let signature = required(&parts.headers, V1_SIGNATURE)?;
        v1::check_timestamp(timestamp, self.now()).map_err(Unauthorized::from)?;
        if !has_v1_shape(signature) {
            return Err(Unauthorized::InvalidSignature.into());
        }
        body.check_length(self.body_bytes)?;
        // The slot is held until the body is verified or dropped.
        let small = body
            .declared_length()
            .is_some_and(|length| length <= SMALL_BODY_BYTES);
        let slot = if small {
            None
        } else {
            let slot = tokio::time::timeout(SLOT_WAIT, self.bodies.acquire()).await;
            Some(
                slot.map_err(|_| Refusal::Busy)?
                    .map_err(Refusal::internal)?,
            )
        };
        let collecting = body.collect_unverified(self.body_bytes);
        let (bytes, digest) = tokio::time::timeout(self.body_time, collecting)
            .await
            .map_err(|_| Refusal::Timeout)??;
        let request = v1::SignedRequest {
            timestamp,
            method: parts.method.as_str(),
            path_and_query: parts
                .uri
                .path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str),
            body: digest,
        };
        let right = self
            .all_secrets()
            .any(|secret| request.verify(secret, signature).is_ok());
        drop(slot);
        if !right {
            return Err(Unauthorized::InvalidSignature.into());
        }
        body.set_collected(bytes, digest);
        Ok(())
    }

    /// Returns the Unix time in seconds.
    fn now(&self) -> u64 {
        self.clock.unix_ms() / 1000
    }

    fn all_secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.secrets.current).chain(&self.secrets.previous)
    }

    fn secret_of(&self, key_id: &str) -> Option<&Secret> {
        if key_id == self.key_ids.0 {
            Some(&self.secrets.current)
        } else if self.key_ids.1.as_deref() == Some(key_id) {
            self.secrets.previous.as_ref()
        } else {
            None
        }
    }
}

fn has_v2(headers: &HeaderMap) -> bool {
    headers.contains_key(v2::SIGNATURE_INPUT_HEADER) || headers.contains_key(v2::SIGNATURE_HEADER)
}

/// Returns whether a signature header could be right: `sha256=` and 64 hex digits.
fn has_v1_shape(signature: &str) -> bool {
    signature.strip_prefix("sha256=").is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

fn required<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, Refusal> {
    optional(headers, name)?.ok_or(Refusal::Unauthorized(Unauthorized::MissingHeaders))
}

/// Returns the value of a header that may stand at most once: which of two values a signature
/// covers must not be a matter of reading.
fn optional<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(HeaderName::from_static(name)).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Unauthorized::InvalidSignature.into());
    }
    first
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| Unauthorized::InvalidSignature.into())
}

impl From<Unauthorized> for Refusal {
    fn from(why: Unauthorized) -> Self {
        Self::Unauthorized(why)
    }
}

impl From<v1::SignatureError> for Unauthorized {
    fn from(error: v1::SignatureError) -> Self {
        match error {
            v1::SignatureError::MissingHeaders => Self::MissingHeaders,
            v1::SignatureError::BadTimestamp => Self::BadTimestamp,
            v1::SignatureError::Skew => Self::Skew,
            v1::SignatureError::Invalid => Self::InvalidSignature,
        }
    }
}

impl From<v2::SignatureError> for Unauthorized {
    fn from(error: v2::SignatureError) -> Self {
        match error {
            v2::SignatureError::Skew => Self::Skew,
            v2::SignatureError::Malformed
            | v2::SignatureError::NotCovered
            | v2::SignatureError::Invalid => Self::InvalidSignature,
        }
    }
}
