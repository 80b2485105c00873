//! Loading: the order of the layers, what each key may hold, and the rules between keys.
//!
//! Reads the configuration file and, for a running server, the secret; nothing else of the disk is
//! asked. All faults are reported at once. A file that is not TOML ends the loading early, since
//! its values are unknown.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use onsave_protocol::{Secret, limits};
use url::Url;

use super::{
    Config, ConfigError, FlagLayer, Setting, Source, app_name,
    fault::Fault,
    file, keys,
    layers::{self, Merged},
    raw::{Bases, Reading, SettingValue},
    secret,
};
use super::{
    LocalTarget, LogConfig, LogFormat, PollMode, PublishConfig, TargetConfig, UrlTarget,
    WatchConfig,
};
use crate::{surroundings::Surroundings, telemetry};

/// The configuration, and what people should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key as resolved, and the source of the secret where one is used.
    pub settings: Vec<Setting>,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<String>,
}

/// Loads the configuration: defaults < file < environment < flags.
///
/// # Errors
///
/// [`ConfigError`] with every fault.
pub fn load(surroundings: &Surroundings, flags: &FlagLayer) -> Result<Loaded, ConfigError> {
    let mut faults = Vec::new();
    let file = chosen_file(surroundings, flags);
    let root = root_of(file.as_ref().map(|(path, _)| path.as_path()), surroundings);
    let from_file = match &file {
        None => layers::Layer::default(),
        Some((path, source)) => match file::read(path) {
            Ok(text) => file::layer(path, &text, &mut faults),
            Err(problem) => {
                faults.push(Fault {
                    key: None,
                    value: None,
                    source: source.clone(),
                    problem: format!("{} {problem}", path.display()),
                });
                layers::Layer::default()
            }
        },
    };
    let file_unusable = faults.iter().any(|fault| fault.key.is_none());
    let environment = layers::environment(surroundings, &mut faults);
    let flags = flags.layer(&mut faults);
    if file_unusable {
        return Err(ConfigError { faults });
    }
    // Who names a server means it, unless another kind is asked for.
    let url_given = [&from_file, &environment, &flags]
        .iter()
        .any(|layer| layer.sets(&keys::TARGET_URL));
    let kind = if url_given { "url" } else { "local" };
    let defaults = layers::defaults(surroundings, &root, kind);
    let merged = Merged::of([defaults, from_file, environment, flags]);
    let mut reading = Reading {
        merged: &merged,
        bases: Bases {
            root: &root,
            working_folder: &surroundings.working_folder,
        },
        settings: Vec::new(),
        faults,
    };
    let mut warnings = Vec::new();
    let config = read_config(&mut reading, surroundings, &mut warnings);
    match config {
        Some(config) if reading.faults.is_empty() => Ok(Loaded {
            config,
            settings: reading.settings,
            file: file.map(|(path, _)| path),
            warnings,
        }),
        _ => Err(ConfigError {
            faults: reading.faults,
        }),
    }
}

/// Returns the configuration file, and who chose it.
fn chosen_file(surroundings: &Surroundings, flags: &FlagLayer) -> Option<(PathBuf, Source)> {
    let in_working_folder = |path: &Path| surroundings.working_folder.join(path);
    if let Some(path) = flags.config_file() {
        let source = Source::Flag("--config".to_owned());
        return Some((in_working_folder(path), source));
    }
    if let Some(path) = surroundings.variable(keys::CONFIG_VARIABLE) {
        let source = Source::Variable(keys::CONFIG_VARIABLE.to_owned());
        return Some((in_working_folder(Path::new(path)), source));
    }
    let path = file::find(&surroundings.working_folder)?;
    let source = Source::File(path.display().to_string());
    Some((path, source))
}

/// Canonical, so that one site has one state folder, whatever path leads to it.
fn root_of(file: Option<&Path>, surroundings: &Surroundings) -> PathBuf {
    let root = file
        .and_then(Path::parent)
        .unwrap_or(&surroundings.working_folder);
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
}

