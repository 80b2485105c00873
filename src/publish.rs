//! Publishing: makes the local tree the server's current deploy.
//!
//! Owns the secret and what is known of the server: its protocol generation and the deploy that the
//! last publish left ([`RemoteState`]). A publish is the difference between that and
//! the local manifest, sent in one exchange where it is small; nothing is asked first. The server
//! refuses a changeset whose base is not current, so that knowing wrongly costs one more exchange
//! and never a wrong deploy.
//!
//! | module | holds |
//! |---|---|
//! | `sign` | signatures of both generations, the wall clock |
//! | `session` | signed calls, sent again where that is safe |
//! | `plan` | which bytes travel how |
//! | `encode` | reading, compressing, framing |
//! | `v2`, `v1` | a publish in each generation |
//! | `remote` | the deploy that the server is known to serve |
//! | `converge` | diff, guard, publish, and again when others published meanwhile |
//! | `history` | the list of deploys, and going back |
//! | `retry` | when to try again |
//!
//! It deliberately does not wait: back-off is a law here and a timer in the daemon, so that the next
//! try sends the newest state, and nothing is queued twice.

mod converge;
mod delta;
mod encode;
pub mod error;
mod history;
mod plan;
pub mod remote;
pub mod report;
pub mod retry;
mod session;
mod sign;
pub mod site_bytes;
mod v1;
mod v2;

use std::{sync::Arc, time::Duration};

use onsave_protocol::{
    Changeset, Secret,
    wire::v1::ManifestBody,
    wire::v2::{PROTOCOL_HEADER, Published, SignedHealth},
};
use tokio::time::Instant;

pub use converge::{Converged, LocalSite, Scope};
pub(crate) use encode::is_compressed_already;
pub use error::{FailureKind, PublishError};
pub use history::RolledBack;
pub use remote::RemoteState;
pub use report::{ChangeCounts, Note, PublishReport, Timings};
pub use retry::{Backoff, RetryClass};
pub use session::Endpoint;
pub(crate) use session::LOCAL_TARGET;
pub use site_bytes::{ReadError, SiteBytes};

use self::{
    session::{Call, LISTING_BYTES, SHORT_ANSWER_BYTES, Session},
    sign::{Generations, Precondition},
};
use crate::{
    http::{Body, Patience, Request},
    kept_versions::KeptVersions,
    progress::Progress,
};

/// A connection that was used this recently needs no warming.
const WARM_FOR: Duration = Duration::from_secs(10);

/// How long warming may take: whoever waits for it gains nothing by waiting longer.
const WARM_PATIENCE: Patience = Patience {
    stall: Duration::from_secs(5),
    answer: Duration::from_secs(5),
};

/// What to publish.
#[derive(Clone)]
pub struct Publication {
    /// The difference to what the publisher knows the server to serve.
    pub changeset: Arc<Changeset>,
    /// The bytes of its puts.
    pub site: Arc<dyn SiteBytes>,
    /// What is noted with the deploy.
    pub note: Note,
    /// Who is told how far it is.
    pub progress: Progress,
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication")
            .field("changes", &self.changeset.len())
            .field("note", &self.note)
            .finish_non_exhaustive()
    }
}

/// Which protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// One call for each file.
    V1,
    /// One exchange for a publish.
    V2,
}

/// Publishes to one server.
#[derive(Debug)]
pub struct Publisher {
    session: Arc<Session>,
    known: Option<Known>,
    /// What the next versions of files are sent as differences to; nothing where no difference is made.
    versions: Option<Arc<KeptVersions>>,
}

/// What the last answers told of the server.
#[derive(Debug)]
struct Known {
    generation: Generation,
    remote: RemoteState,
}

/// Opens the connection ahead of a publish; independent of the publisher, so that both may run at
/// the same time.
#[derive(Debug, Clone)]
pub struct Warmer {
    session: Arc<Session>,
}

