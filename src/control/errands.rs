//! What a caller wants to know or have done that the daemon's rounds need not do: it is asked of the
//! server, of the site folder or of the platform beside them.
//!
//! Owns a publisher and a scanner of its own, so that no save ever waits for a look: a round keeps its
//! own, both see the same disk and the same server, and the server refuses whoever is not up to date.
//! The connection and the secret are shared. One look at the folder is under way at a time, and
//! nothing is written to the state folder.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::StatusCode;
use onsave_protocol::{
    Changeset, DeployId, Manifest, SitePath,
    wire::v2::{DeployDetail, DeployList},
};
use tokio::{sync::Mutex, task::JoinError};

use super::{
    answers::{
        Deliveries, DeployChanges, MOST_PATHS, Pending, Rebuilt, ServerFacts, ServerHealth,
        WentBack,
    },
    status::{Change, ChangedPath},
};
use crate::{
    after_publish::{self, DeliveryId, Letters, LettersError, Setup},
    config::{Config, TargetConfig},
    dirty::Dirty,
    ignore_rules::SharedRules,
    provision::{self, Goal, Outcome, ProvisionError, Provisioner, ServerWish, Site, Teller},
    publish::{FailureKind, Generation, PublishError, Publisher, RemoteState, Scope},
    scan::{Scan, ScanError, Scanner},
    site_folder::SiteFolder,
    state_folder::SiteState,
    surroundings::Stream,
    wall_clock,
};

/// Why an errand came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ErrandError {
    /// The server did not do it.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// There is no such deploy any more.
    #[error("the server keeps no deploy {0}")]
    NoSuchDeploy(DeployId),
    /// The site folder cannot be looked at.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// There is none.
    #[error("there is no site folder")]
    NoSiteFolder,
    /// The server is none that this program made.
    #[error("only a server on Fly.io can be rebuilt from here")]
    NotFly,
    /// The platform cannot be asked.
    #[error("there is nothing to ask Fly.io with")]
    NoPlatform,
    /// It is being done.
    #[error("the server is being rebuilt already")]
    Rebuilding,
    /// The platform did not do it.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// A delivery cannot be listed or changed.
    #[error(transparent)]
    Deliveries(#[from] LettersError),
    /// A look panicked.
    #[error("a look at the site folder failed")]
    Worker(#[from] JoinError),
}

impl ErrandError {
    /// Returns the status and the stable code.
    pub(super) fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Publish(PublishError::NoEarlierDeploy) => {
                (StatusCode::CONFLICT, "no_earlier_deploy")
            }
            Self::Publish(error) => match error.kind() {
                FailureKind::Unreachable => (StatusCode::BAD_GATEWAY, "server_unreachable"),
                FailureKind::Refused => (StatusCode::BAD_GATEWAY, "server_refused"),
                FailureKind::SiteFolder => (StatusCode::CONFLICT, "site_folder"),
                FailureKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            },
            Self::NoSuchDeploy(_) => (StatusCode::NOT_FOUND, "no_such_deploy"),
            Self::Scan(_) | Self::NoSiteFolder => (StatusCode::CONFLICT, "site_folder"),
            Self::NotFly => (StatusCode::CONFLICT, "not_fly"),
            Self::NoPlatform => (StatusCode::CONFLICT, "no_platform_token"),
            Self::Rebuilding => (StatusCode::CONFLICT, "rebuilding"),
            Self::Provision(_) => (StatusCode::BAD_GATEWAY, "platform_failed"),
            Self::Deliveries(LettersError::Unknown { .. }) => {
                (StatusCode::NOT_FOUND, "no_such_delivery")
            }
            Self::Deliveries(LettersError::OnItsWay { .. }) => (StatusCode::CONFLICT, "on_its_way"),
            Self::Deliveries(LettersError::Queue(_)) | Self::Worker(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        }
    }

    /// Returns what to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Publish(error) => Some(error.hint()),
            Self::NoSuchDeploy(_) => Some("GET /v1/deploys lists those that it keeps".to_owned()),
            Self::Provision(error) => error.hint(),
            Self::Deliveries(error) => Some(error.hint()),
            Self::NoSiteFolder => Some("build the site first".to_owned()),
            Self::NotFly => Some("replace the server where it runs".to_owned()),
            Self::NoPlatform => Some(
                "start the daemon with a token in FLY_ACCESS_TOKEN, or with fly.token_file"
                    .to_owned(),
            ),
            Self::Rebuilding => Some("GET /v1/server tells when it is over".to_owned()),
            Self::Scan(_) | Self::Worker(_) => None,
        }
    }
}

