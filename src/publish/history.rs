//! The server's list of deploys, and going back to one of them.

use onsave_protocol::{
    DeployId,
    wire::{
        v1::{Committed, RollbackRequest},
        v2::{DeployDetail, DeployList, DeploySummary, Published},
    },
};

use super::{
    Generation, PublishError, Publisher,
    session::{Call, LISTING_BYTES, Repeat},
    sign::{Generations, Precondition},
};
use crate::http::Patience;

/// A server that went back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The deploy that is current now.
    pub deploy_id: String,
    /// The deploy that was current before.
    pub previous: Option<String>,
    /// Files in the current deploy, where the server says so.
    pub files: Option<u64>,
}

impl Publisher {
    /// Returns the kept deploys, newest first.
    ///
    /// # Errors
    ///
    /// [`PublishError::NeedsSecondGeneration`], and as every call.
    pub async fn deploys(&mut self) -> Result<Vec<DeploySummary>, PublishError> {
        self.need_v2("list deploys").await?;
        let call = Call {
            answer_limit: LISTING_BYTES,
            ..Call::new("GET", "/_icd/deploys")
        };
        let list: DeployList = self.session.call_json(call).await?;
        Ok(list.deploys)
    }

    /// Returns one deploy and what it changed.
    ///
    /// # Errors
    ///
    /// [`PublishError::NeedsSecondGeneration`], and as every call.
    pub async fn deploy(&mut self, id: DeployId) -> Result<DeployDetail, PublishError> {
        self.need_v2("show a deploy").await?;
        let target = format!("/_icd/deploys/{id}");
        let call = Call {
            answer_limit: LISTING_BYTES,
            ..Call::new("GET", &target)
        };
        self.session.call_json(call).await
    }

    /// Makes an older deploy current: `to`, or the one before current.
    ///
    /// Without an id it is made on the condition that current is what it was a moment ago, so that
    /// it undoes the deploy that the person saw. What the publisher knows of the server is
    /// forgotten: the next publish asks.
    ///
    /// # Errors
    ///
    /// As every call; the server has the words for a deploy that is not kept.
    pub async fn rollback(&mut self, to: Option<&str>) -> Result<RolledBack, PublishError> {
        let before = self.refresh().await?.deploy_id().map(str::to_owned);
        let request = RollbackRequest {
            deploy_id: to.map(str::to_owned),
        };
        // Text in one field: nothing in the request can fail to be written.
        let json = serde_json::to_vec(&request).unwrap_or_default();
        let etag = before.as_ref().map(|id| format!("\"{id}\""));
        let call = Call {
            patience: Patience::DURABLE,
            repeat: Repeat::Never,
            ..Call::new("POST", "/_icd/rollback").with_json(json)
        };
        let outcome = if self.generation() == Some(Generation::V2) {
            let precondition = etag
                .as_deref()
                .map_or(Precondition::None, Precondition::IfMatch);
            let call = Call {
                precondition,
                ..call
            };
            let published: Published = self.session.call_json(call).await?;
            RolledBack {
                deploy_id: published.deploy_id.to_string(),
                previous: published.previous_deploy_id.map(|id| id.to_string()),
                files: Some(published.files),
            }
        } else {
            let call = Call {
                generations: Generations::V1,
                ..call
            };
            let committed: Committed = self.session.call_json(call).await?;
            RolledBack {
                deploy_id: committed.deploy_id,
                previous: before,
                files: None,
            }
        };
        self.known = None;
        Ok(outcome)
    }

    async fn need_v2(&mut self, what: &'static str) -> Result<(), PublishError> {
        if self.known.is_none() {
            self.refresh().await?;
        }
        match self.generation() {
            Some(Generation::V2) => Ok(()),
            _ => Err(PublishError::NeedsSecondGeneration {
                url: self.url().to_owned(),
                what,
            }),
        }
    }
}
