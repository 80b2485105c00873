//! Serving the site: one request, one deploy, one answer.
//!
//! ```text
//! method → resolve, decide → prepared ── encoding → conditions, ranges → bytes
//!            which file      headers     coding,    plan, conditional,  contents,
//!                                        contents   range               reply_body
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`resolve`] | request path → which file of the snapshot it means; pure |
//! | [`decide`] | that, the site's redirects, earlier assets, fallbacks → what to answer with; pure |
//! | [`prepared`] | the headers of a file's answers, once for each path |
//! | [`media_type`], [`fingerprint`] | what a file's name says; pure |
//! | [`coding`] | what `Accept-Encoding` accepts; pure |
//! | [`contents`] | bytes in memory, as they are and encoded |
//! | [`conditional`] | validators: entity tags, preconditions and `If-Range`; pure |
//! | [`plan`] | status, headers and which bytes, by conditions and ranges; pure |
//! | [`range`] | `Range` → byte ranges, and the plan of a body of several parts; pure |
//! | [`reply_body`] | bytes of an answer, from memory or streamed from an object |
//! | [`pages`] | the pages that the server itself has |
//!
//! No request path ever reaches the file system: it is looked up in the snapshot, and what is read
//! is the object that the entry names. Files are read on the blocking pool, small ones in one go.

pub(crate) mod coding;
pub(crate) mod conditional;
pub(crate) mod contents;
mod decide;
mod fingerprint;
mod media_type;
mod pages;
mod plan;
mod prepared;
mod range;
mod reply_body;
mod resolve;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Uri,
    header::{self, HeaderName},
};
use onsave_protocol::{FileEntry, rules::ErrorStatus};
use quick_cache::{Weighter, sync::Cache};

pub(crate) use self::reply_body::ReplyBody;
use self::{
    coding::{Accepted, Coding},
    contents::{Contents, Variant, bounded},
    decide::{Asked, Decision, Depends, decide},
    plan::{Plan, PlannedBody},
    prepared::{
        Head, Occasion, Prepared, Representation, Role, apply_rules, keep_unstored,
        security_headers,
    },
    range::{ByteRange, Piece},
    resolve::Found,
};
use crate::{
    config::Serving,
    current::Current,
    reply::chain,
    store::{Store, StoreError},
};

/// The methods of the site.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Longest path that prepared answers are remembered for, in bytes.
const LONGEST_REMEMBERED: usize = 512;

/// About what remembering a prepared answer takes, in bytes: three maps of headers, by the size of their
/// entries, when one form of the file is asked for, as is usual.
const PREPARED_BYTES: u64 = 7 * 1024;

/// The part of the memory for contents that is for prepared answers.
const SHARE_OF_PREPARED: u64 = 8;

/// Serves the site of a store.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    store: Store,
    serving: Serving,
    contents: Contents,
    /// The answers of files at their own addresses, by path as sent.
    prepared: Cache<Box<str>, Arc<Prepared>, PreparedWeight>,
}

#[derive(Debug, Clone)]
struct PreparedWeight;

impl Weighter<Box<str>, Arc<Prepared>> for PreparedWeight {
    fn weight(&self, path: &Box<str>, _: &Arc<Prepared>) -> u64 {
        PREPARED_BYTES + path.len() as u64
    }
}

/// The parts of a request that the site's answer depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SiteRequest<'r> {
    /// The method.
    pub(crate) method: &'r Method,
    /// The address.
    pub(crate) uri: &'r Uri,
    /// The headers.
    pub(crate) headers: &'r HeaderMap,
}

/// Where the bytes of a representation are.
enum Source {
    Memory(Bytes),
    Object(FileEntry),
}

/// The form in which a file is sent.
enum Chosen<'p> {
    /// It is here.
    Ready(&'p Head, Source),
    /// It has to be encoded first.
    ToMake(Coding),
}

/// The codings that are not to be had for a file, for this request.
#[derive(Debug, Clone, Copy, Default)]
struct Unavailable([bool; Coding::ALL.len()]);

