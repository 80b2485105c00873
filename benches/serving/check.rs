//! The look at every answer before it is measured: all servers have to do the same work.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use onsave_protocol::Sha256Digest;
use tokio::time::Instant;

use crate::{
    harness::{
        deadline::look_until,
        http::{Answer, Connection, Request},
        site::Tree,
    },
    servers::{INSTALL, Kind, Server},
    workload::{Ask, Expected, Workload},
};

/// How long this project's server may take to have a compressed variant of a page.
const VARIANT_LIMIT: Duration = Duration::from_secs(5);

/// The requests of a workload as one server wants them, each of which was answered as it has to be.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) requests: Vec<CheckedRequest>,
    /// Mean bytes of a body on the wire.
    pub(crate) body_bytes: usize,
}

/// One request that was answered as it has to be.
#[derive(Debug)]
pub(crate) struct CheckedRequest {
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Sends each request of a workload once and checks its answer against the site.
///
/// # Errors
///
/// A text that says what the server answers instead.
pub(crate) fn check(server: &Server, workload: Workload, site: &Tree) -> Result<Checked, String> {
    let asks = workload.asks();
    let mut reader = Reader::open(server)?;
    let mut requests = Vec::with_capacity(asks.len());
    let mut bytes = 0;
    for ask in &asks {
        let once = |reader: &mut Reader| reader.check(ask, site);
        let mut checked = once(&mut reader);
        if checked.is_err() && server.kind == Kind::Onsave && ask.expected == Expected::Brotli {
            // Variants may be made after the publish, or after the first request for one.
            look_until(Instant::now() + VARIANT_LIMIT, || {
                checked = once(&mut reader);
                checked.is_ok().then_some(())
            });
        }
        let (request, body) = checked.map_err(|fault| format!("GET {}: {fault}", ask.target))?;
        requests.push(request);
        bytes += body;
    }
    Ok(Checked {
        body_bytes: bytes / requests.len(),
        requests,
    })
}

struct Reader(Connection);

impl Reader {
    fn open(server: &Server) -> Result<Self, String> {
        let connection = Connection::open(server.address).map_err(|error| error.to_string())?;
        Ok(Self(connection))
    }

    fn get(&mut self, target: &str, headers: &[(&'static str, String)]) -> Result<Answer, String> {
        let request = Request {
            method: "GET",
            target,
            headers: headers.to_vec(),
            ..Request::default()
        };
        self.0.send(&request).map_err(|error| error.to_string())
    }

    /// Returns the request as it is sent to this server, and the length of the answer's body.
    fn check(&mut self, ask: &Ask, site: &Tree) -> Result<(CheckedRequest, usize), String> {
        let headers = match ask.expected {
            Expected::Whole | Expected::NotFound => Vec::new(),
            Expected::Brotli => vec![("Accept-Encoding", "br".to_owned())],
            Expected::NotModified => {
                let whole = self.get(&ask.target, &[])?;
                is_whole(&whole, &site[&ask.file])?;
                vec![validator(&whole)?]
            }
        };
        let answer = self.get(&ask.target, &headers)?;
        let bytes = &site[&ask.file];
        match ask.expected {
            Expected::Whole => is_whole(&answer, bytes)?,
            Expected::NotFound => {
                has_status(&answer, 404)?;
                has_length(&answer)?;
                // static-web-server sends this page without its last line break.
                has_bytes(answer.body.trim_ascii_end(), bytes.trim_ascii_end())?;
            }
            Expected::NotModified => has_status(&answer, 304)?,
            Expected::Brotli => is_brotli(&answer, bytes)?,
        }
        let request = CheckedRequest {
            target: ask.target.clone(),
            headers,
        };
        Ok((request, answer.body.len()))
    }
}

/// Returns the header with which a browser asks whether an answer still holds: by its entity tag, or
/// by its date where there is none, as static-web-server answers.
fn validator(answer: &Answer) -> Result<(&'static str, String), String> {
    let tag = answer.header("etag").map(|tag| ("If-None-Match", tag));
    let dated = answer.header("last-modified");
    tag.or_else(|| dated.map(|date| ("If-Modified-Since", date)))
        .map(|(name, value)| (name, value.to_owned()))
        .ok_or_else(|| "neither ETag nor Last-Modified".to_owned())
}

fn has_status(answer: &Answer, status: u16) -> Result<(), String> {
    if answer.status == status {
        return Ok(());
    }
    Err(format!("status {} instead of {status}", answer.status))
}

fn is_whole(answer: &Answer, bytes: &[u8]) -> Result<(), String> {
    has_status(answer, 200)?;
    if let Some(encoding) = answer.header("content-encoding") {
        return Err(format!(
            "Content-Encoding {encoding}, which was not asked for"
        ));
    }
    has_length(answer)?;
    has_bytes(&answer.body, bytes)
}

fn is_brotli(answer: &Answer, bytes: &[u8]) -> Result<(), String> {
    has_status(answer, 200)?;
    match answer.header("content-encoding") {
        Some("br") => {}
        Some(other) => return Err(format!("Content-Encoding {other} instead of br")),
        None => {
            return Err(
                "not supported by this build: no Content-Encoding where br was asked for".into(),
            );
        }
    }
    has_length(answer)?;
    has_bytes(&decompressed(&answer.body)?, bytes)
}

fn has_length(answer: &Answer) -> Result<(), String> {
    let length = answer.header("content-length");
    // Caddy sends what it has compressed in chunks.
    if length.is_none() && answer.header("transfer-encoding") == Some("chunked") {
        return Ok(());
    }
    if length.and_then(|text| text.parse().ok()) == Some(answer.body.len()) {
        return Ok(());
    }
    Err(format!(
        "Content-Length {length:?} with a body of {} bytes",
        answer.body.len()
    ))
}

fn has_bytes(found: &[u8], expected: &[u8]) -> Result<(), String> {
    let [found_digest, expected_digest] = [found, expected].map(Sha256Digest::of);
    if found_digest == expected_digest {
        return Ok(());
    }
    Err(format!(
        "{} bytes of SHA-256 {} instead of {} bytes of {}",
        found.len(),
        found_digest.to_hex(),
        expected.len(),
        expected_digest.to_hex()
    ))
}

/// Returns what bytes are, decompressed by the `brotli` program: a judge of its own.
fn decompressed(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = Command::new("brotli")
        .args(["--decompress", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("brotli: {error}; {INSTALL}"))?;
    let mut input = child.stdin.take().ok_or("a pipe was asked for")?;
    // The pipe holds a compressed page of 10 KB, so that this never waits for the other end.
    input.write_all(bytes).map_err(|error| error.to_string())?;
    drop(input);
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err("a body that is no Brotli".into())
    }
}
