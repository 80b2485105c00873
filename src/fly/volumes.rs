//! Volumes and their snapshots.

use std::{collections::HashSet, time::Duration};

use serde::Deserialize;
use serde_json::json;

use super::{
    Fly,
    action::Action,
    apps::thing_path,
    call::{Call, Pauses, app_path},
    error::FlyError,
    resources::{NeedsRestart, NewVolume, Snapshot, Volume},
};

/// How long a creation is tried whose answers are lost.
const CREATE_WITHIN: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
struct Extended {
    #[serde(default)]
    needs_restart: bool,
}

impl Fly {
    /// Returns the volumes of an app, also those that are being deleted.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn volumes(&self, app: &str) -> Result<Vec<Volume>, FlyError> {
        let call = Call::get(Action::ListVolumes, app, app_path(app, "/volumes"));
        let volumes: Option<Vec<Volume>> = self.read(call).await?;
        Ok(volumes.unwrap_or_default())
    }

    /// Creates a volume, also when another has its name already.
    ///
    /// # Errors
    ///
    /// [`Reason::NoCapacity`](super::Reason::NoCapacity) and the rest of what the platform may refuse.
    pub async fn create_volume(&self, app: &str, volume: &NewVolume) -> Result<Volume, FlyError> {
        // Names are shared: what was there before is not what a lost answer was about.
        let before: HashSet<String> = self.ids_of(app, &volume.name).await?;
        let mut pauses = Pauses::within(CREATE_WITHIN);
        loop {
            let call = Call::post(Action::CreateVolume, app, app_path(app, "/volumes"));
            let error = match self.read(call.json(volume).once()).await {
                Ok(made) => return Ok(made),
                Err(error) if !error.is_ambiguous() => return Err(error),
                Err(error) => error,
            };
            // It may be seen a moment later than it was made.
            for _ in 0..2 {
                let is_left = pauses.pause(error.retry_after()).await;
                let found = self.volumes(app).await?.into_iter().find(|found| {
                    found.name == volume.name && found.is_alive() && !before.contains(&found.id)
                });
                match found {
                    Some(found) => return Ok(found),
                    None if !is_left => return Err(error),
                    None => {}
                }
            }
        }
    }

    async fn ids_of(&self, app: &str, name: &str) -> Result<HashSet<String>, FlyError> {
        let volumes = self.volumes(app).await?.into_iter();
        Ok(volumes
            .filter(|volume| volume.name == name)
            .map(|volume| volume.id)
            .collect())
    }

    /// Makes a volume larger, to `size_gb` gigabytes; it cannot become smaller.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn extend_volume(
        &self,
        app: &str,
        id: &str,
        size_gb: u32,
    ) -> Result<NeedsRestart, FlyError> {
        let path = thing_path(app, "volumes", id, "/extend");
        let call = Call::new("PUT", Action::ExtendVolume, id, path);
        let extended: Extended = self.read(call.json(&json!({"size_gb": size_gb}))).await?;
        Ok(if extended.needs_restart {
            NeedsRestart::Yes
        } else {
            NeedsRestart::No
        })
    }

    /// Lets a volume be snapshotted each day, and each snapshot be kept for `days`, from 1 to 60.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn keep_snapshots(&self, app: &str, id: &str, days: u32) -> Result<(), FlyError> {
        let path = thing_path(app, "volumes", id, "");
        let body = json!({"snapshot_retention": days, "auto_backup_enabled": true});
        let call = Call::new("PUT", Action::KeepSnapshots, id, path);
        self.call(call.json(&body)).await.map(drop)
    }

    /// Returns the snapshots of a volume.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn snapshots(&self, app: &str, volume: &str) -> Result<Vec<Snapshot>, FlyError> {
        let path = thing_path(app, "volumes", volume, "/snapshots");
        let call = Call::get(Action::ListSnapshots, volume, path);
        let snapshots: Option<Vec<Snapshot>> = self.read(call).await?;
        Ok(snapshots.unwrap_or_default())
    }
}
