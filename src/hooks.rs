//! Hooks: what a CMS, a repository or a script tells of changes, over HTTP, and what became of it.
//!
//! ```text
//! POST /hooks/<id> ─► verify ─► event ─► journal ─► 202      GET /hooks/outcomes/<id> ◄─ journal
//!                     raw body           on disk │
//!                                                ▼
//!                          worker, one a hook: sanity_api ─► documents ─► HookRun ─► daemon: build, publish
//! ```
//!
//! | module | does |
//! |---|---|
//! | `verify` | who sent it: Sanity, GitHub, Standard Webhooks, a shared secret; pure |
//! | `event` | what it says, and what tells it from other deliveries; pure |
//! | `journal`, `outcome` | accepted events and what became of each, in the state folder |
//! | `worker`, `run` | fetches documents in order, and asks the daemon |
//! | `sanity_api`, `path_template`, `documents` | a document by its query, to its file |
//! | `peers` | who fails too often; pure |
//! | `listener` | an address of their own |
//!
//! Nothing is stored, and nothing is done, before a request is proven: a stranger costs one body in memory
//! and one hash, and is told nothing. What an event does is the daemon's, as with a save: builds are one
//! at a time, and the site becomes what the folder is.

mod documents;
mod event;
mod journal;
mod listener;
mod outcome;
mod path_template;
mod peers;
mod run;
mod sanity_api;
mod verify;
mod worker;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Body,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};
use onsave_protocol::digest;
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};

pub(crate) use self::verify::standard_webhooks::key as standard_webhooks_key;
use self::{
    event::Meaning,
    journal::{Journal, JournalError, NewEvent},
    peers::Failures,
    verify::{Refusal, Signed},
    worker::Worker,
};
pub use self::{
    event::{Event, Operation},
    outcome::{DocumentChange, Ended, FileChange, HookState, Outcome},
    path_template::{PathError, PathTemplate},
    run::HookRun,
};
use crate::{
    config::{Config, FILE_NAME, HookConfig, HookVerify, TargetConfig},
    state_folder::SiteState,
    wall_clock,
};

/// The longest body, in bytes: far above what a CMS sends of a document.
const MOST_BODY: usize = 1024 * 1024;

/// The longest body of GitHub, which sends up to this much of a push with many commits.
const MOST_GITHUB_BODY: usize = 25 * 1024 * 1024;

/// Bodies above [`MOST_BODY`] at once: nobody is known before the whole body is.
const LARGE_BODIES: usize = 1;

/// How long a body may take: senders wait 10 to 30 seconds themselves.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Runs that wait for the daemon; each hook has at most one.
const MOST_RUNS: usize = 16;

/// When a sender shall try again, where too much waits.
const BUSY_S: &str = "30";

/// What all paths start with.
pub const PREFIX: &str = "/hooks/";

/// The outcomes, below [`PREFIX`].
const OUTCOMES: &str = "outcomes/";

/// What an answer carries.
pub type Answer = Response<Full<Bytes>>;

/// The hooks cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum HooksError {
    /// The events that wait cannot be read.
    #[error("the hooks' events cannot be kept in {}", path.display())]
    Journal {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The address is taken, or not this machine's.
    #[error("the hooks cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl HooksError {
    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Journal { path, .. } => {
                format!("make {} readable and writable for you", path.display())
            }
            Self::Listen { .. } => {
                "set hooks.listen to a free address of this machine, such as \"127.0.0.1:4748\""
                    .to_owned()
            }
        }
    }
}

/// The hooks of a running daemon; dropping it ends them, and what was accepted waits for the next start.
#[derive(Debug)]
pub struct HookService {
    hooks: Arc<Hooks>,
    /// End with this value.
    tasks: JoinSet<()>,
}

/// The side that answers requests.
#[derive(Debug)]
pub struct Hooks {
    entries: Vec<HookConfig>,
    journal: Arc<Journal>,
    failures: Failures,
    large: Semaphore,
}

