//! What the tests share: a server that can be stopped and started again, a site folder, a relay
//! that counts, cuts and plays a server of the first generation.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use onsave_protocol::{FileEntry, Manifest, Secret, Sha256Digest, SitePath};
use onsave_server::{ServerConfig, Store, StoreOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    guard::Removals,
    progress::Progress,
    publish::{
        Converged, Endpoint, LocalSite, Note, PublishError, PublishReport, Publisher, Scope,
    },
    site_files::SiteFiles,
};

pub(crate) fn secret() -> Secret {
    Secret::from_text("3f1c9a7be2d84f60a5c1d2e3f4051627").unwrap()
}

pub(crate) fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        secret: secret(),
        name: url.trim_end_matches('/').to_owned(),
        secret_origin: "variable ONSAVE_SYNC_SECRET".into(),
    }
}

/// A server of the real kind; its volume outlives it.
pub(crate) struct TestServer {
    volume: TempDir,
    address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        let mut server = Self {
            volume: tempfile::tempdir().unwrap(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            running: None,
        };
        server.start_again().await;
        server
    }

    /// Starts on the address that it had.
    pub(crate) async fn start_again(&mut self) {
        self.start_again_with(secret()).await;
    }

    /// Starts on the address that it had, with another secret.
    pub(crate) async fn start_again_with(&mut self, secret: Secret) {
        let root = self.volume.path().to_owned();
        let options = StoreOptions::new(&root);
        let store = tokio::task::spawn_blocking(move || Store::open(options).unwrap())
            .await
            .unwrap();
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let config = ServerConfig::new(&root, secret);
        let stopped = stop.clone().cancelled_owned();
        let mut task = JoinSet::new();
        task.spawn(async move {
            onsave_server::serve(config, store, listener, stopped)
                .await
                .unwrap();
        });
        self.running = Some(Running { stop, task });
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.stop.cancel();
            running.task.join_next().await.unwrap().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what a visitor gets: status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.split_off(end + 4))
    }
}

/// A site folder and the publisher's view of it.
pub(super) struct TestSite {
    folder: TempDir,
}

impl TestSite {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (path, text) in files {
            site.write(path, text.as_bytes());
        }
        site
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn remove(&self, path: &str) {
        fs::remove_file(self.folder.path().join(path)).unwrap();
    }

    pub(super) fn manifest(&self) -> Manifest {
        let mut files = Vec::new();
        walk(self.folder.path(), &mut files);
        let entry = |path: PathBuf| {
            let bytes = fs::read(&path).unwrap();
            let name = path
                .strip_prefix(self.folder.path())
                .unwrap()
                .to_str()
                .unwrap();
            let entry = FileEntry {
                digest: Sha256Digest::of(&bytes),
                size: bytes.len() as u64,
            };
            (SitePath::parse(name).unwrap(), entry)
        };
        files.into_iter().map(entry).collect()
    }

    pub(super) fn files(&self) -> SiteFiles {
        SiteFiles::new(self.folder.path().into(), HashMap::new())
    }

    /// Returns what `manifest` needs to be published.
    pub(super) fn local<'a>(&self, manifest: &'a Manifest) -> LocalSite<'a> {
        LocalSite {
            manifest,
            site: Arc::new(self.files()),
            removals: Removals::Allowed,
            note: Note {
                published_by: Some("ann@desk".into()),
                message: Some("a test".into()),
            },
            progress: Progress::Silent,
        }
    }

    /// Makes the folder as it is now current.
    pub(super) async fn converge(
        &self,
        publisher: &mut Publisher,
    ) -> Result<Converged, PublishError> {
        let manifest = self.manifest();
        publisher
            .converge(&self.local(&manifest), Scope::Whole)
            .await
    }

    /// Makes the folder as it is now current; it was not yet.
    pub(super) async fn publish(&self, publisher: &mut Publisher) -> PublishReport {
        match self.converge(publisher).await.unwrap() {
            Converged::Published(report) => report,
            other => panic!("nothing was published: {other:?}"),
        }
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// What a relay does to what passes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relaying {
    /// Nothing.
    Plain,
    /// Hides everything of the second generation, in both directions.
    FirstGeneration,
    /// Cuts every connection once so many bytes came from the client, until mended.
    CutAfter(u64),
}

/// A relay in front of a server.
pub(crate) struct Relay {
    address: SocketAddr,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

/// What passed a relay.
#[derive(Debug, Default)]
pub(super) struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    sent: AtomicU64,
    received: AtomicU64,
    cut_after: AtomicU64,
}

impl Relay {
    pub(crate) async fn before(server: SocketAddr, relaying: Relaying) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let limit = match relaying {
            Relaying::CutAfter(bytes) => bytes,
            Relaying::Plain | Relaying::FirstGeneration => u64::MAX,
        };
        counts.cut_after.store(limit, Ordering::SeqCst);
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&counts);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let to_server = TcpStream::connect(server).await.unwrap();
                connections.spawn(pass(client, to_server, Arc::clone(&shared), relaying));
            }
        });
        Self {
            address,
            counts,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets everything pass from now on.
    pub(super) fn mend(&self) {
        self.counts.cut_after.store(u64::MAX, Ordering::SeqCst);
    }

    pub(super) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    pub(super) fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::SeqCst)
    }

    pub(super) fn received(&self) -> u64 {
        self.counts.received.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: TcpStream, counts: Arc<Counts>, relaying: Relaying) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let bytes = &mut buffer[..length];
            let passed = counts.sent.fetch_add(length as u64, Ordering::SeqCst);
            let requests = count(bytes, b" HTTP/1.1\r\n");
            counts.requests.fetch_add(requests, Ordering::SeqCst);
            if passed > counts.cut_after.load(Ordering::SeqCst) {
                return;
            }
            if relaying == Relaying::FirstGeneration {
                hide(bytes, b"signature-input:");
                hide(bytes, b"signature:");
                hide(bytes, b"content-digest:");
            }
            if to_server.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            let bytes = &mut buffer[..length];
            counts.received.fetch_add(length as u64, Ordering::SeqCst);
            if relaying == Relaying::FirstGeneration {
                hide(bytes, b"onsave-protocol:");
            }
            if to_client.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    // Whoever ends first ends both: the halves are dropped, and with them the connections.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes
        .windows(part.len())
        .filter(|window| *window == part)
        .count()
}

/// Gives a header another name of the same length.
fn hide(bytes: &mut [u8], name: &[u8]) {
    let line: Vec<u8> = [b"\r\n", name].concat();
    let at = bytes
        .windows(line.len())
        .position(|window| window.eq_ignore_ascii_case(&line));
    if let Some(at) = at {
        bytes[at + 2] = b'x';
    }
}
