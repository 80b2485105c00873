//! One round of work: scan, compare, publish; straight down, with every way out named.
//!
//! Owns nothing: the scanner and the publisher come in as [`Hands`] and go back with the outcome, so
//! that only one round can be under way.

use std::sync::Arc;

use onsave_protocol::SitePath;
use tokio::{task::JoinError, time::Instant};
use tokio_util::sync::CancellationToken;

use super::agenda::{Order, Owed, Proof, Trigger};
use crate::{
    config::{Config, PublishConfig},
    dirty::Dirty,
    guard::Removals,
    last_publish::{LastPublish, OnStart, Serving, on_start},
    progress::Progress,
    publish::{
        Converged, LocalSite, Note, PublishError, PublishReport, Publisher, Scope, SiteBytes,
        Timings,
    },
    scan::{Scan, ScanError, ScanOutcome, Scanner},
    target::Mender,
    verify_live::{LiveCheck, LiveVerdict},
    wall_clock,
};

/// What a round works with.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) scanner: Scanner,
    pub(super) publisher: Publisher,
    /// Finds another secret when the server refuses this one.
    pub(super) mender: Option<Mender>,
    /// What the start publishes.
    pub(super) start: Start,
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
    /// Only another scan shows that a burst is over: without events, or at a start that meets a file
    /// while it is written.
    Unproven(Owed),
    /// The server had the local tree already.
    InStep,
    /// A start leaves the server's other deploy alone.
    LeftAlone(Owed, OnStart),
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
    /// Visitors did not see the publish, and the server was asked what it serves now.
    Rechecked(Recheck),
}

/// Why visitors did not see a publish.
#[derive(Debug)]
pub(super) enum Recheck {
    /// Somebody else published meanwhile.
    Superseded,
    /// The server still has it: this is what stands in between.
    StillThere(LiveVerdict),
    /// The server did not answer either.
    Unknown(PublishError),
}

/// What a round found on the way to its outcome.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) outcome: Outcome,
    /// What the scan found, if it came to an end.
    pub(super) found: Option<ScanOutcome>,
}

/// Runs a round; cancels `looked` once the site folder was looked at.
///
/// # Errors
///
/// When the scan panicked; the scanner is lost with it.
pub(super) async fn run(
    mut hands: Hands,
    order: Order,
    config: Arc<Config>,
    looked: CancellationToken,
) -> Result<(Hands, Finished), JoinError> {
    let started = Instant::now();
    let mut scanner = hands.scanner;
    let dirty = order.dirty;
    let (scanner, dirty, found) = tokio::task::spawn_blocking(move || {
        let found = scanner.scan(&dirty, wall_clock::now());
        (scanner, dirty, found)
    })
    .await?;
    looked.cancel();
    hands.scanner = scanner;
    let mut owed = order.owed;
    let found = match found {
        Ok(Scan::Done(found)) => found,
        Ok(Scan::Absent) => return Ok(finished(hands, Outcome::Absent(owed), None)),
        Err(error) => {
            return Ok(finished(
                hands,
                Outcome::ScanFailed(owed, dirty, error),
                None,
            ));
        }
    };
    let is_save = !found.touched.is_empty();
    // A start may know no earlier bytes of a file that is being written: publishing without it would
    // take it off the site.
    let is_partial = matches!(hands.start, Start::Undecided(_)) && !found.unstable.is_empty();
    owed.add(found.touched.clone());
    let timings = Timings {
        settle: order.settle,
        scan: started.elapsed(),
    };
    let outcome = if owed.is_nothing() || (order.trigger == Trigger::Save && !is_save) {
        Outcome::Quiet(owed)
    } else if is_unproven(order.proof, is_save, is_partial) {
        Outcome::Unproven(owed)
    } else if config.publish.strict && !hands.scanner.warnings().is_empty() {
        Outcome::Strict(owed)
    } else {
        publish_mended(&mut hands, owed, &config.publish, timings).await
    };
    Ok(finished(hands, outcome, Some(found)))
}

/// Returns whether the folder may be in the middle of something.
const fn is_unproven(proof: Proof, is_save: bool, is_partial: bool) -> bool {
    match proof {
        Proof::Settled => is_partial,
        Proof::SecondScan => is_partial || is_save,
        Proof::Waited => false,
    }
}

const fn finished(hands: Hands, outcome: Outcome, found: Option<ScanOutcome>) -> (Hands, Finished) {
    (hands, Finished { outcome, found })
}

/// Publishes; where the server refuses the secret and another is to be had, once more with that.
async fn publish_mended(
    hands: &mut Hands,
    owed: Owed,
    config: &PublishConfig,
    timings: Timings,
) -> Outcome {
    let outcome = publish(hands, owed, config, timings).await;
    let Outcome::Failed(owed, error @ PublishError::WrongSecret { .. }) = outcome else {
        return outcome;
    };
    let secret = match &mut hands.mender {
        Some(mender) => mender.mend().await,
        None => None,
    };
    match secret {
        Some(secret) => {
            hands.publisher.use_secret(secret);
            publish(hands, owed, config, timings).await
        }
        None => Outcome::Failed(owed, error),
    }
}

async fn publish(
    hands: &mut Hands,
    owed: Owed,
    config: &PublishConfig,
    timings: Timings,
) -> Outcome {
    if let Start::Undecided(last) = &hands.start {
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
        hands.start = Start::Decided;
        match decision {
            OnStart::Publish => {}
            OnStart::InStep => return Outcome::InStep,
            OnStart::HeldByRollback | OnStart::HeldByOther => {
                return Outcome::LeftAlone(Owed::Everything, decision);
            }
        }
    }
    let site: Arc<dyn SiteBytes> = Arc::new(hands.scanner.files());
    let local = LocalSite {
        manifest: hands.scanner.manifest(),
        site,
        removals: Removals::UpTo(config.max_removal_percent),
        note: Note {
            published_by: Some(config.published_by.clone()),
            message: None,
        },
        progress: Progress::Silent,
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

/// Asks the server whether what visitors did not see is current at all.
pub(super) async fn recheck(mut hands: Hands, live: (LiveCheck, LiveVerdict)) -> (Hands, Finished) {
    let (check, verdict) = live;
    let recheck = match hands.publisher.refresh().await {
        Err(error) => Recheck::Unknown(error),
        Ok(remote) if check.holds_for(remote.manifest()) => Recheck::StillThere(verdict),
        Ok(_) => Recheck::Superseded,
    };
    finished(hands, Outcome::Rechecked(recheck), None)
}
