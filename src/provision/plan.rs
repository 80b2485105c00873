//! From what ought to be and what is there to the steps between them.
//!
//! Pure: the same two always give the same steps, and what is as wanted gives none. What cannot be
//! done in place is an [`Obstacle`] where nothing works without it, and a remark where the site goes
//! on as it is; nothing is half done.

mod step;

use serde_json::Value;

pub use self::step::{SecretReason, Step};

use super::{
    actual::{Actual, ServerSeen},
    machine_config,
};
use crate::{
    config::{Autostop, FlyDriver, FlyTarget},
    fly::resources::{Certificate, IpKind, Machine, Volume},
};

/// What ought to be.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The app's name.
    pub app: &'a str,
    /// The configuration.
    pub target: &'a FlyTarget,
    /// What the machine ought to run.
    pub image: &'a WantedImage,
    /// What ought to become of the secret.
    pub secret: SecretWish,
    /// Domains that a certificate was requested for by us.
    pub known_domains: &'a [String],
    /// Whether it is remembered here that the app was made here.
    pub is_remembered: bool,
}

/// What a machine ought to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedImage {
    /// What it runs already, whatever that is; there is a machine.
    AsItIs,
    /// The image that is made here, in the app's own repository.
    Made {
        /// The name with the tag, which holds the digest: one name never means two images.
        reference: String,
        /// Bytes of the layer.
        bytes: u64,
    },
    /// An image that is public.
    Public(String),
}

/// What ought to become of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretWish {
    /// It stays when the server takes it.
    Keep,
    /// It is replaced, and the server takes both for a while.
    Rotate,
}

/// The steps, and what else is to be said.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order in which they are done.
    pub steps: Vec<Step>,
    /// What is not as configured and stays so, and why.
    pub remarks: Vec<String>,
    /// The machine that is there.
    pub machine_id: Option<String>,
    /// The volume that is there.
    pub volume_id: Option<String>,
}

/// Why nothing can be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The app runs something else.
    #[error("the app {app} runs machines that onsave did not make ({})", machines.join(", "))]
    OtherMachines {
        /// The app.
        app: String,
        /// The machines.
        machines: Vec<String>,
    },
    /// The volume is elsewhere.
    #[error("the volume {volume} is in {actual}, and fly.region is {wanted}")]
    OtherRegion {
        /// The volume's id.
        volume: String,
        /// Where it is.
        actual: String,
        /// Where it ought to be.
        wanted: String,
    },
    /// The machine's volume is gone.
    #[error("the volume {volume} of the machine {machine} is gone")]
    VolumeGone {
        /// The volume's id.
        volume: String,
        /// The machine's id.
        machine: String,
    },
    /// The hardware under the volume or the machine does not answer.
    #[error("the hardware under the {what} does not answer")]
    HostUnreachable {
        /// What is on it: a volume or a machine, with its id.
        what: String,
    },
}

impl Obstacle {
    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::OtherMachines { .. } => {
                "give this site another name: set app in onsave.toml, or ONSAVE_APP".to_owned()
            }
            Self::OtherRegion { actual, .. } => format!(
                "a volume cannot move: set fly.region = \"{actual}\" to keep it; or run `onsave destroy` \
                 and publish again, which makes the app anew in the other region from the site folder"
            ),
            Self::VolumeGone { machine, .. } => format!(
                "the machine cannot start without it: remove it with `fly machine destroy {machine} \
                 --force`, and run `onsave provision`; the site comes back from the site folder"
            ),
            Self::HostUnreachable { .. } => {
                "this is the platform's: https://status.flyio.net tells when it is mended; the site \
                 folder has everything that is published"
                    .to_owned()
            }
        }
    }
}

