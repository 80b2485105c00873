//! Watching a folder, the site's or that of a build's sources: from file events to [`Notice`]s.
//!
//! The only user of `notify`. Owns the watches, what waits to be taken, and the alarms; knows
//! nothing of what files hold. Events are hints: whatever may have been missed becomes a wider
//! look, never a silence.
//!
//! | what can go wrong | what happens |
//! |---|---|
//! | our own reads come back as events | open and read events mean nothing (`inbox`) |
//! | the kernel's queue overflows: a flag without a path | everything is dirty, and all watches are set anew, since new folders may have gone unwatched |
//! | our own walk, or the setting of the watches, overflows the queue | a loss just after the watches were set does not set them again, and losses in a row are answered at growing intervals: no loop |
//! | more than 10,000 paths wait | everything is dirty |
//! | files in a new or moved-in folder had no event, being older than its watch | the folder is dirty with all that is below, now and once more 500 ms later |
//! | the site folder is deleted and made anew, renamed over, or its symlink is pointed elsewhere | the folders that hold it are watched too; all watches are set anew |
//! | a mount comes or goes, or a folder further up is renamed, without an event | the site folder's identity is looked at every second |
//! | the site folder is not there (yet) | the nearest folder that is there is watched; a scan says that it is absent |
//! | the system allows no more watches | polling, said once, with the setting to raise |
//! | the file system gives no events (NFS, SMB, FUSE, 9p, vboxsf) | polling |
//! | an event is missed for any other reason | every `reconcile_interval` all watches are set anew and everything is dirty |
//! | ignored names, such as swap files | dropped before they can open or stretch a settle window |
//!
//! Polling is no other mechanism: everything is dirty every `poll_interval`, and the scan's stat
//! index makes that cheap.
//!
//! What is left out, and whether whole folders are, is said by [`WatchRules`]. The sources of a build
//! lie beside folders with tens of thousands of others (`node_modules`), so that only the folders
//! with sources are watched, and a new one sets the watches anew.

mod arm;
mod inbox;
mod losses;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::{JoinError, JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use crate::{
    config::{PollMode, WatchConfig},
    dirty::{Cause, Change, MAX_DIRTY_PATHS, News, Notice, Trace},
    shown::ShownPath,
    site_folder::{FoundFolder, SiteFolder},
};

pub(crate) use self::arm::file_system_without_events;
use self::{
    arm::{Armed, Arming},
    inbox::{Inbox, Waiting},
    losses::Losses,
};

/// How often the site folder's identity is looked at, for what gives no event.
const TICK: Duration = Duration::from_secs(1);

/// How long after a new folder it is looked at once more. The watch on it is set as soon as its
/// event was read, so that this is ample; what it misses, the reconcile finds.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// A loss so soon after the watches were set comes from setting them: each folder that is opened
/// is an event, and nobody reads the queue meanwhile. They need not be set again.
const JUST_ARMED: Duration = Duration::from_secs(2);

/// Whether changes are seen as they happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchHealth {
    /// The watches are being set.
    Starting,
    /// File events come.
    Events,
    /// There is no site folder; its coming is waited for.
    Absent,
    /// No events come; the site folder is looked at every `poll_interval`.
    Polling(WatchTrouble),
    /// No events come, and polling is turned off: only the reconcile finds changes.
    ReconcileOnly(WatchTrouble),
}

/// Why no events come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchTrouble {
    /// The configuration asks for polling.
    #[error("the configuration asks for polling")]
    Configured,
    /// The file system gives no events.
    #[error("{0} gives no file events")]
    FileSystem(&'static str),
    /// The system's limit of watches is reached.
    #[error(
        "the system allows no more watches; raise fs.inotify.max_user_watches, for example with \
         `sysctl fs.inotify.max_user_watches=524288`"
    )]
    WatchLimit,
    /// The system's limit of watching programs is reached.
    #[error(
        "the system allows no more watching programs; raise fs.inotify.max_user_instances, for \
         example with `sysctl fs.inotify.max_user_instances=1024`"
    )]
    InstanceLimit,
    /// The watches cannot be set.
    #[error("the watches cannot be set: {0}")]
    Failed(String),
}

