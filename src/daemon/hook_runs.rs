//! What hooks ask for: which runs of the build are for which events, and what became of them.
//!
//! Owns the events that wait for a run of the build, and those of the run under way; once that succeeded,
//! they wait for the publish with everybody else who does. A hook does not lift a pause, and allows
//! nothing that a save does not.

use std::mem;

use tokio::{sync::mpsc, time::Instant};

use super::{Builds, Daemon, requests::Done, round::Outcome};
use crate::{
    config::HookAction,
    error_report,
    hooks::{Ended, HookRun},
    publish::RetryClass,
};

/// The events that the builds are for.
#[derive(Debug, Default)]
pub(super) struct HookRuns {
    /// For the next run.
    wanted: Vec<HookRun>,
    /// Of the run under way.
    running: Vec<HookRun>,
}

impl HookRuns {
    /// Takes in events for the next run.
    pub(super) fn want(&mut self, run: HookRun) {
        run.is_building();
        self.wanted.push(run);
    }

    /// Begins a run; returns what it is told, as a JSON array.
    pub(super) fn begin(&mut self) -> Option<Vec<u8>> {
        self.running.append(&mut self.wanted);
        let events: Vec<_> = self.running.iter().flat_map(HookRun::events).collect();
        if events.is_empty() {
            return None;
        }
        // Text, numbers and values that were JSON: nothing that cannot be written.
        serde_json::to_vec(&events).ok()
    }

    /// Takes in that the run was ended for another, which is for its events too.
    pub(super) fn stopped(&mut self) {
        let later = mem::replace(&mut self.wanted, mem::take(&mut self.running));
        self.wanted.extend(later);
    }

    /// Returns what the run that came to its end was for.
    pub(super) fn ended(&mut self) -> Vec<HookRun> {
        mem::take(&mut self.running)
    }
}

/// Returns what hooks ask for next; waits for ever where nobody can ask. Cancel-safe.
pub(super) async fn next(runs: &mut Option<mpsc::Receiver<HookRun>>) -> HookRun {
    let asked = match runs {
        Some(runs) => runs.recv().await,
        None => None,
    };
    match asked {
        Some(run) => run,
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Takes in what a hook asks for.
    pub(super) fn hook_asked(&mut self, run: HookRun) {
        match (run.action(), &mut self.builds) {
            (HookAction::Build, Some(builds)) => builds.run_for(run),
            (HookAction::Build | HookAction::Publish, _) => {
                if let Some(builds) = &mut self.builds {
                    builds.try_again();
                }
                self.publish_for([run], Instant::now());
            }
        }
    }

    /// Takes in that a run of the build succeeded that was for these events.
    pub(super) fn hooks_built(&mut self, at: Instant) {
        let runs = self.builds.as_mut().map(Builds::built_for);
        self.publish_for(runs.unwrap_or_default(), at);
    }

    fn publish_for(&mut self, runs: impl IntoIterator<Item = HookRun>, at: Instant) {
        let mut is_wanted = false;
        for run in runs {
            if self.requests.is_paused() {
                run.end(paused());
                continue;
            }
            run.is_publishing();
            self.requests.wait_for_publish(Done::Hook(run));
            is_wanted = true;
        }
        if is_wanted {
            self.agenda.built(at);
            // Also where nothing is new, the server is asked, so that there is an answer.
            self.agenda.owe_everything();
        }
    }

    /// Ends the events whose run of the build failed.
    pub(super) fn hooks_not_built(&mut self, error: &str) {
        for run in self
            .builds
            .as_mut()
            .map(Builds::built_for)
            .unwrap_or_default()
        {
            run.end(Ended::Failed(error.to_owned()));
        }
    }
}

/// What a pause makes of what is asked for.
pub(super) fn paused() -> Ended {
    Ended::Held("publishing is paused: `onsave resume` publishes it".to_owned())
}

/// Returns what a round's outcome means for who waits; nothing where the next round decides.
pub(super) fn ended(outcome: &Outcome) -> Option<Ended> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Some(Ended::Failed(error_report::with_causes(error)))
    };
    match outcome {
        Outcome::Published(report, _) => Some(Ended::Published(report.deploy_id.clone())),
        Outcome::InStep => Some(Ended::InStep),
        Outcome::Quiet(owed) if owed.is_nothing() => Some(Ended::InStep),
        Outcome::Held { removes, of, .. } => Some(Ended::Held(format!(
            "it would remove {removes} of {of} files: `onsave publish --allow-removals` does"
        ))),
        Outcome::Strict(_) => {
            let why = "publish.strict forbids what the log warns of";
            Some(Ended::Held(why.to_owned()))
        }
        Outcome::LeftAlone(..) => {
            let why = "the target has another deploy on purpose: `onsave publish` replaces it";
            Some(Ended::Held(why.to_owned()))
        }
        Outcome::Failed(_, error) if error.retry() == RetryClass::Rescan => None,
        Outcome::Failed(_, error) => failed(error),
        Outcome::ScanFailed(_, _, error) => failed(error),
        Outcome::Absent(_) => Some(Ended::Failed("there is no site folder".to_owned())),
        Outcome::Quiet(_) | Outcome::Unproven(_) | Outcome::Rechecked(_) => None,
    }
}
