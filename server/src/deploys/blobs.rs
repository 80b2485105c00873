//! Bulk upload: what a later changeset only names. Nothing here is part of a deploy yet, and what
//! no changeset names in time is swept away.

use bytes::Bytes;
use http::StatusCode;
use onsave_protocol::{
    FileEntry, Sha256Digest,
    limits::PACK_FILES,
    wire::v2::{MissingAnswer, MissingRequest, PackHeader, Source},
};

use super::{
    Answer, Endpoint,
    content::{Announced, ContentReader},
    frame::FrameHeader,
};
use crate::{
    auth::Verified,
    config::Limits,
    reply::{Refusal, json},
    request_body::RequestBody,
};

impl Endpoint {
    /// Tells which blobs the server lacks, and keeps those that it has for the upload's sake.
    pub(super) async fn missing_blobs(&self, mut request: Verified<'_>) -> Answer {
        request.require_v2()?;
        let body = request.body().collect(self.limits.changeset_bytes).await?;
        let missing = self
            .blocking(move |store| {
                let asked: MissingRequest = serde_json::from_slice(&body).map_err(|error| {
                    Refusal::bad_request(format!("the list of blobs is malformed: {error}"))
                })?;
                Ok(store.missing(&asked.blobs)?)
            })
            .await?;
        Ok(json(StatusCode::OK, &MissingAnswer { missing }))
    }

    /// Takes many small blobs.
    pub(super) async fn put_pack(&self, mut request: Verified<'_>) -> Answer {
        request.require_v2()?;
        self.receive(request.body(), |_, _: PackHeader| Ok(()))
            .await?;
        Ok(json(StatusCode::OK, &MissingAnswer::default()))
    }

    /// Takes one blob of any size.
    pub(super) async fn put_blob(&self, digest: Sha256Digest, mut request: Verified<'_>) -> Answer {
        request.require_v2()?;
        let body = request.body();
        let size = body.declared_length().ok_or(Refusal::LengthRequired)?;
        self.take_file(FileEntry { digest, size }, body).await?;
        Ok(json(StatusCode::OK, &MissingAnswer::default()))
    }

    /// Streams a body that is one file as it is into the store.
    pub(super) async fn take_file(
        &self,
        entry: FileEntry,
        body: &mut RequestBody,
    ) -> Result<(), Refusal> {
        let limit = self.limits.file_bytes;
        if entry.size > limit {
            return Err(Refusal::TooLarge {
                what: "the file",
                limit,
            });
        }
        let announced = Announced {
            entry,
            source: Source::Inline,
        };
        let reader = ContentReader::new(self.store.clone(), vec![announced]);
        let (reader, _) = self.pump(body, limit, (reader, Bytes::new())).await?;
        self.blocking(move |_| reader.finish()).await
    }
}

impl FrameHeader for PackHeader {
    fn check(&self, _: &Limits) -> Result<(), Refusal> {
        if self.blobs.len() > PACK_FILES {
            return Err(Refusal::TooLarge {
                what: "the number of blobs in a pack",
                limit: PACK_FILES as u64,
            });
        }
        if self.blobs.iter().any(|blob| blob.source == Source::Stored) {
            return Err(Refusal::bad_request("a pack has to hold what it names"));
        }
        Ok(())
    }

    fn announced(&self) -> Vec<Announced> {
        self.blobs
            .iter()
            .map(|blob| Announced {
                entry: FileEntry {
                    digest: blob.sha256,
                    size: blob.size,
                },
                source: blob.source.clone(),
            })
            .collect()
    }
}