/// What is left out of a watch.
pub trait WatchRules: fmt::Debug + Send + Sync + 'static {
    /// Returns whether a change of this path is no news; relative to the folder, with `/` between
    /// its names.
    fn leaves_out(&self, path: &str, change: Change) -> bool;

    /// Returns the folders to watch below `folder`, itself among them; nothing for all of them.
    ///
    /// Asked where blocking is allowed, each time that the watches are set.
    fn folders(&self, _folder: &Path) -> Option<Vec<PathBuf>> {
        None
    }
}

/// Watches one folder.
#[derive(Debug)]
pub struct Watcher {
    arming: Arming,
    config: WatchConfig,
    armed: Option<Armed>,
    health: WatchHealth,
    /// The one blocking job under way.
    job: Option<JoinHandle<Report>>,
    /// Why the watches are to be set anew once no job is under way.
    rearm: Option<Cause>,
    /// Why they are being set anew.
    arming_for: Cause,
    ready: VecDeque<News>,
    second_looks: BTreeMap<PathBuf, Instant>,
    alarms: Alarms,
    armed_at: Instant,
    losses: Losses,
}

/// When to do what needs no event.
#[derive(Debug)]
struct Alarms {
    tick: Instant,
    reconcile: Instant,
    poll: Option<Instant>,
    second_look: Option<Instant>,
    look_after_loss: Option<Instant>,
    rearm_after_loss: Option<Instant>,
}

/// What a blocking job found.
#[derive(Debug)]
enum Report {
    Armed(Armed),
    Looked(Option<FoundFolder>),
}

