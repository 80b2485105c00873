//! What was found out, before anything is said about it.
//!
//! Values only: they are gathered in [`super::gather`] and judged by the other modules. No secret is
//! among them: of a secret, only where it is and whether it is taken.

use std::{net::IpAddr, path::PathBuf};

use jiff::Timestamp;
use onsave_protocol::wire::v2::SignedHealth;

use crate::{
    config::{Fault, FlyTarget, PollMode},
    fly::{
        FlyError, TokenLimits,
        resources::{
            AppLookup, AppSecret, Certificate, IpAssignment, Machine, Organisation, Snapshot,
            Volume,
        },
    },
    http::HttpError,
    provision::{ProvisionError, Record},
    publish::PublishError,
    state_folder::StateError,
};

/// Everything that was found out.
#[derive(Debug)]
pub struct Facts {
    /// The configuration.
    pub config: ConfigFacts,
    /// The state folder.
    pub state: Result<StateFacts, StateError>,
    /// The site folder; nothing where the configuration does not say which.
    pub folder: Option<FolderFacts>,
    /// How the site folder can be watched; nothing where the configuration does not say how.
    pub watch: Option<WatchFacts>,
    /// The server; nothing where the configuration does not say which, or there is no secret to ask
    /// it with.
    pub server: Option<ServerFacts>,
    /// The volume of a local target that no process serves.
    pub volume: Option<SpaceFacts>,
    /// Where visitors see the site.
    pub public: Option<PublicFacts>,
    /// The app on Fly.io.
    pub fly: Option<FlyFacts>,
}

/// The configuration.
#[derive(Debug, Default)]
pub struct ConfigFacts {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// The target's kind, where it is known.
    pub kind: Option<Kind>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<String>,
    /// Why nothing can be logged.
    pub log_fault: Option<String>,
}

/// The target's kind: what is to be done about a server depends on whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server inside `onsave watch`.
    Local,
    /// A server that somebody runs.
    Url,
    /// An app on Fly.io.
    Fly,
}

impl Kind {
    /// Returns the word of the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Url => "url",
            Self::Fly => "fly",
        }
    }
}

/// The state folder of the site.
#[derive(Debug)]
pub struct StateFacts {
    /// The folder.
    pub folder: PathBuf,
    /// Whether it is there already; it is made when something is to be remembered.
    pub is_there: bool,
    /// The folder, or the nearest one above it that is there, when it cannot be written to.
    pub unwritable: Option<PathBuf>,
    /// The permissions of the folder, when others may look into it.
    pub open_mode: Option<u32>,
}

/// The site folder.
#[derive(Debug)]
pub enum FolderFacts {
    /// There is none.
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It cannot be looked at, or it is a file.
    Unusable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is there.
    There {
        /// Where it is.
        path: PathBuf,
        /// Whether nothing is in it.
        is_empty: bool,
        /// The folder and those below it; counted up to a limit.
        folders: u64,
        /// One of them that cannot be read.
        unreadable: Option<PathBuf>,
        /// The name of its file system, when that gives no events.
        file_system: Option<&'static str>,
    },
}

/// How the site folder can be watched.
#[derive(Debug)]
pub struct WatchFacts {
    /// What the configuration says.
    pub poll: PollMode,
    /// How many folders one user may watch; nothing where the system has no such limit.
    pub most_watches: Option<u64>,
    /// How many programs of one user may watch.
    pub most_instances: Option<u64>,
    /// Why no more program may watch, when one was tried.
    pub refused: Option<String>,
}

/// The server, and what it said when it was asked.
#[derive(Debug)]
pub struct ServerFacts {
    /// What messages call it.
    pub name: String,
    /// Where the secret was read that it was asked with.
    pub secret_origin: String,
    /// What it said.
    pub seen: ServerSeen,
}

