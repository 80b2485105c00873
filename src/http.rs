//! The HTTP client: the only user of reqwest, one warm connection pool for one origin.
//!
//! Owns the pool, the count of bytes on the wire and the time of the last exchange. An exchange is
//! watched for progress instead of being given a total time: a first publish over a slow uplink may
//! take an hour and is healthy as long as bytes move, and a dead peer is noticed within
//! `Patience::stall`. Nothing is retried here, and nothing is known of what is asked: that belongs to
//! `publish::session` and to the platform's client.

mod public;
mod pulse;

use std::{
    error::Error as StdError,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
#[cfg(test)]
use reqwest::header::HeaderName;
use reqwest::{
    Client, ClientBuilder, Response, Url,
    header::{CONTENT_ENCODING, HeaderMap, HeaderValue},
    redirect,
};
use rustls::crypto::{CryptoProvider, ring};
use tokio::time::Instant;

pub(crate) use self::public::{PublicHttp, Seen};
use self::pulse::{Pulse, attach};
use crate::progress::Progress;

/// How long a name look-up, a TCP and a TLS handshake may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sent bytes may stay unacknowledged. A laptop that wakes up holds connections whose other
/// end is gone; without this the first save after it would wait for the stall limit.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(5);

/// Below the server's own limit for idle connections (two minutes), so that it is this side that
/// closes first and no request runs into a closing connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);

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
        answer: Duration::from_mins(2),
    };
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection could be made.
    #[error("failed to connect")]
    Connect(#[source] io::Error),
    /// The TLS handshake failed.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    /// The connection broke before the whole answer was there.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// Nothing moved for too long.
    #[error("nothing moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The answer is longer than any that this call has.
    #[error("the answer is longer than {0} bytes")]
    AnswerTooLong(u64),
    /// The answer's content coding is broken or unknown.
    #[error("the answer's content coding cannot be read")]
    BadCoding(#[source] io::Error),
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

#[cfg(test)]
impl Answer {
    /// Returns an answer that nobody sent.
    pub(crate) fn made_up(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> Self {
        let value = |text: &'static str| HeaderValue::from_static(text);
        let headers = headers
            .iter()
            .map(|(name, text)| (HeaderName::from_static(name), value(text)));
        Self {
            status,
            headers: headers.collect(),
            body: body.to_owned().into(),
        }
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
    origin: Url,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Replaced when a connection broke: its pool may hold more of the kind.
    client: ArcSwap<Client>,
    sent: AtomicU64,
    received: AtomicU64,
    exchanges: AtomicU64,
    last_answer: Mutex<Option<Instant>>,
}

impl Http {
    /// Returns a client for `origin`: scheme, host and port.
    pub(crate) fn new(origin: &str) -> Result<Self, HttpError> {
        let origin = Url::parse(origin).map_err(|_| HttpError::BadUrl)?;
        let client = client_of(&origin)?;
        Ok(Self {
            origin,
            shared: Arc::new(Shared {
                client: ArcSwap::from_pointee(client),
                sent: AtomicU64::new(0),
                received: AtomicU64::new(0),
                exchanges: AtomicU64::new(0),
                last_answer: Mutex::new(None),
            }),
        })
    }

    /// Leaves the connections of `client` to whoever uses one, and makes new ones from now on.
    ///
    /// What broke one connection (another network, a machine that slept) broke those that were kept
    /// beside it, and each would be waited for until its end is noticed.
    fn leave_connections(&self, client: &Arc<Client>) {
        let is_new = Arc::ptr_eq(client, &self.shared.client.load());
        if let (true, Ok(fresh)) = (is_new, client_of(&self.origin)) {
            self.shared.client.store(Arc::new(fresh));
        }
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
        let client = self.shared.client.load_full();
        let mut building = client.request(method, url);
        for (name, value) in &request.headers {
            building = building.header(*name, value);
        }
        let building = attach(building, request.body, &pulse);
        let sending = std::pin::pin!(building.send());
        let exchanging = async {
            let mut response = pulse.guard(sending, request.patience).await?;
            let (stall, limit) = (request.patience.stall, request.answer_limit);
            let body = self.read_answer(&mut response, stall, limit).await?;
            Ok((response, body))
        };
        let (mut response, body) = exchanging.await.inspect_err(|error| {
            if is_of_connection(error) {
                self.leave_connections(&client);
            }
        })?;
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

/// Returns whether a connection failed that was there.
const fn is_of_connection(error: &HttpError) -> bool {
    matches!(error, HttpError::Broken(_) | HttpError::Stalled(_))
}

fn client_of(origin: &Url) -> Result<Client, HttpError> {
    let mut builder = client_builder(origin.scheme() == "https").redirect(redirect::Policy::none());
    if is_loopback(origin) {
        // A proxy that the environment names is for other machines.
        builder = builder.no_proxy();
    }
    builder.build().map_err(HttpError::Invalid)
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
    is_loopback_host(url.host_str().unwrap_or_default())
}

/// Returns whether a URL's host is this machine.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
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
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
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
        Some(_) => Err(HttpError::BadCoding(io::ErrorKind::Unsupported.into())),
    }
}

/// Returns what a failed exchange was, looking for the layer that failed.
fn broken(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if let Some(tls) = tls_cause(&error) {
        return HttpError::Tls(tls);
    }
    if error.is_connect() {
        HttpError::Connect(innermost(&error))
    } else if error.is_builder() {
        HttpError::Invalid(error)
    } else {
        HttpError::Broken(innermost(&error))
    }
}

fn tls_cause(error: &reqwest::Error) -> Option<rustls::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        // An io::Error does not name what it wraps as its source, but as its inner error.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = inner.or_else(|| error.downcast_ref()) {
            return Some(tls.clone());
        }
        cause = error.source();
    }
    None
}

/// Returns the cause below all layers: the layers between say nothing to a person.
fn innermost(error: &reqwest::Error) -> io::Error {
    let mut innermost: &(dyn StdError + 'static) = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let system = innermost.downcast_ref().and_then(io::Error::raw_os_error);
    system.map_or_else(
        || io::Error::other(innermost.to_string()),
        io::Error::from_raw_os_error,
    )
}
