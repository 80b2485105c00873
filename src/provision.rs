//! Making the app on Fly.io and keeping it as configured: converge, do not script.
//!
//! ```text
//! configuration ─► wanted ─┐
//!                          ├─► plan (pure) ─► steps ─► apply ─► record
//! platform, server ► actual┘
//! ```
//!
//! Owns what ought to be there and the way to it. Every run looks first and does only what differs,
//! and each step can be repeated: a run that was stopped anywhere is finished by the next one. A run
//! that finds all as wanted only reads.
//!
//! | module | holds |
//! |---|---|
//! | `name` | which name, when the one that was asked for is somebody else's; pure |
//! | `platform` | who is asked and told: the API, or an installed flyctl |
//! | `actual` | what is there, read at once |
//! | `machine_config` | the machine's configuration: wanted, compared, updated; pure |
//! | `plan` | from wanted and actual to steps; pure |
//! | `apply` | the steps, one after the other |
//! | `lock` | one run at a time on a machine |
//! | `online` | waiting for the server, and why it is not there |
//! | `record` | what was made, remembered on this machine |
//! | `records` | the DNS records that a domain needs; pure |
//! | `choice` | asking which organisation is meant |
//! | `fly_toml` | the same as a file for `fly deploy`; pure |
//! | `teller` | what a person sees of it |
//!
//! How the platform is spoken to is a matter of [`crate::fly`], and of [`crate::flyctl`].

pub mod actual;
mod apply;
pub mod choice;
pub mod error;
pub mod fly_toml;
mod lock;
pub mod machine_config;
mod name;
pub(crate) mod online;
pub mod plan;
pub mod platform;
pub mod record;
pub mod records;
pub mod teller;

use std::fs::File;

use onsave_protocol::{Secret, Sha256Digest, wire::v2::SignedHealth};

pub(crate) use self::lock::lock;
use self::{
    actual::{Actual, Question, ServerSeen},
    plan::{Plan, SecretWish, Step, Wanted, WantedImage},
    platform::Platform,
};
pub use self::{error::ProvisionError, record::Record, teller::Teller};
use crate::{
    config::{self, Config, FlyDriver, FlyTarget, KeyValue, Source},
    fly::{
        Fly, Token,
        resources::{App, AppLookup, Certificate, Machine, Organisation},
    },
    image::{
        Image,
        server_binary::{self, ServerBinaryError},
    },
    state_folder::SiteState,
};

/// The site that an app is made for.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Its target.
    pub target: &'a FlyTarget,
    /// Where onsave remembers things.
    pub state: &'a SiteState,
}

/// What a run is to come to, besides what the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// Whether the server is replaced by the one that belongs to this program.
    pub server: ServerWish,
    /// What becomes of the secret.
    pub secret: SecretWish,
}

impl Goal {
    /// As configured, and nothing else.
    pub const AS_CONFIGURED: Self = Self {
        server: ServerWish::Keep,
        secret: SecretWish::Keep,
    };
}

/// What becomes of a server that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerWish {
    /// It stays, also when it is older.
    Keep,
    /// It becomes the one that belongs to this program.
    Rebuild,
}

/// Who is asked which of several organisations is meant.
pub type ChooseOrganisation<'a> = &'a (dyn Fn(&[Organisation]) -> Option<usize> + Sync);

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The app's name.
    pub app: String,
    /// Where it is published to.
    pub url: String,
    /// Where visitors see it: its first domain, or the same.
    pub live_url: String,
    /// The image that the machine runs.
    pub image: String,
    /// What was done.
    pub steps: Vec<Step>,
    /// What is not as configured and stays so.
    pub remarks: Vec<String>,
    /// The certificates that wait for their domains' records.
    pub waiting: Vec<Certificate>,
    /// What the server says of itself.
    pub health: Option<Box<SignedHealth>>,
}

/// Makes and keeps one site's app.
#[derive(Debug)]
pub struct Provisioner<'a> {
    site: Site<'a>,
    platform: Platform,
    choose: ChooseOrganisationSlot<'a>,
}