/// What a server said.
#[derive(Debug)]
pub enum ServerSeen {
    /// Nothing in time.
    Silent,
    /// There is no answer, or a refusal.
    Failed(PublishError),
    /// It takes the secret, and speaks the first protocol generation only.
    FirstGeneration,
    /// It takes the secret.
    Healthy {
        /// What it says of itself.
        health: Box<SignedHealth>,
        /// How far its clock is ahead of this machine's, in milliseconds.
        ahead_ms: i64,
    },
}

/// A volume that no process serves.
#[derive(Debug)]
pub struct SpaceFacts {
    /// The volume's folder.
    pub path: PathBuf,
    /// The folder, or the nearest one above it that is there, when it cannot be written to.
    pub unwritable: Option<PathBuf>,
    /// Free bytes and size of its file system.
    pub space: Option<(u64, u64)>,
}

/// Where visitors see the site.
#[derive(Debug)]
pub struct PublicFacts {
    /// Its URL.
    pub url: String,
    /// The status of its first page.
    pub status: Result<u16, HttpError>,
}

/// The app on Fly.io.
#[derive(Debug)]
pub struct FlyFacts {
    /// The configuration.
    pub target: Box<FlyTarget>,
    /// The app's name.
    pub app: String,
    /// What is remembered of it.
    pub record: Option<Record>,
    /// When all this was asked.
    pub now: Timestamp,
    /// The platform's token.
    pub token: TokenFacts,
    /// What the platform said; nothing without a token.
    pub look: Option<Look>,
    /// The app's secret, as far as it is known on this machine.
    pub secret: Result<SecretFacts, StateError>,
    /// The domains that the configuration names or that the app has.
    pub domains: Vec<DomainFacts>,
}

/// The platform's token.
#[derive(Debug)]
pub enum TokenFacts {
    /// There is none.
    Missing,
    /// It cannot be used.
    Unusable(ProvisionError),
    /// It can be used.
    Given {
        /// Where it was read.
        origin: String,
        /// What it says of its own limits.
        limits: TokenLimits,
    },
}

/// What the platform said.
#[derive(Debug)]
pub struct Look {
    /// The organisations that the token reaches.
    pub organisations: Result<Vec<Organisation>, FlyError>,
    /// What there is under the app's name.
    pub app: Result<AppLookup, FlyError>,
    /// What the app has; nothing where there is no app.
    pub inside: Option<Inside>,
}

/// What an app has.
#[derive(Debug)]
pub struct Inside {
    /// Its public addresses.
    pub ips: Result<Vec<IpAssignment>, FlyError>,
    /// The names of its secrets.
    pub secrets: Result<Vec<AppSecret>, FlyError>,
    /// Its volumes.
    pub volumes: Result<Vec<Volume>, FlyError>,
    /// The snapshots of those that are there to stay, by the volume's id.
    pub snapshots: Vec<(String, Result<Vec<Snapshot>, FlyError>)>,
    /// Its machines.
    pub machines: Result<Vec<Machine>, FlyError>,
    /// Its certificates.
    pub certificates: Result<Vec<Certificate>, FlyError>,
}

/// The app's secret, as far as it is known on this machine.
#[derive(Debug)]
pub struct SecretFacts {
    /// Where the secret is that the server is known to take.
    pub known: Option<String>,
    /// Whether the configuration gives it: it is not made here then.
    pub given: bool,
    /// Whether a change was begun and not finished.
    pub begun: bool,
    /// Which one the server takes.
    pub taken: Taken,
}

/// Which secret a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nobody could be asked.
    Unknown,
    /// The one that it is known to take.
    Known,
    /// The one that it was about to take.
    Next,
    /// None of those that are known here.
    Neither,
}

/// A domain of the site's own.
#[derive(Debug)]
pub struct DomainFacts {
    /// Its name.
    pub name: String,
    /// Its certificate, where there is one; nothing where nobody could be asked.
    pub certificate: Option<Result<Option<Certificate>, FlyError>>,
    /// The addresses that it has now; nothing for a wildcard, which has none of its own.
    pub resolved: Option<Result<Vec<IpAddr>, String>>,
}
