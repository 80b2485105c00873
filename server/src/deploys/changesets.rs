//! `POST /_icd/changesets`: stage, commit and answer in one exchange.

use std::collections::{BTreeMap, BTreeSet};

use http::{Response, StatusCode, header::CACHE_CONTROL, request::Parts};
use onsave_protocol::{
    Changeset, DeployId, FileEntry, SitePath,
    limits::MAX_NOTE_BYTES,
    wire::{
        is_reserved,
        v2::{ChangesetHeader, Published},
    },
};
use tokio::time::Instant;

use super::{
    Answer, Endpoint, content::Announced, frame::FrameHeader, milliseconds_since, precondition,
};
use crate::{
    auth::Verified,
    config::Limits,
    reply::{Refusal, json},
    static_files::ReplyBody,
    store::{CommitRequest, Committed, DeployNote, Store, StoreError},
};

impl Endpoint {
    /// Publishes a changeset.
    pub(super) async fn publish_changeset(
        &self,
        parts: &Parts,
        mut request: Verified<'_>,
    ) -> Answer {
        request.require_v2()?;
        let base = precondition::base(&parts.headers)?;
        // Spares an upload that cannot be committed; the commit itself decides.
        let current = self.store.current().deploy_id();
        if base != current {
            return Err(StoreError::BaseNotCurrent { current }.into());
        }
        let ((committed, changes), arrived) = self
            .receive(request.body(), move |store, header| {
                commit(store, base, header)
            })
            .await?;
        let (puts, removes) = changes;
        log_commit(&committed, arrived, "changeset", (puts, removes));
        Ok(published(&committed, arrived))
    }
}

fn commit(
    store: &Store,
    base: Option<DeployId>,
    header: ChangesetHeader,
) -> Result<(Committed, (u64, u64)), Refusal> {
    let note = DeployNote {
        published_by: header.published_by,
        message: header.message,
    };
    let puts: BTreeMap<SitePath, FileEntry> = header
        .puts
        .into_iter()
        .map(|put| {
            let entry = FileEntry {
                digest: put.sha256,
                size: put.size,
            };
            (put.path, entry)
        })
        .collect();
    let changeset = Changeset {
        puts,
        removes: header.removes.into_iter().collect(),
    };
    let changes = (changeset.puts.len() as u64, changeset.removes.len() as u64);
    let committed = store.commit(CommitRequest {
        base,
        changeset,
        note,
    })?;
    Ok((committed, changes))
}

/// Writes the one line that each new deploy has in the log.
pub(super) fn log_commit(
    committed: &Committed,
    arrived: Instant,
    kind: &'static str,
    (puts, removes): (u64, u64),
) {
    tracing::info!(
        deploy.id = %committed.deploy_id,
        base.id = committed.previous.map(tracing::field::display),
        deploy.files = committed.files,
        deploy.bytes = committed.bytes,
        changes.puts = puts,
        changes.removes = removes,
        server_ms = milliseconds_since(arrived),
        "deploy {} is current ({kind}: {puts} put, {removes} removed)",
        committed.deploy_id,
    );
}

/// Returns the second generation's answer to whatever made a deploy current.
pub(super) fn published(committed: &Committed, arrived: Instant) -> Response<ReplyBody> {
    let published = Published {
        deploy_id: committed.deploy_id,
        previous_deploy_id: committed.previous,
        files: committed.files,
        bytes: committed.bytes,
        server_ms: milliseconds_since(arrived),
    };
    let mut response = json(StatusCode::OK, &published);
    // Nothing caches the answer to a POST unasked (RFC 9110, section 9.3.3); this one is bytes of every
    // save.
    response.headers_mut().remove(CACHE_CONTROL);
    response
}

impl FrameHeader for ChangesetHeader {
    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        if self.puts.len() > limits.files {
            return Err(Refusal::TooLarge {
                what: "the number of files",
                limit: limits.files as u64,
            });
        }
        for note in [&self.published_by, &self.message].into_iter().flatten() {
            check_note(note)?;
        }
        let mut seen = BTreeSet::new();
        for path in self.puts.iter().map(|put| &put.path).chain(&self.removes) {
            if !seen.insert(path) {
                return Err(Refusal::bad_request(format!(
                    "the changeset names {path:?} twice"
                )));
            }
        }
        self.puts
            .iter()
            .try_for_each(|put| check_put_path(&put.path))
    }

    fn announced(&self) -> Vec<Announced> {
        self.puts
            .iter()
            .map(|put| Announced {
                entry: FileEntry {
                    digest: put.sha256,
                    size: put.size,
                },
                source: put.source.clone(),
            })
            .collect()
    }
}

/// Notes are shown in terminals: no control characters but the line feed and the tab.
fn check_note(note: &str) -> Result<(), Refusal> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(Refusal::TooLarge {
            what: "a note",
            limit: MAX_NOTE_BYTES as u64,
        });
    }
    if note.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Err(Refusal::bad_request("a note has a control character"));
    }
    Ok(())
}

/// Refuses a path that visitors could not reach, or not under this name.
fn check_put_path(path: &SitePath) -> Result<(), Refusal> {
    if !path.is_nfc() {
        return Err(Refusal::bad_request(format!(
            "{path:?} is not in Unicode normal form C"
        )));
    }
    if is_reserved(path.as_str()) {
        return Err(Refusal::bad_request(format!(
            "{path:?} lies where the server has its own calls"
        )));
    }
    Ok(())
}
