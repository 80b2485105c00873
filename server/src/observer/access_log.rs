//! The access log: one line for each answer that is over.
//!
//! A thread of its own writes, from a queue with a bound: a slow reader of the log never holds up a
//! visitor. What finds the queue full is dropped and counted, and said once. Whatever a peer sent is
//! escaped, so that nobody can forge a line; headers that could carry a secret are not looked at.

use std::{
    io::{self, BufWriter, Write},
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use http::{HeaderMap, header, request::Parts};
use serde::Serialize;

/// Lines that may wait to be written; some seconds' worth at ten thousand requests a second would be more
/// memory than the log is worth.
const MOST_WAITING: usize = 4_096;

/// Longest text that is taken over from a peer, in bytes; the rest is cut off.
const LONGEST: usize = 2_048;

/// How long the end waits for the last lines to be taken.
const LAST_LINES: Duration = Duration::from_secs(5);

/// The shape of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// Apache's and nginx's `combined`: the Common Log Format with referer and user agent.
    Common,
    /// One JSON object a line.
    Json,
}

/// Writes lines. Dropping it writes what waits, for at most five seconds.
#[derive(Debug)]
pub struct AccessLog {
    format: AccessLogFormat,
    /// Taken at the end.
    queue: Mutex<Option<SyncSender<String>>>,
    /// Closed when the writer ends.
    writing: Mutex<Receiver<()>>,
    dropped: AtomicU64,
}

impl AccessLog {
    /// Starts a log that is written to `out`.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(format: AccessLogFormat, out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(MOST_WAITING);
        let (ended, writing) = sync_channel(0);
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                let _ended: SyncSender<()> = ended;
                write_all(&lines, BufWriter::new(out));
            })?;
        Ok(Self {
            format,
            queue: Mutex::new(Some(queue)),
            writing: Mutex::new(writing),
            dropped: AtomicU64::new(0),
        })
    }

    /// Returns how many lines were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) const fn format(&self) -> AccessLogFormat {
        self.format
    }

    pub(super) fn write(&self, line: String) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = &*queue else {
            return;
        };
        // A log that nobody reads any more is the same as a full queue.
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(line)
            && self.dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!("the access log is written too slowly, and leaves lines out");
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        drop(self.queue.get_mut().map(Option::take));
        let writing = self.writing.get_mut();
        let writing = writing.unwrap_or_else(PoisonError::into_inner);
        // Whoever takes the lines may be stuck for ever; the server has to end all the same.
        if writing.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("nobody takes the last lines of the access log: they are lost");
        }
    }
}

/// Writes until the queue is closed or nobody takes the lines; flushes whenever there is a rest.
fn write_all(lines: &Receiver<String>, mut out: BufWriter<impl Write>) {
    while let Ok(first) = lines.recv() {
        let written = std::iter::once(first)
            .chain(lines.try_iter())
            .try_for_each(|line| out.write_all(line.as_bytes()))
            .and_then(|()| out.flush());
        if let Err(error) = written {
            tracing::error!("the access log cannot be written, and ends: {error}");
            return;
        }
    }
}

/// What a line says of a request.
#[derive(Debug)]
pub(super) struct Line {
    peer: IpAddr,
    unix_ms: u64,
    method: String,
    target: String,
    version: String,
    referer: Option<String>,
    user_agent: Option<String>,
}

#[derive(Serialize)]
struct JsonLine<'l> {
    time: String,
    peer: IpAddr,
    method: &'l str,
    target: &'l str,
    version: &'l str,
    status: u16,
    bytes: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'l str>,
}

impl Line {
    pub(super) fn new(parts: &Parts, peer: IpAddr, unix_ms: u64) -> Self {
        let target = parts
            .uri
            .path_and_query()
            .map_or("*", http::uri::PathAndQuery::as_str);
        Self {
            peer,
            unix_ms,
            method: cut(parts.method.as_str()),
            target: cut(target),
            version: format!("{:?}", parts.version),
            referer: text_of(&parts.headers, &header::REFERER),
            user_agent: text_of(&parts.headers, &header::USER_AGENT),
        }
    }

    /// Returns the line, with its end.
    pub(super) fn text(
        &self,
        format: AccessLogFormat,
        status: u16,
        bytes: u64,
        took: Duration,
    ) -> String {
        match format {
            AccessLogFormat::Common => self.common(status, bytes),
            AccessLogFormat::Json => self.json(status, bytes, took),
        }
    }

