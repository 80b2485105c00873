//! What becomes of a machine: starting, stopping, and waiting for it.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Fly,
    action::Action,
    apps::thing_path,
    call::{Call, Pauses, encoded},
    error::{FlyError, Reason},
    resources::{Lease, Machine},
};

/// How long one wait lasts: the platform allows a minute, but a machine that failed meanwhile is only
/// noticed between two waits.
const ROUND: Duration = Duration::from_secs(10);

/// How long a machine that was made just now may take to be seen.
const VISIBLE_WITHIN: Duration = Duration::from_secs(20);

impl Fly {
    /// Starts a machine.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn start_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&Lease>,
    ) -> Result<(), FlyError> {
        let path = thing_path(app, "machines", id, "/start");
        let call = Call::post(Action::StartMachine, id, path).leased(lease);
        self.call(call).await.map(drop)
    }

    /// Stops a machine and starts it again.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn restart_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&Lease>,
    ) -> Result<(), FlyError> {
        let path = thing_path(app, "machines", id, "/restart");
        let call = Call::post(Action::RestartMachine, id, path).leased(lease);
        self.call(call).await.map(drop)
    }

    /// Waits until this version of a machine is in a state: `started`, `stopped`, `suspended` or
    /// `destroyed`.
    ///
    /// # Errors
    ///
    /// [`FlyError::NeverInState`] as soon as the machine is in a state that does not lead there;
    /// [`FlyError::NotInStateYet`] when `patience` is over.
    pub async fn wait_for_state(
        &self,
        app: &str,
        machine: &Machine,
        state: &str,
        patience: Duration,
    ) -> Result<(), FlyError> {
        let start = Instant::now();
        let mut pauses = Pauses::within(patience);
        let mut last_state = machine.state.clone();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let Err(error) = self.wait_a_round(app, machine, state, left).await else {
                return Ok(());
            };
            let is_young = start.elapsed() < VISIBLE_WITHIN;
            if !(error.is_worth_repeating() || error.is_not_found() && is_young) {
                return Err(error);
            }
            if let Ok(now) = self.machine(app, &machine.id).await {
                let is_this_version =
                    machine.instance_id.is_empty() || machine.instance_id == now.instance_id;
                if is_this_version && now.state == state {
                    return Ok(());
                }
                last_state = now.state;
            }
            if !leads_on(&last_state, state) {
                return Err(FlyError::NeverInState {
                    machine: machine.id.clone(),
                    wanted: state.to_owned(),
                    state: last_state,
                });
            }
            // A wait that ended by time has waited; what failed at once is given a pause.
            let has_waited = error.reason() == Some(&Reason::NotInTime);
            let is_over = start.elapsed() >= patience;
            if is_over || !has_waited && !pauses.pause(error.retry_after()).await {
                return Err(FlyError::NotInStateYet {
                    machine: machine.id.clone(),
                    wanted: state.to_owned(),
                    state: last_state,
                    waited: start.elapsed(),
                });
            }
        }
    }

    async fn wait_a_round(
        &self,
        app: &str,
        machine: &Machine,
        state: &str,
        left: Duration,
    ) -> Result<(), FlyError> {
        let seconds = left.min(ROUND).as_secs().max(1);
        let mut query = format!("/wait?state={}&timeout={seconds}", encoded(state));
        if !machine.instance_id.is_empty() {
            query = format!("{query}&version={}", encoded(&machine.instance_id));
        }
        let path = thing_path(app, "machines", &machine.id, &query);
        let call = Call::get(Action::WaitForMachine, &machine.id, path);
        self.call(call.once()).await.map(drop)
    }
}

/// Returns whether a machine in a state may still become `wanted` by itself.
fn leads_on(state: &str, wanted: &str) -> bool {
    match state {
        "destroying" => wanted == "destroyed",
        "failed" | "launch_failed" | "destroyed" | "replaced" | "migrated" => state == wanted,
        _ => true,
    }
}
