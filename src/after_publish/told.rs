//! What was told last: the deploy and its tree, as every queue has it.
//!
//! Owns the format of `told`: a line with the whole tree, then two lines for each deploy after it: the
//! paths that are about to be told, before any queue has them, and then the deploy, once all have. A
//! crash in between leaves paths of which nobody knows who was told what; they are told once more,
//! whatever became of them. Appending costs what changed; the whole is written again once the lines after
//! it are longer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use onsave_protocol::{Changeset, FileEntry, Manifest, Sha256Digest, SitePath, changeset::diff};
use serde::{Deserialize, Serialize};

use super::durable::{self, QueueError};

/// The format that this build writes; another one is as good as none.
const FORMAT: u32 = 1;

/// Lines after the whole tree may always be this long together, in bytes.
const MOST_APPENDED: u64 = 64 * 1024;

/// How many deploys are remembered as over.
const MOST_OVER: usize = 32;

/// What was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// The deploy; nothing where the site had none.
    pub(super) deploy_id: Option<String>,
    /// Its tree.
    pub(super) manifest: Manifest,
    /// Deploys that are current no more: whoever reports one of them now comes too late.
    pub(super) over: Vec<String>,
    /// The highest number that was given to an event.
    pub(super) number: u64,
    /// Paths of which it is not known what was told of them.
    pub(super) uncertain: BTreeSet<SitePath>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    format: u32,
    target: String,
    deploy_id: Option<String>,
    number: u64,
    over: Vec<String>,
    files: BTreeMap<SitePath, Sha256Digest>,
}

/// What is about to be told.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Intent {
    about_to_tell: Vec<SitePath>,
}

/// A line after the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Step(Step),
    Intent(Intent),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    deploy_id: String,
    number: u64,
    /// Deploys that are over with it.
    over: Vec<String>,
    puts: BTreeMap<SitePath, Sha256Digest>,
    removes: Vec<SitePath>,
}

/// The file, with what was read of it last.
#[derive(Debug)]
pub(super) struct ToldFile {
    path: PathBuf,
    target: String,
    /// What the file held when it was as this stamp says.
    read: Option<(Stamp, Told)>,
    whole_bytes: u64,
}

/// Which file it is, and how far it goes.
type Stamp = (u64, u64);

impl ToldFile {
    /// Names the file; what was told of another target than this one counts as nothing.
    pub(super) const fn new(path: PathBuf, target: String) -> Self {
        Self {
            path,
            target,
            read: None,
            whole_bytes: 0,
        }
    }

