//! What the watcher's own thread hands over: events, translated and merged into a bounded set.
//!
//! The thread that reads the kernel's queue must never wait and never drop: a slow reader makes the
//! kernel lose events. So it only translates ([`translate`], pure), merges under a lock that nobody
//! holds for long, and wakes. Beyond [`MAX_DIRTY_PATHS`] the set becomes an overflow.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use notify::{
    ErrorKind, Event, EventKind,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode},
};
use tokio::{sync::Notify, time::Instant};

use super::WatchRules;
use crate::{
    dirty::{Change, MAX_DIRTY_PATHS, Trace},
    ignore_rules::{EntryKind, IgnoreRules, RULE_FILE, SharedRules},
};

/// What the events are seen against.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The site folder, without symlinks, when there is one.
    pub(super) root: Option<PathBuf>,
    /// Paths outside the site folder where it, or what leads to it, appears and goes.
    pub(super) anchors: Vec<PathBuf>,
    /// What is left out.
    pub(super) rules: Arc<dyn WatchRules>,
}

/// What one event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A path of the site folder changed.
    Changed(PathBuf, Change),
    /// Something was renamed to this path; it may be a folder.
    MovedIn(PathBuf),
    /// The site folder appeared, went or was replaced.
    FolderReplaced,
    /// Events were lost.
    Lost,
    /// The system allows no more watches.
    WatchLimit,
}

/// What is waiting to be taken.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) changes: BTreeMap<PathBuf, Trace>,
    pub(super) moved_in: BTreeSet<PathBuf>,
    pub(super) folder_replaced: bool,
    pub(super) lost: bool,
    pub(super) watch_limit: bool,
    pub(super) last: Option<Instant>,
}

/// Where the thread puts it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

impl Inbox {
    /// Takes in an event or an error; never waits for anybody but a short merge.
    pub(super) fn put(&self, event: &notify::Result<Event>, view: &View) {
        let meanings = translate(event, view);
        if meanings.is_empty() {
            return;
        }
        self.lock().merge(meanings, Instant::now());
        self.wake.notify_one();
    }

    /// Waits until something is there. Cancel-safe: what is there stays.
    pub(super) async fn filled(&self) {
        self.wake.notified().await;
    }

    /// Takes all that is there.
    pub(super) fn take(&self) -> Waiting {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn merge(&mut self, meanings: Vec<Meaning>, now: Instant) {
        self.last = Some(now);
        for meaning in meanings {
            match meaning {
                Meaning::Changed(path, change) => self.note(path, change),
                Meaning::MovedIn(path) => {
                    self.moved_in.insert(path.clone());
                    self.note(path, Change::Written);
                }
                Meaning::FolderReplaced => self.folder_replaced = true,
                Meaning::Lost => self.lost = true,
                Meaning::WatchLimit => self.watch_limit = true,
            }
        }
        if self.changes.len() > MAX_DIRTY_PATHS {
            self.changes.clear();
            self.moved_in.clear();
            self.lost = true;
        }
    }

    fn note(&mut self, path: PathBuf, change: Change) {
        let trace = Trace::new(change);
        self.changes
            .entry(path)
            .and_modify(|known| known.append(trace))
            .or_insert(trace);
    }
}

/// Returns what an event means.
///
/// A rescan flag is looked at first, since it comes without a path. Our own reads come back as
/// open and close events, and mean nothing; only the close of a writer does.
pub(super) fn translate(event: &notify::Result<Event>, view: &View) -> Vec<Meaning> {
    let event = match event {
        Ok(event) => event,
        Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => {
            return vec![Meaning::WatchLimit];
        }
        Err(_) => return vec![Meaning::Lost],
    };
    if event.need_rescan() {
        return vec![Meaning::Lost];
    }
    if let EventKind::Modify(ModifyKind::Name(RenameMode::Both)) = event.kind {
        return moved_within(event, view).into_iter().collect();
    }
    let Some(change) = change(event.kind) else {
        return Vec::new();
    };
    let moved_in = event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::To));
    let meanings = event.paths.iter().filter_map(|path| {
        let structural = !matches!(change, Change::Touched | Change::Writing);
        if structural && view.anchors.contains(path) {
            return Some(Meaning::FolderReplaced);
        }
        let inside = view.inside(path, change)?;
        Some(if moved_in {
            Meaning::MovedIn(inside)
        } else {
            Meaning::Changed(inside, change)
        })
    });
    meanings.collect()
}

