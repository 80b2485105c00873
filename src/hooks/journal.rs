//! The events that were accepted and what became of each, in the state folder: an answer of 202 is kept
//! across a crash, and a delivery is known when it comes again.
//!
//! One file an event, named by its number: whole before it is accepted, without the event itself once it
//! has ended. Bounded: [`MOST_KEPT`] files, the oldest ended ones removed first; [`MOST_WAITING`] events
//! and [`MOST_WAITING_BYTES`] that wait, after which nothing more is accepted.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::spawn_blocking,
};

use super::{
    event::Event,
    outcome::{DocumentChange, Ended, HookState, Outcome},
};
use crate::durable_file::{self, Readers};

/// Outcomes that can be read, and deliveries that are known again.
const MOST_KEPT: usize = 1_000;

/// Events that wait at once.
const MOST_WAITING: usize = 200;

/// Bytes of bodies of those that wait.
const MOST_WAITING_BYTES: u64 = 64 * 1024 * 1024;

/// Events that are worked on together.
const MOST_TOGETHER: usize = 100;

/// Why an event is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    /// Too much waits.
    #[error("too many events wait already")]
    Full,
    /// It could not be made durable.
    #[error("an event cannot be written to the state folder")]
    Write(#[source] io::Error),
    /// What was written cannot be read.
    #[error("the events in {} cannot be read", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// An event that is to be accepted.
#[derive(Debug)]
pub(super) struct NewEvent {
    /// Its id and its time are set.
    pub(super) event: Event,
    /// What it is known by when it comes again.
    pub(super) deliveries: Vec<String>,
    /// The length of its body.
    pub(super) bytes: u64,
}

/// An event's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    outcome: Outcome,
    deliveries: Vec<String>,
    /// The length of its body; counted while it waits.
    bytes: u64,
    /// Until it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Records {
    by_number: BTreeMap<u64, Record>,
    by_id: HashMap<String, u64>,
    by_delivery: HashMap<String, u64>,
    next: u64,
}

/// The events of a site.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    records: Mutex<Records>,
    /// One event is accepted at a time: a delivery that comes twice at once is accepted once.
    accepting: Arc<AsyncMutex<()>>,
    accepted: watch::Sender<u64>,
}

