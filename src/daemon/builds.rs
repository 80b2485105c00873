//! The builds of a daemon: sources are watched, the command runs, and the loop hears of its end.
//!
//! Owns the watcher of the sources, what was seen of them, and the run under way; when it runs is
//! decided by the pure [`Plan`]. Invariants: a run begins only when no look at the sources is under way
//! and no round scans the site folder; while one runs, and after one failed, the site may not be
//! published.

use std::{collections::BTreeSet, mem, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Daemon, hook_runs::HookRuns, wait_until};
use crate::{
    build::{
        Build, BuildError, SourceRules,
        plan::{Answer, Echo, Plan},
        survey::{Found, MAX_SOURCES, Survey},
    },
    config::{BuildConfig, Config, Quiet},
    error_report,
    hooks::HookRun,
    settle::Settle,
    site_folder::SiteFolder,
    state_folder::SiteState,
    watch::Watcher,
};

/// More sources than these are not told by name.
const TOLD_SOURCES: usize = 3;

/// The builds, between the daemon's start and its stop.
#[derive(Debug)]
pub struct Builds {
    build: Build,
    root: PathBuf,
    rules: Arc<SourceRules>,
    watcher: Watcher,
    settle: Settle,
    plan: Plan,
    /// Here while no look is under way.
    survey: Option<Survey>,
    looks: JoinSet<(Survey, Found)>,
    /// Why there is to be a look, once none is under way.
    wanted: Option<Why>,
    /// Why the look under way is.
    looking: Why,
    runs: JoinSet<Result<Duration, BuildError>>,
    stop: CancellationToken,
    /// Cancelled once the round under way has scanned the site folder.
    scanned: Option<CancellationToken>,
    is_told_too_many: bool,
    hooks: HookRuns,
}

/// Why the sources are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// What is there now is what the first run builds.
    Start,
    /// Something happened.
    Event,
    /// A run came to its end.
    RunEnded,
}

/// What the daemon's loop hears.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Something happened below the configuration's folder.
    Sources,
    /// A run began.
    Began,
    /// The site folder is as a run left it that succeeded, at this time.
    Succeeded(Instant),
    /// A run was ended for another.
    NotBuilt,
    /// A run failed for this reason, and the site is left as it is.
    Failed(String),
}

