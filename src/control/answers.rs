//! What the calls take and answer that ask the server or look at the site folder, as JSON.

use onsave_protocol::{DeployId, wire::v2::DeploySummary};
use serde::{Deserialize, Serialize};

use super::status::ChangedPath;
use crate::{after_publish::Delivery, log_ring::LogLine};

/// Paths that are named of one difference.
pub const MOST_PATHS: usize = 500;

/// The answer to `GET /v1/deliveries`.
#[derive(Debug, Serialize)]
pub(super) struct Deliveries {
    /// By entry, in the order in which they are delivered.
    pub(super) deliveries: Vec<Delivery>,
}

/// One deploy that the server keeps, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployChanges {
    /// The deploy.
    #[serde(flatten)]
    pub summary: DeploySummary,
    /// The first paths that it changed against its base: what it added, changed, removed.
    pub paths: Vec<ChangedPath>,
    /// How many more there are.
    pub more_paths: usize,
}

/// What a publish would change now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The deploy that the folder was compared with; none before the first.
    pub base_deploy_id: Option<String>,
    /// Files that would be added.
    pub added: usize,
    /// Files that would be changed.
    pub changed: usize,
    /// Files that would be removed.
    pub removed: usize,
    /// The size of the files that would be added and changed, in bytes.
    pub bytes: u64,
    /// The first paths, in their order.
    pub paths: Vec<ChangedPath>,
    /// How many more there are.
    pub more_paths: usize,
}

/// What rolling back takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RollbackTo {
    /// The deploy to go back to; by default the one before the current.
    pub deploy_id: Option<DeployId>,
}

/// A server that went back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WentBack {
    /// The deploy that is current now.
    pub deploy_id: String,
    /// The deploy that was current before.
    pub previous_deploy_id: Option<String>,
    /// Files in the current deploy, where the server says so.
    pub files: Option<u64>,
}

/// The server that the site is published to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFacts {
    /// Where it is, or what it is called.
    pub url: String,
    /// The kind of target: `local`, `url` or `fly`.
    pub kind: &'static str,
    /// The version of this program.
    pub client_version: &'static str,
    /// Whether it can be replaced by this program's server from here.
    pub can_rebuild: bool,
    /// Whether that is under way.
    pub rebuilding: bool,
    /// What it says of itself; nothing where it is of another make.
    pub health: Option<ServerHealth>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerHealth {
    /// The version of its build.
    pub version: String,
    /// Whether it is older than this program.
    pub outdated: bool,
    /// The deploy that it serves.
    pub current_deploy_id: Option<DeployId>,
    /// How many deploys it keeps.
    pub kept_deploys: usize,
    /// Files that it serves.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Size of the volume's file system, in bytes.
    pub volume_bytes: u64,
    /// Free bytes of it.
    pub volume_free_bytes: u64,
}

/// A server that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    /// The app.
    pub app: String,
    /// What was done, in order.
    pub steps: Vec<String>,
    /// What is not as configured and stays so.
    pub remarks: Vec<String>,
    /// Where visitors see the site.
    pub live_url: String,
    /// The version of the server's build, where it answers.
    pub server_version: Option<String>,
}

/// The last lines of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLines {
    /// The oldest first.
    pub lines: Vec<LogLine>,
}
