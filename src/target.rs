//! Where a site is published to: the server embedded in this process, one that runs elsewhere, or an
//! app on Fly.io.
//!
//! Owns the embedded server's life. Whoever publishes sees an address and a secret either way: the
//! embedded server is the real one, spoken to over a socket.
//!
//! The volume of the local target belongs to one process at a time. A command that finds a `watch`
//! there speaks to the server in it; a `watch` that finds another says so and ends.

mod fly;
mod local;
mod server_file;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use onsave_server::{ServeError, store::StoreError};

pub use self::fly::Mender;
use self::local::LocalServer;
use crate::{
    config::{Config, LocalTarget, TargetConfig, UrlTarget},
    kept_versions::KeptVersions,
    provision::{ProvisionError, Site},
    publish::{Endpoint, PublishError, Publisher},
    state_folder::{SiteState, StateError},
};

/// What a target is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To publish each save and to serve the site meanwhile.
    Watch,
    /// For one command, which ends at once.
    OneCommand,
    /// For one command that only asks a server that is there: nothing is made for it.
    Look,
}

/// Where a site is published to.
#[derive(Debug)]
pub struct Target {
    endpoint: Endpoint,
    identity: String,
    server: Option<LocalServer>,
    mender: Option<Mender>,
    /// What saves are sent as differences to; nothing where the server is in this process, and bytes
    /// cost less than differences.
    versions: Option<Arc<KeptVersions>>,
}

/// The target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The app on Fly.io is not there, and could not be made.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// There is no app on Fly.io yet, and the command makes none.
    #[error("there is no app {app} on Fly.io that was made from here")]
    NoApp {
        /// The app.
        app: String,
    },
    /// Another process has the volume.
    #[error("the volume {} is in use by {}", volume.display(), process(*pid))]
    InUse {
        /// The volume's folder.
        volume: PathBuf,
        /// The process, as far as it told.
        pid: Option<u32>,
    },
    /// The volume cannot be opened.
    #[error("the volume {} cannot be opened", volume.display())]
    Volume {
        /// The volume's folder.
        volume: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// No address is free.
    #[error("the server cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Other commands could not be told where the server is.
    #[error("failed to write {}", path.display())]
    ServerFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The embedded server failed.
    #[error("the embedded server failed")]
    Serve(#[source] ServeError),
    /// The embedded server ended though nobody asked it to.
    #[error("the embedded server ended")]
    Ended,
    /// A task or a worker thread died.
    #[error("a part of the embedded server died")]
    Died(#[source] tokio::task::JoinError),
}

impl TargetError {
    /// Returns what to do next, where there is more to say than the error does.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => Some(error.hint()),
            Self::Provision(error) => error.hint(),
            Self::NoApp { .. } => Some("`onsave publish` or `onsave provision` makes it".into()),
            Self::InUse { .. } => {
                Some("stop that process, or set another local.volume for this site".into())
            }
            Self::Volume { volume, .. } => Some(format!(
                "`onsave-server --verify` with SITE_DATA_ROOT={} says what is damaged; the site folder itself is untouched",
                volume.display()
            )),
            Self::Listen { .. } => {
                Some("set another address with --address or local.address".into())
            }
            Self::ServerFile { path, .. } => {
                let folder = path.parent().unwrap_or(path);
                Some(format!("make {} writable for you", folder.display()))
            }
            Self::Serve(_) | Self::Ended | Self::Died(_) => None,
        }
    }
}

/// Returns where the server of a running `watch` says that it is, for the volume of a local target:
/// its URL and its process. Whether it is still there is not asked.
#[must_use]
pub fn announced_server(config: &LocalTarget, root: &Path) -> Option<(String, u32)> {
    let running = server_file::RunningServer::load(&server_file::path(root), &config.volume)?;
    Some((running.url, running.pid))
}

fn kept_versions(state: &SiteState) -> Arc<KeptVersions> {
    Arc::new(KeptVersions::new(state.kept_versions()))
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

impl Target {
    /// Opens the configured target; the local one starts its server, or finds the one that runs.
    ///
    /// # Errors
    ///
    /// [`TargetError`]. A server elsewhere is not asked anything yet.
    pub async fn open(
        config: &Config,
        state: &SiteState,
        purpose: Purpose,
    ) -> Result<Self, TargetError> {
        match &config.target {
            TargetConfig::Url(url) => Ok(Self::elsewhere(url, state)),
            TargetConfig::Local(local) => {
                let site = local::LocalSiteServer {
                    config: local,
                    root: &config.root,
                    state,
                };
                let (endpoint, server) = site.open(purpose).await?;
                Ok(Self {
                    endpoint,
                    // The port may be another one next time; the volume is the same.
                    identity: local.volume.display().to_string(),
                    server,
                    mender: None,
                    versions: None,
                })
            }
            TargetConfig::Fly(target) => {
                let site = Site {
                    config,
                    target,
                    state,
                };
                let (endpoint, mender) = match purpose {
                    Purpose::Watch | Purpose::OneCommand => {
                        let (endpoint, mender) = fly::open(site).await?;
                        (endpoint, Some(mender))
                    }
                    Purpose::Look => (fly::remembered(site)?, None),
                };
                Ok(Self {
                    identity: endpoint.url.clone(),
                    endpoint,
                    server: None,
                    mender,
                    versions: Some(kept_versions(state)),
                })
            }
        }
    }

    fn elsewhere(target: &UrlTarget, state: &SiteState) -> Self {
        Self {
            endpoint: Endpoint {
                url: target.url.clone(),
                secret: target.secret.clone(),
                name: target.url.trim_end_matches('/').to_owned(),
                secret_origin: target.secret_source.to_string(),
            },
            identity: target.url.clone(),
            server: None,
            mender: None,
            versions: Some(kept_versions(state)),
        }
    }

    /// Returns the server's address: scheme, host and port.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// Returns where the site is published, for a person: the address, or the volume's folder when
    /// the server there ends with the command.
    #[must_use]
    pub fn place(&self) -> &str {
        match self.server {
            Some(_) => &self.identity,
            None => &self.endpoint.url,
        }
    }

    /// Returns what tells this target from others, also when its address changes.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns a publisher to this target.
    ///
    /// # Errors
    ///
    /// As [`Publisher::new`].
    pub fn publisher(&self) -> Result<Publisher, PublishError> {
        let publisher = Publisher::new(self.endpoint.clone())?;
        Ok(match &self.versions {
            Some(versions) => publisher.keeping(Arc::clone(versions)),
            None => publisher,
        })
    }

    /// Returns what finds or makes another secret when the server refuses this one; nothing where
    /// only a person can. To be taken once.
    #[must_use]
    pub const fn take_mender(&mut self) -> Option<Mender> {
        self.mender.take()
    }

    /// Waits until the embedded server ends by itself, which it should not; forever where there is
    /// none. Cancel-safe.
    pub async fn failed(&mut self) -> TargetError {
        match &mut self.server {
            Some(server) => server.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the embedded server, if it was started here, after it finished what is under way.
    ///
    /// # Errors
    ///
    /// [`TargetError`] when it did not end well; what was committed stays.
    pub async fn close(self) -> Result<(), TargetError> {
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}