impl Unavailable {
    fn insert(&mut self, coding: Coding) {
        self.0[coding as usize] = true;
    }

    const fn contains(self, coding: Coding) -> bool {
        self.0[coding as usize]
    }
}

impl StaticFiles {
    /// Returns what serves the site of `store`.
    pub(crate) fn new(store: Store, serving: Serving) -> Self {
        let for_prepared = serving.cache_bytes / SHARE_OF_PREPARED;
        Self {
            store,
            contents: Contents::new(serving.cache_bytes - for_prepared),
            prepared: bounded(for_prepared, PREPARED_BYTES, PreparedWeight),
            serving,
        }
    }

    /// Returns the answer to a request.
    pub(crate) async fn serve(&self, request: SiteRequest<'_>) -> Response<ReplyBody> {
        // What is in memory is answered at once. The rest is in a box of its own, so that the
        // request of whoever does not need it stays small.
        if let Some(response) = self.serve_from_memory(request) {
            return response;
        }
        Box::pin(self.serve_any(request)).await
    }

    /// Answers with a file whose headers and bytes are in memory; nothing when they are not.
    fn serve_from_memory(&self, request: SiteRequest<'_>) -> Option<Response<ReplyBody>> {
        if !matches!(*request.method, Method::GET | Method::HEAD) {
            return None;
        }
        let prepared = self.prepared.get(request.uri.path())?;
        if prepared.serial != self.store.serving_serial() {
            return None;
        }
        let Chosen::Ready(head, source) =
            self.choose(&prepared, request.headers, Unavailable::default())
        else {
            return None;
        };
        let plan = Plan::new(&prepared, head, source.length(), request, StatusCode::OK);
        let body = match plan.body {
            PlannedBody::Nothing => ReplyBody::empty(),
            PlannedBody::Page(html) => {
                return Some(self.page_with(plan.status, html, plan.headers));
            }
            PlannedBody::Whole => ReplyBody::full(self.in_memory_now(source)?),
            PlannedBody::Pieces(pieces) => {
                ReplyBody::of_memory(&self.in_memory_now(source)?, pieces)
            }
        };
        Some(respond(plan.status, plan.headers, body))
    }

