//! Why a service could not be installed, removed or asked, and what to do about it.

use std::{io, path::PathBuf};

use crate::{
    service::{ManagerError, UnwritablePath},
    shown::ShownPath,
};

/// Why a service could not be installed, removed or asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The user's service manager cannot be used.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// A path of the site has no place in a unit.
    #[error(transparent)]
    Path(#[from] UnwritablePath),
    /// There is no folder for a user's units.
    #[error("there is no home folder to keep units in")]
    NoHome,
    /// The system does not say which program this is.
    #[error("this program does not know where it is")]
    NoProgram,
    /// The service would not have what this terminal has.
    #[error("the service would not have {}", names.join(", "))]
    FromTerminal {
        /// Variables.
        names: Vec<String>,
    },
    /// There is a unit of that name that onsave did not write.
    #[error("{} was not written by onsave; it was left alone", ShownPath(path))]
    Foreign {
        /// The unit.
        path: PathBuf,
    },
    /// There is a unit of that name for another site.
    #[error(
        "{} is the service of another site, {}",
        ShownPath(path),
        ShownPath(site)
    )]
    OtherSite {
        /// The unit.
        path: PathBuf,
        /// The root of the other site.
        site: PathBuf,
    },
    /// The site has no service.
    #[error("this site has no service")]
    NotInstalled,
    /// The service was started and did not become ready.
    #[error("the service did not start: {why}")]
    NotStarted {
        /// How it ended.
        why: String,
    },
    /// A unit could not be read.
    #[error("failed to read {}", ShownPath(path))]
    Read {
        /// The unit or its folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A unit could not be written or removed.
    #[error("failed to write {}", ShownPath(path))]
    Write {
        /// The unit or its folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl ServiceError {
    /// Returns what the user can do about it, where there is more to say than the error does.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Manager(error) => error.hint(),
            Self::Path(_) => Some(
                "a unit holds UTF-8 without control characters, and no space or backslash at the end \
                 of a path; give the folder another name"
                    .to_owned(),
            ),
            Self::NoHome => Some("set XDG_CONFIG_HOME to an absolute folder".to_owned()),
            Self::FromTerminal { .. } => Some(
                "put what they set into onsave.toml, and a secret into a file that target.secret_file \
                 names; then unset them and try again"
                    .to_owned(),
            ),
            Self::Foreign { .. } => {
                Some("move it away, or give this site another app in onsave.toml".to_owned())
            }
            Self::OtherSite { .. } => Some(
                "give one of the two another app in onsave.toml; a service has the app's name"
                    .to_owned(),
            ),
            Self::NotInstalled => Some("`onsave service install` makes one".to_owned()),
            Self::NotStarted { .. } => Some(
                "`onsave service logs` shows what it wrote; once that is mended, `onsave service \
                 install` starts it again"
                    .to_owned(),
            ),
            Self::Read { path, .. } => Some(format!("make {} readable for you", ShownPath(path))),
            Self::Write { path, .. } => {
                let folder = path.parent().unwrap_or(path);
                Some(format!("make {} writable for you", ShownPath(folder)))
            }
            Self::NoProgram => None,
        }
    }
}
