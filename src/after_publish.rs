//! After a publish: others are told of it, at least once, in order, and never in its way.
//!
//! ```text
//! what is current ─► outbox: what differs from what was told ─► queues on disk ─► couriers ─► receivers
//!                       told                                      one an entry      one an entry
//! ```
//!
//! | module | does |
//! |---|---|
//! | `event` | what a publish changed: filtered, merged, cut; pure |
//! | `routes`, `content` | which addresses and which content a file means; pure |
//! | `requests` | event → requests and their bodies; pure |
//! | `signature`, `schedule`, `attempt` | Standard Webhooks; waits; what an answer means; pure |
//! | `told`, `queue`, `durable` | the files: what was told, what waits, what was put aside |
//! | `outbox` | what is current → the queues |
//! | `courier`, `sender`, `documents` | the first of a queue → its receiver |
//! | `restart`, `command` | machines one after the other; a command |
//! | `letters` | what waits and what failed, for people |
//!
//! The guarantee rests on one idea, the same as a publish: what is told is the difference of two trees,
//! what was told last and what is current. A report that is lost, by a kill or a full disk, is in the
//! difference that the next look finds, and each start looks.

mod attempt;
mod command;
mod content;
mod courier;
mod documents;
mod durable;
mod event;
mod letters;
mod outbox;
mod queue;
mod requests;
mod restart;
mod routes;
mod schedule;
mod sender;
mod setup;
mod signature;
mod told;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::signature::signing_key;
pub use self::{
    content::ContentTemplate,
    durable::QueueError,
    letters::{BadDeliveryId, Delivery, DeliveryId, DeliveryState, Letters, LettersError},
    requests::Site,
    setup::Setup,
};
use self::{
    courier::{Courier, Next, unix_ms},
    outbox::{Observation, Outbox, Recorded, Seen},
};
use crate::publish::{PublishReport, Publisher, RemoteState};

/// Deploys that wait to be recorded; a further one is found by the next look.
const MOST_UNRECORDED: usize = 64;

/// How often a queue is looked at for what another process put there.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Pause before a disk that failed is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(5);

/// How long the end of what is under way may take at a stop.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Counts what the server has now as told, where nothing is remembered yet; so that the first publish that
/// is told is the first one after this.
///
/// Where the server does not answer, everything is new to whoever is told.
///
/// # Errors
///
/// [`QueueError`] when that cannot be remembered.
pub async fn prepare(setup: &Setup, publisher: &mut Publisher) -> Result<(), QueueError> {
    if setup.entries.is_empty() {
        return Ok(());
    }
    let begun = with_outbox(setup, Outbox::has_begun).await?;
    if begun {
        return Ok(());
    }
    let (deploy_id, manifest) = match publisher.refresh().await {
        Ok(remote) => (
            remote.deploy_id().map(str::to_owned),
            remote.manifest().clone(),
        ),
        Err(error) => {
            tracing::warn!(%error, "after the first publish, the whole site is told as new");
            (None, onsave_protocol::Manifest::new())
        }
    };
    with_outbox(setup, move |outbox| {
        outbox.begin(deploy_id.as_deref(), manifest)
    })
    .await
}

async fn with_outbox<T: Send + 'static>(
    setup: &Setup,
    work: impl FnOnce(&mut Outbox) -> Result<T, QueueError> + Send + 'static,
) -> Result<T, QueueError> {
    let mut outbox = Outbox::new(setup.folder.clone(), setup.target.clone());
    let folder = setup.folder.clone();
    let done = spawn_blocking(move || work(&mut outbox)).await;
    done.unwrap_or_else(|error| Err(QueueError::of("use", &folder)(error.into())))
}

/// Tells what the server has now, once; `instead_of` names the deploy whose place it took, where a rollback
/// did that. Returns how many deliveries of it wait.
///
/// # Errors
///
/// [`QueueError`]; the next publish or start tells it.
pub async fn record_once(
    setup: &Setup,
    remote: &RemoteState,
    instead_of: Option<String>,
) -> Result<usize, QueueError> {
    let Some(deploy_id) = remote.deploy_id().map(str::to_owned) else {
        return Ok(0);
    };
    if setup.entries.is_empty() {
        return Ok(0);
    }
    let observation = Observation {
        deploy_id,
        at_unix_ms: unix_ms(),
        seen: Seen::Whole {
            manifest: remote.manifest().clone(),
            instead_of,
        },
    };
    let entries = setup.entries.clone();
    let recorded = with_outbox(setup, move |outbox| outbox.record(&observation, &entries)).await?;
    let (Recorded::Told(queued) | Recorded::NeedsWhole(queued)) = recorded;
    Ok(queued)
}

