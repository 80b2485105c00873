//! Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use onsave_protocol::Secret;
use sha2::Sha256;

/// What a secret starts with whose rest is base64.
const PREFIX: &str = "whsec_";

/// Returns the bytes that key a signature: what follows `whsec_`, decoded, or the secret as it is.
///
/// # Errors
///
/// What is wrong with it, without the secret itself.
pub(crate) fn signing_key(secret: &Secret) -> Result<Vec<u8>, String> {
    let Some(coded) = secret.expose().strip_prefix(PREFIX.as_bytes()) else {
        return Ok(secret.expose().to_vec());
    };
    match STANDARD.decode(coded) {
        Ok(key) if !key.is_empty() => Ok(key),
        _ => Err(format!(
            "starts with {PREFIX}, and what follows is no base64; a secret without {PREFIX} is used \
             as it is"
        )),
    }
}

/// Returns the value of `webhook-signature` for a body that is sent at `unix_s` under `id`.
pub(super) fn signature(key: &[u8], (id, unix_s): (&str, u64), body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{unix_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<Vec<u8>, String> {
        signing_key(&Secret::from_text(text).unwrap())
    }

    #[test]
    fn the_published_vector_holds() {
        // The example in the specification of Standard Webhooks.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = signature(&key, (id, 1_614_265_330), br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn any_secret_is_a_key() {
        assert_eq!(key("hunter2").unwrap(), b"hunter2");
        assert_eq!(key("whsec_aGk=").unwrap(), b"hi");
        for text in ["whsec_", "whsec_a b", "whsec_***"] {
            let problem = key(text).unwrap_err();
            assert!(!problem.contains("***") && problem.contains("base64"));
        }
    }
}
