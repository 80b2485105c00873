//! The scan: from where something may have changed to the manifest of what is on disk.
//!
//! [`Scanner`] owns the local truth: the stat index, the manifest made from it, the ignore rules in
//! force, the symlinks and the warnings. Events only narrow where it looks; a path that is dirty is
//! looked at as a whole: a file, a folder with all that lies below, or nothing any more, whatever
//! it was before. Blocking: call it where blocking is allowed.
//!
//! Invariants:
//!
//! - The manifest is a function of the disk, not of the order of events: a narrow scan of what
//!   changed and a whole scan give the same manifest.
//! - A scan is applied whole or not at all. One that fails, or that ends with the site folder gone
//!   or another one, leaves everything as it was: a vanished folder never is an empty site.
//! - A digest in the manifest is that of a file that held still while it was read. A file that did
//!   not keeps its earlier entry and is named in [`ScanOutcome::unstable`], to be scanned again.
//! - The cost of a narrow scan grows with what is dirty, not with the site: look-ups are by path.
//!   (A file that appears or goes costs a look at all names with capitals.)
//! - Memory: at most about 300 bytes a file of 40 bytes' path, index and manifest together.
//!
//! | trap | why it does no harm here |
//! |---|---|
//! | same size and same times, other bytes | the change time cannot be set by hand; entries not yet older than the clock's tick are hashed again (`stat_index`) |
//! | a file is read while it is written | looked at before and after through one handle; else unstable (`hash`) |
//! | times that are 0, kept by a tool, or all new after a checkout | only a changed digest changes the manifest; times only save work |
//! | a file becomes a folder, or a folder a file | a dirty path is looked at whatever it was, with all below |
//! | a generator removes what we are listing | gone is no error; the events of the rest widen the next scan |
//! | I/O errors, too many open files | the scan fails and is tried again; nothing is taken for removed |
//! | odd characters in names (commas, quotes, line breaks) | the index is binary and checked; control characters are refused with a warning |
//! | NFD names, names that differ in case | `site_names` |
//! | symlinks out of the folder, loops, fans | `links` |
//! | a pipe where a file was | opened without waiting, and never read |
//! | `.gitignore` names the output folder | it is never read (`ignore_rules`) |
//!
//! It does not decide what to publish, watches nothing, and never writes to the site folder.

mod hash;
mod index_file;
mod links;
mod outcome;
mod secrets;
mod site_rules;
mod stat_index;
mod survey;
mod warning;

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    num::NonZeroUsize,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::SystemTime,
};

use onsave_protocol::{Manifest, SitePath, changeset::diff};

use crate::{
    dirty::Dirty,
    ignore_rules::{IgnoreRules, RULE_FILE, SharedRules},
    site_files::SiteFiles,
    site_folder::{FoundFolder, SiteFolder},
    site_names::{Collision, SiteNames, site_path},
};

pub use self::{
    hash::{ReadError, open_checked, read_checked},
    outcome::{Scan, ScanCounts, ScanError, ScanOutcome},
    warning::{LinkProblem, ScanWarning},
};

use self::{
    links::Links,
    site_rules::SiteRules,
    stat_index::{ScanStart, StatIndex},
    survey::{Sightings, Survey},
};

/// Rounds in which rule files may change what other rule files are found; each is one folder
/// deeper, so that a site needs no more than one or two.
const MAX_RULE_ROUNDS: usize = 16;

/// Keeps the manifest of the site folder.
#[derive(Debug)]
pub struct Scanner {
    folder: SiteFolder,
    state: PathBuf,
    threads: NonZeroUsize,
    rules: Arc<SharedRules>,
    root: Option<FoundFolder>,
    /// Set until a whole scan is applied: what is known may be of another folder, or in part.
    needs_whole: bool,
    index: StatIndex,
    index_is_kept: bool,
    manifest: Manifest,
    names: SiteNames,
    links: Links,
    left_out: BTreeMap<PathBuf, ScanWarning>,
    collisions: BTreeSet<Collision>,
    site_rules: SiteRules,
}

