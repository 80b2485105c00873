//! Machines: made, changed and started, and awaited until they run.
//!
//! Over the API a change is made under a lease, of the configuration that is there then. Through flyctl
//! it is a deploy of a complete `fly.toml`, and flyctl takes the lease.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Platform;
use crate::{
    config::FlyTarget,
    fly::{
        Action, Fly, Reason,
        resources::{Lease, Machine, MachineUpdate, NewMachine, Volume},
    },
    flyctl::{Deploy, Flyctl},
    provision::{ProvisionError, fly_toml::fly_toml, machine_config},
};

/// How long a change of a machine holds it at most, when whoever made it is gone: longer than the
/// calls of a change take, and short enough for the next run to wait for.
const LEASE: Duration = Duration::from_secs(30);

/// Time between two tries to get a lease that is held.
const LEASE_POLL: Duration = Duration::from_secs(2);

/// How long a machine may take to be in the state that it was asked for.
const STATE_PATIENCE: Duration = Duration::from_mins(3);

/// The name of the machine: with it, one whose creation was not confirmed is found again.
const MACHINE_NAME: &str = "onsave";

/// What a machine is to run with.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The app's name.
    pub app: &'a str,
    /// The configuration.
    pub target: &'a FlyTarget,
    /// The image.
    pub image: &'a str,
    /// The volume; nothing where it is not known, and the machine has it already.
    pub volume: Option<&'a Volume>,
    /// It boots with at least this version of the app's secrets.
    pub secrets_version: Option<u64>,
}

impl Platform {
    /// Returns the machines of an app, also dead ones.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn machines(&self, app: &str) -> Result<Vec<Machine>, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.machines(app).await?,
            Self::Flyctl(flyctl) => flyctl.machines(app).await?,
        })
    }

    /// Returns a machine.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses, or has no such machine.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.machine(app, id).await?,
            Self::Flyctl(flyctl) => flyctl.machine(app, id).await?,
        })
    }

    /// Makes the machine, and waits until it is started.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses, or the machine does not start.
    pub async fn create_machine(&self, launch: &Launch<'_>) -> Result<Machine, ProvisionError> {
        match self {
            Self::Api(fly) => create(fly, launch).await,
            Self::Flyctl(flyctl) => deploy(flyctl, Action::CreateMachine, launch).await,
        }
    }

    /// Gives a machine the configuration, and waits until it is started with it.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses, or the machine does not start.
    pub async fn update_machine(
        &self,
        id: &str,
        launch: &Launch<'_>,
    ) -> Result<Machine, ProvisionError> {
        match self {
            Self::Api(fly) => update(fly, id, launch).await,
            Self::Flyctl(flyctl) => deploy(flyctl, Action::UpdateMachine, launch).await,
        }
    }

    /// Starts a machine, and waits until it is started.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses, or the machine does not start.
    pub async fn start_machine(&self, app: &str, id: &str) -> Result<(), ProvisionError> {
        match self {
            Self::Api(fly) => {
                fly.start_machine(app, id, None).await?;
                let machine = fly.machine(app, id).await?;
                await_start(fly, app, &machine).await
            }
            Self::Flyctl(flyctl) => Ok(flyctl.start_machine(app, id).await?),
        }
    }

    /// Stops a machine, starts it again, and waits until it is started.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses, or the machine does not start.
    pub async fn restart_machine(
        &self,
        app: &str,
        machine: &Machine,
    ) -> Result<(), ProvisionError> {
        match self {
            Self::Api(fly) => {
                fly.restart_machine(app, &machine.id, None).await?;
                await_start(fly, app, machine).await
            }
            Self::Flyctl(flyctl) => Ok(flyctl.restart_machine(app, &machine.id).await?),
        }
    }
}

async fn create(fly: &Fly, launch: &Launch<'_>) -> Result<Machine, ProvisionError> {
    let volume_id = launch.volume.map_or("", |volume| volume.id.as_str());
    let machine = NewMachine {
        name: MACHINE_NAME.to_owned(),
        region: launch.target.region.clone(),
        config: machine_config::wanted(launch.target, launch.image, volume_id),
        min_secrets_version: launch.secrets_version,
    };
    let machine = fly.create_machine(launch.app, &machine).await?;
    await_start(fly, launch.app, &machine).await?;
    Ok(machine)
}

async fn update(fly: &Fly, id: &str, launch: &Launch<'_>) -> Result<Machine, ProvisionError> {
    let app = launch.app;
    let lease = lease(fly, app, id).await?;
    let outcome = async {
        // What it is now, and not what it was when it was looked at.
        let machine = fly.machine(app, id).await?;
        let volume_id = machine.mounted_volume().unwrap_or_default().to_owned();
        let wanted = machine_config::wanted(launch.target, launch.image, &volume_id);
        let update = MachineUpdate {
            config: machine_config::updated(&machine.config, &wanted),
            min_secrets_version: launch.secrets_version,
        };
        let machine = fly.update_machine(app, id, &update, &lease).await?;
        await_start(fly, app, &machine).await?;
        Ok::<_, ProvisionError>(machine)
    }
    .await;
    // Whatever came of it, others may change the machine again. A start can outlast the lease, which
    // is then gone by itself.
    if let Err(error) = fly.release(app, id, lease).await {
        tracing::debug!(%error, "the lease could not be given back");
    }
    outcome
}

/// Returns the right to change a machine; one that is held is waited for as long as a run of ours
/// that was killed would have kept it.
async fn lease(fly: &Fly, app: &str, id: &str) -> Result<Lease, ProvisionError> {
    let give_up = Instant::now() + LEASE + LEASE_POLL;
    loop {
        let error = match fly.lease(app, id, LEASE, "onsave").await {
            Ok(lease) => return Ok(lease),
            Err(error) => error,
        };
        let is_held = matches!(error.reason(), Some(Reason::LeaseHeld { .. }));
        if !is_held || Instant::now() >= give_up {
            return Err(error.into());
        }
        sleep(LEASE_POLL).await;
    }
}

async fn await_start(fly: &Fly, app: &str, machine: &Machine) -> Result<(), ProvisionError> {
    let started = fly.wait_for_state(app, machine, "started", STATE_PATIENCE);
    Ok(started.await?)
}

async fn deploy(
    flyctl: &Flyctl,
    action: Action,
    launch: &Launch<'_>,
) -> Result<Machine, ProvisionError> {
    let mut target = launch.target.clone();
    if let Some(volume) = launch.volume {
        // By its name the machine gets it, or keeps it: another name would be another machine.
        target.volume.name.clone_from(&volume.name);
    }
    let deploy = Deploy {
        app: launch.app,
        image: launch.image,
        fly_toml: &fly_toml(launch.app, &target, launch.image),
        volume_id: launch.volume.map(|volume| volume.id.as_str()),
        action,
    };
    Ok(flyctl.deploy(&deploy).await?)
}
