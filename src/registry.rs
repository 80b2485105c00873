//! Pushing an image to a registry: the OCI distribution specification 1.1, without Docker.
//!
//! ```text
//! each blob:  HEAD blob ─┬─ 200: there, nothing is sent
//!                        └─ 404: POST uploads → Location → PUT Location?digest=… with all bytes
//! then:       PUT manifest under the tag → its digest, which has to be ours
//! ```
//!
//! Owns the order of the calls and when one is tried again: each blob for itself, since handshakes
//! time out and registries restart in the middle of a push. What was sent stays there, and a push
//! that is begun again sends only the rest. Knows nothing of what an image is for, makes no app, and
//! pulls nothing.
//!
//! Credentials go with the first request already, and only ever to the registry itself and to the
//! token service that it names; both over TLS, unless they are on this machine.

mod challenge;
mod error;
mod names;
mod retries;
mod session;

use std::{fmt, time::Duration};

use crate::{
    http::Http,
    image::{Blob, BlobDigest, Image},
};

pub use self::error::{Refusal, RegistryError};
use self::{
    names::Host,
    retries::{Pace, Retries},
    session::Session,
};

/// What a registry lets in.
#[derive(Clone)]
pub struct Credentials {
    /// The user's name; registries that take tokens ignore it, or want a certain one.
    pub user: String,
    password: String,
}

impl Credentials {
    /// Returns credentials; `password` may be a token.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How far a push is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEvent {
    /// The registry has this blob already.
    Present {
        /// The blob.
        digest: BlobDigest,
        /// Its size.
        bytes: u64,
    },
    /// This blob is being sent.
    Sending {
        /// The blob.
        digest: BlobDigest,
        /// Its size.
        bytes: u64,
    },
    /// This blob was sent, and the registry has it.
    Sent {
        /// The blob.
        digest: BlobDigest,
        /// Its size.
        bytes: u64,
    },
    /// Something failed that may succeed later.
    Retrying {
        /// What failed, with its causes.
        error: String,
        /// How long until it is tried again.
        wait: Duration,
    },
    /// The image is there under its tag.
    Tagged {
        /// The image.
        digest: BlobDigest,
    },
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The image's digest, as the registry told it as well.
    pub digest: BlobDigest,
    /// `host/repository@sha256:…`, which will never mean another image.
    pub reference: String,
    /// Blobs that were sent; the others were there.
    pub blobs_sent: u32,
    /// Bytes of the blobs that were sent.
    pub bytes_sent: u64,
}

/// A registry.
#[derive(Debug, Clone)]
pub struct Registry {
    host: Host,
    http: Http,
    credentials: Credentials,
    pace: Pace,
}

impl Registry {
    /// Returns the registry at `host`, such as `registry.fly.io` or `127.0.0.1:5000`; nothing is sent
    /// yet. One on this machine is spoken to without TLS, as Docker does, and any other with it.
    ///
    /// # Errors
    ///
    /// [`RegistryError::BadHost`] when `host` is more or less than a host and perhaps a port.
    pub fn new(host: &str, credentials: Credentials) -> Result<Self, RegistryError> {
        Self::with_pace(host, credentials, Pace::PUSH)
    }

    fn with_pace(host: &str, credentials: Credentials, pace: Pace) -> Result<Self, RegistryError> {
        let host = Host::parse(host)?;
        let http = Http::new(host.origin()).map_err(|source| RegistryError::NoAnswer {
            host: host.name().to_owned(),
            source,
        })?;
        Ok(Self {
            host,
            http,
            credentials,
            pace,
        })
    }

    /// Makes `image` available as `repository:tag`, sending only what the registry lacks.
    ///
    /// Takes minutes at most where the registry fails again and again. Cancel-safe in that a push
    /// that was dropped leaves nothing but blobs, which the next one finds.
    ///
    /// # Errors
    ///
    /// [`RegistryError`], after what may pass was tried several times.
    pub async fn push(
        &self,
        repository: &str,
        image: &Image,
        tag: &str,
        progress: impl Fn(PushEvent),
    ) -> Result<Pushed, RegistryError> {
        names::check_repository(repository)?;
        names::check_reference(tag)?;
        let push = Push {
            session: Session::new(self, repository),
            pace: &self.pace,
            progress,
        };
        let (config, layer) = tokio::try_join!(push.blob(&image.config), push.blob(&image.layer))?;
        push.manifest(&image.manifest, tag).await?;
        Ok(Pushed {
            digest: image.digest(),
            reference: format!("{}/{repository}@{}", self.host.name(), image.digest()),
            blobs_sent: u32::from(config.is_some()) + u32::from(layer.is_some()),
            bytes_sent: config.unwrap_or(0) + layer.unwrap_or(0),
        })
    }

    /// Returns the digest of what `repository` has under `reference`, a tag or a digest; nothing when
    /// there is no such image, or no such repository.
    ///
    /// # Errors
    ///
    /// [`RegistryError`], after what may pass was tried several times.
    pub async fn exists(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<BlobDigest>, RegistryError> {
        names::check_repository(repository)?;
        names::check_reference(reference)?;
        let session = Session::new(self, repository);
        let mut retries = Retries::new(&self.pace);
        loop {
            match session.manifest_digest(reference).await {
                Ok(found) => return Ok(found),
                Err(error) => retries.wait_after(error, &|_| {}).await?,
            }
        }
    }
}

/// One push under way.
struct Push<'a, P> {
    session: Session<'a>,
    pace: &'a Pace,
    progress: P,
}

impl<P: Fn(PushEvent)> Push<'_, P> {
    /// Makes sure that the registry has `blob`, and returns how many bytes were sent, if any.
    async fn blob(&self, blob: &Blob) -> Result<Option<u64>, RegistryError> {
        let mut retries = Retries::new(self.pace);
        loop {
            match self.blob_once(blob).await {
                Ok(sent) => return Ok(sent),
                Err(error) => retries.wait_after(error, &self.progress).await?,
            }
        }
    }

    /// A try that broke may have arrived all the same: each one asks first.
    async fn blob_once(&self, blob: &Blob) -> Result<Option<u64>, RegistryError> {
        let (digest, bytes) = (blob.digest, blob.bytes.len() as u64);
        if self.session.has_blob(digest).await? {
            (self.progress)(PushEvent::Present { digest, bytes });
            return Ok(None);
        }
        let upload = self.session.begin_upload().await?;
        (self.progress)(PushEvent::Sending { digest, bytes });
        self.session.upload(&upload, blob).await?;
        (self.progress)(PushEvent::Sent { digest, bytes });
        Ok(Some(bytes))
    }

    async fn manifest(&self, manifest: &Blob, tag: &str) -> Result<(), RegistryError> {
        let mut retries = Retries::new(self.pace);
        loop {
            match self.session.put_manifest(manifest, tag).await {
                Ok(()) => {
                    let digest = manifest.digest;
                    (self.progress)(PushEvent::Tagged { digest });
                    return Ok(());
                }
                Err(error) => retries.wait_after(error, &self.progress).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests;
