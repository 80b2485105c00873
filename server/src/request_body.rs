//! The body of one request while it arrives: bounded in size and time, checked against its digest.
//!
//! A [`RequestBody`] is read only through [`crate::auth::Verified`], so that no call works on bytes
//! that nobody signed for; authentication itself reads bodies of the first generation, whose
//! signature covers them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use onsave_protocol::{Sha256Digest, digest::Hasher};

use crate::reply::Refusal;

/// What is read and dropped of an unverified body, so that the peer gets to read the refusal.
///
/// Closing a socket with unread bytes resets it, and the peer may lose the answer.
const DISCARD_BYTES: u64 = 1024 * 1024;

/// How long the peer may take to send what is dropped.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// One request's body.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Incoming,
    idle: Duration,
    state: State,
    /// Whether the peer waits for `100 Continue` before it sends anything.
    expects_continue: bool,
    received: u64,
}

#[derive(Debug)]
enum State {
    /// Nobody vouches for the bytes yet.
    Unverified,
    /// The signature covers this digest; the bytes that came were added to the hasher.
    Streaming {
        expected: Sha256Digest,
        hasher: Hasher,
    },
    /// All bytes are here, and were signed.
    Collected { bytes: Bytes, digest: Sha256Digest },
    /// Nothing is left to give.
    Done { digest: Option<Sha256Digest> },
}

impl RequestBody {
    /// Returns the body of a request with these headers.
    pub(crate) fn new(incoming: Incoming, headers: &HeaderMap, idle: Duration) -> Self {
        Self {
            incoming,
            idle,
            state: State::Unverified,
            expects_continue: headers.contains_key(header::EXPECT),
            received: 0,
        }
    }

    /// Returns the length that the peer announced, if it did.
    pub(crate) fn declared_length(&self) -> Option<u64> {
        match &self.state {
            State::Collected { bytes, .. } => Some(bytes.len() as u64),
            _ => self.incoming.size_hint().exact(),
        }
    }

    /// Returns the digest that the signature covers.
    pub(crate) const fn signed_digest(&self) -> Option<Sha256Digest> {
        match &self.state {
            State::Unverified => None,
            State::Streaming { expected, .. } => Some(*expected),
            State::Collected { digest, .. } => Some(*digest),
            State::Done { digest } => *digest,
        }
    }

    /// Refuses a body that announces more than `limit` bytes, before any is read.
    pub(crate) fn check_length(&self, limit: u64) -> Result<(), Refusal> {
        let over = self.incoming.size_hint().lower() > limit;
        if over { Err(too_large(limit)) } else { Ok(()) }
    }

    /// Takes it that a signature covers `expected`.
    pub(crate) fn expect_digest(&mut self, expected: Sha256Digest) {
        self.state = State::Streaming {
            expected,
            hasher: Hasher::new(),
        };
    }

    /// Takes it that a signature covers `bytes`, which are the whole body.
    pub(crate) fn set_collected(&mut self, bytes: Bytes, digest: Sha256Digest) {
        self.state = State::Collected { bytes, digest };
    }

    /// Reads the whole body, of at most `limit` bytes, without checking it; for authentication.
    pub(crate) async fn collect_unverified(
        &mut self,
        limit: u64,
    ) -> Result<(Bytes, Sha256Digest), Refusal> {
        self.check_length(limit)?;
        let mut hasher = Hasher::new();
        let mut bytes = BytesMut::new();
        while let Some(part) = self.next_part(limit).await? {
            hasher.update(&part);
            bytes.extend_from_slice(&part);
        }
        Ok((bytes.freeze(), hasher.finish()))
    }

    /// Returns the next bytes of a body of at most `limit` bytes, or nothing once all of it came
    /// and is what was signed.
    pub(crate) async fn next(&mut self, limit: u64) -> Result<Option<Bytes>, Refusal> {
        match &mut self.state {
            State::Unverified => Err(Refusal::internal("an unverified body was read")),
            State::Done { .. } => Ok(None),
            State::Collected { bytes, digest } => {
                let (bytes, digest) = (std::mem::take(bytes), Some(*digest));
                self.state = State::Done { digest };
                if bytes.len() as u64 > limit {
                    return Err(too_large(limit));
                }
                Ok(Some(bytes))
            }
            State::Streaming { .. } => {
                let part = self.next_part(limit).await?;
                self.account(part)
            }
        }
    }

    /// Returns the whole body, of at most `limit` bytes, once it is what was signed.
    pub(crate) async fn collect(&mut self, limit: u64) -> Result<Bytes, Refusal> {
        self.check_length(limit)?;
        let mut whole = self.next(limit).await?.unwrap_or_default();
        let mut joined = BytesMut::new();
        // One part is the usual case, and is not copied.
        while let Some(part) = self.next(limit).await? {
            if joined.is_empty() {
                joined.extend_from_slice(&whole);
            }
            joined.extend_from_slice(&part);
        }
        if !joined.is_empty() {
            whole = joined.freeze();
        }
        Ok(whole)
    }

    /// Reads and drops what is left after a refusal, so that the peer gets to read it.
    ///
    /// A verified peer may finish what it started, up to `limit`; anybody else a small, fixed part.
    pub(crate) async fn discard(&mut self, limit: u64) {
        if self.expects_continue && self.received == 0 {
            // The peer waits; not asking for the body is the answer.
            return;
        }
        let worth_waiting = match self.state {
            State::Unverified => false,
            // A length over the limit is not.
            _ => self.check_length(limit).is_ok(),
        };
        let limit = if worth_waiting { limit } else { DISCARD_BYTES };
        // What came before the refusal is not counted again.
        let limit = self.received.saturating_add(limit);
        let reading = async { while let Ok(Some(_)) = self.next_part(limit).await {} };
        if worth_waiting {
            reading.await;
        } else {
            // Out of time: the connection is then closed, as a peer that slow has to expect.
            let in_time = tokio::time::timeout(DISCARD_TIME, reading).await.is_ok();
            tracing::trace!(in_time, "the rest of a refused body is dropped");
        }
    }

    fn account(&mut self, part: Option<Bytes>) -> Result<Option<Bytes>, Refusal> {
        let State::Streaming { expected, hasher } = &mut self.state else {
            return Ok(part);
        };
        if let Some(part) = part {
            hasher.update(&part);
            return Ok(Some(part));
        }
        let (expected, digest) = (*expected, std::mem::take(hasher).finish());
        self.state = State::Done {
            digest: Some(expected),
        };
        if digest == expected {
            Ok(None)
        } else {
            Err(Refusal::DigestMismatch(
                "the body does not match its Content-Digest".into(),
            ))
        }
    }

    async fn next_part(&mut self, limit: u64) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.incoming.frame())
                .await
                .map_err(|_| Refusal::Timeout)?;
            let Some(frame) = frame else { return Ok(None) };
            // Trailers carry nothing for this protocol.
            let Ok(part) = frame.map_err(Refusal::BrokenBody)?.into_data() else {
                continue;
            };
            self.received += part.len() as u64;
            if self.received > limit {
                return Err(too_large(limit));
            }
            return Ok(Some(part));
        }
    }
}

const fn too_large(limit: u64) -> Refusal {
    Refusal::TooLarge {
        what: "the body",
        limit,
    }
}
