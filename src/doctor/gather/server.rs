//! Asking the server how it is, signed, whatever kind of target it is.

use std::{path::Path, time::Duration};

use onsave_protocol::wire::v2::SignedHealth;
use tokio::time::timeout;

use super::here;
use crate::{
    config::{LocalTarget, UrlTarget},
    doctor::facts::{ServerFacts, ServerSeen, SpaceFacts},
    publish::{Endpoint, Generation, LOCAL_TARGET, PublishError, Publisher},
    state_folder::SiteState,
    target, wall_clock,
};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found out about a local target.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) server: Option<ServerFacts>,
    pub(super) volume: Option<SpaceFacts>,
}

/// Looks for the server of a running `watch`; without one, at the volume that it would serve.
pub(super) async fn local(config: &LocalTarget, root: &Path, state: Option<&SiteState>) -> Local {
    if let Some((url, _)) = target::announced_server(config, root)
        && let Some(state) = state
        && let Ok(Some(secret)) = state.made_local_secret()
    {
        let endpoint = Endpoint {
            url,
            secret,
            secret_origin: state.secret_file().display().to_string(),
            name: LOCAL_TARGET.to_owned(),
        };
        let server = ask(endpoint).await;
        // What a killed process wrote points nowhere, or to somebody else.
        if !is_gone(&server.seen) {
            return Local {
                server: Some(server),
                volume: None,
            };
        }
    }
    Local {
        server: None,
        volume: Some(here::space(config.volume.clone())),
    }
}

fn is_gone(seen: &ServerSeen) -> bool {
    matches!(
        seen,
        ServerSeen::Failed(PublishError::NoAnswer { .. } | PublishError::NotOnsave { .. })
    )
}

/// Asks a server that somebody runs.
pub(super) async fn elsewhere(target: &UrlTarget) -> ServerFacts {
    ask(Endpoint {
        url: target.url.clone(),
        secret: target.secret.clone(),
        secret_origin: target.secret_source.to_string(),
        name: target.url.clone(),
    })
    .await
}

/// Asks a server how it is.
pub(super) async fn ask(endpoint: Endpoint) -> ServerFacts {
    let (name, secret_origin) = (endpoint.name.clone(), endpoint.secret_origin.clone());
    let seen = match Publisher::new(endpoint) {
        Ok(publisher) => seen(publisher).await,
        Err(error) => ServerSeen::Failed(error),
    };
    ServerFacts {
        name,
        secret_origin,
        seen,
    }
}

async fn seen(mut publisher: Publisher) -> ServerSeen {
    let before = unix_ms();
    match timeout(PATIENCE, publisher.health()).await {
        Err(_) => ServerSeen::Silent,
        Ok(Ok(health)) => ServerSeen::Healthy {
            // The server read its clock somewhere between the two times.
            ahead_ms: ahead_ms(&health, before.midpoint(unix_ms())),
            health: Box::new(health),
        },
        // A server of the first generation answers as it answers everybody.
        Ok(Err(error @ PublishError::NotOnsave { status: 200, .. })) => {
            let asked = timeout(PATIENCE, publisher.refresh()).await;
            match asked.map(|known| known.map(drop)) {
                Err(_) => ServerSeen::Silent,
                Ok(Ok(())) if publisher.generation() == Some(Generation::V1) => {
                    ServerSeen::FirstGeneration
                }
                Ok(Ok(())) => ServerSeen::Failed(error),
                Ok(Err(error)) => ServerSeen::Failed(error),
            }
        }
        Ok(Err(error)) => ServerSeen::Failed(error),
    }
}

fn ahead_ms(health: &SignedHealth, here: i64) -> i64 {
    i64::try_from(health.unix_ms)
        .unwrap_or(i64::MAX)
        .saturating_sub(here)
}

fn unix_ms() -> i64 {
    jiff::Timestamp::try_from(wall_clock::now()).map_or(0, jiff::Timestamp::as_millisecond)
}
