//! Signing as a value: what a request is, and the headers that prove who made it.
//!
//! Owns the secret. Every signature has its own nonce, so that a request that is sent again is
//! signed again.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use onsave_protocol::{
    Secret, Sha256Digest,
    signature::{v1, v2},
    wire::v1::{SIGNATURE_HEADER, TIMESTAMP_HEADER},
};

use crate::wall_clock;

/// The part of a request that signatures cover.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'static str,
    /// Path and query, exactly as sent.
    pub(crate) path_and_query: &'a str,
    pub(crate) body: Sha256Digest,
    pub(crate) precondition: Precondition<'a>,
}

/// What has to hold on the server for the request to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition<'a> {
    None,
    /// The value of `If-Match`, quotes included.
    IfMatch(&'a str),
    /// The value of `If-None-Match`, quotes included unless it is `*`.
    IfNoneMatch(&'a str),
}

/// Which generations' headers a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generations {
    /// Both: what the server speaks is not known yet.
    Both,
    V1,
    V2,
}

/// Returns the wall clock's time.
pub(crate) type Clock = fn() -> SystemTime;

/// Signs requests with one secret.
#[derive(Clone)]
pub(crate) struct Signer {
    secret: Secret,
    clock: Clock,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &v2::key_id(&self.secret))
            .finish_non_exhaustive()
    }
}

/// No signature can be made.
#[derive(Debug, thiserror::Error)]
#[error("the system has no random bytes")]
pub struct NoRandomness(#[source] pub(crate) getrandom::Error);

impl Signer {
    /// Returns a signer that signs as of the machine's time.
    pub(crate) fn new(secret: Secret) -> Self {
        Self::with_clock(secret, wall_clock::now)
    }

    /// Returns a signer that signs as of `clock`.
    pub(crate) const fn with_clock(secret: Secret, clock: Clock) -> Self {
        Self { secret, clock }
    }

    /// Returns a signer with another secret and the same clock.
    pub(crate) fn with_secret(&self, secret: Secret) -> Self {
        Self {
            secret,
            ..self.clone()
        }
    }

    /// Returns the time that a signature would state.
    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Returns the headers that sign `request` now, its precondition among them.
    pub(crate) fn headers(
        &self,
        request: &Unsigned<'_>,
        generations: Generations,
    ) -> Result<Vec<(&'static str, String)>, NoRandomness> {
        // A clock before 1970 is skewed by far more than the window: the server says so.
        let now = self
            .now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut headers = Vec::with_capacity(6);
        if generations != Generations::V1 {
            self.sign_v2(request, now, &mut headers)?;
        }
        if generations != Generations::V2 {
            self.sign_v1(request, now, &mut headers);
        }
        Ok(headers)
    }

    fn sign_v2(
        &self,
        request: &Unsigned<'_>,
        now: u64,
        headers: &mut Vec<(&'static str, String)>,
    ) -> Result<(), NoRandomness> {
        let (path, query) = match request.path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.path_and_query, None),
        };
        let content_digest = v2::content_digest(request.body);
        let (if_match, if_none_match) = match request.precondition {
            Precondition::None => (None, None),
            Precondition::IfMatch(value) => (Some(value), None),
            Precondition::IfNoneMatch(value) => (None, Some(value)),
        };
        let signed = v2::SignedRequest {
            method: request.method,
            path,
            query,
            content_digest: &content_digest,
            if_match,
            if_none_match,
        };
        let parameters = v2::SignatureParameters::new(now, nonce()?, &self.secret);
        let signature = signed.sign(&parameters, &self.secret);
        let precondition = [("if-match", if_match), ("if-none-match", if_none_match)];
        headers.extend(
            precondition
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?.to_owned()))),
        );
        headers.push((v2::CONTENT_DIGEST_HEADER, content_digest));
        headers.push((v2::SIGNATURE_INPUT_HEADER, signature.signature_input));
        headers.push((v2::SIGNATURE_HEADER, signature.signature));
        Ok(())
    }

    fn sign_v1(&self, request: &Unsigned<'_>, now: u64, headers: &mut Vec<(&'static str, String)>) {
        let timestamp = now.to_string();
        let signature = v1::SignedRequest {
            timestamp: &timestamp,
            method: request.method,
            path_and_query: request.path_and_query,
            body: request.body,
        }
        .sign(&self.secret);
        headers.push((TIMESTAMP_HEADER, timestamp));
        headers.push((SIGNATURE_HEADER, signature));
    }
}