impl Scanner {
    /// Returns a scanner that has seen nothing; its first scan looks at the whole folder.
    ///
    /// `state` is the folder where the stat index is kept, outside the site folder; `rules` is
    /// where the ignore rules go that the scans find.
    #[must_use]
    pub fn new(folder: SiteFolder, state: PathBuf, rules: Arc<SharedRules>) -> Self {
        Self {
            folder,
            state,
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            rules,
            root: None,
            needs_whole: true,
            index: StatIndex::default(),
            index_is_kept: true,
            manifest: Manifest::new(),
            names: SiteNames::default(),
            links: Links::default(),
            left_out: BTreeMap::new(),
            collisions: BTreeSet::new(),
            site_rules: SiteRules::default(),
        }
    }

    /// Returns what is on disk, as of the latest scan; empty before the first.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns everything that is left out or doubtful now.
    #[must_use]
    pub fn warnings(&self) -> Vec<ScanWarning> {
        let rules = self.rules.current();
        let bad_patterns = rules
            .bad_patterns()
            .iter()
            .map(|bad| ScanWarning::BadPattern {
                path: Path::new(&bad.folder).join(RULE_FILE),
                line: bad.line,
                problem: bad.problem.clone(),
            });
        let left_out = self.left_out.values().cloned();
        let collisions = self.collisions.iter().cloned().map(ScanWarning::Collision);
        left_out
            .chain(collisions)
            .chain(bad_patterns)
            .chain(self.site_rules.warnings())
            .collect()
    }

    /// Returns the local file that is published as `path`; its name may be in another normal form.
    #[must_use]
    pub fn local_file(&self, path: &SitePath) -> Option<PathBuf> {
        let local = self.names.winner(path, &self.index)?;
        Some(self.root.as_ref()?.real.join(local.as_str()))
    }

    /// Returns where the files of the manifest are, for a publish that outlives this scan; cheap
    /// unless many names are in another normal form.
    #[must_use]
    pub fn files(&self) -> SiteFiles {
        let other_names = self
            .names
            .decomposed()
            .filter_map(|site| Some((site.clone(), self.local_file(site)?)));
        let root = self.root.as_ref().map(|root| root.real.clone());
        SiteFiles::new(root.unwrap_or_default(), other_names.collect())
    }

    /// Looks at what is dirty and brings the manifest up to date.
    ///
    /// `now` is the wall clock, read before the call. The first scan, and one that finds another
    /// site folder than before, look at everything.
    ///
    /// # Errors
    ///
    /// [`ScanError::Folder`] and [`ScanError::Look`], when the disk gave no answer.
    pub fn scan(&mut self, dirty: &Dirty, now: SystemTime) -> Result<Scan, ScanError> {
        let Some(root) = self.look()? else {
            return Ok(Scan::Absent);
        };
        let start = ScanStart::new(now);
        self.needs_whole |= self.root.as_ref() != Some(&root);
        if self
            .root
            .as_ref()
            .is_none_or(|before| before.real != root.real)
        {
            // Digests of another folder's files would not match their stamps; its own might.
            let file = index_file::path(&self.state, &root.real);
            self.index = index_file::load(&file, &root.real);
        }
        let before = self.warnings();
        let scanned = match self.dirty_paths(dirty) {
            Some(paths) => self.scan_paths(&root, &paths, start)?,
            None => self.scan_whole(&root, start)?,
        };
        let Some(mut outcome) = scanned else {
            return Ok(Scan::Absent);
        };
        self.check_site_rules();
        outcome.new_warnings = self.warnings();
        if outcome.new_warnings == before {
            outcome.new_warnings.clear();
        } else {
            let known: BTreeSet<_> = before.iter().map(ToString::to_string).collect();
            let is_new = |warning: &ScanWarning| !known.contains(&warning.to_string());
            outcome.new_warnings.retain(is_new);
        }
        Ok(Scan::Done(outcome))
    }

    /// Keeps the stat index on disk, when it changed since it was last kept.
    ///
    /// Durable when this returns; costs some milliseconds at tens of thousands of files.
    ///
    /// # Errors
    ///
    /// [`ScanError::Keep`]; the next start then hashes every file.
    pub fn keep_index(&mut self) -> Result<(), ScanError> {
        let Some(root) = self.root.as_ref().filter(|_| !self.index_is_kept) else {
            return Ok(());
        };
        let path = index_file::path(&self.state, &root.real);
        match index_file::save(&path, &root.real, &self.index) {
            Ok(()) => {
                self.index_is_kept = true;
                Ok(())
            }
            Err(source) => Err(ScanError::Keep { path, source }),
        }
    }