    /// Returns what was told; nothing where nothing is remembered of this target.
    pub(super) fn load(&mut self) -> Result<Option<Told>, QueueError> {
        let now = match fs::metadata(&self.path) {
            Ok(found) => (found.ino(), found.size()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(QueueError::of("read", &self.path)(error)),
        };
        if let Some((stamp, told)) = &self.read
            && *stamp == now
        {
            return Ok(Some(told.clone()));
        }
        let bytes = fs::read(&self.path).map_err(QueueError::of("read", &self.path))?;
        let Some((told, whole_bytes, good_bytes)) = parsed(&bytes, &self.target) else {
            return Ok(None);
        };
        if good_bytes < bytes.len() as u64 {
            // What follows a line that was cut off would be no line of its own.
            self.cut(good_bytes)?;
        }
        self.whole_bytes = whole_bytes;
        self.read = Some(((now.0, good_bytes), told.clone()));
        Ok(Some(told))
    }

    fn cut(&self, length: u64) -> Result<(), QueueError> {
        let error = QueueError::of("write", &self.path);
        let file = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .map_err(&error)?;
        file.set_len(length)
            .and_then(|()| file.sync_all())
            .map_err(&error)
    }

    /// Notes which paths are about to be told, durably; until then, nobody may be told of them.
    pub(super) fn intend(&mut self, paths: Vec<SitePath>) -> Result<(), QueueError> {
        let intent = Intent {
            about_to_tell: paths,
        };
        // Read again by whoever comes next: a step clears it.
        self.read = None;
        self.append(&line(&intent))
    }

    /// Remembers `next`, which came after `before`, durably.
    pub(super) fn store(&mut self, before: Option<&Told>, next: Told) -> Result<(), QueueError> {
        let appended = match (before, &next.deploy_id) {
            (Some(before), Some(id)) => self.append_step(before, &next, id)?,
            _ => false,
        };
        if !appended {
            self.write_whole(&next)?;
        }
        let found = fs::metadata(&self.path).map_err(QueueError::of("read", &self.path))?;
        self.read = Some(((found.ino(), found.size()), next));
        Ok(())
    }

    fn append_step(&self, before: &Told, next: &Told, id: &str) -> Result<bool, QueueError> {
        let Changeset { puts, removes } = diff(&before.manifest, &next.manifest);
        let step = Step {
            deploy_id: id.to_owned(),
            number: next.number,
            over: next.over.clone(),
            puts: digests(puts.iter()),
            removes: removes.into_iter().collect(),
        };
        let line = line(&step);
        let length = fs::metadata(&self.path).map_or(0, |found| found.size());
        let appended = length.saturating_sub(self.whole_bytes) + line.len() as u64;
        if appended > self.whole_bytes.max(MOST_APPENDED) {
            return Ok(false);
        }
        self.append(&line)?;
        Ok(true)
    }

    fn append(&self, line: &[u8]) -> Result<(), QueueError> {
        let length = fs::metadata(&self.path).map_or(0, |found| found.size());
        let error = QueueError::of("write", &self.path);
        let mut file = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .map_err(&error)?;
        if let Err(source) = file.write_all(line).and_then(|()| file.sync_data()) {
            // Half a line at a full disk must not become the start of the next one.
            self.cut(length)?;
            return Err(error(source));
        }
        Ok(())
    }

    fn write_whole(&mut self, told: &Told) -> Result<(), QueueError> {
        let whole = Whole {
            format: FORMAT,
            target: self.target.clone(),
            deploy_id: told.deploy_id.clone(),
            number: told.number,
            over: told.over.clone(),
            files: digests(told.manifest.iter()),
        };
        let line = line(&whole);
        durable::write(&self.path, &line)?;
        self.whole_bytes = line.len() as u64;
        Ok(())
    }
}

impl Told {
    /// Returns what is told once `manifest` is current as `deploy_id`.
    pub(super) fn followed_by(&self, deploy_id: &str, manifest: Manifest) -> Self {
        let mut next = Self {
            deploy_id: Some(deploy_id.to_owned()),
            manifest,
            over: self.over.clone(),
            number: self.number,
            uncertain: BTreeSet::new(),
        };
        if let Some(before) = &self.deploy_id
            && before != deploy_id
        {
            next.is_over(before);
        }
        // One that is current again, after a rollback, is over no more.
        next.over.retain(|over| over != deploy_id);
        next
    }

    /// Takes in a line of the file.
    fn take(&mut self, step: Step) {
        for path in &step.removes {
            self.manifest.remove(path.as_str());
        }
        for (path, digest) in step.puts {
            self.manifest.insert(path, entry(digest));
        }
        (self.deploy_id, self.number, self.over) = (Some(step.deploy_id), step.number, step.over);
        self.uncertain.clear();
    }

    /// Notes a deploy that is current no more.
    pub(super) fn is_over(&mut self, deploy_id: &str) {
        self.over.retain(|over| over != deploy_id);
        self.over.push(deploy_id.to_owned());
        let surplus = self.over.len().saturating_sub(MOST_OVER);
        self.over.drain(..surplus);
    }
}

fn digests<'a>(
    files: impl Iterator<Item = (&'a SitePath, &'a FileEntry)>,
) -> BTreeMap<SitePath, Sha256Digest> {
    files
        .map(|(path, entry)| (path.clone(), entry.digest))
        .collect()
}

/// Sizes do not matter: trees are compared by their digests.
const fn entry(digest: Sha256Digest) -> FileEntry {
    FileEntry { digest, size: 0 }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("it has text keys and numbers alone");
    line.push(b'\n');
    line
}

