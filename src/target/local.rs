//! The local target: the real server, inside this process, on a volume beside the configuration.
//!
//! Owns the server's task and its listener, and `server.json` while it runs. The server is stopped by
//! [`LocalServer::stop`]; dropping it instead cuts what is under way, which the volume survives.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use onsave_protocol::Secret;
use onsave_server::{ServeError, ServerConfig, Store, StoreOptions, store::StoreError};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Purpose, TargetError,
    server_file::{self, RunningServer},
};
use crate::{
    config::LocalTarget,
    free_port,
    publish::{Endpoint, LOCAL_TARGET},
    state_folder::{DATA_FOLDER, SiteState, create_volume_folder},
};

/// How long the volume, or the server that has it, is waited for.
const VOLUME_WAIT: Duration = Duration::from_secs(3);

/// Time between two looks while it waits.
const VOLUME_POLL: Duration = Duration::from_millis(50);

/// What the local target of one site is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalSiteServer<'a> {
    pub(super) config: &'a LocalTarget,
    pub(super) root: &'a Path,
    pub(super) state: &'a SiteState,
}

/// Who has the volume.
enum Volume {
    /// This process.
    Ours(Store),
    /// Another process, whose server is at this URL.
    ServedAt(String),
}

/// The server that runs in this process.
#[derive(Debug)]
pub(super) struct LocalServer {
    task: JoinSet<Result<(), ServeError>>,
    stop: CancellationToken,
    file: PathBuf,
}

impl LocalSiteServer<'_> {
    /// Starts the server, or finds the one that has the volume.
    pub(super) async fn open(
        self,
        purpose: Purpose,
    ) -> Result<(Endpoint, Option<LocalServer>), TargetError> {
        let secret = self.state.local_secret()?;
        create_volume_folder(self.root, &self.root.join(DATA_FOLDER))?;
        create_volume_folder(self.root, &self.config.volume)?;
        let store = match self.take_or_find(purpose).await? {
            Volume::Ours(store) => store,
            Volume::ServedAt(url) => return Ok((self.endpoint(url, secret), None)),
        };
        let file = server_file::path(self.root);
        // What a killed process left points nowhere.
        server_file::remove(&file).map_err(|source| TargetError::ServerFile {
            path: file.clone(),
            source,
        })?;
        let listener = self.listen(purpose).await?;
        let url = self.url_of(&listener)?;
        let running = RunningServer {
            url: url.clone(),
            pid: std::process::id(),
            volume: self.config.volume.clone(),
        };
        let server = LocalServer::start(
            ServerConfig {
                serving: self.config.serving.clone(),
                ..ServerConfig::new(&self.config.volume, secret.clone())
            },
            store,
            listener,
            file.clone(),
        );
        running
            .store(&file)
            .map_err(|source| TargetError::ServerFile { path: file, source })?;
        Ok((self.endpoint(url, secret), Some(server)))
    }

    /// Takes the volume or, for one command, finds the server that has it.
    ///
    /// Waits a moment where neither succeeds: another command may be about to end or to begin, and
    /// a process that was killed keeps the lock until the system is done with it.
    async fn take_or_find(self, purpose: Purpose) -> Result<Volume, TargetError> {
        let give_up = Instant::now() + VOLUME_WAIT;
        loop {
            if let Some(store) = self.open_store().await? {
                return Ok(Volume::Ours(store));
            }
            if purpose != Purpose::Watch
                && let Some(url) = self.running_server().await
            {
                return Ok(Volume::ServedAt(url));
            }
            if Instant::now() >= give_up {
                return Err(self.in_use());
            }
            sleep(VOLUME_POLL).await;
        }
    }

    /// Returns the URL of the server that has the volume, when it takes connections.
    ///
    /// What a killed process wrote may still stand there.
    async fn running_server(self) -> Option<String> {
        let file = server_file::path(self.root);
        let running = RunningServer::load(&file, &self.config.volume)?;
        let address = running.url.strip_prefix("http://")?;
        TcpStream::connect(address).await.ok()?;
        Some(running.url)
    }

    /// Returns the store, or nothing when another process has the volume.
    async fn open_store(self) -> Result<Option<Store>, TargetError> {
        let options = StoreOptions {
            keep_deploys: self.config.keep_deploys,
            ..StoreOptions::new(&self.config.volume)
        };
        let opened = tokio::task::spawn_blocking(move || Store::open(options)).await;
        match opened.map_err(TargetError::Died)? {
            Ok(store) => Ok(Some(store)),
            Err(StoreError::Locked { .. }) => Ok(None),
            Err(source) => Err(TargetError::Volume {
                volume: self.config.volume.clone(),
                source,
            }),
        }
    }

    fn in_use(self) -> TargetError {
        let file = server_file::path(self.root);
        let running = RunningServer::load(&file, &self.config.volume);
        TargetError::InUse {
            volume: self.config.volume.clone(),
            pid: running.map(|running| running.pid),
        }
    }

    fn endpoint(self, url: String, secret: Secret) -> Endpoint {
        Endpoint {
            url,
            secret,
            name: LOCAL_TARGET.to_owned(),
            secret_origin: self.state.secret_file().display().to_string(),
        }
    }

    /// Returns a listener on the configured address or, when it is taken, on the next free port.
    async fn listen(self, purpose: Purpose) -> Result<TcpListener, TargetError> {
        let wanted = match purpose {
            Purpose::Watch => self.config.address,
            // Nobody else is told the address: any port will do, on this machine alone.
            Purpose::OneCommand | Purpose::Look => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        free_port::listen(wanted).await.map_err(listening(wanted))
    }

    fn url_of(self, listener: &TcpListener) -> Result<String, TargetError> {
        let address = listener
            .local_addr()
            .map_err(listening(self.config.address))?;
        // An address that stands for all of the machine's is no address to connect to.
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Ok(format!("http://{}", SocketAddr::new(ip, address.port())))
    }
}

