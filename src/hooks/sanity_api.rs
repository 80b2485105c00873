//! Asking Sanity's HTTP API for one document, by the configured query.
//!
//! Whatever an event says was done, Sanity's answer is what holds: events can come late and out of order.
//! No result means that there is no such document any more.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    config::HookFetch,
    http::{Answer, Body, Http, HttpError, Patience, Request},
};

/// A document with the text of a long page is some hundred kilobytes.
const MOST_ANSWER: u64 = 16 * 1024 * 1024;

/// As browsers encode a value; also safe in every proxy on the way.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The longest text of a refusal that is told.
const MOST_TOLD: usize = 300;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(super) enum SanityError {
    /// It could not be asked.
    #[error("Sanity cannot be asked")]
    Http(#[from] HttpError),
    /// It refused.
    #[error("Sanity refused with {status}: {said}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The answer is none that the API is known to give.
    #[error("Sanity's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

impl SanityError {
    /// Returns whether another try may help.
    pub(super) const fn retry(&self) -> bool {
        match self {
            Self::Http(HttpError::BadUrl | HttpError::Invalid(_) | HttpError::Tls(_)) => false,
            Self::Http(_) | Self::Unreadable(_) => true,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
        }
    }
}

/// The API of one dataset.
#[derive(Debug)]
pub(super) struct SanityApi {
    http: Http,
    fetch: HookFetch,
}

#[derive(Deserialize)]
struct Answered {
    result: Value,
}

impl SanityApi {
    /// Returns the API that the configuration names.
    ///
    /// # Errors
    ///
    /// When the machine has no certificates to trust.
    pub(super) fn new(fetch: &HookFetch) -> Result<Self, HttpError> {
        Ok(Self {
            http: Http::new(&fetch.url)?,
            fetch: fetch.clone(),
        })
    }

    /// Returns what the query gives for a document; nothing where there is none.
    ///
    /// # Errors
    ///
    /// [`SanityError`].
    pub(super) async fn document(&self, id: &str) -> Result<Option<Value>, SanityError> {
        let target = target(&self.fetch, id);
        let mut headers = vec![("accept", "application/json".to_owned())];
        if let Some(token) = &self.fetch.token {
            let token = String::from_utf8_lossy(token.expose()).into_owned();
            headers.push(("authorization", format!("Bearer {token}")));
        }
        let answer = self
            .http
            .exchange(Request {
                method: "GET",
                path_and_query: &target,
                headers,
                body: Body::Parts(Vec::new()),
                patience: Patience {
                    stall: Duration::from_secs(15),
                    answer: Duration::from_secs(30),
                },
                answer_limit: MOST_ANSWER,
            })
            .await?;
        result(&answer)
    }
}

/// Returns path and query; a parameter's value is JSON.
fn target(fetch: &HookFetch, id: &str) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, &ENCODED).to_string();
    let parameter = Value::String(id.to_owned()).to_string();
    format!(
        "/v{}/data/query/{}?query={}&{}={}&perspective=published",
        fetch.api_version,
        fetch.dataset,
        encoded(&fetch.query),
        encoded("$id"),
        encoded(&parameter)
    )
}

fn result(answer: &Answer) -> Result<Option<Value>, SanityError> {
    if answer.status != 200 {
        return Err(SanityError::Refused {
            status: answer.status,
            said: said(&answer.body),
        });
    }
    let answered: Answered =
        serde_json::from_slice(&answer.body).map_err(SanityError::Unreadable)?;
    Ok(match answered.result {
        Value::Null => None,
        // A query without [0] gives a list.
        Value::Array(documents) if documents.is_empty() => None,
        document => Some(document),
    })
}

/// Returns what a refusal says: `error.description`, `error` or `message`.
fn said(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = body
        .pointer("/error/description")
        .or_else(|| body.get("message"))
        .or_else(|| body.get("error"))
        .and_then(Value::as_str)
        .unwrap_or("it does not say why");
    text.chars()
        .filter(|c| !c.is_control())
        .take(MOST_TOLD)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hooks::tests::fetch;

    #[test]
    fn the_query_and_its_parameter_are_encoded() {
        let target = target(&fetch("http://127.0.0.1:1"), "a\"b&c");
        assert_eq!(
            target,
            "/v2025-02-19/data/query/production?query=%2A%5B_id%20%3D%3D%20%24id%5D%5B0%5D&%24id=%22a%5C%22b%26c\
             %22&perspective=published"
        );
    }

    #[test]
    fn nothing_found_is_no_document() {
        let answered =
            |status, body: &Value| result(&Answer::made_up(status, &[], &body.to_string()));
        assert_eq!(
            answered(200, &json!({"ms": 1, "result": null})).unwrap(),
            None
        );
        assert_eq!(answered(200, &json!({"result": []})).unwrap(), None);
        let found = answered(200, &json!({"result": {"a": 1}})).unwrap();
        assert_eq!(found, Some(json!({"a": 1})));
        // An answer that says nothing of a result must not remove anything.
        for body in [json!({}), json!("x")] {
            let error = answered(200, &body).unwrap_err();
            assert!(matches!(error, SanityError::Unreadable(_)) && error.retry());
        }
    }

    #[test]
    fn a_refusal_says_why_and_whether_to_try_again() {
        for (status, body, part, retry) in [
            (
                401,
                json!({"error": "Unauthorized", "message": "Session not found"}),
                "Session not found",
                false,
            ),
            (
                400,
                json!({"error": {"description": "expected ']'", "type": "queryParseError"}}),
                "expected ']'",
                false,
            ),
            (
                404,
                json!({"error": "Dataset not found"}),
                "Dataset not found",
                false,
            ),
            (429, json!({}), "does not say", true),
            (503, json!("<html>"), "does not say", true),
        ] {
            let error = result(&Answer::made_up(status, &[], &body.to_string())).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.retry(), retry, "{status}");
        }
    }
}
