//! The second generation's signature: HTTP Message Signatures (RFC 9421) with `hmac-sha256`.
//!
//! Covered are the method, the path, the query and `Content-Digest` (RFC 9530), and the
//! preconditions where a request has them, so that a signature can be checked before the body is
//! read; the body is then checked against its digest while it streams. `Content-Digest` is signed
//! also where the body is empty: one rule for every request.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, Item, List, ListEntry, Parser};
use sha2::Sha256;

use crate::{
    digest::{Sha256Digest, hex},
    limits::CLOCK_WINDOW_SECONDS,
    secret::Secret,
};

/// Header with the covered components and the signature's parameters.
pub const SIGNATURE_INPUT_HEADER: &str = "signature-input";

/// Header with the signature.
pub const SIGNATURE_HEADER: &str = "signature";

/// Header with the digest of the body.
pub const CONTENT_DIGEST_HEADER: &str = "content-digest";

/// The label of the signature that this client makes.
const LABEL: &str = "sig";

/// Shortest and longest nonce, in characters. A bound keeps the server's memory of them small.
const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

/// What a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedRequest<'a> {
    /// The HTTP method in capitals.
    pub method: &'a str,
    /// The path, exactly as sent.
    pub path: &'a str,
    /// The query without its `?`, exactly as sent.
    pub query: Option<&'a str>,
    /// The value of `Content-Digest`.
    pub content_digest: &'a str,
    /// The value of `If-Match`, where the request has one.
    pub if_match: Option<&'a str>,
    /// The value of `If-None-Match`, where the request has one.
    pub if_none_match: Option<&'a str>,
}

/// The parameters of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureParameters {
    /// Unix time in seconds at which the request was signed.
    pub created: u64,
    /// Unix time in seconds after which it is refused.
    pub expires: u64,
    /// 16 to 64 characters that no other request has.
    pub nonce: String,
    /// Which secret signed, as [`key_id`] names it.
    pub key_id: String,
}

/// The two header values of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// The value of `Signature-Input`.
    pub signature_input: String,
    /// The value of `Signature`.
    pub signature: String,
}

/// A signature as a request states it, not yet checked.
#[derive(Debug, Clone)]
pub struct Claim {
    input: InnerList,
    parameters: SignatureParameters,
    mac: Vec<u8>,
}

/// Why a request of the second generation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The headers are not what RFC 9421 and this protocol write.
    #[error("invalid signature")]
    Malformed,
    /// The signature leaves out a part of the request that has to be covered.
    #[error("invalid signature")]
    NotCovered,
    /// `created` is not within 300 s of the server's time, or `expires` has passed.
    #[error("timestamp skew too large")]
    Skew,
    /// The signature is not the one that the secret makes.
    #[error("invalid signature")]
    Invalid,
}

/// Returns the public name of a secret: it tells two secrets apart and says nothing of either.
#[must_use]
pub fn key_id(secret: &Secret) -> String {
    hex(&mac(secret, b"onsave key id").finalize().into_bytes()[..8])
}

/// Returns the value of `Content-Digest` for a body with this digest.
#[must_use]
pub fn content_digest(body: Sha256Digest) -> String {
    format!("sha-256=:{}:", STANDARD.encode(body.as_bytes()))
}

/// Returns the digest that a `Content-Digest` header states, when it has one of SHA-256.
#[must_use]
pub fn parse_content_digest(header: &str) -> Option<Sha256Digest> {
    let fields: Dictionary = Parser::new(header).parse().ok()?;
    match fields.get("sha-256")? {
        ListEntry::Item(Item {
            bare_item: BareItem::ByteSequence(bytes),
            ..
        }) => Some(Sha256Digest::from_bytes(bytes.as_slice().try_into().ok()?)),
        _ => None,
    }
}

impl SignatureParameters {
    /// Returns the parameters of a signature that is made now and lives for the clock window.
    #[must_use]
    pub fn new(now_unix_seconds: u64, nonce: String, secret: &Secret) -> Self {
        Self {
            created: now_unix_seconds,
            expires: now_unix_seconds + CLOCK_WINDOW_SECONDS,
            nonce,
            key_id: key_id(secret),
        }
    }
}

