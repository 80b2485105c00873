//! The vocabulary between watching, settling and scanning: what may have changed.
//!
//! Events are hints and the disk is the truth, so nothing here says what a file holds; it only says
//! where to look ([`Dirty`]) and what the events suggest about how far a writer has got
//! ([`Change`]). All paths are relative to the site folder. Bounded: beyond [`MAX_DIRTY_PATHS`]
//! paths, a set decays to [`Dirty::Everything`], which may cost a wider scan and never a file.
//!
//! Pure; owns no state.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use tokio::time::Instant;

/// Most paths that are held one by one; a whole scan of a large site costs about as much as
/// looking at this many paths.
pub const MAX_DIRTY_PATHS: usize = 10_000;

/// Where the site folder may differ from what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dirty {
    /// These files and folders, with all that lies below them.
    Paths(BTreeSet<PathBuf>),
    /// Anywhere.
    Everything,
}

impl Dirty {
    /// Returns the set that names nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Paths(BTreeSet::new())
    }

    /// Returns whether there is nothing to look at.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Paths(paths) if paths.is_empty())
    }

    /// Adds what `other` names; decays to [`Dirty::Everything`] beyond [`MAX_DIRTY_PATHS`].
    pub fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Everything, _) => {}
            (_, Self::Everything) => *self = Self::Everything,
            (Self::Paths(paths), Self::Paths(more)) => {
                paths.extend(more);
                if paths.len() > MAX_DIRTY_PATHS {
                    *self = Self::Everything;
                }
            }
        }
    }
}

/// What an event suggests about one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its metadata changed, or it should simply be looked at again.
    Touched,
    /// A file appeared; it may still be empty.
    Created,
    /// Bytes were written, and the writer still has the file open.
    Writing,
    /// A writer closed it, or it was renamed into place: the bytes are whole.
    Written,
    /// A folder appeared or was moved in; files in it may have had no event.
    Folder,
    /// The file is gone, or something was moved away to an unknown place.
    Removed,
    /// A folder is gone.
    FolderRemoved,
    /// It was renamed to another path of the site folder, which has its own event.
    MovedAway,
}

/// What the events so far say about one path: the first word and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// The first change seen.
    pub first: Change,
    /// The latest change seen; a mere touch does not replace an earlier one.
    pub last: Change,
}

impl Trace {
    /// Returns the trace of one change.
    #[must_use]
    pub const fn new(change: Change) -> Self {
        Self {
            first: change,
            last: change,
        }
    }

    /// Adds a later trace of the same path.
    pub fn append(&mut self, later: Self) {
        if later.last != Change::Touched {
            self.last = later.last;
        }
    }

    /// Returns whether the path came and went, so that the site folder is as it was before.
    #[must_use]
    pub fn is_vanished(self) -> bool {
        let gone = matches!(self.last, Change::Removed | Change::FolderRemoved);
        self.last == Change::MovedAway || (self.first == Change::Created && gone)
    }
}

/// Why the whole site folder has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Watching has just begun.
    Start,
    /// The site folder appeared, vanished or is another one than before.
    FolderReplaced,
    /// Events were lost: the kernel's queue or the set of paths overflowed, or a watch failed.
    Overflow,
    /// No events come here, and it is time to look.
    Poll,
    /// It is time to find what every event missed.
    Reconcile,
}

/// What changed, as far as events tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// These paths.
    Changes(BTreeMap<PathBuf, Trace>),
    /// Perhaps everything.
    Whole(Cause),
}

/// News of the site folder, and when the latest of it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When the last event of this news came.
    pub at: Instant,
    /// What changed.
    pub news: News,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Dirty {
        Dirty::Paths((0..count).map(|n| PathBuf::from(n.to_string())).collect())
    }

    #[test]
    fn too_many_paths_decay_to_everything() {
        let mut dirty = Dirty::nothing();
        assert!(dirty.is_nothing());
        dirty.merge(numbered(MAX_DIRTY_PATHS));
        assert_eq!(dirty, numbered(MAX_DIRTY_PATHS));
        dirty.merge(numbered(MAX_DIRTY_PATHS + 1));
        assert_eq!(dirty, Dirty::Everything);
        dirty.merge(numbered(1));
        assert_eq!(dirty, Dirty::Everything, "it never narrows again");
        assert!(!dirty.is_nothing());
    }

    #[test]
    fn a_file_that_came_and_went_has_vanished() {
        let mut trace = Trace::new(Change::Created);
        trace.append(Trace::new(Change::Written));
        assert!(!trace.is_vanished());
        trace.append(Trace::new(Change::Removed));
        assert!(trace.is_vanished());
        let mut trace = Trace::new(Change::Written);
        trace.append(Trace::new(Change::Removed));
        assert!(!trace.is_vanished(), "it was there before");
        trace.append(Trace::new(Change::Touched));
        assert_eq!(trace.last, Change::Removed, "a touch says nothing new");
    }
}
