//! The HTTP client: the only user of reqwest, one warm connection pool for one origin.
//!
//! Owns the pool, the count of bytes on the wire and the time of the last exchange. An exchange is
//! watched for progress instead of being given a total time: a first publish over a slow uplink may
//! take an hour and is healthy as long as bytes move, and a dead peer is noticed within
//! [`Patience::stall`]. Nothing is retried here and nothing is known of deploys: see `session`.

use std::{
    error::Error as StdError,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::{
    Client, ClientBuilder, Response, Url,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap},
    redirect,
};
use rustls::crypto::{CryptoProvider, ring};
use tokio::{io::AsyncReadExt as _, time::Instant};

use crate::progress::Progress;

/// How long a name look-up, a TCP and a TLS handshake may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sent bytes may stay unacknowledged. A laptop that wakes up holds connections whose other
/// end is gone; without this the first save after it would wait for the stall limit.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(10);

/// Below the server's own limit for idle connections (two minutes), so that it is this side that
/// closes first and no request runs into a closing connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Size of the pieces in which a body is handed to the connection, in bytes: the grain of progress.
const CHUNK_BYTES: usize = 256 * 1024;

/// Redirects that are followed to the public site, at most.
const MAX_REDIRECTS: usize = 5;

/// How long an exchange may stand still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Without any byte of the body having moved.
    pub(crate) stall: Duration,
    /// From the last byte of the request to the first of the answer.
    pub(crate) answer: Duration,
}

impl Patience {
    /// For calls that the server answers from memory.
    pub(crate) const PROMPT: Self = Self {
        stall: Duration::from_secs(30),
        answer: Duration::from_secs(30),
    };

    /// For calls that end with data being made durable: a `syncfs` of a first publish may take long
    /// on a slow disk, and giving up on it would only start it again.
    pub(crate) const DURABLE: Self = Self {
        stall: Duration::from_secs(30),
        answer: Duration::from_secs(120),
    };
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection could be made.
    #[error("failed to connect")]
    Connect(#[source] reqwest::Error),
    /// The TLS handshake failed.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    /// The connection broke before the whole answer was there.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// Nothing moved for too long.
    #[error("nothing moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The answer is longer than any that this call has.
    #[error("the answer is longer than {0} bytes")]
    AnswerTooLong(u64),
    /// The answer's content coding is broken or unknown.
    #[error("the answer's content coding cannot be read")]
    BadCoding(#[source] std::io::Error),
    /// The file that was the body ended early or could not be read.
    #[error("the file changed while it was sent")]
    FileChanged,
    /// The URL or the client's set-up is refused.
    #[error("the request cannot be made")]
    Invalid(#[source] reqwest::Error),
    /// The text is not a URL.
    #[error("not a usable URL")]
    BadUrl,
}

/// The body of a request.
#[derive(Debug)]
pub(crate) enum Body {
    /// Bytes in memory, in order.
    Parts(Vec<Bytes>),
    /// Exactly `size` bytes from the file's start, read while they are sent.
    File {
        file: std::fs::File,
        size: u64,
        progress: Progress,
    },
}

impl Body {
    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Parts(parts) => parts.iter().map(|part| part.len() as u64).sum(),
            Self::File { size, .. } => *size,
        }
    }
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    /// Path and query, exactly as they are signed and sent.
    pub(crate) path_and_query: &'a str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
    pub(crate) patience: Patience,
    /// The longest answer that is read, in bytes, after decoding.
    pub(crate) answer_limit: u64,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Returns the value of a header, when it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Bytes on the wire, headers included, TLS and TCP framing not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// Bytes of requests.
    pub sent: u64,
    /// Bytes of answers.
    pub received: u64,
    /// Requests that were sent.
    pub exchanges: u64,
}

impl Wire {
    /// Returns what was added since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            received: self.received - earlier.received,
            exchanges: self.exchanges - earlier.exchanges,
        }
    }
}

/// A client for one origin; clones share the pool and the counts.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    origin: Url,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    received: AtomicU64,
    exchanges: AtomicU64,
    last_answer: Mutex<Option<Instant>>,
}