impl Journal {
    /// Opens the journal in `folder`, which is made where it is not there.
    pub(super) fn open(folder: PathBuf) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Read {
            path: folder.clone(),
            source,
        };
        fs::create_dir_all(&folder).map_err(failed)?;
        let mut records = Records::default();
        let mut numbered = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Some(number) = number_of(&path) {
                numbered.insert(number, path);
            }
        }
        for (number, path) in numbered {
            let text = fs::read(&path).map_err(failed)?;
            match serde_json::from_slice::<Record>(&text) {
                Ok(record) if !records.knows_any(&record.deliveries) => {
                    records.insert(number, record);
                }
                // Whoever sent it was not answered, sent it again, and was.
                Ok(_) => remove(&path),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a hook's event is unreadable");
                }
            }
            records.next = number + 1;
        }
        let journal = Self {
            folder,
            records: Mutex::new(records),
            accepting: Arc::new(AsyncMutex::new(())),
            accepted: watch::channel(0).0,
        };
        journal.prune();
        Ok(journal)
    }

    /// Accepts an event, durably, unless its delivery is known; returns the id of its outcome, and whether
    /// it is new.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; nothing will be done about it.
    pub(super) async fn accept(
        self: &Arc<Self>,
        new: NewEvent,
    ) -> Result<(String, bool), JournalError> {
        let one_at_a_time = Arc::clone(&self.accepting).lock_owned().await;
        let journal = Arc::clone(self);
        // Done to its end, whoever goes away meanwhile: an event that is on the disk and nowhere else would
        // do nothing before the next start.
        let accepting = spawn_blocking(move || {
            let _one_at_a_time = one_at_a_time;
            journal.accept_now(new)
        });
        accepting
            .await
            .map_err(|error| JournalError::Write(error.into()))?
    }

    fn accept_now(&self, new: NewEvent) -> Result<(String, bool), JournalError> {
        let (number, record) = {
            let mut records = self.records();
            if let Some(id) = records.known(&new.deliveries) {
                return Ok((id, false));
            }
            if !records.has_room(new.bytes) {
                return Err(JournalError::Full);
            }
            let number = records.next;
            // Never used twice, also where whoever asks goes away in the middle.
            records.next += 1;
            (number, record(new))
        };
        serde_json::to_vec(&record)
            .map_err(io::Error::from)
            .and_then(|bytes| durable_file::replace(&self.path(number), &bytes, Readers::Owner))
            .map_err(JournalError::Write)?;
        let id = record.outcome.id.clone();
        self.records().insert(number, record);
        self.accepted.send_modify(|count| *count += 1);
        self.prune();
        Ok((id, true))
    }

    /// Waits for events of a hook, and returns them in their order; the same ones until they have ended.
    pub(super) async fn waiting(&self, hook: &str) -> Vec<Arc<Event>> {
        let mut accepted = self.accepted.subscribe();
        loop {
            accepted.mark_unchanged();
            let waiting: Vec<_> = self
                .records()
                .by_number
                .values()
                .filter_map(|record| record.event.clone())
                .filter(|event| event.hook == hook)
                .take(MOST_TOGETHER)
                .collect();
            if !waiting.is_empty() {
                return waiting;
            }
            // The sender is this journal's own.
            accepted.changed().await.ok();
        }
    }

    /// Returns an outcome.
    pub(super) fn outcome(&self, id: &str) -> Option<Outcome> {
        let records = self.records();
        let number = records.by_id.get(id)?;
        Some(records.by_number.get(number)?.outcome.clone())
    }

    /// Notes how far some events have come, for whoever asks; not durable.
    pub(super) fn note(&self, ids: &[String], now: u64, change: impl Fn(&mut Outcome)) {
        let mut records = self.records();
        for id in ids {
            if let Some(record) = records.of_id(id) {
                change(&mut record.outcome);
                record.outcome.changed_unix_ms = now;
            }
        }
    }

    /// Notes that events have come to this point.
    pub(super) fn reached(&self, ids: &[String], state: HookState, now: u64) {
        self.note(ids, now, |outcome| {
            outcome.state = state;
            outcome.detail = None;
        });
    }

    /// Notes what became of the document of some events.
    pub(super) fn fetched(&self, ids: &[String], document: &DocumentChange, now: u64) {
        self.note(ids, now, |outcome| {
            outcome.document = Some(document.clone());
        });
    }

    /// Ends events, durably: they are not worked on again.
    pub(super) async fn end(&self, ids: &[String], ended: &Ended, now: u64) {
        for id in ids {
            let changed = {
                let mut records = self.records();
                let number = records.by_id.get(id).copied();
                records
                    .of_id(id)
                    .map(|record| {
                        record.outcome.end(ended);
                        record.outcome.changed_unix_ms = now;
                        record.event = None;
                        record.clone()
                    })
                    .zip(number)
            };
            if let Some((record, number)) = changed
                && let Err(error) = self.write(number, &record).await
            {
                tracing::warn!(%error, "a hook's event has ended, and would be done again by the next start");
            }
        }
    }

    async fn write(&self, number: u64, record: &Record) -> io::Result<()> {
        let path = self.path(number);
        let bytes = serde_json::to_vec(record)?;
        spawn_blocking(move || durable_file::replace(&path, &bytes, Readers::Owner)).await?
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.json"))
    }

    /// Removes what has ended and is beyond the bound.
    fn prune(&self) {
        let mut removed = Vec::new();
        {
            let mut records = self.records();
            while records.by_number.len() > MOST_KEPT {
                let ended = records
                    .by_number
                    .iter()
                    .find(|(_, record)| record.event.is_none());
                let Some(number) = ended.map(|(number, _)| *number) else {
                    break;
                };
                records.forget(number);
                removed.push(number);
            }
        }
        for number in removed {
            remove(&self.path(number));
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Every change of it is whole before anything can panic.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn insert(&mut self, number: u64, record: Record) {
        self.by_id.insert(record.outcome.id.clone(), number);
        for delivery in &record.deliveries {
            self.by_delivery.insert(delivery.clone(), number);
        }
        self.by_number.insert(number, record);
    }

    fn forget(&mut self, number: u64) {
        if let Some(record) = self.by_number.remove(&number) {
            self.by_id.remove(&record.outcome.id);
            for delivery in &record.deliveries {
                self.by_delivery.remove(delivery);
            }
        }
    }

    fn of_id(&mut self, id: &str) -> Option<&mut Record> {
        let number = self.by_id.get(id)?;
        self.by_number.get_mut(number)
    }

    fn knows_any(&self, deliveries: &[String]) -> bool {
        self.known(deliveries).is_some()
    }

    fn known(&self, deliveries: &[String]) -> Option<String> {
        let number = deliveries
            .iter()
            .find_map(|name| self.by_delivery.get(name))?;
        Some(self.by_number.get(number)?.outcome.id.clone())
    }

    fn has_room(&self, bytes: u64) -> bool {
        let waiting = self
            .by_number
            .values()
            .filter(|record| record.event.is_some());
        let (count, sum) = waiting.fold((0, bytes), |(count, sum), record| {
            (count + 1, sum.saturating_add(record.bytes))
        });
        count < MOST_WAITING && sum <= MOST_WAITING_BYTES
    }
}

fn record(new: NewEvent) -> Record {
    let event = new.event;
    Record {
        outcome: Outcome {
            id: event.id.clone(),
            hook: event.hook.clone(),
            state: HookState::Queued,
            detail: None,
            deploy_id: None,
            document: None,
            accepted_unix_ms: event.received_unix_ms,
            changed_unix_ms: event.received_unix_ms,
        },
        deliveries: new.deliveries,
        bytes: new.bytes,
        event: Some(Arc::new(event)),
    }
}

fn number_of(path: &std::path::Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".json")?.parse().ok()
}