/// Returns the steps from what is there to what ought to be.
///
/// # Errors
///
/// [`Obstacle`]; nothing was done then.
pub fn plan(wanted: &Wanted<'_>, actual: &Actual) -> Result<Plan, Obstacle> {
    let mut plan = Plan::default();
    plan_app(actual, &mut plan);
    let machine = our_machine(wanted, actual)?;
    let volume = our_volume(wanted, actual, machine)?;
    plan.machine_id = machine.map(|machine| machine.id.clone());
    plan.volume_id = volume.map(|volume| volume.id.clone());
    let secret = secret_reason(wanted, actual);
    let differences = machine.map_or_else(Vec::new, |machine| {
        machine_differences(wanted, machine, volume)
    });
    let runs = machine.is_some_and(|machine| runs(wanted, machine));
    if let (WantedImage::Made { reference, bytes }, false) = (wanted.image, runs) {
        plan.steps.push(Step::PushImage {
            reference: reference.clone(),
            bytes: *bytes,
        });
    }
    if let Some(reason) = secret {
        plan.steps.push(Step::SetSecret(reason));
    }
    plan_volume(wanted, volume, &mut plan);
    if let Some(machine) = machine {
        let changes = secret.is_some().then(|| "the secret".to_owned());
        let changes = differences.into_iter().chain(changes).collect();
        plan_machine(wanted, machine, changes, &mut plan);
    } else {
        plan.steps.push(Step::CreateMachine);
    }
    let machine_changes = plan.steps.iter().any(|step| {
        matches!(
            step,
            Step::CreateMachine | Step::UpdateMachine { .. } | Step::StartMachine { .. }
        )
    });
    if machine_changes || !matches!(actual.server, ServerSeen::Answers(_)) {
        plan.steps.push(Step::AwaitServer);
    }
    plan_certificates(wanted, &actual.certificates, &mut plan);
    plan.remarks.extend(foreign_image(wanted, machine));
    Ok(plan)
}

fn plan_app(actual: &Actual, plan: &mut Plan) {
    if actual.app.is_none() {
        plan.steps.push(Step::CreateApp);
    }
    for kind in [IpKind::V6, IpKind::SharedV4] {
        if !actual.ips.iter().any(|ip| ip.serves(kind)) {
            plan.steps.push(Step::AssignIp(kind));
        }
    }
}

/// Returns the machine that was made here; an app that runs anything else is left alone.
fn our_machine<'a>(
    wanted: &Wanted<'_>,
    actual: &'a Actual,
) -> Result<Option<&'a Machine>, Obstacle> {
    // Nothing is known of a machine whose host does not answer, and nothing can be done with it.
    let unreachable = |machine: &&Machine| machine.is_alive() && machine.config.is_null();
    if let Some(machine) = actual.machines.iter().find(unreachable) {
        return Err(Obstacle::HostUnreachable {
            what: format!("machine {}", machine.id),
        });
    }
    let others = other_machines(&actual.machines, wanted.is_remembered);
    let alive = actual.machines.iter().filter(|machine| machine.is_alive());
    let ours: Vec<&Machine> = alive
        .filter(|machine| !others.contains(&machine.id))
        .collect();
    // A deploy of flyctl changes all of an app's machines; the API changes one.
    let are_touched = ours.is_empty() || wanted.target.driver == FlyDriver::Flyctl;
    if are_touched && !others.is_empty() {
        return Err(Obstacle::OtherMachines {
            app: wanted.app.to_owned(),
            machines: others,
        });
    }
    // Two of them: the one with a volume that is there.
    let has_volume = |machine: &&&Machine| {
        let mounted = machine.mounted_volume();
        actual
            .volumes
            .iter()
            .any(|volume| volume.is_alive() && Some(volume.id.as_str()) == mounted)
    };
    Ok(ours
        .iter()
        .find(has_volume)
        .or_else(|| ours.first())
        .copied())
}

/// Returns the ids of the machines of an app that were not made here.
///
/// One whose host does not answer tells nothing of itself, and is not counted among them.
#[must_use]
pub fn other_machines(machines: &[Machine], is_remembered: bool) -> Vec<String> {
    machines
        .iter()
        .filter(|machine| machine.is_alive() && !machine.config.is_null())
        .filter(|machine| !is_ours(machine, is_remembered))
        .map(|machine| machine.id.clone())
        .collect()
}