impl Publisher {
    /// Returns a publisher that has not connected yet.
    ///
    /// # Errors
    ///
    /// [`PublishError::NoAnswer`] when the endpoint's URL is none.
    pub fn new(endpoint: Endpoint) -> Result<Self, PublishError> {
        Ok(Self {
            session: Arc::new(Session::new(endpoint)?),
            known: None,
            versions: None,
        })
    }

    /// Keeps what is sent in `versions`, and sends the next version of a file as a difference to it.
    #[must_use]
    pub fn keeping(mut self, versions: Arc<KeptVersions>) -> Self {
        self.versions = Some(versions);
        self
    }

    /// Returns the versions that are kept, where any are.
    #[must_use]
    pub const fn versions(&self) -> Option<&Arc<KeptVersions>> {
        self.versions.as_ref()
    }

    /// Returns another publisher over the same connections and with the same secret, which knows
    /// nothing of the server yet. What it sends is counted among what this one sends.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            session: Arc::clone(&self.session),
            known: None,
            versions: None,
        }
    }

    /// Returns what opens the connection ahead of a publish.
    #[must_use]
    pub fn warmer(&self) -> Warmer {
        Warmer {
            session: Arc::clone(&self.session),
        }
    }

    /// Signs with another secret from now on; what is known of the server stays.
    pub fn use_secret(&self, secret: Secret) {
        self.session.use_secret(secret);
    }

    /// Returns what messages call the target: its address, or `the local target`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.session.url()
    }

    /// Returns what the server is known to serve; nothing before the first answer.
    #[must_use]
    pub fn remote(&self) -> Option<&RemoteState> {
        self.known.as_ref().map(|known| &known.remote)
    }

    /// Returns the server's protocol generation, once it answered.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.known.as_ref().map(|known| known.generation)
    }

    /// Asks the server how it is: its build, its disk, its clock.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; [`PublishError::NotOnsave`] where something else answers, or a server of the
    /// first generation.
    pub async fn health(&self) -> Result<SignedHealth, PublishError> {
        let answer = match self.session.call(Call::new("GET", "/_icd/health")).await {
            Err(PublishError::Refused {
                status: status @ (404 | 405),
                ..
            }) => return Err(self.not_onsave(status)),
            outcome => outcome?,
        };
        // Whoever cannot check the signature gives the short answer of a load balancer's question.
        self.session
            .parse(&answer)
            .map_err(|_| self.not_onsave(answer.status))
    }

    /// Asks the server what it serves, unless it still serves what is known, and returns it.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; what was known stays.
    pub async fn refresh(&mut self) -> Result<&RemoteState, PublishError> {
        let fetched = match self.fetch().await {
            Err(error @ PublishError::Refused { status: 401, .. }) => {
                // A server that was replaced by one of the other generation does not see the
                // signature: the next request carries both again.
                self.known = None;
                return Err(error);
            }
            outcome => outcome?,
        };
        // Where nothing is known no etag was sent: "not modified" answers no question.
        let Some(known) = fetched.or(self.known.take()) else {
            return Err(self.not_onsave(304));
        };
        Ok(&self.known.insert(known).remote)
    }

    /// Returns what the server serves, or nothing when that is what is known.
    async fn fetch(&self) -> Result<Option<Known>, PublishError> {
        let etag = self
            .remote()
            .and_then(RemoteState::deploy_id)
            .map(|id| format!("\"{id}\""));
        let generations = match self.generation() {
            None => Generations::Both,
            Some(Generation::V1) => Generations::V1,
            Some(Generation::V2) => Generations::V2,
        };
        let precondition = match &etag {
            Some(etag) if generations == Generations::V2 => Precondition::IfNoneMatch(etag),
            _ => Precondition::None,
        };
        let call = Call {
            generations,
            precondition,
            answer_limit: LISTING_BYTES,
            ..Call::new("GET", "/_icd/manifest")
        };
        let answer = match self.session.call(call).await {
            Err(PublishError::Refused {
                status: status @ (404 | 405),
                ..
            }) => return Err(self.not_onsave(status)),
            outcome => outcome?,
        };
        match answer.status {
            304 => return Ok(None),
            200 => {}
            status => return Err(self.not_onsave(status)),
        }
        let generation = match answer.header(PROTOCOL_HEADER) {
            Some("2") => Generation::V2,
            _ => Generation::V1,
        };
        let body: ManifestBody = match self.session.parse(&answer) {
            // A page of HTML where a manifest should be: some other server answers.
            Err(_) if generation == Generation::V1 && !answer.body.starts_with(b"{") => {
                return Err(self.not_onsave(200));
            }
            outcome => outcome?,
        };
        Ok(Some(Known {
            generation,
            remote: RemoteState::from_wire(body),
        }))
    }

    fn not_onsave(&self, status: u16) -> PublishError {
        PublishError::NotOnsave {
            url: self.url().to_owned(),
            status,
        }
    }

    /// Makes `publication` the server's current deploy.
    ///
    /// Its changeset is the difference between [`Publisher::remote`] and the local tree; without
    /// that, the server is asked first. Dropping the future leaves the server with the old deploy or
    /// the new one; the next publish finds out which.
    ///
    /// # Errors
    ///
    /// [`PublishError`], whose [`retry`](PublishError::retry) says what to do.
    pub async fn publish(
        &mut self,
        publication: &Publication,
    ) -> Result<PublishReport, PublishError> {
        if self.known.is_none() {
            self.refresh().await?;
        }
        let outcome = self.publish_to_known(publication).await;
        if let Err(PublishError::Refused {
            status: status @ (401 | 404 | 405),
            ..
        }) = outcome
        {
            // Another server answers than the one that is known, or a proxy in its place: whoever it
            // is next time is asked first.
            self.known = None;
            if status != 401 {
                return Err(self.not_onsave(status));
            }
        }
        outcome
    }

    async fn publish_to_known(
        &mut self,
        publication: &Publication,
    ) -> Result<PublishReport, PublishError> {
        let started = Instant::now();
        let wire = self.session.wire();
        let Some(known) = &mut self.known else {
            return Err(self.not_onsave(304));
        };
        let (deploy_id, server) = match known.generation {
            Generation::V2 => {
                let Published {
                    deploy_id,
                    server_ms,
                    ..
                } = v2::publish(
                    &self.session,
                    &known.remote,
                    publication,
                    self.versions.as_ref(),
                )
                .await?;
                let server = Duration::try_from_secs_f64(server_ms / 1e3).ok();
                (deploy_id.to_string(), server)
            }
            Generation::V1 => (v1::publish(&self.session, publication).await?, None),
        };
        publication.progress.finish();
        let counts = ChangeCounts::of(&publication.changeset, &known.remote);
        let before = known.remote.manifest();
        let puts = publication.changeset.puts.keys();
        let added = puts.filter(|path| before.get(path.as_str()).is_none());
        let added = added.cloned().collect();
        let base = known.remote.deploy_id().map(str::to_owned);
        known
            .remote
            .advance(&publication.changeset, deploy_id.clone());
        Ok(PublishReport {
            deploy_id,
            base,
            changeset: Arc::clone(&publication.changeset),
            added,
            counts,
            wire: self.session.wire().since(wire),
            send: started.elapsed(),
            server,
        })
    }
}

impl Warmer {
    /// Opens a connection, unless one was used a moment ago.
    ///
    /// Failures are not told: the publish that follows meets them, and says them once.
    pub async fn warm(&self) {
        let http = self.session.http();
        if http.idle_for().is_some_and(|idle| idle < WARM_FOR) {
            return;
        }
        let request = Request {
            method: "GET",
            path_and_query: "/_icd/health",
            headers: Vec::new(),
            body: Body::Parts(Vec::new()),
            patience: WARM_PATIENCE,
            answer_limit: SHORT_ANSWER_BYTES,
        };
        if let Err(error) = http.exchange(request).await {
            tracing::debug!(url = self.session.url(), %error, "the connection could not be warmed");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
