//! The daemon: watches the site folder and publishes each save, until it is told to stop.
//!
//! Owns the wiring and the one `select!` loop that puts events in order; every decision is made in a
//! stage of its own:
//!
//! ```text
//! watch ─ notice ─► settle ─ batch ─► agenda ─ order ─► round: scan, diff, guard, publish
//!                                       ▲                 │
//!                                       └──── ended ──────┴──► speech, live check, upkeep
//! ```
//!
//! Invariants: at most one round is under way, and it has the scanner and the publisher; what
//! happens meanwhile merges into the next. A round that fails changes nothing but when the next one
//! is. The loop itself never waits for disk or network.
//!
//! Where a build command is configured, [`Builds`] say when it succeeded, and nothing is published
//! while it runs or after it failed.

mod agenda;
mod alarm;
mod builds;
mod hook_runs;
mod live_checks;
mod reload;
mod requests;
mod round;
mod speech;
mod standing;
mod telling;
mod upkeep;

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use onsave_server::service_manager::ServiceManager;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::builds::Builds;
use self::{
    agenda::{Agenda, Ended, Owed, Proof},
    alarm::Bell,
    requests::Requests,
    round::{Finished, Hands, Outcome, Recheck, Start},
    speech::Speech,
    standing::{Doing, Standing},
    upkeep::Upkeep,
};
use crate::{
    after_publish::Deliveries,
    config::Config,
    config_watch::ConfigWatch,
    control::Control,
    dirty::{Cause, Dirty, News, Notice},
    hooks::HookRun,
    last_publish::LastPublish,
    publish::{PublishError, Publisher, RetryClass, Warmer},
    scan::Scanner,
    settle::Settle,
    target::Mender,
    verify_live::{LiveCheck, LiveVerdict, LiveVerifier},
    watch::{WatchHealth, Watcher},
};

/// How long a round under way may take at the stop, before it is given up. The server then has the
/// old deploy or the new one, and the next start finds out which.
const LAST_ROUND: Duration = Duration::from_secs(5);

/// A round that takes longer is told to the service manager: an ordinary save is over before anybody
/// could read that it began, and most scans find nothing.
const WORTH_TELLING: Duration = Duration::from_millis(300);

/// Why the daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A stage panicked, which is a fault of this program.
    #[error("a stage of the daemon failed")]
    Stage(#[from] JoinError),
}

/// What a daemon is made of.
#[derive(Debug)]
pub struct Parts {
    /// Tells where the site folder may have changed.
    pub watcher: Watcher,
    /// Knows what is in it.
    pub scanner: Scanner,
    /// Makes it, where a command does.
    pub builds: Option<Builds>,
    /// Sends it.
    pub publisher: Publisher,
    /// Tells others of publishes.
    pub deliveries: Deliveries,
    /// Finds another secret when the server refuses this one.
    pub mender: Option<Mender>,
    /// Asks the public site, when that is wanted.
    pub live: Option<LiveVerifier>,
    /// Where the last publish is remembered.
    pub last_publish: PathBuf,
    /// Where what was learned of the site's saves is kept.
    pub rhythm: PathBuf,
    /// What tells the target from others, as remembered with the last publish.
    pub target: String,
    /// Where the server is: scheme, host and port.
    pub target_url: String,
    /// Reads the configuration again.
    pub config_watch: ConfigWatch,
    /// Hears how the daemon stands.
    pub manager: ServiceManager,
    /// Where people ask how it stands.
    pub control: Control,
    /// What hooks ask for, where there are any.
    pub hooks: Option<mpsc::Receiver<HookRun>>,
}

type Round = Pin<Box<dyn Future<Output = Result<(Hands, Finished), JoinError>>>>;