impl Watcher {
    /// Begins to watch, in the background; the first notice comes once the watches are set.
    ///
    /// Never fails: what cannot be watched is polled, and [`health`](Self::health) says why. Events
    /// that `rules` leave out are dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start<R: WatchRules>(folder: SiteFolder, config: &WatchConfig, rules: Arc<R>) -> Self {
        let now = Instant::now();
        let mut watcher = Self {
            arming: Arming {
                folder,
                poll: config.poll,
                rules,
                inbox: Arc::new(Inbox::default()),
            },
            config: config.clone(),
            armed: None,
            health: WatchHealth::Starting,
            job: None,
            rearm: Some(Cause::Start),
            arming_for: Cause::Start,
            ready: VecDeque::new(),
            second_looks: BTreeMap::new(),
            alarms: Alarms {
                tick: now + TICK,
                reconcile: now + config.reconcile_interval,
                poll: None,
                second_look: None,
                look_after_loss: None,
                rearm_after_loss: None,
            },
            armed_at: now,
            losses: Losses::default(),
        };
        watcher.begin_arming();
        watcher
    }

    /// Returns whether changes are seen as they happen.
    #[must_use]
    pub const fn health(&self) -> &WatchHealth {
        &self.health
    }

    /// Waits for news of the site folder.
    ///
    /// Cancel-safe: what is not returned stays for the next call. It has to be called again and
    /// again, since alarms go off only within it.
    pub async fn next(&mut self) -> Notice {
        loop {
            // First, so that a burst without end starves neither the alarms nor the job.
            if self.job.as_ref().is_some_and(JoinHandle::is_finished) {
                let report = finished(&mut self.job).await;
                self.job = None;
                self.note(report);
            }
            let now = Instant::now();
            if self.alarms.next() <= now {
                self.ring(now);
            }
            self.begin_arming();
            if let Some(notice) = self.take(now) {
                return notice;
            }
            self.begin_arming();
            let alarm = self.alarms.next();
            tokio::select! {
                // Cancel-safe: the job stays in `self`, and goes on.
                report = finished(&mut self.job) => {
                    self.job = None;
                    self.note(report);
                }
                // Cancel-safe: what waits stays in the inbox.
                () = self.arming.inbox.filled() => {}
                // Cancel-safe: alarms are moved only once they went off.
                () = sleep_until(alarm) => self.ring(Instant::now()),
            }
        }
    }

    /// Takes what is known by now; asks for the watches to be set anew where that follows.
    fn take(&mut self, now: Instant) -> Option<Notice> {
        let Waiting {
            changes,
            moved_in,
            folder_replaced,
            lost,
            watch_limit,
            last,
        } = self.arming.inbox.take();
        if folder_replaced {
            self.rearm = Some(Cause::FolderReplaced);
        }
        if watch_limit {
            self.lose_events(WatchTrouble::WatchLimit, now);
            self.ready.push_back(News::Whole(Cause::Overflow));
        }
        if lost {
            // When it came, not when it is taken: the caller may have been busy.
            self.note_loss(last.unwrap_or(now));
        }
        if !changes.is_empty() {
            let changes = self.with_folders(changes, moved_in, now);
            self.ready.push_back(News::Changes(changes));
        }
        let news = self.ready.pop_front()?;
        let at = last.unwrap_or(now);
        Some(Notice { at, news })
    }

    /// Asks for a look at everything, at once for the first loss in a row.
    fn note_loss(&mut self, now: Instant) {
        let pause = self.losses.pause(now);
        if pause.is_zero() {
            self.ready.push_back(News::Whole(Cause::Overflow));
        } else {
            self.alarms.look_after_loss.get_or_insert(now + pause);
        }
        if now >= self.armed_at + JUST_ARMED {
            // Not at once: the burst that overflowed the queue is probably still going on.
            let due = now + pause.max(SECOND_LOOK);
            self.alarms.rearm_after_loss.get_or_insert(due);
        }
    }

    /// Tells moved-in folders from files, and asks for a second look at all new folders.
    fn with_folders(
        &mut self,
        mut changes: BTreeMap<PathBuf, Trace>,
        moved_in: impl IntoIterator<Item = PathBuf>,
        now: Instant,
    ) -> BTreeMap<PathBuf, Trace> {
        if let Some(found) = self.armed.as_ref().and_then(|armed| armed.found.as_ref()) {
            for path in moved_in {
                let is_folder = found.real.join(&path).is_dir();
                if let Some(trace) = changes.get_mut(&path).filter(|_| is_folder) {
                    trace.append(Trace::new(Change::Folder));
                }
            }
        }
        let due = now + SECOND_LOOK;
        let folders = changes
            .iter()
            .filter(|(_, trace)| trace.last == Change::Folder);
        let is_selective = self.armed.as_ref().is_some_and(|armed| armed.is_selective);
        for (folder, _) in folders {
            self.second_looks.insert(folder.clone(), due);
            self.alarms.second_look.get_or_insert(due);
            if is_selective {
                self.rearm.get_or_insert(Cause::Reconcile);
            }
        }
        if self.second_looks.len() > MAX_DIRTY_PATHS {
            self.second_looks.clear();
            self.alarms.second_look = None;
            self.alarms.rearm_after_loss.get_or_insert(due);
        }
        changes
    }

    /// Does what is due.
    fn ring(&mut self, now: Instant) {
        if self.alarms.second_look.is_some_and(|due| due <= now) {
            self.look_again(now);
        }
        if self.alarms.look_after_loss.is_some_and(|due| due <= now) {
            self.alarms.look_after_loss = None;
            self.ready.push_back(News::Whole(Cause::Overflow));
        }
        if self.alarms.rearm_after_loss.is_some_and(|due| due <= now) {
            self.alarms.rearm_after_loss = None;
            self.rearm = Some(Cause::Overflow);
        }
        if self.alarms.poll.is_some_and(|due| due <= now) {
            self.alarms.poll = Some(now + self.config.poll_interval);
            self.ready.push_back(News::Whole(Cause::Poll));
        }
        if self.alarms.reconcile <= now {
            self.alarms.reconcile = now + self.config.reconcile_interval;
            self.rearm.get_or_insert(Cause::Reconcile);
        }
        if self.alarms.tick <= now {
            self.alarms.tick = now + TICK;
            if self.job.is_none() && self.rearm.is_none() {
                let arming = self.arming.clone();
                self.job = Some(spawn_blocking(move || Report::Looked(arming.look())));
            }
        }
    }

    fn look_again(&mut self, now: Instant) {
        let is_due = |due: &Instant| *due <= now;
        let due = self.second_looks.extract_if(.., |_, due| is_due(due));
        let folders: BTreeMap<_, _> = due
            .map(|(folder, _)| (folder, Trace::new(Change::Touched)))
            .collect();
        self.alarms.second_look = self.second_looks.values().min().copied();
        if !folders.is_empty() {
            self.ready.push_back(News::Changes(folders));
        }
    }

    fn begin_arming(&mut self) {
        if self.job.is_some() {
            return;
        }
        if let Some(cause) = self.rearm.take() {
            self.arming_for = cause;
            // The old watches stay until the new ones are set, so that no event waits for them,
            // unless the system's limit does not hold both.
            let old = self.armed.as_mut().and_then(|armed| armed.watches.take());
            let arming = self.arming.clone();
            self.job = Some(spawn_blocking(move || {
                let mut armed = arming.run();
                if armed.trouble == Some(WatchTrouble::WatchLimit) && old.is_some() {
                    drop(old);
                    armed = arming.run();
                }
                Report::Armed(armed)
            }));
        }
    }

    fn note(&mut self, report: Result<Report, JoinError>) {
        let now = Instant::now();
        match report {
            Ok(Report::Armed(armed)) => self.note_armed(armed, now),
            Ok(Report::Looked(found)) => {
                let watched = self.armed.as_ref().and_then(|armed| armed.found.as_ref());
                if found.as_ref() != watched {
                    self.rearm = Some(Cause::FolderReplaced);
                }
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down; there is nothing more to watch for.
                Err(error) => tracing::debug!(%error, "the watches were not set"),
            },
        }
    }

    fn note_armed(&mut self, mut armed: Armed, now: Instant) {
        self.alarms.reconcile = now + self.config.reconcile_interval;
        self.ready.push_back(News::Whole(self.arming_for));
        self.armed_at = now;
        let trouble = armed.trouble.take();
        let is_there = armed.found.is_some();
        self.armed = Some(armed);
        match trouble {
            Some(trouble) => self.lose_events(trouble, now),
            None if is_there => self.set_health(WatchHealth::Events),
            None => self.set_health(WatchHealth::Absent),
        }
        if !matches!(self.health, WatchHealth::Polling(_)) {
            self.alarms.poll = None;
        }
    }

    fn lose_events(&mut self, trouble: WatchTrouble, now: Instant) {
        if let Some(armed) = &mut self.armed {
            armed.watches = None;
        }
        if self.config.poll == PollMode::Never {
            self.set_health(WatchHealth::ReconcileOnly(trouble));
        } else {
            self.alarms
                .poll
                .get_or_insert(now + self.config.poll_interval);
            self.set_health(WatchHealth::Polling(trouble));
        }
    }

    /// Says what changed, once; what was asked for is no trouble.
    fn set_health(&mut self, health: WatchHealth) {
        if self.health == health {
            return;
        }
        let folder = ShownPath(self.arming.folder.path());
        match &health {
            WatchHealth::Starting => {}
            WatchHealth::Events => tracing::debug!(%folder, "watching {folder}"),
            WatchHealth::Absent => tracing::debug!(%folder, "waiting for {folder}"),
            WatchHealth::Polling(WatchTrouble::Configured) => {
                tracing::info!(%folder, "polling {folder}");
            }
            WatchHealth::Polling(trouble) => {
                tracing::warn!(%folder, %trouble, "polling {folder}: {trouble}");
            }
            WatchHealth::ReconcileOnly(trouble) => {
                tracing::warn!(%folder, %trouble, "changes in {folder} are seen only now and then: {trouble}");
            }
        }
        self.health = health;
    }
}

impl Alarms {
    fn next(&self) -> Instant {
        let once = [
            self.poll,
            self.second_look,
            self.look_after_loss,
            self.rearm_after_loss,
        ];
        let due = once.into_iter().flatten();
        due.fold(self.tick.min(self.reconcile), Instant::min)
    }
}

async fn finished(job: &mut Option<JoinHandle<Report>>) -> Result<Report, JoinError> {
    match job {
        Some(job) => job.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
