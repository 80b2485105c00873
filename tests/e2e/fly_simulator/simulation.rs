//! What the parts of one simulator share: the state, the clock, who waits for a change, the failures
//! that are due, the machines that run, and the book of what was asked.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{
    RegistryBehind,
    boot::Dialer,
    failures::Failures,
    limits::Limits,
    runner::Runner,
    state::{Effect, Platform},
};

/// A request that was answered, or cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    /// As JSON; null when there was none, or when it is content of an image.
    pub(crate) body: Value,
    /// 0 when the connection was cut.
    pub(crate) status: u16,
}

impl Recorded {
    /// Returns whether the request may have changed something.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// The shared part of a simulator.
#[derive(Debug)]
pub(crate) struct Simulation {
    platform: Mutex<Platform>,
    pub(crate) failures: Mutex<Failures>,
    pub(crate) limits: Mutex<Limits>,
    pub(crate) has_limits: bool,
    requests: Mutex<Vec<Recorded>>,
    runners: Mutex<BTreeMap<String, Runner>>,
    /// By machine id, while it runs.
    pub(crate) dialers: Mutex<BTreeMap<String, Dialer>>,
    changes: watch::Sender<u64>,
    started: Instant,
    /// Where the content of the images is.
    pub(crate) registry: RegistryBehind,
    pub(crate) folder: PathBuf,
}

/// Locks, also when a test that held the lock has failed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulation {
    /// Makes the shared part; `folder` is there and empty.
    pub(crate) fn new(
        platform: Platform,
        (registry, has_limits): (RegistryBehind, bool),
        folder: PathBuf,
    ) -> Self {
        Self {
            platform: Mutex::new(platform),
            failures: Mutex::default(),
            limits: Mutex::default(),
            has_limits,
            requests: Mutex::default(),
            runners: Mutex::default(),
            dialers: Mutex::default(),
            changes: watch::Sender::new(0),
            started: Instant::now(),
            registry,
            folder,
        }
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Reads or changes the state; whoever waits for a change looks again.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Platform, Timestamp) -> T) -> T {
        let result = change(&mut lock(&self.platform), Timestamp::now());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// As [`Simulation::with`], for what waits for changes itself, and makes none.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Platform, Timestamp) -> T) -> T {
        look(&mut lock(&self.platform), Timestamp::now())
    }

    /// Returns what tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Notes a request.
    pub(crate) fn record(&self, request: Recorded) {
        lock(&self.requests).push(request);
    }

    /// Returns all requests so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        lock(&self.requests).clone()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget_requests(&self) {
        lock(&self.requests).clear();
    }

    /// Lets happen what a call asked for.
    pub(crate) fn perform(self: &Arc<Self>, effect: Effect) {
        let (Effect::Launch { app, machine }
        | Effect::Stop { app, machine, .. }
        | Effect::Destroy { app, machine }) = &effect;
        let mut runners = lock(&self.runners);
        let runner = runners
            .entry(machine.clone())
            .or_insert_with(|| Runner::start(Arc::clone(self), (app.clone(), machine.clone())));
        runner.order(effect);
    }

    /// Ends all machines, and waits until they have.
    pub(crate) fn end(&self) {
        let runners = std::mem::take(&mut *lock(&self.runners));
        // All are told first, so that they end at the same time.
        let threads: Vec<_> = runners.into_values().filter_map(Runner::end).collect();
        for thread in threads {
            // A thread that panicked has dropped, and so ended, its machine.
            thread.join().ok();
        }
        lock(&self.dialers).clear();
    }

    /// Returns the folder of a volume.
    pub(crate) fn volume_folder(&self, volume: &str) -> PathBuf {
        self.folder.join("volumes").join(volume)
    }

    /// Returns the file with all that a machine's programs wrote.
    pub(crate) fn log_file(&self, machine: &str) -> PathBuf {
        self.folder.join(format!("{machine}.log"))
    }
}
