//! The machines of an app on Fly.io, restarted one after the other; each has to be well before the next.
//!
//! A machine that does not get well stops the row: the others go on as they are, and the next try begins
//! with that one.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep};

use super::attempt::Attempt;
use crate::{
    config::FlyRestart,
    error_report,
    fly::{Fly, FlyError, Reason, resources::Machine},
};

/// Pause between two looks at a machine that starts.
const PAUSE: Duration = Duration::from_millis(500);

/// What a check says that is content.
const PASSING: &str = "passing";

/// Restarts the machines that are not among `done`, and adds each to it that is well again.
pub(super) async fn restart(
    config: &FlyRestart,
    patience: Duration,
    done: &mut BTreeSet<String>,
) -> Attempt {
    match restarted(config, patience, done).await {
        Ok(()) => Attempt::Taken,
        Err(RowError::Unwell { machine, state }) => Attempt::later(format!(
            "machine {machine} is not well {} s after its restart: {state}; the others were left alone",
            patience.as_secs()
        )),
        Err(RowError::Unknown { name }) => {
            Attempt::Refused(format!("the app {} has no machine {name}", config.app))
        }
        Err(RowError::Fly(error)) => {
            let told = error_report::with_causes(&error);
            match error.reason() {
                Some(
                    Reason::BadToken
                    | Reason::TokenMayNot
                    | Reason::TokenCannotCreateApps
                    | Reason::NotFound,
                ) => Attempt::Refused(told),
                _ => Attempt::later(told),
            }
        }
    }
}

enum RowError {
    Fly(FlyError),
    Unwell { machine: String, state: String },
    Unknown { name: String },
}

impl From<FlyError> for RowError {
    fn from(error: FlyError) -> Self {
        Self::Fly(error)
    }
}

async fn restarted(
    config: &FlyRestart,
    patience: Duration,
    done: &mut BTreeSet<String>,
) -> Result<(), RowError> {
    let fly = Fly::new(config.token.clone(), &config.hosts)?;
    let machines = fly.machines(&config.app).await?;
    for machine in row(&config.machines, machines)? {
        if done.contains(&machine.id) {
            continue;
        }
        let before = newest_event(&machine);
        tracing::info!(
            machine = machine.id,
            "restarting a machine of {}",
            config.app
        );
        fly.restart_machine(&config.app, &machine.id, None).await?;
        wait_until_well(&fly, (config, &machine.id), before, patience).await?;
        done.insert(machine.id);
    }
    Ok(())
}

/// Returns the machines to restart, in order: those that are named, or all that run.
fn row(named: &[String], machines: Vec<Machine>) -> Result<Vec<Machine>, RowError> {
    let mut machines: Vec<Machine> = machines.into_iter().filter(Machine::is_alive).collect();
    machines.sort_by(|one, other| one.id.cmp(&other.id));
    if named.is_empty() {
        // One that is stopped reads what is new when it starts.
        machines.retain(|machine| machine.state == "started");
        return Ok(machines);
    }
    let is = |machine: &Machine, name: &String| machine.id == *name || machine.name == *name;
    let unknown = named
        .iter()
        .find(|name| !machines.iter().any(|machine| is(machine, name)));
    if let Some(name) = unknown {
        return Err(RowError::Unknown { name: name.clone() });
    }
    machines.retain(|machine| named.iter().any(|name| is(machine, name)));
    Ok(machines)
}

fn newest_event(machine: &Machine) -> u64 {
    let times = machine.events.iter().map(|event| event.timestamp);
    times.max().unwrap_or_default()
}

async fn wait_until_well(
    fly: &Fly,
    (config, id): (&FlyRestart, &str),
    before: u64,
    patience: Duration,
) -> Result<(), RowError> {
    let end = Instant::now() + patience;
    loop {
        let machine = fly.machine(&config.app, id).await?;
        match ill(&machine, before) {
            None => return Ok(()),
            Some(state) if Instant::now() >= end => {
                let machine = id.to_owned();
                return Err(RowError::Unwell { machine, state });
            }
            Some(_) => sleep(PAUSE).await,
        }
    }
}

/// Returns why a machine is not well yet.
fn ill(machine: &Machine, before: u64) -> Option<String> {
    // Until something happened to it, what it says is of the time before.
    if newest_event(machine) <= before {
        return Some("it has not begun".to_owned());
    }
    if machine.state != "started" {
        return Some(format!("it is {}", machine.state));
    }
    let failing = machine.checks.iter().find(|check| check.status != PASSING);
    failing.map(|check| format!("its check {} is {}", check.name, check.status))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(id: &str, state: &str, check: &str) -> Machine {
        serde_json::from_value(json!({
            "id": id,
            "name": format!("name-{id}"),
            "state": state,
            "checks": [{"name": "http", "status": check}],
            "events": [{"type": "start", "timestamp": 5}, {"type": "launch", "timestamp": 3}],
        }))
        .unwrap()
    }

    #[test]
    fn a_machine_is_well_when_it_started_anew_and_its_checks_pass() {
        assert_eq!(ill(&machine("a", "started", "passing"), 4), None);
        for (machine, before, part) in [
            (machine("a", "started", "passing"), 5, "not begun"),
            (machine("a", "stopping", "passing"), 4, "stopping"),
            (
                machine("a", "started", "critical"),
                4,
                "check http is critical",
            ),
        ] {
            assert!(ill(&machine, before).unwrap().contains(part));
        }
    }

    #[test]
    fn the_row_is_of_those_that_run_or_are_named() {
        let machines = || {
            vec![
                machine("c", "stopped", "passing"),
                machine("b", "started", "passing"),
                machine("a", "started", "passing"),
                machine("d", "destroyed", "passing"),
            ]
        };
        let ids = |named: &[&str]| {
            let named: Vec<String> = named.iter().map(ToString::to_string).collect();
            let row = row(&named, machines()).ok()?;
            Some(
                row.into_iter()
                    .map(|machine| machine.id)
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(ids(&[]).unwrap(), ["a", "b"]);
        assert_eq!(ids(&["name-c", "a"]).unwrap(), ["a", "c"]);
        assert_eq!(ids(&["d"]), None);
    }
}
