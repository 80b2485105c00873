//! The section `[fly]`: the app that onsave makes and keeps on Fly.io.
//!
//! What the platform refuses by rule is refused here, before anything is asked of it; what only the
//! platform knows (which regions have room, whose a name is) is not judged.

use std::{fmt, num::NonZeroUsize, path::PathBuf};

use onsave_protocol::Secret;
use onsave_server::config::Serving;

use super::{Source, keys, raw::Reading, secret, url};
use crate::{fly::Hosts, flyctl, surroundings::Surroundings};

/// The variables that hold the platform's token, the first that is set wins.
pub(crate) const TOKEN_VARIABLES: [&str; 2] = ["FLY_ACCESS_TOKEN", "FLY_API_TOKEN"];

/// The largest volume that the platform makes, in gigabytes.
const MOST_VOLUME_GB: u64 = 500;

/// An app on Fly.io, as it ought to be.
#[derive(Debug, Clone)]
pub struct FlyTarget {
    /// Where the app's name was said: a name that somebody else has is replaced only where nobody
    /// insists on it.
    pub app_source: Source,
    /// The organisation's short name; found out from the token where it is not set.
    pub organisation: Option<String>,
    /// The region's code.
    pub region: String,
    /// What does the work.
    pub driver: FlyDriver,
    /// A public image to run instead of the one that is built here.
    pub image: Option<String>,
    /// The static server that goes into the image; the one beside the running program by default.
    pub server_binary: Option<PathBuf>,
    /// The volume.
    pub volume: FlyVolume,
    /// The machine.
    pub guest: Guest,
    /// What the platform does with a machine that nobody asks anything.
    pub autostop: Autostop,
    /// How many deploys the server keeps.
    pub keep_deploys: NonZeroUsize,
    /// How the site is served.
    pub serving: Serving,
    /// Domains of the site's own.
    pub domains: Vec<String>,
    /// Where the app is reached, when that is not `https://<app>.fly.dev`.
    pub url: Option<String>,
    /// Whether a newer client replaces the server unasked.
    pub auto_rebuild: bool,
    /// The platform's token, where there is one: a site that is there already is published to
    /// without.
    pub token: Option<GivenSecret>,
    /// The server's secret, where it is given and not made here.
    pub secret: Option<GivenSecret>,
    /// Where the platform is.
    pub hosts: Hosts,
    /// The running program: the server beside it goes into the image.
    pub program: Option<PathBuf>,
    /// The installed `flyctl`, where that does the work.
    pub flyctl: flyctl::Setup,
}

/// A secret, and where a person finds it.
#[derive(Debug, Clone)]
pub struct GivenSecret {
    /// The secret.
    pub secret: Secret,
    /// Where it was read.
    pub source: Source,
}

/// What makes the app and keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlyDriver {
    /// The platform's API.
    Api,
    /// An installed `flyctl`.
    Flyctl,
}

/// The volume of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlyVolume {
    /// Lower-case letters, digits and `_`.
    pub name: String,
    /// Size in gigabytes; a larger one is never made smaller.
    pub size_gb: u32,
    /// How far it may grow by itself, in gigabytes; no further than its size is not at all.
    pub limit_gb: u32,
    /// Days that daily snapshots are kept.
    pub snapshot_days: u32,
}

/// The processors and the memory of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// Shared with other machines or not.
    pub kind: CpuKind,
    /// Processors.
    pub cpus: u32,
    /// Memory in mebibytes.
    pub memory_mb: u32,
}

/// Whether processors are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuKind {
    /// With other machines.
    Shared,
    /// Not at all.
    Performance,
}

impl CpuKind {
    /// Returns the platform's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Performance => "performance",
        }
    }

    /// Returns the least and the most memory of one processor, in mebibytes.
    const fn memory_mb(self) -> (u32, u32) {
        match self {
            Self::Shared => (256, 2_048),
            Self::Performance => (2_048, 8_192),
        }
    }
}

impl Guest {
    /// Returns the platform's name of a machine with these processors.
    #[must_use]
    pub fn size(&self) -> String {
        let cpu = match self.kind {
            CpuKind::Shared => "shared-cpu",
            CpuKind::Performance => "performance",
        };
        format!("{cpu}-{}x", self.cpus)
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} MB", self.size(), self.memory_mb)
    }
}

impl FlyTarget {
    /// Returns whether the platform can be asked at all: with a token, or through an installed
    /// flyctl, which has a login of its own.
    #[must_use]
    pub const fn reaches_platform(&self) -> bool {
        match self.driver {
            FlyDriver::Api => self.token.is_some(),
            FlyDriver::Flyctl => self.flyctl.is_installed(),
        }
    }
}

/// What the platform does with a machine that nobody asks anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Autostop {
    /// Nothing.
    Off,
    /// It stops the machine, and starts it for the next request.
    Stop,
    /// It suspends the machine, and resumes it for the next request.
    Suspend,
}

impl Autostop {
    /// Returns the platform's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Stop => "stop",
            Self::Suspend => "suspend",
        }
    }
}

