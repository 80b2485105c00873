//! `.onsave/server.json`: tells other commands where the server of a running `watch` is.
//!
//! Owns the file's format. It is a hint beside the volume's lock: only a process that holds the lock
//! writes it, and it is believed only while somebody holds the lock.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::state_folder::DATA_FOLDER;

/// Where the server of a running process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunningServer {
    /// Its address: scheme, host and port.
    pub(super) url: String,
    /// The process.
    pub(super) pid: u32,
    /// The volume that it serves.
    pub(super) volume: PathBuf,
}

/// Returns the file's path for the site whose configuration stands in `root`.
pub(super) fn path(root: &Path) -> PathBuf {
    root.join(DATA_FOLDER).join("server.json")
}

impl RunningServer {
    /// Returns what the file says of the server of `volume`; nothing when it says nothing readable.
    pub(super) fn load(path: &Path, volume: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let server: Self = serde_json::from_slice(&bytes).ok()?;
        (server.volume == volume).then_some(server)
    }

    /// Replaces the file, whole or not at all.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        // The holder of the volume's lock is alone: one temporary name is enough.
        let temporary = path.with_extension("json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(serde_json::to_string(self)?.as_bytes())?;
        drop(file);
        fs::rename(&temporary, path)
    }
}

/// Removes the file; that there is none is as good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_of_one_volume() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("server.json");
        let server = RunningServer {
            url: "http://127.0.0.1:8080".into(),
            pid: 7,
            volume: "/a".into(),
        };
        assert_eq!(RunningServer::load(&path, Path::new("/a")), None);
        server.store(&path).unwrap();
        assert_eq!(RunningServer::load(&path, Path::new("/a")), Some(server));
        assert_eq!(RunningServer::load(&path, Path::new("/b")), None);
        fs::write(&path, b"{").unwrap();
        assert_eq!(RunningServer::load(&path, Path::new("/a")), None);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
