//! Setting the watches: on the site folder, and on what shows that it is replaced.
//!
//! A watch belongs to an inode. When the site folder is deleted and made anew, its watch is dead
//! and silent, so the folders that hold it are watched too, and everything is set anew. Setting
//! blocks for about 35 µs a folder; the caller runs it where blocking is allowed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{Config, ErrorKind, EventHandler, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::{
    config::PollMode,
    shown::ShownPath,
    site_folder::{FoundFolder, SiteFolder, is_gone},
};

use super::{
    WatchRules, WatchTrouble,
    inbox::{Inbox, View},
};

/// Times that a folder may be replaced, or one in it removed, while it is being watched anew; more is
/// left to the tick and to the reconcile.
const MAX_ATTEMPTS: usize = 3;

/// File systems that give no events for what other machines, or the host, change.
const WITHOUT_EVENTS: [(u32, &str); 10] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x786F_4256, "vboxsf"),
    (0x5346_414F, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
];

/// What is needed to set the watches.
#[derive(Debug, Clone)]
pub(super) struct Arming {
    pub(super) folder: SiteFolder,
    pub(super) poll: PollMode,
    pub(super) rules: Arc<dyn WatchRules>,
    pub(super) inbox: Arc<Inbox>,
}

/// The watches as set.
#[derive(Debug)]
pub(super) struct Armed {
    /// Ends the watches when dropped; none when there are none.
    pub(super) watches: Option<RecommendedWatcher>,
    /// The site folder that is watched; none when there is none.
    pub(super) found: Option<FoundFolder>,
    /// Why there are no events, when there are none.
    pub(super) trouble: Option<WatchTrouble>,
    /// Whether some folders are not watched, so that a new one has to be asked about.
    pub(super) is_selective: bool,
    /// Whether the trouble is that a folder went while it was to be watched: no lasting one.
    vanished: bool,
}

impl Arming {
    /// Sets the watches for the site folder as it is now.
    pub(super) fn run(&self) -> Armed {
        let mut armed = self.attempt();
        for _ in 1..MAX_ATTEMPTS {
            if !armed.vanished && armed.found == self.look() {
                break;
            }
            armed = self.attempt();
        }
        armed
    }

    /// Returns the site folder as it is now; one that cannot be looked at counts as none, and the
    /// scan says why.
    pub(super) fn look(&self) -> Option<FoundFolder> {
        self.folder.look().unwrap_or_else(|error| {
            tracing::debug!(folder = %ShownPath(self.folder.path()), %error, "the site folder cannot be looked at");
            None
        })
    }

    fn attempt(&self) -> Armed {
        let found = self.look();
        let without_events = match self.poll {
            PollMode::Always => Some(WatchTrouble::Configured),
            PollMode::Auto => found
                .as_ref()
                .and_then(|found| file_system_without_events(&found.real))
                .map(WatchTrouble::FileSystem),
            PollMode::Never => None,
        };
        if without_events.is_some() {
            return Armed {
                watches: None,
                found,
                trouble: without_events,
                is_selective: false,
                vanished: false,
            };
        }
        match self.watch(found.as_ref()) {
            Ok((watches, is_selective)) => Armed {
                watches: Some(watches),
                found,
                trouble: None,
                is_selective,
                vanished: false,
            },
            Err(error) => Armed {
                watches: None,
                found,
                trouble: Some(trouble(&error)),
                is_selective: false,
                vanished: has_vanished(&error),
            },
        }
    }

    /// Returns the watches, and whether some folders are left out of them.
    fn watch(&self, found: Option<&FoundFolder>) -> notify::Result<(RecommendedWatcher, bool)> {
        let (holders, anchors) = holders(self.folder.path(), found);
        let view = View {
            root: found.map(|found| found.real.clone()),
            anchors,
            rules: Arc::clone(&self.rules),
        };
        let inbox = Arc::clone(&self.inbox);
        let handler = move |event| inbox.put(&event, &view);
        let mut watches = new_watcher(handler)?;
        for holder in holders {
            match watches.watch(&holder, RecursiveMode::NonRecursive) {
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => return Err(error),
                // The tick finds what this watch would have shown, a little later.
                Err(error) => {
                    tracing::debug!(folder = %ShownPath(&holder), %error, "the folder that holds the site folder is not watched");
                }
                Ok(()) => {}
            }
        }
        let Some(found) = found else {
            return Ok((watches, false));
        };
        let Some(folders) = self.rules.folders(&found.real) else {
            watches.watch(&found.real, RecursiveMode::Recursive)?;
            return Ok((watches, false));
        };
        for folder in folders {
            match watches.watch(&folder, RecursiveMode::NonRecursive) {
                // Its going is an event of the folder that held it.
                Err(error) if has_vanished(&error) && folder != found.real => {}
                result => result?,
            }
        }
        Ok((watches, true))
    }
}