impl Builds {
    /// Begins to watch the sources; the first run begins with the first call of `next`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(config: &Config, build: &BuildConfig, state: &SiteState) -> Self {
        let rules = Arc::new(SourceRules::new(config, build));
        let folder = SiteFolder::new(config.root.clone());
        Self {
            build: Build::new(config, build, state),
            root: config.root.clone(),
            watcher: Watcher::start(folder, &config.watch, Arc::clone(&rules)),
            rules,
            settle: Settle::new(
                Quiet::Fixed(build.debounce),
                config.watch.max_wait.max(build.debounce),
            ),
            plan: Plan::new(build.on_change, Instant::now()),
            survey: Some(Survey::default()),
            looks: JoinSet::new(),
            wanted: Some(Why::Start),
            looking: Why::Start,
            runs: JoinSet::new(),
            stop: CancellationToken::new(),
            scanned: None,
            is_told_too_many: false,
            hooks: HookRuns::default(),
        }
    }

    /// Returns whether the site folder may be published.
    pub(super) const fn lets_publish(&self) -> bool {
        self.plan.lets_publish()
    }

    /// Returns whether the command runs.
    pub(super) const fn is_running(&self) -> bool {
        self.plan.is_running()
    }

    /// Runs the command once more where the last run failed and none is due: somebody asks.
    pub(super) fn try_again(&mut self) {
        self.plan.try_again(Instant::now());
    }

    /// Runs the command for events of a hook, with others that wait for the next run.
    pub(super) fn run_for(&mut self, run: HookRun) {
        self.hooks.want(run);
        // What was fetched for them is seen as changed before the run, and not during it.
        self.wanted.get_or_insert(Why::Event);
        self.plan.ask(Instant::now());
    }

    /// Returns which events the run was for that came to its end.
    pub(super) fn built_for(&mut self) -> Vec<HookRun> {
        self.hooks.ended()
    }

    /// Notes that a round begins, and will cancel `scanned` once it has scanned the site folder.
    pub(super) fn round_begins(&mut self, scanned: CancellationToken) {
        self.scanned = Some(scanned);
    }

    /// Waits for news of the builds.
    ///
    /// Cancel-safe: what is not returned stays for the next call. It has to be called again and again,
    /// since everything goes on only within it.
    ///
    /// # Errors
    ///
    /// When a look or a run panicked.
    pub(super) async fn next(&mut self) -> Result<Heard, JoinError> {
        loop {
            self.look_if_wanted();
            if self.is_clear() && self.plan.due().is_some_and(|at| at <= Instant::now()) {
                self.begin_run();
                return Ok(Heard::Began);
            }
            let due = self.plan.due().filter(|_| self.is_clear());
            tokio::select! {
                biased;
                // Cancel-safe, as tokio says of `join_next`.
                Some(ended) = self.runs.join_next() => return Ok(self.run_ended(ended?)),
                // As above.
                Some(looked) = self.looks.join_next() => self.looked(looked?),
                // Cancel-safe: only time passes, or a token is looked at.
                () = wait_until(self.settle.deadline()) => {
                    if self.settle.due(Instant::now()).is_some() {
                        self.wanted.get_or_insert(Why::Event);
                    }
                }
                () = wait_until(due) => {}
                () = scanned(self.scanned.as_ref()) => self.scanned = None,
                // Cancel-safe, as it says: a notice is handed over whole or stays.
                notice = self.watcher.next() => {
                    self.settle.event(notice);
                    // Not from here again, so that a storm of events keeps nobody else waiting.
                    return Ok(Heard::Sources);
                }
            }
        }
    }

    /// Returns whether a run may begin.
    fn is_clear(&self) -> bool {
        self.survey.is_some() && self.wanted.is_none() && self.scanned.is_none()
    }

    fn look_if_wanted(&mut self) {
        if self.wanted.is_none() {
            return;
        }
        let Some(mut survey) = self.survey.take() else {
            return;
        };
        self.looking = self.wanted.take().unwrap_or(Why::Event);
        let (root, rules) = (self.root.clone(), Arc::clone(&self.rules));
        self.looks.spawn_blocking(move || {
            let found = survey.look(&root, &rules);
            (survey, found)
        });
    }

    fn looked(&mut self, (survey, found): (Survey, Found)) {
        self.survey = Some(survey);
        if found.too_many && !mem::replace(&mut self.is_told_too_many, true) {
            tracing::warn!(
                "there are more than {MAX_SOURCES} sources, and the rest is not looked at: name the \
                 folders that matter in build.watch"
            );
        }
        let now = Instant::now();
        if !found.changed.is_empty() {
            tracing::debug!(sources = named(&found.changed), "sources changed");
        }
        match self.looking {
            Why::RunEnded => say(&self.plan.closed(found.changed, now)),
            Why::Start | Why::Event => {
                if self.plan.changed(found.changed, now) == Answer::Stop {
                    tracing::info!("sources changed: building again from the start");
                    self.stop.cancel();
                }
            }
        }
    }

    fn begin_run(&mut self) {
        self.plan.begun();
        self.stop = CancellationToken::new();
        let (build, stop) = (self.build.clone(), self.stop.clone());
        let events = self.hooks.begin();
        self.runs
            .spawn(async move { build.run(events.as_deref(), &stop).await });
    }

    fn run_ended(&mut self, ended: Result<Duration, BuildError>) -> Heard {
        let now = Instant::now();
        if self.plan.ended(ended.is_ok(), now) {
            // Also what has no event yet is seen as changed meanwhile.
            self.wanted = Some(Why::RunEnded);
        }
        let is_whole = self.plan.lets_publish();
        if matches!(ended, Err(BuildError::Stopped)) || (ended.is_ok() && !is_whole) {
            self.hooks.stopped();
        }
        match ended {
            Ok(took) => {
                let took = took.as_secs_f64() * 1e3;
                tracing::info!(build_ms = took.round(), "built in {took:.0} ms");
                if is_whole {
                    Heard::Succeeded(now)
                } else {
                    Heard::NotBuilt
                }
            }
            Err(BuildError::Stopped) => Heard::NotBuilt,
            Err(error) => {
                tracing::error!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "the site is left as it is: {}",
                    error.hint().unwrap_or_default()
                );
                Heard::Failed(error_report::with_causes(&error))
            }
        }
    }

    /// Ends the run under way with all that it started, and waits for it.
    pub(super) async fn stop(&mut self) {
        if self.plan.is_running() {
            tracing::info!("ending the build under way");
        }
        self.stop.cancel();
        while self.runs.join_next().await.is_some() {}
    }
}

/// Waits for news of the builds, where there are any. Cancel-safe, as [`Builds::next`] says.
pub(super) async fn next(builds: &mut Option<Builds>) -> Result<Heard, JoinError> {
    match builds {
        Some(builds) => builds.next().await,
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Takes in what became of a build: a success is published at once, and as a whole, since the
    /// events of what it wrote may still be on their way.
    pub(super) fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Sources | Heard::Began => self.warm(),
            Heard::Succeeded(at) => {
                self.is_built = true;
                self.agenda.built(at);
                self.hooks_built(at);
            }
            Heard::NotBuilt => self.is_built = false,
            Heard::Failed(error) => {
                self.is_built = false;
                self.standing.not_built(&error);
                self.not_built(&error);
                self.hooks_not_built(&error);
            }
        }
    }
}

async fn scanned(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

fn say(echo: &Echo) {
    match echo {
        Echo::None => {}
        Echo::Slowed(paths) => tracing::warn!(
            sources = named(paths),
            "{} changed while the command ran, several times in a row: if it writes them itself, leave \
             them out with build.watch",
            named(paths)
        ),
        Echo::Halted(paths) => tracing::warn!(
            sources = named(paths),
            "the build writes its own sources ({}), and is not run again before another save: leave \
             them out with build.watch",
            named(paths)
        ),
    }
}

fn named(paths: &BTreeSet<String>) -> String {
    let first = paths.iter().take(TOLD_SOURCES).map(String::as_str);
    let text = first.collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(TOLD_SOURCES) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
