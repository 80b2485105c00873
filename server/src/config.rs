//! The server's configuration: checked values with safe defaults.
//!
//! Where a value came from (a flag, the environment, a configuration file of the client that embeds
//! the server) is not known here; [`crate::cli`] reads the command's sources.

use std::{path::PathBuf, sync::Arc, time::Duration};

use onsave_protocol::{
    Secret,
    limits::{MAX_CHANGESET_BYTES, MAX_FILE_BYTES, MAX_FILES, MAX_FRAME_HEADER_BYTES},
};

pub use crate::observer::Observation;
use crate::store::{Clock, SystemClock};

/// Everything that [`crate::serve`] needs to know besides the store and the listener.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The secrets that requests may be signed with.
    pub secrets: Secrets,
    /// Bounds on sizes and counts.
    pub limits: Limits,
    /// Bounds on time.
    pub timeouts: Timeouts,
    /// How the peer of a request is told.
    pub peer_source: PeerSource,
    /// How the site is served, as far as the site itself does not say.
    pub serving: Serving,
    /// What is told of requests.
    pub observation: Observation,
    /// Where the nonces of accepted requests are kept across a restart.
    pub nonce_file: PathBuf,
    /// The wall clock that signatures are compared with.
    pub clock: Arc<dyn Clock>,
}

/// The secrets that requests may be signed with.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The secret of today.
    pub current: Secret,
    /// The secret before a rotation, accepted until it is taken out of the configuration.
    pub previous: Option<Secret>,
}

/// How the peer of a request is told, for the log and for the limit on failed signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSource {
    /// The address at the other end of the socket.
    Socket,
    /// `Fly-Client-IP`: only behind Fly's proxy, which overwrites what a visitor sent.
    FlyClientIp,
}

/// How the site is served, as far as the site itself does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Which addresses pages have.
    pub trailing_slash: TrailingSlash,
    /// What answers for pages that are not there.
    pub fallback: Fallback,
    /// How long after a deploy its fingerprinted assets can still be fetched.
    pub asset_grace: Duration,
    /// Which headers answers have by default.
    pub security_headers: SecurityHeaders,
    /// Bytes of content, as it is and encoded, that are kept in memory.
    pub cache_bytes: u64,
}

/// Which addresses pages have; the others redirect to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailingSlash {
    /// `a.html` is at `/a`, `a/index.html` at `/a/`: as Netlify and Cloudflare Pages have it.
    Auto,
    /// Both are at `/a`.
    Never,
    /// Both are at `/a/`.
    Always,
}

/// What answers for pages that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The nearest `404.html`.
    NotFoundPage,
    /// The `index.html` at the root, for a single-page application.
    SinglePage,
}

/// Which headers answers have by default; `_headers` can take each of them away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityHeaders {
    /// Those that protect visitors and break next to no site.
    Default,
    /// None.
    Off,
}

/// Bounds on sizes and counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; further ones wait in the listener's backlog.
    pub connections: usize,
    /// Requests of one HTTP/2 connection at once; further ones are refused, and may be tried again.
    pub streams: u32,
    /// Bytes of one request's head; over it the answer is 431.
    pub head_bytes: usize,
    /// Bytes of a first-generation body, which has to be held until its signature is checked.
    pub v1_body_bytes: usize,
    /// First-generation bodies held at once.
    pub v1_bodies: usize,
    /// Bytes of content in one changeset or pack, as sent.
    pub changeset_bytes: u64,
    /// Bytes of the JSON header of a changeset or pack.
    pub frame_header_bytes: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files in one changeset.
    pub files: usize,
    /// Failed signatures of one peer in a minute; over it the answer is 429.
    pub failures_per_minute: u32,
}

/// Bounds on time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Between two parts of a body.
    pub body_idle: Duration,
    /// For a whole first-generation body, which anybody may start to send.
    pub v1_body: Duration,
    /// For a peer to take some of an answer that waits to be sent.
    pub write_idle: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// How long a shutdown waits for requests that are under way.
    pub drain: Duration,
}

/// The file below the volume's root that holds the nonces of accepted requests.
const NONCE_FILE: &str = "nonces";

impl ServerConfig {
    /// Returns the default configuration of a server for the volume at `root`.
    ///
    /// This is all that a server embedded in the client needs.
    #[must_use]
    pub fn new(root: &std::path::Path, current: Secret) -> Self {
        Self {
            secrets: Secrets {
                current,
                previous: None,
            },
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            peer_source: PeerSource::Socket,
            serving: Serving::default(),
            observation: Observation::default(),
            nonce_file: root.join(NONCE_FILE),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            trailing_slash: TrailingSlash::Auto,
            fallback: Fallback::NotFoundPage,
            // A page that somebody left open over night still works.
            asset_grace: Duration::from_hours(24),
            security_headers: SecurityHeaders::Default,
            // A quarter of the smallest machine's memory.
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            // What browsers and proxies count on at least (RFC 9113, section 6.5.2).
            streams: 100,
            // Browsers send up to 16 KiB with large cookies; twice that is ample.
            head_bytes: 32 * 1024,
            v1_body_bytes: 32 * 1024 * 1024,
            // Two in flight keep a client busy while one is checked, and bound memory to 64 MiB.
            v1_bodies: 2,
            changeset_bytes: MAX_CHANGESET_BYTES,
            frame_header_bytes: MAX_FRAME_HEADER_BYTES,
            file_bytes: MAX_FILE_BYTES,
            files: MAX_FILES,
            failures_per_minute: 30,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            body_idle: Duration::from_secs(30),
            v1_body: Duration::from_mins(2),
            write_idle: Duration::from_mins(1),
            // A daemon keeps its connection warm between two saves.
            keep_alive: Duration::from_mins(5),
            drain: Duration::from_secs(10),
        }
    }
}