/// Every section is read before any is missed, so that all faults are found.
fn read_config(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    warnings: &mut Vec<String>,
) -> Option<Config> {
    let app = reading.text(&keys::APP, app_name::checked);
    let dir = reading.path(&keys::DIR);
    let target = read_target(reading, surroundings, warnings);
    let watch = read_watch(reading);
    let publish = read_publish(reading);
    let log = read_log(reading);
    if let (Some(TargetConfig::Local(local)), Some(dir)) = (&target, &dir) {
        keep_apart(reading, dir, &local.volume);
    }
    Some(Config {
        app: app?,
        root: reading.bases.root.to_owned(),
        dir: dir?,
        target: target?,
        watch: watch?,
        publish: publish?,
        log: log?,
    })
}

#[derive(Clone, Copy)]
enum TargetKind {
    Local,
    Url,
}

fn read_target(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    warnings: &mut Vec<String>,
) -> Option<TargetConfig> {
    let kinds = [("local", TargetKind::Local), ("url", TargetKind::Url)];
    let kind = reading.choice(&keys::TARGET_KIND, &kinds);
    let url = reading.text(&keys::TARGET_URL, server_url);
    let secret_file = reading.path(&keys::TARGET_SECRET_FILE);
    let local = read_local(reading);
    match kind? {
        TargetKind::Local => local.map(TargetConfig::Local),
        TargetKind::Url => {
            let secret = read_secret(reading, surroundings, secret_file, warnings);
            if reading.merged.get(&keys::TARGET_URL).is_none() {
                let problem = "is needed where target.kind is \"url\"; for example \
                               \"https://example.org\"";
                reading.contradiction(&keys::TARGET_URL, problem.to_owned());
            }
            let (secret, secret_source) = secret?;
            Some(TargetConfig::Url(UrlTarget {
                url: url?,
                secret,
                secret_source,
            }))
        }
    }
}

/// The variable wins over the file, as every variable does.
fn read_secret(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    file: Option<PathBuf>,
    warnings: &mut Vec<String>,
) -> Option<(Secret, Source)> {
    let (result, source) = if let Some(value) = surroundings.variable(keys::SECRET_VARIABLE) {
        let source = Source::Variable(keys::SECRET_VARIABLE.to_owned());
        (secret::from_variable(value), source)
    } else if let Some(path) = file {
        let found = secret::from_file(&path).map(|found| {
            warnings.extend(found.warning);
            found.secret
        });
        (found, Source::File(path.display().to_string()))
    } else {
        if reading.merged.get(&keys::TARGET_SECRET_FILE).is_none() {
            let problem = "a running server needs its secret: set ONSAVE_SYNC_SECRET, or name a \
                           file that holds it";
            reading.contradiction(&keys::TARGET_SECRET_FILE, problem.to_owned());
        }
        return None;
    };
    match result {
        Ok(secret) => {
            reading.settings.push(Setting {
                key: "secret",
                value: SettingValue::Text("****".to_owned()),
                source: source.clone(),
            });
            Some((secret, source))
        }
        Err(problem) => {
            reading.faults.push(Fault {
                key: Some("secret".to_owned()),
                value: None,
                source,
                problem,
            });
            None
        }
    }
}

fn read_local(reading: &mut Reading<'_>) -> Option<LocalTarget> {
    let address = reading.text(&keys::LOCAL_ADDRESS, |text| {
        let allowed = |_| "must be an IP address and a port, such as \"127.0.0.1:8080\"".to_owned();
        text.parse::<SocketAddr>().map_err(allowed)
    });
    let volume = reading.path(&keys::LOCAL_VOLUME);
    // Each kept deploy is a whole tree of links; a thousand are more than anybody looks through.
    let keep_deploys = reading.whole(&keys::LOCAL_KEEP_DEPLOYS, 1..=1_000);
    Some(LocalTarget {
        address: address?,
        volume: volume?,
        keep_deploys: NonZeroUsize::new(usize::try_from(keep_deploys?).ok()?)?,
    })
}

