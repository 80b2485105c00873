//! `onsave watch`: opens the target, and hands everything to the daemon until Ctrl-C.

use std::{io::Write, sync::Arc};

use onsave_server::service_manager::ServiceManager;

use super::CommandError;
use crate::{
    after_publish::{self, Deliveries, Setup},
    config::{self, Config, ControlConfig, FlagLayer, Loaded, TargetConfig},
    config_watch::ConfigWatch,
    control::{Control, Loopback, Means, Token, errands::Errands, status::Status},
    daemon::{self, Builds, Parts},
    hooks::{HookService, PREFIX},
    ignore_rules::SharedRules,
    log_ring::LogRing,
    publish::PublishError,
    scan::Scanner,
    shutdown,
    site_folder::SiteFolder,
    site_lock::SiteLock,
    state_folder::SiteState,
    surroundings::Surroundings,
    target::{Purpose, Target},
    verify_live::LiveVerifier,
    watch::Watcher,
};

/// What joins the daemon to whoever started it.
struct Listeners<'a> {
    /// The service manager, where one started this process.
    manager: ServiceManager,
    /// Asks for another look at the configuration.
    config_watch: ConfigWatch,
    /// The last lines of the log.
    logs: LogRing,
    /// The person.
    out: &'a mut dyn Write,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`], when the daemon cannot start, or the embedded server ends by itself. What can
/// pass by itself (no site folder, no answer from the target) is waited for instead.
pub(super) async fn run(
    (loaded, logs): (Loaded, LogRing),
    state: &SiteState,
    (surroundings, flags): (&Surroundings, &FlagLayer),
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let stop = shutdown::signal().map_err(CommandError::Signals)?;
    state.create()?;
    let _ours_until_the_end = SiteLock::take(state).await?;
    let variable = |name: &str| surroundings.variable(name).map(ToOwned::to_owned);
    let mut manager = ServiceManager::find(&variable, std::process::id());
    // On Fly.io the first start makes the app, which takes a while.
    manager.status("opening the target");
    let mut config_watch = config_watch(&loaded, (surroundings, flags));
    if manager.is_present() {
        let hangups = shutdown::hangups().map_err(CommandError::Signals)?;
        config_watch = config_watch.with_hangups(hangups);
    }
    let config = Arc::new(loaded.config);
    let mut target = Target::open(&config, state, Purpose::Watch).await?;
    let listeners = Listeners {
        manager,
        config_watch,
        logs,
        out,
    };
    // Large, and held across everything that happens.
    let outcome = Box::pin(watch(&config, state, &mut target, (stop, listeners))).await;
    let closed = target.close().await;
    outcome?;
    closed.map_err(CommandError::from)
}

async fn watch(
    config: &Arc<Config>,
    state: &SiteState,
    target: &mut Target,
    (stop, listeners): (impl Future<Output = ()>, Listeners<'_>),
) -> Result<(), CommandError> {
    let Listeners {
        manager,
        config_watch,
        logs,
        out,
    } = listeners;
    let live = LiveVerifier::of_site(&config.publish, target.url()).map_err(|source| {
        let url = config.publish.site_url(target.url()).to_owned();
        CommandError::Publish(PublishError::NoAnswer { url, source })
    })?;
    let folder = SiteFolder::new(config.dir.clone());
    let rules = Arc::new(SharedRules::default());
    let (mut hooks, hook_runs) = HookService::open(config, state)?.unzip();
    let setup = Setup::of(config, state, target);
    let mut publisher = target.publisher()?;
    Box::pin(after_publish::prepare(&setup, &mut publisher)).await?;
    let status = Status {
        dir: config.dir.display().to_string(),
        url: config.publish.site_url(target.url()).to_owned(),
        ..Status::starting(&config.app)
    };
    let errands =
        Errands::new(Arc::clone(config), state.clone(), &publisher).telling(setup.clone());
    let means = Means {
        errands: Some(errands),
        logs,
        hooks: hooks
            .as_ref()
            .filter(|_| config.hooks.listen.is_none())
            .map(HookService::hooks),
    };
    let parts = Parts {
        watcher: Watcher::start(folder.clone(), &config.watch, Arc::clone(&rules)),
        scanner: Scanner::new(folder, state.folder().to_owned(), rules),
        builds: config
            .build
            .as_ref()
            .map(|build| Builds::start(config, build, state)),
        publisher,
        deliveries: Deliveries::start(setup),
        mender: target.take_mender(),
        live,
        last_publish: state.last_publish(),
        rhythm: state.rhythm(),
        target: target.identity().to_owned(),
        target_url: target.url().to_owned(),
        config_watch,
        manager,
        control: control(config, state, (status, means)).await,
        hooks: hook_runs,
    };
    writeln!(out, "watching {}", config.dir.display())?;
    let doing = match config.target {
        TargetConfig::Local(_) => "serving at",
        TargetConfig::Url(_) | TargetConfig::Fly(_) => "publishing to",
    };
    writeln!(out, "{doing} {}", target.url())?;
    if let Some(hooks) = &mut hooks {
        listen(hooks, config, out).await?;
    }
    out.flush()?;
    tokio::select! {
        outcome = daemon::run(parts, Arc::clone(config), stop) => Ok(outcome?),
        error = target.failed() => Err(error.into()),
    }
}

/// Lets the hooks answer at their own address, where they have one; otherwise, the API's does.
async fn listen(
    hooks: &mut HookService,
    config: &Config,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    if let Some(address) = config.hooks.listen {
        let address = hooks.listen(address).await?;
        writeln!(out, "answering hooks at http://{address}{PREFIX}")?;
    } else if config.control.listen.is_some() {
        tracing::info!("hooks are answered where the dashboard is, below {PREFIX}");
    } else {
        tracing::warn!("no hook is answered: set hooks.listen, such as \"127.0.0.1:4748\"");
    }
    Ok(())
}

/// Returns what reads the configuration again, from the layers of this process.
fn config_watch(
    loaded: &Loaded,
    (surroundings, flags): (&Surroundings, &FlagLayer),
) -> ConfigWatch {
    let layers = (surroundings.clone(), flags.clone());
    ConfigWatch::new(
        Arc::new(move || config::load_for_daemon(&layers.0, &layers.1)),
        loaded.config.file_or_default(),
        loaded.settings.clone(),
    )
}

/// Listens for whoever asks; without listeners, the daemon does its work all the same.
async fn control(config: &Arc<Config>, state: &SiteState, means: (Status, Means)) -> Control {
    let (status, means) = means;
    let mut control = Control::new(status, means);
    let path = state.control_socket();
    if let Err(error) = control.listen_at(path.clone()) {
        tracing::warn!(
            path = %path.display(), %error,
            "`onsave status` will not find this daemon: its socket cannot be made"
        );
    }
    match loopback(&config.control, state).await {
        Ok(None) => {}
        Ok(Some(loopback)) => {
            tracing::info!(
                "the dashboard is at {}; `onsave open` shows it",
                loopback.url()
            );
            control.listen_on(loopback);
        }
        Err(error) => {
            let error = crate::error_report::with_causes(error.as_ref());
            tracing::warn!("there is no dashboard: {error}; control.listen names its address");
        }
    }
    control
}

async fn loopback(
    config: &ControlConfig,
    state: &SiteState,
) -> Result<Option<Loopback>, Box<dyn std::error::Error + Send + Sync>> {
    if config.listen.is_none() {
        return Ok(None);
    }
    let token = Token::new(state.control_token()?);
    Ok(Loopback::bind(config, token).await?)
}
