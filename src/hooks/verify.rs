//! Whether a request comes from who it says: signatures over the raw bytes of its body; pure.
//!
//! Owns no clock and no configuration: the time and the secrets come in. Every comparison of what a
//! stranger sent with what only the sender knows takes the same time whatever is right in it. What is
//! wrong is told in full to the owner, who has to mend it, and not at all to the peer.

pub(super) mod github;
pub(super) mod sanity;
pub(super) mod shared_secret;
pub(super) mod standard_webhooks;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::HeaderMap;
use onsave_protocol::Secret;
use sha2::Sha256;

use crate::config::HookVerify;

/// A request as it came, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) headers: &'a HeaderMap,
    /// The raw bytes, as they were signed.
    pub(super) body: &'a [u8],
    pub(super) now: SystemTime,
}

impl<'a> Signed<'a> {
    /// Returns a header that has to be there once, as text.
    fn header(&self, name: &'static str) -> Result<&'a str, Refusal> {
        let value = self.headers.get(name).ok_or(Refusal::NoHeader(name))?;
        value.to_str().map_err(|_| Refusal::BadHeader(name))
    }
}

/// Why a request is refused; for the owner's eyes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Nothing was signed.
    #[error("there is no header {0}")]
    NoHeader(&'static str),
    /// The secret is in neither place.
    #[error("there is neither the header {0} nor Authorization: Bearer")]
    NoSecret(String),
    /// The header is not what this kind of sender sends.
    #[error("the header {0} is not of its form")]
    BadHeader(&'static str),
    /// The request was signed at another time.
    #[error("it was signed {} s {}", by.as_secs(), if *is_ahead { "ahead of this machine's clock" } else { "ago" })]
    Skewed {
        /// How far off.
        by: Duration,
        /// It was signed in the future.
        is_ahead: bool,
    },
    /// The signature is another secret's, or the body was changed on its way.
    #[error("the signature is not right")]
    WrongSignature,
    /// The secret is another one.
    #[error("the secret is not right")]
    WrongSecret,
}

impl Refusal {
    /// Returns what the owner can do about it.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::NoHeader(_) => {
                "set the secret where the hook is configured at the sender, and check that verify names \
                 the right kind of sender"
                    .to_owned()
            }
            Self::NoSecret(header) => {
                format!("let the sender send the secret as {header}, or as Authorization: Bearer")
            }
            Self::BadHeader(_) => "check that verify names the right kind of sender".to_owned(),
            Self::Skewed { .. } => {
                "check the clock of this machine; if it is right, somebody sent an old request again"
                    .to_owned()
            }
            Self::WrongSignature => {
                "the secret here and at the sender have to be the same; a proxy on the way must not change \
                 the body"
                    .to_owned()
            }
            Self::WrongSecret => "the secret here and at the sender have to be the same".to_owned(),
        }
    }
}

/// Returns what tells this delivery from every other, as far as the proof itself does; nothing where
/// only a header does that nobody signed.
///
/// # Errors
///
/// [`Refusal`] unless the request is proven to be the sender's.
pub(super) fn verify(
    kind: &HookVerify,
    secrets: &[Secret],
    signed: Signed<'_>,
) -> Result<Option<String>, Refusal> {
    match kind {
        HookVerify::Sanity => sanity::verify(secrets, signed).map(Some),
        HookVerify::GitHub => github::verify(secrets, signed).map(|()| None),
        HookVerify::StandardWebhooks => standard_webhooks::verify(secrets, signed).map(Some),
        HookVerify::SharedSecret(header) => {
            shared_secret::verify(header, secrets, signed).map(|()| None)
        }
    }
}

/// Returns the authentication code over some pieces of text, ready to be compared in constant time.
fn mac<'p>(key: &[u8], pieces: impl IntoIterator<Item = &'p [u8]>) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for piece in pieces {
        mac.update(piece);
    }
    mac
}

/// Checks that a time lies between `past` ago and `ahead` from now.
fn check_time(
    signed_at: Duration,
    now: SystemTime,
    (past, ahead): (Duration, Duration),
) -> Result<(), Refusal> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (by, is_ahead, most) = match signed_at.checked_sub(now) {
        Some(by) => (by, true, ahead),
        None => (now.saturating_sub(signed_at), false, past),
    };
    if by > most {
        return Err(Refusal::Skewed { by, is_ahead });
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns headers of these names and values.
    pub(in crate::hooks) fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    /// Returns secrets of these texts.
    pub(in crate::hooks) fn secrets(texts: &[&str]) -> Vec<Secret> {
        let texts = texts.iter();
        texts.map(|text| Secret::from_text(text).unwrap()).collect()
    }

    /// Returns the time so many milliseconds after 1970.
    pub(in crate::hooks) fn at_ms(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn a_time_may_be_off_as_far_as_is_said() {
        let limits = (Duration::from_mins(5), Duration::from_mins(1));
        let now = at_ms(1_000_000_000);
        for (signed, fits) in [
            (1_000_000, true),
            (999_700, true),
            (999_699, false),
            (1_000_060, true),
            (1_000_061, false),
            (0, false),
            (u64::MAX, false),
        ] {
            let checked = check_time(Duration::from_secs(signed), now, limits);
            assert_eq!(checked.is_ok(), fits, "{signed}");
        }
        let told = Refusal::Skewed {
            by: Duration::from_secs(7),
            is_ahead: false,
        };
        assert_eq!(told.to_string(), "it was signed 7 s ago");
    }
}
