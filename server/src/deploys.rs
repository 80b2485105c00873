//! The calls of the sync endpoint, each a few lines over the store.
//!
//! | module | calls |
//! |---|---|
//! | [`v1`] | staging a deploy file by file, commit, abort |
//! | [`changesets`] | publishing in one exchange |
//! | [`blobs`] | bulk upload ahead of a changeset |
//! | [`history`] | manifest, list, detail, rollback, health |
//! | [`frame`] | receiving a JSON header and the bytes that it describes |
//! | [`content`] | those bytes → objects |
//! | [`precondition`] | `If-Match` and `If-None-Match` of a changeset |
//!
//! Every call takes a [`Verified`] request. Whatever touches the volume runs on the blocking pool.

mod blobs;
mod changesets;
mod content;
mod frame;
mod history;
mod precondition;
mod v1;

use std::sync::Arc;

use http::{Response, request::Parts};
use tracing::Span;

pub(crate) use self::history::unsigned_health;
use crate::{
    auth::Verified,
    config::Limits,
    reply::Refusal,
    router::Route,
    static_files::ReplyBody,
    store::{Clock, Store},
};

/// What the calls work with.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// The deploy store.
    pub(crate) store: Store,
    /// The wall clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Bounds on what a call takes.
    pub(crate) limits: Limits,
}

type Answer = Result<Response<ReplyBody>, Refusal>;

impl Endpoint {
    /// Does what a verified request asks for.
    pub(crate) async fn call(
        &self,
        route: Route,
        parts: &Parts,
        mut request: Verified<'_>,
    ) -> Answer {
        match route {
            // The site is served without a signature, and never comes here.
            Route::Site => Err(Refusal::NotFound),
            Route::Health => self.signed_health().await,
            Route::Manifest => self.manifest(&parts.headers).await,
            Route::ListDeploys => self.list_deploys().await,
            Route::ShowDeploy(id) => self.show_deploy(id).await,
            Route::Rollback => self.rollback(parts, request).await,
            Route::Begin => self.begin().await,
            Route::PutFile(id) => self.put_file(id, parts, request.body()).await,
            Route::RemoveFile(id) => self.remove_file(id, parts).await,
            Route::Commit(id) => self.commit(id).await,
            Route::Abort(id) => self.abort(id).await,
            Route::PublishChangeset => self.publish_changeset(parts, request).await,
            Route::MissingBlobs => self.missing_blobs(request).await,
            Route::PutPack => self.put_pack(request).await,
            Route::PutBlob(digest) => self.put_blob(digest, request).await,
        }
    }

    /// Runs `work` on the blocking pool, inside the request's span.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store.clone();
        let span = Span::current();
        tokio::task::spawn_blocking(move || span.in_scope(|| work(&store)))
            .await
            .map_err(Refusal::internal)?
    }
}

/// Returns the milliseconds since `since`, to the microsecond.
fn milliseconds_since(since: tokio::time::Instant) -> f64 {
    let micros = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1_000.0
}