/// Returns what was told, the length of its first line, and how much of the file is whole lines of ours.
fn parsed(bytes: &[u8], target: &str) -> Option<(Told, u64, u64)> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().filter(|line| line.ends_with(b"\n"))?;
    let whole: Whole = serde_json::from_slice(first).ok()?;
    if whole.format != FORMAT || whole.target != target {
        return None;
    }
    let files = whole.files.into_iter();
    let mut told = Told {
        deploy_id: whole.deploy_id,
        manifest: files.map(|(path, digest)| (path, entry(digest))).collect(),
        over: whole.over,
        number: whole.number,
        uncertain: BTreeSet::new(),
    };
    let mut good = first.len();
    for line in lines {
        if !line.ends_with(b"\n") {
            break;
        }
        match serde_json::from_slice(line) {
            Ok(Line::Step(step)) => told.take(step),
            Ok(Line::Intent(intent)) => told.uncertain.extend(intent.about_to_tell),
            Err(_) => break,
        }
        good += line.len();
    }
    Some((told, first.len() as u64, good as u64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::after_publish::event::tests::tree;

    fn same(one: &Told, other: &Told) -> bool {
        one.deploy_id == other.deploy_id
            && one.number == other.number
            && one.over == other.over
            && diff(&one.manifest, &other.manifest).is_empty()
    }

    fn history(steps: usize) -> Vec<Told> {
        let mut all = vec![Told {
            deploy_id: Some("0".into()),
            manifest: tree(&[("a", "0"), ("keep", "k")]),
            ..Told::default()
        }];
        for step in 1..=steps {
            let text = step.to_string();
            let files = [
                ("a", text.as_str()),
                ("keep", "k"),
                (if step % 2 == 0 { "b" } else { "c" }, "x"),
            ];
            let mut next = all[step - 1].followed_by(&text, tree(&files));
            next.number = step as u64;
            all.push(next);
        }
        all
    }

    proptest! {
        /// Wherever a crash cuts the file, what is read was told once, and appending goes on from there.
        #[test]
        fn a_file_that_was_cut_off_holds_an_earlier_state(steps in 1_usize..6, cut in 0_usize..=100) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("told");
            let all = history(steps);
            let mut file = ToldFile::new(path.clone(), "t".into());
            file.store(None, all[0].clone()).unwrap();
            for pair in all.windows(2) {
                file.store(Some(&pair[0]), pair[1].clone()).unwrap();
            }
            let bytes = fs::read(&path).unwrap();
            let cut = bytes.len() * cut / 100;
            fs::write(&path, &bytes[..cut]).unwrap();
            let mut again = ToldFile::new(path.clone(), "t".into());
            let Some(told) = again.load().unwrap() else {
                prop_assert!(cut < bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1);
                return Ok(());
            };
            prop_assert!(all.iter().any(|known| same(known, &told)));
            let last = all.last().unwrap();
            again.store(Some(&told), last.clone()).unwrap();
            let read = ToldFile::new(path, "t".into()).load().unwrap().unwrap();
            prop_assert!(same(&read, last));
        }
    }

    #[test]
    fn another_targets_memory_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("told");
        let mut file = ToldFile::new(path.clone(), "here".into());
        assert!(file.load().unwrap().is_none());
        file.store(None, history(0)[0].clone()).unwrap();
        assert!(file.load().unwrap().is_some());
        assert!(
            ToldFile::new(path.clone(), "there".into())
                .load()
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn the_file_does_not_grow_without_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("told");
        let mut file = ToldFile::new(path.clone(), "t".into());
        let all = history(1_500);
        file.store(None, all[0].clone()).unwrap();
        for pair in all.windows(2) {
            file.store(Some(&pair[0]), pair[1].clone()).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < 2 * MOST_APPENDED);
        let read = ToldFile::new(path, "t".into()).load().unwrap().unwrap();
        assert!(same(&read, all.last().unwrap()));
        assert_eq!(read.over.len(), MOST_OVER);
    }
}
