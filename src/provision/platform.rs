//! How the platform is reached: the one seam between what ought to be done and who does it.
//!
//! Owns which of several ways a call goes, and nothing else: what is there comes back in the same
//! words, whoever was asked, so that looking, planning and the steps know no difference.

mod advice;
mod machines;

use onsave_protocol::Secret;

pub use self::machines::Launch;
use super::{ProvisionError, configured_token, connect, machine_config};
use crate::{
    config::{FlyDriver, FlyTarget},
    fly::{
        Fly,
        resources::{
            AppLookup, AppSecret, Certificate, IpAssignment, IpKind, Machine, NeedsRestart,
            NewVolume, Organisation, SecretsChange, Volume,
        },
    },
    flyctl::Flyctl,
};

/// Who does what is asked of the platform.
#[derive(Debug)]
pub enum Platform {
    /// The platform's API.
    Api(Box<Fly>),
    /// An installed flyctl.
    Flyctl(Flyctl),
}

/// What there is of an app, as the platform tells it.
#[derive(Debug)]
pub struct Inventory {
    /// Its public addresses.
    pub ips: Vec<IpAssignment>,
    /// Its secrets' names and digests.
    pub secrets: Vec<AppSecret>,
    /// Its volumes, also dying ones.
    pub volumes: Vec<Volume>,
    /// Its machines, also dead ones.
    pub machines: Vec<Machine>,
    /// The certificates of its domains.
    pub certificates: Vec<Certificate>,
}

impl Platform {
    /// Returns the way that the configuration names; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::NoToken`] for the API alone, [`ProvisionError::BadToken`], and an address of
    /// the platform that is none.
    pub fn of(target: &FlyTarget) -> Result<Self, ProvisionError> {
        Ok(match target.driver {
            FlyDriver::Api => Self::Api(Box::new(connect(target)?)),
            FlyDriver::Flyctl => Self::Flyctl(flyctl(target)?),
        })
    }

