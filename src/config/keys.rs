//! Every key of the configuration: its name, its variable and its default.
//!
//! A default is written as a variable or a flag would write it, and takes the same way through
//! [`super::raw`], so that no default can be out of its own range. Defaults that depend on the
//! surroundings (`app`, `publish.by`, and `target.kind` beside a URL) are made in
//! [`super::layers`].

/// One key of the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// `section.name`, or the name alone.
    pub(crate) name: &'static str,
    /// What holds when no layer says anything.
    pub(crate) default: Option<&'static str>,
}

/// What every variable of onsave starts with.
pub(crate) const VARIABLE_PREFIX: &str = "ONSAVE_";

/// The variable that holds the target's secret.
pub(crate) const SECRET_VARIABLE: &str = "ONSAVE_SYNC_SECRET";

/// What a service manager hands the target's secret over as.
pub(crate) const SECRET_CREDENTIAL: &str = "sync-secret";

/// What a service manager hands the platform's token over as.
pub(crate) const TOKEN_CREDENTIAL: &str = "fly-token";

/// The variable that names the configuration file.
pub(crate) const CONFIG_VARIABLE: &str = "ONSAVE_CONFIG";

const fn key(name: &'static str) -> Key {
    Key {
        name,
        default: None,
    }
}

const fn with_default(name: &'static str, default: &'static str) -> Key {
    Key {
        name,
        default: Some(default),
    }
}

pub(crate) static APP: Key = key("app");
pub(crate) static DIR: Key = with_default("dir", "deploy");
pub(crate) static BUILD_COMMAND: Key = key("build.command");
pub(crate) static BUILD_WATCH: Key = with_default("build.watch", "");
pub(crate) static BUILD_OUTPUT: Key = key("build.output");
pub(crate) static BUILD_ON_CHANGE: Key = with_default("build.on_change", "queue");
pub(crate) static BUILD_DEBOUNCE_MS: Key = with_default("build.debounce_ms", "50");
pub(crate) static BUILD_TIMEOUT_S: Key = with_default("build.timeout_s", "0");
pub(crate) static TARGET_KIND: Key = with_default("target.kind", "local");
pub(crate) static TARGET_URL: Key = key("target.url");
pub(crate) static TARGET_SECRET_FILE: Key = key("target.secret_file");
pub(crate) static LOCAL_ADDRESS: Key = with_default("local.address", "127.0.0.1:8080");
pub(crate) static LOCAL_VOLUME: Key = with_default("local.volume", ".onsave/volume");
pub(crate) static LOCAL_KEEP_DEPLOYS: Key = with_default("local.keep_deploys", "5");
pub(crate) static FLY_ORG: Key = key("fly.org");
pub(crate) static FLY_REGION: Key = with_default("fly.region", "arn");
pub(crate) static FLY_DRIVER: Key = with_default("fly.driver", "api");
pub(crate) static FLY_IMAGE: Key = key("fly.image");
pub(crate) static FLY_SERVER_BINARY: Key = key("fly.server_binary");
pub(crate) static FLY_TOKEN_FILE: Key = key("fly.token_file");
pub(crate) static FLY_VOLUME_NAME: Key = with_default("fly.volume_name", "site_data");
pub(crate) static FLY_VOLUME_GB: Key = with_default("fly.volume_gb", "1");
pub(crate) static FLY_VOLUME_LIMIT_GB: Key = with_default("fly.volume_limit_gb", "10");
pub(crate) static FLY_SNAPSHOT_DAYS: Key = with_default("fly.snapshot_days", "5");
pub(crate) static FLY_CPU: Key = with_default("fly.cpu", "shared-cpu-1x");
pub(crate) static FLY_MEMORY_MB: Key = key("fly.memory_mb");
pub(crate) static FLY_AUTOSTOP: Key = with_default("fly.autostop", "off");
pub(crate) static FLY_KEEP_DEPLOYS: Key = with_default("fly.keep_deploys", "5");
pub(crate) static FLY_DOMAINS: Key = with_default("fly.domains", "");
pub(crate) static FLY_APP_URL: Key = key("fly.app_url");
pub(crate) static FLY_AUTO_REBUILD: Key = with_default("fly.auto_rebuild", "false");
pub(crate) static SERVE_TRAILING_SLASH: Key = with_default("serve.trailing_slash", "auto");
pub(crate) static SERVE_SINGLE_PAGE: Key = with_default("serve.single_page", "false");
pub(crate) static SERVE_ASSET_GRACE_S: Key = with_default("serve.asset_grace_s", "86400");
pub(crate) static SERVE_SECURITY_HEADERS: Key = with_default("serve.security_headers", "true");
pub(crate) static WATCH_QUIET_MS: Key = with_default("watch.quiet_ms", "auto");
pub(crate) static WATCH_MAX_WAIT_MS: Key = with_default("watch.max_wait_ms", "5000");
pub(crate) static WATCH_POLL: Key = with_default("watch.poll", "auto");
pub(crate) static WATCH_POLL_INTERVAL_MS: Key = with_default("watch.poll_interval_ms", "500");
pub(crate) static WATCH_RECONCILE_S: Key = with_default("watch.reconcile_s", "300");
pub(crate) static PUBLISH_STRICT: Key = with_default("publish.strict", "false");
pub(crate) static PUBLISH_MAX_REMOVAL_PERCENT: Key =
    with_default("publish.max_removal_percent", "50");
