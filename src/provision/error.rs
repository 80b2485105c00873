//! Why an app could not be made or kept, and what to do next.

use std::{fmt, io, path::PathBuf, time::Duration};

use super::plan::Obstacle;
use crate::{
    config::EditError,
    exit_code::ExitCode,
    fly::{BadToken, FlyError, Reason, resources::Organisation},
    flyctl::FlyctlError,
    image::server_binary::ServerBinaryError,
    registry::RegistryError,
    state_folder::StateError,
};

/// Why an app could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// There is no token.
    #[error("there is no token for Fly.io")]
    NoToken,
    /// There is no secret to publish with, though the app is there.
    #[error("the secret of the app is not known on this machine")]
    NoSecret,
    /// What is given is no token.
    #[error("the token of {origin} cannot be used")]
    BadToken {
        /// Where it was read.
        origin: String,
        /// What is wrong with it.
        #[source]
        source: BadToken,
    },
    /// The platform refused, or did not answer.
    #[error(transparent)]
    Fly(#[from] FlyError),
    /// The installed flyctl could not be made to do it.
    #[error(transparent)]
    Flyctl(#[from] FlyctlError),
    /// The token reaches no organisation.
    #[error("the token reaches no organisation")]
    NoOrganisation,
    /// The token reaches several organisations, and nobody said which.
    #[error("the token reaches several organisations: {}", slugs(.0))]
    SeveralOrganisations(Vec<Organisation>),
    /// The organisation cannot be used.
    #[error("the token does not reach the organisation {slug}; it reaches {reached}")]
    UnknownOrganisation {
        /// What the configuration says.
        slug: String,
        /// What the token reaches.
        reached: String,
    },
    /// The name is somebody else's.
    #[error("the app name {0} is taken by somebody else")]
    NameTaken(String),
    /// The region has no room.
    #[error("the region {region} has no room")]
    NoRoom {
        /// The region.
        region: String,
        /// The nearest ones that have, with their names.
        nearest: Vec<String>,
        /// The platform's words.
        #[source]
        source: Box<FlyError>,
    },
    /// A domain's certificate could not be requested or removed; all else is done.
    #[error("the certificate of {domain} is not as configured")]
    Domain {
        /// The domain.
        domain: String,
        /// What failed.
        #[source]
        source: Box<Self>,
    },
    /// Something in the way has to be removed by a person.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// The image cannot be made.
    #[error(transparent)]
    Image(#[from] ServerBinaryError),
    /// The image cannot be sent.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// What was made could not be remembered.
    #[error("failed to write {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// What was decided could not be written into the configuration.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Another process has the app.
    #[error("another onsave is at work on the app for more than {} s", .waited.as_secs())]
    Busy {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The server did not come online.
    #[error("the sync endpoint {url} did not come online within {} s", .waited.as_secs())]
    NotOnline {
        /// Where it should be.
        url: String,
        /// How long it was waited for.
        waited: Duration,
        /// What is likely the cause.
        #[source]
        cause: LikelyCause,
    },
    /// The server cannot be asked.
    #[error(transparent)]
    Server(#[from] crate::publish::PublishError),
    /// A worker thread died.
    #[error("a worker thread failed")]
    Worker(#[source] tokio::task::JoinError),
}

/// Why the server is likely not online, and what happened to its machine lately.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LikelyCause {
    /// The cause, in words.
    pub cause: String,
    /// What to do.
    pub advice: String,
    /// The machine's last events, the newest first.
    pub events: Vec<String>,
}

impl fmt::Display for LikelyCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        if !self.events.is_empty() {
            f.write_str("\nlast events of the machine:")?;
        }
        for event in &self.events {
            write!(f, "\n  {event}")?;
        }
        Ok(())
    }
}

fn slugs(organisations: &[Organisation]) -> String {
    let slugs: Vec<&str> = organisations.iter().map(|o| o.slug.as_str()).collect();
    slugs.join(", ")
}

impl ProvisionError {
    /// Returns what the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Domain { source, .. } => source.exit_code(),
            Self::NoToken
            | Self::BadToken { .. }
            | Self::NoOrganisation
            | Self::SeveralOrganisations(_)
            | Self::UnknownOrganisation { .. }
            | Self::NameTaken(_)
            | Self::Flyctl(FlyctlError::Missing)
            | Self::Edit(_) => ExitCode::Configuration,
            Self::Fly(FlyError::NoAnswer { .. })
            | Self::Flyctl(FlyctlError::TooSlow { .. })
            | Self::NotOnline { .. } => ExitCode::Unreachable,
            Self::Fly(FlyError::Refused(_))
            | Self::Flyctl(FlyctlError::Failed(_))
            | Self::NoRoom { .. } => ExitCode::Refused,
            Self::Fly(_)
            | Self::Flyctl(_)
            | Self::NoSecret
            | Self::Obstacle(_)
            | Self::Image(_)
            | Self::Registry(_)
            | Self::State(_)
            | Self::Record { .. }
            | Self::Busy { .. }
            | Self::Server(_)
            | Self::Worker(_) => ExitCode::Failure,
        }
    }

    /// Returns what the platform's refusal means; nothing where it did not refuse.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Fly(error) => error.reason(),
            Self::Flyctl(error) => error.reason(),
            Self::Domain { source, .. } => source.reason(),
            Self::NoRoom { .. } => Some(&Reason::NoCapacity),
            _ => None,
        }
    }

    /// Returns the same as an error of a domain's certificate.
    pub(super) fn of_domain(self, domain: &str) -> Self {
        Self::Domain {
            domain: domain.to_owned(),
            source: Box::new(self),
        }
    }

    /// Returns what to do next, where there is more to say than the error does.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoToken => Some(
                "make one with `fly tokens create org`, or at https://fly.io/tokens, and put it into \
                 FLY_API_TOKEN, or into the file that fly.token_file names"
                    .to_owned(),
            ),
            Self::BadToken { .. } => Some(
                "put the token as `fly tokens create org` prints it; `FlyV1 ` before it does no harm"
                    .to_owned(),
            ),
            Self::Fly(error) => error.hint(),
            Self::Flyctl(error) => error.hint(),
            Self::Domain { source, .. } => source.hint(),
            Self::NoSecret => Some(
                "run `onsave provision`: it sets a new one; or give the app's in ONSAVE_SYNC_SECRET"
                    .to_owned(),
            ),
            Self::NoOrganisation => Some(
                "make a token with `fly tokens create org`: one for a single app cannot make another"
                    .to_owned(),
            ),
            Self::SeveralOrganisations(organisations) => {
                let first = organisations.first().map_or("personal", |o| o.slug.as_str());
                Some(format!(
                    "say which: set org = \"{first}\" below [fly] in onsave.toml, or ONSAVE_FLY_ORG"
                ))
            }
            Self::UnknownOrganisation { .. } => {
                Some("correct fly.org, or use a token of that organisation".to_owned())
            }
            Self::NoRoom { nearest, .. } if nearest.is_empty() => {
                Some("try again later, or set another fly.region".to_owned())
            }
            Self::NoRoom { nearest, .. } => Some(format!(
                "the nearest regions with room are {}: set fly.region to one of them, or try again later",
                nearest.join(", ")
            )),
            Self::NameTaken(_) => Some("choose another name for app".to_owned()),
            Self::Obstacle(error) => Some(error.hint()),
            Self::Image(error) => Some(error.hint()),
            Self::Registry(error) => Some(error.hint()),
            Self::State(error) => Some(error.hint()),
            Self::Edit(EditError::Unreadable { .. }) => {
                Some("`onsave check` says what is wrong with the file".to_owned())
            }
            Self::Busy { .. } => Some(
                "wait until it is done, or end it: it may ask something on its terminal".to_owned(),
            ),
            Self::NotOnline { cause, .. } => Some(cause.advice.clone()),
            Self::Server(error) => Some(error.hint()),
            Self::Record { .. } | Self::Edit(EditError::Io { .. }) | Self::Worker(_) => None,
        }
    }
}