    async fn serve_any(&self, request: SiteRequest<'_>) -> Response<ReplyBody> {
        match *request.method {
            Method::GET => self.answer(request).await,
            Method::HEAD => {
                let mut response = self.answer(request).await;
                // The headers of GET, its Content-Length among them, and no body.
                *response.body_mut() = ReplyBody::empty();
                response
            }
            Method::OPTIONS => {
                let mut response = Response::new(ReplyBody::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                set(&mut response, header::ALLOW, ALLOW);
                response
            }
            _ => {
                let mut response = self.page(StatusCode::METHOD_NOT_ALLOWED, pages::METHOD);
                set(&mut response, header::ALLOW, ALLOW);
                response
            }
        }
    }

    async fn answer(&self, request: SiteRequest<'_>) -> Response<ReplyBody> {
        let current = self.store.serving();
        if current.snapshot().deploy_id().is_none() {
            let mut response = self.page(StatusCode::SERVICE_UNAVAILABLE, pages::WAITING);
            set(&mut response, header::RETRY_AFTER, "1");
            set(&mut response, header::CACHE_CONTROL, "no-store");
            return response;
        }
        let asked = Asked {
            path: request.uri.path(),
            query: request.uri.query(),
            headers: request.headers,
            now_unix_ms: self.store.unix_ms(),
        };
        match decide(&current, &self.serving, asked) {
            Decision::File(found, depends) => {
                let prepared = self.prepare(&current, asked, found, depends);
                self.file(&prepared, request, StatusCode::OK).await
            }
            Decision::Missing {
                status,
                page,
                depends,
            } => {
                self.missing(&current, request, (status, page, depends))
                    .await
            }
            Decision::Redirect { status, location } => redirect(status.code(), &location),
            Decision::Malformed => self.page(StatusCode::BAD_REQUEST, pages::BAD_PATH),
        }
    }

    fn prepare(
        &self,
        current: &Current,
        asked: Asked<'_>,
        found: Found,
        depends: Depends,
    ) -> Arc<Prepared> {
        let occasion = Occasion {
            current,
            serving: &self.serving,
            path: &rules_path(asked.path),
            depends,
            now_unix_ms: asked.now_unix_ms,
        };
        let prepared = Arc::new(Prepared::new(found, Role::Asked, occasion));
        // What depends on the path alone is good until something else is current.
        if depends == Depends::Nothing
            && prepared.is_dated()
            && asked.path.len() <= LONGEST_REMEMBERED
        {
            self.prepared
                .insert(asked.path.into(), Arc::clone(&prepared));
        }
        prepared
    }

    /// Answers with a file, with `status` when it is sent whole.
    async fn file(
        &self,
        prepared: &Prepared,
        request: SiteRequest<'_>,
        status: StatusCode,
    ) -> Response<ReplyBody> {
        let answered = async {
            let (head, source) = self.representation(prepared, request.headers).await?;
            let plan = Plan::new(prepared, head, source.length(), request, status);
            let body = match plan.body {
                PlannedBody::Nothing => ReplyBody::empty(),
                PlannedBody::Page(html) => {
                    return Ok(self.page_with(plan.status, html, plan.headers));
                }
                PlannedBody::Whole => {
                    let all = ByteRange::all(source.length()).map(Piece::Range);
                    self.body(source, all.into_iter().collect()).await?
                }
                PlannedBody::Pieces(pieces) => self.body(source, pieces).await?,
            };
            Ok(respond(plan.status, plan.headers, body))
        };
        answered
            .await
            .unwrap_or_else(|error| self.unreadable(&prepared.found.path, &error))
    }

    /// Chooses the form in which a file is sent, and makes it when it is not here.
    async fn representation<'p>(
        &self,
        prepared: &'p Prepared,
        headers: &HeaderMap,
    ) -> Result<(&'p Head, Source), StoreError> {
        let mut unavailable = Unavailable::default();
        loop {
            let coding = match self.choose(prepared, headers, unavailable) {
                Chosen::Ready(head, source) => return Ok((head, source)),
                Chosen::ToMake(coding) => coding,
            };
            let made = self
                .contents
                .encoded(&self.store, prepared.found.entry, coding);
            match made.await? {
                Variant::Bytes(bytes) => {
                    let representation = Representation::Encoded(coding);
                    let head = prepared.head(representation, bytes.len() as u64);
                    return Ok((head, Source::Memory(bytes)));
                }
                Variant::None | Variant::Busy => unavailable.insert(coding),
            }
        }
    }