pub(crate) static PUBLISH_BY: Key = key("publish.by");
pub(crate) static PUBLISH_VERIFY_LIVE: Key = with_default("publish.verify_live", "true");
pub(crate) static PUBLISH_PUBLIC_URL: Key = key("publish.public_url");
pub(crate) static CONTROL_LISTEN: Key = with_default("control.listen", "127.0.0.1:4747");
pub(crate) static CONTROL_ALLOW_ORIGINS: Key = with_default("control.allow_origins", "");
pub(crate) static CONTROL_ALLOW_HOSTS: Key = with_default("control.allow_hosts", "");
pub(crate) static NOTIFY_DESKTOP: Key = with_default("notify.desktop", "false");
pub(crate) static HOOKS_LISTEN: Key = key("hooks.listen");
pub(crate) static LOG_FORMAT: Key = with_default("log.format", "pretty");
pub(crate) static LOG_FILTER: Key = with_default("log.filter", "info,onsave_server=warn");

/// Every key, in the order in which they are shown.
pub(crate) static ALL: [&Key; 52] = [
    &APP,
    &DIR,
    &BUILD_COMMAND,
    &BUILD_WATCH,
    &BUILD_OUTPUT,
    &BUILD_ON_CHANGE,
    &BUILD_DEBOUNCE_MS,
    &BUILD_TIMEOUT_S,
    &TARGET_KIND,
    &TARGET_URL,
    &TARGET_SECRET_FILE,
    &LOCAL_ADDRESS,
    &LOCAL_VOLUME,
    &LOCAL_KEEP_DEPLOYS,
    &FLY_ORG,
    &FLY_REGION,
    &FLY_DRIVER,
    &FLY_IMAGE,
    &FLY_SERVER_BINARY,
    &FLY_TOKEN_FILE,
    &FLY_VOLUME_NAME,
    &FLY_VOLUME_GB,
    &FLY_VOLUME_LIMIT_GB,
    &FLY_SNAPSHOT_DAYS,
    &FLY_CPU,
    &FLY_MEMORY_MB,
    &FLY_AUTOSTOP,
    &FLY_KEEP_DEPLOYS,
    &FLY_DOMAINS,
    &FLY_APP_URL,
    &FLY_AUTO_REBUILD,
    &SERVE_TRAILING_SLASH,
    &SERVE_SINGLE_PAGE,
    &SERVE_ASSET_GRACE_S,
    &SERVE_SECURITY_HEADERS,
    &WATCH_QUIET_MS,
    &WATCH_MAX_WAIT_MS,
    &WATCH_POLL,
    &WATCH_POLL_INTERVAL_MS,
    &WATCH_RECONCILE_S,
    &PUBLISH_STRICT,
    &PUBLISH_MAX_REMOVAL_PERCENT,
    &PUBLISH_BY,
    &PUBLISH_VERIFY_LIVE,
    &PUBLISH_PUBLIC_URL,
    &CONTROL_LISTEN,
    &CONTROL_ALLOW_ORIGINS,
    &CONTROL_ALLOW_HOSTS,
    &NOTIFY_DESKTOP,
    &HOOKS_LISTEN,
    &LOG_FORMAT,
    &LOG_FILTER,
];

/// A kind of section that a file may hold any number of times; variables and flags set none of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Collection {
    /// `hooks` for `[hooks.<id>]`, `after_publish` for `[[after_publish]]`.
    pub(crate) name: &'static str,
    /// How its entries are written.
    pub(crate) shape: CollectionShape,
    /// The keys of an entry, named without the entry's own name, and their defaults.
    pub(crate) keys: &'static [&'static Key],
}

/// How the entries of a collection are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectionShape {
    /// `[name.<id>]`; plain keys of the same section may stand beside them.
    Named,
    /// `[[name]]`, in an order that matters; their ids are `1`, `2` and so on.
    Listed,
}

