//! The configuration: the validated values that the rest of the program works with, and their way
//! there.
//!
//! Four layers, each over the one before: defaults, `onsave.toml`, `ONSAVE_…` variables, flags.
//!
//! | module | holds |
//! |---|---|
//! | `keys` | every key, its variable and its default |
//! | `layers` | one layer's values as typed, and their merging; only user of the `config` crate |
//! | `file` | finding and parsing `onsave.toml`; only user of the `toml` crate |
//! | `edit` | writing keys back into the file; only user of the `toml_edit` crate |
//! | `raw` | from what was typed to checked values, collecting every fault |
//! | `sections` | what each key may hold, and the rules between keys |
//! | `build` | the section of the build command |
//! | `control` | the section of the API on loopback |
//! | `after_publish` | the sections of what is told of a publish |
//! | `fly` | the section of the app on Fly.io |
//! | `hooks` | the sections of those who tell of changes from outside |
//! | `load` | which file, and the order of all that |
//! | `url` | the URLs; only user of the `url` crate |
//! | `secret` | secrets from a variable, a service manager or a file |
//! | `source`, `fault` | where a value came from; what is wrong with one |
//! | `app_name` | what an app may be called |
//!
//! Every value in [`Config`] is already checked; where it came from is known to the layers alone,
//! and told by [`Loaded`] for `onsave check`.

mod after_publish;
mod app_name;
mod build;
mod control;
mod edit;
mod fault;
mod file;
mod fly;
mod hooks;
pub(crate) mod keys;
mod layers;
mod load;
mod raw;
mod secret;
mod sections;
mod source;
mod url;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use onsave_protocol::Secret;
use onsave_server::config::Serving;

pub(crate) use self::build::KEPT_FROM_BUILDS;
pub(crate) use self::fly::{TOKEN_SETTING, checked_domain};
pub use self::{
    after_publish::{
        AfterAction, AfterPublish, CachePurge, CallUrl, ContentSync, FlyRestart, Webhook,
        WebhookFormat,
    },
    app_name::app_name_of,
    build::{BuildCommand, BuildConfig, OnChange},
    control::ControlConfig,
    edit::{EditError, KeyValue, set_keys},
    fault::{ConfigError, Fault},
    file::{FILE_NAME, quoted},
    fly::{Autostop, CpuKind, FlyDriver, FlyTarget, FlyVolume, GivenSecret, Guest},
    hooks::{HookAction, HookConfig, HookFetch, HookVerify, HooksConfig},
    layers::FlagLayer,
    load::{Examined, Loaded, Parts, examine, load, load_for_daemon, root},
    raw::{Setting, SettingValue},
    source::Source,
};

/// Everything that can be configured, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The site's name; by default the name of the folder that the configuration stands in.
    pub app: String,
    /// The folder of `onsave.toml`, or the working folder when there is none; absolute.
    pub root: PathBuf,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// The site folder; absolute, not necessarily there yet.
    pub dir: PathBuf,
    /// What makes the site, where something does.
    pub build: Option<BuildConfig>,
    /// Where to publish to.
    pub target: TargetConfig,
    /// How the site folder is watched.
    pub watch: WatchConfig,
    /// How a publish is made.
    pub publish: PublishConfig,
    /// Where and for whom the daemon's API listens.
    pub control: ControlConfig,
    /// Who is told of troubles besides the log.
    pub notify: NotifyConfig,
    /// Who may tell of changes from outside.
    pub hooks: HooksConfig,
    /// What is told of a publish, in the file's order.
    pub after_publish: Vec<AfterPublish>,
    /// What is logged.
    pub log: LogConfig,
}

impl Config {
    /// Returns the configuration file that was read, or where one would be.
    #[must_use]
    pub fn file_or_default(&self) -> PathBuf {
        let default = || self.root.join(FILE_NAME);
        self.file.clone().unwrap_or_else(default)
    }

    /// Returns the variables that hold secrets of hooks and deliveries, which no command gets.
    #[must_use]
    pub fn secret_variables(&self) -> Vec<String> {
        let entries = self.after_publish.iter();
        let after_publish = entries.filter_map(|entry| entry.secret_variable.clone());
        after_publish.chain(self.hooks.secret_variables()).collect()
    }
}

/// Where a daemon publishes to.
#[derive(Debug, Clone)]
pub enum TargetConfig {
    /// The server embedded in this process.
    Local(LocalTarget),
    /// A running server.
    Url(UrlTarget),
    /// An app on Fly.io, which is made where it is not there.
    Fly(Box<FlyTarget>),
}

/// The server embedded in this process.
#[derive(Debug, Clone)]
pub struct LocalTarget {
    /// The first address to try; the next free port is taken when it is in use.
    pub address: SocketAddr,
    /// The volume's folder; absolute.
    pub volume: PathBuf,
    /// How many deploys are kept.
    pub keep_deploys: NonZeroUsize,
    /// How the site is served.
    pub serving: Serving,
}

/// A running server.
#[derive(Debug, Clone)]
pub struct UrlTarget {
    /// Scheme, host and port, without a path: `https://example.org`.
    pub url: String,
    /// The secret that the server shares.
    pub secret: Secret,
    /// Where the secret was read: what a person has to look at when the server refuses it.
    pub secret_source: Source,
}

/// How long nothing may happen before a single save counts as settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// As long as the site's saves were seen to take.
    Learned,
    /// So long, whatever is seen.
    Fixed(Duration),
}

/// How the site folder is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchConfig {
    /// How long nothing may happen before a single save counts as settled.
    pub quiet: Quiet,
    /// The longest that a burst may hold a publish back, from its first event.
    pub max_wait: Duration,
    /// Whether to poll instead of waiting for file events.
    pub poll: PollMode,
    /// Time between two polls.
    pub poll_interval: Duration,
    /// Time between two scans of the whole folder that find what every event missed.
    pub reconcile_interval: Duration,
}

/// Whether to poll instead of waiting for file events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollMode {
    /// Where the file system is known to give no events, or the watch limit is reached.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// How a publish is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishConfig {
    /// Skipped files (unreadable, unpublishable, secret-looking) are errors.
    pub strict: bool,
    /// A publish that would remove more than this share of the files is held, in percent.
    pub max_removal_percent: u8,
    /// Who publishes, for the list of deploys.
    pub published_by: String,
    /// Whether to ask the public URL for a changed file after a publish.
    pub verify_live: bool,
    /// Where visitors see the site; the target's URL by default.
    pub public_url: Option<String>,
}

impl PublishConfig {
    /// Returns where visitors see the site that is published to `target_url`.
    #[must_use]
    pub fn site_url<'a>(&'a self, target_url: &'a str) -> &'a str {
        self.public_url.as_deref().unwrap_or(target_url)
    }
}

/// Who is told, besides the log, that saves are not live, and that they are again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotifyConfig {
    /// Whether the desktop shows it.
    pub desktop: bool,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// The shape of log lines.
    pub format: LogFormat,
    /// The filter, in `tracing-subscriber`'s syntax; `RUST_LOG` wins over it.
    pub filter: String,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}