impl HookService {
    /// Takes up the events that wait, and returns what asks the daemon to act on them; nothing where no
    /// hook is configured.
    ///
    /// # Errors
    ///
    /// [`HooksError::Journal`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn open(
        config: &Config,
        state: &SiteState,
    ) -> Result<Option<(Self, mpsc::Receiver<HookRun>)>, HooksError> {
        if config.hooks.entries.is_empty() {
            return Ok(None);
        }
        let folder = state.hooks_folder();
        let journal =
            Journal::open(folder.join("events")).map_err(|error| HooksError::Journal {
                path: folder.clone(),
                source: match error {
                    JournalError::Read { source, .. } | JournalError::Write(source) => source,
                    JournalError::Full => io::ErrorKind::QuotaExceeded.into(),
                },
            })?;
        let journal = Arc::new(journal);
        let (ask, runs) = mpsc::channel(MOST_RUNS);
        let mut refused = vec![config.file_or_default(), config.root.join(FILE_NAME)];
        if let TargetConfig::Local(local) = &config.target {
            refused.push(local.volume.clone());
        }
        let mut tasks = JoinSet::new();
        for hook in &config.hooks.entries {
            let worker = Worker {
                hook: hook.clone(),
                journal: Arc::clone(&journal),
                ask: ask.clone(),
                root: config.root.clone(),
                refused: refused.clone(),
                memory: folder.join(format!("documents-{}.json", hook.id)),
            };
            tasks.spawn(worker.work());
        }
        let hooks = Hooks::new(config.hooks.entries.clone(), journal);
        let service = Self {
            hooks: Arc::new(hooks),
            tasks,
        };
        Ok(Some((service, runs)))
    }

    /// Returns what answers requests below [`PREFIX`], for a listener of somebody else.
    #[must_use]
    pub fn hooks(&self) -> Arc<Hooks> {
        Arc::clone(&self.hooks)
    }

    /// Answers at an address where nothing else does; returns the one that it became.
    ///
    /// # Errors
    ///
    /// [`HooksError::Listen`].
    pub async fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, HooksError> {
        let failed = |source| HooksError::Listen { address, source };
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        self.tasks.spawn(listener::serve(listener, self.hooks()));
        Ok(bound)
    }
}

impl Hooks {
    fn new(entries: Vec<HookConfig>, journal: Arc<Journal>) -> Self {
        Self {
            entries,
            journal,
            failures: Failures::default(),
            large: Semaphore::new(LARGE_BODIES),
        }
    }

    /// Answers a request below [`PREFIX`], and every other with 404. `peer` is who is connected.
    ///
    /// The whole of the proof is in the request: no `Host`, `Origin` or token of another kind is asked for.
    pub async fn answer<B>(&self, request: Request<B>, peer: Option<IpAddr>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Some(rest) = request.uri().path().strip_prefix(PREFIX) else {
            return nothing();
        };
        if let Some(id) = rest.strip_prefix(OUTCOMES) {
            return self.outcome(request.method(), id);
        }
        let Some(hook) = self.entries.iter().find(|hook| hook.id == rest) else {
            return nothing();
        };
        if request.method() != Method::POST {
            return only(&Method::POST);
        }
        let peer = peers::peer_of(peer, request.headers());
        if let Some(wait) = self.failures.wait(peer, Instant::now()) {
            let mut answer = refusal(StatusCode::TOO_MANY_REQUESTS, "too_many_failures");
            let seconds = wait.as_secs().saturating_add(1);
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            return answer;
        }
        let (head, body) = request.into_parts();
        let body = match self.body(hook, &head.headers, body).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        self.told(hook, (&head.headers, &body), peer).await
    }

    fn outcome(&self, method: &Method, id: &str) -> Answer {
        if method != Method::GET {
            return only(&Method::GET);
        }
        match self.journal.outcome(id) {
            Some(outcome) => json_answer(StatusCode::OK, &json!(outcome)),
            None => nothing(),
        }
    }