/// Where an entry's secret is: a file, a variable, or what a service manager hands over.
pub(crate) static ENTRY_SECRET_FILE: Key = key("secret_file");
pub(crate) static ENTRY_SECRET_ENV: Key = key("secret_env");
pub(crate) static ENTRY_SECRET_CREDENTIAL: Key = key("secret_credential");

pub(crate) static HOOK_VERIFY: Key = key("verify");
pub(crate) static HOOK_HEADER: Key = key("header");
pub(crate) static HOOK_ACTION: Key = key("action");
pub(crate) static HOOK_EVENTS: Key = key("events");
pub(crate) static FETCH_PROJECT: Key = key("fetch.project");
pub(crate) static FETCH_DATASET: Key = with_default("fetch.dataset", "production");
pub(crate) static FETCH_API_VERSION: Key = with_default("fetch.api_version", "2025-02-19");
pub(crate) static FETCH_QUERY: Key = key("fetch.query");
pub(crate) static FETCH_PATH: Key = key("fetch.path");
pub(crate) static FETCH_URL: Key = key("fetch.url");
pub(crate) static FETCH_TOKEN_FILE: Key = key("fetch.token_file");
pub(crate) static FETCH_TOKEN_ENV: Key = key("fetch.token_env");
pub(crate) static FETCH_TOKEN_CREDENTIAL: Key = key("fetch.token_credential");

/// Who may tell of changes, and what is done about them.
pub(crate) static HOOKS: Collection = Collection {
    name: "hooks",
    shape: CollectionShape::Named,
    keys: &[
        &HOOK_VERIFY,
        &HOOK_HEADER,
        &HOOK_ACTION,
        &HOOK_EVENTS,
        &ENTRY_SECRET_FILE,
        &ENTRY_SECRET_ENV,
        &ENTRY_SECRET_CREDENTIAL,
        &FETCH_PROJECT,
        &FETCH_DATASET,
        &FETCH_API_VERSION,
        &FETCH_QUERY,
        &FETCH_PATH,
        &FETCH_URL,
        &FETCH_TOKEN_FILE,
        &FETCH_TOKEN_ENV,
        &FETCH_TOKEN_CREDENTIAL,
    ],
};

pub(crate) static AFTER_NAME: Key = key("name");
pub(crate) static AFTER_KIND: Key = key("kind");
pub(crate) static AFTER_PATHS: Key = with_default("paths", "");
pub(crate) static AFTER_ATTEMPTS: Key = with_default("attempts", "43");
pub(crate) static AFTER_TIMEOUT_S: Key = key("timeout_s");
pub(crate) static AFTER_URL: Key = key("url");
pub(crate) static AFTER_FORMAT: Key = with_default("format", "onsave");
pub(crate) static AFTER_TEMPLATE: Key = with_default("template", "");
pub(crate) static AFTER_APP: Key = key("app");
pub(crate) static AFTER_MACHINES: Key = with_default("machines", "");
pub(crate) static AFTER_ZONE: Key = key("zone");
pub(crate) static AFTER_BASE: Key = with_default("base", "");
pub(crate) static AFTER_API_URL: Key = with_default("api_url", "https://api.cloudflare.com");
pub(crate) static AFTER_COMMAND: Key = key("command");

/// What is told of a publish.
pub(crate) static AFTER_PUBLISH: Collection = Collection {
    name: "after_publish",
    shape: CollectionShape::Listed,
    keys: &[
        &AFTER_NAME,
        &AFTER_KIND,
        &AFTER_PATHS,
        &AFTER_ATTEMPTS,
        &AFTER_TIMEOUT_S,
        &AFTER_URL,
        &AFTER_FORMAT,
        &AFTER_TEMPLATE,
        &AFTER_APP,
        &AFTER_MACHINES,
        &AFTER_ZONE,
        &AFTER_BASE,
        &AFTER_API_URL,
        &AFTER_COMMAND,
        &ENTRY_SECRET_FILE,
        &ENTRY_SECRET_ENV,
        &ENTRY_SECRET_CREDENTIAL,
    ],
};

/// Every collection.
pub(crate) static COLLECTIONS: [&Collection; 2] = [&HOOKS, &AFTER_PUBLISH];

impl Collection {
    /// Returns the entry's key of that name.
    pub(super) fn named(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().copied().find(|key| key.name == name)
    }

    /// Returns whether some key of an entry is in the section of that name.
    pub(super) fn is_section(&self, name: &str) -> bool {
        self.keys
            .iter()
            .any(|key| matches!(key.name.split_once('.'), Some((section, _)) if section == name))
    }

