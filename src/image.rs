//! The server's container image, made in memory without Docker: one layer, one configuration, one
//! manifest.
//!
//! The same program gives the same bytes and so the same digests on every machine: nothing in them
//! depends on a clock, a user, a file system or the processor. Pure but for [`server_binary`], which
//! reads the program from the disk; sending the image is `registry`'s.
//!
//! The image holds the program and the volume's mount point, and nothing else: the server asks no
//! other machine (no certificates), looks up no user (no `/etc/passwd`), writes times in UTC (no time
//! zones) and has its staging on the volume (no `/tmp`). What every container runtime provides has to
//! be there when it runs: `/dev/urandom`, which a statically linked glibc falls back to.
//!
//! It names no user, so that the server runs as root. Fly's volumes belong to root and nothing else
//! runs in the machine, which is a virtual machine of its own; a server with less rights could not
//! write its volume, and an image without a shell has nothing that could hand the volume over. The
//! `Dockerfile` makes the same image for another user where the volume allows it.

mod elf;
mod layer;
mod oci;
pub mod server_binary;

use std::fmt;

use bytes::Bytes;
use onsave_protocol::Sha256Digest;

pub use self::elf::ProgramFault;
#[cfg(test)]
pub(crate) use self::elf::tests::static_program;

/// The largest program that is made into an image, in bytes. A release build is a tenth of it; it
/// bounds what is held in memory, which is the program and its layer twice.
pub const MAX_PROGRAM_BYTES: u64 = 256 * 1024 * 1024;

/// The command that builds a static program with the Rust that made this one.
pub const BUILD_COMMAND: &str = "RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked -p onsave-server --target x86_64-unknown-linux-gnu";

/// The command that builds a static program with musl, where rustup has the target and the machine
/// has a C compiler for it.
pub const MUSL_BUILD_COMMAND: &str = "rustup target add x86_64-unknown-linux-musl && cargo build --release --locked -p onsave-server --target x86_64-unknown-linux-musl";

/// How much of the manifest's digest is in a tag, in hex digits: enough that no two images of an app
/// ever share one, and short enough to read.
const TAG_DIGITS: usize = 16;

/// The digest of a blob or a manifest as registries write it: `sha256:` and 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobDigest(Sha256Digest);

impl BlobDigest {
    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256Digest::of(bytes))
    }

    /// Returns the digest that `text` writes, unless it is another kind of digest or none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?;
        Sha256Digest::from_hex(digits).ok().map(Self)
    }

    /// Returns the 64 hex digits alone.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.to_hex()
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl serde::Serialize for BlobDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes that a registry keeps under their digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    /// The digest of the bytes.
    pub digest: BlobDigest,
    /// The bytes.
    pub bytes: Bytes,
    /// What they are.
    pub media_type: &'static str,
}

impl Blob {
    fn new(bytes: impl Into<Bytes>, media_type: &'static str) -> Self {
        let bytes = bytes.into();
        Self {
            digest: BlobDigest::of(&bytes),
            bytes,
            media_type,
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A layer is megabytes.
        f.debug_struct("Blob")
            .field("digest", &format_args!("{}", self.digest))
            .field("bytes", &self.bytes.len())
            .field("media_type", &self.media_type)
            .finish()
    }
}

/// Why no image can be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The program would not run.
    #[error("the program would not run in the image")]
    Program(#[source] ProgramFault),
    /// The program is larger than any server.
    #[error("the program has {size} bytes, and at most {MAX_PROGRAM_BYTES} fit")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
}

impl ImageError {
    /// Returns what to do next, in words.
    #[must_use]
    pub fn hint(&self) -> String {
        build_hint()
    }
}

/// Returns how a program that fits is built, in words.
#[must_use]
pub fn build_hint() -> String {
    format!(
        "build a static one: `{BUILD_COMMAND}`; or with musl (needs musl-tools): `{MUSL_BUILD_COMMAND}`"
    )
}

/// An image for Linux on x86-64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The only layer: a compressed tar archive.
    pub layer: Blob,
    /// How the image is run.
    pub config: Blob,
    /// What names the two.
    pub manifest: Blob,
}

impl Image {
    /// Returns the image that runs `program`, a build of the server at `version`.
    ///
    /// Compresses and hashes the whole program: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// [`ImageError`] when the program is no static one for Linux on x86-64, or far too large.
    pub fn of_server(program: &[u8], version: &str) -> Result<Self, ImageError> {
        let size = program.len() as u64;
        if size > MAX_PROGRAM_BYTES {
            return Err(ImageError::TooLarge { size });
        }
        elf::check(program).map_err(ImageError::Program)?;
        Ok(Self::around(program, version))
    }

    /// Makes the image of bytes that were checked.
    fn around(program: &[u8], version: &str) -> Self {
        let archive = layer::archive(program);
        let uncompressed = BlobDigest::of(&archive);
        let layer = Blob::new(layer::compressed(&archive), oci::LAYER_TYPE);
        let config = Blob::new(oci::config(uncompressed, version), oci::CONFIG_TYPE);
        let manifest = Blob::new(oci::manifest(&config, &layer), oci::MANIFEST_TYPE);
        Self {
            layer,
            config,
            manifest,
        }
    }

    /// Returns the manifest's digest, which stands for the whole image.
    #[must_use]
    pub const fn digest(&self) -> BlobDigest {
        self.manifest.digest
    }

    /// Returns the image's own tag: another image has another one.
    #[must_use]
    pub fn tag(&self) -> String {
        let hex = self.digest().to_hex();
        format!("onsave-{}", &hex[..TAG_DIGITS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of these digests is a change of what every user pushes: each re-provisioned app gets
    /// a new image. It also fails where another machine makes other bytes.
    #[test]
    fn the_digests_are_the_same_everywhere_and_always() {
        let payload: Vec<u8> = (0..100_000_u32)
            .flat_map(|number| (number / 7).to_le_bytes())
            .collect();
        let image = Image::around(&payload, "1.2.3");
        let digests =
            [&image.layer, &image.config, &image.manifest].map(|blob| blob.digest.to_string());
        assert_eq!(
            digests,
            [
                "sha256:e9652e123ae514ac23685136d2c6a1c3d8a526f94eed0a37bc343069130ae92d",
                "sha256:f99aa481eb31e2067fa8a8ffff38e9f45dfafc0334717bcaa97a34091e54d133",
                "sha256:de174c7a245099afb5146aa1a204de330adec92f2a802eb119968d703e1f8afd",
            ]
        );
        assert_eq!(
            image.tag(),
            format!("onsave-{}", &image.digest().to_hex()[..16])
        );
    }

    #[test]
    fn an_image_is_made_of_a_static_program_alone() {
        let image = Image::of_server(&static_program(), "0.1.0").unwrap();
        assert_eq!(image, Image::of_server(&static_program(), "0.1.0").unwrap());
        assert_ne!(
            image.digest(),
            Image::of_server(&static_program(), "0.2.0")
                .unwrap()
                .digest()
        );
        let error = Image::of_server(b"#!/bin/sh\n", "0.1.0").unwrap_err();
        assert!(matches!(error, ImageError::Program(_)), "{error:?}");
        for part in ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"] {
            assert!(error.hint().contains(part), "{}", error.hint());
        }
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = BlobDigest::of(b"x");
        assert_eq!(BlobDigest::parse(&digest.to_string()), Some(digest));
        for text in ["", "sha256:", "sha512:ab", &digest.to_hex()] {
            assert_eq!(BlobDigest::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_output_holds_no_layer() {
        let image = Image::around(&[7; 10_000], "1");
        assert!(format!("{image:?}").len() < 1_000);
    }
}
