//! The site folder as it is right now: there or not, and whether it is the same one as before.
//!
//! The configured path may not exist yet, may be a symlink that is pointed elsewhere, and the
//! folder may be deleted and made anew, replaced by a rename, or hidden by a mount. What tells one
//! folder from another is [`FolderIdentity`]. Owns nothing but the path.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The configured site folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFolder {
    path: PathBuf,
}

/// The folder that the configured path leads to at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFolder {
    /// Its path without symlinks.
    pub real: PathBuf,
    /// Which folder it is.
    pub identity: FolderIdentity,
}

/// What tells one folder from another at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderIdentity {
    device: u64,
    inode: u64,
    /// File systems hand out the inode of a deleted folder again; the birth time differs.
    born: Option<SystemTime>,
}

impl SiteFolder {
    /// Returns the site folder with this absolute path.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path as configured.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder that the path leads to now, or nothing when there is none.
    ///
    /// # Errors
    ///
    /// When the path cannot be followed (permissions, a loop of symlinks) or leads to a file.
    pub fn look(&self) -> io::Result<Option<FoundFolder>> {
        let real = match fs::canonicalize(&self.path) {
            Ok(real) => real,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = match fs::metadata(&real) {
            Ok(metadata) => metadata,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Some(FoundFolder {
            real,
            identity: FolderIdentity {
                device: metadata.dev(),
                inode: metadata.ino(),
                born: metadata.created().ok(),
            },
        }))
    }
}

/// Returns whether the error says that there is nothing at the path, as opposed to no answer.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_present_replaced() {
        let home = tempfile::tempdir().unwrap();
        let folder = SiteFolder::new(home.path().join("deploy"));
        assert_eq!(folder.look().unwrap(), None);
        fs::create_dir(folder.path()).unwrap();
        let first = folder.look().unwrap().unwrap();
        assert_eq!(folder.look().unwrap().unwrap(), first);
        fs::rename(folder.path(), home.path().join("old")).unwrap();
        fs::create_dir(folder.path()).unwrap();
        assert_ne!(folder.look().unwrap().unwrap().identity, first.identity);
    }

    #[test]
    fn a_symlink_is_followed_and_a_file_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().canonicalize().unwrap();
        fs::create_dir(real.join("build")).unwrap();
        let folder = SiteFolder::new(real.join("deploy"));
        std::os::unix::fs::symlink("build", folder.path()).unwrap();
        assert_eq!(folder.look().unwrap().unwrap().real, real.join("build"));
        fs::remove_file(folder.path()).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path()).unwrap();
        assert_eq!(folder.look().unwrap(), None);
        fs::remove_file(folder.path()).unwrap();
        fs::write(folder.path(), "").unwrap();
        assert_eq!(
            folder.look().unwrap_err().kind(),
            io::ErrorKind::NotADirectory
        );
    }
}
