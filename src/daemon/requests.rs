//! What people ask a running daemon for, and what it tells them, over the control API.
//!
//! Owns whether saves are published, who waits for a publish, and what is remembered of the last ones.
//! A publish that is asked for waits for nothing: no burst has to settle, no hold is kept, and what
//! comes of it is answered when it is final.

use std::{
    mem,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use onsave_protocol::DeployId;
use tokio::{sync::oneshot, time::Instant};

use super::{
    Builds, Daemon, Doing, agenda::Order, agenda::Proof, hook_runs, round::Hands, round::Outcome,
    round::Start,
};
use crate::{
    config::Config,
    control::{
        Asked, Control,
        status::{
            Change, ChangedPath, HeldPublish, KEPT_PUBLISHES, Live, NAMED_PATHS, PublishNow,
            PublishRecord, Published, StateWord,
        },
    },
    dirty::Dirty,
    error_report,
    hooks::{Ended, HookRun},
    publish::{PublishReport, Publisher, RemoteState, RetryClass, Timings},
    settle::Batch,
    wall_clock,
};

/// A share of removals that never holds.
const ALL_REMOVALS: u8 = 100;

/// What people ask for.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) control: Control,
    paused: bool,
    /// Who waits for a publish that has not begun.
    waiting: Vec<Waiting>,
    /// Who waits for the round under way.
    answering: Vec<Waiting>,
    /// Somebody asked while the round was under way, whose end says nothing about that.
    came_meanwhile: bool,
}

/// Somebody who waits for a publish.
#[derive(Debug)]
struct Waiting {
    how: PublishNow,
    done: Done,
}

/// Who waits.
#[derive(Debug)]
pub(super) enum Done {
    /// Somebody who asked for it, whatever else would be waited for.
    Person(oneshot::Sender<Published>),
    /// A hook, for which the rules of a save hold.
    Hook(HookRun),
}

impl Waiting {
    const fn is_person(&self) -> bool {
        matches!(self.done, Done::Person(_))
    }
}

impl Requests {
    pub(super) const fn new(control: Control) -> Self {
        Self {
            control,
            paused: false,
            waiting: Vec::new(),
            answering: Vec::new(),
            came_meanwhile: false,
        }
    }

    /// Tells where visitors see the site from now on.
    pub(super) fn name_url(&self, url: &str) {
        self.control.tell(|status| url.clone_into(&mut status.url));
    }

    /// Returns whether nothing is to be published: saves wait, and nobody asked for more.
    pub(super) fn holds_back(&self) -> bool {
        self.paused && !self.waiting.iter().any(Waiting::is_person)
    }

    /// Returns whether saves are not published.
    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Has the next publish answer `done`.
    pub(super) fn wait_for_publish(&mut self, done: Done) {
        let how = PublishNow::default();
        self.waiting.push(Waiting { how, done });
    }
}