/// Returns whether a machine was made here: it says so, or it has the volume where ours have it, and
/// its server is told so or the app is remembered. A path alone is nobody's: others mount there too.
fn is_ours(machine: &Machine, is_remembered: bool) -> bool {
    let text = |pointer: &str| machine.config.pointer(pointer).and_then(Value::as_str);
    let volume_path = Some(machine_config::VOLUME_PATH);
    let is_marked = text(&format!("/metadata/{}", machine_config::MARK)).is_some();
    let has_volume = text("/mounts/0/path") == volume_path;
    let tells_server = text(&format!("/env/{}", machine_config::DATA_ROOT)) == volume_path;
    is_marked || has_volume && (tells_server || is_remembered)
}

/// Returns the volume: the one that the machine has, or a free one of the name and region.
fn our_volume<'a>(
    wanted: &Wanted<'_>,
    actual: &'a Actual,
    machine: Option<&Machine>,
) -> Result<Option<&'a Volume>, Obstacle> {
    let config = &wanted.target.volume;
    let mut alive = actual.volumes.iter().filter(|volume| volume.is_alive());
    let mounted = machine.and_then(|machine| Some((machine, machine.mounted_volume()?)));
    let volume = if let Some((machine, id)) = mounted {
        let gone = || Obstacle::VolumeGone {
            volume: id.to_owned(),
            machine: machine.id.clone(),
        };
        Some(alive.find(|volume| volume.id == id).ok_or_else(gone)?)
    } else {
        let named: Vec<&Volume> = alive.filter(|volume| volume.name == config.name).collect();
        let here = named
            .iter()
            .find(|volume| volume.region == wanted.target.region);
        here.or_else(|| named.first()).copied()
    };
    let Some(volume) = volume else {
        return Ok(None);
    };
    if volume.region != wanted.target.region {
        return Err(Obstacle::OtherRegion {
            volume: volume.id.clone(),
            actual: volume.region.clone(),
            wanted: wanted.target.region.clone(),
        });
    }
    if volume.host_status.as_deref() == Some("unreachable") {
        return Err(Obstacle::HostUnreachable {
            what: format!("volume {}", volume.id),
        });
    }
    Ok(Some(volume))
}

fn secret_reason(wanted: &Wanted<'_>, actual: &Actual) -> Option<SecretReason> {
    if !actual.has_secret {
        return Some(SecretReason::First);
    }
    let needed = match actual.server {
        ServerSeen::Answers(_) => None,
        ServerSeen::RefusesSecret if actual.secret_begun => Some(SecretReason::Unfinished),
        ServerSeen::RefusesSecret => Some(SecretReason::Unknown),
        // Nobody can be asked: what is remembered decides.
        ServerSeen::NotAsked | ServerSeen::NoAnswer => {
            match (actual.secret_begun, actual.secret_remembered) {
                // What was set beside it stays: a rotation may have been stopped.
                (true, _) => Some(SecretReason::Unfinished),
                (false, true) => None,
                (false, false) => Some(SecretReason::Unknown),
            }
        }
    };
    match (wanted.secret, &actual.server) {
        (SecretWish::Keep, _) => needed,
        // What the server takes goes on beside the new one.
        (SecretWish::Rotate, ServerSeen::Answers(_) | ServerSeen::NoAnswer) => {
            Some(SecretReason::Rotated)
        }
        // A secret that it does not take, or that is not known, cannot go on.
        (SecretWish::Rotate, ServerSeen::RefusesSecret | ServerSeen::NotAsked) => {
            Some(needed.unwrap_or(SecretReason::Rotated))
        }
    }
}

