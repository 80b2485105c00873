//! Publishing with the first generation: begin, delete, put, commit, each a call of its own.
//!
//! There is no base to hold the server to: what others publish between the manifest and the commit
//! is lost or kept as the server likes. Deploy ids are opaque. A call that would do something twice
//! is never sent again.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onsave_protocol::{
    FileEntry, SitePath,
    limits::LARGE_FILE_BYTES,
    wire::v1::{Begun, Committed, Done},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Publication,
    encode::on_blocking_thread,
    error::PublishError,
    plan::Blob,
    session::{Call, Repeat, Session},
    sign::Generations,
    v2::named,
};
use crate::http::{Body, Patience};

/// Puts at the same time: what a server of the first generation reads at once before it can check
/// a signature is bounded, and this stays within the bound of ours.
const PUTS_IN_FLIGHT: usize = 2;

/// What stands for itself in a URL (RFC 3986, unreserved). `encodeURIComponent` leaves a few more,
/// of which the URL parser would change one: everything else is escaped, which reads the same.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Makes `publication` current, and returns the id of the deploy.
pub(crate) async fn publish(
    session: &Session,
    publication: &Publication,
) -> Result<String, PublishError> {
    let changeset = &publication.changeset;
    let bytes = changeset.puts.values().map(|entry| entry.size).sum();
    publication
        .progress
        .begin(changeset.puts.len() as u64, bytes);
    let begun: Begun = session
        .call_json(Call {
            repeat: Repeat::Never,
            ..call("POST", "/_icd/deploys")
        })
        .await?;
    // An id may be any text; as part of a path it is escaped as one segment.
    let staged = format!("/_icd/deploys/{}", escape(&begun.deploy_id));
    match fill_and_commit(session, &staged, publication).await {
        Ok(deploy_id) => Ok(deploy_id),
        Err(error) => {
            abort(session, &staged).await;
            Err(error)
        }
    }
}

async fn fill_and_commit(
    session: &Session,
    staged: &str,
    publication: &Publication,
) -> Result<String, PublishError> {
    let changeset = &publication.changeset;
    // Removes first: a file may make way for a folder of its name.
    for path in &changeset.removes {
        let target = file_target(staged, path);
        session.call_json::<Done>(call("DELETE", &target)).await?;
    }
    stream::iter(&changeset.puts)
        .map(Ok)
        .map_ok(|(path, entry)| put(session, staged, (path, entry), publication))
        .try_buffer_unordered(PUTS_IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    let target = format!("{staged}/commit");
    let committed: Committed = session
        .call_json(Call {
            patience: Patience::DURABLE,
            repeat: Repeat::Never,
            ..call("POST", &target)
        })
        .await?;
    Ok(committed.deploy_id)
}

async fn put(
    session: &Session,
    staged: &str,
    (path, entry): (&SitePath, &FileEntry),
    publication: &Publication,
) -> Result<(), PublishError> {
    let blob = Blob {
        path: path.clone(),
        entry: *entry,
    };
    let target = file_target(staged, path);
    let body = read(&blob, publication).await?;
    let streamed = matches!(body, Body::File { .. });
    let outcome = session
        .call_json::<Done>(Call {
            body,
            digest: entry.digest,
            media_type: Some("application/octet-stream"),
            patience: Patience::DURABLE,
            ..call("PUT", &target)
        })
        .await;
    match outcome {
        Ok(_) => {}
        // The signature covers the bytes. The secret was right a moment ago, so that it is the file
        // that is not what was scanned.
        Err(PublishError::WrongSecret { .. }) if streamed => {
            return Err(PublishError::ChangedSinceScan {
                path: Some(blob.path),
            });
        }
        Err(error) => return Err(named(error, &blob)),
    }
    let counted_while_sent = streamed;
    let bytes = if counted_while_sent { 0 } else { entry.size };
    publication.progress.advance(1, bytes);
    Ok(())
}

async fn read(blob: &Blob, publication: &Publication) -> Result<Body, PublishError> {
    let Blob { path, entry } = blob.clone();
    let progress = publication.progress.clone();
    on_blocking_thread(&publication.site, move |site| {
        let body = if entry.size >= LARGE_FILE_BYTES {
            site.open(&path, &entry).map(|file| Body::File {
                file,
                size: entry.size,
                progress,
            })
        } else {
            site.read(&path, &entry)
                .map(|bytes| Body::Parts(vec![bytes]))
        };
        body.map_err(|error| PublishError::reading(&path, error))
    })
    .await
}

/// Tells the server that the staged deploy is of no use; it finds out itself if this fails.
async fn abort(session: &Session, staged: &str) {
    if let Err(error) = session.call(call("DELETE", staged)).await {
        tracing::debug!(%error, "the staged deploy could not be aborted");
    }
}

fn call<'a>(method: &'static str, path_and_query: &'a str) -> Call<'a> {
    Call {
        generations: Generations::V1,
        ..Call::new(method, path_and_query)
    }
}

fn file_target(staged: &str, path: &SitePath) -> String {
    format!("{staged}/files?path={}", escape(path.as_str()))
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_so_that_nothing_on_the_way_changes_them() {
        let path = SitePath::parse("blog/it's 100% ü+(1).html").unwrap();
        assert_eq!(
            file_target("/_icd/deploys/7", &path),
            "/_icd/deploys/7/files?path=blog%2Fit%27s%20100%25%20%C3%BC%2B%281%29.html"
        );
    }
}
