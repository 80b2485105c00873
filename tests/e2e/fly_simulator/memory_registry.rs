//! A registry that keeps images in memory: what the simulator has behind its front when it is given no
//! other. It asks for no credentials, and checks every digest and that a manifest's blobs are there.

use std::{collections::HashMap, net::SocketAddr, sync::Mutex};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, LOCATION},
};
use serde_json::Value;

use super::{
    image::digest_of,
    listener::{Body, Cut, Handler, whole},
    registry::fault,
    simulation::lock,
};

/// Repository, and digest or tag.
type Name = (String, String);

/// Everything that was pushed.
#[derive(Debug, Default)]
pub(crate) struct MemoryRegistry {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    blobs: HashMap<Name, Bytes>,
    /// With their types.
    manifests: HashMap<Name, (String, Bytes)>,
    uploads: HashMap<String, Vec<u8>>,
    started: u64,
}

impl Handler for MemoryRegistry {
    async fn answer(
        &self,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Result<Response<Body>, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let path = parts.uri.path().trim_matches('/').to_owned();
        let segments: Vec<&str> = path.split('/').collect();
        let kind = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let mut content = lock(&self.content);
        Ok(match (parts.method.as_str(), segments.as_slice()) {
            ("GET", ["v2"]) => plain(200, Bytes::from_static(b"{}")),
            ("POST", ["v2", repository, "blobs", "uploads"]) => content.start(repository),
            ("PATCH", ["v2", repository, "blobs", "uploads", id]) => {
                content.append(repository, id, &body)
            }
            ("PUT", ["v2", repository, "blobs", "uploads", id]) => {
                let query = parts.uri.query().unwrap_or_default();
                let mut query = url::form_urlencoded::parse(query.as_bytes());
                let digest = query
                    .find(|(name, _)| name == "digest")
                    .map(|(_, value)| value.into_owned());
                content.finish((repository, id), &digest.unwrap_or_default(), &body)
            }
            ("GET" | "HEAD", ["v2", repository, "blobs", digest]) => {
                content.blob(repository, digest)
            }
            ("PUT", ["v2", repository, "manifests", reference]) => {
                content.put_manifest((repository, reference), kind.unwrap_or_default(), &body)
            }
            ("GET" | "HEAD", ["v2", repository, "manifests", reference]) => {
                content.manifest(repository, reference)
            }
            _ => fault(404, "UNSUPPORTED", "404 page not found"),
        })
    }
}

impl Content {
    fn start(&mut self, repository: &str) -> Response<Body> {
        self.started += 1;
        let id = format!("upload{}", self.started);
        let location = format!("/v2/{repository}/blobs/uploads/{id}?_state=begun");
        self.uploads.insert(id, Vec::new());
        with_header(plain(202, Bytes::new()), (LOCATION.as_str(), &location))
    }

    fn append(&mut self, repository: &str, id: &str, bytes: &[u8]) -> Response<Body> {
        let Some(upload) = self.uploads.get_mut(id) else {
            return fault(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            );
        };
        upload.extend_from_slice(bytes);
        let location = format!("/v2/{repository}/blobs/uploads/{id}?_state=more");
        with_header(plain(202, Bytes::new()), (LOCATION.as_str(), &location))
    }

    fn finish(
        &mut self,
        (repository, id): (&str, &str),
        digest: &str,
        rest: &[u8],
    ) -> Response<Body> {
        let Some(mut bytes) = self.uploads.remove(id) else {
            return fault(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            );
        };
        bytes.extend_from_slice(rest);
        if digest_of(&bytes) != digest {
            return fault(
                400,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
            );
        }
        self.blobs.insert(name(repository, digest), bytes.into());
        with_header(plain(201, Bytes::new()), (DIGEST, digest))
    }

    fn blob(&self, repository: &str, digest: &str) -> Response<Body> {
        match self.blobs.get(&name(repository, digest)) {
            Some(bytes) => with_header(plain(200, bytes.clone()), (DIGEST, digest)),
            None => fault(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        }
    }

    fn put_manifest(
        &mut self,
        (repository, reference): (&str, &str),
        kind: &str,
        bytes: &Bytes,
    ) -> Response<Body> {
        let Ok(manifest) = serde_json::from_slice::<Value>(bytes) else {
            return fault(400, "MANIFEST_INVALID", "manifest is no JSON");
        };
        if manifest["schemaVersion"] != 2
            || manifest["mediaType"]
                .as_str()
                .is_some_and(|own| own != kind)
        {
            return fault(400, "MANIFEST_INVALID", "manifest invalid");
        }
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for blob in layers.chain([&manifest["config"]]) {
            let digest = blob["digest"].as_str().unwrap_or_default();
            if !self.blobs.contains_key(&name(repository, digest)) {
                return fault(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
            }
        }
        let digest = digest_of(bytes);
        if reference.contains(':') && reference != digest {
            return fault(
                400,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
            );
        }
        for reference in [reference, &digest] {
            let entry = (kind.to_owned(), bytes.clone());
            self.manifests.insert(name(repository, reference), entry);
        }
        with_header(plain(201, Bytes::new()), (DIGEST, &digest))
    }

    fn manifest(&self, repository: &str, reference: &str) -> Response<Body> {
        let Some((kind, bytes)) = self.manifests.get(&name(repository, reference)) else {
            return fault(404, "MANIFEST_UNKNOWN", "manifest unknown");
        };
        let response = with_header(plain(200, bytes.clone()), (DIGEST, &digest_of(bytes)));
        with_header(response, (CONTENT_TYPE.as_str(), kind))
    }
}

const DIGEST: &str = "docker-content-digest";

fn name(repository: &str, reference: &str) -> Name {
    (repository.to_owned(), reference.to_owned())
}

fn plain(status: u16, bytes: Bytes) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(whole(bytes))
        .expect("the parts are valid")
}

fn with_header(
    mut response: Response<Body>,
    (name, value): (&'static str, &str),
) -> Response<Body> {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
    response
}
