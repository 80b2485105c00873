//! The deliveries of one entry: the first event of its queue, until that is taken, put aside or failed.
//!
//! Whoever delivers holds the queue's lock, so that two processes never send the same event at once, and
//! the order is kept across them. Where several events may become one without losing anything (a purge, a
//! restart), those that wait are merged first.

use std::{collections::BTreeSet, sync::Arc, time::UNIX_EPOCH};

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    attempt::Attempt,
    durable::{self, QueueError},
    event::Event,
    queue::{Letter, Place, Queue},
    requests, restart,
    sender::{Sending, pause},
    setup::Setup,
};
use crate::{
    config::{AfterAction, AfterPublish},
    wall_clock,
};

/// When there is something to do again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// When there is something new.
    Idle,
    /// At this time, in milliseconds of Unix time.
    At(u64),
    /// When the other process that delivers is done.
    Busy,
}

/// What came of an event.
#[derive(Debug)]
struct Outcome {
    /// The requests that were taken.
    done: BTreeSet<String>,
    /// What is never taken, and why.
    refused: Option<(Event, String)>,
    /// What is left.
    rest: Option<Rest>,
}

#[derive(Debug)]
enum Rest {
    /// It failed; it may be tried again.
    Failed { event: Event, attempt: Attempt },
    /// This process ends.
    Stopped,
}

/// Delivers for one entry.
#[derive(Debug, Clone)]
pub(super) struct Courier {
    entry: AfterPublish,
    setup: Arc<Setup>,
    queue: Queue,
}