    /// Chooses the form in which a file is sent, without those that are not to be had.
    fn choose<'p>(
        &self,
        prepared: &'p Prepared,
        headers: &HeaderMap,
        unavailable: Unavailable,
    ) -> Chosen<'p> {
        let entry = prepared.found.entry;
        let ready = |representation, source: Source| {
            Chosen::Ready(prepared.head(representation, source.length()), source)
        };
        if !prepared.is_negotiated() {
            return ready(Representation::Identity, Source::Object(entry));
        }
        let mut plain = Representation::Identity;
        for coding in Accepted::of(headers).best_first() {
            if coding == Coding::Identity {
                break;
            }
            let representation = Representation::Encoded(coding);
            if let Some(sibling) = prepared.sibling(coding) {
                return ready(representation, Source::Object(sibling));
            }
            if !prepared.is_compressible() {
                continue;
            }
            plain = Representation::Marked;
            if unavailable.contains(coding) {
                continue;
            }
            match self.contents.encoded_now(entry, coding) {
                Some(Variant::Bytes(bytes)) => {
                    return ready(representation, Source::Memory(bytes));
                }
                Some(Variant::None | Variant::Busy) => {}
                None => return Chosen::ToMake(coding),
            }
        }
        ready(plain, Source::Object(entry))
    }

    /// Returns a body of these pieces of a source: from memory where it is small enough.
    async fn body(&self, source: Source, pieces: Vec<Piece>) -> Result<ReplyBody, StoreError> {
        let entry = match source {
            Source::Memory(bytes) => return Ok(ReplyBody::of_memory(&bytes, pieces)),
            Source::Object(entry) => entry,
        };
        match self.contents.identity(&self.store, entry).await? {
            Some(bytes) => Ok(ReplyBody::of_memory(&bytes, pieces)),
            None => ReplyBody::of_object(&self.store, entry, pieces).await,
        }
    }

    fn in_memory_now(&self, source: Source) -> Option<Bytes> {
        match source {
            Source::Memory(bytes) => Some(bytes),
            Source::Object(entry) => self.contents.identity_now(entry),
        }
    }

    /// Answers that nothing is there, with the site's own page or the server's.
    async fn missing(
        &self,
        current: &Current,
        request: SiteRequest<'_>,
        (status, page, depends): (ErrorStatus, Option<Found>, Depends),
    ) -> Response<ReplyBody> {
        let (status, own_page) = match status {
            ErrorStatus::NotFound => (StatusCode::NOT_FOUND, pages::NOT_FOUND),
            ErrorStatus::Gone => (StatusCode::GONE, pages::GONE),
        };
        let path = rules_path(request.uri.path());
        let Some(found) = page else {
            let mut response = self.page(status, own_page);
            if depends == Depends::Accept {
                set(&mut response, header::VARY, "accept");
            }
            apply_rules(response.headers_mut(), current, &path);
            keep_unstored(response.headers_mut());
            return response;
        };
        let occasion = Occasion {
            current,
            serving: &self.serving,
            path: &path,
            depends,
            now_unix_ms: self.store.unix_ms(),
        };
        let prepared = Prepared::new(found, Role::ErrorPage, occasion);
        self.file(&prepared, request, status).await
    }

    fn unreadable(&self, path: &str, error: &StoreError) -> Response<ReplyBody> {
        let cause = chain(error);
        tracing::error!(
            site.path = path,
            "a file of the site cannot be read: {cause}"
        );
        self.page(StatusCode::INTERNAL_SERVER_ERROR, pages::FAILED)
    }

    /// Answers with a page of the server's own.
    fn page(&self, status: StatusCode, html: &'static str) -> Response<ReplyBody> {
        self.page_with(status, html, HeaderMap::new())
    }

    /// Answers with a page of the server's own, and with these headers besides its usual ones.
    fn page_with(
        &self,
        status: StatusCode,
        html: &'static str,
        mut headers: HeaderMap,
    ) -> Response<ReplyBody> {
        let html_type = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, html_type);
        headers.insert(header::CONTENT_LENGTH, html.len().into());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        security_headers(&mut headers, true, self.serving.security_headers);
        let body = ReplyBody::full(Bytes::from_static(html.as_bytes()));
        respond(status, headers, body)
    }
}

impl Source {
    fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Object(entry) => entry.size,
        }
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Returns a request's path as header rules see it; one that rules cannot see is as it was sent.
fn rules_path(raw: &str) -> String {
    match resolve::Read::request(raw) {
        resolve::Read::Path(path) => path.for_rules(),
        resolve::Read::Nowhere | resolve::Read::Malformed => raw.to_owned(),
    }
}

fn redirect(status: u16, location: &str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    if let Ok(status) = StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    set(&mut response, header::LOCATION, location);
    set(&mut response, header::CONTENT_LENGTH, "0");
    // A rule that is changed has to count at the next visit, also where browsers would remember a
    // permanent redirect for ever.
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    response
}

fn set(response: &mut Response<ReplyBody>, name: HeaderName, value: &str) {
    // What is set here comes from the server itself, from a parsed URI or from checked rules: always
    // a header value.
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        response.headers_mut().insert(name, value);
    }
}
