//! What waits and what was put aside, for people: listed, sent again, dropped.
//!
//! Works on the folder alone, whether or not a daemon runs; a daemon sees what changed within seconds.
//! All calls block on the disk for milliseconds.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Serialize;

use super::{
    durable::{self, QueueError},
    queue::{Place, Queue},
};

/// Paths of a delivery that are told by name.
const NAMED_PATHS: usize = 20;

/// Which delivery: the name of its entry, a dot, and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryId {
    entry: String,
    number: u64,
}

/// A text is no id of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a delivery, such as webhook.1777000000000")]
pub struct BadDeliveryId;

impl FromStr for DeliveryId {
    type Err = BadDeliveryId;

    fn from_str(text: &str) -> Result<Self, BadDeliveryId> {
        let (entry, number) = text.rsplit_once('.').ok_or(BadDeliveryId)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        // A name is a folder's: nothing may lead out of it.
        if entry.is_empty() || !entry.bytes().all(plain) {
            return Err(BadDeliveryId);
        }
        Ok(Self {
            entry: entry.to_owned(),
            number: number.parse().map_err(|_| BadDeliveryId)?,
        })
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.entry, self.number)
    }
}

/// Whether a delivery is still to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DeliveryState {
    /// It is tried again by itself.
    Waiting,
    /// It was refused, or failed too often: somebody has to act.
    Dead,
}

/// A delivery that was not made yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Its id.
    pub id: String,
    /// The name of its entry.
    pub entry: String,
    /// Whether it is still to be made.
    pub state: DeliveryState,
    /// The deploy that it tells of.
    pub deploy_id: String,
    /// When that was noticed, in milliseconds of Unix time.
    pub published_unix_ms: u64,
    /// How often it failed.
    pub attempts: u32,
    /// When it is tried again at the earliest, in milliseconds of Unix time; 0 is at once.
    pub next_unix_ms: u64,
    /// Why it failed last.
    pub error: Option<String>,
    /// How many paths it tells of.
    pub files: usize,
    /// The first of them.
    pub paths: Vec<String>,
}

/// A delivery cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    /// The queue cannot be used.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is no such delivery.
    #[error("there is no delivery {id} that waits or failed")]
    Unknown {
        /// The id.
        id: String,
    },
    /// It is being made.
    #[error("the delivery {id} is on its way")]
    OnItsWay {
        /// The id.
        id: String,
    },
}

impl LettersError {
    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Queue(error) => error.hint(),
            Self::Unknown { .. } => "`onsave deliveries list` shows those there are".to_owned(),
            Self::OnItsWay { .. } => "try again in a moment".to_owned(),
        }
    }
}

/// The deliveries of one site.
#[derive(Debug, Clone)]
pub struct Letters {
    queues: PathBuf,
}