impl Daemon {
    /// Takes in what somebody asks for.
    pub(super) fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Pause { done } => self.pause(true, done),
            Asked::Resume { done } => self.pause(false, done),
            Asked::WentBack { deploy_id } => {
                self.standing.went_back(&deploy_id);
                let now = unix_ms(wall_clock::now());
                self.requests.control.tell(|status| {
                    status.live = Some(Live {
                        deploy_id,
                        since_unix_ms: now,
                    });
                });
            }
            Asked::Publish { how, done } => {
                let done = Done::Person(done);
                self.requests.waiting.push(Waiting { how, done });
                if let Some(builds) = &mut self.builds {
                    builds.try_again();
                }
                let now = Instant::now();
                self.agenda.settled(Batch {
                    dirty: Dirty::Everything,
                    first: now,
                    last: now,
                });
                self.agenda.owe_everything();
            }
        }
    }

    fn pause(&mut self, paused: bool, done: oneshot::Sender<()>) {
        if mem::replace(&mut self.requests.paused, paused) != paused {
            tracing::info!(
                "{}",
                if paused {
                    "paused: saves are not published"
                } else {
                    "saves are published again"
                }
            );
        }
        if paused {
            let waiting = mem::take(&mut self.requests.waiting);
            for Waiting { how, done } in waiting {
                match done {
                    Done::Hook(run) => run.end(hook_runs::paused()),
                    done @ Done::Person(_) => self.requests.waiting.push(Waiting { how, done }),
                }
            }
        }
        self.tell_control();
        // Who asked may be gone.
        let _told = done.send(());
    }

    /// Changes an order that somebody waits for: nothing has to settle, and what a person allows is
    /// not held.
    pub(super) fn hasten(&mut self, order: &mut Order, hands: &mut Hands) -> Arc<Config> {
        let requests = &mut self.requests;
        requests.answering = mem::take(&mut requests.waiting);
        let config = Arc::clone(&self.config);
        if !requests.answering.iter().any(Waiting::is_person) {
            return config;
        }
        order.proof = Proof::Waited;
        hands.start = Start::Decided;
        if !requests
            .answering
            .iter()
            .any(|waiting| waiting.how.allow_removals)
        {
            return config;
        }
        let mut config = Config::clone(&config);
        config.publish.max_removal_percent = ALL_REMOVALS;
        Arc::new(config)
    }

    /// Answers who waited for the round that ended; where it decided nothing, they wait for the next.
    pub(super) fn answer(&mut self, outcome: &Outcome, publisher: &Publisher) {
        self.tell_live(outcome, publisher);
        if let Outcome::Published(report, timings) = outcome {
            let record = record(report, *timings, wall_clock::now());
            self.requests.control.tell(|status| {
                status.publishes.insert(0, Arc::new(record));
                status.publishes.truncate(KEPT_PUBLISHES);
            });
        }
        self.requests.came_meanwhile = !self.requests.waiting.is_empty();
        for Waiting { how, done } in mem::take(&mut self.requests.answering) {
            let waits_on = match done {
                Done::Person(done) => match final_answer(outcome) {
                    Some(answer) => {
                        // Who asked may be gone.
                        let _told = done.send(answer);
                        None
                    }
                    None => Some(Done::Person(done)),
                },
                Done::Hook(run) => match hook_runs::ended(outcome) {
                    Some(ended) => {
                        run.end(ended);
                        None
                    }
                    None if self.requests.paused => {
                        run.end(hook_runs::paused());
                        None
                    }
                    None => Some(Done::Hook(run)),
                },
            };
            let waits_on = waits_on.map(|done| Waiting { how, done });
            self.requests.waiting.extend(waits_on);
        }
    }

    /// Owes a publish to who asked for one during the round that ended: its end forgot that.
    pub(super) fn owe_who_came_meanwhile(&mut self) {
        if mem::take(&mut self.requests.came_meanwhile) {
            self.agenda.owe_everything();
        }
    }

    /// Tells which deploy the site shows, where a round found out.
    fn tell_live(&self, outcome: &Outcome, publisher: &Publisher) {
        let (Outcome::Published(..) | Outcome::InStep | Outcome::LeftAlone(..)) = outcome else {
            return;
        };
        let id = publisher.remote().and_then(RemoteState::deploy_id);
        let now = unix_ms(wall_clock::now());
        self.requests.control.tell(|status| {
            let known = status.live.as_ref().map(|live| live.deploy_id.as_str());
            if known == id {
                return;
            }
            status.live = id.map(|id| Live {
                deploy_id: id.to_owned(),
                // What was there before this daemon says by its name when it was made.
                since_unix_ms: match (outcome, DeployId::parse(id)) {
                    (Outcome::InStep | Outcome::LeftAlone(..), Ok(id)) => id.unix_ms(),
                    _ => now,
                },
            });
        });
    }

    /// Answers who waits for a publish that a failed build does not come to.
    pub(super) fn not_built(&mut self, error: &str) {
        for waiting in mem::take(&mut self.requests.waiting) {
            let error = error.to_owned();
            match waiting.done {
                Done::Person(done) => {
                    // Who asked may be gone.
                    let _told = done.send(Published::Failed { error });
                }
                Done::Hook(run) => run.end(Ended::Failed(error)),
            }
        }
    }

    /// Tells how the site stands, as far as it is news.
    pub(super) fn tell_control(&self) {
        let builds = self.builds.as_ref().is_some_and(Builds::is_running);
        let (state, detail) = match (self.doing(), self.requests.paused) {
            (Doing::Publishing, _) => (StateWord::Publishing, None),
            (Doing::Little, _) if builds => (StateWord::Building, None),
            (Doing::Little, true) => (StateWord::Paused, None),
            (Doing::Little, false) => self.standing.told(),
        };
        let paused = self.requests.paused;
        let held = self.standing.held();
        self.requests.control.tell(|status| {
            if status.state != state || status.detail != detail {
                status.since_unix_ms = unix_ms(wall_clock::now());
            }
            status.state = state;
            status.detail = detail;
            status.paused = paused;
            status.held = held;
        });
    }
}

/// Returns what became of a publish; nothing where the next round decides.
fn final_answer(outcome: &Outcome) -> Option<Published> {
    let failed = |error: String| Some(Published::Failed { error });
    match outcome {
        Outcome::Published(report, timings) => Some(Published::Published(record(
            report,
            *timings,
            wall_clock::now(),
        ))),
        Outcome::InStep => Some(Published::InStep),
        Outcome::Held { removes, of, .. } => Some(Published::Held(HeldPublish {
            removes: *removes,
            of: *of,
        })),
        Outcome::Failed(_, error) if error.retry() == RetryClass::Rescan => None,
        Outcome::Failed(_, error) => failed(error_report::with_causes(error)),
        Outcome::Absent(_) => failed("there is no site folder".to_owned()),
        Outcome::ScanFailed(_, _, error) => failed(error_report::with_causes(error)),
        Outcome::Strict(_) => failed("publish.strict forbids what the log warns of".to_owned()),
        Outcome::LeftAlone(..)
        | Outcome::Quiet(_)
        | Outcome::Unproven(_)
        | Outcome::Rechecked(_) => None,
    }
}

fn record(report: &PublishReport, timings: Timings, now: SystemTime) -> PublishRecord {
    let took = timings.settle + timings.scan + report.send;
    PublishRecord {
        deploy_id: report.deploy_id.clone(),
        at_unix_ms: unix_ms(now),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        settle_ms: tenths(timings.settle),
        scan_ms: tenths(timings.scan),
        send_ms: tenths(report.send),
        server_ms: report.server.map(tenths),
        added: report.counts.added,
        changed: report.counts.changed,
        removed: report.counts.removed,
        sent_bytes: report.wire.sent,
        paths: paths(report),
    }
}

/// Returns the first paths of a publish.
fn paths(report: &PublishReport) -> Vec<ChangedPath> {
    let puts = report.changeset.puts.keys().map(|path| {
        let is_new = report.added.contains(path);
        (
            path,
            if is_new {
                Change::Added
            } else {
                Change::Changed
            },
        )
    });
    let removes = report.changeset.removes.iter();
    let removes = removes.map(|path| (path, Change::Removed));
    puts.chain(removes)
        .take(NAMED_PATHS)
        .map(|(path, change)| ChangedPath {
            path: path.to_string(),
            change,
        })
        .collect()
}

/// Returns milliseconds, to a tenth.
fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// A clock before 1970 is wrong, and nobody's time.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
