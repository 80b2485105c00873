//! Publishing with the second generation: one exchange for a save; staging first for a bulk.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onsave_protocol::{
    Sha256Digest, SitePath,
    limits::LARGE_FILE_BYTES,
    wire::v2::{CHANGESET_TYPE, MissingAnswer, MissingRequest, PACK_TYPE, Published},
};

use super::{
    Publication,
    delta::Delta,
    encode::{self, Bases, Compression, Frame, Inline, Sent, on_blocking_thread},
    error::PublishError,
    plan::{self, Blob, Plan, Upload},
    remote::RemoteState,
    session::{Call, LISTING_BYTES, Session},
    sign::Precondition,
};
use crate::{
    http::{Body, HttpError, Patience},
    kept_versions::KeptVersions,
};

/// Uploads at the same time: reading and compressing one, sending another, the server storing a
/// third. More of them only take memory.
const UPLOADS_IN_FLIGHT: usize = 3;

/// Digests in one question for what is missing: below a megabyte of JSON.
const ASKED_DIGESTS: usize = 10_000;

/// Large files that are tried as a difference in one publish: somebody edits one or two.
const MOST_LARGE_DELTAS: usize = 8;

/// The most that a large file takes as a difference, in bytes; a longer one gains little, and could not
/// be resumed.
const MOST_DELTA_BYTES: usize = 256 * 1024;

/// How often a changeset is sent when the server lacks what it names.
const MAX_CHANGESETS: u32 = 3;

/// Makes `publication` current on the server whose current deploy is `remote`; what `versions` keep is
/// sent as a difference, and they keep what was sent.
pub(crate) async fn publish(
    session: &Session,
    remote: &RemoteState,
    publication: &Publication,
    versions: Option<&Arc<KeptVersions>>,
) -> Result<Published, PublishError> {
    let mut plan = plan::plan(&publication.changeset, |digest| remote.has_bytes(digest));
    let mut bases = bases_of(publication, remote, versions);
    let (deltas, mut sent) = large_deltas(&mut plan, publication, &bases).await?;
    let mut deltas = Some(deltas);
    announce(publication, &plan);
    let mut tries = 1;
    loop {
        stage(session, &plan.staged, publication).await?;
        let inline = digests_of_inline(publication, &plan);
        let bytes = InlineBytes {
            paths: plan.inline,
            deltas: deltas.take().unwrap_or_default(),
            bases: mem::take(&mut bases),
        };
        match send_changeset(session, remote, publication, bytes).await {
            Ok((published, small)) => {
                sent.extend(small);
                keep(versions, sent);
                return Ok(published);
            }
            Err(PublishError::MissingBlobs(missing)) if tries < MAX_CHANGESETS => {
                tracing::debug!(
                    missing = missing.len(),
                    "the server lacks bytes that it had"
                );
                // What was inline may not have been kept: it travels again with what is missing, and
                // whole, since what a difference refers to may be missing too.
                let wanted: HashSet<Sha256Digest> = missing.into_iter().chain(inline).collect();
                plan = plan::plan(&publication.changeset, |digest| !wanted.contains(digest));
                announce(publication, &plan);
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The bytes that travel in a changeset's body.
struct InlineBytes {
    paths: HashSet<SitePath>,
    deltas: HashMap<SitePath, Delta>,
    bases: Bases,
}

/// Returns which versions the server has of what is put.
fn bases_of(
    publication: &Publication,
    remote: &RemoteState,
    versions: Option<&Arc<KeptVersions>>,
) -> Bases {
    let Some(versions) = versions else {
        return Bases::default();
    };
    let old = |path: &SitePath| {
        let entry = remote.manifest().get(path.as_str())?;
        Some((path.clone(), entry.digest))
    };
    let puts = publication.changeset.puts.keys();
    Bases {
        versions: Some(Arc::clone(versions)),
        digests: puts.filter_map(old).collect(),
    }
}

/// Takes those large files out of what is staged that are small as a difference, so that they travel in
/// the changeset.
async fn large_deltas(
    plan: &mut Plan,
    publication: &Publication,
    bases: &Bases,
) -> Result<(HashMap<SitePath, Delta>, Sent), PublishError> {
    let is_candidate = |blob: &Blob| {
        blob.entry.size >= LARGE_FILE_BYTES
            && bases.digests.contains_key(&blob.path)
            && KeptVersions::is_wanted(&blob.path, &blob.entry)
    };
    let candidates: Vec<Blob> = plan
        .staged
        .iter()
        .filter(|blob| is_candidate(blob))
        .take(MOST_LARGE_DELTAS)
        .cloned()
        .collect();
    if candidates.is_empty() {
        return Ok((HashMap::new(), Vec::new()));
    }
    let bases = bases.clone();
    let (deltas, sent) = on_blocking_thread(&publication.site, move |site| {
        let mut deltas = HashMap::new();
        let mut sent = Vec::new();
        for Blob { path, entry } in candidates {
            let bytes = site
                .read(&path, &entry)
                .map_err(|error| PublishError::reading(&path, error))?;
            if let Some(delta) = bases.delta(&path, &bytes, MOST_DELTA_BYTES) {
                deltas.insert(path, delta);
                sent.push((entry.digest, bytes));
            }
        }
        Ok((deltas, sent))
    })
    .await?;
    plan.staged.retain(|blob| !deltas.contains_key(&blob.path));
    plan.inline.extend(deltas.keys().cloned());
    Ok((deltas, sent))
}

/// Keeps what the server has now, off the way of the next publish.
fn keep(versions: Option<&Arc<KeptVersions>>, sent: Sent) {
    let Some(versions) = versions.filter(|_| !sent.is_empty()) else {
        return;
    };
    let versions = Arc::clone(versions);
    // Nobody waits for it: what is not kept in time is sent whole.
    drop(tokio::task::spawn_blocking(move || {
        for (digest, bytes) in sent {
            versions.keep(&digest, &bytes);
        }
    }));
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
    inline: InlineBytes,
) -> Result<(Published, Sent), PublishError> {
    let (changeset, note) = (Arc::clone(&publication.changeset), publication.note.clone());
    let (Frame { parts, digest }, sent) = on_blocking_thread(&publication.site, move |site| {
        let inline = Inline {
            paths: &inline.paths,
            deltas: inline.deltas,
            bases: &inline.bases,
            note: &note,
        };
        encode::changeset(&changeset, inline, site)
    })
    .await?;
    let if_match = remote.deploy_id().map(|id| format!("\"{id}\""));
    let precondition = match &if_match {
        Some(base) => Precondition::IfMatch(base),
        None => Precondition::IfNoneMatch("*"),
    };
    let published = session
        .call_json(Call {
            precondition,
            media_type: Some(CHANGESET_TYPE),
            body: Body::Parts(parts),
            digest,
            patience: Patience::DURABLE,
            ..Call::new("POST", "/_icd/changesets")
        })
        .await?;
    Ok((published, sent))
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
