//! A small registry in memory: it keeps what it is sent, notes every request, and fails on demand.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Response, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use crate::image::BlobDigest;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) authorisation: Option<String>,
    media_type: String,
    body: Bytes,
}

impl Seen {
    pub(super) fn is_basic(&self, user: &str, password: &str) -> bool {
        let pair = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.authorisation == Some(format!("Basic {pair}"))
    }
}

/// What is answered in place of what a registry would.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// Nothing for a connection that is closed without an answer.
    status: Option<u16>,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub(super) const fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(super) const fn hang_up() -> Self {
        Self {
            status: None,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    pub(super) fn error(self, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        self.body(&body.to_string())
    }
}

/// What the registry lets in.
#[derive(Debug, Clone)]
pub(super) enum Auth {
    /// Everybody.
    Anybody,
    /// Whoever has this token, which others are sent to `realm` for.
    Bearer { realm: String, token: String },
}

/// How the address of an upload is written.
#[derive(Debug, Clone)]
pub(super) enum Locations {
    Relative,
    Absolute,
    WithQuery,
    /// Relative to the call itself.
    WithoutSlash,
    At(String),
    Missing,
}

/// A reply to requests of one kind.
#[derive(Debug)]
struct Rule {
    method: &'static str,
    part: &'static str,
    reply: Reply,
    once: bool,
}

#[derive(Debug)]
struct State {
    address: SocketAddr,
    blobs: HashMap<String, Bytes>,
    manifests: HashMap<String, (String, Bytes)>,
    seen: Vec<Seen>,
    rules: Vec<Rule>,
    auth: Auth,
    locations: Locations,
    tells_digests: bool,
}

/// A running registry; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Responder {
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Responder {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let state = Arc::new(Mutex::new(State {
            address: listener.local_addr().unwrap(),
            blobs: HashMap::new(),
            manifests: HashMap::new(),
            seen: Vec::new(),
            rules: Vec::new(),
            auth: Auth::Anybody,
            locations: Locations::Relative,
            tells_digests: true,
        }));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self {
            state,
            _tasks: tasks,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn host(&self) -> String {
        self.state().address.to_string()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    pub(super) fn locate(&self, locations: Locations) {
        self.state().locations = locations;
    }

    pub(super) fn authenticate(&self, auth: Auth) {
        self.state().auth = auth;
    }

    pub(super) fn hide_digests(&self) {
        self.state().tells_digests = false;
    }

    /// Answers the next request of this method, with `part` in its path, with `reply`.
    pub(super) fn fail_once(&self, method: &'static str, part: &'static str, reply: Reply) {
        self.rule(method, part, reply, true);
    }

    /// Answers every such request with `reply`.
    pub(super) fn fail_always(&self, method: &'static str, part: &'static str, reply: Reply) {
        self.rule(method, part, reply, false);
    }

    fn rule(&self, method: &'static str, part: &'static str, reply: Reply, once: bool) {
        self.state().rules.push(Rule {
            method,
            part,
            reply,
            once,
        });
    }

    pub(super) fn blob(&self, digest: BlobDigest) -> Option<Bytes> {
        self.state().blobs.get(&digest.to_string()).cloned()
    }

    /// Returns the media type and the bytes of a manifest.
    pub(super) fn manifest(&self, reference: &str) -> Option<(String, Bytes)> {
        self.state().manifests.get(reference).cloned()
    }

    pub(super) fn take_requests(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().seen)
    }

    pub(super) fn take_methods(&self) -> Vec<String> {
        let seen = self.take_requests();
        seen.into_iter().map(|request| request.method).collect()
    }
}

async fn serve(stream: tokio::net::TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let (head, body) = request.into_parts();
            let text = |name| {
                let value = head.headers.get(name);
                value.map(|value| value.to_str().unwrap().to_owned())
            };
            let seen = Seen {
                method: head.method.to_string(),
                target: head.uri.to_string(),
                authorisation: text(header::AUTHORIZATION),
                media_type: text(header::CONTENT_TYPE).unwrap_or_default(),
                body: body.collect().await?.to_bytes(),
            };
            let reply = state.lock().unwrap().answer(seen);
            let Some(status) = reply.status else {
                return Err(Error::HangUp);
            };
            let mut response = Response::builder().status(status);
            for (name, value) in reply.headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(Bytes::from(reply.body))).unwrap())
        }
    });
    // A connection that a test breaks, or that its client leaves, is no failure.
    drop(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the test wants it so")]
    HangUp,
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Never(#[from] Infallible),
}

impl State {
    fn answer(&mut self, seen: Seen) -> Reply {
        self.seen.push(seen.clone());
        if let Auth::Bearer { realm, token } = &self.auth
            && seen.authorisation != Some(format!("Bearer {token}"))
        {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"");
            return Reply::status(401).with("www-authenticate", &challenge);
        }
        let fits = |rule: &Rule| rule.method == seen.method && seen.target.contains(rule.part);
        if let Some(at) = self.rules.iter().position(fits) {
            let reply = self.rules[at].reply.clone();
            if self.rules[at].once {
                self.rules.remove(at);
            }
            return reply;
        }
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let last = path.rsplit('/').next().unwrap().to_owned();
        match (seen.method.as_str(), path) {
            ("POST", "/v2/my-app/blobs/uploads/") => self.upload(path),
            ("PUT", _) if path.contains("/manifests/") => {
                let digest = BlobDigest::of(&seen.body).to_string();
                let manifest = (seen.media_type, seen.body);
                self.manifests.insert(digest.clone(), manifest.clone());
                self.manifests.insert(last, manifest);
                self.with_digest(Reply::status(201), &digest)
            }
            ("PUT", _) => self.put_blob(query, seen.body),
            ("HEAD", _) if path.contains("/blobs/") => {
                let there = self.blobs.contains_key(&last);
                Reply::status(if there { 200 } else { 404 })
            }
            ("HEAD" | "GET", _) => match self.manifests.get(&last) {
                None => Reply::status(404),
                Some((_, manifest)) => {
                    let digest = BlobDigest::of(manifest).to_string();
                    let body = std::str::from_utf8(manifest).unwrap();
                    self.with_digest(Reply::status(200).body(body), &digest)
                }
            },
            _ => Reply::status(405),
        }
    }

    fn upload(&self, path: &str) -> Reply {
        let session = format!("{path}session-1");
        let location = match &self.locations {
            Locations::Relative => session,
            Locations::Absolute => format!("http://{}{session}", self.address),
            Locations::WithQuery => format!("{session}?_state=a%2Fb%3D"),
            Locations::WithoutSlash => "session-1".into(),
            Locations::At(url) => url.clone(),
            Locations::Missing => return Reply::status(202),
        };
        Reply::status(202).with("location", &location)
    }

    fn put_blob(&mut self, query: &str, body: Bytes) -> Reply {
        let named = query.rsplit("digest=").next().unwrap_or_default();
        if self.blobs_are_stated(query) && named == BlobDigest::of(&body).to_string() {
            self.blobs.insert(named.to_owned(), body);
            self.with_digest(Reply::status(201), named)
        } else {
            Reply::status(400).error("DIGEST_INVALID", "other bytes, or no state")
        }
    }

    /// A query that the address had has to come back as it was.
    fn blobs_are_stated(&self, query: &str) -> bool {
        !matches!(self.locations, Locations::WithQuery) || query.starts_with("_state=a%2Fb%3D&")
    }

    fn with_digest(&self, reply: Reply, digest: &str) -> Reply {
        if self.tells_digests {
            reply.with("docker-content-digest", digest)
        } else {
            reply
        }
    }
}
