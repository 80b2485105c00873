//! Machines: made and changed by a deploy of a whole `fly.toml`.
//!
//! The file is in a private folder that is gone when flyctl has read it.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use tokio::time::sleep;

use super::{Flyctl, FlyctlError, answers, command::Command};
use crate::fly::{Action, Asked, Reason, resources::Machine};

/// Pauses before a deploy is tried again whose image is not seen yet; about a minute in all.
const IMAGE_PAUSES: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(18),
    Duration::from_secs(30),
];

/// A deploy: everything that the app's machine ought to be.
#[derive(Debug, Clone, Copy)]
pub struct Deploy<'a> {
    /// The app's name.
    pub app: &'a str,
    /// The image.
    pub image: &'a str,
    /// The complete `fly.toml`.
    pub fly_toml: &'a str,
    /// The volume that the machine has, or is to get.
    pub volume_id: Option<&'a str>,
    /// What it is meant to do, for errors.
    pub action: Action,
}

impl Flyctl {
    /// Returns the machines of an app.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn machines(&self, app: &str) -> Result<Vec<Machine>, FlyctlError> {
        self.read(Command::Machines(app), answers::machines).await
    }

    /// Returns a machine.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`]; [`FlyctlError::NothingMade`] when there is none.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, FlyctlError> {
        let machines = self.machines(app).await?;
        let found = machines.into_iter().find(|machine| machine.id == id);
        found.ok_or_else(|| FlyctlError::NothingMade {
            asked: Asked {
                action: Action::GetMachine,
                subject: id.to_owned(),
            },
        })
    }

    /// Starts a machine.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn start_machine(&self, app: &str, id: &str) -> Result<(), FlyctlError> {
        self.done(Command::StartMachine(app, id)).await.map(drop)
    }

    /// Stops a machine and starts it again.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn restart_machine(&self, app: &str, id: &str) -> Result<(), FlyctlError> {
        self.done(Command::RestartMachine(app, id)).await.map(drop)
    }

    /// Makes the app's machine what the file says, or makes one, and starts it.
    ///
    /// An image that cannot be seen yet is waited for, about a minute.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn deploy(&self, deploy: &Deploy<'_>) -> Result<Machine, FlyctlError> {
        let parent = &self.setup.temporary;
        let unwritable = |source| FlyctlError::File {
            folder: parent.clone(),
            source,
        };
        let mut builder = tempfile::Builder::new();
        builder
            .prefix("onsave-flyctl-")
            .permissions(fs::Permissions::from_mode(0o700));
        let folder = builder.tempdir_in(parent).map_err(unwritable)?;
        let config = folder.path().join("fly.toml");
        fs::write(&config, deploy.fly_toml).map_err(unwritable)?;
        let command = Command::Deploy {
            app: deploy.app,
            config: &config,
            image: deploy.image,
            action: deploy.action,
        };
        let mut pauses = IMAGE_PAUSES.into_iter();
        while let Err(error) = self.done(command).await {
            let is_early = error.reason() == Some(&Reason::ImageNotVisible);
            match pauses.next() {
                Some(pause) if is_early => sleep(pause).await,
                _ => return Err(error),
            }
        }
        let machine = self.deployed(deploy).await?;
        // A machine that may be stopped is left as it was found.
        if matches!(machine.state.as_str(), "created" | "stopped" | "suspended") {
            self.start_machine(deploy.app, &machine.id).await?;
        }
        Ok(machine)
    }

    /// Returns the machine that a deploy made or changed.
    async fn deployed(&self, deploy: &Deploy<'_>) -> Result<Machine, FlyctlError> {
        let mut alive = self.machines(deploy.app).await?;
        alive.retain(Machine::is_alive);
        let of_volume = alive
            .iter()
            .position(|machine| machine.mounted_volume() == deploy.volume_id);
        let nothing = || FlyctlError::NothingMade {
            asked: Asked {
                action: deploy.action,
                subject: deploy.app.to_owned(),
            },
        };
        if alive.is_empty() {
            return Err(nothing());
        }
        Ok(alive.swap_remove(of_volume.unwrap_or(0)))
    }
}