    fn check_site_rules(&mut self) {
        let mut site_rules = mem::take(&mut self.site_rules);
        site_rules.check(&self.manifest, |file, entry| {
            let local = self.local_file(&SitePath::parse(file).ok()?)?;
            read_checked(&local, entry).ok()
        });
        self.site_rules = site_rules;
    }

    fn look(&self) -> Result<Option<FoundFolder>, ScanError> {
        self.folder.look().map_err(|source| ScanError::Folder {
            path: self.folder.path().to_owned(),
            source,
        })
    }

    /// Returns the paths to look at, also through symlinks; nothing for a whole scan.
    fn dirty_paths(&self, dirty: &Dirty) -> Option<BTreeSet<PathBuf>> {
        let Dirty::Paths(paths) = dirty else {
            return None;
        };
        let is_rule = |path: &PathBuf| path.ends_with(RULE_FILE) || path.as_os_str().is_empty();
        if self.needs_whole || paths.iter().any(is_rule) {
            return None;
        }
        match self.links.spread(paths) {
            Dirty::Paths(paths) => Some(without_inner(paths)),
            Dirty::Everything => None,
        }
    }

    fn scan_paths(
        &mut self,
        root: &FoundFolder,
        paths: &BTreeSet<PathBuf>,
        start: ScanStart,
    ) -> Result<Option<ScanOutcome>, ScanError> {
        let rules = self.rules.current();
        let seen = self
            .survey(root, &rules, start)
            .narrow(paths.iter().map(PathBuf::as_path))?;
        let below = |folder: &String| paths.iter().any(|path| Path::new(folder).starts_with(path));
        let known = rules.texts().iter().filter(|(folder, _)| below(folder));
        if !known.eq(seen.rule_files.iter()) {
            return self.scan_whole(root, start);
        }
        if self.look()?.as_ref() != Some(root) {
            return Ok(None);
        }
        Ok(Some(self.apply_paths(paths, seen)))
    }

    fn scan_whole(
        &mut self,
        root: &FoundFolder,
        start: ScanStart,
    ) -> Result<Option<ScanOutcome>, ScanError> {
        self.needs_whole = true;
        let mut rules = self.rules.current();
        let mut counts = ScanCounts::default();
        for _ in 0..MAX_RULE_ROUNDS {
            let seen = self.survey(root, &rules, start).whole()?;
            counts += seen.counts;
            if *rules.texts() == seen.rule_files {
                if self.look()?.as_ref() != Some(root) {
                    return Ok(None);
                }
                self.rules.replace(rules);
                let mut outcome = self.apply_whole(seen);
                outcome.counts = counts;
                self.root = Some(root.clone());
                self.needs_whole = false;
                return Ok(Some(outcome));
            }
            // Found other rules than those that were gone by. What was hashed need not be again.
            rules = Arc::new(IgnoreRules::from_texts(seen.rule_files));
            for (local, indexed) in seen.files {
                let before = self.index.insert(local, indexed);
                self.index_is_kept &= before == Some(indexed);
            }
        }
        Err(ScanError::Look {
            path: root.real.join(RULE_FILE),
            source: io::Error::other("the rule files keep changing"),
        })
    }

