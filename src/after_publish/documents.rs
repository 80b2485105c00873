//! A document as it was published: from the site folder while that still holds it, or else from the site.
//!
//! What is found is what was published, by its digest. A document that is nowhere any more has another in
//! its place or is gone, and the event that says so is behind this one in the queue, or about to be.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use onsave_protocol::{Sha256Digest, SitePath};
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{routes, setup::Setup};
use crate::{
    error_report,
    http::{Body, Http, Patience, Request},
};

/// The longest document that is sent, in bytes.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// What became of a document.
#[derive(Debug)]
pub(super) enum Document {
    /// This is it.
    Found(Value),
    /// It is no more what is published.
    Over,
    /// It cannot be had for now.
    NotNow(String),
    /// It cannot be sent.
    Unusable(String),
}

/// Returns the document at `path` with that digest.
pub(super) async fn find(setup: &Setup, path: &SitePath, digest: Sha256Digest) -> Document {
    let local = setup.dir.join(path.as_str());
    let read = spawn_blocking(move || read(&local)).await;
    if let Ok(Some(bytes)) = read
        && Sha256Digest::of(&bytes) == digest
    {
        return parsed(path, &bytes);
    }
    fetched(setup, path, digest).await
}

async fn fetched(setup: &Setup, path: &SitePath, digest: Sha256Digest) -> Document {
    let target = format!("/{}", routes::encoded(path.as_str()));
    let request = Request {
        method: "GET",
        path_and_query: &target,
        headers: Vec::new(),
        body: Body::Parts(Vec::new()),
        patience: Patience::PROMPT,
        answer_limit: MOST_BYTES,
    };
    let answer = match Http::new(&setup.target_url) {
        Ok(http) => http.exchange(request).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) if Sha256Digest::of(&answer.body) == digest => parsed(path, &answer.body),
        // Another version is there, or none: what made that tells of it.
        Ok(answer) if matches!(answer.status, 200 | 404 | 410) => Document::Over,
        Ok(answer) => Document::NotNow(format!(
            "{path} could not be fetched: the site answered {}",
            answer.status
        )),
        Err(crate::http::HttpError::AnswerTooLong(_)) => {
            Document::Unusable(format!("{path} is longer than {MOST_BYTES} bytes"))
        }
        Err(error) => Document::NotNow(format!(
            "{path} could not be fetched: {}",
            error_report::with_causes(&error)
        )),
    }
}

fn parsed(path: &SitePath, bytes: &[u8]) -> Document {
    match serde_json::from_slice(bytes) {
        Ok(value) => Document::Found(value),
        Err(error) => Document::Unusable(format!("{path} is not JSON: {error}")),
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(PathBuf::from(path)).ok()?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MOST_BYTES).then_some(bytes)
}
