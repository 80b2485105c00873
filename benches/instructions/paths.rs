//! The hot paths, as the programs walk them: public parts of both crates, put together on one thread.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path as FilePath,
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context as _, Result, ensure};
use onsave::{
    dirty::Dirty,
    ignore_rules::SharedRules,
    kept_versions::KeptVersions,
    progress::Progress,
    publish::{Endpoint, Note, Publication, Publisher},
    scan::Scanner,
    site_folder::SiteFolder,
};
use onsave_protocol::{Secret, changeset::diff};
use onsave_server::{ServerConfig, Store, StoreOptions};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Files of the sites that are scanned and compared: enough that what is done for each one counts.
const FILES: u32 = 1_000;

/// One hot path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// A scan of a whole site in which nothing changed.
    Scan,
    /// The difference of two large manifests.
    Diff,
    /// One changed page: difference, signature, exchange, commit, on both sides.
    Save,
    /// A page that is asked for and served.
    Request,
    /// A page that the visitor has.
    NotModified,
}

impl Path {
    /// Every path.
    pub(crate) const ALL: [Self; 5] = [
        Self::Scan,
        Self::Diff,
        Self::Save,
        Self::Request,
        Self::NotModified,
    ];

    /// Returns the name of the path in the budgets.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Diff => "diff",
            Self::Save => "save",
            Self::Request => "request",
            Self::NotModified => "not_modified",
        }
    }

    /// Returns what it is, for people.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Scan => "scan of 1,000 unchanged files",
            Self::Diff => "diff of two manifests of 1,000 files",
            Self::Save => "save of a 10 KB page, both sides",
            Self::Request => "request of a 10 KB page, answered",
            Self::NotModified => "request that is answered 304",
        }
    }

    /// Returns the path of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    /// Returns how often it runs in the two processes that are compared.
    pub(crate) const fn times(self) -> (u32, u32) {
        match self {
            Self::Scan => (2, 12),
            Self::Diff => (20, 220),
            Self::Save => (5, 45),
            Self::Request | Self::NotModified => (50, 550),
        }
    }

    /// Walks the path so often.
    pub(crate) fn run(self, times: u32) -> Result<()> {
        match self {
            Self::Scan => scan(times),
            Self::Diff => diffs(times),
            Self::Save => block_on(saves(times)),
            Self::Request => block_on(requests(times, false)),
            Self::NotModified => block_on(requests(times, true)),
        }
    }
}

fn block_on(path: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(path)
}

/// A page of about 10 KB.
fn page(word: &str) -> String {
    let paragraphs: Vec<String> = (0..72_u32)
        .map(|number| {
            let salt = number.wrapping_mul(2_654_435_761);
            format!(
                "<p>Paragraph {number} has a mark of its own, {salt:08x}, and some words that every \
                 paragraph of this page has in common with the others.</p>\n"
            )
        })
        .collect();
    format!("<h1>{word}</h1>\n{}", paragraphs.concat())
}

/// Writes a site of small files.
fn write_site(folder: &FilePath) -> Result<()> {
    for number in 0..FILES {
        let place = folder.join(format!("{}", number % 20));
        fs::create_dir_all(&place)?;
        fs::write(
            place.join(format!("{number}.html")),
            format!("<h1>{number}</h1>"),
        )?;
    }
    Ok(())
}

fn scanner(folder: &TempDir) -> Scanner {
    let site = SiteFolder::new(folder.path().join("site"));
    let state = folder.path().join("state");
    Scanner::new(site, state, Arc::new(SharedRules::default()))
}

fn scan(times: u32) -> Result<()> {
    let folder = TempDir::new()?;
    write_site(&folder.path().join("site"))?;
    let mut scanner = scanner(&folder);
    // Long after the files were written, so that their times can be trusted.
    let now = clock() + std::time::Duration::from_mins(1);
    scanner.scan(&Dirty::Everything, now)?;
    for _ in 0..times {
        scanner.scan(&Dirty::Everything, now)?;
    }
    ensure!(
        scanner.manifest().len() == FILES as usize,
        "every file is seen"
    );
    Ok(())
}

fn diffs(times: u32) -> Result<()> {
    let folder = TempDir::new()?;
    let site = folder.path().join("site");
    write_site(&site)?;
    let mut scanner = scanner(&folder);
    scanner.scan(&Dirty::Everything, clock())?;
    let old = scanner.manifest().clone();
    fs::write(site.join("3/3.html"), "<h1>another</h1>")?;
    scanner.scan(&Dirty::Everything, clock())?;
    for _ in 0..times {
        let changes = diff(&old, scanner.manifest());
        ensure!(changes.len() == 1, "one file differs");
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the times of the files that were just written are the system's"
)]
fn clock() -> SystemTime {
    SystemTime::now()
}