/// Tells what a rollback made current, in the place of `previous`; where that fails, the next publish or
/// start tells it.
pub async fn record_rollback(setup: &Setup, publisher: &mut Publisher, previous: Option<String>) {
    if setup.entries.is_empty() {
        return;
    }
    let recorded = match publisher.refresh().await {
        Ok(remote) => record_once(setup, remote, previous).await,
        Err(error) => {
            tracing::warn!(%error, "the next publish or start tells others of the rollback");
            return;
        }
    };
    if let Err(error) = recorded {
        let hint = error.hint();
        let error = &error as &(dyn std::error::Error + 'static);
        tracing::error!(error, "others are not told of the rollback for now: {hint}");
    }
}

/// Delivers what waits, for at most `limit`; what is left is for a daemon, or for the next run.
///
/// # Errors
///
/// [`QueueError`].
pub async fn deliver_for(setup: &Setup, limit: Duration) -> Result<(), QueueError> {
    let setup = Arc::new(setup.clone());
    let stop = CancellationToken::new();
    let end = Instant::now() + limit;
    let mut couriers = JoinSet::new();
    for entry in setup.entries.clone() {
        let courier = Courier::new(entry, Arc::clone(&setup));
        let stop = stop.clone();
        couriers.spawn(async move { deliver_until(&courier, end, &stop).await });
    }
    let stopping = async {
        tokio::time::sleep_until(end).await;
        stop.cancel();
    };
    let delivering = async {
        let mut outcome = Ok(());
        while let Some(done) = couriers.join_next().await {
            match done {
                Ok(done) => outcome = outcome.and(done),
                Err(error) => tracing::error!(%error, "a courier failed"),
            }
        }
        outcome
    };
    // The end of time only asks them to end; a command is waited for.
    tokio::pin!(delivering);
    tokio::select! {
        outcome = &mut delivering => outcome,
        () = stopping => delivering.await,
    }
}

async fn deliver_until(
    courier: &Courier,
    end: Instant,
    stop: &CancellationToken,
) -> Result<(), QueueError> {
    loop {
        let wait = match courier.pass(stop).await? {
            Next::Idle => return Ok(()),
            Next::Busy => LOOK_EVERY / 10,
            Next::At(at) => Duration::from_millis(at.saturating_sub(unix_ms())),
        };
        if stop.is_cancelled() || Instant::now() + wait >= end {
            return Ok(());
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// The deliveries of a running daemon.
#[derive(Debug)]
pub struct Deliveries {
    setup: Setup,
    messages: mpsc::Sender<Message>,
    /// The deploy that was handed over last.
    last: Option<String>,
    needs_whole: Arc<AtomicBool>,
    stop: CancellationToken,
    manager: JoinSet<()>,
}

#[derive(Debug)]
enum Message {
    Seen(Observation),
    Setup(Box<Setup>),
}

impl Deliveries {
    /// Starts to deliver what waits; nothing is done where there is no entry.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let (messages, receiver) = mpsc::channel(MOST_UNRECORDED);
        let (stop, needs_whole) = (CancellationToken::new(), Arc::default());
        let manager = Manager {
            outbox: Some(Outbox::new(setup.folder.clone(), setup.target.clone())),
            setup: Arc::new(setup.clone()),
            needs_whole: Arc::clone(&needs_whole),
            stop: stop.clone(),
            wake: Arc::default(),
        };
        let mut managers = JoinSet::new();
        if !setup.entries.is_empty() {
            managers.spawn(manager.run(receiver));
        }
        Self {
            setup,
            messages,
            last: None,
            needs_whole,
            stop,
            manager: managers,
        }
    }

    /// Returns whether there is anything to tell anybody: a daemon that started without entries has none
    /// before its next start.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.manager.is_empty()
    }

    /// Takes in what the server was just seen to have, and the publish that made it, if one did; waits for
    /// nothing.
    pub fn seen(&mut self, remote: &RemoteState, report: Option<&PublishReport>) {
        let Some(id) = remote.deploy_id() else {
            return;
        };
        if !self.is_on() {
            return;
        }
        let needs_whole = self.needs_whole.swap(false, Ordering::Relaxed);
        if !needs_whole && self.last.as_deref() == Some(id) {
            return;
        }
        let changes = report.filter(|report| !needs_whole && report.deploy_id == id);
        let changes = changes.and_then(|report| {
            let base = report
                .base
                .clone()
                .filter(|base| self.last.as_ref() == Some(base))?;
            let changeset = Arc::clone(&report.changeset);
            Some(Seen::Changes { base, changeset })
        });
        let seen = changes.unwrap_or_else(|| Seen::Whole {
            manifest: remote.manifest().clone(),
            instead_of: None,
        });
        let observation = Observation {
            deploy_id: id.to_owned(),
            at_unix_ms: unix_ms(),
            seen,
        };
        self.last = match self.messages.try_send(Message::Seen(observation)) {
            Ok(()) => Some(id.to_owned()),
            // The next one is handed over whole.
            Err(_) => None,
        };
    }

    /// Takes over what a reloaded configuration says.
    pub fn take_over(&mut self, config: &crate::config::Config) {
        self.setup.take_over(config);
        let message = Message::Setup(Box::new(self.setup.clone()));
        if self.is_on() && self.messages.try_send(message).is_err() {
            tracing::warn!("after_publish is as it was until a restart: its disk does not answer");
        }
    }

    /// Writes what was handed over, and ends what is under way; what is not delivered waits for the next
    /// start.
    pub async fn stop(mut self) {
        drop(self.messages);
        self.stop.cancel();
        let ending = async { while self.manager.join_next().await.is_some() {} };
        if timeout(LAST_WRITES, ending).await.is_err() {
            tracing::warn!(
                "stopped before the last publish was noted as to be told; the next start finds it"
            );
        }
    }
}

/// Records what is handed over, and keeps the couriers going.
struct Manager {
    /// Here while nothing is written.
    outbox: Option<Outbox>,
    setup: Arc<Setup>,
    needs_whole: Arc<AtomicBool>,
    stop: CancellationToken,
    wake: Arc<Notify>,
}

impl Manager {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut couriers = self.couriers();
        while let Some(message) = messages.recv().await {
            match message {
                Message::Seen(observation) => self.record(observation).await,
                Message::Setup(setup) => {
                    couriers.stop().await;
                    self.setup = Arc::new(*setup);
                    couriers = self.couriers();
                }
            }
        }
        couriers.stop().await;
    }

    /// Tries until the disk takes it, or the daemon stops.
    async fn record(&mut self, observation: Observation) {
        let mut is_told = false;
        let observation = Arc::new(observation);
        while let Some(mut outbox) = self.outbox.take() {
            let (seen, setup) = (Arc::clone(&observation), Arc::clone(&self.setup));
            let working = spawn_blocking(move || {
                let recorded = outbox.record(&seen, &setup.entries);
                (outbox, recorded)
            });
            let Ok((outbox, recorded)) = working.await else {
                // A new one reads what is on the disk.
                let setup = &self.setup;
                self.outbox = Some(Outbox::new(setup.folder.clone(), setup.target.clone()));
                self.needs_whole.store(true, Ordering::Relaxed);
                return;
            };
            self.outbox = Some(outbox);
            match recorded {
                Ok(Recorded::Told(_)) => break,
                Ok(Recorded::NeedsWhole(_)) => {
                    self.needs_whole.store(true, Ordering::Relaxed);
                    break;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let hint = error.hint();
                        let error = &error as &(dyn std::error::Error + 'static);
                        tracing::error!(error, "others are not told of a publish for now: {hint}");
                    }
                    tokio::select! {
                        () = sleep(DISK_PAUSE) => {}
                        () = self.stop.cancelled() => return,
                    }
                }
            }
        }
        self.wake.notify_waiters();
    }

    fn couriers(&self) -> Couriers {
        // Not the daemon's own token: a reload stops these alone.
        let stop = self.stop.child_token();
        let mut tasks = JoinSet::new();
        for entry in self.setup.entries.clone() {
            let courier = Courier::new(entry, Arc::clone(&self.setup));
            let (stop, wake) = (stop.clone(), Arc::clone(&self.wake));
            tasks.spawn(async move { keep_delivering(&courier, &stop, &wake).await });
        }
        Couriers { stop, tasks }
    }
}

/// The couriers of one configuration.
struct Couriers {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Couriers {
    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(done) = self.tasks.join_next().await {
            if let Err(error) = done {
                tracing::error!(%error, "a courier failed");
            }
        }
    }
}

async fn keep_delivering(courier: &Courier, stop: &CancellationToken, wake: &Notify) {
    let mut is_told = false;
    while !stop.is_cancelled() {
        let woken = wake.notified();
        let wait = match courier.pass(stop).await {
            // Looked at in any case: somebody may have asked for it at once.
            Ok(Next::At(at)) => {
                is_told = false;
                Duration::from_millis(at.saturating_sub(unix_ms())).min(LOOK_EVERY)
            }
            Ok(Next::Idle | Next::Busy) => {
                is_told = false;
                LOOK_EVERY
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    let hint = error.hint();
                    let error = &error as &(dyn std::error::Error + 'static);
                    tracing::error!(
                        error,
                        entry = courier.name(),
                        "nothing is delivered for now: {hint}"
                    );
                }
                DISK_PAUSE
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = woken => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests;