/// The old name of a rename whose both ends are published is no removal.
fn moved_within(event: &Event, view: &View) -> Option<Meaning> {
    let [from, to] = event.paths.as_slice() else {
        return None;
    };
    view.inside(to, Change::Written)?;
    let from = view.inside(from, Change::MovedAway)?;
    Some(Meaning::Changed(from, Change::MovedAway))
}

fn change(kind: EventKind) -> Option<Change> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Change::Written),
        EventKind::Access(_) => None,
        EventKind::Create(CreateKind::Folder) => Some(Change::Folder),
        EventKind::Create(_) => Some(Change::Created),
        // Elsewhere the close of a writer gives no event, and nothing would end the wait for it.
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any)
            if cfg!(any(target_os = "linux", target_os = "android")) =>
        {
            Some(Change::Writing)
        }
        EventKind::Remove(RemoveKind::Folder) => Some(Change::FolderRemoved),
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Some(Change::Removed)
        }
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Some(Change::Touched),
    }
}

impl View {
    /// Returns the path relative to the site folder, unless it is outside or left out.
    fn inside(&self, path: &Path, change: Change) -> Option<PathBuf> {
        let inside = path.strip_prefix(self.root.as_ref()?).ok()?;
        let is_left_out = match inside.to_str() {
            Some("") => true,
            Some(text) => self.rules.leaves_out(text, change),
            // Not publishable, but to be warned of; the scan decides.
            None => false,
        };
        (!is_left_out).then(|| inside.to_owned())
    }
}

impl WatchRules for SharedRules {
    fn leaves_out(&self, path: &str, change: Change) -> bool {
        is_left_out(&self.current(), path, change)
    }
}

fn is_left_out(rules: &IgnoreRules, path: &str, change: Change) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name == RULE_FILE {
        return !folder.is_empty() && rules.leaves_out(folder, EntryKind::Folder);
    }
    let kind = match change {
        Change::Folder | Change::FolderRemoved => EntryKind::Folder,
        _ => EntryKind::File,
    };
    rules.leaves_out(path, kind)
}

#[cfg(test)]
mod tests {
    use notify::{
        Error,
        event::{DataChange, Flag, MetadataKind},
    };

    use super::*;

    fn view() -> View {
        View {
            root: Some("/home/site".into()),
            anchors: vec!["/home/site".into(), "/link".into()],
            rules: Arc::<SharedRules>::default(),
        }
    }

    fn event(kind: EventKind, paths: &[&str]) -> Event {
        let event = Event::new(kind);
        let add = |event: Event, path: &&str| event.add_path(path.into());
        paths.iter().fold(event, add)
    }

    fn meanings(kind: EventKind, paths: &[&str]) -> Vec<Meaning> {
        translate(&Ok(event(kind, paths)), &view())
    }

