//! The walk: looks at folders and files, and hashes what the stat index does not vouch for.
//!
//! Works in rounds: each round's jobs (a folder to list, a few files to hash) are shared out among
//! threads, and give the jobs of the next. No queue, no waiting between threads; a round ends when
//! its slowest job does. One job alone, such as a single save, runs on the calling thread.
//!
//! Owns nothing: it reads the index and the rules, and returns [`Sightings`]. An error that says
//! nothing about the tree (I/O, too many open files) ends the survey, because taking a file for
//! gone would unpublish it; what is gone or forbidden is a fact of the tree.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    mem,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use onsave_protocol::{SitePath, wire::is_reserved};

use crate::{
    ignore_rules::{EntryKind, IgnoreRules, RULE_FILE, Verdict},
    site_folder::is_gone,
    site_names::site_path,
};

use super::{
    ScanCounts, ScanError,
    hash::{FileHasher, Hashed},
    links::{self, Place, Target},
    secrets::{Suspicion, suspicion},
    stat_index::{Indexed, ScanStart, Stamp, StatIndex},
    warning::{LinkProblem, ScanWarning},
};

/// Files hashed in one job: few enough to share out, enough that handing out costs nothing.
const FILES_A_JOB: usize = 32;

/// Bytes of a rule file that are read; more is no list of patterns.
const MAX_RULE_BYTES: u64 = 1024 * 1024;

/// What the survey goes by.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) root: &'a Path,
    pub(super) index: &'a StatIndex,
    pub(super) rules: &'a IgnoreRules,
    pub(super) start: ScanStart,
    pub(super) threads: NonZeroUsize,
}

/// Something to do in a round.
#[derive(Debug)]
enum Job {
    Folder(Place),
    Files(Vec<Candidate>),
}

/// A file whose bytes have to be read.
#[derive(Debug)]
struct Candidate {
    local: SitePath,
    real: PathBuf,
    suspicion: Suspicion,
}

/// Everything that a survey saw.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    pub(super) files: Vec<(SitePath, Indexed)>,
    pub(super) unstable: Vec<SitePath>,
    pub(super) warnings: Vec<ScanWarning>,
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
    pub(super) rule_files: BTreeMap<String, String>,
    pub(super) counts: ScanCounts,
    candidates: Vec<Candidate>,
    folders: Vec<Place>,
}

/// One entry of a folder.
struct Entry<'a> {
    place: &'a Place,
    name: &'a str,
    kind: fs::FileType,
}