impl Letters {
    /// Returns the deliveries in the state folder's `deliveries`.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            queues: folder.join("queues"),
        }
    }

    /// Returns what waits and what failed: by entry, in the order in which it is delivered.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when the folder cannot be read; that there is none is no error.
    pub fn list(&self) -> Result<Vec<Delivery>, QueueError> {
        let mut all = Vec::new();
        for entry in self.entries()? {
            let queue = Queue::of(&self.queues, &entry);
            for (place, state) in [
                (Place::Dead, DeliveryState::Dead),
                (Place::Waiting, DeliveryState::Waiting),
            ] {
                for number in queue.numbers(place)? {
                    all.extend(delivery(&queue, (&entry, number), (place, state))?);
                }
            }
        }
        Ok(all)
    }

    fn entries(&self) -> Result<Vec<String>, QueueError> {
        let error = QueueError::of("read", &self.queues);
        let folders = match fs::read_dir(&self.queues) {
            Ok(folders) => folders,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(error(source)),
        };
        let mut names = Vec::new();
        for folder in folders {
            names.extend(folder.map_err(&error)?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Has a delivery that failed made again, or one that waits made at once.
    ///
    /// # Errors
    ///
    /// [`LettersError`].
    pub fn resend(&self, id: &DeliveryId) -> Result<(), LettersError> {
        let queue = Queue::of(&self.queues, &id.entry);
        if queue.numbers(Place::Waiting)?.contains(&id.number) {
            let _lock = locked(&queue, id)?;
            if queue.revive(id.number)? {
                return Ok(());
            }
            if let Some(mut letter) = queue.read(Place::Waiting, id.number)? {
                (letter.attempts, letter.next_unix_ms) = (0, 0);
                queue.write(Place::Waiting, id.number, &letter)?;
                return Ok(());
            }
        }
        if queue.revive(id.number)? {
            Ok(())
        } else {
            Err(LettersError::Unknown { id: id.to_string() })
        }
    }

    /// Has every delivery that failed made again, and returns how many those are.
    ///
    /// # Errors
    ///
    /// [`LettersError`]; those before it are on their way.
    pub fn resend_all(&self) -> Result<usize, LettersError> {
        let mut count = 0;
        for delivery in self.list()? {
            if delivery.state == DeliveryState::Dead
                && let Ok(id) = delivery.id.parse()
            {
                self.resend(&id)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Forgets a delivery.
    ///
    /// # Errors
    ///
    /// [`LettersError`].
    pub fn drop(&self, id: &DeliveryId) -> Result<(), LettersError> {
        let queue = Queue::of(&self.queues, &id.entry);
        let is_in = |place| Ok::<_, QueueError>(queue.numbers(place)?.contains(&id.number));
        if is_in(Place::Dead)? {
            queue.remove(Place::Dead, id.number)?;
        } else if is_in(Place::Waiting)? {
            let _lock = locked(&queue, id)?;
            queue.remove(Place::Waiting, id.number)?;
        } else {
            return Err(LettersError::Unknown { id: id.to_string() });
        }
        Ok(())
    }
}

/// Keeps others from a queue, unless something of it is on its way.
fn locked(queue: &Queue, id: &DeliveryId) -> Result<fs::File, LettersError> {
    let lock = durable::try_lock(&queue.lock_file())?;
    lock.ok_or_else(|| LettersError::OnItsWay { id: id.to_string() })
}

fn delivery(
    queue: &Queue,
    (entry, number): (&str, u64),
    (place, state): (Place, DeliveryState),
) -> Result<Option<Delivery>, QueueError> {
    let Some(letter) = queue.read(place, number)? else {
        return Ok(None);
    };
    let files = &letter.event.files;
    let id = DeliveryId {
        entry: entry.to_owned(),
        number,
    };
    Ok(Some(Delivery {
        id: id.to_string(),
        entry: entry.to_owned(),
        state,
        deploy_id: letter.event.deploy_id.clone(),
        published_unix_ms: letter.event.published_unix_ms,
        attempts: letter.attempts,
        next_unix_ms: letter.next_unix_ms,
        error: letter.error,
        files: files.len(),
        paths: files
            .keys()
            .take(NAMED_PATHS)
            .map(ToString::to_string)
            .collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::after_publish::{event::tests::event, queue::Letter};

    #[test]
    fn an_id_leads_nowhere_else() {
        let id: DeliveryId = "cms-sync.17".parse().unwrap();
        assert_eq!(id.to_string(), "cms-sync.17");
        for text in ["", "cms", ".1", "cms.", "cms.x", "../cms.1", "a/b.1"] {
            assert_eq!(text.parse::<DeliveryId>(), Err(BadDeliveryId), "{text}");
        }
    }

    #[test]
    fn what_failed_is_listed_sent_again_and_dropped() {
        let home = tempfile::tempdir().unwrap();
        let letters = Letters::in_folder(home.path());
        assert_eq!(letters.list().unwrap(), []);
        let queue = Queue::of(&home.path().join("queues"), "cms");
        queue.create().unwrap();
        let one = event("d", &[], &[("a", "")]);
        queue
            .bury(
                5,
                Letter {
                    error: Some("no".into()),
                    attempts: 2,
                    ..Letter::new(one.clone())
                },
            )
            .unwrap();
        queue.add(7, one).unwrap();
        let list = letters.list().unwrap();
        let told: Vec<_> = list
            .iter()
            .map(|found| (found.id.as_str(), found.state, found.attempts))
            .collect();
        assert_eq!(
            told,
            [
                ("cms.5", DeliveryState::Dead, 2),
                ("cms.7", DeliveryState::Waiting, 0)
            ]
        );
        assert_eq!(letters.resend_all().unwrap(), 1);
        assert!(
            letters
                .list()
                .unwrap()
                .iter()
                .all(|found| found.state == DeliveryState::Waiting)
        );
        let held = durable::try_lock(&queue.lock_file()).unwrap().unwrap();
        let id = |text: &str| text.parse::<DeliveryId>().unwrap();
        assert!(matches!(
            letters.drop(&id("cms.7")),
            Err(LettersError::OnItsWay { .. })
        ));
        drop(held);
        letters.drop(&id("cms.7")).unwrap();
        letters.resend(&id("cms.5")).unwrap();
        for unknown in ["cms.6", "other.5"] {
            assert!(matches!(
                letters.resend(&id(unknown)),
                Err(LettersError::Unknown { .. })
            ));
            assert!(matches!(
                letters.drop(&id(unknown)),
                Err(LettersError::Unknown { .. })
            ));
        }
        assert_eq!(letters.list().unwrap().len(), 1);
    }
}
