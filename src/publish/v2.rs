//! Publishing with the second generation: one exchange for a save; staging first for a bulk.

use std::{collections::HashSet, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onsave_protocol::{
    Sha256Digest,
    wire::v2::{CHANGESET_TYPE, MissingAnswer, MissingRequest, PACK_TYPE, Published},
};

use super::{
    Publication,
    encode::{self, Compression, Frame, on_blocking_thread},
    error::PublishError,
    plan::{self, Blob, Plan, Upload},
    remote::RemoteState,
    session::{Call, LISTING_BYTES, Session},
    sign::Precondition,
};
use crate::http::{Body, HttpError, Patience};

/// Uploads at the same time: reading and compressing one, sending another, the server storing a
/// third. More of them only take memory.
const UPLOADS_IN_FLIGHT: usize = 3;

/// Digests in one question for what is missing: below a megabyte of JSON.
const ASKED_DIGESTS: usize = 10_000;

/// How often a changeset is sent when the server lacks what it names.
const MAX_CHANGESETS: u32 = 3;

/// Makes `publication` current on the server whose current deploy is `remote`.
pub(crate) async fn publish(
    session: &Session,
    remote: &RemoteState,
    publication: &Publication,
) -> Result<Published, PublishError> {
    let mut plan = plan::plan(&publication.changeset, |digest| remote.has_bytes(digest));
    announce(publication, &plan);
    let mut tries = 1;
    loop {
        stage(session, &plan.staged, publication).await?;
        let inline = digests_of_inline(publication, &plan);
        match send_changeset(session, remote, publication, plan).await {
            Err(PublishError::MissingBlobs(missing)) if tries < MAX_CHANGESETS => {
                tracing::debug!(
                    missing = missing.len(),
                    "the server lacks bytes that it had"
                );
                // What was inline may not have been kept: it travels again with what is missing.
                let wanted: HashSet<Sha256Digest> = missing.into_iter().chain(inline).collect();
                plan = plan::plan(&publication.changeset, |digest| !wanted.contains(digest));
                announce(publication, &plan);
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn announce(publication: &Publication, plan: &Plan) {
    let puts = &publication.changeset.puts;
    let inline = plan.inline.iter().filter_map(|path| puts.get(path));
    let staged = plan.staged.iter().map(|blob| &blob.entry);
    let bytes = inline.chain(staged).map(|entry| entry.size).sum();
    let files = plan.inline.len() + plan.staged.len();
    publication.progress.begin(files as u64, bytes);
}

fn digests_of_inline(publication: &Publication, plan: &Plan) -> Vec<Sha256Digest> {
    let puts = &publication.changeset.puts;
    let entries = plan.inline.iter().filter_map(|path| puts.get(path));
    entries.map(|entry| entry.digest).collect()
}

async fn send_changeset(
    session: &Session,
    remote: &RemoteState,
    publication: &Publication,
    plan: Plan,
) -> Result<Published, PublishError> {
    let (changeset, note) = (Arc::clone(&publication.changeset), publication.note.clone());
    let Frame { parts, digest } = on_blocking_thread(&publication.site, move |site| {
        encode::changeset(&changeset, &plan.inline, &note, site)
    })
    .await?;
    let if_match = remote.deploy_id().map(|id| format!("\"{id}\""));
    let precondition = match &if_match {
        Some(base) => Precondition::IfMatch(base),
        None => Precondition::IfNoneMatch("*"),
    };
    session
        .call_json(Call {
            precondition,
            media_type: Some(CHANGESET_TYPE),
            body: Body::Parts(parts),
            digest,
            patience: Patience::DURABLE,
            ..Call::new("POST", "/_icd/changesets")
        })
        .await
}

/// Brings `blobs` to the server, except those that it has: an earlier try may have sent them.
async fn stage(
    session: &Session,
    blobs: &[Blob],
    publication: &Publication,
) -> Result<(), PublishError> {
    if blobs.is_empty() {
        return Ok(());
    }
    let mut missing = HashSet::new();
    for asked in blobs.chunks(ASKED_DIGESTS) {
        missing.extend(ask_missing(session, asked).await?);
    }
    let (wanted, there): (Vec<Blob>, Vec<Blob>) = blobs
        .iter()
        .cloned()
        .partition(|blob| missing.contains(&blob.entry.digest));
    let bytes = there.iter().map(|blob| blob.entry.size).sum();
    publication.progress.advance(there.len() as u64, bytes);
    stream::iter(plan::uploads(wanted))
        .map(Ok)
        .map_ok(|upload| send_upload(session, upload, publication))
        .try_buffer_unordered(UPLOADS_IN_FLIGHT)
        .try_collect::<()>()
        .await
}

async fn ask_missing(session: &Session, blobs: &[Blob]) -> Result<Vec<Sha256Digest>, PublishError> {
    let request = MissingRequest {
        blobs: blobs.iter().map(|blob| blob.entry.digest).collect(),
    };
    // Digests are text: nothing in the request can fail to be written.
    let json = serde_json::to_vec(&request).unwrap_or_default();
    let call = Call {
        answer_limit: LISTING_BYTES,
        ..Call::new("POST", "/_icd/blobs/missing").with_json(json)
    };
    let answer: MissingAnswer = session.call_json(call).await?;
    Ok(answer.missing)
}

async fn send_upload(
    session: &Session,
    upload: Upload,
    publication: &Publication,
) -> Result<(), PublishError> {
    match upload {
        Upload::Single(blob) => send_single(session, blob, publication).await,
        Upload::Pack(blobs) => send_pack(session, blobs, publication).await,
    }
}

async fn send_single(
    session: &Session,
    blob: Blob,
    publication: &Publication,
) -> Result<(), PublishError> {
    let Blob { path, entry } = blob.clone();
    let file = on_blocking_thread(&publication.site, move |site| {
        site.open(&path, &entry)
            .map_err(|error| PublishError::reading(&path, error))
    })
    .await?;
    let target = format!("/_icd/blobs/{}", entry.digest);
    let call = Call {
        body: Body::File {
            file,
            size: entry.size,
            progress: publication.progress.clone(),
        },
        // The body is the file: its digest is the one that was scanned, and the server checks it.
        digest: entry.digest,
        patience: Patience::DURABLE,
        ..Call::new("PUT", &target)
    };
    let outcome = session.call(call).await;
    outcome.map_err(|error| named(error, &blob))?;
    publication.progress.advance(1, 0);
    Ok(())
}

async fn send_pack(
    session: &Session,
    blobs: Vec<Blob>,
    publication: &Publication,
) -> Result<(), PublishError> {
    let files = blobs.len() as u64;
    let bytes = blobs.iter().map(|blob| blob.entry.size).sum();
    let compression = if session.http().is_loopback() {
        Compression::Off
    } else {
        Compression::On
    };
    let Frame { parts, digest } = on_blocking_thread(&publication.site, move |site| {
        encode::pack(&blobs, compression, site)
    })
    .await?;
    session
        .call(Call {
            media_type: Some(PACK_TYPE),
            body: Body::Parts(parts),
            digest,
            patience: Patience::DURABLE,
            answer_limit: LISTING_BYTES,
            ..Call::new("POST", "/_icd/blobs")
        })
        .await?;
    publication.progress.advance(files, bytes);
    Ok(())
}

/// Returns `error` with the file's name, where it says that the file changed.
pub(crate) fn named(error: PublishError, blob: &Blob) -> PublishError {
    match error {
        PublishError::ChangedSinceScan { .. }
        | PublishError::NoAnswer {
            source: HttpError::FileChanged,
            ..
        } => PublishError::ChangedSinceScan {
            path: Some(blob.path.clone()),
        },
        other => other,
    }
}
