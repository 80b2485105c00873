//! Sanity's webhooks: `sanity-webhook-signature: t=<unix ms>,v1=<base64url of HMAC-SHA256>`; pure.
//!
//! Signed is `<t>.<body>`, keyed with the secret's text.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;
use onsave_protocol::Secret;

use super::{Refusal, Signed, check_time, mac};

/// The header.
const SIGNATURE: &str = "sanity-webhook-signature";

/// Sanity tries again for half an hour, and does not say that it signs anew; a delivery that was seen
/// does nothing again, so that a long time costs little.
const PAST: Duration = Duration::from_hours(1);

/// Clocks differ.
const AHEAD: Duration = Duration::from_mins(5);

/// Returns the right signature, which no two deliveries share.
///
/// # Errors
///
/// [`Refusal`].
pub(in crate::hooks) fn verify(secrets: &[Secret], signed: Signed<'_>) -> Result<String, Refusal> {
    let header = signed.header(SIGNATURE)?;
    let bad = || Refusal::BadHeader(SIGNATURE);
    let (time, signature) = header.split_once(',').ok_or_else(bad)?;
    let time = time.trim().strip_prefix("t=").ok_or_else(bad)?;
    let signature = signature.trim().strip_prefix("v1=").ok_or_else(bad)?;
    // What is signed is the text, so that only one spelling of a time is taken.
    let millis: u64 = time.parse().map_err(|_| bad())?;
    if time.starts_with('+') {
        return Err(bad());
    }
    let tag = URL_SAFE_NO_PAD.decode(signature).map_err(|_| bad())?;
    let is_right = |secret: &Secret| {
        let pieces = [time.as_bytes(), b".", signed.body];
        mac(secret.expose(), pieces).verify_slice(&tag).is_ok()
    };
    if !secrets.iter().any(is_right) {
        return Err(Refusal::WrongSignature);
    }
    check_time(Duration::from_millis(millis), signed.now, (PAST, AHEAD))?;
    // As it is written once: a space more would make another delivery of it.
    Ok(format!("t={time},v1={signature}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::verify::tests::{at_ms, headers, secrets};

    /// Made with `encodeSignatureHeader` of npm's `@sanity/webhook` 4.0.4.
    const HEADER: &str = "t=1633519811129,v1=m3Gh6XpFo1ji68DaVZkldgX3yODgvjxgpc3Sb_aLq6A";
    const BODY: &[u8] = "{\"_id\":\"resume\",\"title\":\"Häuser\"}".as_bytes();
    const NOW: u64 = 1_633_519_811_129;

    fn verified(header: &str, body: &[u8], keys: &[&str], now: u64) -> Result<String, Refusal> {
        let headers = headers(&[(SIGNATURE, header)]);
        let signed = Signed {
            headers: &headers,
            body,
            now: at_ms(now),
        };
        verify(&secrets(keys), signed)
    }

    #[test]
    fn a_space_more_makes_no_other_delivery() {
        let spaced = HEADER.replace(",v1=", ", v1=");
        for header in [HEADER, &spaced] {
            let headers = headers(&[(SIGNATURE, header)]);
            let signed = Signed {
                headers: &headers,
                body: BODY,
                now: at_ms(NOW),
            };
            assert_eq!(verify(&secrets(&["test"]), signed).unwrap(), HEADER);
        }
    }

    #[test]
    fn what_sanitys_own_package_signs_is_right() {
        assert_eq!(verified(HEADER, BODY, &["test"], NOW).unwrap(), HEADER);
        let rotated = verified(HEADER, BODY, &["new", "test"], NOW + 3_599_000);
        assert_eq!(rotated.unwrap(), HEADER);
    }

    #[test]
    fn whatever_is_changed_is_refused() {
        let wrong = Err(Refusal::WrongSignature);
        assert_eq!(verified(HEADER, b"{}", &["test"], NOW), wrong);
        assert_eq!(verified(HEADER, BODY, &["other"], NOW), wrong);
        let later = HEADER.replace("811129", "811130");
        assert_eq!(verified(&later, BODY, &["test"], NOW), wrong);
        for bad in [
            "",
            "t=1",
            "t=x,v1=AA",
            "v1=AA,t=1",
            "t=1,v2=AA",
            "t=1,v1=@",
            "t=+1,v1=AA",
            "t=-1,v1=AA",
        ] {
            let refused = verified(bad, BODY, &["test"], NOW).unwrap_err();
            assert_eq!(refused, Refusal::BadHeader(SIGNATURE), "{bad}");
        }
    }

    #[test]
    fn an_old_request_is_refused_though_it_is_right() {
        for now in [NOW + 3_601_000, NOW - 301_000] {
            let refused = verified(HEADER, BODY, &["test"], now).unwrap_err();
            assert!(matches!(refused, Refusal::Skewed { .. }));
        }
    }

    #[test]
    fn no_signature_is_refused() {
        let headers = headers(&[]);
        let signed = Signed {
            headers: &headers,
            body: BODY,
            now: at_ms(NOW),
        };
        let refused = verify(&secrets(&["test"]), signed).unwrap_err();
        assert_eq!(refused, Refusal::NoHeader(SIGNATURE));
        assert!(refused.hint().contains("secret"));
    }
}
