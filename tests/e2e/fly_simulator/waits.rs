//! Waiting for a machine: what is asked, when it is over, and what is said when it took too long.

use std::time::Duration;

use serde_json::json;

use super::{
    machines::MachineState,
    refusal::Refusal,
    state::{Call, Platform, Reply},
};

/// What a wait waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) state: String,
    pub(crate) version: Option<String>,
    pub(crate) timeout: Duration,
}

impl Platform {
    /// Returns what a wait is for.
    ///
    /// # Errors
    ///
    /// When it is asked wrongly, or the machine is not there.
    pub(crate) fn wait_asked(&mut self, call: &Call<'_>) -> Result<Wait, Refusal> {
        self.machine(call)?;
        let query = |name: &str| {
            call.query
                .get(name)
                .filter(|value| !value.is_empty())
                .cloned()
        };
        let state = query("state").unwrap_or_else(|| "started".to_owned());
        let known = [
            "started",
            "stopped",
            "suspended",
            "destroyed",
            "failed",
            "settled",
        ];
        if !known.contains(&state.as_str()) {
            return Err(Refusal::machines(400, format!("invalid state {state:?}")));
        }
        let version = query("version").or_else(|| query("instance_id"));
        if state == "stopped" && version.is_none() {
            return Err(Refusal::machines(
                400,
                "instance_id is required when waiting for stopped",
            ));
        }
        let seconds: u64 = query("timeout")
            .map_or(Ok(60), |text| text.parse())
            .map_err(|_| Refusal::machines(400, "invalid timeout"))?;
        if !(1..=60).contains(&seconds) {
            return Err(Refusal::machines(
                400,
                "timeout must be between 1 and 60 seconds",
            ));
        }
        let timeout = Duration::from_secs(seconds);
        Ok(Wait {
            state,
            version,
            timeout,
        })
    }

    /// Returns the answer to a wait when what it waits for is so.
    ///
    /// # Errors
    ///
    /// When the machine is not there any more, or the version that is waited for was replaced.
    pub(crate) fn wait_over(
        &mut self,
        call: &Call<'_>,
        wait: &Wait,
    ) -> Result<Option<Reply>, Refusal> {
        let machine = self.machine(call)?;
        if let Some(version) = &wait.version
            && *version != machine.instance_id
        {
            return Err(Refusal::machines(
                400,
                format!("machine has no instance {version}"),
            ));
        }
        let state = machine.state;
        let reached = match wait.state.as_str() {
            "settled" => state.is_settled(),
            "failed" => state == MachineState::LaunchFailed,
            other => other == state.word(),
        };
        Ok(reached.then(|| {
            Reply::ok(json!({
                "ok": true,
                "state": state.word(),
                "event_id": machine.events[0]["id"],
                "version": machine.instance_id,
            }))
        }))
    }

    /// Refuses a wait that took too long.
    pub(crate) fn wait_in_vain(&mut self, call: &Call<'_>, wait: &Wait) -> Refusal {
        let currently = self
            .machine(call)
            .map_or("gone", |machine| machine.state.word());
        Refusal::machines(
            408,
            format!(
                "deadline_exceeded: machine failed to reach desired state, {}, currently {currently}",
                wait.state
            ),
        )
    }
}
