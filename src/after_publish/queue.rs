//! The queue of one entry, on disk: a file for each event that waits, and for each that was put aside.
//!
//! ```text
//! queues/<name>/lock             held while something is delivered
//! queues/<name>/<number>.json    waits; the lowest number is next
//! queues/<name>/dead/<number>.json   was refused, or failed too often
//! ```
//!
//! Numbers grow with time and are never given twice, so that they are the order of the queue and part of
//! a delivery's id. An event that waits is durable before anything depends on it; how far its delivery is
//! may be lost with a crash, and is then done again.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    durable::{self, QueueError},
    event::Event,
};

/// The format that this build writes.
const FORMAT: u32 = 1;

/// Events that wait in one queue; further ones are merged into the newest.
const MOST_WAITING: usize = 1_000;

/// Events that are put aside in one queue; further ones take the place of the oldest.
const MOST_DEAD: usize = 1_000;

/// An event in a queue, and how far its delivery is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Letter {
    pub(super) format: u32,
    pub(super) event: Event,
    /// How often it failed.
    pub(super) attempts: u32,
    /// Not tried before this time, in milliseconds of Unix time.
    pub(super) next_unix_ms: u64,
    /// Why it failed last.
    pub(super) error: Option<String>,
    /// The requests that were taken.
    pub(super) done: BTreeSet<String>,
}

impl Letter {
    /// Returns an event that was not tried yet.
    pub(super) const fn new(event: Event) -> Self {
        Self {
            format: FORMAT,
            event,
            attempts: 0,
            next_unix_ms: 0,
            error: None,
            done: BTreeSet::new(),
        }
    }
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    Dead,
}

/// The queue of one entry.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    folder: PathBuf,
}

impl Queue {
    /// Names the queue of this entry; nothing is made yet.
    pub(super) fn of(queues: &Path, name: &str) -> Self {
        Self {
            folder: queues.join(name),
        }
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.folder.join("lock")
    }

    fn in_place(&self, place: Place) -> PathBuf {
        match place {
            Place::Waiting => self.folder.clone(),
            Place::Dead => self.folder.join("dead"),
        }
    }

    fn file(&self, place: Place, number: u64) -> PathBuf {
        self.in_place(place).join(format!("{number:020}.json"))
    }

    /// Makes its folders.
    pub(super) fn create(&self) -> Result<(), QueueError> {
        let dead = self.in_place(Place::Dead);
        durable::make_folder(&dead)?;
        durable::sync_folder(&dead)?;
        durable::sync_folder(&self.folder)
    }

