//! `onsave watch`: opens the target, and hands everything to the daemon until Ctrl-C.

use std::{io::Write, sync::Arc};

use super::CommandError;
use crate::{
    config::{Config, PublishConfig, TargetConfig},
    daemon::{self, Parts},
    ignore_rules::SharedRules,
    publish::PublishError,
    scan::Scanner,
    shutdown,
    site_folder::SiteFolder,
    state_folder::SiteState,
    target::{Purpose, Target},
    verify_live::LiveVerifier,
    watch::Watcher,
};

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`], when the daemon cannot start, or the embedded server ends by itself. What can
/// pass by itself (no site folder, no answer from the target) is waited for instead.
pub(super) async fn run(
    config: Config,
    state: &SiteState,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let stop = shutdown::signal().map_err(CommandError::Signals)?;
    state.create()?;
    let mut target = Target::open(&config, state, Purpose::Watch).await?;
    let config = Arc::new(config);
    let outcome = watch(&config, state, &mut target, stop, out).await;
    let closed = target.close().await;
    outcome?;
    closed.map_err(CommandError::from)
}

async fn watch(
    config: &Arc<Config>,
    state: &SiteState,
    target: &mut Target,
    stop: impl Future<Output = ()>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let folder = SiteFolder::new(config.dir.clone());
    let rules = Arc::new(SharedRules::default());
    let parts = Parts {
        watcher: Watcher::start(folder.clone(), &config.watch, Arc::clone(&rules)),
        scanner: Scanner::new(folder, state.folder().to_owned(), rules),
        publisher: target.publisher()?,
        mender: target.take_mender(),
        live: live_verifier(&config.publish, target.url())?,
        last_publish: state.last_publish(),
        target: target.identity().to_owned(),
    };
    writeln!(out, "watching {}", config.dir.display())?;
    let doing = match config.target {
        TargetConfig::Local(_) => "serving at",
        TargetConfig::Url(_) | TargetConfig::Fly(_) => "publishing to",
    };
    writeln!(out, "{doing} {}", target.url())?;
    out.flush()?;
    tokio::select! {
        outcome = daemon::run(parts, Arc::clone(config), stop) => Ok(outcome?),
        error = target.failed() => Err(error.into()),
    }
}

fn live_verifier(
    config: &PublishConfig,
    target_url: &str,
) -> Result<Option<LiveVerifier>, CommandError> {
    if !config.verify_live {
        return Ok(None);
    }
    let url = config.public_url.as_deref().unwrap_or(target_url);
    LiveVerifier::new(url).map(Some).map_err(|source| {
        CommandError::Publish(PublishError::NoAnswer {
            url: url.to_owned(),
            source,
        })
    })
}
