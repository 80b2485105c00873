//! Serving the site: one request, one deploy, one answer.
//!
//! ```text
//! method → resolve, decide → prepared ── encoding → conditions → range → body
//!            which file      headers     coding,    conditional  range   reply_body
//!                                        contents
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
    conditional::Precondition,
    contents::{Contents, Variant},
    decide::{Asked, Decision, Depends, decide},
    prepared::{Head, Occasion, Prepared, Representation, Role, apply_rules, security_headers},
    range::{ByteRange, Multipart, Piece, Ranges, unsatisfied_content_range},
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

/// About what remembering a prepared answer takes, in bytes.
const PREPARED_BYTES: u64 = 3 * 1024;

/// The part of the memory for contents that is for prepared answers.
const SHARE_OF_PREPARED: u64 = 16;

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

impl StaticFiles {
    /// Returns what serves the site of `store`.
    pub(crate) fn new(store: Store, serving: Serving) -> Self {
        let for_prepared = serving.cache_bytes / SHARE_OF_PREPARED;
        let items = usize::try_from(for_prepared / PREPARED_BYTES).unwrap_or(1);
        Self {
            store,
            contents: Contents::new(serving.cache_bytes - for_prepared),
            prepared: Cache::with_weighter(items.max(1), for_prepared, PreparedWeight),
            serving,
        }
    }

    /// Returns the answer to a request.
    pub(crate) async fn serve(&self, request: SiteRequest<'_>) -> Response<ReplyBody> {
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
        let path = request.uri.path();
        if let Some(prepared) = self.prepared.get(path)
            && prepared.serial == current.serial()
        {
            return self.file(&prepared, request).await;
        }
        let asked = Asked {
            path,
            query: request.uri.query(),
            headers: request.headers,
            now_unix_ms: self.store.unix_ms(),
        };
        match decide(&current, &self.serving, asked) {
            Decision::File(found, depends) => {
                let prepared = self.prepare(&current, asked, found, depends);
                self.file(&prepared, request).await
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
        let is_dated = found.since <= asked.now_unix_ms / 1_000;
        let occasion = Occasion {
            current,
            serving: &self.serving,
            path: &rules_path(asked.path),
            depends,
            now_unix_ms: asked.now_unix_ms,
        };
        let prepared = Arc::new(Prepared::new(found, Role::Asked, occasion));
        // What depends on the path alone is good until something else is current.
        if depends == Depends::Nothing && is_dated && asked.path.len() <= LONGEST_REMEMBERED {
            self.prepared
                .insert(asked.path.into(), Arc::clone(&prepared));
        }
        prepared
    }

    /// Answers with a file that is what was asked for.
    async fn file(&self, prepared: &Prepared, request: SiteRequest<'_>) -> Response<ReplyBody> {
        let (head, source) = match self.representation(prepared, request.headers).await {
            Ok(chosen) => chosen,
            Err(error) => return self.unreadable(&prepared.found.path, &error),
        };
        let validators = head.validators();
        match Precondition::evaluate(request.headers, &validators) {
            Precondition::Proceed => {}
            Precondition::NotModified => {
                let mut response = Response::new(ReplyBody::empty());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.headers_mut() = head.not_modified.clone();
                return response;
            }
            Precondition::Failed => {
                return self.page(StatusCode::PRECONDITION_FAILED, pages::PRECONDITION);
            }
        }
        let length = source.length();
        let ranges = Ranges::requested(request.method, request.headers, length);
        let ranges = match ranges {
            Ranges::Whole => Ranges::Whole,
            some if conditional::if_range_holds(request.headers, &validators) => some,
            _ => Ranges::Whole,
        };
        let answered = match ranges {
            Ranges::Whole => self.whole(head, source, request.method).await,
            Ranges::One(range) => self.part(head, source, range).await,
            Ranges::Many(ranges) => self.parts(prepared, head, source, &ranges).await,
            Ranges::Unsatisfiable => {
                let mut response = self.page(StatusCode::RANGE_NOT_SATISFIABLE, pages::RANGE);
                let value = unsatisfied_content_range(length);
                response.headers_mut().insert(header::CONTENT_RANGE, value);
                Ok(response)
            }
        };
        answered.unwrap_or_else(|error| self.unreadable(&prepared.found.path, &error))
    }

    /// Chooses the form in which a file is sent.
    async fn representation<'p>(
        &self,
        prepared: &'p Prepared,
        headers: &HeaderMap,
    ) -> Result<(&'p Head, Source), StoreError> {
        let entry = prepared.found.entry;
        let plain = |representation| {
            (
                prepared.head(representation, entry.size),
                Source::Object(entry),
            )
        };
        if !prepared.is_negotiated() {
            return Ok(plain(Representation::Identity));
        }
        let accepted = Accepted::of(headers);
        let mut is_open = false;
        for coding in accepted.best_first() {
            if coding == Coding::Identity {
                break;
            }
            is_open = true;
            let source = match prepared.sibling(coding) {
                Some(sibling) => Source::Object(sibling),
                None if !prepared.is_compressible() => continue,
                None => match self.contents.encoded(&self.store, entry, coding).await? {
                    Variant::Bytes(bytes) => Source::Memory(bytes),
                    Variant::None | Variant::Busy => continue,
                },
            };
            let representation = Representation::Encoded(coding);
            return Ok((prepared.head(representation, source.length()), source));
        }
        Ok(plain(if is_open && prepared.is_compressible() {
            Representation::Marked
        } else {
            Representation::Identity
        }))
    }

    async fn whole(
        &self,
        head: &Head,
        source: Source,
        method: &Method,
    ) -> Result<Response<ReplyBody>, StoreError> {
        let body = if method == Method::HEAD {
            ReplyBody::empty()
        } else {
            match self.in_memory(source).await? {
                Source::Memory(bytes) => ReplyBody::full(bytes),
                Source::Object(entry) => {
                    let all = ByteRange::all(entry.size).map(Piece::Range);
                    ReplyBody::of_object(&self.store, entry, all.into_iter().collect()).await?
                }
            }
        };
        let mut response = Response::new(body);
        *response.headers_mut() = head.whole.clone();
        Ok(response)
    }

    async fn part(
        &self,
        head: &Head,
        source: Source,
        range: ByteRange,
    ) -> Result<Response<ReplyBody>, StoreError> {
        let whole = source.length();
        let body = self.body(source, vec![Piece::Range(range)]).await?;
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        *response.headers_mut() = head.whole.clone();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, range.byte_count().into());
        headers.insert(header::CONTENT_RANGE, range.content_range(whole));
        Ok(response)
    }