/// The slot has a name, so that what holds it can be printed.
struct ChooseOrganisationSlot<'a>(ChooseOrganisation<'a>);

impl std::fmt::Debug for ChooseOrganisationSlot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChooseOrganisation")
    }
}

/// What a look at the platform found, and what is to be done about it.
#[derive(Debug)]
pub struct Found {
    /// The names that the app may get, the best first; the first alone when it is there.
    names: Vec<String>,
    actual: Actual,
    image: WantedImage,
    /// The image itself, where one is made.
    made: Option<Image>,
    record: Option<Record>,
    goal: Goal,
    /// The steps, and what else is to be said.
    pub plan: Plan,
    /// Nobody else on this machine changes the app until all is done.
    _lock: File,
}

impl Found {
    /// Returns the app's name, as far as it is known before it is made.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.names[0]
    }

    /// Returns whether it is remembered here that this app was made here.
    fn is_remembered(&self) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|record| record.app == self.app())
    }

    /// Returns what the server says of itself, where it answers.
    #[must_use]
    pub fn health(&self) -> Option<&SignedHealth> {
        match &self.actual.server {
            ServerSeen::Answers(health) => Some(health),
            ServerSeen::NotAsked | ServerSeen::NoAnswer | ServerSeen::RefusesSecret => None,
        }
    }
}

impl<'a> Provisioner<'a> {
    /// Returns a provisioner that has not asked anything yet.
    ///
    /// # Errors
    ///
    /// Those of [`Platform::of`].
    pub fn new(site: Site<'a>, choose: ChooseOrganisation<'a>) -> Result<Self, ProvisionError> {
        let platform = Platform::of(site.target)?;
        Ok(Self {
            site,
            platform,
            choose: ChooseOrganisationSlot(choose),
        })
    }

    /// Looks at what is there, and plans.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`]; nothing was changed on the platform.
    pub async fn look(&self, goal: Goal) -> Result<Found, ProvisionError> {
        let lock = lock(self.site.state).await?;
        let record = Record::load(&self.site.state.fly_record());
        let (names, app) = self.find_app(record.as_ref()).await?;
        let actual = match app {
            Some(app) => self.look_at(app, record.as_ref()).await?,
            None => Actual::default(),
        };
        let (image, made) = self.image(&names[0], &actual, goal).await?;
        let mut found = Found {
            names,
            actual,
            image,
            made,
            record,
            goal,
            plan: Plan::default(),
            _lock: lock,
        };
        found.plan = plan::plan(&self.wanted(&found), &found.actual)?;
        Ok(found)
    }

    fn wanted<'b>(&'b self, found: &'b Found) -> Wanted<'b> {
        Wanted {
            app: found.app(),
            target: self.site.target,
            image: &found.image,
            secret: found.goal.secret,
            known_domains: found.record.as_ref().map_or(&[], |record| &record.domains),
            is_remembered: found.is_remembered(),
        }
    }

    /// Returns the app that is there, or the names to make one under.
    async fn find_app(
        &self,
        record: Option<&Record>,
    ) -> Result<(Vec<String>, Option<App>), ProvisionError> {
        let asked = &self.site.config.app;
        let remembered = record.filter(|r| r.asked_app == *asked || r.app == *asked);
        let site = self.site.state.folder().display().to_string();
        let mut names = name::candidates(asked, &site);
        if let Some(record) = remembered {
            names.retain(|name| *name != record.app);
            names.insert(0, record.app.clone());
        }
        while let Some(name) = names.first() {
            match self.platform.app(name).await? {
                AppLookup::Ours(app) => return Ok((vec![name.clone()], Some(app))),
                AppLookup::Free => return Ok((names, None)),
                AppLookup::TakenByOthers if self.insists_on_name() => break,
                AppLookup::TakenByOthers => {
                    names.remove(0);
                }
            }
        }
        Err(ProvisionError::NameTaken(asked.clone()))
    }

    /// Returns whether the name was said for this run: a file's or a folder's may get a suffix.
    const fn insists_on_name(&self) -> bool {
        match self.site.target.app_source {
            Source::Variable(_) | Source::Flag(_) => true,
            Source::Default | Source::File(_) => false,
        }
    }

