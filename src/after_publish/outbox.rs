//! From what is current to the queues: whatever differs from what was told last is told.
//!
//! Invariant: a difference is durable in every queue that it is for before it counts as told, and it is
//! noted which paths are about to be told before any queue has them. A crash in between tells them twice;
//! whatever was missed, by a crash or because nobody was looking, is in the difference that the next look
//! finds.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use onsave_protocol::{Changeset, Manifest, SitePath};

use super::{
    durable::{self, QueueError},
    event::{Change, Event, MOST_PATHS},
    queue::{Place, Queue},
    told::{Told, ToldFile},
};
use crate::config::AfterPublish;

/// A deploy that was seen to be current.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    pub(super) deploy_id: String,
    pub(super) at_unix_ms: u64,
    pub(super) seen: Seen,
}

/// What is known of a deploy.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// What it changed of its base.
    Changes {
        base: String,
        changeset: Arc<Changeset>,
    },
    /// All of it.
    Whole {
        manifest: Manifest,
        /// The deploy whose place it took, where that is known.
        instead_of: Option<String>,
    },
}

/// What came of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It is told, with so many new events.
    Told(usize),
    /// It is told as far as it is known; only the whole tree says what is current.
    NeedsWhole(usize),
}

/// What was told, and the queues.
#[derive(Debug)]
pub(super) struct Outbox {
    folder: PathBuf,
    told: ToldFile,
}

impl Outbox {
    /// Names the folder; nothing is made yet.
    pub(super) fn new(folder: PathBuf, target: String) -> Self {
        Self {
            told: ToldFile::new(folder.join("told"), target),
            folder,
        }
    }

    /// Returns whether it is known what was told of the target.
    pub(super) fn has_begun(&mut self) -> Result<bool, QueueError> {
        durable::make_folder(&self.folder)?;
        // Loading mends what a crash cut off, and another process may be writing.
        let _lock = durable::lock(&self.folder.join("lock"))?;
        Ok(self.told.load()?.is_some())
    }

    /// Counts what is current as told, unless it is known what was told.
    pub(super) fn begin(
        &mut self,
        deploy_id: Option<&str>,
        manifest: Manifest,
    ) -> Result<(), QueueError> {
        durable::make_folder(&self.folder)?;
        let _lock = durable::lock(&self.folder.join("lock"))?;
        if self.told.load()?.is_none() {
            let told = Told {
                deploy_id: deploy_id.map(str::to_owned),
                manifest,
                ..Told::default()
            };
            self.told.store(None, told)?;
        }
        Ok(())
    }

    /// Puts what differs from what was told into the queues of `entries`.
    pub(super) fn record(
        &mut self,
        observation: &Observation,
        entries: &[AfterPublish],
    ) -> Result<Recorded, QueueError> {
        durable::make_folder(&self.folder)?;
        let _lock = durable::lock(&self.folder.join("lock"))?;
        let before = self.told.load()?;
        let told = before.clone().unwrap_or_default();
        let (manifest, is_certain) = match &observation.seen {
            Seen::Whole { manifest, .. } => (manifest.clone(), true),
            Seen::Changes { .. } if told.deploy_id.as_ref() == Some(&observation.deploy_id) => {
                return Ok(Recorded::Told(0));
            }
            // Somebody has put another one in its place, and said so.
            Seen::Changes { .. } if told.over.contains(&observation.deploy_id) => {
                return Ok(Recorded::Told(0));
            }
            Seen::Changes { base, changeset } => {
                let mut manifest = told.manifest.clone();
                changeset.apply(&mut manifest);
                (manifest, told.deploy_id.as_ref() == Some(base))
            }
        };
        let mut next = told.followed_by(&observation.deploy_id, manifest);
        if let Seen::Whole {
            instead_of: Some(over),
            ..
        } = &observation.seen
            && *over != observation.deploy_id
        {
            next.is_over(over);
        }
        let event = Event {
            deploy_id: observation.deploy_id.clone(),
            published_unix_ms: observation.at_unix_ms,
            files: differences(&told, &next.manifest),
        };
        // Nothing was remembered of this target: what is current is where telling begins.
        let is_begin = before.is_none() && is_certain;
        let queued = if is_begin || event.files.is_empty() {
            0
        } else {
            if before.is_some() {
                self.told.intend(event.files.keys().cloned().collect())?;
            }
            self.enqueue(&event, entries, &mut next)?
        };
        if !is_certain {
            return Ok(Recorded::NeedsWhole(queued));
        }
        self.told.store(before.as_ref(), next)?;
        Ok(Recorded::Told(queued))
    }

