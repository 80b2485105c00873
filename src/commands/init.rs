//! `onsave init`: a commented `onsave.toml` for a folder.
//!
//! What it writes is `config.example.toml`, which a test holds to the code, with the app's name
//! filled in; so there is one text that explains the keys. An existing file is never touched.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::CommandError;
use crate::{
    config::{self, FILE_NAME},
    shown::ShownPath,
};

/// The example, every key with its default.
pub(crate) const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The line of the example that names the app.
const EXAMPLE_APP: &str = "app = \"my-site\"";

/// No file was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{} exists already; nothing was written", ShownPath(path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("failed to write {}", ShownPath(path))]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl InitError {
    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some(
                "edit that file, or move it away to start again; `onsave check` shows what it says"
                    .to_owned(),
            ),
            Self::Write { .. } => None,
        }
    }
}

/// Writes the file into `folder` and says so.
///
/// # Errors
///
/// [`CommandError::Init`] or [`CommandError::Output`].
pub(super) fn run(folder: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
    let path = folder.join(FILE_NAME);
    let app = config::app_name_of(folder);
    let text = EXAMPLE.replacen(EXAMPLE_APP, &format!("app = \"{app}\""), 1);
    // Created anew or not at all: no moment at which another's file could be overwritten.
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => {
            writeln!(out, "wrote {} for the app {app}", ShownPath(&path))?;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(InitError::Exists { path }.into())
        }
        Err(source) => Err(InitError::Write { path, source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_folder_names_the_app() {
        let home = TempDir::new().unwrap();
        let folder = home.path().join("My Blog");
        fs::create_dir(&folder).unwrap();
        let mut out = Vec::new();
        run(&folder, &mut out).unwrap();
        let text = fs::read_to_string(folder.join(FILE_NAME)).unwrap();
        assert!(text.lines().any(|line| line == "app = \"my-blog\""));
        assert_eq!(text.lines().count(), EXAMPLE.lines().count());
        assert!(String::from_utf8(out).unwrap().contains("my-blog"));
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "app = \"mine\"").unwrap();
        let error = run(folder.path(), &mut Vec::new()).unwrap_err();
        assert!(matches!(
            error,
            CommandError::Init(InitError::Exists { .. })
        ));
        assert!(error.hint().is_some());
        assert_eq!(fs::read_to_string(&path).unwrap(), "app = \"mine\"");
    }

    #[test]
    fn a_dangling_link_counts_as_existing() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("elsewhere.toml");
        std::os::unix::fs::symlink(&target, folder.path().join(FILE_NAME)).unwrap();
        assert!(run(folder.path(), &mut Vec::new()).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn a_folder_that_is_gone_is_named() {
        let folder = TempDir::new().unwrap();
        let gone = folder.path().join("gone");
        let error = run(&gone, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("gone/onsave.toml"));
    }
}
