//! GitHub's webhooks: `X-Hub-Signature-256: sha256=<hex of HMAC-SHA256 over the body>`; pure.
//!
//! Nothing of it is a time, so that a right request is right for ever: what was delivered is known by
//! its `X-GitHub-Delivery`, which is not signed. To send one again costs a build, and no more.

use hmac::Mac as _;
use onsave_protocol::{Secret, Sha256Digest};

use super::{Refusal, Signed, mac};

/// The header; the older one without `256` is SHA-1, and not taken.
const SIGNATURE: &str = "x-hub-signature-256";

/// Checks a request.
///
/// # Errors
///
/// [`Refusal`].
pub(in crate::hooks) fn verify(secrets: &[Secret], signed: Signed<'_>) -> Result<(), Refusal> {
    let header = signed.header(SIGNATURE)?;
    let bad = || Refusal::BadHeader(SIGNATURE);
    let digits = header.strip_prefix("sha256=").ok_or_else(bad)?;
    let tag = Sha256Digest::from_hex(digits).map_err(|_| bad())?;
    let is_right = |secret: &Secret| {
        let mac = mac(secret.expose(), [signed.body]);
        mac.verify_slice(tag.as_bytes()).is_ok()
    };
    if secrets.iter().any(is_right) {
        Ok(())
    } else {
        Err(Refusal::WrongSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::verify::tests::{at_ms, headers, secrets};

    /// The values of GitHub's page on validating webhook deliveries.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const HEADER: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn verified(header: &str, body: &[u8], keys: &[&str]) -> Result<(), Refusal> {
        let headers = headers(&[(SIGNATURE, header)]);
        let signed = Signed {
            headers: &headers,
            body,
            now: at_ms(0),
        };
        verify(&secrets(keys), signed)
    }

    #[test]
    fn what_github_documents_is_right() {
        assert_eq!(verified(HEADER, BODY, &[SECRET]), Ok(()));
        assert_eq!(verified(HEADER, BODY, &["new", SECRET]), Ok(()));
    }

    #[test]
    fn whatever_is_changed_is_refused() {
        let wrong = Err(Refusal::WrongSignature);
        assert_eq!(verified(HEADER, b"Hello, World", &[SECRET]), wrong);
        assert_eq!(verified(HEADER, BODY, &["It's a secret"]), wrong);
        let other = HEADER.replace("757107", "757108");
        assert_eq!(verified(&other, BODY, &[SECRET]), wrong);
        for bad in ["", "sha1=757107ea", "sha256=", "sha256=7571", &HEADER[7..]] {
            let refused = verified(bad, BODY, &[SECRET]);
            assert_eq!(refused, Err(Refusal::BadHeader(SIGNATURE)), "{bad}");
        }
    }
}
