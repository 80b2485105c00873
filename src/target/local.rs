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
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Purpose, TargetError,
    server_file::{self, RunningServer},
};
use crate::{
    config::LocalTarget,
    publish::Endpoint,
    state_folder::{DATA_FOLDER, SiteState, create_volume_folder},
};

/// How many ports after the configured one are tried before the system chooses.
const PORTS_TRIED: u16 = 20;

/// How long a command waits for a process that has the volume to say where its server is.
const ATTACH_WAIT: Duration = Duration::from_secs(3);

/// Time between two looks while it waits.
const ATTACH_POLL: Duration = Duration::from_millis(50);

/// What the local target of one site is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalSiteServer<'a> {
    pub(super) config: &'a LocalTarget,
    pub(super) root: &'a Path,
    pub(super) state: &'a SiteState,
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
        let Some(store) = self.open_store().await? else {
            return match purpose {
                Purpose::Watch => Err(self.in_use()),
                Purpose::OneCommand => Ok((self.attach(secret).await?, None)),
            };
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
            ServerConfig::new(&self.config.volume, secret.clone()),
            store,
            listener,
            file.clone(),
        );
        running
            .store(&file)
            .map_err(|source| TargetError::ServerFile { path: file, source })?;
        Ok((self.endpoint(url, secret), Some(server)))
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

    /// Waits for the process that has the volume to say where its server is.
    async fn attach(self, secret: Secret) -> Result<Endpoint, TargetError> {
        let file = server_file::path(self.root);
        let look = async {
            loop {
                if let Some(running) = RunningServer::load(&file, &self.config.volume) {
                    return running;
                }
                tokio::time::sleep(ATTACH_POLL).await;
            }
        };
        match tokio::time::timeout(ATTACH_WAIT, look).await {
            Ok(running) => Ok(self.endpoint(running.url, secret)),
            Err(_) => Err(self.in_use()),
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
            secret_origin: self.state.secret_file().display().to_string(),
        }
    }

    /// Returns a listener on the configured address or, when it is taken, on the next free port.
    async fn listen(self, purpose: Purpose) -> Result<TcpListener, TargetError> {
        let wanted = match purpose {
            Purpose::Watch => self.config.address,
            // Nobody else is told the address: any port will do, on this machine alone.
            Purpose::OneCommand => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let last = wanted.port().saturating_add(PORTS_TRIED);
        // A port of 0 is never taken: the first try is the last.
        for port in (wanted.port()..=last).chain([0]) {
            match TcpListener::bind(SocketAddr::new(wanted.ip(), port)).await {
                Ok(listener) => return Ok(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && port != 0 => {}
                Err(source) => return Err(listening(wanted)(source)),
            }
        }
        Err(listening(wanted)(io::ErrorKind::AddrInUse.into()))
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
