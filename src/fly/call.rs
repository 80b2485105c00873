//! One call: pace, repetition, both shapes of errors. Everything that is asked passes here.
//!
//! A call that may be sent twice is sent again after a passing failure, a bounded number of times
//! with jitter in between. One that may not is sent again only when it was surely not acted upon;
//! whoever makes it looks up what became of it otherwise. Neither a body nor a token is logged.

use std::{fmt, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{
    Serialize,
    de::{self, DeserializeOwned},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Fly,
    action::{Action, Asked},
    error::FlyError,
    refusal,
    resources::Lease,
    token::MASK,
};
use crate::{
    http::{Answer, Body, HttpError, Patience, Request},
    publish::retry::Backoff,
};

/// The longest answer that is read: an organisation with thousands of machines.
const ANSWER_LIMIT: u64 = 32 * 1024 * 1024;

/// How often one call is sent at most.
const MAX_SENDS: u32 = 6;

/// After how long no call is sent again.
const MAX_TIME: Duration = Duration::from_mins(1);

/// How often a call is sent when no connection can be made: whoever is offline is told soon.
const MAX_CONNECTS: u32 = 3;

/// How long an answer may take that only tells something.
const TELLING_TIME: Duration = Duration::from_secs(30);

/// How long an answer may take after something was done: creating a machine waits for its image to be
/// fetched.
const DOING_TIME: Duration = Duration::from_secs(90);

/// What a path segment may hold unescaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Which service a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Machines,
    Web,
}

/// Whether a call may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repetition {
    /// Its effect is the same.
    Harmless,
    /// Only if it was surely not acted upon.
    OnlyIfNotDone,
    /// It is not worth it.
    Never,
}

/// One call.
pub(super) struct Call<'a> {
    asked: Asked,
    service: Service,
    method: &'static str,
    /// Path and query, encoded.
    path: String,
    body: Option<Vec<u8>>,
    nonce: Option<&'a str>,
    repetition: Repetition,
    answer_time: Duration,
    /// What an error may not repeat.
    hidden: Vec<&'a str>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: &'static str, action: Action, subject: &str, path: String) -> Self {
        Self {
            asked: Asked {
                action,
                subject: subject.to_owned(),
            },
            service: Service::Machines,
            method,
            path,
            body: None,
            nonce: None,
            repetition: Repetition::Harmless,
            answer_time: match method {
                "GET" => TELLING_TIME,
                _ => DOING_TIME,
            },
            hidden: Vec::new(),
        }
    }

    pub(super) fn get(action: Action, subject: &str, path: String) -> Self {
        Self::new("GET", action, subject, path)
    }

    pub(super) fn post(action: Action, subject: &str, path: String) -> Self {
        Self::new("POST", action, subject, path)
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("requests have text keys and finite numbers");
        self.body = Some(body);
        self
    }

    /// Shows that the caller holds the machine's lease.
    pub(super) fn leased(mut self, lease: Option<&'a Lease>) -> Self {
        self.nonce = lease.map(|lease| lease.nonce.as_str());
        self
    }

    pub(super) fn hiding(mut self, hidden: Vec<&'a str>) -> Self {
        self.hidden = hidden;
        self
    }

    /// Marks a call whose effect doubles when it is sent twice.
    pub(super) fn once(mut self) -> Self {
        self.repetition = Repetition::OnlyIfNotDone;
        self
    }

    /// Marks a call of the web API that everything works without.
    pub(super) fn optional(mut self) -> Self {
        self.repetition = Repetition::Never;
        self.answer_time = Duration::from_secs(5);
        self.on_web()
    }

    pub(super) fn on_web(mut self) -> Self {
        self.service = Service::Web;
        self
    }

    fn may_repeat(&self, error: &FlyError) -> bool {
        match self.repetition {
            Repetition::Harmless => error.is_worth_repeating(),
            Repetition::OnlyIfNotDone => error.was_surely_not_done(),
            Repetition::Never => false,
        }
    }
}

/// Neither the body nor the nonce.
impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("asked", &self.asked)
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Returns `text` as one segment of a path, or a value of a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Returns the path of `rest` below an app.
pub(super) fn app_path(app: &str, rest: &str) -> String {
    format!("/v1/apps/{}{rest}", encoded(app))
}

/// A bounded number of waits that grow, with jitter.
#[derive(Debug)]
pub(super) struct Pauses {
    backoff: Backoff,
    end: Instant,
}