    /// Looks at an app that is there; a change of the secret that reached the server is finished.
    async fn look_at(&self, app: App, record: Option<&Record>) -> Result<Actual, ProvisionError> {
        let url = url_of(self.site.target, &app.name);
        let known = known_secret(&self.site)?;
        let next = match self.site.target.secret {
            Some(_) => None,
            None => self.site.state.next_fly_secret()?,
        };
        let question = Question {
            url: &url,
            secret: known.as_ref().or(next.as_ref()),
            digest: record.and_then(|record| record.secret_digest.as_deref()),
            secret_begun: next.is_some(),
        };
        let mut actual = actual::look(&self.platform, app, &question).await?;
        let takes_next = match (&actual.server, &next) {
            (ServerSeen::RefusesSecret, Some(next)) if known.is_some() => {
                actual::ask(&url, next).await
            }
            (ServerSeen::Answers(health), Some(_)) if known.is_none() => {
                ServerSeen::Answers(health.clone())
            }
            _ => return Ok(actual),
        };
        if let ServerSeen::Answers(_) = takes_next {
            self.site.state.finish_fly_secret()?;
            actual.server = takes_next;
            actual.secret_begun = false;
        }
        Ok(actual)
    }

    /// Returns what the machine is to run; the image is made only where it is needed.
    async fn image(
        &self,
        app: &str,
        actual: &Actual,
        goal: Goal,
    ) -> Result<(WantedImage, Option<Image>), ProvisionError> {
        if let Some(public) = &self.site.target.image {
            return Ok((WantedImage::Public(public.clone()), None));
        }
        let is_there = actual.machines.iter().any(Machine::is_alive);
        if is_there && goal.server == ServerWish::Keep {
            return Ok((WantedImage::AsItIs, None));
        }
        let target = self.site.target;
        let (configured, program) = (target.server_binary.clone(), target.program.clone());
        let making = tokio::task::spawn_blocking(move || {
            let running = program.unwrap_or_default();
            let binary = server_binary::find(configured.as_deref(), &running)?;
            Image::of_server(&binary.bytes, env!("CARGO_PKG_VERSION")).map_err(|source| {
                ServerBinaryError::Unusable {
                    path: binary.path,
                    source,
                }
            })
        });
        let image = making.await.map_err(ProvisionError::Worker)??;
        let wanted = WantedImage::Made {
            reference: self.reference(app, &image),
            bytes: image.layer.bytes.len() as u64,
        };
        Ok((wanted, Some(image)))
    }

    /// Returns the name of an image in the app's own repository.
    fn reference(&self, app: &str, image: &Image) -> String {
        format!("{}/{app}:{}", self.platform.registry_host(), image.tag())
    }

    /// Returns the organisation that a new app is made in.
    async fn organisation(&self) -> Result<String, ProvisionError> {
        let reached = self.platform.organisations().await?;
        let slug = match (&self.site.target.organisation, reached.as_slice()) {
            (Some(slug), _) if reached.iter().any(|o| o.slug == *slug) => slug,
            // The token's own word for the user's organisation, whatever that is called.
            (Some(slug), [_, ..]) if slug != "personal" => {
                let reached: Vec<&str> = reached.iter().map(|o| o.slug.as_str()).collect();
                return Err(ProvisionError::UnknownOrganisation {
                    slug: slug.clone(),
                    reached: reached.join(", "),
                });
            }
            (Some(slug), _) => slug,
            (None, []) => return Err(ProvisionError::NoOrganisation),
            (None, [one]) => &one.slug,
            (None, several) => {
                let chosen = (self.choose.0)(several).and_then(|index| several.get(index));
                let Some(chosen) = chosen else {
                    return Err(ProvisionError::SeveralOrganisations(reached));
                };
                self.write_back("fly.org", &chosen.slug)?;
                &chosen.slug
            }
        };
        Ok(slug.clone())
    }

    /// Writes a key that was decided here into the configuration file.
    fn write_back(&self, key: &str, value: &str) -> Result<(), ProvisionError> {
        let path = self.site.config.file_or_default();
        config::set_keys(&path, &[(key, KeyValue::Text(value.to_owned()))])?;
        Ok(())
    }
}

