//! Volumes.

use super::{
    Flyctl, FlyctlError, answers,
    command::{Command, needs_restart},
};
use crate::{
    config::FlyTarget,
    fly::resources::{NeedsRestart, Volume},
};

impl Flyctl {
    /// Returns the volumes of an app.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn volumes(&self, app: &str) -> Result<Vec<Volume>, FlyctlError> {
        self.read(Command::Volumes(app), answers::volumes).await
    }

    /// Makes the volume that the configuration names.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn create_volume(
        &self,
        app: &str,
        target: &FlyTarget,
    ) -> Result<Volume, FlyctlError> {
        self.read(Command::CreateVolume(app, target), answers::volume)
            .await
    }

    /// Makes a volume larger.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn extend_volume(
        &self,
        app: &str,
        id: &str,
        size_gb: u32,
    ) -> Result<NeedsRestart, FlyctlError> {
        let command = Command::ExtendVolume { app, id, size_gb };
        let said = self.done(command).await?;
        Ok(needs_restart(&String::from_utf8_lossy(&said.stdout)))
    }

    /// Lets each daily snapshot of a volume be kept for `days`.
    ///
    /// # Errors
    ///
    /// [`FlyctlError`].
    pub async fn keep_snapshots(&self, app: &str, id: &str, days: u32) -> Result<(), FlyctlError> {
        let command = Command::KeepSnapshots { app, id, days };
        self.done(command).await.map(drop)
    }
}