    /// Returns the name of an entry's key that looks most like `unknown`.
    pub(super) fn nearest(&self, unknown: &str) -> &'static str {
        nearest_of(self.keys.iter().map(|key| key.name), unknown)
    }
}

impl Key {
    /// Returns the variable that sets the key.
    pub(crate) fn variable(&self) -> String {
        let name = self.name.replace('.', "_").to_uppercase();
        format!("{VARIABLE_PREFIX}{name}")
    }
}

/// Returns the key of that name.
pub(super) fn named(name: &str) -> Option<&'static Key> {
    ALL.into_iter().find(|key| key.name == name)
}

/// Returns the key that a variable sets.
pub(super) fn of_variable(variable: &str) -> Option<&'static Key> {
    ALL.into_iter().find(|key| key.variable() == variable)
}

/// Returns whether some key is in the section of that name.
pub(super) fn is_section(name: &str) -> bool {
    ALL.into_iter()
        .any(|key| matches!(key.name.split_once('.'), Some((section, _)) if section == name))
}

/// Returns the known key that looks most like `unknown`.
///
/// A key in the wrong section, or in none, is known by its last part.
pub(super) fn nearest(unknown: &str) -> &'static str {
    nearest_of(ALL.into_iter().map(|key| key.name), unknown)
}

fn nearest_of(known: impl Iterator<Item = &'static str>, unknown: &str) -> &'static str {
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    most_alike(known, |name| {
        let whole = strsim::normalized_damerau_levenshtein(unknown, name);
        let tail = if last(name).starts_with(&last(unknown)) {
            // Cut short, as `max` for `max_wait_ms`: many letters apart, and yet the same.
            0.9
        } else {
            strsim::normalized_damerau_levenshtein(&last(unknown), &last(name))
        };
        // The whole name decides between two keys with the same last part.
        whole.max(tail) + whole / 100.0
    })
}

/// Returns the known variable that looks most like `unknown`.
pub(super) fn nearest_variable(unknown: &str) -> String {
    let known = ALL
        .into_iter()
        .map(Key::variable)
        .chain([SECRET_VARIABLE, CONFIG_VARIABLE].map(str::to_owned));
    // The prefix that all share would make every pair look alike.
    let tail = |name: &str| name.trim_start_matches(VARIABLE_PREFIX).to_owned();
    most_alike(known, |name| {
        strsim::normalized_damerau_levenshtein(&tail(unknown), &tail(name))
    })
}

fn most_alike<N>(known: impl Iterator<Item = N>, likeness: impl Fn(&N) -> f64) -> N {
    known
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .expect("there are keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_unique_and_lead_back() {
        for key in ALL {
            assert_eq!(of_variable(&key.variable()), Some(key));
            assert_eq!(named(key.name), Some(key));
            assert!(![SECRET_VARIABLE, CONFIG_VARIABLE].contains(&key.variable().as_str()));
        }
        assert_eq!(WATCH_QUIET_MS.variable(), "ONSAVE_WATCH_QUIET_MS");
        assert_eq!(of_variable("ONSAVE_WATCH.QUIET_MS"), None);
    }

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (unknown, meant) in [
            ("watch.quite_ms", "watch.quiet_ms"),
            ("quiet_ms", "watch.quiet_ms"),
            ("publish.quiet_ms", "watch.quiet_ms"),
            ("watch.quiet", "watch.quiet_ms"),
            ("watch.pol", "watch.poll"),
            ("watch.max", "watch.max_wait_ms"),
            ("log.filters", "log.filter"),
            ("target.uri", "target.url"),
            ("url", "target.url"),
            ("target.secret", "target.secret_file"),
            ("local.keep", "local.keep_deploys"),
            ("deploy.dir", "dir"),
        ] {
            assert_eq!(nearest(unknown), meant, "{unknown}");
        }
    }

    #[test]
    fn the_nearest_variable_is_the_one_that_was_meant() {
        for (unknown, meant) in [
            ("ONSAVE_SECRET", "ONSAVE_SYNC_SECRET"),
            ("ONSAVE_WATCH_QUITE_MS", "ONSAVE_WATCH_QUIET_MS"),
            ("ONSAVE_TARGETURL", "ONSAVE_TARGET_URL"),
            ("ONSAVE_CONFIG_FILE", "ONSAVE_CONFIG"),
            ("ONSAVE_DIRS", "ONSAVE_DIR"),
        ] {
            assert_eq!(nearest_variable(unknown), meant, "{unknown}");
        }
    }

    #[test]
    fn sections_are_the_parts_before_the_dot() {
        for section in ["target", "local", "fly", "serve", "watch", "publish", "log"] {
            assert!(is_section(section));
        }
        assert!(!is_section("app") && !is_section("watc"));
    }
}