fn read_watch(reading: &mut Reading<'_>) -> Option<WatchConfig> {
    let polls = [
        ("auto", PollMode::Auto),
        ("always", PollMode::Always),
        ("never", PollMode::Never),
    ];
    // The upper bounds are an hour or a day: longer is not watching, it is a typing error.
    let quiet = reading.whole(&keys::WATCH_QUIET_MS, 1..=60_000);
    let max_wait = reading.whole(&keys::WATCH_MAX_WAIT_MS, 1..=3_600_000);
    let poll = reading.choice(&keys::WATCH_POLL, &polls);
    let poll_interval = reading.whole(&keys::WATCH_POLL_INTERVAL_MS, 10..=3_600_000);
    let reconcile = reading.whole(&keys::WATCH_RECONCILE_S, 1..=86_400);
    if let (Some(quiet), Some(max_wait)) = (quiet, max_wait)
        && max_wait < quiet
    {
        let problem = format!("must be at least watch.quiet_ms, which is {quiet}");
        reading.contradiction(&keys::WATCH_MAX_WAIT_MS, problem);
    }
    Some(WatchConfig {
        quiet: Duration::from_millis(quiet?),
        max_wait: Duration::from_millis(max_wait?),
        poll: poll?,
        poll_interval: Duration::from_millis(poll_interval?),
        reconcile_interval: Duration::from_secs(reconcile?),
    })
}

fn read_publish(reading: &mut Reading<'_>) -> Option<PublishConfig> {
    let strict = reading.switch(&keys::PUBLISH_STRICT);
    let percent = reading.whole(&keys::PUBLISH_MAX_REMOVAL_PERCENT, 0..=100);
    let published_by = reading.text(&keys::PUBLISH_BY, publisher);
    let verify_live = reading.switch(&keys::PUBLISH_VERIFY_LIVE);
    let public_url = reading.text(&keys::PUBLISH_PUBLIC_URL, web_url);
    Some(PublishConfig {
        strict: strict?,
        max_removal_percent: u8::try_from(percent?).ok()?,
        published_by: published_by?,
        verify_live: verify_live?,
        public_url,
    })
}

fn read_log(reading: &mut Reading<'_>) -> Option<LogConfig> {
    let formats = [("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
    let format = reading.choice(&keys::LOG_FORMAT, &formats);
    let filter = reading.text(&keys::LOG_FILTER, |text| {
        let allowed = |_| "must be a level or a filter such as \"info,onsave=debug\"".to_owned();
        telemetry::check_filter(text).map_err(allowed)?;
        Ok(text.to_owned())
    });
    Some(LogConfig {
        format: format?,
        filter: filter?,
    })
}

fn publisher(text: &str) -> Result<String, String> {
    let most = limits::MAX_NOTE_BYTES;
    let fits = (1..=most).contains(&text.len()) && !text.chars().any(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("must be one line of 1 to {most} bytes"))
    }
}

/// A server is its scheme, host and port; the protocol's paths are its own.
fn server_url(text: &str) -> Result<String, String> {
    let allowed = "must be http:// or https:// with a host and no path, such as \
                   \"https://example.org\"";
    let url = parsed_url(text).filter(|url| url.path() == "/");
    url.map(|url| url.origin().ascii_serialization())
        .ok_or_else(|| allowed.to_owned())
}

/// Without the slash at its end, so that site paths can be put behind it.
fn web_url(text: &str) -> Result<String, String> {
    let allowed = "must be a URL that starts with http:// or https://, without a query";
    parsed_url(text)
        .map(|url| url.as_str().trim_end_matches('/').to_owned())
        .ok_or_else(|| allowed.to_owned())
}

/// A user name or a password in a URL would end in logs; what follows `?` or `#` has no meaning.
fn parsed_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = ["http", "https"].contains(&url.scheme())
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

/// A volume that is published into itself grows until the disk is full.
fn keep_apart(reading: &mut Reading<'_>, dir: &Path, volume: &Path) {
    let (dir, volume) = (lexical(dir), lexical(volume));
    if dir.starts_with(&volume) {
        let problem = format!("must not lie in local.volume, {}", volume.display());
        reading.contradiction(&keys::DIR, problem);
    } else if let Ok(inner) = volume.strip_prefix(&dir)
        // Hidden files are never published.
        && !inner.components().any(is_hidden)
    {
        let problem = format!(
            "must not lie in the site folder, {}, or it would be published itself",
            dir.display()
        );
        reading.contradiction(&keys::LOCAL_VOLUME, problem);
    }
}

fn is_hidden(component: Component<'_>) -> bool {
    let name = component.as_os_str();
    name.as_encoded_bytes().starts_with(b".") && name != ".well-known"
}

/// Resolves `..` by the names alone: the folders need not be there yet.
fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        if part == Component::ParentDir {
            path.pop();
        } else {
            path.push(part);
        }
        path
    })
}