/// Watches and publishes until `shutdown` resolves; then finishes the publish under way, or gives it
/// up after some seconds.
///
/// # Errors
///
/// [`DaemonError`]. A site folder that is gone, a server that is down and a disk that is full are
/// none: the daemon says so and waits.
pub async fn run(
    parts: Parts,
    config: Arc<Config>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let (mut watched, mut daemon) = Daemon::new(parts, config);
    let Watched {
        watcher,
        config,
        hooks,
    } = &mut watched;
    tokio::pin!(shutdown);
    loop {
        daemon.begin_what_is_due(Proof::of(watcher.health()));
        daemon.tell_manager(watcher.health());
        daemon.tell_control();
        daemon.tell_desktop();
        let settles = daemon.settle.deadline();
        let next = daemon.next_due();
        let told = daemon.telling_due();
        tokio::select! {
            // In this order, so that a stop is heard in a storm of events.
            biased;
            () = &mut shutdown => break,
            // Cancel-safe: the round stays in its box and goes on when it is polled again.
            done = poll_round(&mut daemon.round) => daemon.finished(done?),
            // Cancel-safe, as `next` says.
            asked = daemon.requests.control.next() => daemon.asked(asked),
            // Cancel-safe, as `next` says.
            run = hook_runs::next(hooks) => daemon.hook_asked(run),
            // Cancel-safe, as `next` says: what is not heard stays.
            heard = builds::next(&mut daemon.builds) => daemon.heard(heard?),
            // Cancel-safe, as `next` says: a notice is handed over whole or stays. Before the window
            // is closed, so that what has come is in it.
            notice = watcher.next() => daemon.noticed(notice),
            // Cancel-safe: only time passes.
            () = wait_until(settles) => daemon.settled(),
            // Cancel-safe: only time passes.
            () = wait_until(next) => {}
            // As above.
            () = wait_until(told) => {}
            // Cancel-safe, as `next` says.
            reread = config.next() => daemon.reread(reread?),
            // Cancel-safe, as tokio says of `join_next`.
            Some(checked) = daemon.live_checks.join_next() => daemon.live_checked(checked)?,
        }
    }
    daemon.stop().await
}