    const CLOSED_BY_WRITER: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const METADATA: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));

    const fn renamed(mode: RenameMode) -> EventKind {
        EventKind::Modify(ModifyKind::Name(mode))
    }

    #[test]
    fn events_of_one_path() {
        let a = "/home/site/d/a.html";
        let changed = |change| vec![Meaning::Changed("d/a.html".into(), change)];
        for (kind, expected) in [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), vec![]),
            (
                EventKind::Access(AccessKind::Close(AccessMode::Read)),
                vec![],
            ),
            (EventKind::Access(AccessKind::Read), vec![]),
            (CLOSED_BY_WRITER, changed(Change::Written)),
            (WRITTEN, changed(Change::Writing)),
            (METADATA, changed(Change::Touched)),
            (
                EventKind::Create(CreateKind::File),
                changed(Change::Created),
            ),
            (
                EventKind::Create(CreateKind::Folder),
                changed(Change::Folder),
            ),
            (
                EventKind::Remove(RemoveKind::File),
                changed(Change::Removed),
            ),
            (
                EventKind::Remove(RemoveKind::Folder),
                changed(Change::FolderRemoved),
            ),
            (renamed(RenameMode::From), changed(Change::Removed)),
            (
                renamed(RenameMode::To),
                vec![Meaning::MovedIn("d/a.html".into())],
            ),
            (EventKind::Any, changed(Change::Touched)),
        ] {
            assert_eq!(meanings(kind, &[a]), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_rescan_flag_counts_without_a_path() {
        let flagged = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(translate(&Ok(flagged), &view()), [Meaning::Lost]);
    }

    #[test]
    fn errors_are_not_swallowed() {
        let limit = Error::new(ErrorKind::MaxFilesWatch);
        assert_eq!(translate(&Err(limit), &view()), [Meaning::WatchLimit]);
        let other = Error::io(std::io::ErrorKind::Other.into());
        assert_eq!(translate(&Err(other), &view()), [Meaning::Lost]);
    }

    #[test]
    fn renames_within_the_site_folder() {
        let both = |from: &str, to: &str| meanings(renamed(RenameMode::Both), &[from, to]);
        assert_eq!(
            both("/home/site/tmp123", "/home/site/a.html"),
            [Meaning::Changed("tmp123".into(), Change::MovedAway)]
        );
        assert_eq!(both("/home/site/a.html", "/home/site/a.html~"), []);
        assert_eq!(both("/home/site/.a.swp", "/home/site/a.html"), []);
    }

    #[test]
    fn names_that_are_left_out_mean_nothing() {
        for name in [
            ".a.html.swp",
            "4913",
            "a.html~",
            ".git/index",
            ".#a.html",
            "#a.html#",
        ] {
            let path = format!("/home/site/{name}");
            assert_eq!(meanings(CLOSED_BY_WRITER, &[&path]), [], "{name}");
        }
        for (path, is_seen) in [
            ("/home/site/.onsaveignore", true),
            ("/home/site/d/.onsaveignore", true),
            ("/home/site/.git/.onsaveignore", false),
            ("/home/sites/a.html", false),
            ("/home/other", false),
        ] {
            let meanings = meanings(CLOSED_BY_WRITER, &[path]);
            assert_eq!(!meanings.is_empty(), is_seen, "{path}");
        }
    }

    #[test]
    fn the_site_folder_itself() {
        for (kind, path, expected) in [
            (
                EventKind::Remove(RemoveKind::Folder),
                "/home/site",
                vec![Meaning::FolderReplaced],
            ),
            (
                EventKind::Create(CreateKind::Folder),
                "/home/site",
                vec![Meaning::FolderReplaced],
            ),
            (
                renamed(RenameMode::To),
                "/link",
                vec![Meaning::FolderReplaced],
            ),
            (
                renamed(RenameMode::From),
                "/home/site",
                vec![Meaning::FolderReplaced],
            ),
            (METADATA, "/home/site", vec![]),
        ] {
            assert_eq!(meanings(kind, &[path]), expected, "{kind:?} {path}");
        }
    }

    #[test]
    fn the_inbox_is_bounded_and_forgets_nothing() {
        let inbox = Inbox::default();
        for n in 0..=MAX_DIRTY_PATHS {
            let path = format!("/home/site/p{n}");
            inbox.put(&Ok(event(CLOSED_BY_WRITER, &[&path])), &view());
        }
        let waiting = inbox.take();
        assert!(waiting.lost && waiting.changes.is_empty());
        assert!(waiting.last.is_some());
        inbox.put(
            &Ok(event(
                EventKind::Create(CreateKind::File),
                &["/home/site/a"],
            )),
            &view(),
        );
        inbox.put(&Ok(event(CLOSED_BY_WRITER, &["/home/site/a"])), &view());
        let trace = Trace {
            first: Change::Created,
            last: Change::Written,
        };
        assert_eq!(inbox.take().changes, [(PathBuf::from("a"), trace)].into());
        assert!(inbox.take().last.is_none());
    }
}
