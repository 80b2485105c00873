//! The smallest image: files in one gzip layer, and what the platform's registry takes for it. For the
//! simulator's own tests, and for images of others.

use std::{io::Write as _, net::SocketAddr};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::{RegistryBehind, image::digest_of};
use crate::harness::http::{Answer, Connection, Request};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image in memory.
#[derive(Debug, Clone)]
pub(crate) struct OneLayerImage {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl OneLayerImage {
    /// Makes an image of files, which all may be run, with the settings of its configuration: `Entrypoint`,
    /// `Env`, `User` and so on.
    pub(crate) fn new(files: &[(&str, &[u8])], settings: &Value) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, path, *content)
                .expect("memory takes all");
        }
        let tar = tar.into_inner().expect("memory takes all");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).expect("memory takes all");
        let layer = gzip.finish().expect("memory takes all");
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [digest_of(&tar)]},
        });
        Self::of(layer, config.to_string().into_bytes())
    }

    fn of(layer: Vec<u8>, config: Vec<u8>) -> Self {
        let descriptor = |kind: &str, bytes: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": digest_of(bytes),
                "size": bytes.len(),
            })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("config.v1+json", &config),
            "layers": [descriptor("layer.v1.tar+gzip", &layer)],
        });
        Self {
            layer,
            config,
            manifest: manifest.to_string().into_bytes(),
        }
    }

    /// Returns the digest of the manifest.
    pub(crate) fn digest(&self) -> String {
        digest_of(&self.manifest)
    }

    /// Pushes the image as the platform's clients do, and returns the answer to the manifest, or the
    /// first that is no success.
    pub(crate) fn push(
        &self,
        registry: SocketAddr,
        (repository, tag): (&str, &str),
        token: &str,
    ) -> Answer {
        self.push_as(
            registry,
            (repository, tag),
            Some(&super::registry::basic(token)),
        )
    }

    /// Pushes to the registry behind the front, which knows no apps.
    pub(super) fn push_behind(
        &self,
        registry: RegistryBehind,
        (repository, tag): (&str, &str),
    ) -> Answer {
        let authorization = registry.token.map(super::registry::basic);
        self.push_as(
            registry.address,
            (repository, tag),
            authorization.as_deref(),
        )
    }

    fn push_as(
        &self,
        registry: SocketAddr,
        (repository, tag): (&str, &str),
        authorization: Option<&str>,
    ) -> Answer {
        let mut connection = Connection::open(registry).expect("the registry listens");
        let mut send = |method: &str, target: &str, (kind, body): (&str, &[u8])| {
            let mut headers = vec![("content-type", kind.to_owned())];
            headers.extend(authorization.map(|value| ("authorization", value.to_owned())));
            let request = Request {
                method,
                target,
                headers,
                body,
            };
            connection.send(&request).expect("the registry answers")
        };
        for blob in [&self.layer, &self.config] {
            let digest = digest_of(blob);
            let head = send(
                "HEAD",
                &format!("/v2/{repository}/blobs/{digest}"),
                ("", &[]),
            );
            if head.status == 200 {
                continue;
            }
            let begun = send(
                "POST",
                &format!("/v2/{repository}/blobs/uploads/"),
                ("", &[]),
            );
            if begun.status != 202 {
                return begun;
            }
            let location = begun.header("location").expect("an upload has a place");
            let path = location.find("/v2/").expect("it is below /v2/");
            let sign = if location.contains('?') { '&' } else { '?' };
            let target = format!("{}{sign}digest={digest}", &location[path..]);
            let put = send("PUT", &target, ("application/octet-stream", blob));
            if put.status != 201 {
                return put;
            }
        }
        let target = format!("/v2/{repository}/manifests/{tag}");
        send("PUT", &target, (MANIFEST, &self.manifest))
    }
}
