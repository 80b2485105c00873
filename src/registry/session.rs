//! The calls of one push: authorised, and answered with what the specification has or an error.
//!
//! Owns the token, where the registry wants one instead of the credentials, for as long as the push
//! takes. Credentials leave with requests to the registry's own origin alone; an upload that it sends
//! elsewhere carries none, as its address is the permission.

use std::sync::{Mutex, PoisonError};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use url::Url;

use super::{
    Registry,
    challenge::Challenge,
    error::{Asked, RegistryError, refusal},
};
use crate::{
    http::{Answer, Body, Http, HttpError, Patience, Request, is_loopback_host},
    image::{Blob, BlobDigest},
};

/// The longest answer that is read, in bytes: every one is a few fields, or a page of some proxy.
const ANSWER_BYTES: u64 = 1024 * 1024;

/// The longest manifest that is read, in bytes: what registries take at most.
const MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// Every kind of manifest: a registry answers 404 where the one it has is not among them.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// The header that names what a registry has.
const DIGEST: &str = "docker-content-digest";

/// Authorised calls about one repository.
#[derive(Debug)]
pub(super) struct Session<'a> {
    registry: &'a Registry,
    repository: &'a str,
    token: Mutex<Option<Token>>,
}

/// A token of the registry's token service.
#[derive(Clone)]
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where the bytes of a blob go.
#[derive(Debug)]
pub(super) struct Upload {
    /// Nothing where they go to the registry itself.
    elsewhere: Option<Http>,
    /// Path and query, to which the digest is added.
    target: String,
}

/// One call to the registry.
#[derive(Debug, Clone)]
struct Call<'a> {
    method: &'static str,
    target: &'a str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    patience: Patience,
    answer_limit: u64,
}

impl<'a> Call<'a> {
    const fn new(method: &'static str, target: &'a str) -> Self {
        Self {
            method,
            target,
            headers: Vec::new(),
            body: Bytes::new(),
            patience: Patience::PROMPT,
            answer_limit: ANSWER_BYTES,
        }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, bytes: &Bytes, media_type: &'static str) -> Self {
        self.body = bytes.clone();
        // A registry writes a large blob to its disk, and perhaps to another machine's.
        self.patience = Patience::DURABLE;
        self.header("content-type", media_type)
    }

    fn request(self, authorisation: Option<String>) -> Request<'a> {
        let mut headers = self.headers;
        headers.extend(authorisation.map(|value| ("authorization", value)));
        Request {
            method: self.method,
            path_and_query: self.target,
            headers,
            body: Body::Parts(vec![self.body]),
            patience: self.patience,
            answer_limit: self.answer_limit,
        }
    }
}

impl<'a> Session<'a> {
    pub(super) const fn new(registry: &'a Registry, repository: &'a str) -> Self {
        Self {
            registry,
            repository,
            token: Mutex::new(None),
        }
    }

    /// Returns whether the registry has a blob; where it does not say so clearly, it has none.
    pub(super) async fn has_blob(&self, digest: BlobDigest) -> Result<bool, RegistryError> {
        let target = format!("/v2/{}/blobs/{digest}", self.repository);
        let answer = self.ask(Call::new("HEAD", &target)).await?;
        match answer.status {
            200 => Ok(true),
            401 | 403 | 408 | 429 | 500.. => Err(self.refusal(&answer)),
            _ => Ok(false),
        }
    }

    /// Asks where a blob may be sent to.
    pub(super) async fn begin_upload(&self) -> Result<Upload, RegistryError> {
        let target = format!("/v2/{}/blobs/uploads/", self.repository);
        let call = Call::new("POST", &target).header("content-length", "0");
        let answer = self.ask(call).await?;
        if answer.status != 202 {
            return Err(match self.refusal(&answer) {
                // To this call a 404 has one meaning, however it is worded.
                RegistryError::Refused { host, refusal } if refusal.status == 404 => {
                    RegistryError::UnknownRepository {
                        host,
                        repository: self.repository.into(),
                        refusal,
                    }
                }
                other => other,
            });
        }
        let location = answer
            .header("location")
            .ok_or_else(|| self.bad_answer("it names no address to send a blob to"))?;
        self.locate(&target, location)
    }