fn nonce() -> Result<String, NoRandomness> {
    // 128 bits: two clients never draw the same by chance.
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;

    const NOW: u64 = 1_777_000_000;

    fn secret() -> Secret {
        Secret::from_text("3f1c9a7be2d84f60a5c1d2e3f4051627").unwrap()
    }

    fn signer() -> Signer {
        Signer::with_clock(secret(), || UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn request(precondition: Precondition<'_>) -> Unsigned<'_> {
        Unsigned {
            method: "PUT",
            path_and_query: "/_icd/deploys/7/files?path=a%20b",
            body: Sha256Digest::of(b"body"),
            precondition,
        }
    }

    fn headers(request: &Unsigned<'_>, generations: Generations) -> HashMap<&'static str, String> {
        let list = signer().headers(request, generations).unwrap();
        let count = list.len();
        let map: HashMap<_, _> = list.into_iter().collect();
        assert_eq!(map.len(), count, "no header is there twice");
        map
    }

    #[test]
    fn the_server_accepts_the_second_generation() {
        for precondition in [
            Precondition::None,
            Precondition::IfMatch("\"1-00000000\""),
            Precondition::IfNoneMatch("*"),
        ] {
            let request = request(precondition);
            let headers = headers(&request, Generations::V2);
            let claim = v2::Claim::parse(&headers["signature-input"], &headers["signature"]);
            let received = v2::SignedRequest {
                method: "PUT",
                path: "/_icd/deploys/7/files",
                query: Some("path=a%20b"),
                content_digest: &headers["content-digest"],
                if_match: headers.get("if-match").map(String::as_str),
                if_none_match: headers.get("if-none-match").map(String::as_str),
            };
            assert_eq!(claim.unwrap().verify(&received, &secret(), NOW), Ok(()));
            assert_eq!(
                v2::parse_content_digest(&headers["content-digest"]),
                Some(request.body)
            );
            assert!(!headers.contains_key(TIMESTAMP_HEADER));
        }
    }

    #[test]
    fn the_server_accepts_the_first_generation() {
        let request = request(Precondition::None);
        let headers = headers(&request, Generations::V1);
        let received = v1::SignedRequest {
            timestamp: &headers[TIMESTAMP_HEADER],
            method: "PUT",
            path_and_query: "/_icd/deploys/7/files?path=a%20b",
            body: Sha256Digest::of(b"body"),
        };
        assert_eq!(
            received.verify(&secret(), &headers[SIGNATURE_HEADER]),
            Ok(())
        );
        assert_eq!(v1::check_timestamp(&headers[TIMESTAMP_HEADER], NOW), Ok(()));
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn a_first_request_carries_both() {
        let headers = headers(&request(Precondition::None), Generations::Both);
        for name in ["signature-input", "signature", "content-digest"] {
            assert!(headers.contains_key(name), "{name}");
        }
        assert!(headers.contains_key(TIMESTAMP_HEADER) && headers.contains_key(SIGNATURE_HEADER));
    }

    #[test]
    fn a_request_that_is_signed_again_has_another_nonce() {
        let request = request(Precondition::None);
        let inputs: Vec<String> = (0..2)
            .map(|_| headers(&request, Generations::V2)["signature-input"].clone())
            .collect();
        assert_ne!(inputs[0], inputs[1]);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let text = format!("{:?}", signer());
        assert!(!text.contains("3f1c9a7be2d84f60"), "{text}");
    }
}