/// What the section says; every key of it is read, so that all faults are found.
pub(super) struct FlySection {
    organisation: Option<String>,
    region: Option<String>,
    driver: Option<FlyDriver>,
    image: Option<String>,
    server_binary: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    volume: Option<FlyVolume>,
    guest: Option<Guest>,
    autostop: Option<Autostop>,
    keep_deploys: Option<u64>,
    domains: Option<Vec<String>>,
    url: Option<String>,
    auto_rebuild: Option<bool>,
}

/// What other sections and layers say of the app.
pub(super) struct Given {
    pub(super) app: Source,
    pub(super) token: Option<GivenSecret>,
    pub(super) secret: Option<GivenSecret>,
}

impl FlySection {
    /// Reads every key.
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let organisation = reading.text(&keys::FLY_ORG, slug);
        let region = reading.text(&keys::FLY_REGION, region);
        let drivers = [("api", FlyDriver::Api), ("flyctl", FlyDriver::Flyctl)];
        let driver = reading.choice(&keys::FLY_DRIVER, &drivers);
        let image = reading.text(&keys::FLY_IMAGE, image);
        let server_binary = reading.path(&keys::FLY_SERVER_BINARY);
        let token_file = reading.path(&keys::FLY_TOKEN_FILE);
        let volume = read_volume(reading);
        let guest = read_guest(reading);
        let autostops = [Autostop::Off, Autostop::Stop, Autostop::Suspend];
        let autostop = reading.choice(
            &keys::FLY_AUTOSTOP,
            &autostops.map(|choice| (choice.name(), choice)),
        );
        // The range is that of local.keep_deploys.
        let keep_deploys = reading.whole(&keys::FLY_KEEP_DEPLOYS, 1..=1_000);
        let domains = reading.texts(&keys::FLY_DOMAINS, checked_domain);
        let url = reading.text(&keys::FLY_APP_URL, url::of_server);
        let auto_rebuild = reading.switch(&keys::FLY_AUTO_REBUILD);
        Self {
            organisation,
            region,
            driver,
            image,
            server_binary,
            token_file,
            volume,
            guest,
            autostop,
            keep_deploys,
            domains,
            url,
            auto_rebuild,
        }
    }

    /// Returns the target, when every key is right.
    pub(super) fn target(
        self,
        serving: Serving,
        given: Given,
        surroundings: &Surroundings,
    ) -> Option<FlyTarget> {
        Some(FlyTarget {
            app_source: given.app,
            organisation: self.organisation,
            region: self.region?,
            driver: self.driver?,
            image: self.image,
            server_binary: self.server_binary,
            volume: self.volume?,
            guest: self.guest?,
            autostop: self.autostop?,
            keep_deploys: NonZeroUsize::new(usize::try_from(self.keep_deploys?).ok()?)?,
            serving,
            domains: self.domains?,
            url: self.url,
            auto_rebuild: self.auto_rebuild?,
            token: given.token,
            secret: given.secret,
            hosts: Hosts::of(surroundings),
            program: surroundings.program.clone(),
            flyctl: flyctl::Setup::of(surroundings),
        })
    }
}

/// The name under which the token is shown.
pub(crate) const TOKEN_SETTING: &str = "fly.token";

/// Returns the platform's token: from a variable, from the service manager, or from the file that the
/// section names.
///
/// That there is none is no fault: a site that is there already is published to without.
pub(super) fn read_token(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    file: Option<PathBuf>,
) -> Option<GivenSecret> {
    let named = TOKEN_VARIABLES
        .iter()
        .find_map(|name| Some((name, surroundings.variable(name)?)));
    let (found, source) = if let Some((name, value)) = named {
        let source = Source::Variable((*name).to_owned());
        (secret::from_variable(value), source)
    } else if let Some((path, found)) = secret::from_manager(surroundings, keys::TOKEN_CREDENTIAL) {
        (found, Source::File(path.display().to_string()))
    } else {
        let path = file?;
        let found = secret::from_file(&path).map(|found| {
            reading.warnings.extend(found.warning);
            found.secret
        });
        (found, Source::File(path.display().to_string()))
    };
    reading.secret(TOKEN_SETTING, found, source)
}

fn read_volume(reading: &mut Reading<'_>) -> Option<FlyVolume> {
    let name = reading.text(&keys::FLY_VOLUME_NAME, volume_name);
    let size = reading.whole(&keys::FLY_VOLUME_GB, 1..=MOST_VOLUME_GB);
    let limit = reading.whole(&keys::FLY_VOLUME_LIMIT_GB, 1..=MOST_VOLUME_GB);
    let days = reading.whole(&keys::FLY_SNAPSHOT_DAYS, 1..=60);
    Some(FlyVolume {
        name: name?,
        size_gb: u32::try_from(size?).ok()?,
        limit_gb: u32::try_from(limit?).ok()?,
        snapshot_days: u32::try_from(days?).ok()?,
    })
}