    fn common(&self, status: u16, bytes: u64) -> String {
        let Self {
            peer,
            method,
            target,
            version,
            ..
        } = self;
        let quoted = |text: &Option<String>| text.as_deref().map_or("-".into(), escaped);
        format!(
            "{peer} - - [{}] \"{} {} {version}\" {status} {bytes} \"{}\" \"{}\"\n",
            self.time().strftime("%d/%b/%Y:%H:%M:%S %z"),
            escaped(method),
            escaped(target),
            quoted(&self.referer),
            quoted(&self.user_agent),
        )
    }

    fn json(&self, status: u16, bytes: u64, took: Duration) -> String {
        let line = JsonLine {
            time: self.time().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            peer: self.peer,
            method: &self.method,
            target: &self.target,
            version: &self.version,
            status,
            bytes,
            duration_ms: took.as_secs_f64() * 1_000.0,
            referer: self.referer.as_deref(),
            user_agent: self.user_agent.as_deref(),
        };
        // Text and numbers: nothing that JSON cannot write.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        text
    }

    fn time(&self) -> jiff::Zoned {
        let milliseconds = i64::try_from(self.unix_ms).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(milliseconds)
            .unwrap_or(jiff::Timestamp::MAX)
            .to_zoned(jiff::tz::TimeZone::UTC)
    }
}

fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(cut(&String::from_utf8_lossy(value.as_bytes())))
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}

/// Returns text as it stands between quotes: as Apache has it, with `\xhh` for what could end the line
/// or move a cursor.
fn escaped(text: &str) -> String {
    let byte_text = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    if text
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
    {
        return text.to_owned();
    }
    text.bytes().map(byte_text).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Request;

    use super::*;

    fn line(target: &str, agent: &[u8]) -> Line {
        let request = Request::get(target)
            .header("user-agent", http::HeaderValue::from_bytes(agent).unwrap())
            .header("authorization", "secret")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        Line::new(&parts, "2001:db8::1".parse().unwrap(), 1_795_516_313_849)
    }

    #[test]
    fn lines_as_other_servers_write_them() {
        let line = line("/a?b=%22", b"Mozilla/5.0 (X11)");
        let took = Duration::from_micros(1_500);
        assert_eq!(
            line.text(AccessLogFormat::Common, 200, 5, took),
            "2001:db8::1 - - [24/Nov/2026:10:31:53 +0000] \"GET /a?b=%22 HTTP/1.1\" 200 5 \"-\" \
             \"Mozilla/5.0 (X11)\"\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&line.text(AccessLogFormat::Json, 404, 0, took)).unwrap();
        assert_eq!(json["time"], "2026-11-24T10:31:53.849Z");
        assert_eq!(
            (&json["status"], &json["duration_ms"]),
            (&404.into(), &1.5.into())
        );
        assert!(json.get("referer").is_none());
    }

    #[test]
    fn nobody_forges_a_line() {
        let line = line("/", b"x\" 200 1 \"\t\\\xff\xc2\x9b");
        for format in [AccessLogFormat::Common, AccessLogFormat::Json] {
            let text = line.text(format, 200, 1, Duration::ZERO);
            let body = text.strip_suffix('\n').unwrap();
            assert!(
                !body.contains(|c: char| c.is_control() && c != '\u{9b}'),
                "{body:?}"
            );
            assert!(!text.contains("secret"));
        }
        let text = line.text(AccessLogFormat::Common, 200, 1, Duration::ZERO);
        assert!(text.contains("\"x\\\" 200 1 \\\"\\x09\\\\"), "{text}");
        assert!(text.is_ascii());
    }

    #[test]
    fn long_texts_are_cut() {
        let target = format!("/{}", "a".repeat(10_000));
        let text = line(&target, b"-").text(AccessLogFormat::Common, 414, 0, Duration::ZERO);
        assert!(text.len() < LONGEST + 200);
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_written_at_the_end() {
        let sink = Sink::default();
        let log = AccessLog::start(AccessLogFormat::Common, sink.clone()).unwrap();
        for number in 0..100 {
            log.write(format!("{number}\n"));
        }
        drop(log);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 100);
    }

    #[test]
    fn a_log_that_nobody_takes_drops_and_counts() {
        /// Takes nothing as long as the test holds the lock.
        struct Stuck(Arc<Mutex<()>>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                drop(self.0.lock().unwrap());
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lock = Arc::<Mutex<()>>::default();
        let held = lock.lock().unwrap();
        let log = AccessLog::start(AccessLogFormat::Common, Stuck(Arc::clone(&lock))).unwrap();
        let text = "x".repeat(100_000);
        for _ in 0..3 * MOST_WAITING {
            log.write(text.clone());
            if log.dropped() > 0 {
                break;
            }
        }
        assert!(log.dropped() > 0);
        drop(held);
    }
}
