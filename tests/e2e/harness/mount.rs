//! A file system of a story's own: what is on it is gone when the story ends.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A file system in memory, mounted over a folder; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts one that holds `size` (`64k`, `16m`).
    pub(crate) fn over(folder: &Path, size: &str) -> Self {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "onsave-e2e"])
            .arg(folder)
            .status()
            .expect("mount is there");
        assert!(
            status.success(),
            "this story mounts a file system, which needs root: {status}"
        );
        Self(folder.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, since a failing test may leave the daemon inside.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