    /// Returns what there is under an app's name.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses the token.
    pub async fn app(&self, name: &str) -> Result<AppLookup, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.app(name).await?,
            Self::Flyctl(flyctl) => flyctl.app(name).await?,
        })
    }

    /// Returns the organisations that an app can be made in.
    ///
    /// # Errors
    ///
    /// When the platform does not tell.
    pub async fn organisations(&self) -> Result<Vec<Organisation>, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.organisations().await?,
            Self::Flyctl(flyctl) => flyctl.organisations().await?,
        })
    }

    /// Makes an app, which can be seen then.
    ///
    /// # Errors
    ///
    /// What the platform may refuse: see [`ProvisionError::reason`].
    pub async fn create_app(&self, name: &str, organisation: &str) -> Result<(), ProvisionError> {
        match self {
            Self::Api(fly) => fly.create_app(name, organisation).await?,
            Self::Flyctl(flyctl) => flyctl.create_app(name, organisation).await?,
        }
        Ok(())
    }

    /// Deletes an app with all that is in it; one that is not there is deleted.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn delete_app(&self, name: &str) -> Result<(), ProvisionError> {
        match self {
            Self::Api(fly) => fly.delete_app(name).await?,
            Self::Flyctl(flyctl) => flyctl.delete_app(name).await?,
        }
        Ok(())
    }

    /// Returns all that there is of an app, asked at once.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn inventory(&self, app: &str) -> Result<Inventory, ProvisionError> {
        let (ips, secrets, volumes, machines, certificates) = match self {
            Self::Api(fly) => futures_util::try_join!(
                fly.ips(app),
                fly.secrets(app),
                fly.volumes(app),
                fly.machines(app),
                fly.certificates(app),
            )?,
            Self::Flyctl(flyctl) => futures_util::try_join!(
                flyctl.ips(app),
                flyctl.secrets(app),
                flyctl.volumes(app),
                flyctl.machines(app),
                flyctl.certificates(app),
            )?,
        };
        Ok(Inventory {
            ips,
            secrets,
            volumes,
            machines,
            certificates,
        })
    }

    /// Gives an app an address; one that it has already is enough.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn assign_ip(&self, app: &str, kind: IpKind) -> Result<(), ProvisionError> {
        match self {
            Self::Api(fly) => fly.assign_ip(app, kind).await?,
            Self::Flyctl(flyctl) => flyctl.assign_ip(app, kind).await?,
        }
        Ok(())
    }

    /// Returns the registry's host, with a port where it has one.
    #[must_use]
    pub fn registry_host(&self) -> &str {
        match self {
            Self::Api(fly) => fly.registry_host(),
            Self::Flyctl(flyctl) => flyctl.registry_host(),
        }
    }

    /// Returns the password for the registry; any user name goes with it.
    ///
    /// # Errors
    ///
    /// When there is none to be had.
    pub async fn registry_password(&self) -> Result<String, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.registry_password(),
            Self::Flyctl(flyctl) => flyctl.registry_password().await?,
        })
    }

    /// Sets secrets, and unsets those without a value; the next boot of a machine sees it.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn change_secrets(
        &self,
        app: &str,
        values: &[(&str, Option<&Secret>)],
    ) -> Result<SecretsChange, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.change_secrets(app, values).await?,
            Self::Flyctl(flyctl) => flyctl.change_secrets(app, values).await?,
        })
    }

    /// Makes the volume that the configuration names, on a host with room for a machine of its size
    /// that runs `image`.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn create_volume(
        &self,
        app: &str,
        target: &FlyTarget,
        image: &str,
    ) -> Result<Volume, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => {
                let volume = new_volume(target, image);
                fly.create_volume(app, &volume).await?
            }
            Self::Flyctl(flyctl) => flyctl.create_volume(app, target).await?,
        })
    }

    /// Makes a volume larger.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn extend_volume(
        &self,
        app: &str,
        id: &str,
        size_gb: u32,
    ) -> Result<NeedsRestart, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.extend_volume(app, id, size_gb).await?,
            Self::Flyctl(flyctl) => flyctl.extend_volume(app, id, size_gb).await?,
        })
    }

    /// Lets each daily snapshot of a volume be kept for `days`.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn keep_snapshots(
        &self,
        app: &str,
        id: &str,
        days: u32,
    ) -> Result<(), ProvisionError> {
        match self {
            Self::Api(fly) => fly.keep_snapshots(app, id, days).await?,
            Self::Flyctl(flyctl) => flyctl.keep_snapshots(app, id, days).await?,
        }
        Ok(())
    }

    /// Returns the certificates of an app, without what their domains need.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn certificates(&self, app: &str) -> Result<Vec<Certificate>, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.certificates(app).await?,
            Self::Flyctl(flyctl) => flyctl.certificates(app).await?,
        })
    }

    /// Returns the certificate of a host name, when one was requested.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn certificate(
        &self,
        app: &str,
        host: &str,
    ) -> Result<Option<Certificate>, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.certificate(app, host).await?,
            Self::Flyctl(flyctl) => flyctl.certificate(app, host).await?,
        })
    }

    /// Requests a certificate for a host name; one that was requested before is returned.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn request_certificate(
        &self,
        app: &str,
        host: &str,
    ) -> Result<Certificate, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.request_certificate(app, host).await?,
            Self::Flyctl(flyctl) => flyctl.request_certificate(app, host).await?,
        })
    }

    /// Lets the platform look at a domain's records again.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn check_certificate(
        &self,
        app: &str,
        host: &str,
    ) -> Result<Certificate, ProvisionError> {
        Ok(match self {
            Self::Api(fly) => fly.check_certificate(app, host).await?,
            Self::Flyctl(flyctl) => flyctl.check_certificate(app, host).await?,
        })
    }

    /// Removes the certificate of a host name; one that is not there is removed.
    ///
    /// # Errors
    ///
    /// When the platform does not answer, or refuses.
    pub async fn remove_certificate(&self, app: &str, host: &str) -> Result<(), ProvisionError> {
        match self {
            Self::Api(fly) => fly.remove_certificate(app, host).await?,
            Self::Flyctl(flyctl) => flyctl.remove_certificate(app, host).await?,
        }
        Ok(())
    }
}

/// Returns a flyctl that acts with the configured token, or with its own login.
fn flyctl(target: &FlyTarget) -> Result<Flyctl, ProvisionError> {
    let given = target.token.as_ref().map(|given| given.secret.clone());
    let token = given.zip(configured_token(target)?);
    Ok(Flyctl::new(target.flyctl.clone(), &target.hosts, token))
}

/// Returns the volume that the configuration names, for a machine of its size that runs `image`.
fn new_volume(target: &FlyTarget, image: &str) -> NewVolume {
    NewVolume {
        name: target.volume.name.clone(),
        region: target.region.clone(),
        size_gb: target.volume.size_gb,
        encrypted: true,
        snapshot_retention: target.volume.snapshot_days,
        compute: machine_config::guest(target),
        compute_image: image.to_owned(),
    }
}
