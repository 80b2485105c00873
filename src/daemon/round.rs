//! One round of work: scan, compare, publish; straight down, with every way out named.
//!
//! Owns nothing: the scanner and the publisher come in as [`Hands`] and go back with the outcome, so
//! that only one round can be under way.

use std::{sync::Arc, time::Duration};

use onsave_protocol::SitePath;
use tokio::{task::JoinError, time::Instant};

use super::agenda::{Order, Owed, Trigger};
use crate::{
    config::PublishConfig,
    dirty::Dirty,
    guard::Removals,
    last_publish::{LastPublish, OnStart, Serving, on_start},
    progress::Progress,
    publish::{
        Converged, LocalSite, Note, PublishError, PublishReport, Publisher, Scope, SiteBytes,
        Timings,
    },
    scan::{Scan, ScanError, ScanOutcome, Scanner},
    wall_clock,
};

/// What a round works with.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) scanner: Scanner,
    pub(super) publisher: Publisher,
    /// What the last publish left on the target; dropped once the start has been decided.
    pub(super) last_publish: Start,
}

/// Whether it has been decided what the start of the daemon publishes.
#[derive(Debug)]
pub(super) enum Start {
    /// Not yet; this is what is remembered of the last publish.
    Undecided(Option<LastPublish>),
    /// It has.
    Decided,
}

/// What came of a round.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There is no site folder.
    Absent(Owed),
    /// The site folder could not be looked at.
    ScanFailed(Owed, Dirty, ScanError),
    /// Nothing is to be published, or not before the next save.
    Quiet(Owed),
    /// The server had the local tree already.
    InStep,
    /// A start leaves the server's other deploy alone.
    LeftAlone(OnStart),
    /// Files are skipped, and the configuration forbids that.
    Strict(Owed),
    /// The guard holds the publish.
    Held {
        owed: Owed,
        removes: usize,
        of: usize,
    },
    /// It is live.
    Published(PublishReport, Timings),
    /// It is not, for now.
    Failed(Owed, PublishError),
}

/// What a round found on the way to its outcome.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) outcome: Outcome,
    /// What the scan found, if it came to an end.
    pub(super) scanned: Option<ScanOutcome>,
}

/// Runs a round.
///
/// # Errors
///
/// When the scan panicked; the scanner is lost with it.
pub(super) async fn run(
    mut hands: Hands,
    order: Order,
    config: Arc<PublishConfig>,
) -> Result<(Hands, Finished), JoinError> {
    let started = Instant::now();
    let mut scanner = hands.scanner;
    let dirty = order.dirty;
    let (scanner, dirty, scanned) = tokio::task::spawn_blocking(move || {
        let scanned = scanner.scan(&dirty, wall_clock::now());
        (scanner, dirty, scanned)
    })
    .await?;
    hands.scanner = scanner;
    let mut owed = order.owed;
    let scanned = match scanned {
        Ok(Scan::Done(scanned)) => scanned,
        Ok(Scan::Absent) => return Ok(finished(hands, Outcome::Absent(owed), None)),
        Err(error) => {
            return Ok(finished(hands, Outcome::ScanFailed(owed, dirty, error), None));
        }
    };
    let is_save = !scanned.touched.is_empty();
    owed.add(scanned.touched.clone());
    let timings = Timings {
        settle: order.settle,
        scan: started.elapsed(),
    };
    let outcome = if owed.is_nothing() || (order.trigger == Trigger::Save && !is_save) {
        Outcome::Quiet(owed)
    } else if config.strict && !hands.scanner.warnings().is_empty() {
        Outcome::Strict(owed)
    } else {
        publish(&mut hands, owed, &config, timings).await
    };
    Ok(finished(hands, outcome, Some(scanned)))
}

const fn finished(
    hands: Hands,
    outcome: Outcome,
    scanned: Option<ScanOutcome>,
) -> (Hands, Finished) {
    (hands, Finished { outcome, scanned })
}

async fn publish(
    hands: &mut Hands,
    owed: Owed,
    config: &PublishConfig,
    timings: Timings,
) -> Outcome {
    if let Start::Undecided(last) = &hands.last_publish {
        let remote = match hands.publisher.refresh().await {
            Ok(remote) => remote,
            Err(error) => return Outcome::Failed(owed, error),
        };
        let serving = Serving {
            deploy_id: remote.deploy_id(),
            tree: remote.manifest().tree_digest(),
        };
        let decision = on_start(
            hands.scanner.manifest().tree_digest(),
            serving,
            last.as_ref(),
        );
        hands.last_publish = Start::Decided;
        match decision {
            OnStart::Publish => {}
            OnStart::InStep => return Outcome::InStep,
            OnStart::HeldByRollback | OnStart::HeldByOther => return Outcome::LeftAlone(decision),
        }
    }
    let site: Arc<dyn SiteBytes> = Arc::new(hands.scanner.site_files());
    let local = LocalSite {
        manifest: hands.scanner.manifest(),
        site,
        removals: Removals::UpTo(config.max_removal_percent),
        note: Note {
            published_by: Some(config.published_by.clone()),
            message: None,
        },
        progress: Progress::None,
    };
    let paths: Vec<SitePath>;
    let scope = match &owed {
        Owed::Everything => Scope::Whole,
        Owed::Paths(owed) => {
            paths = owed.iter().cloned().collect();
            Scope::Paths(&paths)
        }
    };
    match hands.publisher.converge(&local, scope).await {
        Ok(Converged::Published(report)) => Outcome::Published(report, timings),
        Ok(Converged::InStep) => Outcome::InStep,
        Ok(Converged::Held { removes, of }) => Outcome::Held { owed, removes, of },
        Err(error) => Outcome::Failed(owed, error),
    }
}

/// The longest that a round in flight may take at a shutdown, before it is abandoned.
pub(super) const LAST_ROUND: Duration = Duration::from_secs(5);
