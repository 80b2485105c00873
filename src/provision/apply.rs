//! The steps, one after the other: the only code that changes anything on the platform.
//!
//! What one step makes, later ones need: it is carried along, and a step that was done in an earlier
//! run left the same on the platform, where looking found it.

use onsave_protocol::Secret;
use serde_json::Value;

use super::{
    Found, Outcome, ProvisionError, Provisioner, Teller,
    actual::{PREVIOUS_SECRET, SECRET, ServerSeen},
    known_secret,
    plan::{SecretReason, Step, WantedImage},
    platform::Launch,
    record::Record,
    url_of, wanted_digest,
};
use crate::{
    fly::{
        Reason,
        resources::{Certificate, Machine, NeedsRestart, Volume},
    },
    registry::{Credentials, Registry},
};

/// What the steps so far came to.
struct Progress {
    app: String,
    names: Vec<String>,
    /// The image's name, once it is known.
    image: String,
    volume: Option<Volume>,
    machine: Option<Machine>,
    secrets_version: Option<u64>,
    /// The secret that the server has to take at the end.
    secret: Option<Secret>,
    secret_digest: Option<String>,
    /// Whether that secret is new, and was made here.
    secret_begun: bool,
    domains: Vec<String>,
    health: Option<Box<onsave_protocol::wire::v2::SignedHealth>>,
    certificates: Vec<Certificate>,
    remarks: Vec<String>,
    /// Why a domain has no certificate, or one too many; the first of them.
    domain_error: Option<ProvisionError>,
}

/// How much of the plan is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completeness {
    Whole,
    Partial,
}

