//! What each key may hold, section by section, and the rules between keys.
//!
//! Of the disk, only the file of a running server's secret is read, and symlinks are followed to see
//! what lies in the site folder. A key has its range here and its default in [`keys`]; both meet in
//! a test.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use onsave_protocol::limits;
use onsave_server::config::{Fallback, SecurityHeaders, Serving, TrailingSlash};

use super::{
    LocalTarget, LogConfig, LogFormat, NotifyConfig, PollMode, PublishConfig, Quiet, Source,
    TargetConfig, UrlTarget, WatchConfig, after_publish, app_name,
    build::BuildSection,
    control,
    fly::{self, FlySection, GivenSecret},
    hooks, keys,
    layers::Entry,
    load::Parts,
    raw::{Reading, WholeOr},
    secret, url,
};
use crate::{rhythm, surroundings::Surroundings, telemetry};

/// Every section is read whatever is wrong with another, so that all faults are found.
pub(super) fn read_parts(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    entries: &[Entry],
) -> Parts {
    let app = reading.text(&keys::APP, app_name::checked);
    let dir = reading.path(&keys::DIR);
    let build = BuildSection::read(reading);
    let dir = build.site_folder(reading, dir);
    let build = build.config(reading, dir.as_deref());
    let target = read_target(reading, surroundings, dir.as_deref());
    let watch = read_watch(reading);
    let publish = read_publish(reading);
    let control = control::read(reading);
    let notify = reading.switch(&keys::NOTIFY_DESKTOP);
    let place = hooks::Place {
        surroundings,
        dir: dir.as_deref(),
        builds: build.is_some(),
    };
    let hooks = hooks::read(reading, entries, place);
    let log = read_log(reading);
    let after_publish = after_publish::read(reading, (surroundings, dir.as_deref()), entries);
    if let (Some(TargetConfig::Local(local)), Some(dir)) = (&target, &dir) {
        keep_apart(reading, dir, &local.volume);
    }
    Parts {
        app,
        dir,
        build,
        target,
        watch,
        publish,
        control,
        notify: notify.map(|desktop| NotifyConfig { desktop }),
        hooks,
        after_publish,
        log,
    }
}

#[derive(Clone, Copy)]
enum TargetKind {
    Local,
    Url,
    Fly,
}

fn read_target(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    dir: Option<&Path>,
) -> Option<TargetConfig> {
    let kinds = [
        ("local", TargetKind::Local),
        ("url", TargetKind::Url),
        ("fly", TargetKind::Fly),
    ];
    let kind = reading.choice(&keys::TARGET_KIND, &kinds);
    let url = reading.text(&keys::TARGET_URL, url::of_server);
    let secret_file = reading.path(&keys::TARGET_SECRET_FILE);
    // Whatever the target: a publish to this machine would give it to its visitors too.
    if let (Some(file), Some(dir)) = (&secret_file, dir) {
        keep_unpublished(reading, &keys::TARGET_SECRET_FILE, dir, file);
    }
    let secret = match kind {
        Some(TargetKind::Url | TargetKind::Fly) => read_secret(reading, surroundings, secret_file),
        Some(TargetKind::Local) | None => None,
    };
    let local = read_local(reading);
    let fly = FlySection::read(reading);
    let serving = read_serve(reading);
    if let (Some(file), Some(dir)) = (&fly.token_file, dir) {
        keep_unpublished(reading, &keys::FLY_TOKEN_FILE, dir, file);
    }
    match kind? {
        TargetKind::Local => Some(TargetConfig::Local(LocalTarget {
            serving: serving?,
            ..local?
        })),
        TargetKind::Fly => {
            let token = fly::read_token(reading, surroundings, fly.token_file.clone());
            let given = fly::Given {
                app: reading.merged.get(&keys::APP)?.1,
                token,
                secret,
            };
            let target = fly.target(serving?, given, surroundings)?;
            Some(TargetConfig::Fly(Box::new(target)))
        }
        TargetKind::Url => {
            if reading.merged.get(&keys::TARGET_URL).is_none() {
                let problem = "is needed where target.kind is \"url\"; for example \
                               \"https://example.org\"";
                reading.contradiction(&keys::TARGET_URL, problem.to_owned());
            }
            if secret.is_none()
                && surroundings.variable(keys::SECRET_VARIABLE).is_none()
                && secret::from_manager(surroundings, keys::SECRET_CREDENTIAL).is_none()
                && reading.merged.get(&keys::TARGET_SECRET_FILE).is_none()
            {
                let problem = "a running server needs its secret: set ONSAVE_SYNC_SECRET, or name \
                               a file that holds it";
                reading.contradiction(&keys::TARGET_SECRET_FILE, problem.to_owned());
            }
            let GivenSecret { secret, source } = secret?;
            Some(TargetConfig::Url(UrlTarget {
                url: url?,
                secret,
                secret_source: source,
            }))
        }
    }
}

/// The variable wins over the file, as every variable does; between them stands what the service manager
/// hands over, which somebody named for this service.
fn read_secret(
    reading: &mut Reading<'_>,
    surroundings: &Surroundings,
    file: Option<PathBuf>,
) -> Option<GivenSecret> {
    let (found, source) = if let Some(value) = surroundings.variable(keys::SECRET_VARIABLE) {
        let source = Source::Variable(keys::SECRET_VARIABLE.to_owned());
        (secret::from_variable(value), source)
    } else if let Some((path, found)) = secret::from_manager(surroundings, keys::SECRET_CREDENTIAL)
    {
        (found, Source::File(path.display().to_string()))
    } else {
        let path = file?;
        let found = secret::from_file(&path).map(|found| {
            reading.warnings.extend(found.warning);
            found.secret
        });
        (found, Source::File(path.display().to_string()))
    };
    reading.secret("secret", found, source)
}

