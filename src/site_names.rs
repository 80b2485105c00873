//! Local names and site paths: normal forms, and names that collide.
//!
//! A site path is in NFC; a local name may be in another form, such as the NFD that macOS tools
//! write. A file system that tells them apart can hold several names of one site path, and names
//! that only other file systems take for the same (`A.html`, `a.html`). `SiteNames` knows which
//! local names are there, as far as that needs knowing, so that each question costs no more than a
//! look-up:
//!
//! - local names that are not NFC, by the site path that they mean;
//! - local names with capitals, by their lower-case form.
//!
//! The rest, nearly every name of nearly every site, takes no memory here. Which files exist is
//! asked of the stat index through `LocalFiles`.
//!
//! What wins: the name that is already NFC, otherwise the first in byte order. A decomposed name
//! that would have to be a file and a folder at once with another one is not published at all.
//! Names that differ in case are all published, since the server tells them apart.

use std::collections::{BTreeMap, BTreeSet};

use onsave_protocol::{SitePath, site_path::SitePathError, site_path::nfc};

/// Asks which local files there are; paths are relative to the site folder.
pub(crate) trait LocalFiles {
    /// Returns the key of this local file, when it is there.
    fn file(&self, local: &str) -> Option<&SitePath>;
    /// Returns whether any local file lies in this folder.
    fn is_folder(&self, local: &str) -> bool;
}

/// Two local names that are, or would elsewhere be, one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collision {
    /// The name that is published.
    pub winner: SitePath,
    /// The other name.
    pub other: SitePath,
    /// In what they agree.
    pub kind: CollisionKind,
}

/// In what two names agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CollisionKind {
    /// They have one normal form; only the winner is published.
    NormalForm,
    /// They differ in case; both are published.
    Case,
}

/// The local names that need knowing.
#[derive(Debug, Default)]
pub(crate) struct SiteNames {
    decomposed: BTreeMap<SitePath, BTreeSet<SitePath>>,
    capitals: BTreeMap<Box<str>, BTreeSet<SitePath>>,
}

/// Returns the site path that a local name stands for.
///
/// # Errors
///
/// [`SitePathError`] when the normal form is no site path; it can be longer than the name.
pub(crate) fn site_path(local: &SitePath) -> Result<SitePath, SitePathError> {
    if is_nfc(local) {
        return Ok(local.clone());
    }
    SitePath::parse(&nfc(local.as_str()))
}

fn is_nfc(local: &SitePath) -> bool {
    local.as_str().is_ascii() || local.is_nfc()
}

fn lower_case(local: &SitePath) -> Option<Box<str>> {
    let text = local.as_str();
    let capitals = text.chars().any(char::is_uppercase);
    capitals.then(|| text.to_lowercase().into())
}

impl SiteNames {
    /// Notes that a local file is there.
    pub(crate) fn insert(&mut self, local: &SitePath) {
        if !is_nfc(local)
            && let Ok(site) = site_path(local)
        {
            self.decomposed
                .entry(site)
                .or_default()
                .insert(local.clone());
        }
        if let Some(lower) = lower_case(local) {
            self.capitals
                .entry(lower)
                .or_default()
                .insert(local.clone());
        }
    }

    /// Notes that a local file is gone.
    pub(crate) fn remove(&mut self, local: &SitePath) {
        if !is_nfc(local)
            && let Ok(site) = site_path(local)
            && let Some(locals) = self.decomposed.get_mut(&site)
        {
            locals.remove(local);
            if locals.is_empty() {
                self.decomposed.remove(&site);
            }
        }
        if let Some(lower) = lower_case(local)
            && let Some(locals) = self.capitals.get_mut(&lower)
        {
            locals.remove(local);
            if locals.is_empty() {
                self.capitals.remove(&lower);
            }
        }
    }

    /// Returns the local name of the file that is published as `site`.
    pub(crate) fn winner(&self, site: &SitePath, files: &impl LocalFiles) -> Option<SitePath> {
        if let Some(local) = files.file(site.as_str()) {
            return Some(local.clone());
        }
        let local = self.decomposed.get(site)?.first()?;
        let is_folder = files.is_folder(site.as_str()) || self.below(site).next().is_some();
        let in_a_file = site
            .folders()
            .any(|folder| files.file(folder).is_some() || self.decomposed.contains_key(folder));
        (!is_folder && !in_a_file).then(|| local.clone())
    }

    /// Returns the site paths whose winner may be another once files of this site path changed.
    pub(crate) fn related(&self, site: &SitePath) -> BTreeSet<SitePath> {
        let mut related: BTreeSet<SitePath> = [site.clone()].into();
        if !self.decomposed.is_empty() {
            related.extend(self.below(site).cloned());
            for folder in site.folders() {
                let known = self.decomposed.get_key_value(folder);
                related.extend(known.map(|(path, _)| path.clone()));
            }
        }
        related
    }

