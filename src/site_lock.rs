//! One daemon for one site: the lock in the site's state folder that a `watch` holds.
//!
//! Owns `watch.lock`, which holds the process id of its holder. The lock is the kernel's and belongs
//! to the open file, so that a crash releases it; the number in it is for people, and believed only
//! while somebody has the lock. The file stays: removing it would let two processes hold two files
//! of one name.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::state_folder::SiteState;

/// How long the holder is waited for: a process that was killed, or is being replaced, keeps the lock
/// until the system is done with it.
const WAIT: Duration = Duration::from_secs(3);

/// Time between two looks while it waits.
const POLL: Duration = Duration::from_millis(50);

/// No process id is longer.
const MAX_BYTES: u64 = 20;

/// The site is this process's to watch, until this is dropped.
#[derive(Debug)]
pub struct SiteLock {
    /// Closing it releases the lock.
    _file: File,
}

/// The site is not this process's to watch.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process watches it.
    #[error("this site is watched by {} already", process(*pid))]
    Held {
        /// The process, as far as it told.
        pid: Option<u32>,
    },
    /// The lock cannot be used.
    #[error("failed to lock {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Held { pid } => {
                let stop = pid.map_or_else(String::new, |pid| format!("with `kill {pid}`, or "));
                format!(
                    "what it publishes is live already; to watch here instead, stop that one: {stop}with \
                     `onsave service uninstall` when it is this site's service"
                )
            }
            Self::Lock { path, .. } => {
                let folder = path.parent().unwrap_or(path);
                format!("make {} writable for you", folder.display())
            }
        }
    }
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

impl SiteLock {
    /// Takes the lock; waits a moment for another holder. The state folder has to be there.
    ///
    /// # Errors
    ///
    /// [`LockError`].
    pub async fn take(state: &SiteState) -> Result<Self, LockError> {
        let give_up = Instant::now() + WAIT;
        loop {
            match Self::try_take(state) {
                Err(LockError::Held { .. }) if Instant::now() < give_up => sleep(POLL).await,
                taken => return taken,
            }
        }
    }

    /// Takes the lock, if it is free now. The state folder has to be there.
    ///
    /// # Errors
    ///
    /// [`LockError`].
    pub fn try_take(state: &SiteState) -> Result<Self, LockError> {
        try_take(&state.watch_lock())
    }
}

fn try_take(path: &Path) -> Result<SiteLock, LockError> {
    let failed = |source| LockError::Lock {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    // Not emptied before the lock is held: it names the holder.
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.mode(0o600).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(LockError::Held {
                pid: holder(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let pid = std::process::id();
    file.set_len(0)
        .and_then(|()| writeln!(file, "{pid}"))
        .map_err(failed)?;
    Ok(SiteLock { _file: file })
}

/// Returns who holds the lock; nothing while it is about to write that down.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("watch.lock");
        (folder, path)
    }

    #[test]
    fn a_second_holder_is_told_of_the_first() {
        let (_folder, path) = place();
        let first = try_take(&path).unwrap();
        let error = try_take(&path).unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("this site is watched by process {pid} already")
        );
        assert!(error.hint().contains(&format!("`kill {pid}`")));
        drop(first);
        try_take(&path).unwrap();
    }

    #[test]
    fn what_an_earlier_holder_left_is_not_believed() {
        let (_folder, path) = place();
        std::fs::write(&path, "4000000000 and much more text than a number\n").unwrap();
        let held = try_take(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        // A holder that has not written yet.
        std::fs::write(&path, "").unwrap();
        let error = try_take(&path).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        assert!(!error.hint().contains("kill"));
        drop(held);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let (folder, path) = place();
        drop(folder);
        let error = try_take(&path).unwrap_err();
        assert!(matches!(error, LockError::Lock { .. }), "{error}");
        assert!(error.hint().contains("writable"));
    }

    #[tokio::test]
    async fn a_holder_that_is_about_to_end_is_waited_for() {
        let (folder, path) = place();
        let held = try_take(&path).unwrap();
        let state = SiteState::in_folder(folder.path());
        let taking = Box::pin(SiteLock::take(&state));
        let (taken, ()) = tokio::join!(taking, async {
            sleep(POLL * 2).await;
            drop(held);
        });
        taken.unwrap();
    }
}
