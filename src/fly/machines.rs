//! Machines: made once, and changed under a lease.
//!
//! An answer that is lost leaves open whether a machine was made or changed. Its name, or its version,
//! tells: a second machine is never made, and a machine is not booted twice for one change.

use std::time::Duration;

use super::{
    Fly,
    action::Action,
    apps::thing_path,
    call::{Call, Pauses, app_path},
    error::{FlyError, Reason},
    resources::{Lease, Machine, MachineUpdate, NewMachine},
};

/// How long an image and secrets that were sent just now may take to be seen, and how long a change
/// is tried whose answers are lost.
const CHANGE_WITHIN: Duration = Duration::from_mins(1);

impl Fly {
    /// Returns the machines of an app.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn machines(&self, app: &str) -> Result<Vec<Machine>, FlyError> {
        let call = Call::get(Action::ListMachines, app, app_path(app, "/machines"));
        let machines: Option<Vec<Machine>> = self.read(call).await?;
        Ok(machines.unwrap_or_default())
    }

    /// Returns a machine.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses; [`Reason::NotFound`] when there is none.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, FlyError> {
        let path = thing_path(app, "machines", id, "");
        self.read(Call::get(Action::GetMachine, id, path)).await
    }

    /// Creates a machine and lets it start.
    ///
    /// An image or secrets that cannot be seen yet are waited for, at most a minute. Where an answer
    /// is lost, the machine is looked for by its name before anything else is done.
    ///
    /// # Errors
    ///
    /// [`Reason::NoCapacity`], [`Reason::NoRoomAtVolume`] and the rest of what the platform may
    /// refuse.
    pub async fn create_machine(
        &self,
        app: &str,
        machine: &NewMachine,
    ) -> Result<Machine, FlyError> {
        let mut pauses = Pauses::within(CHANGE_WITHIN);
        let mut may_be_made = false;
        loop {
            let call = Call::post(Action::CreateMachine, app, app_path(app, "/machines"));
            let error = match self.read(call.json(machine).once()).await {
                Ok(made) => return Ok(made),
                Err(error) => error,
            };
            may_be_made |= error.is_ambiguous();
            let is_ours = may_be_made && error.reason() == Some(&Reason::MachineNameTaken);
            if !(is_ours || error.is_ambiguous() || is_not_visible_yet(&error)) {
                return Err(error);
            }
            // It may be seen a moment later than it was made.
            let looks = if may_be_made { 2 } else { 0 };
            let mut is_left = pauses.pause(error.retry_after()).await;
            for look in 0..looks {
                if look > 0 {
                    is_left = pauses.pause(None).await;
                }
                if let Some(found) = self.machine_named(app, &machine.name).await? {
                    return Ok(found);
                }
            }
            if !is_left {
                return Err(error);
            }
        }
    }

    async fn machine_named(&self, app: &str, name: &str) -> Result<Option<Machine>, FlyError> {
        let machines = self.machines(app).await?.into_iter();
        Ok(machines
            .filter(Machine::is_alive)
            .find(|machine| machine.name == name))
    }

    /// Replaces a machine's configuration, which boots it again.
    ///
    /// An image or secrets that cannot be seen yet are waited for, at most a minute.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn update_machine(
        &self,
        app: &str,
        id: &str,
        update: &MachineUpdate,
        lease: &Lease,
    ) -> Result<Machine, FlyError> {
        let before = self.machine(app, id).await?.instance_id;
        let mut pauses = Pauses::within(CHANGE_WITHIN);
        loop {
            let path = thing_path(app, "machines", id, "");
            let call = Call::post(Action::UpdateMachine, id, path)
                .json(update)
                .leased(Some(lease));
            let error = match self.read(call.once()).await {
                Ok(changed) => return Ok(changed),
                Err(error) => error,
            };
            if !(error.is_ambiguous() || is_not_visible_yet(&error)) {
                return Err(error);
            }
            let is_left = pauses.pause(error.retry_after()).await;
            if error.is_ambiguous() {
                let now = self.machine(app, id).await?;
                // Nobody else may change it while the lease is held.
                if now.instance_id != before {
                    return Ok(now);
                }
            }
            if !is_left {
                return Err(error);
            }
        }
    }
}

/// What was sent just now is not known to every part of the platform yet.
fn is_not_visible_yet(error: &FlyError) -> bool {
    matches!(
        error.reason(),
        Some(Reason::ImageNotVisible | Reason::SecretsNotVisible)
    )
}