/// A file that stays is pruned by a later start.
fn remove(path: &std::path::Path) {
    let _gone = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;

    fn event(id: &str, hook: &str) -> Event {
        Event {
            id: id.to_owned(),
            hook: hook.to_owned(),
            event: None,
            operation: None,
            document_id: None,
            received_unix_ms: 7,
            payload: Value::Null,
        }
    }

    fn new(id: &str, deliveries: &[&str]) -> NewEvent {
        NewEvent {
            event: event(id, "cms"),
            deliveries: deliveries.iter().map(|name| (*name).to_owned()).collect(),
            bytes: 10,
        }
    }

    fn open(home: &TempDir) -> Arc<Journal> {
        Arc::new(Journal::open(home.path().join("events")).unwrap())
    }

    fn ids(events: &[Arc<Event>]) -> Vec<&str> {
        events.iter().map(|event| event.id.as_str()).collect()
    }

    #[tokio::test]
    async fn what_is_accepted_is_there_after_a_restart_in_its_order() {
        let home = tempfile::tempdir().unwrap();
        let journal = open(&home);
        for id in ["a", "b", "c"] {
            let accepted = journal.accept(new(id, &[])).await.unwrap();
            assert_eq!(accepted, (id.to_owned(), true));
        }
        journal
            .end(&["b".to_owned()], &Ended::Published("1-a".into()), 9)
            .await;
        journal.reached(&["a".to_owned()], HookState::Building, 8);
        drop(journal);
        let journal = open(&home);
        assert_eq!(ids(&journal.waiting("cms").await), ["a", "c"]);
        let ended = journal.outcome("b").unwrap();
        assert_eq!(ended.state, HookState::Published);
        assert_eq!(ended.deploy_id.as_deref(), Some("1-a"));
        assert_eq!((ended.accepted_unix_ms, ended.changed_unix_ms), (7, 9));
        assert_eq!(journal.outcome("a").unwrap().state, HookState::Queued);
        assert_eq!(journal.outcome("x"), None);
    }

    #[tokio::test]
    async fn a_delivery_that_comes_again_is_the_first_one_also_after_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let journal = open(&home);
        journal.accept(new("a", &["k", "s"])).await.unwrap();
        assert_eq!(
            journal.accept(new("b", &["s"])).await.unwrap(),
            ("a".into(), false)
        );
        journal.end(&["a".to_owned()], &Ended::InStep, 9).await;
        drop(journal);
        let journal = open(&home);
        for deliveries in [&["k"][..], &["x", "s"]] {
            let again = journal.accept(new("c", deliveries)).await.unwrap();
            assert_eq!(again, ("a".into(), false));
        }
        assert_eq!(
            journal.accept(new("d", &["x"])).await.unwrap(),
            ("d".into(), true)
        );
        assert_eq!(fs::read_dir(home.path().join("events")).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn twice_at_once_is_once() {
        let home = tempfile::tempdir().unwrap();
        let journal = open(&home);
        let (one, other) = tokio::join!(
            journal.accept(new("a", &["k"])),
            journal.accept(new("b", &["k"]))
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.0, other.0);
        assert_ne!(one.1, other.1);
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_next_event_of_its_hook() {
        let home = tempfile::tempdir().unwrap();
        let journal = open(&home);
        let other = NewEvent {
            event: event("o", "other"),
            ..new("o", &[])
        };
        let (waiting, ()) = tokio::join!(journal.waiting("cms"), async {
            journal.accept(other).await.unwrap();
            journal.accept(new("a", &[])).await.unwrap();
        });
        assert_eq!(ids(&waiting), ["a"]);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_has_ended_makes_room() {
        let home = tempfile::tempdir().unwrap();
        let journal = open(&home);
        let large = NewEvent {
            bytes: MOST_WAITING_BYTES - 15,
            ..new("large", &[])
        };
        journal.accept(large).await.unwrap();
        journal.accept(new("a", &[])).await.unwrap();
        let full = journal.accept(new("b", &[])).await.unwrap_err();
        assert!(matches!(full, JournalError::Full));
        journal
            .end(&["large".to_owned()], &Ended::Failed("why".into()), 9)
            .await;
        journal.accept(new("b", &[])).await.unwrap();
        assert_eq!(
            journal.outcome("large").unwrap().detail.as_deref(),
            Some("why")
        );
    }

    #[tokio::test]
    async fn a_state_folder_that_is_gone_accepts_nothing() {
        let home = tempfile::tempdir().unwrap();
        let journal = open(&home);
        fs::remove_dir_all(home.path().join("events")).unwrap();
        let refused = journal.accept(new("a", &["k"])).await.unwrap_err();
        assert!(matches!(refused, JournalError::Write(_)));
        assert_eq!(journal.outcome("a"), None);
    }
}
