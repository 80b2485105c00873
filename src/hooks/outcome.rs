//! What became of an event, as far as it has come; read by whoever knows its id.

use serde::{Deserialize, Serialize};

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// 32 random hex digits: who was not told it cannot ask.
    pub id: String,
    /// The hook that told the event.
    pub hook: String,
    /// How far it has come.
    pub state: HookState,
    /// Why, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The deploy that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy_id: Option<String>,
    /// The document that was fetched for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentChange>,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_unix_ms: u64,
    /// When it came as far as it is now, in milliseconds since 1970.
    pub changed_unix_ms: u64,
}

/// How far an event has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookState {
    /// It waits for those before it.
    Queued,
    /// Its document is fetched.
    Fetching,
    /// The build command waits or runs.
    Building,
    /// The site folder is published.
    Publishing,
    /// It is live.
    Published,
    /// The site was live already as it is now.
    InStep,
    /// The site is as it should be here, and is not published, on purpose.
    Held,
    /// It did not come that far.
    Failed,
}

impl HookState {
    /// Returns whether nothing more becomes of it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Fetching | Self::Building | Self::Publishing => false,
            Self::Published | Self::InStep | Self::Held | Self::Failed => true,
        }
    }
}

/// What became of a document's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentChange {
    /// The document.
    pub id: String,
    /// Its file, from the configuration's folder; the last one, where it is gone. None where it never had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was done.
    pub change: FileChange,
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileChange {
    /// It has new bytes.
    Written,
    /// It had them already.
    Unchanged,
    /// It is gone.
    Removed,
}

/// How the daemon's work for some events ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It is live, in this deploy.
    Published(String),
    /// There was nothing to publish.
    InStep,
    /// It is not published, on purpose.
    Held(String),
    /// It came to nothing.
    Failed(String),
}

impl Outcome {
    /// Takes in the end.
    pub(super) fn end(&mut self, ended: &Ended) {
        self.detail = None;
        self.state = match ended {
            Ended::Published(deploy_id) => {
                self.deploy_id = Some(deploy_id.clone());
                HookState::Published
            }
            Ended::InStep => HookState::InStep,
            Ended::Held(why) => {
                self.detail = Some(why.clone());
                HookState::Held
            }
            Ended::Failed(why) => {
                self.detail = Some(why.clone());
                HookState::Failed
            }
        };
    }
}
