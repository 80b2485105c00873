//! Serving the site: one request, one snapshot, one answer.
//!
//! | module | does |
//! |---|---|
//! | [`resolve`] | request path → what of the snapshot it means; pure |
//! | [`coding`] | `Accept-Encoding` → the codings that a peer takes, best first; pure |
//! | [`conditional`] | validators: entity tags, preconditions and `If-Range`; pure |
//! | [`fingerprint`] | whether a name carries a hash of the content; pure |
//! | [`media_type`] | name of a file → `Content-Type`, and whether it shrinks; pure |
//! | [`range`] | `Range` → byte ranges, and the plan of a body of several parts; pure |
//! | [`reply_body`] | bytes of an answer, from memory or streamed from an object |
//!
//! No request path ever reaches the file system: it is looked up in the snapshot, and what is read
//! is the object that the entry names. Files are read on the blocking pool, small ones in one go.
//! Ranges, encodings, redirect rules and header rules are not here yet.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the pipeline does not negotiate yet")
)]
pub(crate) mod coding;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the pipeline does not ask all of it yet")
)]
pub(crate) mod conditional;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the pipeline lets nothing be immutable yet")
)]
mod fingerprint;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the pipeline asks the table itself until then")
)]
mod media_type;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the pipeline does not ask for parts yet")
)]
mod range;
mod reply_body;
mod resolve;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Uri,
    header::{self, HeaderName},
};
use onsave_protocol::FileEntry;

pub(crate) use self::reply_body::ReplyBody;
use self::resolve::{Outcome, resolve};
use crate::{
    reply::chain,
    store::{Store, StoreError},
};

/// Shown before the first deploy; it asks again by itself, so that the first publish appears.
const WAITING_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta http-equiv=refresh content=1><title>Waiting for the first deploy</title>\
<h1>Waiting for the first deploy</h1>\
<p>This server runs, and nothing was published to it yet. \
Publish a folder with <code>onsave publish</code>; this page then shows it.\n";

/// Shown where a site without a `404.html` has nothing.
const NOT_FOUND_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Not found</title><h1>Not found</h1><p>There is no such page here.\n";

/// Shown for a path that no file can have.
const BAD_PATH_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Bad request</title><h1>Bad request</h1><p>The address is malformed.\n";

/// Shown when an object cannot be read; the log says why.
const FAILED_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Server error</title><h1>Server error</h1><p>The page could not be read.\n";

/// Shown for what is neither GET nor HEAD.
const METHOD_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<title>Method not allowed</title><h1>Method not allowed</h1><p>This site can only be read.\n";

/// Returns the site's answer to a request.
pub(crate) async fn serve(
    store: &Store,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response<ReplyBody> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, METHOD_PAGE);
        set(&mut response, header::ALLOW, "GET, HEAD");
        return response;
    }
    let mut response = answer(store, uri, headers).await;
    if method == Method::HEAD {
        // The headers of GET, its Content-Length among them, and no body.
        *response.body_mut() = ReplyBody::empty();
    }
    response
}

async fn answer(store: &Store, uri: &Uri, headers: &HeaderMap) -> Response<ReplyBody> {
    let snapshot = store.current();
    if snapshot.deploy_id().is_none() {
        let mut response = page(StatusCode::SERVICE_UNAVAILABLE, WAITING_PAGE);
        set(&mut response, header::RETRY_AFTER, "1");
        set(&mut response, header::CACHE_CONTROL, "no-store");
        return response;
    }
    match resolve(&snapshot, uri.path()) {
        Outcome::File { path, entry } => {
            let etag = conditional::object_etag(&entry.digest);
            if conditional::none_match_holds(headers, &etag) {
                file(store, &path, entry, StatusCode::OK).await
            } else {
                not_modified(&etag)
            }
        }
        Outcome::Folder => redirect_to_folder(uri),
        Outcome::NotFound { page: None } => page(StatusCode::NOT_FOUND, NOT_FOUND_PAGE),
        Outcome::NotFound {
            page: Some((path, entry)),
        } => file(store, &path, entry, StatusCode::NOT_FOUND).await,
        Outcome::Malformed => page(StatusCode::BAD_REQUEST, BAD_PATH_PAGE),
    }
}

async fn file(
    store: &Store,
    path: &str,
    entry: FileEntry,
    status: StatusCode,
) -> Response<ReplyBody> {
    let body = match ReplyBody::of_object(store, entry).await {
        Ok(body) => body,
        Err(error) => return unreadable(path, &error),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, &content_type(path));
    set(
        &mut response,
        header::CONTENT_LENGTH,
        &entry.size.to_string(),
    );
    if status == StatusCode::OK {
        let etag = conditional::object_etag(&entry.digest);
        set(&mut response, header::ETAG, &etag);
    }
    site_headers(&mut response);
    response
}

fn unreadable(path: &str, error: &StoreError) -> Response<ReplyBody> {
    let cause = chain(error);
    tracing::error!(
        site.path = path,
        "a file of the site cannot be read: {cause}"
    );
    page(StatusCode::INTERNAL_SERVER_ERROR, FAILED_PAGE)
}

fn not_modified(etag: &str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    set(&mut response, header::ETAG, etag);
    site_headers(&mut response);
    response
}

/// Sends the browser to the same path with a slash, so that relative links work.
///
/// The path is sent back as it came. It starts with one slash exactly, since a path with an empty
/// segment resolves to nothing: the location cannot become another host.
fn redirect_to_folder(uri: &Uri) -> Response<ReplyBody> {
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let location = format!("{}/{query}", uri.path());
    set(&mut response, header::LOCATION, &location);
    set(&mut response, header::CONTENT_LENGTH, "0");
    site_headers(&mut response);
    response
}

fn page(status: StatusCode, html: &'static str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(Bytes::from_static(html.as_bytes())));
    *response.status_mut() = status;
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/html; charset=utf-8",
    );
    set(
        &mut response,
        header::CONTENT_LENGTH,
        &html.len().to_string(),
    );
    site_headers(&mut response);
    response
}

fn site_headers(response: &mut Response<ReplyBody>) {
    // A save is live at once: caches keep what they have, and ask whether it still holds.
    set(response, header::CACHE_CONTROL, "no-cache");
    set(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
}

fn set(response: &mut Response<ReplyBody>, name: HeaderName, value: &str) {
    // What is set here comes from the server itself or from a parsed URI: always a header value.
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        response.headers_mut().insert(name, value);
    }
}

/// Returns the media type of a file by its name; text says that it is UTF-8, as site builders write.
fn content_type(path: &str) -> String {
    let media_type = mime_guess::from_path(path).first_or_octet_stream();
    if media_type.type_() == mime_guess::mime::TEXT {
        format!("{media_type}; charset=utf-8")
    } else {
        media_type.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (path, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("notes.txt", "text/plain; charset=utf-8"),
            ("a.png", "image/png"),
            ("a.svg", "image/svg+xml"),
            ("a.woff2", "font/woff2"),
            ("a.json", "application/json"),
            ("site.webmanifest", "application/manifest+json"),
            ("CNAME", "application/octet-stream"),
        ] {
            assert_eq!(content_type(path), expected, "{path}");
        }
    }
}