/// How it serves is said by another section.
fn read_local(reading: &mut Reading<'_>) -> Option<LocalTarget> {
    let address = reading.text(&keys::LOCAL_ADDRESS, |text| {
        let allowed = |_| "must be an IP address and a port, such as \"127.0.0.1:8080\"".to_owned();
        text.parse::<SocketAddr>().map_err(allowed)
    });
    let volume = reading.path(&keys::LOCAL_VOLUME);
    // Each kept deploy is a whole tree of links; a thousand are more than anybody looks through.
    let keep_deploys = reading.whole(&keys::LOCAL_KEEP_DEPLOYS, 1..=1_000);
    Some(LocalTarget {
        serving: Serving::default(),
        address: address?,
        volume: volume?,
        keep_deploys: NonZeroUsize::new(usize::try_from(keep_deploys?).ok()?)?,
    })
}

fn read_serve(reading: &mut Reading<'_>) -> Option<Serving> {
    let policies = [
        ("auto", TrailingSlash::Auto),
        ("never", TrailingSlash::Never),
        ("always", TrailingSlash::Always),
    ];
    let trailing_slash = reading.choice(&keys::SERVE_TRAILING_SLASH, &policies);
    let single_page = reading.switch(&keys::SERVE_SINGLE_PAGE);
    // A year: what is older was loaded by nobody who still has it open.
    let asset_grace = reading.whole(&keys::SERVE_ASSET_GRACE_S, 0..=31_536_000);
    let security_headers = reading.switch(&keys::SERVE_SECURITY_HEADERS);
    Some(Serving {
        trailing_slash: trailing_slash?,
        fallback: if single_page? {
            Fallback::SinglePage
        } else {
            Fallback::NotFoundPage
        },
        asset_grace: Duration::from_secs(asset_grace?),
        security_headers: if security_headers? {
            SecurityHeaders::Default
        } else {
            SecurityHeaders::Off
        },
        ..Serving::default()
    })
}

fn read_watch(reading: &mut Reading<'_>) -> Option<WatchConfig> {
    let polls = [
        ("auto", PollMode::Auto),
        ("always", PollMode::Always),
        ("never", PollMode::Never),
    ];
    // The upper bounds are an hour or a day: longer is not watching, it is a typing error.
    let quiet = match reading.whole_or(&keys::WATCH_QUIET_MS, "auto", 1..=60_000) {
        Some(WholeOr::Word) => Some(Quiet::Learned),
        Some(WholeOr::Whole(ms)) => Some(Quiet::Fixed(Duration::from_millis(ms))),
        None => None,
    };
    let max_wait = reading.whole(&keys::WATCH_MAX_WAIT_MS, 1..=3_600_000);
    let poll = reading.choice(&keys::WATCH_POLL, &polls);
    let poll_interval = reading.whole(&keys::WATCH_POLL_INTERVAL_MS, 10..=3_600_000);
    let reconcile = reading.whole(&keys::WATCH_RECONCILE_S, 1..=86_400);
    let least = quiet.map(|quiet| match quiet {
        Quiet::Fixed(quiet) => quiet,
        Quiet::Learned => rhythm::SAFE,
    });
    if let (Some(least), Some(max_wait)) = (least, max_wait)
        && Duration::from_millis(max_wait) < least
    {
        let least = least.as_millis();
        let problem = format!("must be at least watch.quiet_ms, which is {least}");
        reading.contradiction(&keys::WATCH_MAX_WAIT_MS, problem);
    }
    Some(WatchConfig {
        quiet: quiet?,
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
    let public_url = reading.text(&keys::PUBLISH_PUBLIC_URL, url::of_site);
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

/// A volume that is published into itself grows until the disk is full.
fn keep_apart(reading: &mut Reading<'_>, dir: &Path, volume: &Path) {
    let inside = [lexical, real]
        .iter()
        .any(|resolved| resolved(dir).starts_with(resolved(volume)));
    if inside {
        let problem = format!("must not lie in local.volume, {}", volume.display());
        reading.contradiction(&keys::DIR, problem);
    } else {
        keep_unpublished(reading, &keys::LOCAL_VOLUME, dir, volume);
    }
}

/// A secret that is published is one no more; a volume, see [`keep_apart`].
pub(super) fn keep_unpublished(
    reading: &mut Reading<'_>,
    key: &'static keys::Key,
    dir: &Path,
    path: &Path,
) {
    // By name, since the folders may not be there yet, and by where the names lead to now.
    let published = [lexical, real]
        .iter()
        .any(|resolved| is_published(&resolved(dir), &resolved(path)));
    if published {
        let problem = format!(
            "must not lie in the site folder, {}, or it would be published itself",
            lexical(dir).display()
        );
        reading.contradiction(key, problem);
    }
}

fn is_published(dir: &Path, path: &Path) -> bool {
    // Hidden files are never published.
    path.strip_prefix(dir)
        .is_ok_and(|inner| !inner.components().any(is_hidden))
}

fn is_hidden(component: Component<'_>) -> bool {
    let name = component.as_os_str();
    name.as_encoded_bytes().starts_with(b".") && name != ".well-known"
}

/// Resolves `..` by the names alone: the folders need not be there yet.
pub(super) fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        if part == Component::ParentDir {
            path.pop();
        } else {
            path.push(part);
        }
        path
    })
}

/// Follows the symlinks of as much of the path as is there; the rest is resolved by its names.
pub(super) fn real(path: &Path) -> PathBuf {
    let there = path
        .ancestors()
        .find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    match there {
        Some((folder, real)) => {
            let rest = path.strip_prefix(folder).unwrap_or(Path::new(""));
            lexical(&real.join(rest))
        }
        None => lexical(path),
    }
}