    /// Returns the site paths that only decomposed names stand for.
    pub(crate) fn decomposed(&self) -> impl Iterator<Item = &SitePath> {
        self.decomposed.keys()
    }

    /// Returns all names that collide.
    pub(crate) fn collisions(&self, files: &impl LocalFiles) -> BTreeSet<Collision> {
        let mut found = BTreeSet::new();
        for (site, locals) in &self.decomposed {
            let rivals = locals.iter().chain(files.file(site.as_str()));
            let winner = self.winner(site, files).unwrap_or_else(|| site.clone());
            found.extend(
                rivals
                    .filter(|other| **other != winner)
                    .map(|other| Collision {
                        winner: winner.clone(),
                        other: other.clone(),
                        kind: CollisionKind::NormalForm,
                    }),
            );
        }
        for (lower, locals) in &self.capitals {
            let mut rivals = locals.iter().chain(files.file(lower));
            let Some(winner) = rivals.next() else {
                continue;
            };
            found.extend(rivals.map(|other| Collision {
                winner: winner.clone(),
                other: other.clone(),
                kind: CollisionKind::Case,
            }));
        }
        found
    }

    fn below<'a>(&'a self, folder: &'a SitePath) -> impl Iterator<Item = &'a SitePath> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = format!("{folder}/");
        let range = self
            .decomposed
            .range::<str, _>((Excluded(start.as_str()), Unbounded));
        let inside: Vec<_> = range
            .map(|(path, _)| path)
            .take_while(|path| path.is_inside(folder.as_str()))
            .collect();
        inside.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(BTreeSet<SitePath>);

    impl LocalFiles for Files {
        fn file(&self, local: &str) -> Option<&SitePath> {
            self.0.get(local)
        }

        fn is_folder(&self, local: &str) -> bool {
            self.0.iter().any(|path| path.is_inside(local))
        }
    }

    fn path(text: &str) -> SitePath {
        SitePath::parse(text).unwrap()
    }

    fn world(names: &[&str]) -> (SiteNames, Files) {
        let files = Files(names.iter().map(|name| path(name)).collect());
        let mut known = SiteNames::default();
        for name in &files.0 {
            known.insert(name);
        }
        (known, files)
    }

    const NFC: &str = "bl\u{e5}";
    const NFD: &str = "bla\u{30a}";

    #[test]
    fn a_decomposed_name_is_published_composed() {
        let (names, files) = world(&[NFD]);
        assert_eq!(site_path(&path(NFD)), Ok(path(NFC)));
        assert_eq!(names.winner(&path(NFC), &files), Some(path(NFD)));
        assert_eq!(names.collisions(&files), BTreeSet::new());
    }

    #[test]
    fn the_composed_name_wins_and_both_are_named() {
        let (names, files) = world(&[NFD, NFC]);
        assert_eq!(names.winner(&path(NFC), &files), Some(path(NFC)));
        let collision = Collision {
            winner: path(NFC),
            other: path(NFD),
            kind: CollisionKind::NormalForm,
        };
        assert_eq!(names.collisions(&files), [collision].into());
    }

    #[test]
    fn a_name_that_would_be_file_and_folder_is_not_published() {
        let inside = format!("{NFC}/x");
        let (names, files) = world(&[NFD, &inside]);
        assert_eq!(names.winner(&path(NFC), &files), None);
        assert_eq!(names.winner(&path(&inside), &files), Some(path(&inside)));
        assert_eq!(names.collisions(&files).len(), 1);

        let (names, files) = world(&[NFC, &format!("{NFD}/x")]);
        assert_eq!(names.winner(&path(&inside), &files), None);
        assert!(names.related(&path(NFC)).contains(&path(&inside)));
        assert!(names.related(&path(&inside)).len() == 1);
    }

    #[test]
    fn names_that_differ_in_case_are_named_and_published() {
        let (mut names, files) = world(&["A/x.html", "a/X.html", "a/x.html", "b"]);
        assert_eq!(names.collisions(&files).len(), 2);
        for name in ["A/x.html", "a/X.html", "a/x.html"] {
            assert_eq!(names.winner(&path(name), &files), Some(path(name)));
        }
        names.remove(&path("A/x.html"));
        names.remove(&path("a/X.html"));
        assert_eq!(names.collisions(&files), BTreeSet::new());
    }

    #[test]
    fn what_is_removed_is_forgotten() {
        let (mut names, _) = world(&[NFD, "A"]);
        names.remove(&path(NFD));
        names.remove(&path("A"));
        assert!(names.decomposed.is_empty() && names.capitals.is_empty());
    }
}