    /// Returns the numbers of the events in a place, in order.
    pub(super) fn numbers(&self, place: Place) -> Result<Vec<u64>, QueueError> {
        let folder = self.in_place(place);
        let error = QueueError::of("read", &folder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(error(source)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(&error)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Returns an event; nothing where it is gone, or is none of ours.
    pub(super) fn read(&self, place: Place, number: u64) -> Result<Option<Letter>, QueueError> {
        let path = self.file(place, number);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(QueueError::of("read", &path)(error)),
        };
        match serde_json::from_slice::<Letter>(&bytes) {
            Ok(letter) if letter.format == FORMAT => Ok(Some(letter)),
            _ => {
                tracing::error!(path = %path.display(), "this file of a queue cannot be read, and is set aside");
                let aside = path.with_extension("unreadable");
                fs::rename(&path, &aside).map_err(QueueError::of("rename", &path))?;
                Ok(None)
            }
        }
    }

    /// Writes an event, durably.
    pub(super) fn write(
        &self,
        place: Place,
        number: u64,
        letter: &Letter,
    ) -> Result<(), QueueError> {
        let bytes = serde_json::to_vec(letter).expect("it has text keys and numbers alone");
        durable::write(&self.file(place, number), &bytes)
    }

    /// Removes an event; that it is gone is as good.
    pub(super) fn remove(&self, place: Place, number: u64) -> Result<(), QueueError> {
        durable::remove(&self.file(place, number))
    }

    /// Adds an event at the end; where too many wait, the newest takes it in.
    pub(super) fn add(&self, number: u64, event: Event) -> Result<(), QueueError> {
        self.create()?;
        let waiting = self.numbers(Place::Waiting)?;
        // Never the first, which may be on its way.
        let newest = waiting.last().filter(|_| waiting.len() >= MOST_WAITING);
        let Some(newest) = newest else {
            return self.write(Place::Waiting, number, &Letter::new(event));
        };
        tracing::warn!(
            queue = %self.folder.display(),
            "{MOST_WAITING} events wait to be delivered: further ones are merged"
        );
        let merged = match self.read(Place::Waiting, *newest)? {
            Some(before) => {
                let mut merged = before.event;
                merged.merge(event);
                merged
            }
            None => event,
        };
        self.write(Place::Waiting, number, &Letter::new(merged))?;
        self.remove(Place::Waiting, *newest)
    }

    /// Puts an event aside, merged with what was put aside of it before.
    pub(super) fn bury(&self, number: u64, letter: Letter) -> Result<(), QueueError> {
        let dead = self.numbers(Place::Dead)?;
        if !dead.contains(&number) && dead.len() >= MOST_DEAD {
            let surplus = &dead[..=dead.len() - MOST_DEAD];
            tracing::error!(
                queue = %self.folder.display(),
                "{MOST_DEAD} deliveries failed for good: the oldest are forgotten"
            );
            for number in surplus {
                self.remove(Place::Dead, *number)?;
            }
        }
        let mut letter = letter;
        if let Some(before) = self.read(Place::Dead, number)? {
            let mut event = before.event;
            event.merge(letter.event);
            letter.event = event;
        }
        letter.done = BTreeSet::new();
        self.write(Place::Dead, number, &letter)
    }

    /// Lets an event that was put aside wait again, as if it had never been tried.
    pub(super) fn revive(&self, number: u64) -> Result<bool, QueueError> {
        let Some(dead) = self.read(Place::Dead, number)? else {
            return Ok(false);
        };
        let mut event = dead.event;
        // What is left of the same event may still wait.
        if let Some(waiting) = self.read(Place::Waiting, number)? {
            event.merge(waiting.event);
        }
        self.write(Place::Waiting, number, &Letter::new(event))?;
        self.remove(Place::Dead, number)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::after_publish::event::tests::event;

    fn one(number: u64) -> Event {
        let text = number.to_string();
        event(&text, &[], &[("a", &text)])
    }

    fn queue() -> (tempfile::TempDir, Queue) {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::of(folder.path(), "x");
        queue.create().unwrap();
        (folder, queue)
    }

    #[test]
    fn the_order_is_that_of_the_numbers() {
        let (_folder, queue) = queue();
        for number in [5, 90, 100] {
            queue.add(number, one(number)).unwrap();
        }
        assert_eq!(queue.numbers(Place::Waiting).unwrap(), [5, 90, 100]);
        let first = queue.read(Place::Waiting, 5).unwrap().unwrap();
        assert_eq!(first, Letter::new(one(5)));
        queue.remove(Place::Waiting, 5).unwrap();
        queue.remove(Place::Waiting, 5).unwrap();
        assert_eq!(queue.read(Place::Waiting, 5).unwrap(), None);
    }

    #[test]
    fn a_full_queue_loses_nothing() {
        let (_folder, queue) = queue();
        for number in 0..MOST_WAITING as u64 {
            // Not through `add`, which makes each durable.
            let letter = serde_json::to_vec(&Letter::new(one(number))).unwrap();
            fs::write(queue.file(Place::Waiting, number), letter).unwrap();
        }
        queue.add(5_000, event("last", &[], &[("b", "")])).unwrap();
        let numbers = queue.numbers(Place::Waiting).unwrap();
        assert_eq!(
            (numbers.len(), *numbers.last().unwrap()),
            (MOST_WAITING, 5_000)
        );
        let newest = queue.read(Place::Waiting, 5_000).unwrap().unwrap().event;
        assert_eq!((newest.files.len(), newest.deploy_id.as_str()), (2, "last"));
    }

    #[test]
    fn what_was_put_aside_comes_back_untried() {
        let (_folder, queue) = queue();
        let failed = Letter {
            attempts: 3,
            error: Some("no".into()),
            done: ["a".to_owned()].into(),
            ..Letter::new(one(7))
        };
        queue.bury(7, failed).unwrap();
        queue
            .bury(7, Letter::new(event("7", &[], &[("b", "")])))
            .unwrap();
        let dead = queue.read(Place::Dead, 7).unwrap().unwrap();
        assert_eq!(dead.event.files.len(), 2);
        assert!(queue.revive(7).unwrap());
        assert!(!queue.revive(7).unwrap());
        assert_eq!(
            queue.read(Place::Waiting, 7).unwrap(),
            Some(Letter::new(dead.event))
        );
        assert_eq!(queue.numbers(Place::Dead).unwrap(), [0; 0]);
    }

    #[test]
    fn a_file_of_somebody_elses_stops_nothing() {
        let (_folder, queue) = queue();
        fs::write(queue.file(Place::Waiting, 1), "{").unwrap();
        assert_eq!(queue.read(Place::Waiting, 1).unwrap(), None);
        assert_eq!(queue.numbers(Place::Waiting).unwrap(), [0; 0]);
    }
}
