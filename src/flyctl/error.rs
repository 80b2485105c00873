//! Why flyctl could not be made to do something, and what to do next.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::{
    fly::{Asked, Reason},
    shown::{ShownPath, ShownText},
};

/// How much of what flyctl says is shown, in bytes: its end, where the error stands.
const SHOWN_BYTES: usize = 16 * 1024;

/// Parts of the sentences with which flyctl says that it reaches nobody.
const NO_NETWORK: [&str; 5] = [
    "dial tcp",
    "no such host",
    "connection refused",
    "i/o timeout",
    "network is unreachable",
];

/// Why flyctl could not be made to do something.
#[derive(Debug, thiserror::Error)]
pub enum FlyctlError {
    /// It is not installed.
    #[error("there is no flyctl: neither flyctl nor fly is found by PATH")]
    Missing,
    /// It could not be started.
    #[error("failed to run {}", ShownPath(program))]
    NotRun {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It took too long and was ended.
    #[error("failed to {asked}: flyctl took longer than {} s{said}", .limit.as_secs())]
    TooSlow {
        /// What was asked.
        asked: Asked,
        /// How long it may take.
        limit: Duration,
        /// What it said until then.
        said: Words,
    },
    /// It failed.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// What it printed is not what the command prints.
    #[error("failed to {asked}: what flyctl prints is not understood{said}")]
    NotUnderstood {
        /// What was asked.
        asked: Asked,
        /// What it printed.
        said: Words,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It said that all is well, and what it should have made is not there.
    #[error("failed to {asked}: flyctl says that it is done, but there is nothing")]
    NothingMade {
        /// What was asked.
        asked: Asked,
    },
    /// A secret has a form that its input cannot carry.
    #[error("the value of {name} cannot be given to flyctl")]
    NotCarried {
        /// The secret's name.
        name: String,
    },
    /// The file that it deploys by could not be written.
    #[error("failed to write the fly.toml for flyctl in {}", ShownPath(folder))]
    File {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// A failure of flyctl's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was asked.
    pub asked: Asked,
    /// What it means.
    pub reason: Reason,
    /// What flyctl said; all of it where it was not understood.
    pub said: Words,
}

/// What flyctl said, as it is shown after a sentence: on the same line when it is one line, on lines of
/// its own otherwise. Nothing that a terminal obeys is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// Returns what is shown of `text`, which has nothing secret in it.
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim();
        let cut = text.ceil_char_boundary(text.len().saturating_sub(SHOWN_BYTES));
        Self(text[cut..].to_owned())
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lines().map(str::trim_end);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [] => f.write_str("; it says nothing more"),
            [line] => write!(f, ": {}", ShownText(line)),
            lines => {
                f.write_str("; it says:")?;
                lines
                    .iter()
                    .try_for_each(|line| write!(f, "\n  {}", ShownText(line)))
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}: flyctl failed{}", self.asked, self.said)
    }
}

impl FlyctlError {
    /// Returns what a refusal means; nothing where flyctl did not tell of one.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Failed(failure) => Some(&failure.reason),
            _ => None,
        }
    }

    /// Returns what to do next, in words.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing => Some(
                "install it as https://fly.io/docs/flyctl/install/ says, and see that PATH names its \
                 folder; or set fly.driver = \"api\", which needs nothing but a token"
                    .to_owned(),
            ),
            Self::NotRun { .. } => Some("see that it is a program that you may run".to_owned()),
            Self::TooSlow { .. } => Some(
                "see https://status.flyio.net; what is done stays done: run it again".to_owned(),
            ),
            Self::Failed(failure) => failure.hint(),
            Self::NotUnderstood { .. } => Some(
                "update flyctl (`fly version update`); if that does not help, this version of onsave \
                 may be too old for it: set fly.driver = \"api\""
                    .to_owned(),
            ),
            Self::NothingMade { asked } => Some(format!(
                "`fly status --app {}` says more; run it again",
                asked.subject
            )),
            Self::NotCarried { .. } => Some(
                "give a secret on one line, with no space or quotation mark at its ends; or take it away \
                 and let onsave make one"
                    .to_owned(),
            ),
            Self::File { .. } => Some("TMPDIR names the folder for it".to_owned()),
        }
    }
}

impl Failure {
    fn hint(&self) -> Option<String> {
        let said = self.said.0.to_lowercase();
        match self.reason {
            Reason::BadToken => Some(
                "log in with `fly auth login`; or make a token with `fly tokens create org` and put it into \
                 FLY_API_TOKEN"
                    .to_owned(),
            ),
            Reason::NoSuchCall => Some("update flyctl: `fly version update`".to_owned()),
            Reason::Unknown if NO_NETWORK.iter().any(|part| said.contains(part)) => Some(
                "check the network and https://status.flyio.net; what is done stays done: run it again"
                    .to_owned(),
            ),
            Reason::Unknown if said.contains("unknown flag") || said.contains("unknown command") => {
                Some("update flyctl: `fly version update`".to_owned())
            }
            _ => self.reason.hint(&self.asked, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fly::Action;

    fn failed(reason: Reason, said: &str) -> FlyctlError {
        FlyctlError::Failed(Box::new(Failure {
            asked: Asked {
                action: Action::CreateApp,
                subject: "site".to_owned(),
            },
            reason,
            said: Words::of(said),
        }))
    }

    #[test]
    fn what_it_says_is_shown_whole_and_tame() {
        let one = failed(Reason::NameTaken, "Name has already been taken\n");
        assert_eq!(
            one.to_string(),
            "failed to create app site: flyctl failed: Name has already been taken"
        );
        let several = failed(Reason::Unknown, "a\x1b[31m\n\n b \r\nc");
        assert_eq!(
            several.to_string(),
            "failed to create app site: flyctl failed; it says:\n  a\\u{1b}[31m\n   b\n  c"
        );
        let none = failed(Reason::Unknown, " \n");
        assert!(none.to_string().ends_with("it says nothing more"), "{none}");
        let long = format!("{}\u{e5}{}the end", "x".repeat(9), "y".repeat(SHOWN_BYTES));
        let shown = failed(Reason::Unknown, &long).to_string();
        assert!(shown.ends_with("the end") && !shown.contains('x'));
        assert!(shown.len() < SHOWN_BYTES + 100);
    }

    #[test]
    fn hints_say_what_to_do() {
        for (error, part) in [
            (FlyctlError::Missing, "fly.io/docs/flyctl/install"),
            (failed(Reason::BadToken, "x"), "fly auth login"),
            (failed(Reason::NameTaken, "x"), "another app name"),
            (
                failed(Reason::TokenCannotCreateApps, "x"),
                "token of its organisation",
            ),
            (
                failed(
                    Reason::Unknown,
                    "Error: dial tcp: lookup api.fly.io: no such host",
                ),
                "check the network",
            ),
            (
                failed(Reason::Unknown, "Error: unknown flag: --x"),
                "update",
            ),
        ] {
            let hint = error.hint().unwrap();
            assert!(hint.contains(part), "{hint}");
        }
        assert_eq!(failed(Reason::Unknown, "strange").hint(), None);
    }
}