    fn survey<'a>(
        &'a self,
        root: &'a FoundFolder,
        rules: &'a IgnoreRules,
        start: ScanStart,
    ) -> Survey<'a> {
        Survey {
            root: &root.real,
            index: &self.index,
            rules,
            start,
            threads: self.threads,
        }
    }

    fn apply_whole(&mut self, mut seen: Sightings) -> ScanOutcome {
        let held = seen.unstable.iter().filter_map(|local| {
            let (local, indexed) = self.index.get(local.as_str())?;
            Some((local.clone(), *indexed))
        });
        let held: Vec<_> = held.collect();
        let files = mem::take(&mut seen.files).into_iter().chain(held);
        let index: StatIndex = files.collect();
        self.index_is_kept &= index == self.index;
        self.index = index;
        self.names = SiteNames::default();
        for (local, _) in self.index.iter() {
            self.names.insert(local);
        }
        let composed = self.index.iter().filter_map(|(local, indexed)| {
            // A decomposed name has its entry under the site path that it stands for.
            let site = site_path(local).ok()?;
            (site == *local).then_some((site, indexed.entry))
        });
        let mut manifest: Manifest = composed.collect();
        for site in self.names.decomposed() {
            if let Some(local) = self.names.winner(site, &self.index)
                && let Some((_, indexed)) = self.index.get(local.as_str())
            {
                manifest.insert(site.clone(), indexed.entry);
            }
        }
        self.left_out.clear();
        self.links = Links::default();
        self.links.learn(mem::take(&mut seen.links));
        self.note_left_out(&mut seen);
        self.collisions = self.names.collisions(&self.index);
        let changes = diff(&self.manifest, &manifest);
        self.manifest = manifest;
        ScanOutcome {
            touched: changes.puts.into_keys().chain(changes.removes).collect(),
            unstable: unstable_paths(&seen),
            ..ScanOutcome::default()
        }
    }

    fn apply_paths(&mut self, paths: &BTreeSet<PathBuf>, mut seen: Sightings) -> ScanOutcome {
        let mut changed = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for path in paths {
            if let Some(path) = path.to_str() {
                gone.extend(self.index.at_or_below(path));
            }
            self.links.forget(path);
            forget_below(&mut self.left_out, path);
        }
        self.links.learn(mem::take(&mut seen.links));
        self.note_left_out(&mut seen);
        for local in &seen.unstable {
            gone.remove(local);
        }
        let mut names_changed = false;
        for (local, indexed) in mem::take(&mut seen.files) {
            gone.remove(&local);
            let before = self.index.insert(local.clone(), indexed);
            self.index_is_kept &= before == Some(indexed);
            if before.is_none() {
                self.names.insert(&local);
                names_changed = true;
            }
            if before.map(|before| before.entry) != Some(indexed.entry) {
                changed.insert(local);
            }
        }
        for local in gone {
            self.index.remove(local.as_str());
            self.names.remove(&local);
            self.index_is_kept = false;
            names_changed = true;
            changed.insert(local);
        }
        if names_changed {
            self.collisions = self.names.collisions(&self.index);
        }
        ScanOutcome {
            touched: self.publish_changed(&changed),
            unstable: unstable_paths(&seen),
            counts: seen.counts,
            new_warnings: Vec::new(),
        }
    }

    /// Brings the manifest's entries for these local files up to date; returns those that changed.
    fn publish_changed(&mut self, changed: &BTreeSet<SitePath>) -> BTreeSet<SitePath> {
        let sites: BTreeSet<SitePath> = changed
            .iter()
            .filter_map(|local| site_path(local).ok())
            .flat_map(|site| self.names.related(&site))
            .collect();
        let mut touched = BTreeSet::new();
        for site in sites {
            let winner = self.names.winner(&site, &self.index);
            let indexed = winner.and_then(|local| Some(self.index.get(local.as_str())?.1));
            let entry = indexed.map(|indexed| indexed.entry);
            if self.manifest.get(site.as_str()).copied() == entry {
                continue;
            }
            match entry {
                Some(entry) => self.manifest.insert(site.clone(), entry),
                None => self.manifest.remove(site.as_str()),
            };
            touched.insert(site);
        }
        touched
    }

    fn note_left_out(&mut self, seen: &mut Sightings) {
        for warning in mem::take(&mut seen.warnings) {
            self.left_out.insert(warning.path().to_owned(), warning);
        }
    }
}

/// Removes what is kept of `path` and of all that lies below it.
fn forget_below<T>(kept: &mut BTreeMap<PathBuf, T>, path: &Path) {
    // Ordered by names, so that what lies below a path follows it at once.
    let from_here = kept.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
    let below = from_here
        .map(|(kept, _)| kept)
        .take_while(|kept| kept.starts_with(path));
    let below: Vec<PathBuf> = below.cloned().collect();
    for path in below {
        kept.remove(&path);
    }
}

/// Drops the paths below another one: whatever that one is, looking at it covers them.
fn without_inner(paths: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut outer = BTreeSet::new();
    let mut last: Option<PathBuf> = None;
    // Ordered by names, so that what lies below a path follows it at once.
    for path in paths {
        if last.as_ref().is_none_or(|last| !path.starts_with(last)) {
            outer.insert(path.clone());
            last = Some(path);
        }
    }
    outer
}

fn unstable_paths(seen: &Sightings) -> BTreeSet<PathBuf> {
    seen.unstable
        .iter()
        .map(|local| local.as_str().into())
        .collect()
}

#[cfg(test)]
mod tests;
