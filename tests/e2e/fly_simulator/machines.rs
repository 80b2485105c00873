//! Machines: their states, versions and events.
//!
//! What calls ask of them is in `machine_calls`. What makes a machine move (its program, its checks) is in `runner`, which reports here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    apps::App, failures::Fate, image::Reference, leases::Lease, machine_config::MachineConfig,
    state::Call,
};

/// Most events that an answer has.
const MOST_EVENTS: usize = 20;

/// Where a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineState {
    Created,
    Starting,
    Started,
    Stopping,
    Stopped,
    Replacing,
    LaunchFailed,
    Destroyed,
}

impl MachineState {
    /// Returns the platform's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Replacing => "replacing",
            Self::LaunchFailed => "launch_failed",
            Self::Destroyed => "destroyed",
        }
    }

    pub(super) const fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Started | Self::Stopped | Self::LaunchFailed | Self::Destroyed
        )
    }
}

/// What one check last said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckStatus {
    pub(crate) name: String,
    pub(crate) passes: bool,
    pub(crate) gates_traffic: bool,
    pub(crate) output: String,
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(super) name: String,
    pub(crate) region: String,
    pub(crate) state: MachineState,
    /// Names the current version.
    pub(crate) instance_id: String,
    pub(crate) config: MachineConfig,
    /// The configuration as it was given.
    pub(super) shown_config: Value,
    pub(super) created_at: Timestamp,
    updated_at: Timestamp,
    /// The secrets that the current version was made with.
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) fate: Fate,
    pub(crate) lease: Option<Lease>,
    pub(crate) checks: Vec<CheckStatus>,
    /// Newest first.
    pub(super) events: Vec<Value>,
    pub(super) versions: Vec<Value>,
    pub(super) is_cordoned: bool,
    number: u64,
}

impl Machine {
    /// A machine without a version, which [`Machine::renew`] gives it.
    pub(super) fn new(id: &str, name: String, (number, call): (u64, &Call<'_>)) -> Self {
        let mut machine = Self {
            id: id.to_owned(),
            name,
            region: call.text("region").to_owned(),
            state: MachineState::Created,
            instance_id: String::new(),
            config: MachineConfig::default(),
            shown_config: Value::Null,
            created_at: call.now,
            updated_at: call.now,
            secrets: BTreeMap::new(),
            fate: Fate::Runs,
            lease: None,
            checks: Vec::new(),
            events: Vec::new(),
            versions: Vec::new(),
            is_cordoned: false,
            number,
        };
        machine.note("launch", "created", (json!({}), call.now));
        machine
    }

    /// Returns whether it was destroyed.
    pub(crate) fn is_gone(&self) -> bool {
        self.state == MachineState::Destroyed
    }

    /// Returns whether nothing of it runs.
    pub(crate) const fn is_still(&self) -> bool {
        matches!(
            self.state,
            MachineState::Created
                | MachineState::Stopped
                | MachineState::LaunchFailed
                | MachineState::Destroyed
        )
    }

    /// Returns whether the edge may send it requests.
    pub(crate) fn takes_traffic(&self) -> bool {
        let mut gates = self.checks.iter().filter(|check| check.gates_traffic);
        self.state == MachineState::Started && !self.is_cordoned && gates.all(|check| check.passes)
    }

    /// Moves to a state and notes the event.
    pub(crate) fn enter(&mut self, state: MachineState, event: &str, now: Timestamp) {
        self.state = state;
        self.note(event, state.word(), (json!({}), now));
    }

    /// Notes an event: its type, its status, and what is said of it.
    pub(crate) fn note(&mut self, kind: &str, status: &str, (request, now): (Value, Timestamp)) {
        let source = if kind == "exit" { "flyd" } else { "user" };
        self.updated_at = now;
        let number = self.events.len() as u64;
        let event = json!({
            "id": format!("01EVENT{:03}{number:016}", self.number % 1_000),
            "type": kind,
            "status": status,
            "source": source,
            "request": request,
            "timestamp": now.as_millisecond(),
        });
        self.events.insert(0, event);
    }

    /// Notes that the program ended.
    pub(crate) fn note_exit(
        &mut self,
        exit_code: i32,
        (requested, restarting): (bool, bool),
        now: Timestamp,
    ) {
        let request = json!({
            "exit_event": {
                "exit_code": exit_code,
                "guest_exit_code": 0,
                "oom_killed": false,
                "requested_stop": requested,
                "restarting": restarting,
                "exited_at": now.to_string(),
            },
            "restart_count": 0,
        });
        self.note("exit", "stopped", (request, now));
    }

    pub(super) fn to_json(&self, app: &App) -> Value {
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|check| {
                json!({
                    "name": check.name,
                    "status": if check.passes { "passing" } else { "critical" },
                    "output": check.output,
                    "updated_at": self.updated_at.to_string(),
                })
            })
            .collect();
        let reference = Reference::parse(&self.config.image);
        json!({
            "id": self.id,
            "name": self.name,
            "state": self.state.word(),
            "region": self.region,
            "instance_id": self.instance_id,
            "version": self.instance_id,
            "private_ip": format!("fdaa:0:1:a7b:{:x}::2", self.number),
            "config": self.shown_config,
            "image_ref": {
                "registry": reference.host,
                "repository": reference.repository,
                "tag": reference.tag().unwrap_or_default(),
                "digest": reference.digest().unwrap_or_default(),
                "labels": {},
            },
            "created_at": self.created_at.to_string(),
            "updated_at": self.updated_at.to_string(),
            "events": self.events.iter().take(MOST_EVENTS).collect::<Vec<_>>(),
            "checks": checks,
            "host_status": "ok",
            "cordoned": self.is_cordoned,
            "app_name": app.name,
        })
    }
}

impl Machine {
    /// Makes the next version.
    pub(super) fn renew(
        &mut self,
        config: MachineConfig,
        secrets: BTreeMap<String, String>,
        (number, call): (u64, &Call<'_>),
    ) {
        self.instance_id = format!("01J{number:023}");
        self.shown_config = call.body["config"].clone();
        self.secrets = secrets;
        self.fate = call.fate;
        self.checks = config
            .named_checks()
            .into_iter()
            .map(|check| CheckStatus {
                name: check.name,
                passes: false,
                gates_traffic: check.gates_traffic,
                output: "waiting for status update".to_owned(),
            })
            .collect();
        self.config = config;
        self.versions.insert(
            0,
            json!({"version": self.instance_id, "user_config": self.shown_config}),
        );
    }
}