/// A server in this process, over a volume of its own.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinSet<Result<(), onsave_server::ServeError>>,
    publisher: Publisher,
    scanner: Scanner,
    folder: TempDir,
}

impl Server {
    async fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        let volume = folder.path().join("volume");
        fs::create_dir(&volume)?;
        fs::create_dir(folder.path().join("site"))?;
        let secret = Secret::from_text("a-secret-of-the-benchmark")?;
        let store = Store::open(StoreOptions::new(&volume))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let config = ServerConfig::new(&volume, secret.clone());
        task.spawn(onsave_server::serve(
            config,
            store,
            listener,
            stop.clone().cancelled_owned(),
        ));
        let endpoint = Endpoint {
            url: format!("http://{address}"),
            secret,
            secret_origin: "the benchmark".to_owned(),
            name: "the benchmark's server".to_owned(),
        };
        let versions = KeptVersions::new(folder.path().join("versions"));
        Ok(Self {
            address,
            stop,
            task,
            publisher: Publisher::new(endpoint)?.keeping(Arc::new(versions)),
            scanner: scanner(&folder),
            folder,
        })
    }

    /// Writes a page and publishes it.
    async fn save(&mut self, text: &str) -> Result<()> {
        let path = self.folder.path().join("site/index.html");
        // Whole, and another file each time, as editors save.
        let beside = self.folder.path().join("saving");
        fs::write(&beside, text)?;
        fs::rename(&beside, &path)?;
        let changed = Dirty::Paths(["index.html".into()].into());
        self.scanner.scan(&changed, clock())?;
        let remote = match self.publisher.remote() {
            Some(remote) => remote,
            None => self.publisher.refresh().await?,
        };
        let changeset = Arc::new(diff(remote.manifest(), self.scanner.manifest()));
        ensure!(changeset.len() == 1, "the page changed");
        let publication = Publication {
            changeset,
            site: Arc::new(self.scanner.files()),
            note: Note::default(),
            progress: Progress::Silent,
        };
        self.publisher.publish(&publication).await?;
        Ok(())
    }

    async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.task.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn saves(times: u32) -> Result<()> {
    let mut server = Server::start().await?;
    server.save(&page("first")).await?;
    for number in 0..times {
        server.save(&page(&format!("{number}"))).await?;
    }
    server.stop().await
}

async fn requests(times: u32, is_known: bool) -> Result<()> {
    let mut server = Server::start().await?;
    server.save(&page("first")).await?;
    let address = server.address;
    tokio::task::spawn_blocking(move || ask(address, times, is_known)).await??;
    server.stop().await
}

/// Asks for the page again and again over one connection.
fn ask(address: SocketAddr, times: u32, is_known: bool) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let plain = "GET / HTTP/1.1\r\nhost: bench\r\naccept-encoding: br\r\n";
    let mut request = format!("{plain}\r\n");
    let mut answer = first_answer(&mut stream, &request)?;
    let mut expected = "HTTP/1.1 200 ";
    if is_known {
        let head = String::from_utf8_lossy(&answer);
        let (_, after) = head.split_once("etag: ").context("a page has an ETag")?;
        let (etag, _) = after.split_once("\r\n").context("a header ends")?;
        request = format!("{plain}if-none-match: {etag}\r\n\r\n");
        answer = first_answer(&mut stream, &request)?;
        expected = "HTTP/1.1 304 ";
    }
    // Every further answer is as long as the first: counting bytes is all that this side does.
    for _ in 0..times {
        stream.write_all(request.as_bytes())?;
        stream.read_exact(&mut answer)?;
        ensure!(
            answer.starts_with(expected.as_bytes()),
            "the answer is another"
        );
    }
    Ok(())
}

/// Sends a request, and returns the whole answer.
fn first_answer(stream: &mut TcpStream, request: &str) -> Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 16 * 1024];
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the connection ended");
        answer.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("content-length: "))
            .filter(|_| !head.starts_with("HTTP/1.1 304 "))
            .map_or(Ok(0), str::parse::<usize>)?;
        if answer.len() >= head.len() + 4 + length {
            return Ok(answer);
        }
    }
}
