//! Everything that the platform knows, as plain data: organisations, tokens, apps and what they own.
//!
//! The calls in `apps`, `addresses`, `secrets`, `volumes`, `machines`, `leases` and `certificates` read and change it; they
//! are given the time, start nothing and wait for nothing. What has to happen besides (a machine that
//! has to start) is returned as [`Effect`]s.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    addresses::Address, apps::App, certificates::DnsRecords, failures::Fate, image::Reference,
    refusal::Refusal, route::Operation,
};

/// How long the platform takes; each is waited for by the simulator, and counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delays {
    /// From one state of a machine to the next.
    pub(crate) machine_state: Duration,
    /// Until a new volume is `created`.
    pub(crate) volume: Duration,
    /// Until an app that was made is found.
    pub(crate) app_visible: Duration,
    /// Until machines see secrets that were set.
    pub(crate) secrets_visible: Duration,
    /// Until machines see an image that was pushed.
    pub(crate) image_visible: Duration,
    /// Between two checks of a machine that is not well.
    pub(crate) check: Duration,
}

impl Default for Delays {
    /// Short ones between states; what was written is seen at once.
    fn default() -> Self {
        let short = Duration::from_millis(50);
        Self {
            machine_state: short,
            volume: short,
            app_visible: Duration::ZERO,
            secrets_visible: Duration::ZERO,
            image_visible: Duration::ZERO,
            check: short,
        }
    }
}

impl Delays {
    /// As by default, but what was written is seen a while later, as it happens on the platform.
    pub(crate) fn eventual() -> Self {
        let while_later = Duration::from_millis(200);
        Self {
            app_visible: while_later,
            secrets_visible: while_later,
            image_visible: while_later,
            ..Self::default()
        }
    }
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything in one organisation.
    Organization(String),
    /// Looking at one organisation.
    ReadOnly(String),
    /// One app that exists.
    App(String),
    /// Everything of a user, who is in all organisations; not a macaroon.
    User,
}

/// What a call is about, besides the state.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) app: &'a str,
    pub(crate) id: &'a str,
    pub(crate) key: &'a str,
    pub(crate) query: &'a BTreeMap<String, String>,
    pub(crate) body: &'a Value,
    /// The lease that the caller says it holds.
    pub(crate) nonce: Option<&'a str>,
    pub(crate) scope: &'a Scope,
    /// What shall become of the machine that the call makes.
    pub(crate) fate: Fate,
    pub(crate) now: Timestamp,
}

impl Call<'_> {
    /// Returns a text of the body; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// Returns a flag of the query.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|value| value == "true")
    }
}

/// What has to happen because of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The machine's current version has to run, and nothing of an earlier one.
    Launch { app: String, machine: String },
    /// The machine's program has to end; the signal's name and the time it is given.
    Stop {
        app: String,
        machine: String,
        signal: Option<String>,
        timeout: Option<Duration>,
    },
    /// The machine has to end and to be forgotten.
    Destroy { app: String, machine: String },
}

/// A good answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Option<Value>,
    pub(crate) effects: Vec<Effect>,
}

impl Reply {
    /// 200 with a body.
    pub(crate) fn ok(body: Value) -> Self {
        Self::with_status(200, body)
    }

    /// Another good status with a body.
    pub(crate) fn with_status(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
            effects: Vec::new(),
        }
    }

    /// A good status alone.
    pub(crate) const fn empty(status: u16) -> Self {
        Self {
            status,
            body: None,
            effects: Vec::new(),
        }
    }

    /// The same answer, with what has to happen.
    pub(crate) fn and(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

/// What a call comes to.
pub(crate) type Outcome = Result<Reply, Refusal>;

/// An organisation.
#[derive(Debug, Clone)]
pub(crate) struct Organization {
    pub(crate) slug: String,
    pub(crate) billing_status: String,
}

/// The whole platform.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) organizations: Vec<Organization>,
    pub(crate) tokens: BTreeMap<String, Scope>,
    pub(crate) apps: BTreeMap<String, App>,
    /// Names of apps that belong to others.
    pub(crate) taken_names: BTreeSet<String>,
    pub(crate) full_regions: BTreeSet<String>,
    /// (repository, tag or digest) → from when on machines see it.
    pub(crate) images: BTreeMap<(String, String), Timestamp>,
    /// Images of others, by their full names → where the registry behind the front has them.
    pub(crate) public_images: BTreeMap<String, Reference>,
    /// What the names of the world resolve to.
    pub(crate) dns: BTreeMap<String, DnsRecords>,
    /// Hosts under which images of this platform are named.
    pub(crate) registry_hosts: Vec<String>,
    pub(crate) delays: Delays,
    /// Sum of all delays so far.
    pub(crate) delayed: Duration,
    made: u64,
}

