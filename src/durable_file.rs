//! Files that are there whole or not at all, also after a loss of power.
//!
//! Whoever keeps something that may not be lost replaces its file through here.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner alone.
    Owner,
    /// Whoever the user lets read new files; of one that is there, whoever may now.
    Usual,
}

/// Replaces the file at `path`, which is in a folder that is there. Once this returns, the new bytes are
/// on the disk under that name.
///
/// Nobody else may write a file of [`Readers::Owner`] meanwhile: what is being written has one name, with
/// `.new` behind it, so that what a crash left there is overwritten and never piles up.
///
/// # Errors
///
/// The system's; the old file is as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    match readers {
        Readers::Owner => replace_private(path, bytes)?,
        Readers::Usual => replace_usual(path, folder, bytes)?,
    }
    File::open(folder)?.sync_all()
}

fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn replace_usual(path: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        // Hidden, so that no watcher takes it for a save.
        .prefix(".onsave-")
        // The system takes the user's mask off.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    if let Ok(there) = fs::symlink_metadata(path)
        && there.is_file()
    {
        file.as_file().set_permissions(there.permissions())?;
    }
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for bytes in [&b"one"[..], b"two"] {
            replace(&path, bytes, Readers::Owner).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("no/a"), b"", Readers::Owner).is_err());
    }

    #[test]
    fn what_others_may_read_they_still_may() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (private, usual) = (folder.path().join("a"), folder.path().join("b"));
        replace(&private, b"", Readers::Owner).unwrap();
        assert_eq!(mode(&private), 0o600);
        replace(&usual, b"", Readers::Usual).unwrap();
        let made_by_hand = folder.path().join("c");
        fs::write(&made_by_hand, "").unwrap();
        assert_eq!(mode(&usual), mode(&made_by_hand));
        fs::set_permissions(&usual, Permissions::from_mode(0o640)).unwrap();
        replace(&usual, b"new", Readers::Usual).unwrap();
        assert_eq!(mode(&usual), 0o640);
    }
}