impl Survey<'_> {
    /// Looks at the whole site folder.
    pub(super) fn whole(&self) -> Result<Sightings, ScanError> {
        let mut seen = Sightings::default();
        seen.folders.push(self.root_place());
        self.finish(seen)
    }

    /// Looks at these paths, relative to the site folder, and at all that lies below them.
    pub(super) fn narrow<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p Path>,
    ) -> Result<Sightings, ScanError> {
        let mut seen = Sightings::default();
        for path in paths {
            let Some(text) = path.to_str() else {
                self.look_at_odd_name(path, &mut seen)?;
                continue;
            };
            let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
            let Some(place) = self.enter(folder)? else {
                continue;
            };
            let real = place.real.join(name);
            match fs::symlink_metadata(&real) {
                Ok(metadata) => {
                    let entry = Entry {
                        place: &place,
                        name,
                        kind: metadata.file_type(),
                    };
                    self.look_at(&entry, || Ok(metadata), &mut seen)?;
                }
                Err(error) => refused(error, Path::new(text), &mut seen)?,
            }
        }
        self.finish(seen)
    }

    fn root_place(&self) -> Place {
        Place {
            local: String::new(),
            real: self.root.to_owned(),
            through: Vec::new(),
        }
    }

    /// Returns the folder with this path, unless it is gone, ignored or not followed.
    fn enter(&self, folder: &str) -> Result<Option<Place>, ScanError> {
        let mut place = self.root_place();
        for name in folder.split('/').filter(|name| !name.is_empty()) {
            let local = place.local_path(name);
            if self.rules.verdict(&local, EntryKind::Folder) != Verdict::Publish {
                return Ok(None);
            }
            let real = place.real.join(name);
            let kind = match fs::symlink_metadata(&real) {
                Ok(metadata) => metadata.file_type(),
                Err(error) if is_fact(&error) => return Ok(None),
                Err(source) => return Err(ScanError::Look { path: real, source }),
            };
            place = if kind.is_dir() {
                place.child(name)
            } else if kind.is_symlink() {
                match links::follow(self.root, self.rules, &place, name) {
                    Ok(Target::Folder(place)) => place,
                    Ok(_) => return Ok(None),
                    Err(error) if is_fact(&error) => return Ok(None),
                    Err(source) => return Err(ScanError::Look { path: real, source }),
                }
            } else {
                return Ok(None);
            };
        }
        Ok(Some(place))
    }

    fn finish(&self, mut seen: Sightings) -> Result<Sightings, ScanError> {
        loop {
            let mut jobs: Vec<Job> = mem::take(&mut seen.folders)
                .into_iter()
                .map(Job::Folder)
                .collect();
            let mut candidates = mem::take(&mut seen.candidates).into_iter();
            loop {
                let few: Vec<_> = candidates.by_ref().take(FILES_A_JOB).collect();
                if few.is_empty() {
                    break;
                }
                jobs.push(Job::Files(few));
            }
            if jobs.is_empty() {
                return Ok(seen);
            }
            self.round(&jobs, &mut seen)?;
        }
    }

    fn round(&self, jobs: &[Job], seen: &mut Sightings) -> Result<(), ScanError> {
        let next = AtomicUsize::new(0);
        let threads = self.threads.get().min(jobs.len());
        let helpers: Vec<Result<Sightings, ScanError>> = thread::scope(|scope| {
            let started: Vec<_> = (1..threads)
                .map(|_| scope.spawn(|| self.work(jobs, &next)))
                .collect();
            let own = self.work(jobs, &next);
            let joined = started.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            std::iter::once(own).chain(joined).collect()
        });
        for part in helpers {
            seen.absorb(part?);
        }
        Ok(())
    }

    fn work(&self, jobs: &[Job], next: &AtomicUsize) -> Result<Sightings, ScanError> {
        let mut seen = Sightings::default();
        let mut hasher = FileHasher::default();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            match job {
                Job::Folder(place) => self.list(place, &mut seen)?,
                Job::Files(files) => {
                    for file in files {
                        self.hash(file, &mut hasher, &mut seen)?;
                    }
                }
            }
        }
        Ok(seen)
    }

    fn list(&self, place: &Place, seen: &mut Sightings) -> Result<(), ScanError> {
        let entries = match fs::read_dir(&place.real) {
            Ok(entries) => entries,
            // Whether there is a site folder is not for the walk to say: never an empty site.
            Err(source) if place.local.is_empty() => {
                let path = place.real.clone();
                return Err(ScanError::Look { path, source });
            }
            Err(error) => return refused(error, Path::new(&place.local), seen),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                // The folder was removed while it was listed.
                Err(error) => return refused(error, Path::new(&place.local), seen),
            };
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let path = Path::new(&place.local).join(&name);
                self.look_at_odd_name(&path, seen)?;
                continue;
            };
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) => {
                    refused(error, Path::new(&place.local_path(name)), seen)?;
                    continue;
                }
            };
            let found = Entry { place, name, kind };
            self.look_at(&found, || entry.metadata(), seen)?;
        }
        Ok(())
    }

    /// Warns of a name that is not UTF-8, unless it is hidden or gone.
    fn look_at_odd_name(&self, path: &Path, seen: &mut Sightings) -> Result<(), ScanError> {
        let hidden = path
            .iter()
            .any(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            return Ok(());
        }
        match fs::symlink_metadata(self.root.join(path)) {
            Ok(_) => {
                seen.warnings.push(ScanWarning::NotUtf8(path.to_owned()));
                Ok(())
            }
            Err(error) => refused(error, path, seen),
        }
    }

    /// Decides what becomes of one entry of a folder that is itself published.
    fn look_at(
        &self,
        entry: &Entry<'_>,
        metadata: impl FnOnce() -> io::Result<Metadata>,
        seen: &mut Sightings,
    ) -> Result<(), ScanError> {
        let Entry { place, name, kind } = *entry;
        let local = place.local_path(name);
        if name == RULE_FILE && kind.is_file() {
            return read_rule_file(place, seen);
        }
        let as_folder = if kind.is_dir() {
            EntryKind::Folder
        } else {
            EntryKind::File
        };
        match self.rules.verdict(&local, as_folder) {
            Verdict::Publish => {}
            Verdict::LeftOutByDefault if kind.is_file() && is_certain_secret(name) => {
                seen.warnings.push(ScanWarning::LooksSecret(local.into()));
                return Ok(());
            }
            Verdict::LeftOutByDefault | Verdict::LeftOutByPattern => return Ok(()),
        }
        let local = match SitePath::parse(&local).and_then(|local| {
            site_path(&local)?;
            Ok(local)
        }) {
            Ok(local) => local,
            Err(problem) => {
                let path = local.into();
                seen.warnings
                    .push(ScanWarning::Unpublishable { path, problem });
                return Ok(());
            }
        };
        if is_reserved(local.as_str()) {
            seen.warnings
                .push(ScanWarning::Reserved(local.as_str().into()));
            return Ok(());
        }
        if kind.is_symlink() {
            return self.look_at_link(entry, local, seen);
        }
        if kind.is_dir() {
            seen.folders.push(place.child(name));
            return Ok(());
        }
        if !kind.is_file() {
            let path = local.as_str().into();
            seen.warnings.push(ScanWarning::Special(path));
            return Ok(());
        }
        match metadata() {
            Ok(metadata) => {
                let candidate = Candidate {
                    local,
                    real: place.real.join(name),
                    suspicion: suspicion(name),
                };
                self.look_at_file(candidate, &metadata, seen);
                Ok(())
            }
            Err(error) => refused(error, Path::new(local.as_str()), seen),
        }
    }

    fn look_at_file(&self, candidate: Candidate, metadata: &Metadata, seen: &mut Sightings) {
        seen.counts.files_seen += 1;
        if candidate.suspicion == Suspicion::Certain {
            let path = candidate.local.as_str().into();
            seen.warnings.push(ScanWarning::LooksSecret(path));
            return;
        }
        match self.index.get(candidate.local.as_str()) {
            Some((known, indexed))
                if indexed.stamp == Stamp::of(metadata) && indexed.entry.size == metadata.len() =>
            {
                // The known key's text is shared with the manifest.
                seen.files.push((known.clone(), *indexed));
            }
            _ => seen.candidates.push(candidate),
        }
    }

    fn look_at_link(
        &self,
        entry: &Entry<'_>,
        local: SitePath,
        seen: &mut Sightings,
    ) -> Result<(), ScanError> {
        let Entry { place, name, .. } = *entry;
        let path = PathBuf::from(local.as_str());
        if let Some(target) = links::target_inside(self.root, place, name) {
            seen.links.insert(path.clone(), target);
        }
        match links::follow(self.root, self.rules, place, name) {
            Ok(Target::Folder(target)) => {
                if self.rules.verdict(local.as_str(), EntryKind::Folder) == Verdict::Publish {
                    seen.folders.push(target);
                }
            }
            Ok(Target::File(real, metadata)) => {
                let target_name = real.file_name().and_then(|name| name.to_str());
                let by_target = target_name.map_or(Suspicion::None, suspicion);
                let suspicion = if by_target == Suspicion::None {
                    suspicion(name)
                } else {
                    by_target
                };
                let candidate = Candidate {
                    local,
                    real,
                    suspicion,
                };
                self.look_at_file(candidate, &metadata, seen);
            }
            Ok(Target::Special) => seen.warnings.push(ScanWarning::Special(path)),
            Ok(Target::Refused(problem)) => {
                seen.warnings.push(ScanWarning::Link { path, problem });
            }
            Err(error) if is_gone(&error) => seen.warnings.push(ScanWarning::Link {
                path,
                problem: LinkProblem::Dangling,
            }),
            Err(error) => refused(error, &path, seen)?,
        }
        Ok(())
    }

    fn hash(
        &self,
        file: &Candidate,
        hasher: &mut FileHasher,
        seen: &mut Sightings,
    ) -> Result<(), ScanError> {
        let path = || PathBuf::from(file.local.as_str());
        match hasher.hash(&file.real, file.suspicion) {
            Ok(Hashed::Stable { entry, stamp }) => {
                seen.counts.files_hashed += 1;
                seen.counts.bytes_hashed += entry.size;
                let known = self.index.get(file.local.as_str());
                let local = known.map_or(&file.local, |(known, _)| known).clone();
                let stamp = stamp.unless_racy(self.start);
                seen.files.push((local, Indexed { stamp, entry }));
            }
            Ok(Hashed::Unstable | Hashed::NotAFile) => seen.unstable.push(file.local.clone()),
            Ok(Hashed::Secret) => seen.warnings.push(ScanWarning::LooksSecret(path())),
            Err(error) => refused(error, &path(), seen)?,
        }
        Ok(())
    }
}

