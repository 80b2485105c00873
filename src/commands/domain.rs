//! `onsave domain`: domains of the site's own: their certificates, and the records that they need.
//!
//! The configuration is what lists them: adding and removing write it, and ask the platform at once.

use serde::Serialize;

use super::{CommandError, provision::fly_target};
use crate::{
    cli::{DomainCommand, DomainName},
    config::{self, Config, FlyTarget, KeyValue},
    fly::{Reason, resources::Certificate},
    provision::{self, ProvisionError, Record, platform::Platform, records},
    state_folder::SiteState,
};

/// The key that lists the domains.
const DOMAINS: &str = "fly.domains";

/// One domain, for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DomainOutput<'a> {
    domain: &'a str,
    status: &'static str,
    records: Vec<RecordOutput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordOutput {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

/// Runs the command, and returns what to print.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(
    command: &DomainCommand,
    config: Config,
    state: &SiteState,
) -> Result<String, CommandError> {
    let target = fly_target(&config)?;
    let domains = Domains {
        platform: Platform::of(target)?,
        app: provision::app_name(&config, state),
        config: &config,
        target,
        state,
    };
    let outcome = match command {
        DomainCommand::Add(args) => domains.add(&args.domain, args.json).await,
        DomainCommand::List(args) => domains.list(args.json).await,
        DomainCommand::Check(args) => domains.check(&args.domain, args.json).await,
        DomainCommand::Remove(args) => domains.remove(&args.domain, args.json).await,
    };
    outcome.map_err(|error| match error {
        // Of a domain that is not there the calls say so; what is not found is the app.
        CommandError::Provision(error) if error.reason() == Some(&Reason::NotFound) => {
            CommandError::NoApp { app: domains.app }
        }
        error => error,
    })
}

struct Domains<'a> {
    platform: Platform,
    app: String,
    config: &'a Config,
    target: &'a FlyTarget,
    state: &'a SiteState,
}

impl Domains<'_> {
    async fn add(&self, domain: &DomainName, json: bool) -> Result<String, CommandError> {
        let domain = domain.as_str();
        let _lock = provision::lock(self.state).await?;
        let known = self.certificate(domain).await?;
        let certificate = match known {
            Some(certificate) => certificate,
            None => self.request(domain).await?,
        };
        let mut domains = self.target.domains.clone();
        if !domains.iter().any(|known| known == domain) {
            domains.push(domain.to_owned());
            self.write(&domains)?;
        }
        self.remember(domains, |known| {
            if !known.iter().any(|known| known == domain) {
                known.push(domain.to_owned());
            }
        })?;
        Ok(told(&certificate, json))
    }

    async fn list(&self, json: bool) -> Result<String, CommandError> {
        let certificates = self.platform.certificates(&self.app).await?;
        if json {
            let all: Vec<_> = certificates.iter().map(output).collect();
            return Ok(super::json_line(&serde_json::json!({ "domains": all })));
        }
        let mut lines: Vec<String> = certificates
            .iter()
            .map(|c| format!("{}  {}", c.hostname, status(c)))
            .collect();
        let wanted = self.target.domains.iter();
        lines.extend(
            wanted
                .filter(|domain| !certificates.iter().any(|c| c.hostname == **domain))
                .map(|domain| format!("{domain}  not requested yet; `onsave provision` does it")),
        );
        if lines.is_empty() {
            lines.push(format!(
                "the app {} has no domain of its own; `onsave domain add www.example.org` adds one",
                self.app
            ));
        }
        Ok(lines.join("\n") + "\n")
    }

    async fn check(&self, domain: &DomainName, json: bool) -> Result<String, CommandError> {
        let domain = domain.as_str();
        if self.certificate(domain).await?.is_none() {
            return Err(CommandError::UnknownDomain {
                domain: domain.to_owned(),
                app: self.app.clone(),
            });
        }
        let checked = self.platform.check_certificate(&self.app, domain);
        Ok(told(&checked.await?, json))
    }

    async fn remove(&self, domain: &DomainName, json: bool) -> Result<String, CommandError> {
        let domain = domain.as_str();
        let listed = self.target.domains.iter().any(|known| known == domain);
        if !listed && self.certificate(domain).await?.is_none() {
            return Err(CommandError::UnknownDomain {
                domain: domain.to_owned(),
                app: self.app.clone(),
            });
        }
        let _lock = provision::lock(self.state).await?;
        self.platform.remove_certificate(&self.app, domain).await?;
        let mut domains = self.target.domains.clone();
        if listed {
            domains.retain(|known| known != domain);
            self.write(&domains)?;
        }
        self.remember(domains, |known| known.retain(|known| known != domain))?;
        Ok(if json {
            super::json_line(&serde_json::json!({ "status": "removed", "domain": domain }))
        } else {
            format!("removed {domain}; its DNS records may go as well\n")
        })
    }

    async fn certificate(&self, domain: &str) -> Result<Option<Certificate>, CommandError> {
        Ok(self.platform.certificate(&self.app, domain).await?)
    }

    async fn request(&self, domain: &str) -> Result<Certificate, CommandError> {
        let requested = self.platform.request_certificate(&self.app, domain);
        Ok(requested.await?)
    }

    fn write(&self, domains: &[String]) -> Result<(), CommandError> {
        let path = self.config.file_or_default();
        let keys = [(DOMAINS, KeyValue::Texts(domains.to_vec()))];
        config::set_keys(&path, &keys).map_err(|error| ProvisionError::from(error).into())
    }

    /// Notes whose certificates are ours now, and that the app has the domains that are configured: the
    /// next publish finds no difference, and a daemon that knows other domains leaves them alone.
    fn remember(
        &self,
        domains: Vec<String>,
        change: impl FnOnce(&mut Vec<String>),
    ) -> Result<(), CommandError> {
        let path = self.state.fly_record();
        let Some(mut record) = Record::load(&path) else {
            return Ok(());
        };
        change(&mut record.domains);
        // What else differs is still to be done.
        if record.wanted == Some(provision::wanted_digest(self.target)) {
            let target = FlyTarget {
                domains,
                ..self.target.clone()
            };
            record.wanted = Some(provision::wanted_digest(&target));
        }
        record
            .store(&path)
            .map_err(|source| ProvisionError::Record { path, source }.into())
    }
}

fn status(certificate: &Certificate) -> &'static str {
    match (certificate.configured, certificate.status.as_str()) {
        (true, _) | (_, "active") => "live",
        (_, "pending_ownership") => "waits for the record that proves whose it is",
        _ => "waits for its DNS records",
    }
}

fn told(certificate: &Certificate, json: bool) -> String {
    if json {
        return super::json_line(&output(certificate));
    }
    let mut lines = vec![format!("{}  {}", certificate.hostname, status(certificate))];
    if status(certificate) != "live" {
        lines.extend(records::lines(std::slice::from_ref(certificate)));
    }
    lines.join("\n") + "\n"
}

fn output(certificate: &Certificate) -> DomainOutput<'_> {
    let rows = records::rows(certificate).into_iter();
    DomainOutput {
        domain: &certificate.hostname,
        status: status(certificate),
        records: rows
            .map(|(name, kind, value)| RecordOutput { name, kind, value })
            .collect(),
        problems: certificate
            .validation_errors
            .iter()
            .map(|error| error.message.as_str())
            .collect(),
    }
}