impl Http {
    /// Returns a client for `origin`: scheme, host and port.
    pub(crate) fn new(origin: &str) -> Result<Self, HttpError> {
        let origin = Url::parse(origin).map_err(|_| HttpError::BadUrl)?;
        let mut builder = base_builder(&origin).redirect(redirect::Policy::none());
        if is_loopback(&origin) {
            // A proxy that the environment names is for other machines.
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().map_err(HttpError::Invalid)?,
            origin,
            shared: Arc::default(),
        })
    }

    /// Returns whether the server is on this machine, where bytes cost less than compressing them.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.origin)
    }

    /// Returns how much went over the wire so far.
    pub(crate) fn wire(&self) -> Wire {
        Wire {
            sent: self.shared.sent.load(Ordering::Relaxed),
            received: self.shared.received.load(Ordering::Relaxed),
            exchanges: self.shared.exchanges.load(Ordering::Relaxed),
        }
    }

    /// Returns how long ago the last answer came, when there was one.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let last = *self.last_answer();
        last.map(|instant| instant.elapsed())
    }

    fn last_answer(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        // A time is whole whatever happened to the thread that wrote it.
        self.shared
            .last_answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `request` and returns the whole answer.
    ///
    /// Cancel-safe in that dropping it closes the exchange; whether the server acted is then unknown.
    pub(crate) async fn exchange(&self, request: Request<'_>) -> Result<Answer, HttpError> {
        let url = self
            .origin
            .join(request.path_and_query)
            .map_err(|_| HttpError::BadUrl)?;
        let length = request.body.len();
        self.count_request(&request, length);
        let pulse = Arc::new(Pulse::new(length));
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| HttpError::BadUrl)?;
        let mut building = self.client.request(method, url);
        for (name, value) in &request.headers {
            building = building.header(*name, value);
        }
        let building = attach(building, request.body, &pulse);
        let sending = std::pin::pin!(building.send());
        let mut response = pulse.guard(sending, request.patience).await?;
        let body = self
            .read_answer(&mut response, request.patience.stall, request.answer_limit)
            .await?;
        *self.last_answer() = Some(Instant::now());
        Ok(Answer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }

    async fn read_answer(
        &self,
        response: &mut Response,
        stall: Duration,
        limit: u64,
    ) -> Result<Bytes, HttpError> {
        self.count_answer_head(response);
        let mut parts = Vec::new();
        let mut length = 0;
        loop {
            let chunk = tokio::time::timeout(stall, response.chunk())
                .await
                .map_err(|_| HttpError::Stalled(stall))?
                .map_err(broken)?;
            let Some(chunk) = chunk else { break };
            length += chunk.len() as u64;
            self.shared
                .received
                .fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if length > limit {
                return Err(HttpError::AnswerTooLong(limit));
            }
            parts.push(chunk);
        }
        decode(response.headers(), join(parts), limit)
    }

    /// Counts the request line, the headers (those that the client adds as well) and the body.
    fn count_request(&self, request: &Request<'_>, body: u64) {
        let line = request.method.len() + request.path_and_query.len() + " HTTP/1.1\r\n".len() + 1;
        let host = self.origin.authority().len() + "host: \r\n".len();
        let given: usize = request
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + ": \r\n".len())
            .sum();
        let length = if body == 0 {
            0
        } else {
            "content-length: \r\n".len() + body.to_string().len()
        };
        let head = line + host + given + length + "accept: */*\r\n".len() + "\r\n".len();
        self.shared
            .sent
            .fetch_add(head as u64 + body, Ordering::Relaxed);
        self.shared.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    fn count_answer_head(&self, response: &Response) {
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or_default().len();
        let headers: usize = response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
            .sum();
        let head = "HTTP/1.1 200 \r\n".len() + reason + headers + "\r\n".len();
        self.shared
            .received
            .fetch_add(head as u64, Ordering::Relaxed);
    }
}

/// Asks the public site, as a visitor would: any host, redirects followed.
#[derive(Debug, Clone)]
pub(crate) struct PublicHttp {
    client: Client,
}

/// What a `HEAD` of a public URL showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    /// The URL's path where the redirects ended.
    pub(crate) path: String,
}

impl PublicHttp {
    /// Returns a client for the site at `base`.
    pub(crate) fn new(base: &str) -> Result<Self, HttpError> {
        let base = Url::parse(base).map_err(|_| HttpError::BadUrl)?;
        let mut builder = client_builder(true).redirect(redirect::Policy::limited(MAX_REDIRECTS));
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().map_err(HttpError::Invalid)?,
        })
    }

    /// Returns what `HEAD url` answers.
    pub(crate) async fn head(&self, url: &str) -> Result<Seen, HttpError> {
        let sending = self.client.head(url).send();
        let limit = Patience::PROMPT.answer;
        let response = tokio::time::timeout(limit, sending)
            .await
            .map_err(|_| HttpError::Stalled(limit))?
            .map_err(broken)?;
        let etag = response.headers().get(reqwest::header::ETAG);
        Ok(Seen {
            status: response.status().as_u16(),
            etag: etag
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            path: response.url().path().to_owned(),
        })
    }
}

fn base_builder(origin: &Url) -> ClientBuilder {
    client_builder(origin.scheme() == "https")
}