impl SignedRequest<'_> {
    /// Returns the names of the components that a signature of this request has to cover.
    fn components(&self) -> Vec<&'static str> {
        let mut names = vec!["@method", "@path", "@query", CONTENT_DIGEST_HEADER];
        if self.if_match.is_some() {
            names.push("if-match");
        }
        if self.if_none_match.is_some() {
            names.push("if-none-match");
        }
        names
    }

    fn component(&self, name: &str) -> Option<String> {
        match name {
            "@method" => Some(self.method.to_owned()),
            "@path" => Some(self.path.to_owned()),
            // RFC 9421, section 2.2.7: an absent query is the lone question mark.
            "@query" => Some(format!("?{}", self.query.unwrap_or_default())),
            CONTENT_DIGEST_HEADER => Some(self.content_digest.trim().to_owned()),
            "if-match" => self.if_match.map(|value| value.trim().to_owned()),
            "if-none-match" => self.if_none_match.map(|value| value.trim().to_owned()),
            _ => None,
        }
    }

    /// Returns the signature headers for this request.
    #[must_use]
    pub fn sign(&self, parameters: &SignatureParameters, secret: &Secret) -> SignatureHeaders {
        let names: Vec<String> = self
            .components()
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        // The key says which algorithm it is for (RFC 9421, section 3.2): `alg` would be bytes of every save.
        let input = format!(
            "({});created={};expires={};nonce=\"{}\";keyid=\"{}\"",
            names.join(" "),
            parameters.created,
            parameters.expires,
            parameters.nonce,
            parameters.key_id
        );
        // A request has a value for each component that it lists, so that the text is never absent.
        let base = self
            .signature_base(self.components().into_iter(), &input)
            .unwrap_or_default();
        let signature = mac(secret, base.as_bytes()).finalize().into_bytes();
        SignatureHeaders {
            signature_input: format!("{LABEL}={input}"),
            signature: format!("{LABEL}=:{}:", STANDARD.encode(signature)),
        }
    }

    /// Returns the text that is signed (RFC 9421, section 2.5), or nothing when a component is
    /// unknown or absent.
    fn signature_base<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        input: &str,
    ) -> Option<String> {
        let mut lines = Vec::new();
        for name in names {
            lines.push(format!("\"{name}\": {}", self.component(name)?));
        }
        lines.push(format!("\"@signature-params\": {input}"));
        Some(lines.join("\n"))
    }
}

impl Claim {
    /// Returns the signature that two header values state.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Malformed`] when they are not exactly one labelled signature with the
    /// parameters that this protocol requires.
    pub fn parse(signature_input: &str, signature: &str) -> Result<Self, SignatureError> {
        let malformed = |_| SignatureError::Malformed;
        let inputs: Dictionary = Parser::new(signature_input).parse().map_err(malformed)?;
        let macs: Dictionary = Parser::new(signature).parse().map_err(malformed)?;
        let (Some((label, ListEntry::InnerList(input))), 1) = (inputs.first(), inputs.len()) else {
            return Err(SignatureError::Malformed);
        };
        let Some(ListEntry::Item(Item {
            bare_item: BareItem::ByteSequence(mac),
            ..
        })) = macs.get(label)
        else {
            return Err(SignatureError::Malformed);
        };
        Ok(Self {
            parameters: parameters(input)?,
            input: input.clone(),
            mac: mac.clone(),
        })
    }

    /// Returns the parameters as stated.
    #[must_use]
    pub const fn parameters(&self) -> &SignatureParameters {
        &self.parameters
    }

