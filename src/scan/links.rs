//! Symlinks in the site folder: which are followed, and what they make dirty.
//!
//! A symlink is followed when its target is in the site folder and not ignored; its name decides
//! the site path. The watcher does not follow symlinks, because the kernel gives one watch to one
//! folder whatever its name, and would report all changes under one of its names only. So events
//! come for the target, and [`Links`] knows what else they stand for.
//!
//! Following ends: a target that holds any folder on the way to the symlink is a loop, and no path
//! passes more than [`MAX_LINKS`] symlinks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io, iter,
    path::{Component, Path, PathBuf},
};

use crate::{
    dirty::{Dirty, MAX_DIRTY_PATHS},
    ignore_rules::{EntryKind, IgnoreRules},
    site_folder::is_gone,
};

use super::warning::LinkProblem;

/// Most symlinks on one path; links that fan out multiply with each.
const MAX_LINKS: usize = 4;

/// Most comparisons of a dirty path with a symlink before a whole scan is cheaper.
const MAX_COMPARISONS: usize = 200_000;

/// A folder on the way: where it stands in the site folder, and where it really is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The path relative to the site folder, as the names say; empty for the site folder.
    pub(super) local: String,
    /// The path without symlinks.
    pub(super) real: PathBuf,
    /// The real folders that held the symlinks on the way.
    pub(super) through: Vec<PathBuf>,
}

impl Place {
    /// Returns the path of an entry of this folder, relative to the site folder.
    pub(super) fn local_path(&self, name: &str) -> String {
        if self.local.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.local)
        }
    }

    /// Returns the folder with this name in this folder.
    pub(super) fn child(&self, name: &str) -> Self {
        Self {
            local: self.local_path(name),
            real: self.real.join(name),
            through: self.through.clone(),
        }
    }
}

/// What a symlink leads to.
#[derive(Debug)]
pub(super) enum Target {
    /// A folder of the site folder.
    Folder(Place),
    /// A file of the site folder, by its path without symlinks.
    File(PathBuf, fs::Metadata),
    /// A pipe, socket or device.
    Special,
    /// Nothing that is followed.
    Refused(LinkProblem),
}

