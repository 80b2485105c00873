//! What is there: everything that the plan looks at, read from the platform and asked of the server.
//!
//! Only reads. All that does not depend on one another is asked at once, so that looking takes
//! about as long as the slowest answer.

use std::time::Duration;

use onsave_protocol::{Secret, wire::v2::SignedHealth};

use super::{
    ProvisionError,
    platform::{Inventory, Platform},
};
use crate::{
    fly::resources::{App, Certificate, IpAssignment, Machine, Volume},
    publish::{Endpoint, PublishError, Publisher},
};

/// The name of the server's secret among an app's secrets.
pub const SECRET: &str = "SYNC_SECRET";

/// The name of the secret that the server takes as well, for a while after a change.
pub const PREVIOUS_SECRET: &str = "SYNC_SECRET_PREVIOUS";

/// How long the server may take to say who it is before it counts as not answering: looking must
/// not take long, and waiting is a step of its own.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);

/// What is there.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers one question, named where the plan asks it"
)]
pub struct Actual {
    /// The app.
    pub app: Option<App>,
    /// Its public addresses.
    pub ips: Vec<IpAssignment>,
    /// Whether it has a secret for the server.
    pub has_secret: bool,
    /// Whether it has a secret that the server takes as well.
    pub has_previous_secret: bool,
    /// Whether the secret's digest is the one that is remembered here.
    pub secret_remembered: bool,
    /// Whether a change of the secret was begun on this machine and not finished.
    pub secret_begun: bool,
    /// What the platform calls the secret's value.
    pub secret_digest: Option<String>,
    /// Its volumes, also dying ones.
    pub volumes: Vec<Volume>,
    /// Its machines, also dead ones.
    pub machines: Vec<Machine>,
    /// The certificates of its domains.
    pub certificates: Vec<Certificate>,
    /// What the server says.
    pub server: ServerSeen,
}

/// What the server says when it is asked for its signed health.
#[derive(Debug, Default)]
pub enum ServerSeen {
    /// Nobody asked: there is no secret to sign with, or no machine that could answer.
    #[default]
    NotAsked,
    /// There is no answer, or none of a server of ours.
    NoAnswer,
    /// It answers, and does not take the secret.
    RefusesSecret,
    /// It takes the secret.
    Answers(Box<SignedHealth>),
}

/// The server that is asked, and what it is asked with.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Where it is reached.
    pub url: &'a str,
    /// The secret that it is known to take.
    pub secret: Option<&'a Secret>,
    /// The digest that the platform had for it when it was set.
    pub digest: Option<&'a str>,
    /// Whether a change of the secret was begun and not finished.
    pub secret_begun: bool,
}

/// Returns what there is of an app that is there.
///
/// # Errors
///
/// When the platform does not answer, or refuses; a server that does not answer is none.
pub async fn look(
    platform: &Platform,
    app: App,
    question: &Question<'_>,
) -> Result<Actual, ProvisionError> {
    let Inventory {
        ips,
        secrets,
        volumes,
        machines,
        certificates,
    } = platform.inventory(&app.name).await?;
    let has_previous_secret = secrets.iter().any(|secret| secret.name == PREVIOUS_SECRET);
    let secret_digest = secrets
        .into_iter()
        .find(|secret| secret.name == SECRET)
        .map(|secret| secret.digest);
    let may_answer = machines.iter().any(Machine::is_alive);
    let server = match question.secret {
        Some(secret) if may_answer => ask(question.url, secret).await,
        _ => ServerSeen::NotAsked,
    };
    let remembered = question.digest.is_some() && question.digest == secret_digest.as_deref();
    Ok(Actual {
        app: Some(app),
        ips,
        has_secret: secret_digest.is_some(),
        has_previous_secret,
        secret_remembered: remembered && question.secret.is_some(),
        secret_begun: question.secret_begun,
        secret_digest,
        volumes,
        machines,
        certificates,
        server,
    })
}

/// Asks the server at `url` for its signed health.
pub async fn ask(url: &str, secret: &Secret) -> ServerSeen {
    let asked = tokio::time::timeout(SERVER_PATIENCE, health(url, secret)).await;
    match asked {
        Ok(Ok(health)) => ServerSeen::Answers(Box::new(health)),
        Ok(Err(PublishError::WrongSecret { .. })) => ServerSeen::RefusesSecret,
        Ok(Err(error)) => {
            tracing::debug!(url, %error, "the server does not say how it is");
            ServerSeen::NoAnswer
        }
        Err(_) => ServerSeen::NoAnswer,
    }
}

/// Returns the signed health of the server at `url`.
///
/// # Errors
///
/// [`PublishError`].
pub async fn health(url: &str, secret: &Secret) -> Result<SignedHealth, PublishError> {
    let endpoint = Endpoint {
        url: url.to_owned(),
        secret: secret.clone(),
        secret_origin: "the state folder".to_owned(),
        name: url.to_owned(),
    };
    Publisher::new(endpoint)?.health().await
}
