//! The image's configuration and manifest, as the OCI image specification 1.1 writes them.
//!
//! Both are written from structures with a fixed order of fields, so that the same image has the same
//! bytes. One manifest for one platform, and no index: some platforms refuse what lists several.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Blob, BlobDigest};

/// The program's path in the image.
pub(super) const PROGRAM: &str = "/onsave-server";

/// Where the volume is mounted.
pub(super) const MOUNT_POINT: &str = "/srv";

/// The port that the server listens on.
const PORT: u16 = 8080;

/// The media type of a manifest.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of a configuration.
pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// The media type of a layer.
pub(super) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// No build time: the same program would be another image a second later.
const CREATED: &str = "1970-01-01T00:00:00Z";

#[derive(Serialize)]
struct Config<'a> {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    #[serde(rename = "config")]
    running: Running<'a>,
    rootfs: RootFs,
    history: [History; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Running<'a> {
    exposed_ports: Value,
    env: [String; 2],
    entrypoint: [&'static str; 1],
    working_dir: &'static str,
    labels: BTreeMap<&'static str, &'a str>,
    stop_signal: &'static str,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: [BlobDigest; 1],
}

#[derive(Serialize)]
struct History {
    created: &'static str,
    created_by: &'static str,
}

/// Returns the configuration of an image whose layer has the digest `uncompressed` as an archive.
pub(super) fn config(uncompressed: BlobDigest, version: &str) -> Vec<u8> {
    written(&Config {
        created: CREATED,
        architecture: "amd64",
        os: "linux",
        running: Running {
            exposed_ports: json!({ format!("{PORT}/tcp"): {} }),
            env: [
                format!("PORT={PORT}"),
                format!("SITE_DATA_ROOT={MOUNT_POINT}"),
            ],
            entrypoint: [PROGRAM],
            working_dir: "/",
            labels: BTreeMap::from([
                ("org.opencontainers.image.title", "onsave-server"),
                ("org.opencontainers.image.version", version),
            ]),
            stop_signal: "SIGTERM",
        },
        rootfs: RootFs {
            r#type: "layers",
            diff_ids: [uncompressed],
        },
        history: [History {
            created: CREATED,
            created_by: "onsave",
        }],
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: BlobDigest,
    size: usize,
}

impl Descriptor {
    const fn of(blob: &Blob) -> Self {
        Self {
            media_type: blob.media_type,
            digest: blob.digest,
            size: blob.bytes.len(),
        }
    }
}

/// Returns the manifest that names both blobs.
pub(super) fn manifest(config: &Blob, layer: &Blob) -> Vec<u8> {
    written(&Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE,
        config: Descriptor::of(config),
        layers: [Descriptor::of(layer)],
    })
}

fn written(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts, numbers and maps with text keys are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_says_how_the_server_runs() {
        let archive = BlobDigest::of(b"archive");
        let config: Value = serde_json::from_slice(&config(archive, "0.1.0")).unwrap();
        let expected = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "ExposedPorts": {"8080/tcp": {}},
                "Env": ["PORT=8080", "SITE_DATA_ROOT=/srv"],
                "Entrypoint": ["/onsave-server"],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": "onsave-server",
                    "org.opencontainers.image.version": "0.1.0",
                },
                "StopSignal": "SIGTERM",
            },
            "rootfs": {"type": "layers", "diff_ids": [archive.to_string()]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "onsave"}],
        });
        assert_eq!(config, expected);
    }

    #[test]
    fn the_manifest_names_both_blobs_with_their_sizes() {
        let config = Blob::new(&b"config"[..], CONFIG_TYPE);
        let layer = Blob::new(&b"the layer"[..], LAYER_TYPE);
        let manifest: Value = serde_json::from_slice(&manifest(&config, &layer)).unwrap();
        let expected = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config.digest.to_string(),
                "size": 6,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer.digest.to_string(),
                "size": 9,
            }],
        });
        assert_eq!(manifest, expected);
    }
}