    fn enqueue(
        &self,
        event: &Event,
        entries: &[AfterPublish],
        told: &mut Told,
    ) -> Result<usize, QueueError> {
        let mut queued = 0;
        for entry in entries {
            let Some(for_it) = event.filtered(|path| entry.is_for(path)) else {
                continue;
            };
            let queue = Queue::of(&self.folder.join("queues"), &entry.name);
            for piece in for_it.pieces(MOST_PATHS) {
                let highest = [Place::Waiting, Place::Dead].into_iter().map(|place| {
                    let numbers = queue.numbers(place)?;
                    Ok(numbers.last().copied().unwrap_or_default())
                });
                let highest = highest.collect::<Result<Vec<_>, QueueError>>()?;
                let highest = highest.into_iter().fold(told.number, u64::max);
                told.number = event.published_unix_ms.max(highest + 1);
                queue.add(told.number, piece)?;
                queued += 1;
            }
        }
        Ok(queued)
    }
}

/// Returns what was not told of a tree: what differs, and whatever became of the paths that are uncertain.
fn differences(told: &Told, manifest: &Manifest) -> BTreeMap<SitePath, Change> {
    let mut files = Event::files_between(&told.manifest, manifest);
    for path in &told.uncertain {
        let now = manifest.get(path.as_str()).map(|entry| entry.digest);
        let change = now.map_or(Change::Removed, Change::Changed);
        files.entry(path.clone()).or_insert(change);
    }
    files
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, path::Path, time::Duration};

    use onsave_protocol::{Sha256Digest, changeset::diff};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        after_publish::event::tests::tree,
        config::{AfterAction, BuildCommand},
        ignore_rules::Patterns,
    };

    /// Returns an entry that is for these paths.
    pub(in crate::after_publish) fn entry(name: &str, paths: &[&str]) -> AfterPublish {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        AfterPublish {
            name: name.to_owned(),
            paths: (!paths.is_empty()).then(|| Patterns::new(&paths).unwrap()),
            attempts: 3,
            timeout: Duration::from_secs(20),
            secret_variable: None,
            action: AfterAction::Command(BuildCommand::Shell("true".into())),
        }
    }

    fn publish(id: &str, base: &str, (from, to): (&Manifest, &Manifest)) -> Observation {
        Observation {
            deploy_id: id.to_owned(),
            at_unix_ms: 1,
            seen: Seen::Changes {
                base: base.to_owned(),
                changeset: Arc::new(diff(from, to)),
            },
        }
    }

    fn whole(id: &str, manifest: &Manifest, instead_of: Option<&str>) -> Observation {
        Observation {
            deploy_id: id.to_owned(),
            at_unix_ms: 1,
            seen: Seen::Whole {
                manifest: manifest.clone(),
                instead_of: instead_of.map(str::to_owned),
            },
        }
    }

    fn events(folder: &Path, name: &str) -> Vec<Event> {
        let queue = Queue::of(&folder.join("queues"), name);
        let numbers = queue.numbers(Place::Waiting).unwrap();
        let read = |number| queue.read(Place::Waiting, number).unwrap().unwrap().event;
        numbers.into_iter().map(read).collect()
    }

    #[test]
    fn a_publish_is_told_to_whom_it_is_for() {
        let home = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::new(home.path().to_owned(), "t".into());
        let entries = [entry("all", &[]), entry("blog", &["blog/", "!blog/draft*"])];
        let first = tree(&[("index.html", "1"), ("blog/a.html", "1")]);
        outbox.begin(Some("1"), first.clone()).unwrap();
        let second = tree(&[
            ("index.html", "2"),
            ("blog/a.html", "1"),
            ("blog/draft.html", ""),
        ]);
        let recorded = outbox
            .record(&publish("2", "1", (&first, &second)), &entries)
            .unwrap();
        assert_eq!(
            recorded,
            Recorded::Told(1),
            "nothing of it is for the second"
        );
        let third = tree(&[("index.html", "2")]);
        let recorded = outbox
            .record(&publish("3", "2", (&second, &third)), &entries)
            .unwrap();
        assert_eq!(recorded, Recorded::Told(2));
        let removed: BTreeMap<_, _> =
            [(SitePath::parse("blog/a.html").unwrap(), Change::Removed)].into();
        assert_eq!(events(home.path(), "blog")[0].files, removed);
        assert_eq!(events(home.path(), "all").len(), 2);
        // What is told already is not told again.
        let again = outbox
            .record(&publish("3", "2", (&second, &third)), &entries)
            .unwrap();
        assert_eq!(again, Recorded::Told(0));
    }

    #[test]
    fn what_nobody_reported_is_found_by_the_next_look() {
        let home = tempfile::tempdir().unwrap();
        let entries = [entry("all", &[])];
        let mut outbox = Outbox::new(home.path().to_owned(), "t".into());
        let (first, second) = (tree(&[("a", "1")]), tree(&[("a", "2"), ("b", "1")]));
        outbox.begin(Some("1"), first.clone()).unwrap();
        // The process was killed between the commit and this: another one looks.
        let mut outbox = Outbox::new(home.path().to_owned(), "t".into());
        outbox.record(&whole("2", &second, None), &entries).unwrap();
        assert_eq!(events(home.path(), "all")[0].files.len(), 2);
        // A base that is not what was told: the changes are told, and the rest is asked for.
        let third = tree(&[("a", "3"), ("b", "1")]);
        let recorded = outbox
            .record(&publish("4", "3", (&second, &third)), &entries)
            .unwrap();
        assert_eq!(recorded, Recorded::NeedsWhole(1));
        assert_eq!(
            outbox.record(&whole("4", &third, None), &entries).unwrap(),
            Recorded::Told(1)
        );
        assert_eq!(
            outbox.record(&whole("4", &third, None), &entries).unwrap(),
            Recorded::Told(0)
        );
    }

    #[test]
    fn a_publish_that_is_reported_after_its_rollback_comes_too_late() {
        let home = tempfile::tempdir().unwrap();
        let entries = [entry("all", &[])];
        let mut outbox = Outbox::new(home.path().to_owned(), "t".into());
        let (first, second) = (tree(&[("a", "1")]), tree(&[("a", "2")]));
        outbox.begin(Some("1"), first.clone()).unwrap();
        outbox
            .record(&whole("1", &first, Some("2")), &entries)
            .unwrap();
        let late = outbox
            .record(&publish("2", "1", (&first, &second)), &entries)
            .unwrap();
        assert_eq!(late, Recorded::Told(0));
        assert!(
            events(home.path(), "all").is_empty(),
            "the first is current, and was told"
        );
    }

    #[test]
    fn numbers_only_grow() {
        let home = tempfile::tempdir().unwrap();
        let entries = [entry("all", &[])];
        let mut outbox = Outbox::new(home.path().to_owned(), "t".into());
        outbox.begin(None, Manifest::new()).unwrap();
        let queue = Queue::of(&home.path().join("queues"), "all");
        let mut last = 0;
        for step in 1..5_u64 {
            let mut seen = whole(&step.to_string(), &tree(&[("a", &step.to_string())]), None);
            // The clock goes back.
            seen.at_unix_ms = 100 - step;
            outbox.record(&seen, &entries).unwrap();
            let numbers = queue.numbers(Place::Waiting).unwrap();
            assert!(numbers[0] > last, "{numbers:?}");
            last = numbers[0];
            queue.remove(Place::Waiting, last).unwrap();
        }
    }

    fn trees() -> impl Strategy<Value = Vec<Manifest>> {
        let one = prop::collection::btree_map("[abc]", "[xyz]", 0..4).prop_map(|files| {
            let files: Vec<_> = files
                .iter()
                .map(|(path, text)| (path.as_str(), text.as_str()))
                .collect();
            tree(&files)
        });
        prop::collection::vec(one, 2..8)
    }

    proptest! {
        /// Whichever reports are lost to a kill, and wherever a kill undoes what was told, whoever applies
        /// all events in order has the tree that is current, once somebody looked.
        #[test]
        fn no_kill_loses_anything(
            trees in trees(),
            kills in prop::collection::vec(0_u8..4, 8),
        ) {
            let home = tempfile::tempdir().unwrap();
            let entries = [entry("all", &[])];
            let told_file = home.path().join("told");
            let mut outbox = Outbox::new(home.path().to_owned(), "t".into());
            outbox.begin(Some("0"), trees[0].clone()).unwrap();
            for (step, pair) in trees.windows(2).enumerate() {
                let (id, base) = ((step + 1).to_string(), step.to_string());
                match kills[step] {
                    // Killed before anything was written; the next process looks.
                    0 => outbox = Outbox::new(home.path().to_owned(), "t".into()),
                    // Killed after the queues were written, and before that counted as told.
                    1 => {
                        outbox.record(&whole(&id, &pair[1], None), &entries).unwrap();
                        let told = fs::read(&told_file).unwrap();
                        let last = told[..told.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
                        fs::write(&told_file, &told[..=last]).unwrap();
                        outbox = Outbox::new(home.path().to_owned(), "t".into());
                    }
                    // Killed afterwards.
                    2 => {
                        outbox.record(&publish(&id, &base, (&pair[0], &pair[1])), &entries).unwrap();
                        outbox = Outbox::new(home.path().to_owned(), "t".into());
                    }
                    _ => {
                        outbox.record(&publish(&id, &base, (&pair[0], &pair[1])), &entries).unwrap();
                    }
                }
            }
            let last = trees.last().unwrap();
            let id = (trees.len() - 1).to_string();
            outbox.record(&whole(&id, last, None), &entries).unwrap();
            let digests = |manifest: &Manifest| -> BTreeMap<SitePath, Sha256Digest> {
                manifest.iter().map(|(path, entry)| (path.clone(), entry.digest)).collect()
            };
            let mut heard = digests(&trees[0]);
            for event in events(home.path(), "all") {
                for (path, change) in event.files {
                    match change {
                        Change::Added(digest) | Change::Changed(digest) => heard.insert(path, digest),
                        Change::Removed => heard.remove(&path),
                    };
                }
            }
            prop_assert_eq!(heard, digests(last));
        }
    }
}
