//! What is there and what was: health, the manifest, the list of deploys, and going back.

use std::io::{self, BufWriter, Write as _};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{self},
    request::Parts,
};
use onsave_protocol::{
    DeployId,
    wire::{
        PROTOCOL_VERSION,
        v1::{Health, RollbackRequest},
        v2::{DeployList, SignedHealth},
    },
};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use tokio::time::Instant;

use super::{Answer, Endpoint, changesets::published, precondition, v1::committed_body};
use crate::{
    auth::{Generation, Verified},
    reply::{Refusal, endpoint_headers, json},
    snapshot::Snapshot,
    static_files::{
        ReplyBody,
        coding::{Accepted, Coding},
        conditional::none_match_holds,
    },
};

/// Bytes of a rollback's body: a short JSON object.
const ROLLBACK_BYTES: u64 = 4 * 1024;

/// How hard the manifest is compressed; half of it is digests, which do not shrink.
const MANIFEST_LEVEL: i32 = 1;

/// Returns what anybody may know: a load balancer asks it.
pub(crate) fn unsigned_health() -> Response<ReplyBody> {
    let health = Health {
        ok: true,
        version: PROTOCOL_VERSION.into(),
    };
    json(StatusCode::OK, &health)
}

impl Endpoint {
    /// Tells a holder of the secret how the server is.
    pub(super) async fn signed_health(&self) -> Answer {
        let space = self.blocking(|store| Ok(store.disk_space()?)).await?;
        let current = self.store.current();
        let health = SignedHealth {
            ok: true,
            version: PROTOCOL_VERSION.into(),
            current_deploy_id: current.deploy_id(),
            files: current.len() as u64,
            bytes: current.total_bytes(),
            volume_bytes: space.total,
            volume_free_bytes: space.free,
            server_version: env!("CARGO_PKG_VERSION").into(),
            unix_ms: self.clock.unix_ms(),
        };
        Ok(json(StatusCode::OK, &health))
    }

    /// Returns the current deploy's manifest.
    pub(super) async fn manifest(&self, headers: &HeaderMap) -> Answer {
        let snapshot = self.store.current();
        let etag = snapshot.deploy_id().map(|id| format!("\"{id}\""));
        let etag = etag
            .map(|etag| HeaderValue::from_str(&etag))
            .transpose()
            .map_err(Refusal::internal)?;
        let fresh = etag
            .as_ref()
            .and_then(|etag| etag.to_str().ok())
            .is_some_and(|etag| !none_match_holds(headers, etag));
        let mut response = if fresh {
            let mut response = Response::new(ReplyBody::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            endpoint_headers(&mut response);
            response
        } else {
            let encoding = if Accepted::of(headers).accepts(Coding::Zstd) {
                Encoding::Zstd
            } else {
                Encoding::Identity
            };
            let bytes = self
                .blocking(move |_| write_manifest(&snapshot, encoding).map_err(Refusal::internal))
                .await?;
            manifest_response(bytes, encoding)
        };
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(etag) = etag {
            headers.insert(header::ETAG, etag);
        }
        Ok(response)
    }

    /// Lists the kept deploys, newest first.
    pub(super) async fn list_deploys(&self) -> Answer {
        let deploys = self.blocking(|store| Ok(store.deploys())).await?;
        Ok(json(StatusCode::OK, &DeployList { deploys }))
    }

    /// Tells what one deploy changed.
    pub(super) async fn show_deploy(&self, id: DeployId) -> Answer {
        let detail = self.blocking(move |store| Ok(store.deploy(id)?)).await?;
        Ok(json(StatusCode::OK, &detail))
    }

    /// Makes a kept deploy current again: the one that is named, or the one before current.
    pub(super) async fn rollback(&self, parts: &Parts, mut request: Verified<'_>) -> Answer {
        // The first generation's signature does not cover preconditions, so that it has none.
        let expected = match request.generation() {
            Generation::V1 => None,
            Generation::V2 => precondition::if_match(&parts.headers)?,
        };
        let body = request.body().collect(ROLLBACK_BYTES).await?;
        let arrived = Instant::now();
        let to = rollback_target(&body)?;
        let committed = self
            .blocking(move |store| Ok(store.rollback(to, expected)?))
            .await?;
        tracing::info!(
            deploy.id = %committed.deploy_id,
            previous.id = committed.previous.map(tracing::field::display),
            "rolled back to deploy {}",
            committed.deploy_id,
        );
        Ok(match request.generation() {
            Generation::V1 => json(StatusCode::OK, &committed_body(&committed)),
            Generation::V2 => published(&committed, arrived),
        })
    }
}

fn rollback_target(body: &Bytes) -> Result<Option<DeployId>, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let request: RollbackRequest = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("the rollback is malformed: {error}")))?;
    request
        .deploy_id
        // What is no id names no deploy.
        .map(|id| DeployId::parse(&id).map_err(|_| Refusal::NotFound))
        .transpose()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Zstd,
}

fn manifest_response(bytes: Vec<u8>, encoding: Encoding) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(bytes.into()));
    endpoint_headers(&mut response);
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if encoding == Encoding::Zstd {
        let zstd = HeaderValue::from_static("zstd");
        headers.insert(header::CONTENT_ENCODING, zstd);
    }
    response
}

fn write_manifest(snapshot: &Snapshot, encoding: Encoding) -> io::Result<Vec<u8>> {
    let view = ManifestView(snapshot);
    match encoding {
        Encoding::Identity => Ok(serde_json::to_vec(&view)?),
        Encoding::Zstd => {
            let encoder = zstd::Encoder::new(Vec::new(), MANIFEST_LEVEL)?;
            // JSON is written in pieces of a few bytes.
            let mut buffered = BufWriter::with_capacity(64 * 1024, encoder);
            serde_json::to_writer(&mut buffered, &view)?;
            buffered.flush()?;
            buffered
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .finish()
        }
    }
}

/// Writes a snapshot as the wire's `ManifestBody` without a copy of it.
struct ManifestView<'s>(&'s Snapshot);

impl Serialize for ManifestView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("ManifestBody", 2)?;
        body.serialize_field("deployId", &self.0.deploy_id())?;
        body.serialize_field("files", &FilesView(self.0))?;
        body.end()
    }
}

struct FilesView<'s>(&'s Snapshot);

impl Serialize for FilesView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(path, entry)| (path, entry.digest)))
    }
}

#[cfg(test)]
mod tests {
    use onsave_protocol::wire::v1::ManifestBody;

    use super::*;

    #[test]
    fn a_manifest_is_what_the_wire_type_reads() {
        let empty = write_manifest(&Snapshot::default(), Encoding::Identity).unwrap();
        assert_eq!(empty, br#"{"deployId":null,"files":{}}"#);
        let packed = write_manifest(&Snapshot::default(), Encoding::Zstd).unwrap();
        let unpacked = zstd::decode_all(&packed[..]).unwrap();
        let body: ManifestBody = serde_json::from_slice(&unpacked).unwrap();
        assert_eq!(body, ManifestBody::default());
    }
}
