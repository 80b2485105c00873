//! A secret that is sent as it is, in a header of its own or as `Authorization: Bearer`; pure.
//!
//! Whoever sees one request can send any other, so that this is for senders that can do no more, over
//! HTTPS or within one machine.

use hmac::Mac as _;
use hyper::header::{AUTHORIZATION, HeaderValue};
use onsave_protocol::Secret;

use super::{Refusal, Signed, mac};

/// Checks a request.
///
/// # Errors
///
/// [`Refusal`].
pub(in crate::hooks) fn verify(
    header: &str,
    secrets: &[Secret],
    signed: Signed<'_>,
) -> Result<(), Refusal> {
    let own = signed.headers.get(header).map(HeaderValue::as_bytes);
    let bearer = signed.headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let given = own
        .or(bearer)
        .ok_or_else(|| Refusal::NoSecret(header.to_owned()))?;
    // Two codes under one key are compared, and not two texts: neither length nor a common start shows
    // in the time.
    let is_right = |secret: &Secret| {
        let key = secret.expose();
        let expected = mac(key, [key]).finalize().into_bytes();
        mac(key, [given.trim_ascii()])
            .verify_slice(&expected)
            .is_ok()
    };
    if secrets.iter().any(is_right) {
        Ok(())
    } else {
        Err(Refusal::WrongSecret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::verify::tests::{at_ms, headers, secrets};

    fn verified(pairs: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let headers = headers(pairs);
        let signed = Signed {
            headers: &headers,
            body: b"",
            now: at_ms(0),
        };
        verify("x-onsave-secret", &secrets(&["hunter2", "hunter3"]), signed)
    }

    #[test]
    fn either_header_proves_it() {
        for pairs in [
            ("x-onsave-secret", "hunter2"),
            ("x-onsave-secret", "hunter3"),
            ("authorization", "Bearer hunter2"),
            ("authorization", "bearer hunter2"),
        ] {
            assert_eq!(verified(&[pairs]), Ok(()), "{pairs:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for pairs in [
            ("x-onsave-secret", "hunter"),
            ("x-onsave-secret", "hunter22"),
            ("x-onsave-secret", ""),
            ("authorization", "Bearer hunter4"),
        ] {
            assert_eq!(verified(&[pairs]), Err(Refusal::WrongSecret), "{pairs:?}");
        }
        for pairs in [
            ("authorization", "Basic aHVudGVyMg=="),
            ("x-other", "hunter2"),
        ] {
            let refused = verified(&[pairs]).unwrap_err();
            assert_eq!(refused, Refusal::NoSecret("x-onsave-secret".into()));
        }
        let own_first = [
            ("x-onsave-secret", "no"),
            ("authorization", "Bearer hunter2"),
        ];
        assert_eq!(verified(&own_first), Err(Refusal::WrongSecret));
    }
}