async fn poll_round(round: &mut Option<Round>) -> Result<(Hands, Finished), JoinError> {
    let Some(running) = round else {
        return std::future::pending().await;
    };
    let done = running.await;
    *round = None;
    done
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What the loop listens to, besides itself.
struct Watched {
    watcher: Watcher,
    config: ConfigWatch,
    hooks: Option<mpsc::Receiver<HookRun>>,
}

/// The daemon, between its start and its stop.
struct Daemon {
    config: Arc<Config>,
    settle: Settle,
    agenda: Agenda,
    builds: Option<Builds>,
    /// Since the last round that began, a build succeeded: what it left is whole.
    is_built: bool,
    /// Here while no round is under way.
    hands: Option<Hands>,
    round: Option<Round>,
    warmer: Warmer,
    warming: JoinSet<()>,
    live: Option<LiveVerifier>,
    /// At most one: a newer publish voids the check of the one before.
    live_checks: JoinSet<(LiveCheck, LiveVerdict)>,
    upkeep: Upkeep,
    deliveries: Deliveries,
    speech: Speech,
    standing: Standing,
    bell: Bell,
    target_url: String,
    manager: ServiceManager,
    requests: Requests,
    /// When the round under way is worth telling.
    round_is_long: Option<Instant>,
}

impl Daemon {
    fn new(parts: Parts, config: Arc<Config>) -> (Watched, Self) {
        let last = LastPublish::load(&parts.last_publish, &parts.target);
        let daemon = Self {
            settle: upkeep::settle(&config.watch, &parts.rhythm),
            agenda: Agenda::new(config.watch.max_wait),
            builds: parts.builds,
            is_built: false,
            warmer: parts.publisher.warmer(),
            warming: JoinSet::new(),
            hands: Some(Hands {
                scanner: parts.scanner,
                publisher: parts.publisher,
                mender: parts.mender,
                start: Start::Undecided(last),
            }),
            round: None,
            live: parts.live,
            live_checks: JoinSet::new(),
            upkeep: Upkeep::new((parts.last_publish, parts.rhythm), parts.target),
            deliveries: parts.deliveries,
            speech: Speech::default(),
            bell: Bell::default(),
            standing: Standing::new(config.publish.site_url(&parts.target_url).to_owned()),
            target_url: parts.target_url,
            manager: parts.manager,
            requests: Requests::new(parts.control),
            round_is_long: None,
            config,
        };
        let watched = Watched {
            watcher: parts.watcher,
            config: parts.config_watch,
            hooks: parts.hooks,
        };
        (watched, daemon)
    }

    fn noticed(&mut self, notice: Notice) {
        match notice.news {
            // Most looks for their own sake find nothing to publish: a server may sleep meanwhile.
            News::Whole(Cause::Poll | Cause::Reconcile) => {}
            News::Whole(Cause::Start | Cause::FolderReplaced | Cause::Overflow)
            | News::Changes(_) => self.warm(),
        }
        self.settle.event(notice);
        // Also in a storm of notices, where nothing else has its turn.
        self.settled();
    }

    /// Opens the connection while the burst settles; once at a time.
    fn warm(&mut self) {
        while self.warming.try_join_next().is_some() {}
        if self.warming.is_empty() {
            let warmer = self.warmer.clone();
            self.warming.spawn(async move { warmer.warm().await });
        }
    }

    fn settled(&mut self) {
        if let Some(batch) = self.settle.due(Instant::now()) {
            self.agenda.settled(batch);
            self.upkeep.learned(&mut self.settle);
        }
    }

    /// Returns whether a round may begin: nobody paused, and nothing is in the middle of a build.
    fn may_publish(&self) -> bool {
        !self.requests.holds_back() && self.builds.as_ref().is_none_or(Builds::lets_publish)
    }

    /// Returns when there is something to begin; while a round is under way, its end is waited for.
    fn next_due(&self) -> Option<Instant> {
        self.hands.as_ref()?;
        let work = self.agenda.due(Instant::now());
        let work = work.filter(|_| self.may_publish());
        work.into_iter().chain(self.upkeep.due()).min()
    }

    fn begin_what_is_due(&mut self, proof: Proof) {
        let Some(mut hands) = self.hands.take() else {
            return;
        };
        let now = Instant::now();
        // A build that succeeded is over, whether or not events come.
        let proof = if self.is_built { Proof::Settled } else { proof };
        if self.may_publish()
            && let Some(mut order) = self.agenda.take(now, proof)
        {
            self.is_built = false;
            let scanned = CancellationToken::new();
            if let Some(builds) = &mut self.builds {
                builds.round_begins(scanned.clone());
            }
            let config = self.hasten(&mut order, &mut hands);
            self.round = Some(Box::pin(round::run(hands, order, config, scanned)));
            self.round_is_long = Some(now + WORTH_TELLING);
            return;
        }
        self.upkeep.run_if_due(now, &mut hands);
        self.hands = Some(hands);
    }

    /// Tells the service manager what is news to it. Called in each turn of the loop and by nothing
    /// else, so that a loop that is stuck lets the watchdog bite.
    fn tell_manager(&mut self, health: &WatchHealth) {
        if !self.manager.is_present() {
            return;
        }
        let now = Instant::now();
        self.manager.status(&self.standing.text(self.doing()));
        // A change from now on is seen.
        if *health != WatchHealth::Starting {
            self.manager.ready();
        }
        self.manager.feed_if_due(now);
    }

    fn doing(&self) -> Doing {
        match self.round_is_long {
            Some(at) if at <= Instant::now() => Doing::Publishing,
            Some(_) | None => Doing::Little,
        }
    }

    /// Returns when there is something to tell, though nothing happens.
    fn telling_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let feed = self.manager.feed_due(now);
        // What is past was told.
        let long = self.round_is_long.filter(|at| *at > now);
        feed.into_iter().chain(long).chain(self.bell.due()).min()
    }

    fn finished(&mut self, (hands, finished): (Hands, Finished)) {
        let now = Instant::now();
        let mut again = Dirty::nothing();
        if let Some(found) = finished.found {
            speech::warnings(&found);
            if found.counts.files_hashed > 0 {
                self.upkeep.hashed(now);
            }
            again = Dirty::Paths(found.unstable);
        }
        self.round_is_long = None;
        self.speech.outcome(&finished.outcome, &self.config.dir);
        self.standing.outcome(&finished.outcome, &self.config.dir);
        self.answer(&finished.outcome, &hands.publisher);
        if let Outcome::Published(report, _) = &finished.outcome {
            self.check_live(report);
            self.upkeep.published(&report.changeset, now);
        }
        self.tell_others(&finished.outcome, &hands);
        let ended = self.ended(finished.outcome, &mut again, now);
        self.agenda.ended(ended, again, (now, random()));
        self.owe_who_came_meanwhile();
        self.hands = Some(hands);
    }

    /// Returns what the outcome means for the next round; what to look at again goes to `again`.
    fn ended(&mut self, outcome: Outcome, again: &mut Dirty, now: Instant) -> Ended {
        match outcome {
            Outcome::InStep | Outcome::Published(..) => {
                self.upkeep.in_step(now);
                Ended::InStep
            }
            // The watcher tells when the folder is back.
            Outcome::Absent(owed) => Ended::NotSeen(owed),
            Outcome::Strict(owed) => Ended::WaitForLook(owed),
            Outcome::Unproven(owed) => Ended::ProveFirst(owed),
            Outcome::Quiet(owed) => Ended::Quiet(owed),
            Outcome::Held { owed, .. } | Outcome::LeftAlone(owed, _) => Ended::WaitForSave(owed),
            Outcome::Rechecked(Recheck::Superseded) => Ended::WaitForSave(Owed::Everything),
            Outcome::Rechecked(Recheck::StillThere(_) | Recheck::Unknown(_)) => Ended::InStep,
            Outcome::ScanFailed(owed, dirty, _) => {
                // Whatever was to be looked at, nothing is known until a scan comes to its end.
                again.merge(if dirty.is_nothing() {
                    Dirty::Everything
                } else {
                    dirty
                });
                Ended::NotSeen(owed)
            }
            Outcome::Failed(owed, error) => match error.retry() {
                RetryClass::Never => Ended::WaitForSave(owed),
                RetryClass::Rescan => {
                    again.merge(changed(&error));
                    Ended::ScanAgain(owed)
                }
                RetryClass::Backoff | RetryClass::FreshManifest | RetryClass::SignAgain => {
                    Ended::TryAgain(owed, error.retry_after().unwrap_or_default())
                }
            },
        }
    }

    async fn stop(mut self) -> Result<(), DaemonError> {
        let last = if self.round.is_some() {
            "stopping, after the last publish"
        } else {
            "stopping"
        };
        self.manager.stopping(last);
        if let Some(builds) = &mut self.builds {
            builds.stop().await;
        }
        if let Some(round) = &mut self.round {
            if let Ok(done) = timeout(LAST_ROUND, round).await {
                self.finished(done?);
            } else {
                tracing::warn!(
                    "stopped before the last publish was confirmed; the next start finds out"
                );
            }
        }
        if let Some(hands) = &mut self.hands {
            self.upkeep.finish(hands);
        }
        self.deliveries.stop().await;
        Ok(())
    }
}

/// Returns where the site folder is not what was scanned.
fn changed(error: &PublishError) -> Dirty {
    match error {
        PublishError::ChangedSinceScan { path: Some(path) }
        | PublishError::Unreadable { path, .. } => {
            Dirty::Paths([PathBuf::from(path.as_str())].into())
        }
        _ => Dirty::Everything,
    }
}

/// Returns a number for the jitter of a back-off; without randomness, the middle.
fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests;
