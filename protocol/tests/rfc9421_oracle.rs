//! Signatures of the second generation against an independent implementation of RFC 9421, the
//! `PyPI` package `http-message-signatures`, in both directions: what this crate signs verifies there,
//! and what is signed there verifies here.
//!
//! The package runs in the virtual environment that `./scripts/test packages` makes. Without it the
//! test fails: an oracle that is skipped proves nothing.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use onsave_protocol::{
    Secret, Sha256Digest,
    digest::hex,
    signature::v2::{
        Claim, SignatureError, SignatureHeaders, SignatureParameters, SignedRequest,
        content_digest, key_id,
    },
};
use serde_json::{Value, json};

const HOST: &str = "http://127.0.0.1:8080";
const NONCE: &str = "b3JhY2xlLW5vbmNlLTAwMDE";

/// One request that both sides sign and verify.
struct Case {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    if_match: Option<&'static str>,
    if_none_match: Option<&'static str>,
    body: &'static [u8],
}

const BARE: Case = Case {
    name: "a read without query",
    method: "GET",
    path: "/_icd/manifest",
    query: None,
    if_match: None,
    if_none_match: None,
    body: b"",
};

const CASES: [Case; 6] = [
    BARE,
    Case {
        name: "an empty query differs from none on the wire, not in what is signed",
        query: Some(""),
        ..BARE
    },
    Case {
        name: "a query with escapes, signed as sent",
        method: "PUT",
        path: "/_icd/deploys/1700000000000-00c0ffee/files",
        query: Some("path=blog%2F%C3%A4+b%2Bc.html&x="),
        body: b"<!doctype html>",
        ..BARE
    },
    Case {
        name: "a publish on a base",
        method: "POST",
        path: "/_icd/changesets",
        if_match: Some("\"1700000000000-00c0ffee\""),
        body: b"ONS2\x00\x00\x00\x02{}\xff\x00",
        ..BARE
    },
    Case {
        name: "the first publish of all",
        method: "POST",
        path: "/_icd/changesets",
        if_none_match: Some("*"),
        body: b"ONS2\x00\x00\x00\x02{}",
        ..BARE
    },
    Case {
        name: "a path with escapes",
        method: "PUT",
        path: "/_icd/blobs/%7Eab",
        body: b"bytes",
        ..BARE
    },
];

impl Case {
    fn digest(&self) -> String {
        content_digest(Sha256Digest::of(self.body))
    }

    fn signed<'a>(&'a self, digest: &'a str) -> SignedRequest<'a> {
        SignedRequest {
            method: self.method,
            path: self.path,
            query: self.query,
            content_digest: digest,
            if_match: self.if_match,
            if_none_match: self.if_none_match,
        }
    }

    fn components(&self) -> Vec<&'static str> {
        let mut names = vec!["@method", "@path", "@query", "content-digest"];
        names.extend(self.if_match.map(|_| "if-match"));
        names.extend(self.if_none_match.map(|_| "if-none-match"));
        names
    }

    /// Returns the request as the oracle reads it.
    fn message(&self, signature: Option<&SignatureHeaders>) -> Value {
        let query = self
            .query
            .map_or_else(String::new, |query| format!("?{query}"));
        let mut headers = vec![("content-digest", self.digest())];
        headers.extend(self.if_match.map(|value| ("if-match", value.to_owned())));
        headers.extend(
            self.if_none_match
                .map(|value| ("if-none-match", value.to_owned())),
        );
        if let Some(signature) = signature {
            headers.push(("signature-input", signature.signature_input.clone()));
            headers.push(("signature", signature.signature.clone()));
        }
        json!({
            "method": self.method,
            "url": format!("{HOST}{}{query}", self.path),
            "headers": headers,
            "body": hex(self.body),
        })
    }
}

/// The running Python program; ended when dropped.
struct Oracle {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    fn start() -> Self {
        let python = virtual_environment().join("bin/python");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rfc9421_oracle.py");
        let mut child = Command::new(&python)
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot run {} ({error}); make it with: ./scripts/test packages",
                    python.display()
                )
            });
        let orders = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            child,
            orders,
            answers,
        }
    }

    fn ask(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").expect("the oracle takes orders");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the oracle answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| {
            panic!(
                "the oracle answered {answer:?} ({error}); its message is above, and \
                 ./scripts/test packages installs what it imports"
            )
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is collected.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns the folder that `scripts/test` fills: beside Cargo's own folder for test files.
fn virtual_environment() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the folder for test files is below the target folder")
        .join("python-venv")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the oracle compares with the real time"
)]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_secs()
}

fn secret() -> Secret {
    Secret::from_text("an oracle's secret, longer than one block of SHA-256 so that it is hashed")
        .expect("it is not empty")
}

fn verify_order(case: &Case, headers: &SignatureHeaders, key: &Secret) -> Value {
    json!({
        "do": "verify",
        "request": case.message(Some(headers)),
        "key": hex(key.expose()),
        "keyId": key_id(&secret()),
        "components": case.components(),
    })
}

#[test]
fn what_we_sign_verifies_there() {
    let mut oracle = Oracle::start();
    let secret = secret();
    for case in &CASES {
        let digest = case.digest();
        let parameters = SignatureParameters::new(now(), NONCE.to_owned(), &secret);
        let headers = case.signed(&digest).sign(&parameters, &secret);
        let answer = oracle.ask(&verify_order(case, &headers, &secret));
        assert_eq!(answer["verified"], true, "{}: {answer}", case.name);
    }
}

#[test]
fn what_we_sign_does_not_verify_there_when_changed() {
    let mut oracle = Oracle::start();
    let secret = secret();
    let stranger = Secret::from_text("another secret").unwrap();
    for case in &CASES {
        let digest = case.digest();
        let parameters = SignatureParameters::new(now(), NONCE.to_owned(), &secret);
        let headers = case.signed(&digest).sign(&parameters, &secret);
        let answer = oracle.ask(&verify_order(case, &headers, &stranger));
        assert_eq!(answer["verified"], false, "{}: other secret", case.name);

        for changed in [
            Case {
                method: "DELETE",
                ..*case
            },
            Case {
                path: "/_icd/rollback",
                ..*case
            },
            Case {
                query: Some("a=b"),
                ..*case
            },
            Case {
                body: b"other bytes",
                ..*case
            },
        ] {
            let answer = oracle.ask(&verify_order(&changed, &headers, &secret));
            assert_eq!(answer["verified"], false, "{}: changed request", case.name);
        }
    }
}

#[test]
fn what_is_signed_there_verifies_here() {
    let mut oracle = Oracle::start();
    let secret = secret();
    for case in &CASES {
        let created = now();
        let answer = oracle.ask(&json!({
            "do": "sign",
            "request": case.message(None),
            "key": hex(secret.expose()),
            "keyId": key_id(&secret),
            "nonce": NONCE,
            "created": created,
            "expires": created + 300,
            "components": case.components(),
        }));
        let text = |name: &str| answer[name].as_str().expect("it is a text").to_owned();
        let claim = Claim::parse(&text("signatureInput"), &text("signature")).unwrap();
        assert_eq!(
            *claim.parameters(),
            SignatureParameters::new(created, NONCE.to_owned(), &secret),
            "{}",
            case.name
        );

        let digest = case.digest();
        let request = case.signed(&digest);
        assert_eq!(
            claim.verify(&request, &secret, created),
            Ok(()),
            "{}",
            case.name
        );
        let other = SignedRequest {
            method: "PATCH",
            ..request
        };
        assert_eq!(
            claim.verify(&other, &secret, created),
            Err(SignatureError::Invalid)
        );
    }
}