/// The watches do not follow symlinks: two names of one folder would share one watch, and events
/// would come under one of them only. The scan knows what a symlink shows.
fn new_watcher(handler: impl EventHandler) -> notify::Result<RecommendedWatcher> {
    RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false))
}

/// Returns the folders to watch around the site folder, and the paths in them that matter.
fn holders(path: &Path, found: Option<&FoundFolder>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut anchors = match found {
        Some(found) => vec![path.to_owned(), found.real.clone()],
        // The outermost missing folder on the way: the one whose coming is seen first.
        None => path
            .ancestors()
            .take_while(|ancestor| !ancestor.is_dir())
            .last()
            .map(Path::to_owned)
            .into_iter()
            .collect(),
    };
    anchors.dedup();
    let mut folders: Vec<_> = anchors
        .iter()
        .filter_map(|anchor| Some(anchor.parent()?.to_owned()))
        .collect();
    folders.dedup();
    (folders, anchors)
}

fn has_vanished(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(io) => is_gone(io),
        _ => false,
    }
}

fn trouble(error: &notify::Error) -> WatchTrouble {
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    match &error.kind {
        ErrorKind::MaxFilesWatch => WatchTrouble::WatchLimit,
        ErrorKind::Io(io) if io.raw_os_error() == Some(EMFILE) => WatchTrouble::InstanceLimit,
        _ => WatchTrouble::Failed(error.to_string()),
    }
}

/// Returns the name of the folder's file system, when it gives no events.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn file_system_without_events(folder: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    let magic = u32::try_from(kind & 0xFFFF_FFFF).ok()?;
    name_of(magic)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn file_system_without_events(_folder: &Path) -> Option<&'static str> {
    None
}

fn name_of(magic: u32) -> Option<&'static str> {
    let known = WITHOUT_EVENTS.iter().find(|(known, _)| *known == magic);
    known.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known() {
        assert_eq!(name_of(0x6969), Some("NFS"));
        assert_eq!(name_of(0xFE53_4D42), Some("SMB"));
        assert_eq!(name_of(0xEF53), None, "ext4 gives events");
        assert_eq!(file_system_without_events(Path::new("/proc")), None);
    }

    #[test]
    fn the_nearest_folder_that_is_there_is_watched() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let path = home.join("a/b/deploy");
        assert_eq!(
            holders(&path, None),
            (vec![home.clone()], vec![home.join("a")])
        );
        std::fs::create_dir_all(home.join("a/b")).unwrap();
        assert_eq!(
            holders(&path, None),
            (vec![home.join("a/b")], vec![path.clone()])
        );
        std::fs::create_dir(home.join("real")).unwrap();
        std::os::unix::fs::symlink(home.join("real"), &path).unwrap();
        let found = SiteFolder::new(path.clone()).look().unwrap().unwrap();
        assert_eq!(
            holders(&path, Some(&found)),
            (
                vec![home.join("a/b"), home.clone()],
                vec![path, home.join("real")]
            )
        );
    }

    #[test]
    fn a_folder_that_went_meanwhile_is_no_lasting_trouble() {
        let io = |errno: rustix::io::Errno| notify::Error::io(errno.into());
        assert!(has_vanished(&io(rustix::io::Errno::NOENT)));
        assert!(has_vanished(&notify::Error::path_not_found()));
        assert!(!has_vanished(&io(rustix::io::Errno::ACCESS)));
        assert!(!has_vanished(&notify::Error::new(ErrorKind::MaxFilesWatch)));
    }

    #[test]
    fn limits_are_told_apart() {
        let io = |errno: rustix::io::Errno| notify::Error::io(errno.into());
        assert_eq!(
            trouble(&io(rustix::io::Errno::MFILE)),
            WatchTrouble::InstanceLimit
        );
        let limit = notify::Error::new(ErrorKind::MaxFilesWatch);
        assert_eq!(trouble(&limit), WatchTrouble::WatchLimit);
        assert!(matches!(
            trouble(&io(rustix::io::Errno::ACCESS)),
            WatchTrouble::Failed(_)
        ));
    }
}
