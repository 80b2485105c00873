//! The target on Fly.io: made where it is not there, and then a server like any other.
//!
//! What was made is remembered, so that a publish asks the platform nothing: it is asked when there
//! is no memory of an app, when the configuration changed, when the server refuses the secret, and
//! when the server is older and may be replaced. Everything that is done there is done by
//! [`crate::provision`].

use std::io::{self, IsTerminal as _};

use onsave_protocol::{Secret, wire::v2::SignedHealth};

use super::TargetError;
use crate::{
    config::{Config, FlyDriver, TargetConfig},
    exit_code::ExitCode,
    provision::{
        self, Goal, Outcome, ProvisionError, Provisioner, Record, ServerWish, Site, Teller,
        actual::{self, ServerSeen},
        choice,
    },
    publish::Endpoint,
    state_folder::SiteState,
    surroundings::Stream,
};

/// Opens the app of the site, and makes it first where it is not there.
pub(super) async fn open(site: Site<'_>) -> Result<(Endpoint, Mender), TargetError> {
    let record = match ready(&site).await? {
        Some(record) => record,
        None => converge(&site, Goal::AS_CONFIGURED).await?,
    };
    let secret = provision::known_secret(&site)?.ok_or(ProvisionError::NoSecret)?;
    let mender = Mender {
        config: site.config.clone(),
        state: site.state.clone(),
        used: secret.clone(),
        asked_platform: false,
    };
    Ok((endpoint(&site, record.url, secret), mender))
}

/// Returns the app that is remembered, as it is; the platform is not asked.
pub(super) fn remembered(site: Site<'_>) -> Result<Endpoint, TargetError> {
    let app = &site.config.app;
    let record = Record::load(&site.state.fly_record());
    let record = record.filter(|record| record.app == *app || record.asked_app == *app);
    let (Some(record), Some(secret)) = (record, provision::known_secret(&site)?) else {
        return Err(TargetError::NoApp { app: app.clone() });
    };
    Ok(endpoint(&site, record.url, secret))
}

fn endpoint(site: &Site<'_>, url: String, secret: Secret) -> Endpoint {
    let secret_origin = match &site.target.secret {
        Some(given) => given.source.to_string(),
        None => site.state.fly_secret_file().display().to_string(),
    };
    Endpoint {
        name: url.clone(),
        url,
        secret,
        secret_origin,
    }
}

/// Returns what is remembered of the app, when it can be published to as it is.
async fn ready(site: &Site<'_>) -> Result<Option<Record>, TargetError> {
    let Some(record) = Record::load(&site.state.fly_record()) else {
        return Ok(None);
    };
    let Some(secret) = provision::known_secret(site)? else {
        return Ok(None);
    };
    let app = &site.config.app;
    if record.app != *app && record.asked_app != *app {
        return Ok(None);
    }
    let reaches = site.target.reaches_platform();
    if record.wanted != Some(provision::wanted_digest(site.target)) {
        if reaches {
            return Ok(None);
        }
        tracing::warn!(
            "the app is not as configured, and there is {} to change it with; publishing to it as it is",
            match site.target.driver {
                FlyDriver::Api => "no token",
                FlyDriver::Flyctl => "no flyctl",
            }
        );
    }
    match actual::ask(&record.url, &secret).await {
        ServerSeen::RefusesSecret if reaches => return Ok(None),
        ServerSeen::Answers(health) if is_outdated(&health) => {
            if reaches && site.target.auto_rebuild {
                // The older server takes publishes as before.
                if let Err(error) = converge(site, REBUILD).await {
                    tell_rebuild_failed(&error);
                }
            } else {
                tell_outdated(&health);
            }
        }
        // It may be gone, or stopped. What passes by itself is no reason not to begin.
        ServerSeen::NoAnswer if reaches => match converge(site, Goal::AS_CONFIGURED).await {
            Ok(record) => return Ok(Some(record)),
            Err(TargetError::Provision(error)) if error.exit_code() == ExitCode::Unreachable => {
                tell_error(&error, "the app does not answer");
            }
            Err(error) => return Err(error),
        },
        // The publish that follows meets what is wrong, and tells it.
        _ => {}
    }
    Ok(Some(record))
}

fn tell_rebuild_failed(error: &TargetError) {
    let hint = error.hint().unwrap_or_default();
    let error = crate::error_report::with_causes(error);
    tracing::error!(%error, hint, "the older server could not be replaced; publishing to it");
}

