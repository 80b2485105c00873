//! Asking Fly.io about the app, its server how it is, and the DNS where its domains lead.
//!
//! Besides reads, the platform is only asked to look at the records of a domain again, which is how
//! it tells what a certificate waits for.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{OptionFuture, join_all},
    join, stream,
};
use tokio::{net::lookup_host, time::timeout};

use super::server;
use crate::{
    config::FlyTarget,
    doctor::facts::{
        DomainFacts, FlyFacts, Inside, Look, SecretFacts, ServerFacts, ServerSeen, Taken,
        TokenFacts,
    },
    fly::{
        Fly, FlyError,
        resources::{AppLookup, Certificate, Snapshot, Volume},
    },
    provision::{self, Record},
    publish::{Endpoint, PublishError},
    state_folder::{SiteState, StateError},
    wall_clock,
};
use onsave_protocol::Secret;

/// How long a look-up of a name may take.
const DNS_PATIENCE: Duration = Duration::from_secs(5);

/// Domains that are asked about at once.
const DOMAINS_AT_ONCE: usize = 8;

/// Volumes whose snapshots are looked at; a site has one.
const MOST_VOLUMES: usize = 10;

/// What this machine knows of the app.
pub(super) struct Memory {
    app: String,
    record: Option<Record>,
    url: String,
    known: Result<Option<Known>, StateError>,
    next: Result<Option<Secret>, StateError>,
    next_origin: String,
}

/// The secret that the server is known to take.
struct Known {
    secret: Secret,
    origin: String,
}

/// What was found out.
pub(super) struct Found {
    pub(super) app: FlyFacts,
    pub(super) server: Option<ServerFacts>,
}

impl Memory {
    /// Returns where visitors see the site.
    pub(super) fn public_url(&self, target: &FlyTarget) -> String {
        let domain = target
            .domains
            .iter()
            .find(|domain| !domain.starts_with("*."));
        domain.map_or_else(|| self.url.clone(), |domain| format!("https://{domain}"))
    }
}

/// Returns what is remembered of the app that the configuration calls `asked`.
pub(super) fn remember(target: &FlyTarget, asked: &str, state: &SiteState) -> Memory {
    let record = Record::load(&state.fly_record());
    let record = record.filter(|record| record.app == asked || record.asked_app == asked);
    let app = record
        .as_ref()
        .map_or_else(|| asked.to_owned(), |record| record.app.clone());
    let known = match &target.secret {
        Some(given) => Ok(Some(Known {
            secret: given.secret.clone(),
            origin: given.source.to_string(),
        })),
        None => state.fly_secret().map(|secret| {
            secret.map(|secret| Known {
                secret,
                origin: state.fly_secret_file().display().to_string(),
            })
        }),
    };
    // A given secret is not made here, and so not replaced here.
    let next = match &target.secret {
        Some(_) => Ok(None),
        None => state.next_fly_secret(),
    };
    Memory {
        url: provision::url_of(target, &app),
        app,
        record,
        known,
        next,
        next_origin: format!("{}.next", state.fly_secret_file().display()),
    }
}

/// Asks everybody who knows something of the app.
pub(super) async fn look(target: &FlyTarget, memory: Memory) -> Found {
    let now = jiff::Timestamp::try_from(wall_clock::now()).unwrap_or_default();
    let connected = match provision::reader(target).await {
        Ok(Some(connected)) => Ok(connected),
        Ok(None) => Err(TokenFacts::Missing),
        Err(error) => Err(TokenFacts::Unusable(error)),
    };
    let fly = connected.as_ref().ok().map(|(fly, _)| fly);
    let platform = OptionFuture::from(fly.map(|fly| look_at_platform(fly, &memory.app)));
    let (look, (server, taken)) = join!(platform, ask_server(&memory));
    let listed = look.as_ref().and_then(|look| look.inside.as_ref());
    let listed = listed.and_then(|inside| inside.certificates.as_ref().ok());
    let domains = look_at_domains(fly, &memory.app, (target, listed)).await;
    let secret = match (memory.known, memory.next) {
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(known), Ok(next)) => Ok(SecretFacts {
            known: known.map(|known| known.origin),
            given: target.secret.is_some(),
            begun: next.is_some(),
            taken,
        }),
    };
    Found {
        app: FlyFacts {
            target: Box::new(target.clone()),
            app: memory.app,
            record: memory.record,
            now,
            token: match connected {
                Ok((fly, origin)) => TokenFacts::Given {
                    limits: fly.token_limits(),
                    origin,
                },
                Err(without) => without,
            },
            look,
            secret,
            domains,
        },
        server,
    }
}