impl Platform {
    /// A platform on which nothing was made yet.
    pub(crate) fn new(organizations: Vec<Organization>, delays: Delays) -> Self {
        Self {
            organizations,
            tokens: BTreeMap::new(),
            apps: BTreeMap::new(),
            taken_names: BTreeSet::new(),
            full_regions: BTreeSet::new(),
            images: BTreeMap::new(),
            public_images: BTreeMap::new(),
            dns: BTreeMap::new(),
            registry_hosts: vec!["registry.fly.io".to_owned()],
            delays,
            delayed: Duration::ZERO,
            made: 0,
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    ///
    /// The refusal that the platform would give.
    pub(crate) fn answer(&mut self, operation: Operation, call: &Call<'_>) -> Outcome {
        use Operation as O;
        self.advance(call.now);
        match operation {
            O::TokenCurrent => Ok(self.current_token(call)),
            O::Regions => Ok(Reply::ok(super::regions::listed())),
            O::Placements => self.placements(call),
            O::AppList => self.list_apps(call),
            O::AppCreate => self.create_app(call),
            O::OrgVolumes => self.list_volumes_of_organization(call),
            O::AppGet | O::AppDelete | O::DeployToken => self.answer_app(operation, call),
            O::IpList | O::IpAssign | O::IpRelease => self.answer_addresses(operation, call),
            O::SecretsList | O::SecretsSet | O::SecretGet | O::SecretSet | O::SecretUnset => {
                self.answer_secrets(operation, call)
            }
            O::VolumeList
            | O::VolumeCreate
            | O::VolumeGet
            | O::VolumeUpdate
            | O::VolumeExtend
            | O::VolumeDelete
            | O::SnapshotList
            | O::SnapshotCreate => self.answer_volumes(operation, call),
            O::CertificateList
            | O::CertificateCreate
            | O::CertificateGet
            | O::CertificateCheck
            | O::CertificateDelete => self.answer_certificates(operation, call),
            O::LeaseTake | O::LeaseGet | O::LeaseRelease => self.answer_leases(operation, call),
            _ => self.answer_machines(operation, call),
        }
    }

    /// Makes what time alone makes: volumes that were being created are.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        for app in self.apps.values_mut() {
            for volume in app.volumes.values_mut() {
                volume.advance(now);
            }
        }
    }

    /// Returns a number that was never returned before.
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Returns when something that is made now is there, and counts the delay.
    pub(crate) fn after(&mut self, now: Timestamp, delay: Duration) -> Timestamp {
        self.delayed += delay;
        now + delay
    }

    /// Notes that an image was pushed, under a tag or digest.
    pub(crate) fn image_pushed(&mut self, repository: &str, reference: &str, now: Timestamp) {
        let visible = now + self.delays.image_visible;
        let key = (repository.to_owned(), reference.to_owned());
        self.images.insert(key, visible);
    }

    /// Returns the only app, when there is one.
    pub(crate) fn only_app(&self) -> Option<&App> {
        let mut apps = self.apps.values();
        apps.next().filter(|_| apps.next().is_none())
    }

    /// Returns the app that a host name means: its own name, or a domain of its. What is no name of the
    /// world means the only app.
    pub(crate) fn app_of_host(&self, host: &str) -> Option<&App> {
        if let Some(name) = host.strip_suffix(".fly.dev") {
            return self.apps.get(name);
        }
        self.apps
            .values()
            .find(|app| app.certificates.contains_key(host))
            .or_else(|| self.only_app().filter(|_| is_no_public_name(host)))
    }

    /// Returns the addresses of an app by kind, for whoever has to say what DNS has to hold.
    pub(crate) fn addresses_of(&self, app: &str) -> &[Address] {
        self.apps.get(app).map_or(&[], |app| &app.addresses)
    }
}

fn is_no_public_name(host: &str) -> bool {
    !host.contains('.')
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
