//! A simulator of the platform that sites are published on: the Machines API with its states and
//! failures, the registry, and the edge; and machines that really run the image that was pushed.
//!
//! | module | what |
//! |---|---|
//! | [`state`] | all that the platform knows; `apps`, `addresses`, `secrets`, `volumes`, `machines`, `machine_calls`, `waits`, `leases`, `certificates`, `regions`: the calls |
//! | [`route`], [`refusal`], [`failures`], [`limits`], [`credentials`] | which call, how it is refused, and when |
//! | [`api`], [`organizations`], [`registry`], [`edge`] | what listens |
//! | [`runner`], [`image`], [`boot`] | a machine's life: its image, its program, its checks |
//! | [`memory_registry`], [`one_layer`], [`client`] | a registry, when no other is given; an image to push; a client for tests |
//! | [`description`], [`prism`] | the platform's published description, and a proxy that holds both sides to it |
//!
//! Written from what is publicly known of the platform. Where that is silent, a comment says so. It
//! needs root for the namespaces of its machines.

mod addresses;
mod api;
mod apps;
mod boot;
mod certificates;
mod client;
mod credentials;
mod description;
mod edge;
mod failures;
mod forward;
mod image;
mod leases;
mod limits;
mod listener;
mod machine_calls;
mod machine_config;
mod machines;
mod memory_registry;
mod one_layer;
mod organizations;
mod prism;
mod refusal;
mod regions;
mod registry;
mod route;
mod runner;
mod secrets;
mod simulation;
mod state;
mod volumes;
mod waits;

#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

use self::{
    api::MachinesApi,
    edge::Edge,
    memory_registry::MemoryRegistry,
    organizations::OlderApi,
    registry::RegistryFront,
    simulation::{Simulation, lock},
    state::{Organization, Platform, Scope},
};
pub(crate) use self::{
    certificates::DnsRecords, client::ApiClient, failures::Failure, one_layer::OneLayerImage,
    prism::Prism, route::Operation, simulation::Recorded, state::Delays,
};

/// A token for everything in the first organisation, as `fly tokens create org` makes it, without its prefix.
pub(crate) const ORGANIZATION_TOKEN: &str = "fm2_lJPEorganizationtoken0123456789";
/// A token that may look at the first organisation.
pub(crate) const READ_ONLY_TOKEN: &str = "fm2_lJPEreadonlytoken0123456789";
/// A token of a user, who is in all organisations; no macaroon.
pub(crate) const USER_TOKEN: &str = "fo1_usertoken0123456789";

/// What a simulator is like.
#[derive(Debug)]
pub(crate) struct Options {
    /// The slugs of the user's organisations; at least one.
    pub(crate) organizations: Vec<&'static str>,
    pub(crate) delays: Delays,
    /// Whether the platform's limits on requests count.
    pub(crate) has_limits: bool,
    /// A registry to stand behind the front; nothing for one in memory.
    pub(crate) registry: Option<RegistryBehind>,
}

/// A registry that holds the content of images, and is asked by the front and by machines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegistryBehind {
    pub(crate) address: SocketAddr,
    /// The password of its user `x`; nothing where it asks for none.
    pub(crate) token: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            organizations: vec!["personal"],
            delays: Delays::default(),
            has_limits: false,
            registry: None,
        }
    }
}

/// A running simulator; everything that it started ends when it is dropped.
pub(crate) struct FlySimulator {
    simulation: Arc<Simulation>,
    api: SocketAddr,
    older_api: SocketAddr,
    registry: SocketAddr,
    edge: SocketAddr,
    runtime: Option<Runtime>,
    folder: TempDir,
}

