//! `onsave init`: a commented `onsave.toml` for a folder.
//!
//! What it writes is `config.example.toml`, which a test holds to the code, with the app's name
//! and the site folder filled in; so there is one text that explains the keys. An existing file is never touched.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::CommandError;
use crate::{
    cli::GlobalOptions,
    config::{self, FILE_NAME, keys::CONFIG_VARIABLE},
    shown::ShownPath,
    surroundings::Surroundings,
};

/// The example, every key with its default.
pub(crate) const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The line of the example that names the app.
const EXAMPLE_APP: &str = "app = \"my-site\"";

/// The line of the example that names the site folder.
const EXAMPLE_DIR: &str = "#dir = \"deploy\"";

/// No file was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{} exists already; nothing was written", ShownPath(path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The site folder cannot be written down.
    #[error(
        "{} is not UTF-8, which a configuration file has to be",
        ShownPath(path)
    )]
    NotUtf8 {
        /// The site folder.
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
            Self::NotUtf8 { .. } | Self::Write { .. } => None,
        }
    }
}

/// Writes the file that the options name, or the one of the working folder, and says so.
///
/// # Errors
///
/// [`CommandError::Init`] or [`CommandError::Output`].
pub(super) fn run(
    options: &GlobalOptions,
    surroundings: &Surroundings,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let working_folder = &surroundings.working_folder;
    let named = options.config.as_deref();
    // The variable names the file for every other command: a second one would never be read.
    let named = named.or_else(|| surroundings.variable(CONFIG_VARIABLE).map(Path::new));
    let path = working_folder.join(named.unwrap_or(Path::new(FILE_NAME)));
    let folder = path.parent().unwrap_or(working_folder);
    let app = config::app_name_of(folder);
    let mut text = EXAMPLE.replacen(EXAMPLE_APP, &format!("app = \"{app}\""), 1);
    if let Some(dir) = &options.dir {
        let dir = working_folder.join(dir);
        // Paths of the file start from its own folder.
        let dir = dir.strip_prefix(folder).unwrap_or(&dir);
        let line = dir_line(dir)?;
        text = text.replacen(EXAMPLE_DIR, &line, 1);
    }
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

/// The line of the file that names the site folder.
fn dir_line(dir: &Path) -> Result<String, InitError> {
    let Some(text) = dir.to_str() else {
        let path = dir.to_owned();
        return Err(InitError::NotUtf8 { path });
    };
    // Of the file's own folder nothing is left.
    let text = if text.is_empty() { "." } else { text };
    Ok(format!("dir = {}", config::quoted(text)))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use tempfile::TempDir;

    use super::*;
    use crate::surroundings::Stream;

    fn init(folder: &Path, options: &GlobalOptions) -> Result<String, CommandError> {
        let surroundings = Surroundings {
            variables: BTreeMap::new(),
            working_folder: folder.to_owned(),
            home: None,
            host: "desk".into(),
            stderr: Stream::Other,
            program: None,
        };
        let mut out = Vec::new();
        run(options, &surroundings, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn init_plain(folder: &Path) -> Result<String, CommandError> {
        init(folder, &GlobalOptions::default())
    }

    #[test]
    fn the_folder_names_the_app() {
        let home = TempDir::new().unwrap();
        let folder = home.path().join("My Blog");
        fs::create_dir(&folder).unwrap();
        let out = init_plain(&folder).unwrap();
        let text = fs::read_to_string(folder.join(FILE_NAME)).unwrap();
        assert!(text.lines().any(|line| line == "app = \"my-blog\""));
        assert_eq!(text.lines().count(), EXAMPLE.lines().count());
        assert!(out.contains("my-blog"));
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "app = \"mine\"").unwrap();
        let error = init_plain(folder.path()).unwrap_err();
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
        assert!(init_plain(folder.path()).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn a_folder_that_is_gone_is_named() {
        let folder = TempDir::new().unwrap();
        let gone = folder.path().join("gone");
        let error = init_plain(&gone).unwrap_err();
        assert!(error.to_string().contains("gone/onsave.toml"));
    }

    #[test]
    fn options_name_the_file_and_the_site_folder() {
        let home = TempDir::new().unwrap();
        fs::create_dir(home.path().join("Blog")).unwrap();
        let cases = [
            ("a.toml", "public", "dir = \"public\""),
            ("Blog/b.toml", "Blog/out", "dir = \"out\""),
            ("c.toml", ".", "dir = \".\""),
            (
                "d.toml",
                "a \"b\" \\ c\n",
                "dir = \"a \\\"b\\\" \\\\ c\\u000A\"",
            ),
            ("e.toml", "/srv/www", "dir = \"/srv/www\""),
        ];
        for (file, dir, line) in cases {
            let options = GlobalOptions {
                config: Some(file.into()),
                dir: Some(dir.into()),
                ..GlobalOptions::default()
            };
            init(home.path(), &options).unwrap();
            let text = fs::read_to_string(home.path().join(file)).unwrap();
            assert!(text.lines().any(|found| found == line), "{file}: {text}");
            let error = init(home.path(), &options).unwrap_err();
            assert!(matches!(
                error,
                CommandError::Init(InitError::Exists { .. })
            ));
        }
        let text = fs::read_to_string(home.path().join("Blog/b.toml")).unwrap();
        assert!(
            text.contains("\napp = \"blog\"\n"),
            "the file's folder names the app"
        );
        assert!(!home.path().join(FILE_NAME).exists());
    }
}
