//! What only the platform can add to an error: where else there is room, and whose bill it is.

use super::Platform;
use crate::{
    config::FlyTarget,
    fly::{
        Fly, FlyError, Reason, nearest_regions,
        resources::{AppLookup, Region},
    },
    provision::{ProvisionError, machine_config},
};

/// How many other regions are offered when one has no room.
const OFFERED_REGIONS: usize = 3;

impl Platform {
    /// Returns the error of a step with what the platform tells besides; the error alone where it
    /// tells nothing.
    pub async fn advised(
        &self,
        error: ProvisionError,
        app: &str,
        target: &FlyTarget,
    ) -> ProvisionError {
        match (self, error) {
            (Self::Api(fly), ProvisionError::Fly(error)) => advised(fly, error, app, target).await,
            (_, error) => error,
        }
    }
}

async fn advised(fly: &Fly, error: FlyError, app: &str, target: &FlyTarget) -> ProvisionError {
    let organisation = match fly.app(app).await {
        Ok(AppLookup::Ours(app)) => app.organization.slug,
        _ => return error.into(),
    };
    if error.reason() != Some(&Reason::NoCapacity) {
        return error.for_organisation(&organisation).into();
    }
    let nearest = match regions_with_room(fly, target, &organisation).await {
        Ok(nearest) => nearest,
        Err(unknown) => {
            tracing::debug!(%unknown, "it is not known which regions have room");
            Vec::new()
        }
    };
    ProvisionError::NoRoom {
        region: target.region.clone(),
        nearest,
        source: Box::new(error),
    }
}

async fn regions_with_room(
    fly: &Fly,
    target: &FlyTarget,
    organisation: &str,
) -> Result<Vec<String>, FlyError> {
    let all = fly.regions().await?;
    let nearest = nearest_regions(&target.region, &all);
    let guest = machine_config::guest(target);
    let rooms = fly.with_room(organisation, &guest, &nearest).await?;
    let told = |region: &&Region| format!("{} ({})", region.code, region.name);
    Ok(rooms.iter().take(OFFERED_REGIONS).map(told).collect())
}