/// Does errands for one site.
#[derive(Debug)]
pub struct Errands {
    config: Arc<Config>,
    state: SiteState,
    /// For calls that only ask the server.
    publisher: Mutex<Publisher>,
    look: Mutex<Look>,
    rebuilding: AtomicBool,
    /// Who is told of a rollback; it may be of the time before a reload.
    others: Option<Setup>,
}

/// What a look at the site folder works with.
#[derive(Debug)]
struct Look {
    /// Not here while it is lent to a scan, and lost where one panicked.
    scanner: Option<Scanner>,
    publisher: Publisher,
}

impl Errands {
    /// Returns the errands of a site that is published by `publisher`.
    #[must_use]
    pub fn new(config: Arc<Config>, state: SiteState, publisher: &Publisher) -> Self {
        Self {
            config,
            state,
            publisher: Mutex::new(publisher.beside()),
            look: Mutex::new(Look {
                scanner: None,
                publisher: publisher.beside(),
            }),
            rebuilding: AtomicBool::new(false),
            others: None,
        }
    }

    /// Has others told of what is current after a rollback.
    #[must_use]
    pub fn telling(self, others: Setup) -> Self {
        Self {
            others: Some(others),
            ..self
        }
    }

    /// Lists the deploys that the server keeps, the newest first.
    pub(super) async fn deploys(&self) -> Result<DeployList, ErrandError> {
        let deploys = self.publisher.lock().await.deploys().await?;
        Ok(DeployList { deploys })
    }

