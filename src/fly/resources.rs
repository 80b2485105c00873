//! What the platform has, as its answers say it.
//!
//! Only the fields that something here depends on are read; unknown ones are ignored, and one that
//! older or newer answers leave out has a default. A machine's configuration is kept as it came,
//! whole: an update replaces it, and what was not understood must not get lost.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// An organisation that a token reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Its short name in addresses and calls.
    pub slug: String,
    /// Its name for people; the slug where none is told.
    pub name: String,
    /// What is known of its bills; nothing where the token may not see them.
    pub billing: Option<BillingStatus>,
}

/// Whether an organisation can pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BillingStatus {
    /// All is well.
    Current,
    /// A bill was not paid in time.
    PastDue,
    /// Bills were not paid for long.
    Delinquent,
    /// There is no way of payment.
    SourceRequired,
    /// The organisation is suspended.
    Suspended,
    /// The free trial runs: machines stop after five minutes.
    TrialActive,
    /// The free trial is over.
    TrialEnded,
    /// A word that is not known here.
    Other(String),
}

/// What there is under an app's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppLookup {
    /// Nothing: the name is free.
    Free,
    /// An app that the token may use.
    Ours(App),
    /// An app of somebody else's.
    TakenByOthers,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct App {
    /// Its name.
    pub name: String,
    /// `deployed`, `pending`, `suspended`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: String,
    /// Whose it is.
    pub organization: AppOrganisation,
}

/// Whose an app is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AppOrganisation {
    /// The organisation's short name.
    pub slug: String,
}

/// A kind of public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpKind {
    /// An IPv6 address of the app's own; free.
    V6,
    /// An IPv4 address that apps share; free.
    SharedV4,
}

/// An address of an app.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IpAssignment {
    /// The address.
    pub ip: String,
    /// Whether other apps have it too.
    #[serde(default, deserialize_with = "null_is_default")]
    pub shared: bool,
}

impl IpAssignment {
    /// Returns whether visitors can reach the app by it with that family: an IPv6 address of its
    /// own, or any public IPv4 address.
    #[must_use]
    pub fn serves(&self, kind: IpKind) -> bool {
        match kind {
            // `fdaa:` is the platform's private network.
            IpKind::V6 => self.ip.contains(':') && !self.ip.starts_with("fdaa:"),
            IpKind::SharedV4 => !self.ip.contains(':'),
        }
    }
}

/// A secret that an app has; its value never comes back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AppSecret {
    /// Its name.
    pub name: String,
    /// What tells its value from others.
    #[serde(default, deserialize_with = "null_is_default")]
    pub digest: String,
}

/// What an app's secrets are after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsChange {
    /// The secrets that were set.
    pub secrets: Vec<AppSecret>,
    /// A machine that asks for at least this version sees them.
    pub version: u64,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Volume {
    /// Its id: `vol_…`.
    pub id: String,
    /// Its name; several volumes may share one.
    pub name: String,
    /// `created`, `pending_destroy` and others.
    pub state: String,
    /// Size in gigabytes.
    pub size_gb: u32,
    /// Where it is.
    pub region: String,
    /// The machine that has it.
    #[serde(default)]
    pub attached_machine_id: Option<String>,
    /// Days that its daily snapshots are kept.
    #[serde(default)]
    pub snapshot_retention: Option<u32>,
    /// Whether it is snapshotted each day.
    #[serde(default)]
    pub auto_backup_enabled: Option<bool>,
    /// Whether the hardware under it answers: `ok`, `unknown`, `unreachable`.
    #[serde(default)]
    pub host_status: Option<String>,
    /// When it was made, as the platform writes it.
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Volume {
    /// Returns whether the volume is there to stay: a deleted one is listed for another day.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(
            self.state.as_str(),
            "scheduling_destroy" | "pending_destroy" | "destroying" | "destroyed" | "fork_cleanup"
        )
    }
}

/// A volume to make.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewVolume {
    /// Lower-case letters, digits and `_`; at most 30.
    pub name: String,
    /// The region's code.
    pub region: String,
    /// Size in gigabytes.
    pub size_gb: u32,
    /// Whether it is encrypted at rest.
    pub encrypted: bool,
    /// Days that its daily snapshots are kept, from 1 to 60.
    pub snapshot_retention: u32,
    /// The machine that will run with it: the platform then picks a host that has room for both.
    pub compute: Value,
    /// The image that this machine will run.
    pub compute_image: String,
}

/// Whether what was changed shows only after the machine was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedsRestart {
    /// It has to be restarted.
    Yes,
    /// It is there at once.
    No,
}