fn client_builder(with_certificates: bool) -> ClientBuilder {
    if CryptoProvider::get_default().is_none() {
        // Whoever installs one first wins; losing that race leaves an equal provider in place.
        drop(ring::default_provider().install_default());
    }
    let builder = Client::builder()
        .user_agent(concat!("onsave/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_user_timeout(UNACKNOWLEDGED_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .http1_only();
    if with_certificates {
        builder
    } else {
        // Loading the machine's certificates costs time and memory, and fails where there are none.
        builder.tls_certs_only([])
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// How far the body of one exchange has been handed to the connection.
#[derive(Debug)]
struct Pulse {
    moved: AtomicU64,
    length: u64,
    file_changed: AtomicBool,
}

impl Pulse {
    const fn new(length: u64) -> Self {
        Self {
            moved: AtomicU64::new(0),
            length,
            file_changed: AtomicBool::new(false),
        }
    }

    fn advance(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for `sending`, as long as something moves.
    async fn guard(
        &self,
        mut sending: std::pin::Pin<&mut impl Future<Output = reqwest::Result<Response>>>,
        patience: Patience,
    ) -> Result<Response, HttpError> {
        loop {
            let before = self.moved.load(Ordering::Relaxed);
            let limit = if before >= self.length {
                patience.answer
            } else {
                patience.stall
            };
            // The future is polled on where it was: a time-out of one round takes nothing from it.
            match tokio::time::timeout(limit, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(_)) if self.file_changed.load(Ordering::Relaxed) => {
                    return Err(HttpError::FileChanged);
                }
                Ok(Err(error)) => return Err(broken(error)),
                Err(_) if self.moved.load(Ordering::Relaxed) > before => {}
                Err(_) => return Err(HttpError::Stalled(limit)),
            }
        }
    }
}

fn attach(
    building: reqwest::RequestBuilder,
    body: Body,
    pulse: &Arc<Pulse>,
) -> reqwest::RequestBuilder {
    let length = body.len();
    match body {
        Body::Parts(parts) if length <= CHUNK_BYTES as u64 => {
            // Small enough to leave in one write, together with the headers.
            pulse.moved.store(length, Ordering::Relaxed);
            match length {
                0 => building,
                _ => building.body(join(parts)),
            }
        }
        Body::Parts(parts) => {
            let pulse = Arc::clone(pulse);
            let chunks = stream::iter(parts).flat_map(|part| stream::iter(chunks(part)));
            let counted = chunks.map(move |chunk| {
                pulse.advance(chunk.len());
                Ok::<_, std::io::Error>(chunk)
            });
            building
                .header(CONTENT_LENGTH, length)
                .body(reqwest::Body::wrap_stream(counted))
        }
        Body::File {
            file,
            size,
            progress,
        } => building
            .header(CONTENT_LENGTH, size)
            .body(reqwest::Body::wrap_stream(file_chunks(
                file,
                progress,
                Arc::clone(pulse),
            ))),
    }
}

fn chunks(mut part: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let next = part.split_to(part.len().min(CHUNK_BYTES));
        (!next.is_empty()).then_some(next)
    })
}

fn file_chunks(
    file: std::fs::File,
    progress: Progress,
    pulse: Arc<Pulse>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let size = pulse.length;
    let start = (tokio::fs::File::from_std(file), size);
    stream::try_unfold(start, move |(mut file, left)| {
        let (progress, pulse) = (progress.clone(), Arc::clone(&pulse));
        async move {
            if left == 0 {
                return Ok(None);
            }
            let want = left.min(CHUNK_BYTES as u64);
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let got = (&mut file).take(want).read_to_end(&mut chunk).await;
            // A file that got shorter is told apart from a connection that broke.
            if !matches!(got, Ok(length) if length as u64 == want) {
                pulse.file_changed.store(true, Ordering::Relaxed);
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            pulse.advance(chunk.len());
            progress.advance(0, want);
            Ok(Some((Bytes::from(chunk), (file, left - want))))
        }
    })
}

fn join(mut parts: Vec<Bytes>) -> Bytes {
    match parts.len() {
        0 => Bytes::new(),
        1 => parts.swap_remove(0),
        _ => parts.concat().into(),
    }
}

fn decode(headers: &HeaderMap, body: Bytes, limit: u64) -> Result<Bytes, HttpError> {
    use std::io::Read as _;
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(body),
        Some(b"zstd") => {
            let mut plain = Vec::new();
            let decoder = zstd::stream::read::Decoder::new(&*body).map_err(HttpError::BadCoding)?;
            // One byte over the limit proves that there is more, without reading it all.
            decoder
                .take(limit + 1)
                .read_to_end(&mut plain)
                .map_err(HttpError::BadCoding)?;
            if plain.len() as u64 > limit {
                return Err(HttpError::AnswerTooLong(limit));
            }
            Ok(plain.into())
        }
        Some(_) => Err(HttpError::BadCoding(std::io::ErrorKind::Unsupported.into())),
    }
}

/// Returns what a failed exchange was, looking for the layer that failed.
fn broken(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if let Some(tls) = tls_cause(&error) {
        return HttpError::Tls(tls);
    }
    if error.is_connect() {
        HttpError::Connect(error)
    } else if error.is_builder() {
        HttpError::Invalid(error)
    } else {
        HttpError::Broken(error)
    }
}

fn tls_cause(error: &reqwest::Error) -> Option<rustls::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        // An io::Error does not name what it wraps as its source, but as its inner error.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = inner.or_else(|| error.downcast_ref()) {
            return Some(tls.clone());
        }
        cause = error.source();
    }
    None
}