    /// Checks that the signature covers the whole of `request`, is of now, and was made with
    /// `secret`; the comparison takes constant time.
    ///
    /// Whether the nonce was used before is the caller's to know.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], the time only once the secret proved right: a stranger learns nothing.
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        secret: &Secret,
        now_unix_seconds: u64,
    ) -> Result<(), SignatureError> {
        let covered: Vec<&str> = self
            .input
            .items
            .iter()
            .map(component_name)
            .collect::<Option<_>>()
            .ok_or(SignatureError::Malformed)?;
        if !request
            .components()
            .iter()
            .all(|name| covered.contains(name))
        {
            return Err(SignatureError::NotCovered);
        }
        let input = List::from([ListEntry::InnerList(self.input.clone())])
            .serialize()
            .ok_or(SignatureError::Malformed)?;
        let base = request
            .signature_base(covered.into_iter(), &input)
            .ok_or(SignatureError::Malformed)?;
        mac(secret, base.as_bytes())
            .verify_slice(&self.mac)
            .map_err(|_| SignatureError::Invalid)?;
        let SignatureParameters {
            created, expires, ..
        } = self.parameters;
        if created.abs_diff(now_unix_seconds) > CLOCK_WINDOW_SECONDS || expires < now_unix_seconds {
            return Err(SignatureError::Skew);
        }
        Ok(())
    }
}

fn component_name(item: &Item) -> Option<&str> {
    match &item.bare_item {
        // Component parameters (`;req`, `;sf`) would change what is signed; none is part of this
        // protocol.
        BareItem::String(name) if item.params.is_empty() => Some(name.as_str()),
        _ => None,
    }
}

fn parameters(input: &InnerList) -> Result<SignatureParameters, SignatureError> {
    let seconds = |name: &str| match input.params.get(name) {
        Some(BareItem::Integer(value)) => {
            u64::try_from(i64::from(*value)).map_err(|_| SignatureError::Malformed)
        }
        _ => Err(SignatureError::Malformed),
    };
    let text = |name: &str| match input.params.get(name) {
        Some(BareItem::String(value)) => Ok(value.as_str().to_owned()),
        _ => Err(SignatureError::Malformed),
    };
    if input.params.contains_key("alg") && text("alg")? != "hmac-sha256" {
        return Err(SignatureError::Malformed);
    }
    let nonce = text("nonce")?;
    if !NONCE_LENGTH.contains(&nonce.len()) {
        return Err(SignatureError::Malformed);
    }
    Ok(SignatureParameters {
        created: seconds("created")?,
        expires: seconds("expires")?,
        nonce,
        key_id: text("keyid")?,
    })
}

