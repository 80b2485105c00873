//! One request on its way: headers, signature, the document in it, and what the answer means.

use std::time::{Duration, UNIX_EPOCH};

use onsave_protocol::{Secret, Sha256Digest};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{Attempt, words},
    command,
    documents::{self, Document},
    event::Event,
    requests::{self, Planned, What},
    setup::Setup,
    signature::{signature, signing_key},
};
use crate::{
    config::{AfterAction, AfterPublish, CachePurge, CallUrl, Webhook, WebhookFormat},
    http::{Answer, Body, Http, HttpError, Patience, Request},
    wall_clock,
};

/// The longest answer that is read, in bytes: only its first words are told.
const ANSWER_BYTES: u64 = 64 * 1024;

/// What is sent of which event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) entry: &'a AfterPublish,
    pub(super) setup: &'a Setup,
    pub(super) event: &'a Event,
    /// The event's number in its queue.
    pub(super) number: u64,
}

impl Sending<'_> {
    /// Sends one request, and returns what came of it.
    pub(super) async fn send(self, planned: &Planned, stop: &CancellationToken) -> Attempt {
        let document = match self.document(&planned.what).await {
            Ok(document) => document,
            Err(attempt) => return attempt,
        };
        let site = &self.setup.site;
        let body = requests::body(&planned.what, (self.event, site), document);
        match &self.entry.action {
            AfterAction::Webhook(webhook) => self.webhook(webhook, planned, body).await,
            AfterAction::ContentSync(sync) => {
                let secret = ("x-sync-secret", text_of(&sync.secret));
                self.post((&sync.url, Some(&sync.secret)), vec![secret], body)
                    .await
            }
            AfterAction::CachePurge(purge) => self.purge(purge, body).await,
            AfterAction::Command(command) => {
                let run = (self.setup, self.entry.timeout);
                command::run(command, run, body, stop).await
            }
            // Restarts are no request; see `restart`.
            AfterAction::FlyRestart(_) => Attempt::Taken,
            // Nothing is planned for it.
            AfterAction::ByDaemon => Attempt::Stopped,
        }
    }

    /// Returns the document that belongs to a request; or what the request comes to without it.
    async fn document(self, what: &What) -> Result<Option<serde_json::Value>, Attempt> {
        let (path, digest, is_needed) = match what {
            What::Document {
                path,
                digest: Some(digest),
                ..
            } => (path, *digest, true),
            What::Content {
                document: Some((path, digest)),
                ..
            } => (path, *digest, false),
            What::Document { .. } | What::Content { .. } | What::Event | What::Purge(_) => {
                return Ok(None);
            }
        };
        match documents::find(self.setup, path, digest).await {
            Document::Found(value) => Ok(Some(value)),
            Document::Over if is_needed => {
                tracing::debug!(%path, "not sent: it is no more what is published");
                Err(Attempt::Taken)
            }
            Document::NotNow(error) => Err(Attempt::later(error)),
            Document::Unusable(error) if is_needed => Err(Attempt::Refused(error)),
            Document::Over | Document::Unusable(_) => Ok(None),
        }
    }

    async fn webhook(self, webhook: &Webhook, planned: &Planned, body: Vec<u8>) -> Attempt {
        let mut headers = Vec::new();
        if webhook.format == WebhookFormat::Icd {
            headers.push(("x-cms-event", "content.revalidate".to_owned()));
        }
        let id = self.message_id(&planned.key);
        let since = wall_clock::now().duration_since(UNIX_EPOCH);
        let unix_s = since.map_or(0, |since| since.as_secs());
        headers.push(("webhook-id", id.clone()));
        headers.push(("webhook-timestamp", unix_s.to_string()));
        if let Some(secret) = &webhook.secret {
            match signing_key(secret) {
                Ok(key) => {
                    let signed = signature(&key, (&id, unix_s), &body);
                    headers.push(("webhook-signature", signed));
                }
                Err(problem) => return Attempt::Refused(format!("the secret {problem}")),
            }
        }
        self.post((&webhook.url, webhook.secret.as_ref()), headers, body)
            .await
    }

    /// The same for every try, so that the receiver can tell a repetition.
    fn message_id(self, key: &str) -> String {
        let named = format!("{}\n{key}", self.event.deploy_id);
        let hash = Sha256Digest::of(named.as_bytes()).to_hex();
        format!("msg_{}_{}", self.number, &hash[..16])
    }

    async fn post(
        self,
        (url, secret): (&CallUrl, Option<&Secret>),
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    ) -> Attempt {
        let answer = self
            .exchange((&url.origin, &url.target), headers, body)
            .await;
        Attempt::of(answer, secret, wall_clock::now())
    }

    async fn exchange(
        self,
        (origin, target): (&str, &str),
        mut headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    ) -> Result<Answer, HttpError> {
        headers.push(("content-type", "application/json".to_owned()));
        let limit = self.entry.timeout;
        let http = Http::new(origin)?;
        let exchange = http.exchange(Request {
            method: "POST",
            path_and_query: target,
            headers,
            body: Body::Parts(vec![body.into()]),
            patience: Patience {
                stall: limit,
                answer: limit,
            },
            answer_limit: ANSWER_BYTES,
        });
        let stalled = |_| Err(HttpError::Stalled(limit));
        timeout(limit, exchange).await.unwrap_or_else(stalled)
    }

    async fn purge(self, purge: &CachePurge, body: Vec<u8>) -> Attempt {
        let target = format!("/client/v4/zones/{}/purge_cache", purge.zone);
        let authorization = format!("Bearer {}", text_of(&purge.token));
        let headers = vec![("authorization", authorization)];
        let answer = self
            .exchange((&purge.api_url, &target), headers, body)
            .await;
        purged(answer, &purge.token)
    }
}

