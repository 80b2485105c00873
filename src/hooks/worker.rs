//! What is done about accepted events, one hook at a time and in their order: fetch, then ask the daemon.
//!
//! Events that came while others were worked on are taken together. An event has ended only once its
//! journal says so: whatever happens before, the next start takes it up again, and doing it twice gives
//! the same site.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::{JoinError, spawn_blocking},
    time::sleep,
};

use super::{
    documents::{DocumentError, Documents},
    event::Event,
    journal::Journal,
    outcome::{DocumentChange, Ended, HookState},
    run::HookRun,
    sanity_api::{SanityApi, SanityError},
    unix_ms_now,
};
use crate::{
    config::{HookConfig, HookFetch},
    error_report,
};

/// The waits between tries to fetch a document: some ten minutes in all.
const WAITS_S: [u64; 12] = [1, 2, 5, 10, 20, 40, 60, 60, 60, 60, 120, 180];

/// What a hook's worker needs.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) hook: HookConfig,
    pub(super) journal: Arc<Journal>,
    pub(super) ask: mpsc::Sender<HookRun>,
    /// The configuration's folder.
    pub(super) root: PathBuf,
    /// What no document is written to.
    pub(super) refused: Vec<PathBuf>,
    /// Where it is remembered which document has which file.
    pub(super) memory: PathBuf,
}

/// Why a document was not brought up to date.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Sanity(#[from] SanityError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("the work on a document's file failed")]
    Worker(#[from] JoinError),
}

impl FetchError {
    const fn retry(&self) -> bool {
        match self {
            Self::Sanity(error) => error.retry(),
            // A full disk may be emptied.
            Self::Document(DocumentError::Io { .. }) => true,
            Self::Document(_) | Self::Worker(_) => false,
        }
    }
}

/// Fetches for one hook.
struct Fetcher {
    api: SanityApi,
    fetch: HookFetch,
    /// Not here while it is lent to a thread.
    documents: Option<Documents>,
}

impl Fetcher {
    /// Returns the fetcher, which is made where it is not there.
    fn kept<'f>(
        kept: &'f mut Option<Self>,
        fetch: &HookFetch,
    ) -> Result<&'f mut Self, SanityError> {
        let fetcher = match kept.take() {
            Some(fetcher) => fetcher,
            None => Self {
                api: SanityApi::new(fetch)?,
                fetch: fetch.clone(),
                documents: None,
            },
        };
        Ok(kept.insert(fetcher))
    }
}

impl Worker {
    /// Works until it is dropped, or the daemon is gone.
    pub(super) async fn work(self) {
        let mut fetcher = None;
        loop {
            let mut events = self.journal.waiting(&self.hook.id).await;
            if let Some(fetch) = &self.hook.fetch {
                events = match Fetcher::kept(&mut fetcher, fetch) {
                    Ok(fetcher) => self.fetch(fetcher, events).await,
                    Err(error) => {
                        self.end(&events, failed(&error)).await;
                        continue;
                    }
                };
            }
            if events.is_empty() {
                continue;
            }
            let ids = ids(&events);
            let (run, ended) = HookRun::new(self.hook.action, events, Arc::clone(&self.journal));
            if self.ask.send(run).await.is_err() {
                return;
            }
            match ended.await {
                Ok(ended) => {
                    tell(&self.hook.id, ids.len(), &ended);
                    self.journal.end(&ids, &ended, unix_ms_now()).await;
                }
                // The daemon stops; the next start does it.
                Err(_) => return,
            }
        }
    }

    /// Brings the documents of events up to date, each once; returns the events to go on with.
    async fn fetch(&self, fetcher: &mut Fetcher, events: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
        let mut done: Vec<Arc<Event>> = Vec::new();
        let mut rest = events;
        while let Some(first) = rest.first().cloned() {
            let (same, others): (Vec<_>, Vec<_>) = rest
                .into_iter()
                .partition(|event| event.document_id == first.document_id);
            rest = others;
            let Some(document) = &first.document_id else {
                let why =
                    "neither the body's _id nor sanity-document-id names a document".to_owned();
                self.end(&same, Ended::Failed(why)).await;
                continue;
            };
            self.journal
                .reached(&ids(&same), HookState::Fetching, unix_ms_now());
            match self.fetch_patiently(fetcher, document, &same).await {
                Ok(change) => {
                    tracing::info!(
                        hook = self.hook.id,
                        document = change.id,
                        path = change.path.as_deref().unwrap_or_default(),
                        "fetched a document: {:?}",
                        change.change
                    );
                    self.journal.fetched(&ids(&same), &change, unix_ms_now());
                    done.extend(same);
                }
                Err(error) => self.end(&same, failed(&error)).await,
            }
        }
        done
    }

    async fn fetch_patiently(
        &self,
        fetcher: &mut Fetcher,
        document: &str,
        events: &[Arc<Event>],
    ) -> Result<DocumentChange, FetchError> {
        let mut waits = WAITS_S.into_iter().map(Duration::from_secs);
        loop {
            let error = match self.fetch_once(fetcher, document).await {
                Ok(change) => return Ok(change),
                Err(error) => error,
            };
            let Some(wait) = waits.next().filter(|_| error.retry()) else {
                return Err(error);
            };
            let why = format!(
                "{}; tried again in {} s",
                error_report::with_causes(&error),
                wait.as_secs()
            );
            tracing::warn!(hook = self.hook.id, document, "not fetched yet: {why}");
            self.journal.note(&ids(events), unix_ms_now(), |outcome| {
                outcome.detail = Some(why.clone());
            });
            sleep(wait).await;
        }
    }

    async fn fetch_once(
        &self,
        fetcher: &mut Fetcher,
        id: &str,
    ) -> Result<DocumentChange, FetchError> {
        let found = fetcher.api.document(id).await?;
        let mut documents = match fetcher.documents.take() {
            Some(documents) => documents,
            None => Documents::open(&self.root, &self.refused, self.memory.clone()),
        };
        let (template, id) = (fetcher.fetch.path.clone(), id.to_owned());
        let (documents, change) = spawn_blocking(move || {
            let change = match found {
                Some(document) => documents.write(&id, &template, &document),
                None => documents.remove(&id),
            };
            (documents, change)
        })
        .await?;
        fetcher.documents = Some(documents);
        Ok(change?)
    }

    async fn end(&self, events: &[Arc<Event>], ended: Ended) {
        tell(&self.hook.id, events.len(), &ended);
        self.journal.end(&ids(events), &ended, unix_ms_now()).await;
    }
}

fn ids(events: &[Arc<Event>]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Ended {
    Ended::Failed(error_report::with_causes(error))
}

/// Says what became of events, once.
fn tell(hook: &str, count: usize, ended: &Ended) {
    match ended {
        Ended::Published(deploy) => {
            tracing::info!(hook, events = count, deploy, "what the hook told is live");
        }
        Ended::InStep => {
            tracing::info!(hook, events = count, "what the hook told was live already");
        }
        Ended::Held(why) => {
            tracing::warn!(
                hook,
                events = count,
                "what the hook told is not published: {why}"
            );
        }
        Ended::Failed(why) => {
            tracing::error!(
                hook,
                events = count,
                "what the hook told came to nothing: {why}"
            );
        }
    }
}
