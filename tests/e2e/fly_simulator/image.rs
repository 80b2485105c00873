//! An image in a registry → a root file system, with every digest checked on the way.
//!
//! Takes what the platform is known to run: one manifest for linux/amd64, whose layers are tar with gzip
//! or zstd. Knows no whiteouts, since nothing here makes an image of several layers that needs them.

use std::{error::Error as _, io::Read, path::Path};

use serde_json::Value;

use super::{RegistryBehind, registry::basic};
use crate::harness::http::{Answer, Connection, Request};

const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Where an image is: `host/repository:tag`, or `host/repository@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) host: String,
    pub(crate) repository: String,
    /// The tag, or the digest.
    pub(crate) tag_or_digest: String,
}

impl Reference {
    /// Reads a reference as Docker does: without a host it is at Docker Hub, without a tag it is `latest`.
    pub(crate) fn parse(text: &str) -> Self {
        let (host, rest) = match text.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) => (host, rest),
            _ => ("docker.io", text),
        };
        let (repository, reference) = rest
            .split_once('@')
            .or_else(|| rest.rsplit_once(':'))
            .unwrap_or((rest, "latest"));
        // `repository:tag@digest`: the digest counts.
        let repository = repository.split(':').next().unwrap_or(repository);
        Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            tag_or_digest: reference.to_owned(),
        }
    }

    /// Returns the tag, when there is one.
    pub(crate) fn tag(&self) -> Option<&str> {
        (!self.tag_or_digest.contains(':')).then_some(self.tag_or_digest.as_str())
    }

    /// Returns the digest, when there is one.
    pub(crate) fn digest(&self) -> Option<&str> {
        self.tag_or_digest
            .contains(':')
            .then_some(self.tag_or_digest.as_str())
    }
}

/// What an image says of its program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageConfig {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
    pub(crate) user: String,
}

/// Returns `sha256:` and the digest in hex.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!(
        "sha256:{}",
        onsave_protocol::Sha256Digest::of(bytes).to_hex()
    )
}

/// Unpacks an image of `registry` into the folder `root`, and returns what it says of its program.
///
/// # Errors
///
/// What is wrong with the image, in the words of whoever looks for the fault.
pub(crate) fn unpack(
    registry: RegistryBehind,
    reference: &Reference,
    root: &Path,
) -> Result<ImageConfig, String> {
    let mut registry = Puller::connect(registry, &reference.repository)?;
    let manifest = registry.manifest(&reference.tag_or_digest)?;
    let config_bytes = registry.blob(&manifest["config"])?;
    let config: Value = parsed("image config", &config_bytes)?;
    if config["os"] != "linux" || config["architecture"] != "amd64" {
        return Err(format!(
            "the image is for {}/{} and not for linux/amd64",
            config["os"], config["architecture"]
        ));
    }
    let layers = list(&manifest["layers"], "layers")?;
    let diff_ids = list(&config["rootfs"]["diff_ids"], "rootfs.diff_ids")?;
    if layers.len() != diff_ids.len() {
        return Err(format!(
            "{} layers and {} diff_ids",
            layers.len(),
            diff_ids.len()
        ));
    }
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let packed = registry.blob(layer)?;
        let tar = decompressed(layer, &packed)?;
        if *diff_id != digest_of(&tar) {
            return Err(format!(
                "a layer is {} and its diff_id is {diff_id}",
                digest_of(&tar)
            ));
        }
        let mut archive = tar::Archive::new(tar.as_slice());
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(true);
        archive.unpack(root).map_err(|error| {
            format!("a layer cannot be unpacked: {error}: {:?}", error.source())
        })?;
    }
    let settings = &config["config"];
    if !matches!(settings["WorkingDir"].as_str(), None | Some("" | "/")) {
        return Err("this simulator knows no working folder but /".to_owned());
    }
    Ok(ImageConfig {
        entrypoint: texts(&settings["Entrypoint"]),
        cmd: texts(&settings["Cmd"]),
        env: texts(&settings["Env"]),
        user: settings["User"].as_str().unwrap_or_default().to_owned(),
    })
}

fn decompressed(layer: &Value, packed: &[u8]) -> Result<Vec<u8>, String> {
    let kind = layer["mediaType"].as_str().unwrap_or_default();
    let mut tar = Vec::new();
    let read = if kind.ends_with("gzip") {
        flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut tar)
    } else if kind.ends_with("zstd") {
        zstd::stream::read::Decoder::new(packed)
            .and_then(|mut decoder| decoder.read_to_end(&mut tar))
    } else {
        return Err(format!("a layer has the unknown type {kind:?}"));
    };
    read.map_err(|error| format!("a layer cannot be decompressed: {error}"))?;
    Ok(tar)
}

/// One connection to a registry, for one repository.
struct Puller<'a> {
    connection: Connection,
    authorization: Option<String>,
    repository: &'a str,
}

impl<'a> Puller<'a> {
    fn connect(registry: RegistryBehind, repository: &'a str) -> Result<Self, String> {
        let connection = Connection::open(registry.address)
            .map_err(|error| format!("no registry answers: {error}"))?;
        Ok(Self {
            connection,
            authorization: registry.token.map(basic),
            repository,
        })
    }

    fn get(&mut self, kind: &str, name: &str) -> Result<Answer, String> {
        let target = format!("/v2/{}/{kind}/{name}", self.repository);
        let mut headers = vec![("accept", MANIFESTS.to_owned())];
        let authorization = self.authorization.iter();
        headers.extend(authorization.map(|value| ("authorization", value.clone())));
        let answer = self.connection.send(&Request {
            method: "GET",
            target: &target,
            headers,
            body: &[],
        });
        let answer = answer.map_err(|error| format!("{target}: {error}"))?;
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(format!("{target}: {} {}", answer.status, answer.text()))
        }
    }

    fn manifest(&mut self, reference: &str) -> Result<Value, String> {
        let answer = self.get("manifests", reference)?;
        if reference.contains(':') && digest_of(&answer.body) != reference {
            return Err(format!("the manifest is not {reference}"));
        }
        let manifest: Value = parsed("manifest", &answer.body)?;
        if manifest["layers"].is_null() {
            return Err("an index, and not the manifest of one platform".to_owned());
        }
        Ok(manifest)
    }

    /// Returns what a descriptor describes.
    fn blob(&mut self, descriptor: &Value) -> Result<Vec<u8>, String> {
        let digest = descriptor["digest"]
            .as_str()
            .ok_or("a descriptor without a digest")?;
        let bytes = self.get("blobs", digest)?.body;
        if digest_of(&bytes) != digest {
            return Err(format!("a blob is {} and not {digest}", digest_of(&bytes)));
        }
        if descriptor["size"].as_u64() != Some(bytes.len() as u64) {
            return Err(format!(
                "{digest} has {} bytes and not {}",
                bytes.len(),
                descriptor["size"]
            ));
        }
        Ok(bytes)
    }
}

fn parsed(what: &str, bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the {what} is no JSON: {error}"))
}

fn list<'v>(value: &'v Value, what: &str) -> Result<&'v Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("{what} is no list"))
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn references_have_parts() {
    let cases = [
        ("registry.fly.io/a:t", ("registry.fly.io", "a", "t")),
        ("127.0.0.1:5000/a", ("127.0.0.1:5000", "a", "latest")),
        (
            "127.0.0.1:5000/a@sha256:00",
            ("127.0.0.1:5000", "a", "sha256:00"),
        ),
        ("ghcr.io/a/b:t@sha256:00", ("ghcr.io", "a/b", "sha256:00")),
        ("nginx", ("docker.io", "nginx", "latest")),
    ];
    for (text, (host, repository, reference)) in cases {
        let found = Reference::parse(text);
        assert_eq!(
            (
                found.host.as_str(),
                found.repository.as_str(),
                found.tag_or_digest.as_str()
            ),
            (host, repository, reference)
        );
    }
    assert_eq!(
        Reference::parse("h.io/a@sha256:00").digest(),
        Some("sha256:00")
    );
    assert_eq!(Reference::parse("h.io/a:t").tag(), Some("t"));
}