/// A snapshot of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// When it was taken, as the platform writes it.
    #[serde(default)]
    pub created_at: Option<String>,
    /// `created` and others.
    #[serde(default)]
    pub status: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Machine {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// `created`, `started`, `stopped` and others.
    pub state: String,
    /// Where it is.
    #[serde(default, deserialize_with = "null_is_default")]
    pub region: String,
    /// The version of its configuration, as an id.
    #[serde(default, deserialize_with = "null_is_default")]
    pub instance_id: String,
    /// The image that it runs.
    #[serde(default)]
    pub image_ref: Option<ImageRef>,
    /// Its configuration, whole.
    #[serde(default)]
    pub config: Value,
    /// What its checks say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub checks: Vec<MachineCheck>,
    /// What happened to it, the newest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub events: Vec<MachineEvent>,
    /// Whether the hardware under it answers: `ok`, `unknown`, `unreachable`.
    #[serde(default)]
    pub host_status: Option<String>,
}

impl Machine {
    /// Returns whether the machine is there to stay.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(
            self.state.as_str(),
            "destroying" | "destroyed" | "replaced" | "migrated"
        )
    }

    /// Returns the volume that its configuration mounts.
    #[must_use]
    pub fn mounted_volume(&self) -> Option<&str> {
        self.config.pointer("/mounts/0/volume")?.as_str()
    }
}

/// The image that a machine runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageRef {
    /// The registry's host.
    #[serde(default, deserialize_with = "null_is_default")]
    pub registry: String,
    /// The repository in it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub repository: String,
    /// The tag.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tag: String,
    /// The manifest's digest: `sha256:…`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub digest: String,
}

/// What one check of a machine says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MachineCheck {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// `passing`, `warning` or `critical`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: String,
    /// What it got.
    #[serde(default, deserialize_with = "null_is_default")]
    pub output: String,
}

/// Something that happened to a machine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MachineEvent {
    /// `launch`, `start`, `exit` and others.
    #[serde(rename = "type", default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// `pending`, `started`, `stopped` and others.
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: String,
    /// Who caused it: `user`, `flyd`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub source: String,
    /// Unix time in milliseconds.
    #[serde(default, deserialize_with = "null_is_default")]
    pub timestamp: u64,
    /// Details, such as an exit code.
    #[serde(default)]
    pub request: Value,
}

/// A machine to make.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewMachine {
    /// Its name: with it, a creation whose answer was lost is found again.
    pub name: String,
    /// The region's code; that of its volume.
    pub region: String,
    /// Its configuration.
    pub config: Value,
    /// It boots with at least this version of the app's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_secrets_version: Option<u64>,
}

/// A new configuration of a machine; replaces the old one whole, and boots it again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MachineUpdate {
    /// Its configuration.
    pub config: Value,
    /// It boots with at least this version of the app's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_secrets_version: Option<u64>,
}

/// The right to change a machine, for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What calls carry to show it.
    pub nonce: String,
}

/// A certificate of a custom domain, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Certificate {
    /// The domain.
    pub hostname: String,
    /// Whether visitors get it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub configured: bool,
    /// `active`, `pending_ownership`, `pending_validation`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: String,
    /// Until when the certificate authority refuses more requests.
    #[serde(default)]
    pub rate_limited_until: Option<String>,
    /// The records that the domain needs.
    #[serde(default)]
    pub dns_requirements: Option<DnsRequirements>,
    /// What the last validation found.
    #[serde(default, deserialize_with = "null_is_default")]
    pub validation_errors: Vec<ValidationError>,
}

/// The DNS records that a domain needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DnsRequirements {
    /// IPv4 addresses.
    #[serde(default, deserialize_with = "null_is_default")]
    pub a: Vec<String>,
    /// IPv6 addresses.
    #[serde(default, deserialize_with = "null_is_default")]
    pub aaaa: Vec<String>,
    /// The name that a subdomain may point to instead.
    #[serde(default)]
    pub cname: Option<String>,
    /// The record that lets a certificate be issued before the domain points here.
    #[serde(default)]
    pub acme_challenge: Option<AcmeChallenge>,
    /// The record that proves whose the domain is.
    #[serde(default)]
    pub ownership: Option<Ownership>,
}

/// A CNAME record for the certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AcmeChallenge {
    /// The record's name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// What it points to.
    #[serde(default, deserialize_with = "null_is_default")]
    pub target: String,
}

/// A TXT record that proves whose a domain is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ownership {
    /// The record's name.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// What it has to say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub app_value: String,
}

/// Why a domain could not be validated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ValidationError {
    /// What is wrong.
    #[serde(default, deserialize_with = "null_is_default")]
    pub message: String,
    /// What to do.
    #[serde(default)]
    pub remediation: Option<String>,
}

/// A region.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Its code: `arn`.
    pub code: String,
    /// Its name: `Stockholm, Sweden`.
    pub name: String,
    /// Latitude in degrees.
    pub latitude: f64,
    /// Longitude in degrees.
    pub longitude: f64,
}

/// Lists come as `null` where they are empty, and so may whatever has no value.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
