//! The calls below `/_icd/`, signed: what a story asks a server about its deploys, and publishes
//! made by hand, where a story has to know exactly what was sent.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use onsave_protocol::{
    Secret, Sha256Digest, SitePath,
    signature::v2::{SignatureParameters, SignedRequest, content_digest},
    wire::{
        frame,
        v1::ManifestBody,
        v2::{CHANGESET_TYPE, ChangesetHeader, DeployList, Published, PutRecord, Source},
    },
};

use super::{
    http::{Answer, Connection, Request},
    server::SECRET,
    site::Tree,
};

/// Returns what a server holds: site path → SHA-256 in hex.
pub(crate) fn digests(tree: &Tree) -> BTreeMap<String, String> {
    tree.iter()
        .map(|(path, bytes)| (path.clone(), Sha256Digest::of(bytes).to_hex()))
        .collect()
}

/// Returns the server's current deploy and its files, when the server answers.
pub(crate) fn manifest(address: SocketAddr) -> Option<ManifestBody> {
    let answer = call(address, &Call::get("/_icd/manifest")).ok()?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Some(serde_json::from_slice(&answer.body).expect("a manifest is JSON"))
}

/// Returns the server's deploys, newest first.
pub(crate) fn deploys(address: SocketAddr) -> DeployList {
    let answer = call(address, &Call::get("/_icd/deploys")).expect("the server answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("a list of deploys is JSON")
}

/// Publishes `to` on a server whose current deploy is `base` with the files `from`, in one exchange.
///
/// # Errors
///
/// When the server does not answer; the publish may have gone through or not.
pub(crate) fn publish(
    address: SocketAddr,
    base: Option<&str>,
    (from, to): (&Tree, &Tree),
) -> io::Result<Published> {
    let path = |path: &str| SitePath::parse(path).expect("stories use valid paths");
    let mut header = ChangesetHeader::default();
    let mut content = Vec::new();
    for (name, bytes) in to {
        if from.get(name) != Some(bytes) {
            header.puts.push(PutRecord {
                path: path(name),
                sha256: Sha256Digest::of(bytes),
                size: bytes.len() as u64,
                source: Source::Inline,
            });
            content.extend_from_slice(bytes);
        }
    }
    let removed = from.keys().filter(|name| !to.contains_key(*name));
    header.removes = removed.map(|name| path(name)).collect();
    let mut body = frame::encode(&header).expect("the header is short");
    body.extend(content);
    let quoted = base.map(|id| format!("\"{id}\""));
    let answer = call(
        address,
        &Call {
            method: "POST",
            path: "/_icd/changesets",
            if_match: quoted.as_deref(),
            if_none_match: base.is_none().then_some("*"),
            content_type: Some(CHANGESET_TYPE),
            body: &body,
        },
    )?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Ok(serde_json::from_slice(&answer.body).expect("the answer is JSON"))
}

/// A signed call of the second generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) if_match: Option<&'a str>,
    pub(crate) if_none_match: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl<'a> Call<'a> {
    /// Returns a read without precondition.
    pub(crate) const fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            if_match: None,
            if_none_match: None,
            content_type: None,
            body: b"",
        }
    }
}

/// Signs and sends a call on a connection of its own.
///
/// # Errors
///
/// When the server cannot be reached or the connection breaks.
pub(crate) fn call(address: SocketAddr, call: &Call<'_>) -> io::Result<Answer> {
    let secret = Secret::from_text(SECRET).expect("it is not empty");
    let digest = content_digest(Sha256Digest::of(call.body));
    let signed = SignedRequest {
        method: call.method,
        path: call.path,
        query: None,
        content_digest: &digest,
        if_match: call.if_match,
        if_none_match: call.if_none_match,
    };
    let parameters = SignatureParameters::new(unix_seconds(), nonce(), &secret);
    let signature = signed.sign(&parameters, &secret);
    let mut headers = vec![
        ("content-digest", digest),
        ("signature-input", signature.signature_input),
        ("signature", signature.signature),
    ];
    let optional = [
        ("if-match", call.if_match),
        ("if-none-match", call.if_none_match),
        ("content-type", call.content_type),
    ];
    for (name, value) in optional {
        headers.extend(value.map(|value| (name, value.to_owned())));
    }
    Connection::open(address)?.send(&Request {
        method: call.method,
        target: call.path,
        headers,
        body: call.body,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a real server compares the signature's time with the real time"
)]
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_secs()
}

/// Returns a nonce that no other call of this test run has.
fn nonce() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    format!("e2e-{:010}-{call:010}", std::process::id())
}
