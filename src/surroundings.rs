//! What the process finds around itself: environment, working folder, user and host.
//!
//! Read once, here, and then passed on as a value, so that the rest of the program and its tests
//! never look at the process. Nothing is judged here; the configuration does that.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{self, IsTerminal as _},
    path::PathBuf,
};

/// What the process finds around itself.
#[derive(Clone)]
pub struct Surroundings {
    /// The environment.
    pub variables: BTreeMap<OsString, OsString>,
    /// The folder that relative paths of flags and variables start from; absolute.
    pub working_folder: PathBuf,
    /// The user's home folder, where the system knows one.
    pub home: Option<PathBuf>,
    /// The name of this machine.
    pub host: String,
    /// Whether standard error is a terminal.
    pub stderr: Stream,
    /// The running program, where the system tells.
    pub program: Option<PathBuf>,
}

/// Where an output stream leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// To a person.
    Terminal,
    /// To a file, a pipe or a journal.
    Other,
}

impl Surroundings {
    /// Returns those of this process.
    ///
    /// # Errors
    ///
    /// When the working folder is gone or may not be read.
    pub fn of_process() -> io::Result<Self> {
        Ok(Self {
            variables: std::env::vars_os().collect(),
            working_folder: std::env::current_dir()?,
            home: std::env::home_dir(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            stderr: if io::stderr().is_terminal() {
                Stream::Terminal
            } else {
                Stream::Other
            },
            program: std::env::current_exe().ok(),
        })
    }

    /// Returns a variable's value; an empty one counts as not set.
    ///
    /// Service files and compose files cannot unset a variable, only empty it.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// Returns the name of who runs this: the user's, or the number where there is no name.
    #[must_use]
    pub fn user(&self) -> String {
        ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| self.variable(name)?.to_str())
            .map_or_else(
                || format!("uid{}", rustix::process::getuid().as_raw()),
                str::to_owned,
            )
    }
}

/// Only names: a value may be a secret.
impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("variables", &self.variables.keys())
            .field("working_folder", &self.working_folder)
            .field("home", &self.home)
            .field("host", &self.host)
            .field("stderr", &self.stderr)
            .field("program", &self.program)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            variables: variables
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            working_folder: "/work".into(),
            home: None,
            host: "desk".to_owned(),
            stderr: Stream::Other,
            program: None,
        }
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let surroundings = with(&[("EMPTY", ""), ("FULL", "x")]);
        assert_eq!(surroundings.variable("EMPTY"), None);
        assert_eq!(surroundings.variable("FULL"), Some(OsStr::new("x")));
        assert_eq!(surroundings.variable("ABSENT"), None);
    }

    #[test]
    fn the_user_has_a_name_or_a_number() {
        assert_eq!(with(&[("USER", "ann"), ("LOGNAME", "bob")]).user(), "ann");
        assert_eq!(with(&[("USER", ""), ("LOGNAME", "bob")]).user(), "bob");
        let number = format!("uid{}", rustix::process::getuid().as_raw());
        assert_eq!(with(&[]).user(), number);
    }

    #[test]
    fn debug_prints_no_value() {
        let text = format!("{:?}", with(&[("ONSAVE_SYNC_SECRET", "hunter2")]));
        assert!(text.contains("ONSAVE_SYNC_SECRET"));
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn the_process_has_a_working_folder() {
        let surroundings = Surroundings::of_process().unwrap();
        assert!(surroundings.working_folder.is_absolute());
        assert!(!surroundings.host.is_empty());
    }
}