impl Provisioner<'_> {
    /// Does what was planned.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`]; what was done stays, and the next run goes on from there. With
    /// [`ProvisionError::Domain`] all but the certificates is done, and the site can be published to.
    pub async fn apply(
        &self,
        mut found: Found,
        teller: &mut Teller,
    ) -> Result<Outcome, ProvisionError> {
        let mut progress = self.beginning(&found)?;
        self.keep_unwritten_name(&found, &mut progress);
        let steps = std::mem::take(&mut found.plan.steps);
        for step in &steps {
            teller.begin(&step.to_string());
            let more = self.step(step, &found, &mut progress).await;
            match more {
                Ok(more) => teller.done(more.as_deref()),
                // The site is live without: the other domains are seen to.
                Err(error @ ProvisionError::Domain { .. }) => {
                    teller.failed();
                    progress.domain_error.get_or_insert(error);
                }
                Err(error) => {
                    teller.failed();
                    let target = self.site.target;
                    return Err(self.platform.advised(error, &progress.app, target).await);
                }
            }
            if *step == Step::CreateApp {
                self.keep_name(&progress)?;
            }
        }
        if let Some(error) = progress.domain_error {
            return Err(error);
        }
        self.remember(&progress, Completeness::Whole)?;
        let url = url_of(self.site.target, &progress.app);
        let waiting = |certificate: &Certificate| !certificate.configured;
        Ok(Outcome {
            live_url: match self.site.target.domains.first() {
                Some(domain) if !domain.starts_with('*') => format!("https://{domain}"),
                _ => url.clone(),
            },
            url,
            steps,
            remarks: [found.plan.remarks, progress.remarks].concat(),
            waiting: progress.certificates.into_iter().filter(waiting).collect(),
            health: progress.health,
            image: progress.image,
            app: progress.app,
        })
    }

    fn beginning(&self, found: &Found) -> Result<Progress, ProvisionError> {
        let machine = found.plan.machine_id.as_ref().and_then(|id| {
            let mut machines = found.actual.machines.iter();
            machines.find(|machine| machine.id == *id)
        });
        let image = match &found.image {
            WantedImage::Made { reference, .. } | WantedImage::Public(reference) => {
                reference.clone()
            }
            WantedImage::AsItIs => machine
                .and_then(|machine| machine.config.get("image"))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        };
        let domains = &self.site.target.domains;
        let certificates = found.actual.certificates.iter();
        Ok(Progress {
            app: found.app().to_owned(),
            names: found.names.clone(),
            image,
            volume: found.plan.volume_id.as_ref().and_then(|id| {
                let mut volumes = found.actual.volumes.iter();
                volumes.find(|volume| volume.id == *id).cloned()
            }),
            machine: machine.cloned(),
            secrets_version: None,
            secret: known_secret(&self.site)?,
            secret_digest: found.actual.secret_digest.clone(),
            secret_begun: false,
            domains: match &found.record {
                Some(record) => record.domains.clone(),
                None => Vec::new(),
            },
            health: match &found.actual.server {
                ServerSeen::Answers(health) => Some(health.clone()),
                _ => None,
            },
            certificates: certificates
                .filter(|certificate| domains.contains(&certificate.hostname))
                .cloned()
                .collect(),
            remarks: Vec::new(),
            domain_error: None,
        })
    }

    /// Does a step, and returns what came of it where that is worth a word.
    async fn step(
        &self,
        step: &Step,
        found: &Found,
        progress: &mut Progress,
    ) -> Result<Option<String>, ProvisionError> {
        let app = progress.app.clone();
        match step {
            Step::CreateApp => {
                let organisation = self.create_app(progress).await?;
                self.rename_image(found, progress);
                return Ok(Some(format!("{} in {organisation}", progress.app)));
            }
            Step::AssignIp(kind) => self.platform.assign_ip(&app, *kind).await?,
            Step::PushImage { .. } => return self.push_image(found, &app).await,
            Step::SetSecret(reason) => self.set_secret(*reason, found, progress).await?,
            Step::CreateVolume => {
                let target = self.site.target;
                let made = self.platform.create_volume(&app, target, &progress.image);
                let volume = made.await?;
                let id = volume.id.clone();
                progress.volume = Some(volume);
                return Ok(Some(id));
            }
            Step::ExtendVolume { id, to_gb, .. } => {
                self.extend_volume(id, *to_gb, progress).await?;
            }
            Step::KeepSnapshots { id, days } => {
                self.platform.keep_snapshots(&app, id, *days).await?;
            }
            Step::CreateMachine => {
                let launch = self.launch(progress);
                let machine = self.platform.create_machine(&launch).await?;
                let id = machine.id.clone();
                progress.machine = Some(machine);
                return Ok(Some(id));
            }
            Step::UpdateMachine { id, .. } => {
                let launch = self.launch(progress);
                progress.machine = Some(self.platform.update_machine(id, &launch).await?);
            }
            Step::StartMachine { id } => self.platform.start_machine(&app, id).await?,
            Step::AwaitServer => self.await_server(progress).await?,
            Step::RequestCertificate(domain) => {
                let requested = self.platform.request_certificate(&app, domain).await;
                let certificate = requested.map_err(|error| error.of_domain(domain))?;
                progress.domains.push(domain.clone());
                progress.certificates.push(certificate);
                self.remember(progress, Completeness::Partial)?;
            }
            Step::RemoveCertificate(domain) => {
                let removed = self.platform.remove_certificate(&app, domain).await;
                removed.map_err(|error| error.of_domain(domain))?;
                progress.domains.retain(|known| known != domain);
                self.remember(progress, Completeness::Partial)?;
            }
        }
        Ok(None)
    }

    /// Makes the app under the first name that is free, and returns whose it is.
    async fn create_app(&self, progress: &mut Progress) -> Result<String, ProvisionError> {
        let organisation = self.organisation().await?;
        for name in progress.names.clone() {
            match self.platform.create_app(&name, &organisation).await {
                Ok(()) => {
                    progress.app = name;
                    return Ok(organisation);
                }
                // Names that nobody may look at are taken all the same.
                Err(error)
                    if error.reason() == Some(&Reason::NameTaken) && !self.insists_on_name() => {}
                Err(error) => return Err(error),
            }
        }
        Err(ProvisionError::NameTaken(self.site.config.app.clone()))
    }

    /// The image goes into the repository of the app, which may have got another name meanwhile.
    fn rename_image(&self, found: &Found, progress: &mut Progress) {
        if let Some(image) = &found.made {
            progress.image = self.reference(&progress.app, image);
        }
    }

    /// Writes the app's name into the configuration when it is not the one that was asked for.
    fn keep_name(&self, progress: &Progress) -> Result<(), ProvisionError> {
        if progress.app != self.site.config.app {
            self.write_back("app", &progress.app)?;
        }
        Ok(())
    }

    /// Writes the name of an app down that a run made which was stopped before it could.
    fn keep_unwritten_name(&self, found: &Found, progress: &mut Progress) {
        let is_new = found.actual.app.is_none() || found.is_remembered();
        if is_new || self.insists_on_name() {
            return;
        }
        // The app is there and found again without: nothing waits for that file.
        if let Err(error) = self.keep_name(progress) {
            let error = crate::error_report::with_causes(&error);
            progress.remarks.push(format!(
                "the app is called {}, and that is not written down: {error}",
                progress.app
            ));
        }
    }

    async fn push_image(&self, found: &Found, app: &str) -> Result<Option<String>, ProvisionError> {
        let Some(image) = &found.made else {
            return Ok(None);
        };
        let credentials = Credentials::new("x", self.platform.registry_password().await?);
        let registry = Registry::new(self.platform.registry_host(), credentials)?;
        let pushed = registry.push(app, image, &image.tag(), |_| ()).await?;
        Ok(Some(if pushed.bytes_sent == 0 {
            "it is there".to_owned()
        } else {
            format!("{:.1} MB sent", pushed.bytes_sent as f64 / 1e6)
        }))
    }

    /// Sets the app's secret; it is durable here before the platform hears of it.
    async fn set_secret(
        &self,
        reason: SecretReason,
        found: &Found,
        progress: &mut Progress,
    ) -> Result<(), ProvisionError> {
        let old = progress.secret.take();
        let given = self.site.target.secret.as_ref();
        let secret = match given {
            Some(given) => given.secret.clone(),
            None => self.site.state.begin_fly_secret()?,
        };
        let mut values = vec![(SECRET, Some(&secret))];
        match reason {
            SecretReason::Rotated => values.push((PREVIOUS_SECRET, old.as_ref())),
            // Whoever knows the old one must not go on with it.
            SecretReason::Unknown if found.actual.has_previous_secret => {
                values.push((PREVIOUS_SECRET, None));
            }
            SecretReason::First | SecretReason::Unknown | SecretReason::Unfinished => {}
        }
        let change = self.platform.change_secrets(&progress.app, &values).await?;
        progress.secrets_version = Some(change.version);
        progress.secret_digest = change
            .secrets
            .into_iter()
            .find(|changed| changed.name == SECRET)
            .map(|changed| changed.digest);
        progress.secret_begun = given.is_none();
        progress.secret = Some(secret);
        if let (SecretReason::Unknown, None) = (reason, given) {
            progress.remarks.push(format!(
                "the app has a new secret; another machine that publishes this site needs it too: copy {} \
                 there, or give it in ONSAVE_SYNC_SECRET",
                self.site.state.fly_secret_file().display()
            ));
        }
        Ok(())
    }

    async fn extend_volume(
        &self,
        id: &str,
        size_gb: u32,
        progress: &Progress,
    ) -> Result<(), ProvisionError> {
        let app = &progress.app;
        let needs_restart = self.platform.extend_volume(app, id, size_gb).await?;
        if let (NeedsRestart::Yes, Some(machine)) = (needs_restart, &progress.machine) {
            self.platform.restart_machine(app, machine).await?;
        }
        Ok(())
    }

    /// Returns what the machine is to run with, as far as that is known by now.
    fn launch<'b>(&'b self, progress: &'b Progress) -> Launch<'b> {
        Launch {
            app: &progress.app,
            target: self.site.target,
            image: &progress.image,
            volume: progress.volume.as_ref(),
            secrets_version: progress.secrets_version,
        }
    }

    /// Waits until the server takes the secret, and notes that it does.
    async fn await_server(&self, progress: &mut Progress) -> Result<(), ProvisionError> {
        let Some(secret) = &progress.secret else {
            return Ok(());
        };
        let url = url_of(self.site.target, &progress.app);
        let machine = progress.machine.as_ref().map(|machine| machine.id.as_str());
        let health = self
            .wait_until_online(&url, secret, (&progress.app, machine))
            .await?;
        progress.health = Some(Box::new(health));
        if progress.secret_begun {
            self.site.state.finish_fly_secret()?;
            progress.secret_begun = false;
        }
        self.remember(progress, Completeness::Partial)
    }

    fn remember(
        &self,
        progress: &Progress,
        completeness: Completeness,
    ) -> Result<(), ProvisionError> {
        self.site.state.create()?;
        let target = self.site.target;
        let mut record = Record::new(
            self.site.config.app.clone(),
            progress.app.clone(),
            url_of(target, &progress.app),
            match completeness {
                Completeness::Whole => Some(wanted_digest(target)),
                Completeness::Partial => None,
            },
        );
        record.secret_digest.clone_from(&progress.secret_digest);
        record.domains.clone_from(&progress.domains);
        let path = self.site.state.fly_record();
        record
            .store(&path)
            .map_err(|source| ProvisionError::Record { path, source })
    }
}
