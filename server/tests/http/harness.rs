//! A server on a port of the system's choosing, a volume of its own, and a client that sends
//! exactly what it is told.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use onsave_protocol::{
    DeployId, Secret, Sha256Digest, SitePath,
    signature::{v1, v2},
    wire::{
        error::{ErrorBody, ErrorCode},
        frame,
        v1::{SIGNATURE_HEADER, TIMESTAMP_HEADER},
        v2::{ChangesetHeader, Published, PutRecord, Source},
    },
};
use onsave_server::{
    ServeError, ServerConfig, Store, StoreOptions, serve,
    store::{Clock as _, SystemClock},
};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
};

pub(crate) const SECRET: &str = "correct-horse-battery-staple-000001";

/// Every log line of this process, at every level.
pub(crate) static LOG: LazyLock<&'static Mutex<Vec<u8>>> = LazyLock::new(|| {
    let log: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(|| Lines)
        .init();
    log
});

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *LOG.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn secret() -> Secret {
    Secret::from_text(SECRET).unwrap()
}

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
    stop: oneshot::Sender<()>,
    serving: JoinSet<Result<(), ServeError>>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    pub(crate) async fn start_in(folder: TempDir, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let _log = *LOG;
        let store = Store::open(StoreOptions::new(folder.path())).unwrap();
        let mut config = ServerConfig::new(folder.path(), secret());
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let mut serving = JoinSet::new();
        serving.spawn(serve(config, store.clone(), listener, async {
            stopped.await.unwrap_or_default();
        }));
        Self {
            address,
            store,
            folder,
            stop,
            serving,
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        self.connect().await.send(request).await
    }

    /// Publishes files, each put inline, on top of what is current.
    pub(crate) async fn publish(&self, files: &[(&str, &str)]) -> Published {
        let answer = self.send(changeset(self.current(), files)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Publishes on top of what is current, and removes what is named.
    pub(crate) async fn replace(&self, files: &[(&str, &str)], gone: &[&str]) -> Published {
        let puts = files
            .iter()
            .map(|(path, content)| put(path, content.as_bytes(), Source::Inline))
            .collect();
        let removes = gone.iter().map(|path| SitePath::parse(path).unwrap());
        let header = ChangesetHeader {
            puts,
            removes: removes.collect(),
            ..ChangesetHeader::default()
        };
        let content: String = files.iter().map(|(_, content)| *content).collect();
        let request = changeset_of(self.current(), &header, content.as_bytes());
        let answer = self.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub(crate) fn current(&self) -> Option<DeployId> {
        self.store.current().deploy_id()
    }

    /// Tells the server to end; what it ends with is for [`TestServer::ended`].
    pub(crate) fn begin_stop(self) -> Stopping {
        self.stop.send(()).unwrap();
        Stopping {
            serving: self.serving,
            store: self.store,
            folder: self.folder,
        }
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.begin_stop().ended().await.unwrap()
    }
}

pub(crate) struct Stopping {
    serving: JoinSet<Result<(), ServeError>>,
    store: Store,
    folder: TempDir,
}

impl Stopping {
    pub(crate) async fn ended(mut self) -> Result<TempDir, ServeError> {
        let ended = self.serving.join_next().await.unwrap().unwrap();
        drop(self.store);
        ended.map(|()| self.folder)
    }
}

/// A request, to be written as it is.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            headers: vec![("host".into(), "test".into())],
            body: Vec::new(),
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Signs the request for the second generation, as it stands.
    pub(crate) fn v2(self) -> Self {
        self.v2_with(&secret(), &nonce())
    }

    pub(crate) fn v2_with(self, secret: &Secret, nonce: &str) -> Self {
        let digest = v2::content_digest(Sha256Digest::of(&self.body));
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let value = |name: &str| {
            let found = self.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let parameters = v2::SignatureParameters::new(now(), nonce.into(), secret);
        let signed = v2::SignedRequest {
            method: &self.method,
            path,
            query,
            content_digest: &digest,
            if_match: value("if-match"),
            if_none_match: value("if-none-match"),
        }
        .sign(&parameters, secret);
        self.header("content-digest", &digest)
            .header("signature-input", &signed.signature_input)
            .header("signature", &signed.signature)
    }

    /// Signs the request for the first generation.
    pub(crate) fn v1(self) -> Self {
        self.v1_with(&secret(), &now().to_string())
    }

    pub(crate) fn v1_with(self, secret: &Secret, timestamp: &str) -> Self {
        let signature = v1::SignedRequest {
            timestamp,
            method: &self.method,
            path_and_query: &self.target,
            body: Sha256Digest::of(&self.body),
        }
        .sign(secret);
        self.header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, &signature)
    }

    pub(crate) fn head_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write!(bytes, "{} {} HTTP/1.1\r\n", self.method, self.target).unwrap();
        for (name, value) in &self.headers {
            write!(bytes, "{name}: {value}\r\n").unwrap();
        }
        let framed = ["content-length", "transfer-encoding"];
        let has_framing = |(name, _): &(String, String)| framed.contains(&name.as_str());
        if !self.headers.iter().any(has_framing) {
            write!(bytes, "content-length: {}\r\n", self.body.len()).unwrap();
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// Returns a nonce that no other request of this process has.
pub(crate) fn nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{:016}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn now() -> u64 {
    SystemClock.unix_ms() / 1000
}

/// Returns a put of `content` at `path`.
pub(crate) fn put(path: &str, content: &[u8], source: Source) -> PutRecord {
    PutRecord {
        path: SitePath::parse(path).unwrap(),
        sha256: Sha256Digest::of(content),
        size: content.len() as u64,
        source,
    }
}

/// Returns the signed request that publishes `header` and `content` on `base`.
pub(crate) fn changeset_of(
    base: Option<DeployId>,
    header: &ChangesetHeader,
    content: &[u8],
) -> Request {
    let mut body = frame::encode(header).unwrap();
    body.extend_from_slice(content);
    let request = Request::new("POST", "/_icd/changesets").body(body);
    on_base(request, base).v2()
}

pub(crate) fn on_base(request: Request, base: Option<DeployId>) -> Request {
    match base {
        Some(base) => request.header("if-match", &format!("\"{base}\"")),
        None => request.header("if-none-match", "*"),
    }
}

/// Returns the signed request that puts `files` inline on `base`.
pub(crate) fn changeset(base: Option<DeployId>, files: &[(&str, &str)]) -> Request {
    let puts = files
        .iter()
        .map(|(path, content)| put(path, content.as_bytes(), Source::Inline))
        .collect();
    let header = ChangesetHeader {
        puts,
        published_by: Some("ann".into()),
        ..ChangesetHeader::default()
    };
    let content: String = files.iter().map(|(_, content)| *content).collect();
    changeset_of(base, &header, content.as_bytes())
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the status and the code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, ErrorCode) {
        assert_eq!(self.header("onsave-protocol"), Some("2"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        (self.status, self.json::<ErrorBody>().code.unwrap())
    }
}

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send(&mut self, request: Request) -> Answer {
        let mut bytes = request.head_bytes();
        bytes.extend_from_slice(&request.body);
        self.write(&bytes).await;
        self.read(request.method == "HEAD").await.unwrap()
    }

    /// Reads one answer; nothing when the server closed the connection.
    pub(crate) async fn read(&mut self, is_head: bool) -> Option<Answer> {
        let status = self.line().await?;
        let status: u16 = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let length = answer.header("content-length").map(str::parse);
        if !is_head && status != 304 && status >= 200 {
            answer.body = vec![0; length.unwrap_or(Ok(0)).unwrap()];
            self.stream.read_exact(&mut answer.body).await.ok()?;
        }
        Some(answer)
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Returns whether the server closed the connection without a further byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0; 1];
        matches!(self.stream.read(&mut byte).await, Ok(0) | Err(_))
    }

    /// Returns how many bytes came, at least one and at most `most`; none at the end.
    pub(crate) async fn read_at_most(&mut self, most: usize) -> usize {
        let mut bytes = vec![0; most];
        self.stream.read(&mut bytes).await.unwrap()
    }

    /// Returns how many bytes came until the server closed the connection, properly or not.
    pub(crate) async fn read_to_end(&mut self) -> usize {
        let mut bytes = Vec::new();
        // A reset ends it as well as a proper end; what came before counts.
        drop(self.stream.read_to_end(&mut bytes).await);
        bytes.len()
    }

    /// Tells the server that nothing more is sent.
    pub(crate) async fn close_writing(&mut self) {
        self.stream.get_mut().shutdown().await.unwrap();
    }
}
