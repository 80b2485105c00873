//! The first generation's signature: HMAC-SHA256 over four lines.
//!
//! The lines are the Unix time in seconds, the method, path and query exactly as sent, and the
//! SHA-256 of the body in hex. The body is part of what is signed, so that a signature cannot be
//! checked before the body is read.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{
    digest::{Sha256Digest, hex},
    limits::CLOCK_WINDOW_SECONDS,
    secret::Secret,
};

/// What a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedRequest<'a> {
    /// Unix time in seconds, as sent.
    pub timestamp: &'a str,
    /// The HTTP method in capitals.
    pub method: &'a str,
    /// Path and query, exactly as sent.
    pub path_and_query: &'a str,
    /// SHA-256 of the body.
    pub body: Sha256Digest,
}

/// Why a request of the first generation is refused; the texts are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is not there.
    #[error("missing auth headers")]
    MissingHeaders,
    /// The time is not a number of seconds.
    #[error("bad timestamp")]
    BadTimestamp,
    /// The time is more than 300 s from the server's.
    #[error("timestamp skew too large")]
    Skew,
    /// The signature is not the one that the secret makes.
    #[error("invalid signature")]
    Invalid,
}

impl SignedRequest<'_> {
    /// Returns the text that is signed.
    #[must_use]
    pub fn string_to_sign(&self) -> String {
        format!(
            "{}\n{}\n{}\n{}",
            self.timestamp, self.method, self.path_and_query, self.body
        )
    }

    /// Returns the value of the signature header: `sha256=<hex>`.
    #[must_use]
    pub fn sign(&self, secret: &Secret) -> String {
        let mac = self.mac(secret).finalize().into_bytes();
        format!("sha256={}", hex(&mac))
    }

    /// Checks the signature header's value, in constant time.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Invalid`], whatever is wrong with it.
    pub fn verify(&self, secret: &Secret, header: &str) -> Result<(), SignatureError> {
        let claimed = header
            .strip_prefix("sha256=")
            .and_then(|digits| Sha256Digest::from_hex(digits).ok())
            .ok_or(SignatureError::Invalid)?;
        self.mac(secret)
            .verify_slice(claimed.as_bytes())
            .map_err(|_| SignatureError::Invalid)
    }

    fn mac(&self, secret: &Secret) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose())
            .expect("HMAC takes a key of any length (RFC 2104)");
        mac.update(self.string_to_sign().as_bytes());
        mac
    }
}

/// Checks that a timestamp header is within the clock window; needs no secret and no body.
///
/// # Errors
///
/// [`SignatureError::BadTimestamp`] and [`SignatureError::Skew`].
pub fn check_timestamp(timestamp: &str, now_unix_seconds: u64) -> Result<(), SignatureError> {
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let claimed: u64 = timestamp
        .parse()
        .ok()
        .filter(|_| digits)
        .ok_or(SignatureError::BadTimestamp)?;
    if claimed.abs_diff(now_unix_seconds) > CLOCK_WINDOW_SECONDS {
        return Err(SignatureError::Skew);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        secret: String,
        timestamp: String,
        method: String,
        path_and_query: String,
        body_base64: String,
        body_sha256: String,
        signature: String,
    }

    #[test]
    fn golden_vectors() {
        let file: Vectors = serde_json::from_str(include_str!("../../vectors/v1.json")).unwrap();
        assert!(file.vectors.len() >= 9);
        for vector in file.vectors {
            let body = Sha256Digest::of(&STANDARD.decode(&vector.body_base64).unwrap());
            assert_eq!(body.to_hex(), vector.body_sha256, "{}", vector.name);
            let request = SignedRequest {
                timestamp: &vector.timestamp,
                method: &vector.method,
                path_and_query: &vector.path_and_query,
                body,
            };
            let secret = Secret::from_text(&vector.secret).unwrap();
            assert_eq!(request.sign(&secret), vector.signature, "{}", vector.name);
            assert_eq!(request.verify(&secret, &vector.signature), Ok(()));
        }
    }

    #[test]
    fn timestamps_are_whole_seconds_within_the_window() {
        for (text, outcome) in [
            ("1000", Ok(())),
            ("700", Ok(())),
            ("1300", Ok(())),
            ("699", Err(SignatureError::Skew)),
            ("1301", Err(SignatureError::Skew)),
            ("", Err(SignatureError::BadTimestamp)),
            ("+1000", Err(SignatureError::BadTimestamp)),
            ("1000.5", Err(SignatureError::BadTimestamp)),
            ("now", Err(SignatureError::BadTimestamp)),
            ("99999999999999999999", Err(SignatureError::BadTimestamp)),
        ] {
            assert_eq!(check_timestamp(text, 1_000), outcome, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_byte_fails(
            timestamp in "[0-9]{1,12}",
            path in "/[a-z/%?=]{0,20}",
            body: [u8; 4],
            at: prop::sample::Index,
            flip in 1_u8..=255,
        ) {
            let secret = Secret::from_text("secret").unwrap();
            let request = SignedRequest {
                timestamp: &timestamp,
                method: "PUT",
                path_and_query: &path,
                body: Sha256Digest::of(&body),
            };
            let header = request.sign(&secret);
            prop_assert_eq!(request.verify(&secret, &header), Ok(()));

            let mut changed = header.clone().into_bytes();
            let place = at.index(changed.len());
            changed[place] ^= flip;
            if let Ok(changed) = String::from_utf8(changed) {
                // Hex digits of the other case write the same signature.
                if !changed.eq_ignore_ascii_case(&header) {
                    prop_assert!(request.verify(&secret, &changed).is_err());
                }
            }
            let other = SignedRequest { body: Sha256Digest::of(b"other"), ..request };
            prop_assert!(other.verify(&secret, &header).is_err());
        }
    }
}
