//! A small client of the simulated APIs, for what a test wants to know, to prepare or to disturb.

use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::http::{Answer, Connection, Request};

/// A client of an address, with what it sends as `Authorization`.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient {
    address: SocketAddr,
    authorization: String,
    nonce: Option<String>,
}

impl ApiClient {
    /// A client of a `http://` address with a port; the scheme of the token is the one that it has by its
    /// kind.
    pub(crate) fn new(url: &str, token: &str) -> Self {
        let address = url.strip_prefix("http://").map(str::parse);
        let address = address.expect("it speaks plain HTTP");
        let address = address.expect("it is an address and a port");
        let scheme = if token.starts_with("fm") {
            "FlyV1"
        } else {
            "Bearer"
        };
        Self {
            address,
            authorization: format!("{scheme} {token}"),
            nonce: None,
        }
    }

    /// A client that holds a lease.
    pub(crate) fn with_nonce(&self, nonce: &str) -> Self {
        Self {
            nonce: Some(nonce.to_owned()),
            ..self.clone()
        }
    }

    /// The whole answer; nothing when the connection ended without one.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Option<Answer> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut headers = vec![
            ("authorization", self.authorization.clone()),
            ("content-type", "application/json".to_owned()),
        ];
        headers.extend(
            self.nonce
                .iter()
                .map(|nonce| ("fly-machine-lease-nonce", nonce.clone())),
        );
        let request = Request {
            method,
            target: path,
            headers,
            body: body.as_bytes(),
        };
        Connection::open(self.address).ok()?.send(&request).ok()
    }

    /// Status and JSON; null when the body is empty, and a text when it is no JSON.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.ask(method, path, body).expect("the simulator answers");
        let text = answer.text();
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        (answer.status, body)
    }

    /// Status and JSON of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, &Value::Null)
    }

    /// Status and JSON of a POST.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, body)
    }

    /// The JSON of a call that has to succeed.
    pub(crate) fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }
}