impl FlySimulator {
    /// Starts a simulator on free ports.
    pub(crate) fn start(options: &Options) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("onsave-fly-")
            .tempdir()
            .expect("a temporary folder can be made");
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let behind = options.registry.unwrap_or_else(|| RegistryBehind {
            address: listener::listen(&runtime, MemoryRegistry::default()),
            token: None,
        });
        let organizations: Vec<Organization> = options
            .organizations
            .iter()
            .map(|slug| Organization {
                slug: (*slug).to_owned(),
                billing_status: "CURRENT".to_owned(),
            })
            .collect();
        let first = organizations[0].slug.clone();
        let mut platform = Platform::new(organizations, options.delays);
        for (token, scope) in [
            (ORGANIZATION_TOKEN, Scope::Organization(first.clone())),
            (READ_ONLY_TOKEN, Scope::ReadOnly(first)),
            (USER_TOKEN, Scope::User),
        ] {
            platform.tokens.insert(token.to_owned(), scope);
        }
        let simulation = Arc::new(Simulation::new(
            platform,
            (behind, options.has_limits),
            folder.path().to_owned(),
        ));
        let shared = || Arc::clone(&simulation);
        let registry = listener::listen(&runtime, RegistryFront::new(shared()));
        simulation.with(|platform, _| platform.registry_hosts.push(registry.to_string()));
        Self {
            api: listener::listen(&runtime, MachinesApi::new(shared())),
            older_api: listener::listen(&runtime, OlderApi::new(shared())),
            registry,
            edge: listener::listen(&runtime, Edge::new(shared())),
            simulation,
            runtime: Some(runtime),
            folder,
        }
    }

    /// Returns what stands for `https://api.machines.dev`; its paths start with `/v1/`.
    pub(crate) fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Returns what stands for `https://api.fly.io`: `/api/v1/organizations` and `/graphql`.
    pub(crate) fn older_api_url(&self) -> String {
        format!("http://{}", self.older_api)
    }

    /// Returns what stands for `registry.fly.io`: a host with a port, which speaks plain HTTP.
    pub(crate) fn registry_host(&self) -> String {
        self.registry.to_string()
    }

    /// Returns what stands for `https://<app>.fly.dev`: the app is found by the host name, or is the only one.
    pub(crate) fn edge_url(&self) -> String {
        format!("http://{}", self.edge)
    }

    /// Returns the address of the edge.
    pub(crate) const fn edge_address(&self) -> SocketAddr {
        self.edge
    }

    /// Lets the next call of an operation fail; several wait in line.
    pub(crate) fn fail_next(&self, operation: Operation, failure: Failure) {
        lock(&self.simulation.failures).add(operation, failure);
    }

    /// Returns the failures that no call has met.
    pub(crate) fn unmet_failures(&self) -> Vec<(Operation, Failure)> {
        lock(&self.simulation.failures).unmet()
    }

    /// Returns all requests to the APIs and the registry so far, in order.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.simulation.requests()
    }

    /// Returns the requests that were no GET or HEAD.
    pub(crate) fn writes(&self) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(Recorded::is_write);
        requests
    }

    /// Forgets the requests so far, so that those of what follows can be looked at alone.
    pub(crate) fn forget_requests(&self) {
        self.simulation.forget_requests();
    }

    /// Returns a client with the organisation's token, for what a test wants to know or to disturb. What it
    /// asks is noted as all requests are.
    pub(crate) fn client(&self) -> ApiClient {
        ApiClient::new(&self.api_url(), ORGANIZATION_TOKEN)
    }

    /// Returns how long the platform has taken so far: the sum of all delays, and the time for pulling,
    /// unpacking and starting images. Delays that run at the same time count each.
    pub(crate) fn simulated_delay(&self) -> Duration {
        self.simulation.look(|platform, _| platform.delayed)
    }

    /// Gives an app's name to somebody else.
    pub(crate) fn take_name(&self, name: &str) {
        self.simulation
            .with(|platform, _| platform.taken_names.insert(name.to_owned()));
    }

    /// Leaves no room in a region for volumes and machines.
    pub(crate) fn fill_region(&self, code: &str) {
        self.simulation
            .with(|platform, _| platform.full_regions.insert(code.to_owned()));
    }

    /// Makes room in a region again.
    pub(crate) fn free_region(&self, code: &str) {
        self.simulation
            .with(|platform, _| platform.full_regions.remove(code));
    }

    /// Lets a volume say that so many of its bytes are used. Nothing is written.
    ///
    /// # Panics
    ///
    /// When there is no such volume.
    pub(crate) fn set_volume_use(&self, (app, volume): (&str, &str), bytes: u64) {
        self.simulation.with(|platform, _| {
            let app = platform.apps.get_mut(app).expect("the app is there");
            let volume = app.volumes.get_mut(volume).expect("the volume is there");
            volume.bytes_used = bytes;
        });
    }

    /// Lets a name of the world resolve to something.
    pub(crate) fn set_dns(&self, hostname: &str, records: DnsRecords) {
        self.simulation
            .with(|platform, _| platform.dns.insert(hostname.to_owned(), records));
    }

    /// Changes the billing status of every organisation, such as `TRIAL_ACTIVE`.
    pub(crate) fn set_billing_status(&self, status: &str) {
        self.simulation.with(|platform, _| {
            for organization in &mut platform.organizations {
                status.clone_into(&mut organization.billing_status);
            }
        });
    }

    /// Makes a token worthless.
    pub(crate) fn revoke(&self, token: &str) {
        self.simulation
            .with(|platform, _| platform.tokens.remove(token));
    }

    /// Lets somebody else hold the lease of a machine for so long.
    ///
    /// # Panics
    ///
    /// When there is no such machine.
    pub(crate) fn hold_lease(&self, (app, machine): (&str, &str), seconds: u64) {
        self.simulation.with(|platform, now| {
            let app = platform.apps.get_mut(app).expect("the app is there");
            let machine = app.machines.get_mut(machine).expect("the machine is there");
            let nonce = "held-by-somebody-else".to_owned();
            machine.give_lease("someone@example.com", nonce, (now, seconds));
        });
    }

    /// Makes an image public under a name that is not of this platform, such as `ghcr.io/me/server:1`.
    pub(crate) fn offer_public_image(&self, name: &str, image: &OneLayerImage) {
        let answer = image.push_behind(self.simulation.registry, ("public", "offered"));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let here = image::Reference {
            host: String::new(),
            repository: "public".to_owned(),
            tag_or_digest: image.digest(),
        };
        self.simulation
            .with(|platform, _| platform.public_images.insert(name.to_owned(), here));
    }

    /// Returns all that the programs of a machine wrote.
    pub(crate) fn machine_log(&self, machine: &str) -> String {
        runner::read_log(&self.simulation.log_file(machine))
    }

    /// Returns the folder that is a volume's content.
    pub(crate) fn volume_folder(&self, volume: &str) -> PathBuf {
        self.simulation.volume_folder(volume)
    }

    /// Connects to a port of a running machine over the private network, as the scraping of metrics does.
    ///
    /// # Errors
    ///
    /// When the machine does not run, or nothing listens there.
    pub(crate) fn connect(&self, machine: &str, port: u16) -> io::Result<TcpStream> {
        let dialer = lock(&self.simulation.dialers).get(machine).cloned();
        let dialer = dialer.ok_or_else(|| io::Error::other("the machine does not run"))?;
        dialer.connect(port)
    }
}

impl fmt::Debug for FlySimulator {
    /// Shows where it listens; what it was told may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlySimulator")
            .field("api", &self.api)
            .field("edge", &self.edge)
            .finish_non_exhaustive()
    }
}

impl Drop for FlySimulator {
    fn drop(&mut self) {
        self.simulation.end();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
        if thread::panicking() {
            show_logs(self.folder.path());
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a failing test shows what its machines wrote"
)]
fn show_logs(folder: &std::path::Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            eprintln!("--- {} ---\n{}", path.display(), runner::read_log(&path));
        }
    }
}