/// Asks the server with the secret that it is known to take, and then with the one that it was about
/// to take.
async fn ask_server(memory: &Memory) -> (Option<ServerFacts>, Taken) {
    let endpoint = |secret: &Secret, origin: &str| Endpoint {
        url: memory.url.clone(),
        secret: secret.clone(),
        secret_origin: origin.to_owned(),
        name: memory.url.clone(),
    };
    let known = memory.known.as_ref().ok().and_then(Option::as_ref);
    let next = memory.next.as_ref().ok().and_then(Option::as_ref);
    let mut last = (None, Taken::Unknown);
    if let Some(known) = known {
        let server = server::ask(endpoint(&known.secret, &known.origin)).await;
        last = (Some(server), Taken::Known);
    }
    let is_refused = |server: &Option<ServerFacts>| server.as_ref().is_none_or(refuses_secret);
    if let Some(next) = next
        && is_refused(&last.0)
    {
        let server = server::ask(endpoint(next, &memory.next_origin)).await;
        last = (Some(server), Taken::Next);
    }
    let taken = match &last.0 {
        Some(server) if refuses_secret(server) => Taken::Neither,
        Some(server) if takes_secret(server) => last.1,
        Some(_) | None => Taken::Unknown,
    };
    (last.0, taken)
}

const fn refuses_secret(server: &ServerFacts) -> bool {
    matches!(
        server.seen,
        ServerSeen::Failed(PublishError::WrongSecret { .. })
    )
}

const fn takes_secret(server: &ServerFacts) -> bool {
    matches!(
        server.seen,
        ServerSeen::Healthy { .. } | ServerSeen::FirstGeneration
    )
}

async fn look_at_platform(fly: &Fly, app: &str) -> Look {
    let inside = async {
        let app = fly.app(app).await;
        let inside = match &app {
            Ok(AppLookup::Ours(found)) => Some(look_inside(fly, &found.name).await),
            _ => None,
        };
        (app, inside)
    };
    let (organisations, (app, inside)) = join!(fly.organisations(), inside);
    Look {
        organisations,
        app,
        inside,
    }
}

async fn look_inside(fly: &Fly, app: &str) -> Inside {
    let volumes = async {
        let volumes = fly.volumes(app).await;
        let alive: Vec<&Volume> = volumes.iter().flatten().filter(|v| v.is_alive()).collect();
        let snapshots = alive.into_iter().take(MOST_VOLUMES);
        let snapshots = snapshots.map(|volume| snapshots_of(fly, app, &volume.id));
        (join_all(snapshots).await, volumes)
    };
    let (ips, secrets, (snapshots, volumes), machines, certificates) = join!(
        fly.ips(app),
        fly.secrets(app),
        volumes,
        fly.machines(app),
        fly.certificates(app),
    );
    Inside {
        ips,
        secrets,
        volumes,
        snapshots,
        machines,
        certificates,
    }
}

async fn snapshots_of(
    fly: &Fly,
    app: &str,
    volume: &str,
) -> (String, Result<Vec<Snapshot>, FlyError>) {
    (volume.to_owned(), fly.snapshots(app, volume).await)
}

/// Looks at the domains that the configuration names and at those that the app has besides.
async fn look_at_domains(
    fly: Option<&Fly>,
    app: &str,
    (target, listed): (&FlyTarget, Option<&Vec<Certificate>>),
) -> Vec<DomainFacts> {
    let has = listed.into_iter().flatten().map(|c| c.hostname.clone());
    let has: BTreeSet<String> = has.collect();
    let mut names = target.domains.clone();
    names.extend(
        has.iter()
            .filter(|name| !target.domains.contains(name))
            .cloned(),
    );
    let looks = names.into_iter().map(|name| {
        // Nobody can be asked where there is no app, or where it did not tell what it has.
        let fly = listed.and(fly);
        let is_listed = has.contains(&name);
        async move {
            let certificate = async {
                match fly {
                    Some(fly) if is_listed => Some(certificate(fly, app, &name).await),
                    Some(_) => Some(Ok(None)),
                    None => None,
                }
            };
            let (certificate, resolved) = join!(certificate, resolve(&name));
            DomainFacts {
                name,
                certificate,
                resolved,
            }
        }
    });
    stream::iter(looks)
        .buffered(DOMAINS_AT_ONCE)
        .collect()
        .await
}

/// Returns a certificate with what it waits for.
async fn certificate(fly: &Fly, app: &str, host: &str) -> Result<Option<Certificate>, FlyError> {
    match fly.check_certificate(app, host).await {
        Ok(certificate) => Ok(Some(certificate)),
        // A token that may only read may not let the records be looked at again.
        Err(FlyError::Refused(_)) => fly.certificate(app, host).await,
        Err(error) => Err(error),
    }
}

/// Returns the addresses that a name has now; nothing for a wildcard.
async fn resolve(name: &str) -> Option<Result<Vec<IpAddr>, String>> {
    if name.starts_with("*.") {
        return None;
    }
    Some(
        match timeout(DNS_PATIENCE, lookup_host((name, 443))).await {
            Ok(Ok(addresses)) => {
                let addresses: BTreeSet<IpAddr> = addresses.map(|address| address.ip()).collect();
                Ok(addresses.into_iter().collect())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        },
    )
}