impl Pauses {
    /// Returns waits that end after `limit`.
    pub(super) fn within(limit: Duration) -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(8)),
            end: Instant::now() + limit,
        }
    }

    /// Waits, at least for `least`; returns whether there was time left for it.
    pub(super) async fn pause(&mut self, least: Option<Duration>) -> bool {
        let jittered = self
            .backoff
            .failed(getrandom::u32().unwrap_or(u32::MAX / 2));
        let wait = jittered.max(least.unwrap_or_default());
        if Instant::now() + wait > self.end {
            return false;
        }
        tokio::time::sleep(wait).await;
        true
    }
}

impl Fly {
    /// Makes a call and reads its answer.
    pub(super) async fn read<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, FlyError> {
        let (asked, hidden) = (call.asked.clone(), call.hidden.clone());
        let answer = self.call(call).await?;
        parse(asked, &answer).map_err(|error| match error {
            // What cannot be read is quoted, and may repeat what was sent.
            FlyError::BadAnswer {
                asked,
                request_id,
                source,
            } => FlyError::BadAnswer {
                asked,
                request_id,
                source: de::Error::custom(self.masked(&source.to_string(), &hidden)),
            },
            other => other,
        })
    }

    /// Returns `text` without the token and without what is hidden, plain and as JSON writes it.
    fn masked(&self, text: &str, hidden: &[&str]) -> String {
        let mut text = self.token.masked(text);
        for hidden in hidden.iter().filter(|hidden| !hidden.is_empty()) {
            let written = Value::from(*hidden).to_string();
            let written = &written[1..written.len() - 1];
            text = text.replace(hidden, MASK).replace(written, MASK);
        }
        text
    }

    /// Makes a call, several times where that helps, and returns its answer of status 200 to 299.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, FlyError> {
        let mut pauses = Pauses::within(MAX_TIME);
        let mut sends = 1;
        loop {
            let error = match self.send(&call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let most = match error {
                FlyError::NoAnswer {
                    source: HttpError::Connect(_),
                    ..
                } => MAX_CONNECTS,
                _ => MAX_SENDS,
            };
            if sends >= most || !call.may_repeat(&error) {
                return Err(error);
            }
            tracing::debug!(%error, sends, "failed to call Fly.io, trying again");
            if !pauses.pause(error.retry_after()).await {
                return Err(error);
            }
            sends += 1;
        }
    }

    async fn send(&self, call: &Call<'_>) -> Result<Answer, FlyError> {
        if !is_safe(&call.path) {
            return Err(FlyError::BadName {
                asked: call.asked.clone(),
            });
        }
        self.pace.wait(&call.asked).await;
        let start = Instant::now();
        let outcome = self.exchange(call).await;
        let status = outcome.as_ref().map_or(0, |answer| answer.status);
        let request_id = outcome
            .as_ref()
            .ok()
            .and_then(|answer| answer.header("fly-request-id"));
        tracing::debug!(
            http.method = call.method,
            http.path = call.path,
            http.status = status,
            request.id = request_id,
            duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            "called Fly.io"
        );
        let answer = outcome.map_err(|source| FlyError::NoAnswer {
            asked: call.asked.clone(),
            source,
        })?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let masked = |text: &str| self.masked(text, &call.hidden);
        let refusal = refusal::read(&call.asked, &answer, masked);
        Err(FlyError::Refused(Box::new(refusal)))
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<Answer, HttpError> {
        let mut headers = vec![("authorization", self.token.authorization())];
        headers.push(("accept", "application/json".into()));
        if call.body.is_some() {
            headers.push(("content-type", "application/json".into()));
        }
        if let Some(nonce) = call.nonce {
            headers.push(("fly-machine-lease-nonce", nonce.to_owned()));
        }
        let request = Request {
            method: call.method,
            path_and_query: &call.path,
            headers,
            body: Body::Parts(call.body.iter().map(|body| body.clone().into()).collect()),
            patience: Patience {
                stall: Duration::from_secs(30),
                answer: call.answer_time,
            },
            answer_limit: ANSWER_LIMIT,
        };
        match call.service {
            Service::Machines => self.machines.exchange(request).await,
            Service::Web => self.web.exchange(request).await,
        }
    }
}

/// Returns whether a path stays what it is when it becomes a URL.
///
/// An empty name, or `..`, would turn the removal of a certificate into that of its app.
fn is_safe(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.strip_prefix('/').is_some_and(|path| {
        path.split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
    })
}

/// Reads the answer to what was asked.
pub(super) fn parse<T: DeserializeOwned>(asked: Asked, answer: &Answer) -> Result<T, FlyError> {
    serde_json::from_slice(&answer.body).map_err(|source| FlyError::BadAnswer {
        asked,
        request_id: answer.header("fly-request-id").map(str::to_owned),
        source,
    })
}
