//! Looking at this machine: the state folder, the site folder, and the limits of file events.
//!
//! Blocks: the caller runs it where blocking is allowed.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    config::PollMode,
    doctor::facts::{FolderFacts, SpaceFacts, StateFacts, WatchFacts},
    site_folder::SiteFolder,
    watch::file_system_without_events,
};

/// Folders that are counted at most: more than any system lets one user watch.
const MOST_COUNTED: u64 = 2_000_000;

/// Where to look.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) state: Option<PathBuf>,
    pub(super) site: Option<PathBuf>,
    pub(super) poll: Option<PollMode>,
    /// The folder with the system's limits.
    pub(super) limits: PathBuf,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) state: StateFacts,
    pub(super) folder: Option<FolderFacts>,
    pub(super) watch: Option<WatchFacts>,
}

pub(super) fn look(places: Places) -> Here {
    Here {
        state: state(places.state.unwrap_or_default()),
        folder: places.site.map(folder),
        watch: places.poll.map(|poll| WatchFacts {
            poll,
            most_watches: number_in(&places.limits.join("max_user_watches")),
            most_instances: number_in(&places.limits.join("max_user_instances")),
            refused: one_more_watcher().err().map(|error| error.to_string()),
        }),
    }
}

fn state(folder: PathBuf) -> StateFacts {
    let mode = fs::metadata(&folder).map(|metadata| metadata.permissions().mode() & 0o777);
    StateFacts {
        is_there: mode.is_ok(),
        unwritable: unwritable(&folder),
        open_mode: mode.ok().filter(|mode| mode & 0o077 != 0),
        folder,
    }
}

/// Returns the folder, or the nearest one above it that is there, when it cannot be written to.
fn unwritable(folder: &Path) -> Option<PathBuf> {
    use rustix::fs::{Access, access};

    let there = folder.ancestors().find(|folder| folder.exists())?;
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    (!there.is_dir() || access(there, wanted).is_err()).then(|| there.to_owned())
}

/// Returns what is known of a volume that no process serves.
pub(super) fn space(path: PathBuf) -> SpaceFacts {
    let there = path.ancestors().find(|folder| folder.exists());
    let space = there.and_then(|folder| rustix::fs::statvfs(folder).ok());
    SpaceFacts {
        unwritable: unwritable(&path),
        space: space.map(|space| {
            (
                space.f_bavail * space.f_frsize,
                space.f_blocks * space.f_frsize,
            )
        }),
        path,
    }
}

fn folder(path: PathBuf) -> FolderFacts {
    let unusable = |path, error: io::Error| FolderFacts::Unusable {
        path,
        why: match error.kind() {
            io::ErrorKind::NotADirectory => "it is a file".to_owned(),
            _ => error.to_string(),
        },
    };
    let found = match SiteFolder::new(path.clone()).look() {
        Ok(Some(found)) => found,
        Ok(None) => return FolderFacts::Missing { path },
        Err(error) => return unusable(path, error),
    };
    let is_empty = match fs::read_dir(&found.real) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => return unusable(path, error),
    };
    let (folders, unreadable) = count_folders(&found.real);
    FolderFacts::There {
        path,
        is_empty,
        folders,
        unreadable,
        file_system: file_system_without_events(&found.real),
    }
}

/// Returns how many folders there are, the first with those below it, and one that cannot be read.
///
/// Symlinks are not followed: the watches do not follow them either.
fn count_folders(root: &Path) -> (u64, Option<PathBuf>) {
    let mut count = 0;
    let mut unreadable = None;
    let mut ahead = vec![root.to_owned()];
    while let Some(folder) = ahead.pop() {
        count += 1;
        let Ok(entries) = fs::read_dir(&folder) else {
            unreadable = unreadable.or(Some(folder));
            continue;
        };
        let folders = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        ahead.extend(folders.map(|entry| entry.path()));
        if count + ahead.len() as u64 >= MOST_COUNTED {
            return (MOST_COUNTED, unreadable);
        }
    }
    (count, unreadable)
}

fn number_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Tries what a watch begins with; it ends when it is dropped.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn one_more_watcher() -> io::Result<()> {
    use rustix::fs::inotify;

    inotify::init(inotify::CreateFlags::CLOEXEC)?;
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn one_more_watcher() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn places(home: &TempDir) -> Places {
        Places {
            state: Some(home.path().join("state/onsave/site")),
            site: Some(home.path().join("deploy")),
            poll: Some(PollMode::Auto),
            limits: home.path().join("limits"),
        }
    }

    #[test]
    fn folders_are_counted_and_symlinks_are_not_followed() {
        let home = TempDir::new().unwrap();
        fs::create_dir_all(home.path().join("deploy/a/b")).unwrap();
        fs::create_dir_all(home.path().join("deploy/c")).unwrap();
        fs::write(home.path().join("deploy/index.html"), "x").unwrap();
        std::os::unix::fs::symlink(home.path(), home.path().join("deploy/loop")).unwrap();
        let here = look(places(&home));
        match here.folder.unwrap() {
            FolderFacts::There {
                is_empty,
                folders,
                unreadable,
                ..
            } => assert_eq!((is_empty, folders, unreadable), (false, 4, None)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_folder_is_told_apart_from_nothing() {
        let home = TempDir::new().unwrap();
        assert!(matches!(
            look(places(&home)).folder,
            Some(FolderFacts::Missing { .. })
        ));
        fs::write(home.path().join("deploy"), "x").unwrap();
        match look(places(&home)).folder.unwrap() {
            FolderFacts::Unusable { why, .. } => assert_eq!(why, "it is a file"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn limits_are_read_where_the_system_has_them() {
        let home = TempDir::new().unwrap();
        let watch = look(places(&home)).watch.unwrap();
        assert_eq!((watch.most_watches, watch.most_instances), (None, None));
        fs::create_dir(home.path().join("limits")).unwrap();
        fs::write(home.path().join("limits/max_user_watches"), "8192\n").unwrap();
        fs::write(home.path().join("limits/max_user_instances"), "128\n").unwrap();
        let watch = look(places(&home)).watch.unwrap();
        assert_eq!(
            (watch.most_watches, watch.most_instances),
            (Some(8192), Some(128))
        );
    }

    #[test]
    fn looking_makes_no_folder() {
        let home = TempDir::new().unwrap();
        let here = look(places(&home));
        assert!(!here.state.is_there && here.state.unwritable.is_none());
        let space = space(home.path().join("volume"));
        assert!(space.space.is_some_and(|(free, of)| free <= of && of > 0));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_state_folder_that_others_may_look_into_is_seen() {
        let home = TempDir::new().unwrap();
        let state = home.path().join("state/onsave/site");
        fs::create_dir_all(&state).unwrap();
        for (mode, open) in [(0o700, None), (0o750, Some(0o750))] {
            fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
            let here = look(places(&home));
            assert!(here.state.is_there);
            assert_eq!(here.state.open_mode, open);
        }
    }
}
