//! Standard Webhooks (standardwebhooks.com): `webhook-id`, `webhook-timestamp` and `webhook-signature`;
//! pure.
//!
//! Signed is `<id>.<unix seconds>.<body>`, keyed with the bytes that the secret is the base64 of. Several
//! signatures may stand in the header, of several secrets; those of other generations than `v1` are
//! passed over.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::Mac as _;
use onsave_protocol::Secret;

use super::{Refusal, Signed, check_time, mac};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// What the specification's own libraries take.
const TOLERANCE: Duration = Duration::from_mins(5);

/// More than a sender has secrets at a time; each costs a comparison for each of ours.
const MOST_SIGNATURES: usize = 16;

/// Returns the key that the text of a secret is; nothing where it is none.
pub(crate) fn key(secret: &[u8]) -> Option<Vec<u8>> {
    let text = secret.strip_prefix(b"whsec_").unwrap_or(secret);
    STANDARD.decode(text).ok().filter(|key| !key.is_empty())
}

/// Returns the delivery's id.
///
/// # Errors
///
/// [`Refusal`].
pub(in crate::hooks) fn verify(secrets: &[Secret], signed: Signed<'_>) -> Result<String, Refusal> {
    let id = signed.header(ID)?;
    let time = signed.header(TIMESTAMP)?;
    let signatures = signed.header(SIGNATURE)?;
    let seconds: u64 = time.parse().map_err(|_| Refusal::BadHeader(TIMESTAMP))?;
    // A dot in the id would let one text be signed for two deliveries.
    if id.is_empty() || id.contains('.') {
        return Err(Refusal::BadHeader(ID));
    }
    let tags: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .take(MOST_SIGNATURES)
        .filter_map(|tag| STANDARD.decode(tag).ok())
        .collect();
    if tags.is_empty() {
        return Err(Refusal::BadHeader(SIGNATURE));
    }
    let is_right = |secret: &Secret| {
        let Some(key) = key(secret.expose()) else {
            return false;
        };
        let pieces = [id.as_bytes(), b".", time.as_bytes(), b".", signed.body];
        let mac = mac(&key, pieces);
        tags.iter().any(|tag| mac.clone().verify_slice(tag).is_ok())
    };
    if !secrets.iter().any(is_right) {
        return Err(Refusal::WrongSignature);
    }
    check_time(
        Duration::from_secs(seconds),
        signed.now,
        (TOLERANCE, TOLERANCE),
    )?;
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::verify::tests::{at_ms, headers, secrets};

    /// Made with `Webhook.sign` of npm's `standardwebhooks` 1.1.1.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const RIGHT: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const NOW: u64 = 1_614_265_330;

    fn verified(
        (id, time, signature): (&str, &str, &str),
        body: &[u8],
        now: u64,
    ) -> Result<String, Refusal> {
        let headers = headers(&[(ID, id), (TIMESTAMP, time), (SIGNATURE, signature)]);
        let signed = Signed {
            headers: &headers,
            body,
            now: at_ms(now * 1_000),
        };
        verify(&secrets(&["whsec_AAAA", SECRET]), signed)
    }

    const GIVEN: (&str, &str) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");

    #[test]
    fn what_the_specifications_own_package_signs_is_right() {
        let (id, time) = GIVEN;
        for signatures in [
            RIGHT.to_owned(),
            format!("v1,AAAA {RIGHT}"),
            format!("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw {RIGHT} v2,x"),
        ] {
            let verified = verified((id, time, &signatures), BODY, NOW + 299);
            assert_eq!(verified.unwrap(), id, "{signatures}");
        }
    }

    #[test]
    fn whatever_is_changed_is_refused() {
        let (id, time) = GIVEN;
        let wrong = Err(Refusal::WrongSignature);
        assert_eq!(verified((id, time, RIGHT), b"{}", NOW), wrong);
        assert_eq!(verified(("msg_other", time, RIGHT), BODY, NOW), wrong);
        assert_eq!(verified((id, "1614265331", RIGHT), BODY, NOW), wrong);
        assert_eq!(verified((id, time, "v1,AAAA"), BODY, NOW), wrong);
        for signature in [
            "",
            "v1",
            "v2,AAAA",
            "v1,@@",
            RIGHT.trim_start_matches("v1,"),
        ] {
            let refused = verified((id, time, signature), BODY, NOW);
            assert_eq!(refused, Err(Refusal::BadHeader(SIGNATURE)), "{signature}");
        }
        assert_eq!(
            verified((id, "soon", RIGHT), BODY, NOW),
            Err(Refusal::BadHeader(TIMESTAMP))
        );
        assert_eq!(
            verified(("a.b", time, RIGHT), BODY, NOW),
            Err(Refusal::BadHeader(ID))
        );
    }

    #[test]
    fn an_old_request_is_refused_though_it_is_right() {
        let (id, time) = GIVEN;
        for now in [NOW + 301, NOW - 301] {
            let refused = verified((id, time, RIGHT), BODY, now).unwrap_err();
            assert!(matches!(refused, Refusal::Skewed { .. }));
        }
    }

    #[test]
    fn a_secret_is_base64_with_or_without_its_prefix() {
        assert_eq!(key(b"whsec_AQID"), Some(vec![1, 2, 3]));
        assert_eq!(key(b"AQID"), Some(vec![1, 2, 3]));
        assert_eq!(key(b"whsec_"), None);
        assert_eq!(key(b"not base64!"), None);
    }
}