impl Sightings {
    fn absorb(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
        self.unstable.append(&mut other.unstable);
        self.warnings.append(&mut other.warnings);
        self.links.append(&mut other.links);
        self.rule_files.append(&mut other.rule_files);
        self.counts += other.counts;
        self.candidates.append(&mut other.candidates);
        self.folders.append(&mut other.folders);
    }
}

fn is_certain_secret(name: &str) -> bool {
    suspicion(name) == Suspicion::Certain
}

fn read_rule_file(place: &Place, seen: &mut Sightings) -> Result<(), ScanError> {
    let mut bytes = Vec::new();
    let read = File::open(place.real.join(RULE_FILE))
        .and_then(|file| file.take(MAX_RULE_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            seen.rule_files.insert(place.local.clone(), text);
            Ok(())
        }
        // Publishing what the rules would have left out cannot be undone: wait for them.
        Err(source) if !is_gone(&source) => Err(ScanError::Look {
            path: place.real.join(RULE_FILE),
            source,
        }),
        Err(_) => Ok(()),
    }
}

/// Returns whether the error is a fact of the tree: nothing is there, or reading is forbidden.
fn is_fact(error: &io::Error) -> bool {
    is_gone(error) || error.kind() == io::ErrorKind::PermissionDenied
}

/// Notes an entry that is gone (nothing) or forbidden (a warning); other errors end the survey.
fn refused(error: io::Error, local: &Path, seen: &mut Sightings) -> Result<(), ScanError> {
    if is_gone(&error) {
        return Ok(());
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        seen.warnings
            .push(ScanWarning::Unreadable(local.to_owned()));
        return Ok(());
    }
    Err(ScanError::Look {
        path: local.to_owned(),
        source: error,
    })
}