fn listening(address: SocketAddr) -> impl Fn(io::Error) -> TargetError {
    move |source| TargetError::Listen { address, source }
}

impl LocalServer {
    fn start(config: ServerConfig, store: Store, listener: TcpListener, file: PathBuf) -> Self {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let stopped = stop.clone().cancelled_owned();
        task.spawn(onsave_server::serve(config, store, listener, stopped));
        Self { task, stop, file }
    }

    /// Waits until the server ends by itself. Cancel-safe.
    pub(super) async fn failed(&mut self) -> TargetError {
        match self.ended().await {
            Ok(()) => TargetError::Ended,
            Err(error) => error,
        }
    }

    /// Ends the server after it finished what is under way.
    pub(super) async fn stop(mut self) -> Result<(), TargetError> {
        // First, so that no command is sent to a server that takes no more calls.
        if let Err(error) = server_file::remove(&self.file) {
            tracing::warn!(path = %self.file.display(), %error, "the file could not be removed");
        }
        self.stop.cancel();
        self.ended().await
    }

    async fn ended(&mut self) -> Result<(), TargetError> {
        match self.task.join_next().await {
            Some(Ok(outcome)) => outcome.map_err(TargetError::Serve),
            Some(Err(died)) => Err(TargetError::Died(died)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, num::NonZeroUsize};

    use onsave_protocol::Sha256Digest;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        publish::Publisher,
        surroundings::{Stream, Surroundings},
    };

    struct Site {
        folder: TempDir,
        config: LocalTarget,
        state: SiteState,
    }

    impl Site {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let surroundings = Surroundings {
                variables: BTreeMap::default(),
                working_folder: folder.path().into(),
                home: Some(folder.path().join("home")),
                host: "desk".into(),
                stderr: Stream::Other,
                program: None,
            };
            Self {
                config: LocalTarget {
                    address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    volume: folder.path().join(".onsave/volume"),
                    serving: onsave_server::config::Serving::default(),
                    keep_deploys: NonZeroUsize::MIN,
                },
                state: SiteState::locate(&surroundings, folder.path()).unwrap(),
                folder,
            }
        }

        fn target(&self) -> LocalSiteServer<'_> {
            LocalSiteServer {
                config: &self.config,
                root: self.folder.path(),
                state: &self.state,
            }
        }

        async fn open(
            &self,
            purpose: Purpose,
        ) -> Result<(Endpoint, Option<LocalServer>), TargetError> {
            self.target().open(purpose).await
        }
    }

    async fn answers(endpoint: &Endpoint) {
        let mut publisher = Publisher::new(endpoint.clone()).unwrap();
        let remote = publisher.refresh().await.unwrap();
        assert_eq!(remote.deploy_id(), None);
        assert_eq!(remote.manifest().tree_digest(), Sha256Digest::of(b""));
    }

    #[tokio::test]
    async fn a_watch_starts_the_server_and_leaves_nothing_pointing_at_it() {
        let site = Site::new();
        for _ in 0..2 {
            let (endpoint, server) = site.open(Purpose::Watch).await.unwrap();
            answers(&endpoint).await;
            let file = server_file::path(site.folder.path());
            let running = RunningServer::load(&file, &site.config.volume).unwrap();
            assert_eq!(
                (running.url, running.pid),
                (endpoint.url, std::process::id())
            );
            server.unwrap().stop().await.unwrap();
            assert!(!file.exists());
        }
        let ignored = fs::read(site.folder.path().join(".onsave/.gitignore")).unwrap();
        assert_eq!(ignored, b"*\n");
    }

    #[tokio::test]
    async fn a_command_finds_the_server_of_a_watch_and_a_second_watch_does_not_start() {
        let site = Site::new();
        let (watching, server) = site.open(Purpose::Watch).await.unwrap();
        let (endpoint, none) = site.open(Purpose::OneCommand).await.unwrap();
        assert!(none.is_none());
        assert_eq!(endpoint.url, watching.url);
        answers(&endpoint).await;
        let error = site.open(Purpose::Watch).await.unwrap_err();
        let process = format!("in use by process {}", std::process::id());
        assert!(error.to_string().ends_with(&process), "{error}");
        server.unwrap().stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_has_the_volume_and_no_server_is_named_as_such() {
        let site = Site::new();
        fs::create_dir_all(&site.config.volume).unwrap();
        let store = Store::open(StoreOptions::new(&site.config.volume)).unwrap();
        tokio::time::pause();
        let error = site.open(Purpose::OneCommand).await.unwrap_err();
        assert!(
            error.to_string().ends_with("in use by another process"),
            "{error}"
        );
        drop(store);
    }

    #[tokio::test]
    async fn the_next_port_is_taken_when_one_is_not_free() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut site = Site::new();
        site.config.address = taken.local_addr().unwrap();
        let listener = site.target().listen(Purpose::Watch).await.unwrap();
        let (port, wanted) = (
            listener.local_addr().unwrap().port(),
            site.config.address.port(),
        );
        assert_ne!(port, wanted);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_an_error_that_names_it() {
        let mut site = Site::new();
        // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
        site.config.address = "192.0.2.1:8080".parse().unwrap();
        let error = site.target().listen(Purpose::Watch).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server cannot listen on 192.0.2.1:8080"
        );
    }
}