/// Returns whether the machine runs the image that is wanted.
fn runs(wanted: &Wanted<'_>, machine: &Machine) -> bool {
    let runs = machine.config.get("image");
    match wanted.image {
        WantedImage::AsItIs => true,
        WantedImage::Made { reference, .. } | WantedImage::Public(reference) => {
            machine_config::is_image(runs, &reference.as_str().into())
        }
    }
}

fn machine_differences(
    wanted: &Wanted<'_>,
    machine: &Machine,
    volume: Option<&Volume>,
) -> Vec<String> {
    let as_it_is = machine
        .config
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let image = match wanted.image {
        WantedImage::AsItIs => as_it_is,
        WantedImage::Made { reference, .. } | WantedImage::Public(reference) => reference,
    };
    let volume_id = volume.map_or("", |volume| volume.id.as_str());
    let config = machine_config::wanted(wanted.target, image, volume_id);
    machine_config::differences(&machine.config, &config)
}

fn plan_volume(wanted: &Wanted<'_>, volume: Option<&Volume>, plan: &mut Plan) {
    let config = &wanted.target.volume;
    let Some(volume) = volume else {
        plan.steps.push(Step::CreateVolume);
        return;
    };
    if volume.size_gb < config.size_gb {
        plan.steps.push(Step::ExtendVolume {
            id: volume.id.clone(),
            from_gb: volume.size_gb,
            to_gb: config.size_gb,
        });
    } else if volume.size_gb > config.size_gb.max(config.limit_gb) {
        plan.remarks.push(format!(
            "the volume has {} GB, and a volume is never made smaller; set fly.volume_gb = {} to be \
             rid of this line",
            volume.size_gb, volume.size_gb
        ));
    }
    let keeps = volume.snapshot_retention;
    if keeps.is_some_and(|days| days != config.snapshot_days) {
        plan.steps.push(Step::KeepSnapshots {
            id: volume.id.clone(),
            days: config.snapshot_days,
        });
    }
    if volume.name != config.name {
        plan.remarks.push(format!(
            "the volume is called {}, and a volume keeps its name; set fly.volume_name to it",
            volume.name
        ));
    }
}

fn plan_machine(wanted: &Wanted<'_>, machine: &Machine, changes: Vec<String>, plan: &mut Plan) {
    let id = machine.id.clone();
    if !changes.is_empty() {
        plan.steps.push(Step::UpdateMachine { id, changes });
        return;
    }
    let is_still = match machine.state.as_str() {
        "created" | "failed" => true,
        // Where it may sleep, the next request wakes it.
        "stopped" | "suspended" => wanted.target.autostop == Autostop::Off,
        _ => false,
    };
    if is_still {
        plan.steps.push(Step::StartMachine { id });
    }
}

/// A public image that the configuration does not name any more runs on until it is replaced.
fn foreign_image(wanted: &Wanted<'_>, machine: Option<&Machine>) -> Option<String> {
    let image = machine?.config.get("image")?.as_str()?;
    let own = [":", "@"].map(|end| format!("/{}{end}", wanted.app));
    let is_own = own.iter().any(|own| image.contains(own));
    let is_foreign = *wanted.image == WantedImage::AsItIs && !is_own;
    is_foreign.then(|| {
        format!(
            "the machine runs {image}, and fly.image does not name it; `onsave provision --rebuild` \
             replaces it by this onsave's server"
        )
    })
}

fn plan_certificates(wanted: &Wanted<'_>, certificates: &[Certificate], plan: &mut Plan) {
    let domains = &wanted.target.domains;
    let has = |domain: &String| certificates.iter().any(|c| c.hostname == *domain);
    for domain in domains.iter().filter(|domain| !has(domain)) {
        plan.steps.push(Step::RequestCertificate(domain.clone()));
    }
    for certificate in certificates {
        let domain = &certificate.hostname;
        if domains.contains(domain) {
            continue;
        }
        if wanted.known_domains.contains(domain) {
            plan.steps.push(Step::RemoveCertificate(domain.clone()));
        } else {
            plan.remarks.push(format!(
                "the app has a certificate for {domain}, which fly.domains does not name; it stays"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
