//! How a site stands and what its publishes were, as JSON; and how a call is refused.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How many publishes are remembered.
pub const KEPT_PUBLISHES: usize = 50;

/// How many of a publish's paths are named.
pub const NAMED_PATHS: usize = 20;

/// How a site stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The version of the program that watches.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The app's name.
    pub app: String,
    /// The site folder.
    pub dir: String,
    /// Where visitors see the site.
    pub url: String,
    /// Where the API and the dashboard are, where they listen on an address.
    pub address: Option<String>,
    /// The deploy that the site is known to show.
    pub live: Option<Live>,
    /// The state, in one word.
    pub state: StateWord,
    /// Why it is so, where there is more to say.
    pub detail: Option<String>,
    /// Since when, in Unix milliseconds.
    pub since_unix_ms: u64,
    /// Whether saves are published; not while it is paused.
    pub paused: bool,
    /// What a publish would do that waits for a person's yes.
    pub held: Option<HeldPublish>,
    /// The last publishes, the newest first; shared, since the status is copied at each change.
    pub publishes: Vec<Arc<PublishRecord>>,
}

impl Status {
    /// Returns the status of a daemon of this process that has just begun.
    #[must_use]
    pub fn starting(app: &str) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            app: app.to_owned(),
            dir: String::new(),
            url: String::new(),
            address: None,
            live: None,
            state: StateWord::Starting,
            detail: None,
            since_unix_ms: 0,
            paused: false,
            held: None,
            publishes: Vec::new(),
        }
    }
}

/// The deploy that the site shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// The deploy.
    pub deploy_id: String,
    /// Since when, in Unix milliseconds, as far as this daemon knows.
    pub since_unix_ms: u64,
}

/// A publish that waits for a person's yes, since it would remove most of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPublish {
    /// Files that would be removed.
    pub removes: usize,
    /// Files that the site has.
    pub of: usize,
}

/// The state, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StateWord {
    /// Nothing is known of the server yet.
    Starting,
    /// The server has what the folder has.
    Live,
    /// A publish is under way.
    Publishing,
    /// The build command runs.
    Building,
    /// Saves are not published until somebody says so.
    Paused,
    /// A publish needs a person's yes.
    Held,
    /// Somebody went back, or published from elsewhere: it stays so until the next save.
    LeftAlone,
    /// There is no site folder, or it cannot be read.
    Waiting,
    /// The server does not answer.
    Unreachable,
    /// The server refuses.
    Refused,
    /// The publish failed for another reason.
    Failed,
}

impl StateWord {
    /// Returns the word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Publishing => "publishing",
            Self::Building => "building",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::LeftAlone => "left alone",
            Self::Waiting => "waiting",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// One publish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishRecord {
    /// The deploy that it made.
    pub deploy_id: String,
    /// When it was live, in Unix milliseconds.
    pub at_unix_ms: u64,
    /// From the first file event to the server's answer, in milliseconds.
    pub took_ms: u64,
    /// Of that: until the burst was over, in milliseconds to a tenth, as all that follow.
    pub settle_ms: f64,
    /// Until it was known what to send.
    pub scan_ms: f64,
    /// Until the server had answered.
    pub send_ms: f64,
    /// Of the sending: what the server took, where it says so.
    pub server_ms: Option<f64>,
    /// Files that were added.
    pub added: usize,
    /// Files that were changed.
    pub changed: usize,
    /// Files that were removed.
    pub removed: usize,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// The first paths; the counts tell whether there are more.
    pub paths: Vec<ChangedPath>,
}

/// A path, and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedPath {
    /// The path in the site.
    pub path: String,
    /// What happens to it.
    pub change: Change,
}

/// What happens to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It has other bytes.
    Changed,
    /// It goes.
    Removed,
}

/// What is asked when a publish is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PublishNow {
    /// Whether most of the site may be removed by it.
    pub allow_removals: bool,
}

/// What became of a publish that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Published {
    /// It is live.
    Published(PublishRecord),
    /// The server had the folder already.
    InStep,
    /// It needs a person's yes.
    Held(HeldPublish),
    /// It is not live.
    Failed {
        /// Why.
        error: String,
    },
}

/// What is said of a request that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable code.
    pub code: String,
    /// In words.
    pub error: String,
    /// What to do about it, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