/// Returns a client of the platform with the configured token.
///
/// # Errors
///
/// [`ProvisionError::NoToken`], [`ProvisionError::BadToken`], and an address of the platform that is
/// none.
pub fn connect(target: &FlyTarget) -> Result<Fly, ProvisionError> {
    let token = configured_token(target)?.ok_or(ProvisionError::NoToken)?;
    Ok(Fly::new(token, &target.hosts)?)
}

/// Returns a client of the platform that only reads, also where flyctl makes the changes: with the
/// configured token, or with that of flyctl's own login. Nothing where there is neither.
///
/// # Errors
///
/// [`ProvisionError::BadToken`], what flyctl says of its login, and an address of the platform that is
/// none.
pub async fn reader(target: &FlyTarget) -> Result<Option<(Fly, String)>, ProvisionError> {
    if let Some(given) = &target.token {
        return Ok(Some((connect(target)?, given.source.to_string())));
    }
    if target.driver == FlyDriver::Api {
        return Ok(None);
    }
    let origin = "flyctl's own login".to_owned();
    let text = Platform::of(target)?.registry_password().await?;
    let token = Token::parse(&text).map_err(|source| ProvisionError::BadToken {
        origin: origin.clone(),
        source,
    })?;
    Ok(Some((Fly::new(token, &target.hosts)?, origin)))
}

/// Returns the token that the configuration gives.
fn configured_token(target: &FlyTarget) -> Result<Option<Token>, ProvisionError> {
    let Some(given) = &target.token else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(given.secret.expose());
    let token = Token::parse(&text).map_err(|source| ProvisionError::BadToken {
        origin: given.source.to_string(),
        source,
    })?;
    Ok(Some(token))
}

/// Returns where an app is reached: scheme and host.
#[must_use]
pub fn url_of(target: &FlyTarget, app: &str) -> String {
    target
        .url
        .clone()
        .unwrap_or_else(|| format!("https://{app}.fly.dev"))
}

/// Returns the name of the site's app: the one that was made, or the one that would be.
#[must_use]
pub fn app_name(config: &Config, state: &SiteState) -> String {
    let record = Record::load(&state.fly_record());
    let made = record.filter(|r| r.app == config.app || r.asked_app == config.app);
    made.map_or_else(|| config.app.clone(), |record| record.app)
}

/// Returns the secret that the server is known to take: the given one, or the one made here.
///
/// # Errors
///
/// [`ProvisionError::State`].
pub fn known_secret(site: &Site<'_>) -> Result<Option<Secret>, ProvisionError> {
    match &site.target.secret {
        Some(given) => Ok(Some(given.secret.clone())),
        None => Ok(site.state.fly_secret()?),
    }
}

/// Returns whether version `a` comes before `b`; versions that cannot be read are equal to all.
#[must_use]
pub fn is_older(a: &str, b: &str) -> bool {
    let numbers = |text: &str| {
        let release = text.split(['-', '+']).next().unwrap_or_default();
        let parts: Option<Vec<u64>> = release.split('.').map(|part| part.parse().ok()).collect();
        parts
    };
    match (numbers(a), numbers(b)) {
        (Some(a), Some(b)) => a < b,
        _ => false,
    }
}

/// Returns what tells two configurations apart, as far as the platform has to follow them.
///
/// The app's name is not in it: that is another app, and not another wish.
#[must_use]
pub fn wanted_digest(target: &FlyTarget) -> Sha256Digest {
    let machine = machine_config::wanted(target, target.image.as_deref().unwrap_or(""), "");
    let wanted = serde_json::json!({
        "org": target.organisation,
        "region": target.region,
        "machine": machine,
        "volumeName": target.volume.name,
        "volumeGb": target.volume.size_gb,
        "snapshotDays": target.volume.snapshot_days,
        "domains": target.domains,
        "url": target.url,
    });
    Sha256Digest::of(wanted.to_string().as_bytes())
}

#[cfg(test)]
pub(crate) mod tests;