/// What the API of Cloudflare answers.
#[derive(Deserialize)]
struct PurgeAnswer {
    success: bool,
    #[serde(default)]
    errors: Vec<PurgeError>,
}

#[derive(Deserialize)]
struct PurgeError {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
}

/// Returns what a purge came to: also an answer of status 200 may say no.
fn purged(exchange: Result<Answer, HttpError>, token: &Secret) -> Attempt {
    let body = exchange.as_ref().ok().map(|answer| answer.body.clone());
    let attempt = Attempt::of(exchange, Some(token), wall_clock::now());
    let said = body.and_then(|body| serde_json::from_slice::<PurgeAnswer>(&body).ok());
    let errors = said.as_ref().map(|said| {
        let told = said.errors.iter().map(|error| {
            let message = words(error.message.as_bytes(), Some(token));
            format!("{message} (code {})", error.code)
        });
        told.collect::<Vec<_>>().join(", ")
    });
    let errors = errors.filter(|errors| !errors.is_empty());
    let with = |error: String| match &errors {
        Some(errors) => format!("the purge failed: {errors}"),
        None => error,
    };
    match (attempt, said) {
        (Attempt::Taken, Some(said)) if said.success => Attempt::Taken,
        (Attempt::Taken, Some(_)) => Attempt::Refused(with(
            "the purge failed, and the answer does not say why".into(),
        )),
        // Something else than the API answers there.
        (Attempt::Taken, None) => Attempt::later("the answer is none of Cloudflare's".to_owned()),
        (Attempt::Later { error, after }, _) => Attempt::Later {
            error: with(error),
            after,
        },
        (Attempt::Refused(error), _) => Attempt::Refused(with(error)),
        (Attempt::Stopped, _) => Attempt::Stopped,
    }
}

/// Returns a secret as a header's value; the configuration has seen that it is one.
fn text_of(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

/// Returns how long to wait before the next try of an event that failed so often.
pub(super) fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    let wait = super::schedule::wait_after(failures, random);
    wait.max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_is_done_when_the_answer_says_so() {
        let token = Secret::from_text("t0ken").unwrap();
        let purged = |status, body: &str| purged(Ok(Answer::made_up(status, &[], body)), &token);
        assert_eq!(
            purged(200, r#"{"success":true,"errors":[]}"#),
            Attempt::Taken
        );
        let no = r#"{"success":false,"errors":[{"code":1012,"message":"t0ken may not"}]}"#;
        let refused = Attempt::Refused("the purge failed: **** may not (code 1012)".into());
        assert_eq!(purged(200, no), refused);
        assert_eq!(purged(400, no), refused);
        let later = purged(
            429,
            r#"{"success":false,"errors":[{"code":971,"message":"slow down"}]}"#,
        );
        let Attempt::Later { error, .. } = later else {
            panic!("{later:?}");
        };
        assert_eq!(error, "the purge failed: slow down (code 971)");
        assert!(matches!(purged(200, "<html>"), Attempt::Later { .. }));
        assert!(matches!(
            purged(200, r#"{"success":false}"#),
            Attempt::Refused(_)
        ));
    }
}