/// Follows the symlink `name` in `place`, within the site folder `root`.
///
/// # Errors
///
/// When the permissions forbid it, or the file system has no answer.
pub(super) fn follow(
    root: &Path,
    rules: &IgnoreRules,
    place: &Place,
    name: &str,
) -> io::Result<Target> {
    let real = match fs::canonicalize(place.real.join(name)) {
        Ok(real) => real,
        Err(error) if is_gone(&error) => return Ok(Target::Refused(LinkProblem::Dangling)),
        Err(error) if is_loop(&error) => return Ok(Target::Refused(LinkProblem::Loop)),
        Err(error) => return Err(error),
    };
    let Ok(inside) = real.strip_prefix(root) else {
        return Ok(Target::Refused(LinkProblem::Outside));
    };
    let metadata = fs::symlink_metadata(&real)?;
    let kind = if metadata.is_dir() {
        EntryKind::Folder
    } else {
        EntryKind::File
    };
    let is_ignored = inside
        .to_str()
        .is_none_or(|path| !path.is_empty() && rules.leaves_out(path, kind));
    if is_ignored {
        return Ok(Target::Refused(LinkProblem::Ignored));
    }
    if metadata.is_file() {
        return Ok(Target::File(real, metadata));
    }
    if !metadata.is_dir() {
        return Ok(Target::Special);
    }
    let mut way = place.through.iter().chain(iter::once(&place.real));
    if way.any(|folder| folder.starts_with(&real)) {
        return Ok(Target::Refused(LinkProblem::Loop));
    }
    if place.through.len() >= MAX_LINKS {
        return Ok(Target::Refused(LinkProblem::TooDeep));
    }
    let mut through = place.through.clone();
    through.push(place.real.clone());
    Ok(Target::Folder(Place {
        local: place.local_path(name),
        real,
        through,
    }))
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Returns where the symlink in `place` points to, relative to the site folder `root`: where it
/// leads to, or for one that leads nowhere what its text says. Nothing for targets outside.
pub(super) fn target_inside(root: &Path, place: &Place, name: &str) -> Option<PathBuf> {
    let link = place.real.join(name);
    let target = match fs::canonicalize(&link) {
        Ok(real) => real,
        Err(_) => without_dots(&place.real.join(fs::read_link(&link).ok()?)),
    };
    Some(target.strip_prefix(root).ok()?.to_owned())
}

fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// The symlinks that the scans met: path of the symlink → its target, both in the site folder.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<PathBuf, PathBuf>);

impl Links {
    /// Forgets the symlinks at `path` and below.
    pub(super) fn forget(&mut self, path: &Path) {
        super::forget_below(&mut self.0, path);
    }

    /// Adds the symlinks that a scan met.
    pub(super) fn learn(&mut self, met: BTreeMap<PathBuf, PathBuf>) {
        self.0.extend(met);
    }

    /// Adds to `dirty` every path that shows one of its paths through a symlink.
    pub(super) fn spread(&self, dirty: &BTreeSet<PathBuf>) -> Dirty {
        let mut spread = dirty.clone();
        if self.0.is_empty() {
            return Dirty::Paths(spread);
        }
        if self.0.len().saturating_mul(dirty.len()) > MAX_COMPARISONS {
            return Dirty::Everything;
        }
        for path in dirty {
            if self.0.contains_key(path) {
                // Other symlinks may have led through this one.
                spread.extend(self.0.keys().cloned());
            }
            for (link, target) in &self.0 {
                if let Ok(below) = path.strip_prefix(target) {
                    spread.insert(join(link, below));
                } else if target.starts_with(path) {
                    spread.insert(link.clone());
                }
            }
            if spread.len() > MAX_DIRTY_PATHS {
                return Dirty::Everything;
            }
        }
        Dirty::Paths(spread)
    }
}

/// Joins without the trailing slash that an empty `below` would leave.
fn join(link: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() {
        link.to_owned()
    } else {
        link.join(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn what_a_change_shows_through() {
        let mut links = Links::default();
        let met = [
            ("l", "a"),
            ("f", "a/x"),
            ("b/l2", "a/sub"),
            ("dangling", "c/d"),
        ];
        let met = met.map(|(link, target)| (PathBuf::from(link), PathBuf::from(target)));
        links.learn(met.into());
        for (dirty, spread) in [
            (&["a/x"][..], &["a/x", "f", "l/x"][..]),
            (&["a/sub/y"], &["a/sub/y", "b/l2/y", "l/sub/y"]),
            (&["a"], &["a", "b/l2", "f", "l"]),
            (&["c"], &["c", "dangling"]),
            (&["c/d"], &["c/d", "dangling"]),
            (&["z"], &["z"]),
            (&["l"], &["b/l2", "dangling", "f", "l"]),
        ] {
            assert_eq!(
                links.spread(&paths(dirty)),
                Dirty::Paths(paths(spread)),
                "{dirty:?}"
            );
        }
        links.forget(Path::new("b"));
        let spread = links.spread(&paths(&["a/sub/y"]));
        assert_eq!(spread, Dirty::Paths(paths(&["a/sub/y", "l/sub/y"])));
    }

    #[test]
    fn too_much_to_compare_is_everything() {
        let met = (0..500).map(|n| (PathBuf::from(format!("l{n}")), PathBuf::from("a")));
        let mut links = Links::default();
        links.learn(met.collect());
        let dirty = (0..500).map(|n| PathBuf::from(format!("d{n}"))).collect();
        assert_eq!(links.spread(&dirty), Dirty::Everything);
    }

    #[test]
    fn dots_are_resolved_as_text() {
        assert_eq!(
            without_dots(Path::new("/r/a/./../b/c")),
            Path::new("/r/b/c")
        );
    }
}