impl Courier {
    pub(super) fn new(entry: AfterPublish, setup: Arc<Setup>) -> Self {
        Self {
            queue: Queue::of(&setup.folder.join("queues"), &entry.name),
            entry,
            setup,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.entry.name
    }

    /// Delivers what is due, in order, until nothing is, or until `stop` is cancelled.
    ///
    /// # Errors
    ///
    /// When the queue cannot be used; what was delivered meanwhile may be delivered again.
    pub(super) async fn pass(&self, stop: &CancellationToken) -> Result<Next, QueueError> {
        // What waits is left to the daemon.
        if matches!(self.entry.action, AfterAction::ByDaemon) {
            return Ok(Next::Idle);
        }
        while !stop.is_cancelled() {
            let first = self.on_disk(|queue| Ok(queue.numbers(Place::Waiting)?.first().copied()));
            if first.await?.is_none() {
                return Ok(Next::Idle);
            }
            let lock = self.on_disk(|queue| durable::try_lock(&queue.lock_file()));
            let Some(_lock) = lock.await? else {
                return Ok(Next::Busy);
            };
            let coalesces = matches!(
                self.entry.action,
                AfterAction::CachePurge(_) | AfterAction::FlyRestart(_)
            );
            let head = self.on_disk(move |queue| head(queue, coalesces)).await?;
            let Some((number, letter)) = head else {
                continue;
            };
            if letter.next_unix_ms > unix_ms() {
                return Ok(Next::At(letter.next_unix_ms));
            }
            let outcome = self.deliver(number, &letter, stop).await;
            // Not looked at again: on a slow disk it would be due already, and nobody else's turn.
            if let Some(at) = self.keep((number, letter), outcome).await? {
                return Ok(Next::At(at));
            }
        }
        Ok(Next::Idle)
    }

    async fn deliver(&self, number: u64, letter: &Letter, stop: &CancellationToken) -> Outcome {
        if let AfterAction::FlyRestart(config) = &self.entry.action {
            let mut done = letter.done.clone();
            let attempt = tokio::select! {
                attempt = restart::restart(config, self.entry.timeout, &mut done) => attempt,
                () = stop.cancelled() => Attempt::Stopped,
            };
            return Outcome::of_whole(letter, attempt, done);
        }
        let sending = Sending {
            entry: &self.entry,
            setup: &self.setup,
            event: &letter.event,
            number,
        };
        let mut outcome = Outcome {
            done: letter.done.clone(),
            refused: None,
            rest: None,
        };
        let mut left = letter.event.clone();
        for planned in requests::plan(&self.entry.action, &letter.event, &self.setup.site) {
            if outcome.done.contains(&planned.key) {
                continue;
            }
            let attempt = tokio::select! {
                // First, since a command that is asked to end needs to be waited for.
                biased;
                attempt = sending.send(&planned, stop) => attempt,
                () = given_up(&self.entry.action, stop) => Attempt::Stopped,
            };
            match attempt {
                Attempt::Taken => {
                    outcome.done.insert(planned.key);
                }
                Attempt::Refused(error) => outcome.refuse(&mut left, &planned.paths, error),
                attempt => {
                    outcome.rest = Some(rest(left, attempt));
                    break;
                }
            }
        }
        outcome
    }

    /// Writes down what came of an event; returns when it is tried again, where it is.
    async fn keep(
        &self,
        (number, letter): (u64, Letter),
        outcome: Outcome,
    ) -> Result<Option<u64>, QueueError> {
        let attempts = letter.attempts + 1;
        let failed = |event, error| Letter {
            attempts,
            error: Some(error),
            ..Letter::new(event)
        };
        let refused = outcome.refused.map(|(event, error)| failed(event, error));
        if let Some(dead) = refused {
            self.say_dead(number, &dead);
            self.on_disk(move |queue| queue.bury(number, dead)).await?;
        }
        match outcome.rest {
            None => {
                tracing::debug!(
                    entry = self.name(),
                    deploy.id = letter.event.deploy_id,
                    "delivered"
                );
                self.on_disk(move |queue| queue.remove(Place::Waiting, number))
                    .await?;
            }
            Some(Rest::Stopped) if outcome.done == letter.done => {}
            Some(Rest::Stopped) => {
                let letter = Letter {
                    done: outcome.done,
                    ..letter
                };
                self.write(number, letter).await?;
            }
            Some(Rest::Failed { event, attempt }) => {
                let (error, asked) = match attempt {
                    Attempt::Later { error, after } => (error, after),
                    other => (format!("{other:?}"), None),
                };
                let mut next = failed(event, error);
                if attempts >= self.entry.attempts {
                    self.say_dead(number, &next);
                    let bury = self.on_disk(move |queue| {
                        queue.bury(number, next)?;
                        queue.remove(Place::Waiting, number)
                    });
                    bury.await?;
                    return Ok(None);
                }
                let wait = pause(attempts, asked);
                tracing::warn!(
                    entry = self.name(),
                    deploy.id = next.event.deploy_id,
                    attempts,
                    "not delivered: {}; trying again in {:.1} s",
                    next.error.as_deref().unwrap_or_default(),
                    wait.as_secs_f64()
                );
                let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                next.next_unix_ms = unix_ms().saturating_add(wait);
                next.done = outcome.done;
                let at = next.next_unix_ms;
                self.write(number, next).await?;
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn say_dead(&self, number: u64, dead: &Letter) {
        tracing::error!(
            entry = self.name(),
            deploy.id = dead.event.deploy_id,
            attempts = dead.attempts,
            "a delivery failed for good: {}; once that is mended, `onsave deliveries resend {}.{number}` \
             sends it again",
            dead.error.as_deref().unwrap_or_default(),
            self.name(),
        );
    }

    async fn write(&self, number: u64, letter: Letter) -> Result<(), QueueError> {
        self.on_disk(move |queue| queue.write(Place::Waiting, number, &letter))
            .await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Queue) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let queue = self.queue.clone();
        let lock_file = queue.lock_file();
        let done = spawn_blocking(move || work(&queue)).await;
        done.unwrap_or_else(|error| Err(QueueError::of("use", &lock_file)(error.into())))
    }
}

impl Outcome {
    /// What came of an event that is one request.
    fn of_whole(letter: &Letter, attempt: Attempt, done: BTreeSet<String>) -> Self {
        let event = letter.event.clone();
        let (refused, rest) = match attempt {
            Attempt::Taken => (None, None),
            Attempt::Refused(error) => (Some((event, error)), None),
            attempt => (None, Some(rest(event, attempt))),
        };
        Self {
            done,
            refused,
            rest,
        }
    }

    /// Takes what is refused out of what is left.
    fn refuse(&mut self, left: &mut Event, paths: &[onsave_protocol::SitePath], error: String) {
        let is_refused =
            |path: &str| paths.is_empty() || paths.iter().any(|known| known.as_str() == path);
        let Some(event) = left.filtered(is_refused) else {
            return;
        };
        left.files.retain(|path, _| !is_refused(path.as_str()));
        match &mut self.refused {
            Some((refused, _)) => refused.merge(event),
            None => self.refused = Some((event, error)),
        }
    }
}

fn rest(event: Event, attempt: Attempt) -> Rest {
    match attempt {
        Attempt::Stopped => Rest::Stopped,
        attempt => Rest::Failed { event, attempt },
    }
}

/// Resolves when a request is to be given up; a command ends by itself when it is asked to.
async fn given_up(action: &AfterAction, stop: &CancellationToken) {
    match action {
        AfterAction::Command(_) => std::future::pending().await,
        _ => stop.cancelled().await,
    }
}

/// Returns the event that is next, with those behind it where they may be merged.
fn head(queue: &Queue, coalesces: bool) -> Result<Option<(u64, Letter)>, QueueError> {
    let numbers = queue.numbers(Place::Waiting)?;
    let Some(first) = numbers.first() else {
        return Ok(None);
    };
    let Some(mut letter) = queue.read(Place::Waiting, *first)? else {
        return Ok(None);
    };
    let (Some(last), true) = (numbers.get(1..).and_then(<[u64]>::last), coalesces) else {
        return Ok(Some((*first, letter)));
    };
    for number in &numbers[1..] {
        if let Some(later) = queue.read(Place::Waiting, *number)? {
            letter.event.merge(later.event);
        }
    }
    // What was done for the earlier ones was before the later ones.
    letter.done = BTreeSet::new();
    queue.write(Place::Waiting, *last, &letter)?;
    for number in numbers.iter().filter(|number| *number != last) {
        queue.remove(Place::Waiting, *number)?;
    }
    Ok(Some((*last, letter)))
}

pub(super) fn unix_ms() -> u64 {
    let since = wall_clock::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    u64::try_from(ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