fn read_guest(reading: &mut Reading<'_>) -> Option<Guest> {
    let cpu = reading.text(&keys::FLY_CPU, cpu);
    let memory = reading.whole(&keys::FLY_MEMORY_MB, 256..=131_072);
    let (kind, cpus) = cpu?;
    let (least, most) = kind.memory_mb();
    let (least, most) = (least * cpus, most * cpus);
    let memory_mb = if reading.merged.get(&keys::FLY_MEMORY_MB).is_none() {
        least
    } else {
        u32::try_from(memory?).ok()?
    };
    if !(least..=most).contains(&memory_mb) || memory_mb % 256 != 0 {
        let problem = format!("must be a multiple of 256 from {least} to {most} with this fly.cpu");
        reading.contradiction(&keys::FLY_MEMORY_MB, problem);
        return None;
    }
    Some(Guest {
        kind,
        cpus,
        memory_mb,
    })
}

/// The platform's names of its machines' sizes.
fn cpu(text: &str) -> Result<(CpuKind, u32), String> {
    let named = |kind, prefix: &str, most: u32| {
        let cpus = text.strip_prefix(prefix)?.strip_suffix('x')?;
        let cpus: u32 = cpus.parse().ok()?;
        (cpus.is_power_of_two() && cpus <= most).then_some((kind, cpus))
    };
    named(CpuKind::Shared, "shared-cpu-", 8)
        .or_else(|| named(CpuKind::Performance, "performance-", 16))
        .ok_or_else(|| {
            "must be \"shared-cpu-1x\", -2x, -4x or -8x, or \"performance-1x\" to -16x".to_owned()
        })
}

fn slug(text: &str) -> Result<String, String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.bytes().all(letters) {
        Ok(text.to_owned())
    } else {
        Err("must be the organisation's short name, such as \"personal\"".to_owned())
    }
}

fn region(text: &str) -> Result<String, String> {
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Ok(text.to_owned())
    } else {
        Err("must be a region's code, such as \"arn\"".to_owned())
    }
}

fn volume_name(text: &str) -> Result<String, String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=30).contains(&text.len()) && text.bytes().all(letters) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 30 of a-z, 0-9 and _".to_owned())
    }
}

fn image(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain && !text.contains("://") && text.contains('/') {
        Ok(text.to_owned())
    } else {
        Err(
            "must be the name of a public image, such as \"ghcr.io/ann/onsave-server:1.0\""
                .to_owned(),
        )
    }
}

/// Returns a domain as it is compared and asked for: in lower case, without a dot at its end.
pub(crate) fn checked_domain(text: &str) -> Result<String, String> {
    let allowed = || "must be a domain, such as \"www.example.org\"".to_owned();
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let plain = name.strip_prefix("*.").unwrap_or(&name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_domain = plain.len() <= 253 && plain.contains('.') && plain.split('.').all(label);
    if !is_domain || plain.parse::<std::net::IpAddr>().is_ok() {
        return Err(allowed());
    }
    if plain.ends_with(".fly.dev") {
        return Err("is the platform's own; every app has its name there already".to_owned());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_machines_are_the_platforms() {
        assert_eq!(cpu("shared-cpu-1x"), Ok((CpuKind::Shared, 1)));
        assert_eq!(cpu("performance-16x"), Ok((CpuKind::Performance, 16)));
        for text in [
            "",
            "shared-cpu-3x",
            "shared-cpu-16x",
            "shared-cpu-x",
            "performance-32x",
            "shared",
        ] {
            assert!(cpu(text).is_err(), "{text}");
        }
        let guest = Guest {
            kind: CpuKind::Shared,
            cpus: 2,
            memory_mb: 512,
        };
        assert_eq!(guest.to_string(), "shared-cpu-2x, 512 MB");
    }

    #[test]
    fn names_follow_the_platforms_rules() {
        assert!(volume_name("site_data").is_ok());
        for text in ["", "site-data", "Site", &"a".repeat(31)] {
            assert!(volume_name(text).is_err(), "{text}");
        }
        assert!(region("arn").is_ok() && region("Arn").is_err() && region("eu").is_err());
        assert!(slug("my-org").is_ok() && slug("").is_err() && slug("My Org").is_err());
        assert!(image("ghcr.io/a/b:1").is_ok());
        for text in ["", "nginx", "https://ghcr.io/a/b", "ghcr.io/a b"] {
            assert!(image(text).is_err(), "{text}");
        }
    }

    #[test]
    fn domains_are_compared_in_one_spelling() {
        for (text, name) in [
            ("www.Example.org", "www.example.org"),
            ("example.org.", "example.org"),
            ("*.example.org", "*.example.org"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(checked_domain(text).as_deref(), Ok(name));
        }
        for text in [
            "",
            "localhost",
            "-a.org",
            "a..org",
            "a.*.org",
            "https://example.org",
            "127.0.0.1",
            "my-site.fly.dev",
        ] {
            assert!(checked_domain(text).is_err(), "{text}");
        }
    }
}