    /// Returns where `location` is, which may be relative to the call that it answers.
    fn locate(&self, asked: &str, location: &str) -> Result<Upload, RegistryError> {
        let bad = || self.bad_answer("the address to send a blob to is no usable URL");
        let base = Url::parse(self.registry.host.origin()).map_err(|_| bad())?;
        let url = base
            .join(asked)
            .and_then(|asked| asked.join(location))
            .map_err(|_| bad())?;
        let target = match url.query() {
            Some(query) => format!("{}?{query}&", url.path()),
            None => format!("{}?", url.path()),
        };
        // Joined to an origin again, such a path would name another host.
        if target.starts_with("//") {
            return Err(bad());
        }
        let elsewhere = if url.origin() == base.origin() {
            None
        } else {
            self.check_secure(&url)?;
            let origin = url.origin().ascii_serialization();
            Some(Http::new(&origin).map_err(|source| self.no_answer(source))?)
        };
        Ok(Upload { elsewhere, target })
    }

    /// Sends all bytes of a blob.
    pub(super) async fn upload(&self, upload: &Upload, blob: &Blob) -> Result<(), RegistryError> {
        let target = format!("{}digest={}", upload.target, blob.digest);
        let call = Call::new("PUT", &target).body(&blob.bytes, "application/octet-stream");
        let answer = match &upload.elsewhere {
            None => self.ask(call).await?,
            Some(http) => http
                .exchange(call.request(None))
                .await
                .map_err(|source| self.no_answer(source))?,
        };
        match answer.status {
            201 | 204 => self.check_digest(&answer, blob.digest).map(|_| ()),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Puts a manifest under `tag`, and checks that it is there as it was sent.
    pub(super) async fn put_manifest(
        &self,
        manifest: &Blob,
        tag: &str,
    ) -> Result<(), RegistryError> {
        let target = format!("/v2/{}/manifests/{tag}", self.repository);
        let call = Call::new("PUT", &target).body(&manifest.bytes, manifest.media_type);
        let answer = self.ask(call).await?;
        if !matches!(answer.status, 200..=204) {
            return Err(self.refusal(&answer));
        }
        if self.check_digest(&answer, manifest.digest)? {
            return Ok(());
        }
        // It did not say what it has.
        match self.manifest_digest(tag).await? {
            Some(found) if found == manifest.digest => Ok(()),
            Some(found) => Err(self.other_digest(manifest.digest, &found.to_string())),
            None => Err(self.bad_answer("the image is not there after it was taken")),
        }
    }

    /// Returns the digest of what the registry has under a tag or a digest, if it has anything.
    pub(super) async fn manifest_digest(
        &self,
        reference: &str,
    ) -> Result<Option<BlobDigest>, RegistryError> {
        let target = format!("/v2/{}/manifests/{reference}", self.repository);
        let call = Call::new("HEAD", &target).header("accept", ACCEPTED);
        let answer = self.ask(call).await?;
        match answer.status {
            200 => {}
            404 => return Ok(None),
            _ => return Err(self.refusal(&answer)),
        }
        if let Some(told) = answer.header(DIGEST) {
            let digest = BlobDigest::parse(told);
            return digest
                .map(Some)
                .ok_or_else(|| self.bad_answer("its digest of the image is no SHA-256"));
        }
        // The header may be missing; the bytes themselves cannot.
        let mut call = Call::new("GET", &target).header("accept", ACCEPTED);
        call.answer_limit = MANIFEST_BYTES;
        let answer = self.ask(call).await?;
        match answer.status {
            200 => Ok(Some(BlobDigest::of(&answer.body))),
            404 => Ok(None),
            _ => Err(self.refusal(&answer)),
        }
    }

    /// Checks the digest that an answer names, and returns whether it names one.
    fn check_digest(&self, answer: &Answer, sent: BlobDigest) -> Result<bool, RegistryError> {
        match answer.header(DIGEST) {
            None => Ok(false),
            Some(told) if BlobDigest::parse(told) == Some(sent) => Ok(true),
            Some(told) => Err(self.other_digest(sent, told)),
        }
    }

    /// Makes a call with the credentials, or with a token once the registry asked for one.
    async fn ask(&self, call: Call<'_>) -> Result<Answer, RegistryError> {
        let answer = self.exchange(call.clone()).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let Some(challenge) = answer.header("www-authenticate").and_then(Challenge::parse) else {
            return Ok(answer);
        };
        let token = self.fetch_token(&challenge).await?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        self.exchange(call).await
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Answer, RegistryError> {
        let request = call.request(Some(self.authorisation()));
        self.registry
            .http
            .exchange(request)
            .await
            .map_err(|source| self.no_answer(source))
    }

    fn authorisation(&self) -> String {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token
            .as_ref()
            .map_or_else(|| self.basic(), |token| format!("Bearer {}", token.0))
    }

    fn basic(&self) -> String {
        let credentials = &self.registry.credentials;
        let pair = format!("{}:{}", credentials.user, credentials.password);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }

    /// Gets a token where the registry sends its users, for the credentials.
    async fn fetch_token(&self, challenge: &Challenge) -> Result<Token, RegistryError> {
        let mut url = Url::parse(&challenge.realm)
            .map_err(|_| self.bad_answer("the address of its token service is no usable URL"))?;
        self.check_secure(&url)?;
        let everything = format!("repository:{}:pull,push", self.repository);
        let scope = challenge.scope.as_deref().unwrap_or(&everything);
        let service = challenge.service.as_deref();
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", scope);
        let service_host = url.authority().to_owned();
        let no_answer = |source| RegistryError::NoAnswer {
            host: service_host.clone(),
            source,
        };
        let http = Http::new(&url.origin().ascii_serialization()).map_err(no_answer)?;
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        if target.starts_with("//") {
            return Err(self.bad_answer("the address of its token service is no usable URL"));
        }
        let request = Call::new("GET", target).request(Some(self.basic()));
        let answer = http.exchange(request).await.map_err(no_answer)?;
        if answer.status != 200 {
            let asked = Asked {
                host: &service_host,
                repository: self.repository,
            };
            return Err(refusal(&answer, asked));
        }
        serde_json::from_slice::<TokenBody>(&answer.body)
            .ok()
            .and_then(|body| body.token.or(body.access_token))
            .filter(|token| is_token(token))
            .map(Token)
            .ok_or_else(|| self.bad_answer("its token service sends no token"))
    }

    /// Checks that what goes to another origin is protected as well as what goes to the registry.
    fn check_secure(&self, url: &Url) -> Result<(), RegistryError> {
        let is_here = |url: &Url| is_loopback_host(url.host_str().unwrap_or_default());
        let secure = match url.scheme() {
            "https" => true,
            "http" => is_here(url) && self.registry.http.is_loopback(),
            _ => false,
        };
        if secure {
            Ok(())
        } else {
            Err(self.bad_answer("it sends to an address without TLS"))
        }
    }

    fn refusal(&self, answer: &Answer) -> RegistryError {
        let asked = Asked {
            host: self.registry.host.name(),
            repository: self.repository,
        };
        refusal(answer, asked)
    }

    fn no_answer(&self, source: HttpError) -> RegistryError {
        RegistryError::NoAnswer {
            host: self.registry.host.name().into(),
            source,
        }
    }

    fn bad_answer(&self, problem: &'static str) -> RegistryError {
        RegistryError::BadAnswer {
            host: self.registry.host.name().into(),
            problem,
        }
    }

    fn other_digest(&self, sent: BlobDigest, told: &str) -> RegistryError {
        RegistryError::OtherDigest {
            host: self.registry.host.name().into(),
            sent,
            told: crate::shown::ShownText(told).to_string(),
        }
    }
}

/// What a token service answers; both names are in use.
#[derive(Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
}

/// Returns whether a text can be sent as a token (RFC 6750, 2.1): nothing that ends a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