    async fn parts(
        &self,
        prepared: &Prepared,
        head: &Head,
        source: Source,
        ranges: &[ByteRange],
    ) -> Result<Response<ReplyBody>, StoreError> {
        let octets = HeaderValue::from_static("application/octet-stream");
        let content_type = prepared.content_type().unwrap_or(&octets);
        let digest = &prepared.found.entry.digest;
        let plan = Multipart::plan(ranges, source.length(), content_type, digest);
        let body = self.body(source, plan.pieces).await?;
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        *response.headers_mut() = head.whole.clone();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, plan.content_length.into());
        headers.insert(header::CONTENT_TYPE, plan.content_type);
        Ok(response)
    }

    async fn body(&self, source: Source, pieces: Vec<Piece>) -> Result<ReplyBody, StoreError> {
        Ok(match self.in_memory(source).await? {
            Source::Memory(bytes) => ReplyBody::of_memory(&bytes, pieces),
            Source::Object(entry) => ReplyBody::of_object(&self.store, entry, pieces).await?,
        })
    }

    /// Brings the bytes of a source into memory, when they are few enough.
    async fn in_memory(&self, source: Source) -> Result<Source, StoreError> {
        Ok(match source {
            Source::Memory(bytes) => Source::Memory(bytes),
            Source::Object(entry) => match self.contents.identity(&self.store, entry).await? {
                Some(bytes) => Source::Memory(bytes),
                None => Source::Object(entry),
            },
        })
    }

    /// Answers that nothing is there, with the site's own page or the server's.
    async fn missing(
        &self,
        current: &Current,
        request: SiteRequest<'_>,
        (status, page, depends): (ErrorStatus, Option<Found>, Depends),
    ) -> Response<ReplyBody> {
        let status = match status {
            ErrorStatus::NotFound => (StatusCode::NOT_FOUND, pages::NOT_FOUND),
            ErrorStatus::Gone => (StatusCode::GONE, pages::GONE),
        };
        let path = rules_path(request.uri.path());
        let Some(found) = page else {
            let mut response = self.page(status.0, status.1);
            apply_rules(response.headers_mut(), current, &path);
            return response;
        };
        let prepared = Prepared::new(
            found,
            Role::ErrorPage,
            Occasion {
                current,
                serving: &self.serving,
                path: &path,
                depends,
                now_unix_ms: self.store.unix_ms(),
            },
        );
        let chosen = self.representation(&prepared, request.headers).await;
        let answered = match chosen {
            Ok((head, source)) => self.whole(head, source, request.method).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(mut response) => {
                *response.status_mut() = status.0;
                response
            }
            Err(error) => self.unreadable(&prepared.found.path, &error),
        }
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
        let mut response = Response::new(ReplyBody::full(Bytes::from_static(html.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let html_type = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, html_type);
        headers.insert(header::CONTENT_LENGTH, html.len().into());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        security_headers(headers, true, self.serving.security_headers);
        response
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