fn mac(secret: &Secret, text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose())
        .expect("HMAC takes a key of any length (RFC 2104)");
    mac.update(text);
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_777_000_000;

    fn secret() -> Secret {
        Secret::from_text("3f1c9a7be2d84f60a5c1d2e3f4051627").unwrap()
    }

    fn sign(request: &SignedRequest<'_>) -> SignatureHeaders {
        let parameters = SignatureParameters::new(NOW, "0123456789abcdef".into(), &secret());
        request.sign(&parameters, &secret())
    }

    fn verify(
        headers: &SignatureHeaders,
        request: &SignedRequest<'_>,
    ) -> Result<(), SignatureError> {
        Claim::parse(&headers.signature_input, &headers.signature)?.verify(request, &secret(), NOW)
    }

    fn publish(digest: &str) -> SignedRequest<'_> {
        SignedRequest {
            method: "POST",
            path: "/_icd/changesets",
            query: None,
            content_digest: digest,
            if_match: Some("\"1777000001000-a1b2c3d4\""),
            if_none_match: None,
        }
    }

    #[test]
    fn the_signed_text_is_that_of_rfc_9421() {
        let digest = content_digest(Sha256Digest::of(b""));
        let base = publish(&digest)
            .signature_base(publish(&digest).components().into_iter(), "INPUT")
            .unwrap();
        assert_eq!(
            base,
            "\"@method\": POST\n\"@path\": /_icd/changesets\n\"@query\": ?\n\
             \"content-digest\": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n\
             \"if-match\": \"1777000001000-a1b2c3d4\"\n\"@signature-params\": INPUT"
        );
    }

    #[test]
    fn content_digest_round_trips() {
        let digest = Sha256Digest::of(b"x");
        assert_eq!(parse_content_digest(&content_digest(digest)), Some(digest));
        let two = format!("sha-512=:AA==:, {}", content_digest(digest));
        assert_eq!(parse_content_digest(&two), Some(digest));
        for header in ["", "sha-256", "sha-256=:AA==:", "sha-256=abc", "md5=:AA==:"] {
            assert_eq!(parse_content_digest(header), None, "{header:?}");
        }
    }

    #[test]
    fn the_window_is_300_seconds_either_way() {
        let digest = content_digest(Sha256Digest::of(b""));
        let request = publish(&digest);
        let headers = sign(&request);
        let claim = Claim::parse(&headers.signature_input, &headers.signature).unwrap();
        for (now, outcome) in [
            (NOW - 301, Err(SignatureError::Skew)),
            (NOW - 300, Ok(())),
            (NOW + 300, Ok(())),
            (NOW + 301, Err(SignatureError::Skew)),
        ] {
            assert_eq!(claim.verify(&request, &secret(), now), outcome, "{now}");
        }
        let other = Secret::from_text("other").unwrap();
        assert_eq!(
            claim.verify(&request, &other, NOW + 301),
            Err(SignatureError::Invalid)
        );
    }

    #[test]
    fn every_part_of_the_request_is_covered() {
        let digest = content_digest(Sha256Digest::of(b""));
        let other_digest = content_digest(Sha256Digest::of(b"other"));
        let request = publish(&digest);
        let headers = sign(&request);
        assert_eq!(verify(&headers, &request), Ok(()));
        for other in [
            SignedRequest {
                method: "PUT",
                ..request
            },
            SignedRequest {
                path: "/_icd/rollback",
                ..request
            },
            SignedRequest {
                query: Some("a=b"),
                ..request
            },
            SignedRequest {
                content_digest: &other_digest,
                ..request
            },
            SignedRequest {
                if_match: Some("\"1777000001000-00000000\""),
                ..request
            },
            SignedRequest {
                if_match: None,
                ..request
            },
            SignedRequest {
                if_none_match: Some("*"),
                ..request
            },
        ] {
            assert!(verify(&headers, &other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let digest = content_digest(Sha256Digest::of(b""));
        let request = publish(&digest);
        let good = sign(&request);
        let change = |from: &str, to: &str| SignatureHeaders {
            signature_input: good.signature_input.replace(from, to),
            signature: good.signature.clone(),
        };
        for headers in [
            change("sig=", "other="),
            change(";keyid", ";alg=\"rsa-pss-sha512\";keyid"),
            change(";nonce=\"0123456789abcdef\"", ""),
            change("0123456789abcdef", "short"),
            change("created=1777000000", "created=-5"),
            change("created=1777000000", "created=\"now\""),
            change("\"@method\"", "\"@method\";req"),
            change("\"@method\"", "\"@target-uri\""),
            change("(", "((("),
            change("sig=", ""),
        ] {
            assert!(verify(&headers, &request).is_err(), "{headers:?}");
        }
        let twice = SignatureHeaders {
            signature_input: format!("{0}, b{0}", good.signature_input),
            signature: good.signature,
        };
        assert_eq!(verify(&twice, &request), Err(SignatureError::Malformed));
    }

    #[test]
    fn key_ids_tell_secrets_apart() {
        let other = Secret::from_text("other").unwrap();
        assert_ne!(key_id(&secret()), key_id(&other));
        assert_eq!(key_id(&secret()).len(), 16);
    }

    proptest! {
        #[test]
        fn any_flipped_byte_fails(at: prop::sample::Index, flip in 1_u8..=255, in_input: bool) {
            let digest = content_digest(Sha256Digest::of(b"body"));
            let request = publish(&digest);
            let good = sign(&request);
            let mut changed = good.clone();
            let text = if in_input { &mut changed.signature_input } else { &mut changed.signature };
            let mut bytes = text.clone().into_bytes();
            let place = at.index(bytes.len());
            bytes[place] ^= flip;
            if let Ok(flipped) = String::from_utf8(bytes) {
                *text = flipped;
                let parsed = Claim::parse(&changed.signature_input, &changed.signature);
                // Base64 has spare bits at its end that carry nothing: the bytes must differ.
                let same = parsed.as_ref().is_ok_and(|claim| {
                    let original = Claim::parse(&good.signature_input, &good.signature).unwrap();
                    claim.mac == original.mac && claim.input == original.input
                });
                prop_assert!(same || verify(&changed, &request).is_err());
            }
        }
    }
}
