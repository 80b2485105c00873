//! Waiting for the server after a change, and why it is likely not there when it does not come.

use std::time::Duration;

use onsave_protocol::{Secret, wire::v2::SignedHealth};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{ProvisionError, Provisioner, error::LikelyCause};
use crate::{
    fly::resources::{Machine, MachineEvent},
    http::HttpError,
    publish::{Endpoint, PublishError, Publisher},
};

/// How long the server may take: a new app's name has to become known, and its first connection
/// waits for a certificate of the platform's.
const PATIENCE: Duration = Duration::from_mins(2);

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(150);

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(5);

/// Time between two looks at the machine.
const LOOK: Duration = Duration::from_secs(2);

/// Exits of the machine's program that are enough to see that it does not run.
const EXITS: usize = 3;

/// Events that are told.
const TOLD_EVENTS: usize = 5;

impl Provisioner<'_> {
    /// Returns what the server says of itself, as soon as it takes the secret.
    pub(super) async fn wait_until_online(
        &self,
        url: &str,
        secret: &Secret,
        (app, machine): (&str, Option<&str>),
    ) -> Result<SignedHealth, ProvisionError> {
        let publisher = Publisher::new(Endpoint {
            url: url.to_owned(),
            secret: secret.clone(),
            secret_origin: "the app's secret".to_owned(),
            name: url.to_owned(),
        })?;
        let begun = Instant::now();
        let mut looked = begun;
        loop {
            let error = match timeout(QUESTION, publisher.health()).await {
                Ok(Ok(health)) => return Ok(health),
                Ok(Err(error @ PublishError::ClockSkew { .. })) => return Err(error.into()),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            let is_over = begun.elapsed() >= PATIENCE;
            if is_over || looked.elapsed() >= LOOK {
                looked = Instant::now();
                let seen = match machine {
                    Some(id) => Some(self.platform.machine(app, id).await?),
                    None => None,
                };
                if is_over || seen.as_ref().is_some_and(gave_up) {
                    return Err(ProvisionError::NotOnline {
                        url: url.to_owned(),
                        waited: begun.elapsed(),
                        cause: likely_cause(app, error.as_ref(), seen.as_ref()),
                    });
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// Returns whether the machine's program ends again and again, or is not started any more.
fn gave_up(machine: &Machine) -> bool {
    let is_over = matches!(
        machine.state.as_str(),
        "failed" | "launch_failed" | "destroyed"
    );
    is_over || ends_again_and_again(machine)
}

/// Returns whether the machine's program ended by itself several times since the last change.
pub(crate) fn ends_again_and_again(machine: &Machine) -> bool {
    own_exits(machine).count() >= EXITS
}

/// Returns the exits of the machine's program that nobody asked for, the newest first, since it was
/// made or changed: every change stops the program before, and says nothing of the one after.
fn own_exits(machine: &Machine) -> impl Iterator<Item = &MachineEvent> {
    let since_change = |event: &&MachineEvent| event.kind != "update";
    let is_own_exit = |event: &&MachineEvent| {
        let asked = event.request.pointer("/exit_event/requested_stop");
        event.kind == "exit" && asked.and_then(Value::as_bool) != Some(true)
    };
    machine
        .events
        .iter()
        .take_while(since_change)
        .filter(is_own_exit)
}

/// Returns why the server is likely not there.
fn likely_cause(app: &str, last: Option<&PublishError>, machine: Option<&Machine>) -> LikelyCause {
    let logs = format!("`fly logs -a {app}` shows what the server wrote");
    let exit = machine.and_then(|machine| own_exits(machine).next());
    let state = machine.map_or("", |machine| machine.state.as_str());
    let (cause, advice) = match (exit, last) {
        (Some(exit), _) => (
            format!("the server ends soon after its start{}", exit_code(exit)),
            logs,
        ),
        (None, _) if !matches!(state, "started" | "starting" | "") => (
            format!("the machine is {state}"),
            format!("`onsave doctor` says more, and {logs}"),
        ),
        (None, Some(PublishError::WrongSecret { .. })) => (
            "the server does not take the secret that was set".to_owned(),
            "run `onsave provision` again: it sets a new one".to_owned(),
        ),
        (
            None,
            Some(PublishError::NoAnswer {
                source: HttpError::Connect(_),
                ..
            }),
        ) => (
            "its name or its address is not known yet, or this machine is not on the internet"
                .to_owned(),
            "new names take some minutes to be known everywhere: run `onsave provision` again then"
                .to_owned(),
        ),
        (
            None,
            Some(PublishError::NoAnswer {
                source: HttpError::Tls(_),
                ..
            }),
        ) => (
            "the platform has no certificate for it yet".to_owned(),
            "run `onsave provision` again in a minute".to_owned(),
        ),
        (None, Some(PublishError::NotOnsave { status, .. })) => (
            format!(
                "something else answers there, with status {status}: the platform's proxy when \
                     the machine's checks do not pass"
            ),
            format!("`onsave doctor` shows the checks, and {logs}"),
        ),
        (None, _) => ("it does not answer".to_owned(), logs),
    };
    LikelyCause {
        cause,
        advice,
        events: machine.map_or_else(Vec::new, |machine| {
            machine.events.iter().take(TOLD_EVENTS).map(told).collect()
        }),
    }
}

/// Returns how the machine's program ended, as the end of a sentence; empty where it is not told.
pub(crate) fn exit_code(event: &MachineEvent) -> String {
    let code = event
        .request
        .pointer("/exit_event/exit_code")
        .and_then(Value::as_i64);
    let killed = event
        .request
        .pointer("/exit_event/oom_killed")
        .and_then(Value::as_bool);
    match (code, killed) {
        (_, Some(true)) => ", since it needs more memory than fly.memory_mb gives it".to_owned(),
        (Some(code), _) => format!(", with exit code {code}"),
        (None, _) => String::new(),
    }
}

/// Returns an event as one line.
pub(crate) fn told(event: &MachineEvent) -> String {
    let time = i64::try_from(event.timestamp)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(String::new, |time| {
            time.strftime("%Y-%m-%d %H:%M:%SZ ").to_string()
        });
    format!("{time}{} {} ({})", event.kind, event.status, event.source)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(state: &str, events: &[Value]) -> Machine {
        let machine = json!({"id": "m1", "state": state, "events": events});
        serde_json::from_value(machine).unwrap()
    }

    fn exit(code: i64) -> Value {
        json!({
            "type": "exit", "status": "stopped", "source": "flyd", "timestamp": 1_777_000_000_000_u64,
            "request": {"exit_event": {"exit_code": code}},
        })
    }

    #[test]
    fn a_program_that_ends_is_the_cause_whatever_else_is_seen() {
        let machine = machine("started", &[exit(2), exit(2), exit(2)]);
        assert!(gave_up(&machine));
        let cause = likely_cause("my-site", None, Some(&machine));
        assert!(cause.cause.contains("exit code 2"), "{cause}");
        assert!(cause.advice.contains("fly logs -a my-site"));
        assert_eq!(cause.events.len(), 3);
        assert_eq!(cause.events[0], "2026-04-24 03:06:40Z exit stopped (flyd)");
    }

    #[test]
    fn an_exit_that_a_change_caused_is_no_sign_of_a_program_that_ends() {
        let asked = json!({
            "type": "exit", "status": "stopped", "source": "flyd",
            "request": {"exit_event": {"exit_code": 0, "requested_stop": true}},
        });
        let update = json!({"type": "update", "status": "replacing", "source": "user"});
        // Three changes: each stopped the program, and what crashed before them is over.
        let mut events = Vec::new();
        for _ in 0..3 {
            events.extend([asked.clone(), update.clone()]);
        }
        events.extend([exit(1), exit(1), exit(1)]);
        let changed = machine("started", &events);
        assert!(!gave_up(&changed));
        let cause = likely_cause("my-site", None, Some(&changed));
        assert_eq!(cause.cause, "it does not answer");
        events.splice(0..0, [exit(2), exit(2), exit(2)]);
        let crashing = machine("started", &events);
        assert!(gave_up(&crashing));
        let cause = likely_cause("my-site", None, Some(&crashing));
        assert!(cause.cause.contains("exit code 2"), "{cause}");
    }

    #[test]
    fn each_silence_has_its_cause() {
        let url = || "https://my-site.fly.dev".to_owned();
        let no_answer = PublishError::NoAnswer {
            url: url(),
            source: HttpError::Connect(std::io::Error::other("dns")),
        };
        let other = PublishError::NotOnsave {
            url: url(),
            status: 503,
        };
        let running = machine("started", &[]);
        assert!(!gave_up(&running));
        for (error, machine, part) in [
            (Some(&no_answer), Some(&running), "not known yet"),
            (Some(&other), Some(&running), "status 503"),
            (None, None, "does not answer"),
            (None, Some(&machine("stopped", &[])), "stopped"),
        ] {
            let cause = likely_cause("my-site", error, machine);
            assert!(cause.cause.contains(part), "{cause}");
        }
        assert!(gave_up(&machine("launch_failed", &[])));
    }
}