    /// Reads a body whose sender is not known yet.
    async fn body<B>(
        &self,
        hook: &HookConfig,
        headers: &HeaderMap,
        body: B,
    ) -> Result<Bytes, Answer>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let length = headers.get(CONTENT_LENGTH);
        let length: Option<usize> = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut most = MOST_BODY;
        let mut _permit = None;
        // A large one has to say so, and waits for its turn at the sender.
        if hook.verify == HookVerify::GitHub && length.is_some_and(|length| length > MOST_BODY) {
            let Ok(permit) = self.large.try_acquire() else {
                return Err(busy());
            };
            _permit = Some(permit);
            most = MOST_GITHUB_BODY;
        }
        if length.is_some_and(|length| length > most) {
            return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
        }
        match timeout(BODY_TIME, Limited::new(body, most).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large"))
            }
            Ok(Err(_)) => Err(refusal(StatusCode::BAD_REQUEST, "bad_body")),
            Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "too_slow")),
        }
    }

    /// Takes in what a hook was told, when that is proven.
    async fn told(
        &self,
        hook: &HookConfig,
        (headers, body): (&HeaderMap, &Bytes),
        peer: Option<IpAddr>,
    ) -> Answer {
        let signed = Signed {
            headers,
            body,
            now: wall_clock::now(),
        };
        let proven = match verify::verify(&hook.verify, &hook.secrets, signed) {
            Ok(proven) => proven,
            Err(refused) => return self.refused(hook, &refused, peer),
        };
        let mut event = match event::meaning(hook, headers, body) {
            Meaning::Act(event) => event,
            Meaning::Ignore(why) => {
                tracing::debug!(hook = hook.id, "a hook's event is ignored: {why}");
                return json_answer(StatusCode::OK, &json!({ "ignored": why }));
            }
        };
        let Ok(id) = random_id() else {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "no_randomness");
        };
        event.id = id;
        event.received_unix_ms = unix_ms_now();
        let new = NewEvent {
            event,
            deliveries: event::deliveries(hook, headers, proven.as_deref()),
            bytes: body.len() as u64,
        };
        match self.journal.accept(new).await {
            Ok((id, is_new)) => {
                let again = if is_new {
                    ""
                } else {
                    ", which was delivered before"
                };
                tracing::info!(hook = hook.id, "a hook was told of a change{again}");
                let outcome = format!("{PREFIX}{OUTCOMES}{id}");
                json_answer(
                    StatusCode::ACCEPTED,
                    &json!({ "id": id, "outcome": outcome }),
                )
            }
            Err(error) => {
                let error = &error as &(dyn std::error::Error + 'static);
                tracing::error!(hook = hook.id, error, "an event is refused for now");
                busy()
            }
        }
    }

    /// The owner hears what is wrong, and the peer does not.
    fn refused(&self, hook: &HookConfig, refused: &Refusal, peer: Option<IpAddr>) -> Answer {
        if self.failures.failed(peer, Instant::now()) {
            let peer = peer.map_or_else(|| "this machine".to_owned(), |peer| peer.to_string());
            tracing::warn!(
                hook = hook.id,
                peer,
                "a request is refused: {refused}; if it is your sender, {}",
                refused.hint()
            );
        }
        refusal(StatusCode::UNAUTHORIZED, "refused")
    }
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        "application/json".parse().expect("it is ASCII"),
    );
    headers.insert(CACHE_CONTROL, "no-store".parse().expect("it is ASCII"));
    answer
}

fn refusal(status: StatusCode, code: &str) -> Answer {
    let text = status.canonical_reason().unwrap_or("refused");
    let body = json!({ "code": code, "error": text.to_lowercase() });
    json_answer(status, &body)
}

fn nothing() -> Answer {
    refusal(StatusCode::NOT_FOUND, "not_found")
}

fn only(method: &Method) -> Answer {
    let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    let allowed = method.as_str().parse().expect("a method is ASCII");
    answer.headers_mut().insert(ALLOW, allowed);
    answer
}

fn busy() -> Answer {
    let mut answer = refusal(StatusCode::SERVICE_UNAVAILABLE, "busy");
    let headers = answer.headers_mut();
    headers.insert(RETRY_AFTER, BUSY_S.parse().expect("it is ASCII"));
    answer
}

fn random_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(digest::hex(&bytes))
}

/// A clock before 1970 is wrong, and nobody's time.
fn unix_ms_now() -> u64 {
    let since = wall_clock::now().duration_since(UNIX_EPOCH);
    let ms = since.map(|since| u64::try_from(since.as_millis()));
    ms.ok().and_then(Result::ok).unwrap_or(0)
}

#[cfg(test)]
mod tests;