/// The goal of a newer client.
const REBUILD: Goal = Goal {
    server: ServerWish::Rebuild,
    ..Goal::AS_CONFIGURED
};

fn is_outdated(health: &SignedHealth) -> bool {
    provision::is_older(&health.server_version, env!("CARGO_PKG_VERSION"))
}

fn tell_outdated(health: &SignedHealth) {
    tracing::warn!(
        server = health.server_version,
        client = env!("CARGO_PKG_VERSION"),
        "the server is older than this onsave; `onsave provision --rebuild` replaces it"
    );
}

/// Makes the app what it ought to be, and tells each step on standard error.
async fn converge(site: &Site<'_>, goal: Goal) -> Result<Record, TargetError> {
    let provisioner = Provisioner::new(*site, &choice::ask)?;
    let stream = if io::stderr().is_terminal() {
        Stream::Terminal
    } else {
        Stream::Other
    };
    let mut teller = Teller::stderr(stream);
    teller.say(&format!("looking at {} on Fly.io", site.config.app));
    let found = provisioner.look(goal).await?;
    match provisioner.apply(found, &mut teller).await {
        Ok(outcome) => tell(&outcome, &mut teller),
        // The site is published without, and the next publish tries again.
        Err(error @ ProvisionError::Domain { .. }) => {
            tell_error(&error, "publishing without the domain");
        }
        Err(error) => return Err(error.into()),
    }
    let path = site.state.fly_record();
    // It was written a moment ago.
    Record::load(&path).ok_or_else(|| {
        let source = io::ErrorKind::NotFound.into();
        ProvisionError::Record { path, source }.into()
    })
}

/// Tells an error that ends nothing.
fn tell_error(error: &ProvisionError, what: &str) {
    let hint = error.hint().unwrap_or_default();
    let error = crate::error_report::with_causes(error);
    tracing::warn!(error, hint, "{what}: {error}; {hint}");
}

fn tell(outcome: &Outcome, teller: &mut Teller) {
    for remark in &outcome.remarks {
        tracing::warn!("{remark}");
    }
    for line in provision::records::lines(&outcome.waiting) {
        teller.say(&line);
    }
    teller.say(&format!("live at {}", outcome.live_url));
}

/// Finds or makes another secret when the server refuses the one that it took before.
#[derive(Debug)]
pub struct Mender {
    config: Config,
    state: SiteState,
    /// The secret that was signed with.
    used: Secret,
    /// Once is enough: two machines that each set a secret of their own would never end.
    asked_platform: bool,
}

impl Mender {
    /// Returns another secret to try; nothing when there is none to be had.
    ///
    /// A secret that another process of this machine changed is found in the state folder; where the
    /// app's drifted, a new one is set and the machine rolled.
    pub async fn mend(&mut self) -> Option<Secret> {
        let secret = match self.another_secret().await {
            Ok(secret) => secret?,
            Err(error) => {
                let hint = error.hint().unwrap_or_default();
                let error = crate::error_report::with_causes(&error);
                tracing::error!(%error, hint, "the secret could not be mended");
                return None;
            }
        };
        self.used = secret.clone();
        Some(secret)
    }

    async fn another_secret(&mut self) -> Result<Option<Secret>, TargetError> {
        let TargetConfig::Fly(target) = &self.config.target else {
            return Ok(None);
        };
        let site = Site {
            config: &self.config,
            target,
            state: &self.state,
        };
        if let Some(secret) = provision::known_secret(&site)?
            && secret != self.used
        {
            return Ok(Some(secret));
        }
        if !target.reaches_platform() || self.asked_platform {
            return Ok(None);
        }
        // This process would undo what another one was told since: sizes, and domains.
        let record = Record::load(&self.state.fly_record());
        let is_old = |record: Record| record.wanted != Some(provision::wanted_digest(target));
        if record.is_some_and(is_old) {
            tracing::error!(
                "the server refuses the secret, and the app is not as this was told when it started; \
                 `onsave provision` sets another secret, and then this goes on"
            );
            return Ok(None);
        }
        self.asked_platform = true;
        tracing::warn!("the server refuses the secret; looking at what is there");
        converge(&site, Goal::AS_CONFIGURED).await?;
        Ok(provision::known_secret(&site)?)
    }
}