    /// Tells what one deploy changed.
    pub(super) async fn deploy(&self, id: DeployId) -> Result<DeployChanges, ErrandError> {
        match self.publisher.lock().await.deploy(id).await {
            Ok(detail) => Ok(deploy_changes(detail)),
            Err(PublishError::Refused { status: 404, .. }) => Err(ErrandError::NoSuchDeploy(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an earlier deploy current.
    pub(super) async fn roll_back(&self, to: Option<DeployId>) -> Result<WentBack, ErrandError> {
        let id = to.map(|id| id.to_string());
        let mut publisher = self.publisher.lock().await;
        let outcome = publisher.rollback(id.as_deref()).await;
        if let (Ok(went), Some(others)) = (&outcome, &self.others) {
            let previous = went.previous.clone();
            Box::pin(after_publish::record_rollback(
                others,
                &mut publisher,
                previous,
            ))
            .await;
        }
        match (outcome, to) {
            (Ok(went), _) => Ok(WentBack {
                deploy_id: went.deploy_id,
                previous_deploy_id: went.previous,
                files: went.files,
            }),
            (
                Err(PublishError::Refused {
                    status: 400 | 404, ..
                }),
                Some(id),
            ) => Err(ErrandError::NoSuchDeploy(id)),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Lists what is still to be told of publishes, and what was put aside.
    pub(super) async fn deliveries(&self) -> Result<Deliveries, ErrandError> {
        self.of_letters(|_| Ok(())).await
    }

    /// Lets a delivery be made again, and lists what is there then.
    pub(super) async fn resend(&self, id: DeliveryId) -> Result<Deliveries, ErrandError> {
        self.of_letters(move |letters| letters.resend(&id)).await
    }

    /// Gives a delivery up, and lists what is there then.
    pub(super) async fn give_up(&self, id: DeliveryId) -> Result<Deliveries, ErrandError> {
        self.of_letters(move |letters| letters.drop(&id)).await
    }

    async fn of_letters(
        &self,
        change: impl FnOnce(&Letters) -> Result<(), LettersError> + Send + 'static,
    ) -> Result<Deliveries, ErrandError> {
        let letters = Letters::in_folder(&self.state.deliveries());
        let listed = tokio::task::spawn_blocking(move || {
            change(&letters)?;
            Ok::<_, LettersError>(letters.list()?)
        });
        let deliveries = listed.await??;
        Ok(Deliveries { deliveries })
    }

    /// Tells what a publish would change now.
    pub(super) async fn pending(&self) -> Result<Pending, ErrandError> {
        let mut look = self.look.lock().await;
        let look = &mut *look;
        let scanner = look.scanner.take();
        let mut scanner = scanner.unwrap_or_else(|| self.new_scanner());
        let (scanner, found) = tokio::task::spawn_blocking(move || {
            let found = scanner.scan(&Dirty::Everything, wall_clock::now());
            (scanner, found)
        })
        .await?;
        let scanner = look.scanner.insert(scanner);
        if matches!(found?, Scan::Absent) {
            return Err(ErrandError::NoSiteFolder);
        }
        look.publisher.refresh().await?;
        let changeset = look.publisher.changeset(scanner.manifest(), Scope::Whole);
        let remote = look.publisher.remote();
        Ok(pending(&changeset, remote))
    }

    fn new_scanner(&self) -> Scanner {
        Scanner::new(
            SiteFolder::new(self.config.dir.clone()),
            self.state.folder().to_owned(),
            Arc::new(SharedRules::default()),
        )
    }

    /// Tells what the server is.
    pub(super) async fn server(&self) -> Result<ServerFacts, ErrandError> {
        let mut publisher = self.publisher.lock().await;
        publisher.refresh().await?;
        let health = match publisher.generation() {
            Some(Generation::V2) => {
                let health = publisher.health().await?;
                let client = env!("CARGO_PKG_VERSION");
                Some(ServerHealth {
                    outdated: provision::is_older(&health.server_version, client),
                    version: health.server_version,
                    current_deploy_id: health.current_deploy_id,
                    kept_deploys: publisher.deploys().await?.len(),
                    files: health.files,
                    bytes: health.bytes,
                    volume_bytes: health.volume_bytes,
                    volume_free_bytes: health.volume_free_bytes,
                })
            }
            Some(Generation::V1) | None => None,
        };
        Ok(ServerFacts {
            url: publisher.url().to_owned(),
            kind: match self.config.target {
                TargetConfig::Local(_) => "local",
                TargetConfig::Url(_) => "url",
                TargetConfig::Fly(_) => "fly",
            },
            client_version: env!("CARGO_PKG_VERSION"),
            can_rebuild: match &self.config.target {
                TargetConfig::Fly(target) => target.reaches_platform(),
                TargetConfig::Local(_) | TargetConfig::Url(_) => false,
            },
            rebuilding: self.rebuilding.load(Ordering::Relaxed),
            health,
        })
    }

    /// Replaces the server on Fly.io by the one that belongs to this program; takes minutes.
    pub(super) async fn rebuild(&self) -> Result<Rebuilt, ErrandError> {
        let TargetConfig::Fly(target) = &self.config.target else {
            return Err(ErrandError::NotFly);
        };
        if !target.reaches_platform() {
            return Err(ErrandError::NoPlatform);
        }
        if self.rebuilding.swap(true, Ordering::Relaxed) {
            return Err(ErrandError::Rebuilding);
        }
        let _under_way = UnderWay(&self.rebuilding);
        let site = Site {
            config: &self.config,
            target,
            state: &self.state,
        };
        // Nobody stands at a terminal who could choose.
        let provisioner = Provisioner::new(site, &|_| None)?;
        let goal = Goal {
            server: ServerWish::Rebuild,
            ..Goal::AS_CONFIGURED
        };
        tracing::info!("rebuilding the server, as somebody asked");
        let found = provisioner.look(goal).await?;
        let mut teller = Teller::stderr(Stream::Other);
        let outcome = provisioner.apply(found, &mut teller).await?;
        tracing::info!("the server was rebuilt");
        Ok(rebuilt(outcome))
    }
}

/// Notes the end of a rebuild, however it ends.
struct UnderWay<'a>(&'a AtomicBool);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn rebuilt(outcome: Outcome) -> Rebuilt {
    Rebuilt {
        app: outcome.app,
        steps: outcome.steps.iter().map(ToString::to_string).collect(),
        remarks: outcome.remarks,
        live_url: outcome.live_url,
        server_version: outcome.health.map(|health| health.server_version),
    }
}

fn deploy_changes(detail: DeployDetail) -> DeployChanges {
    let named = |change, paths: Vec<SitePath>| paths.into_iter().map(move |path| (change, path));
    let all = named(Change::Added, detail.added)
        .chain(named(Change::Changed, detail.changed))
        .chain(named(Change::Removed, detail.removed));
    let mut paths: Vec<ChangedPath> = all
        .map(|(change, path)| ChangedPath {
            path: path.to_string(),
            change,
        })
        .collect();
    let more_paths = paths.len().saturating_sub(MOST_PATHS);
    paths.truncate(MOST_PATHS);
    DeployChanges {
        summary: detail.summary,
        paths,
        more_paths,
    }
}

fn pending(changeset: &Changeset, remote: Option<&RemoteState>) -> Pending {
    let empty = Manifest::new();
    let before = remote.map_or(&empty, RemoteState::manifest);
    let mut pending = Pending {
        base_deploy_id: remote.and_then(|remote| remote.deploy_id().map(str::to_owned)),
        removed: changeset.removes.len(),
        ..Pending::default()
    };
    let mut paths = Vec::new();
    for (path, entry) in &changeset.puts {
        pending.bytes += entry.size;
        let change = if before.get(path.as_str()).is_some() {
            pending.changed += 1;
            Change::Changed
        } else {
            pending.added += 1;
            Change::Added
        };
        paths.push((path, change));
    }
    paths.extend(changeset.removes.iter().map(|path| (path, Change::Removed)));
    paths.sort_unstable_by_key(|(path, _)| *path);
    pending.more_paths = paths.len().saturating_sub(MOST_PATHS);
    let first = mem::take(&mut paths).into_iter().take(MOST_PATHS);
    pending.paths = first
        .map(|(path, change)| ChangedPath {
            path: path.to_string(),
            change,
        })
        .collect();
    pending
}

#[cfg(test)]
mod tests {
    use onsave_protocol::{FileEntry, Sha256Digest};

    use super::*;

    fn changeset(puts: &[&str], removes: &[&str]) -> Changeset {
        let entry = FileEntry {
            digest: Sha256Digest::of(b"x"),
            size: 7,
        };
        let path = |text: &&str| SitePath::parse(text).unwrap();
        Changeset {
            puts: puts.iter().map(|text| (path(text), entry)).collect(),
            removes: removes.iter().map(path).collect(),
        }
    }

    #[test]
    fn what_is_pending_is_told_apart_and_in_order() {
        let mut remote = RemoteState::default();
        remote.advance(&changeset(&["b", "c"], &[]), "1-00000000".into());
        let told = pending(&changeset(&["a", "b"], &["c"]), Some(&remote));
        assert_eq!((told.added, told.changed, told.removed), (1, 1, 1));
        assert_eq!(told.bytes, 14);
        assert_eq!(told.base_deploy_id.as_deref(), Some("1-00000000"));
        let paths: Vec<_> = told
            .paths
            .iter()
            .map(|changed| (changed.path.as_str(), changed.change))
            .collect();
        let expected = [
            ("a", Change::Added),
            ("b", Change::Changed),
            ("c", Change::Removed),
        ];
        assert_eq!(paths, expected);
        assert_eq!(told.more_paths, 0);
    }

    #[test]
    fn a_large_difference_is_counted() {
        let names: Vec<String> = (0..MOST_PATHS + 3).map(|n| format!("p{n:04}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let told = pending(&changeset(&names, &[]), None);
        assert_eq!(told.added, MOST_PATHS + 3);
        assert_eq!(told.paths.len(), MOST_PATHS);
        assert_eq!(told.more_paths, 3);
        assert_eq!(told.base_deploy_id, None);
    }
}
