//! Tests of the whole way from what is typed to the configuration.

mod after_publish;
mod hooks;

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{keys::Key, *};
use crate::{
    commands::EXAMPLE,
    surroundings::{Stream, Surroundings},
};

/// A site's folder, with what a user may say in each layer.
struct Desk {
    folder: TempDir,
    surroundings: Surroundings,
    flags: FlagLayer,
}

impl Desk {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let working_folder = folder.path().canonicalize().unwrap().join("site");
        fs::create_dir(&working_folder).unwrap();
        Self {
            folder,
            surroundings: Surroundings {
                variables: [("USER".into(), "ann".into())].into(),
                working_folder,
                home: None,
                host: "desk".to_owned(),
                stderr: Stream::Other,
                program: None,
            },
            flags: FlagLayer::default(),
        }
    }

    fn file(self, text: &str) -> Self {
        fs::write(self.path(FILE_NAME), text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.surroundings
            .variables
            .insert(name.into(), value.into());
        self
    }

    fn flag(mut self, key: &'static Key, flag: &'static str, value: &str) -> Self {
        self.flags.set(key, flag, value);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.surroundings.working_folder.join(name)
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        load(&self.surroundings, &self.flags)
    }

    /// The faults as printed, with the desk's own folder left out.
    fn faults(&self) -> Vec<String> {
        let folder = self.surroundings.working_folder.display().to_string();
        let faults = self.load().unwrap_err().faults;
        faults
            .iter()
            .map(|fault| fault.to_string().replace(&folder, ""))
            .collect()
    }
}

fn setting<'a>(loaded: &'a Loaded, key: &str) -> &'a Setting {
    let mut found = loaded.settings.iter().filter(|setting| setting.key == key);
    let setting = found.next().unwrap();
    assert!(found.next().is_none(), "{key} is told once");
    setting
}

#[test]
fn nothing_said_gives_the_defaults() {
    let desk = Desk::new();
    let loaded = desk.load().unwrap();
    let config = &loaded.config;
    assert_eq!(config.app, "site");
    assert_eq!(config.root, desk.surroundings.working_folder);
    assert_eq!(config.dir, desk.path("deploy"));
    let TargetConfig::Local(local) = &config.target else {
        panic!("local by default: {:?}", config.target);
    };
    assert_eq!(local.address, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(local.volume, desk.path(".onsave/volume"));
    assert_eq!(local.keep_deploys.get(), 5);
    assert_eq!(
        config.watch,
        WatchConfig {
            quiet: Quiet::Learned,
            max_wait: Duration::from_secs(5),
            poll: PollMode::Auto,
            poll_interval: Duration::from_millis(500),
            reconcile_interval: Duration::from_mins(5),
        }
    );
    assert_eq!(
        config.publish,
        PublishConfig {
            strict: false,
            max_removal_percent: 50,
            published_by: "ann@desk".to_owned(),
            verify_live: true,
            public_url: None,
        }
    );
    assert_eq!(
        config.control,
        ControlConfig {
            listen: Some(([127, 0, 0, 1], 4747).into()),
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
        }
    );
    assert_eq!(config.notify, NotifyConfig { desktop: false });
    assert_eq!(
        config.log,
        LogConfig {
            format: LogFormat::Pretty,
            filter: "info,onsave_server=warn".to_owned(),
        }
    );
    assert_eq!(loaded.file, None);
    assert!(loaded.warnings.is_empty());
    let told: Vec<_> = loaded
        .settings
        .iter()
        .map(|setting| setting.key.as_str())
        .collect();
    let known: Vec<_> = keys::ALL.iter().map(|key| key.name).collect();
    assert_eq!(told, known);
    assert!(
        loaded
            .settings
            .iter()
            .all(|setting| setting.source == Source::Default)
    );
}

/// Three values for each key, as the file, a variable and a flag would write them.
///
/// The third column is quoted where TOML wants it.
const THREE_VALUES: [(&Key, [&str; 3], &str); 52] = [
    (&keys::APP, ["a", "b", "c"], "\""),
    (&keys::DIR, ["/a", "/b", "/c"], "\""),
    (&keys::BUILD_COMMAND, ["a", "b", "c"], "\""),
    (&keys::BUILD_WATCH, ["a", "b", "c"], "\""),
    (&keys::BUILD_OUTPUT, ["/a", "/b", "/c"], "\""),
    (
        &keys::BUILD_ON_CHANGE,
        ["restart", "queue", "restart"],
        "\"",
    ),
    (&keys::BUILD_DEBOUNCE_MS, ["1", "2", "3"], ""),
    (&keys::BUILD_TIMEOUT_S, ["1", "2", "3"], ""),
    (&keys::TARGET_KIND, ["url", "local", "url"], "\""),
    (
        &keys::TARGET_URL,
        ["http://a", "http://b", "http://c"],
        "\"",
    ),
    (&keys::TARGET_SECRET_FILE, ["/a", "/b", "/c"], "\""),
    (
        &keys::LOCAL_ADDRESS,
        ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"],
        "\"",
    ),
    (&keys::LOCAL_VOLUME, ["/a", "/b", "/c"], "\""),
    (&keys::LOCAL_KEEP_DEPLOYS, ["1", "2", "3"], ""),
    (&keys::FLY_ORG, ["a", "b", "c"], "\""),
    (&keys::FLY_REGION, ["fra", "cdg", "iad"], "\""),
    (&keys::FLY_DRIVER, ["flyctl", "api", "flyctl"], "\""),
    (&keys::FLY_IMAGE, ["a/a", "b/b", "c/c"], "\""),
    (&keys::FLY_SERVER_BINARY, ["/a", "/b", "/c"], "\""),
    (&keys::FLY_TOKEN_FILE, ["/a", "/b", "/c"], "\""),
    (&keys::FLY_VOLUME_NAME, ["a", "b", "c"], "\""),
    (&keys::FLY_VOLUME_GB, ["2", "3", "4"], ""),
    (&keys::FLY_VOLUME_LIMIT_GB, ["2", "3", "4"], ""),
    (&keys::FLY_SNAPSHOT_DAYS, ["2", "3", "4"], ""),
    (
        &keys::FLY_CPU,
        ["shared-cpu-2x", "shared-cpu-4x", "performance-1x"],
        "\"",
    ),
    (&keys::FLY_MEMORY_MB, ["512", "768", "1024"], ""),
    (&keys::FLY_AUTOSTOP, ["stop", "suspend", "off"], "\""),
    (&keys::FLY_KEEP_DEPLOYS, ["1", "2", "3"], ""),
    (&keys::FLY_DOMAINS, ["a.org", "b.org, c.org", "c.org"], "\""),
    (
        &keys::FLY_APP_URL,
        ["http://a", "http://b", "http://c"],
        "\"",
    ),
    (&keys::FLY_AUTO_REBUILD, ["true", "false", "true"], ""),
    (
        &keys::SERVE_TRAILING_SLASH,
        ["never", "always", "auto"],
        "\"",
    ),
    (&keys::SERVE_SINGLE_PAGE, ["true", "false", "true"], ""),
    (&keys::SERVE_ASSET_GRACE_S, ["1", "2", "3"], ""),
    (
        &keys::SERVE_SECURITY_HEADERS,
        ["false", "true", "false"],
        "",
    ),
    (&keys::WATCH_QUIET_MS, ["1", "2", "3"], ""),
    (&keys::WATCH_MAX_WAIT_MS, ["1001", "1002", "1003"], ""),
    (&keys::WATCH_POLL, ["always", "never", "auto"], "\""),
    (&keys::WATCH_POLL_INTERVAL_MS, ["11", "12", "13"], ""),
    (&keys::WATCH_RECONCILE_S, ["1", "2", "3"], ""),
    (&keys::PUBLISH_STRICT, ["true", "false", "true"], ""),
    (&keys::PUBLISH_MAX_REMOVAL_PERCENT, ["1", "2", "3"], ""),
    (&keys::PUBLISH_BY, ["ann", "bob", "cid"], "\""),
    (&keys::PUBLISH_VERIFY_LIVE, ["false", "true", "false"], ""),
    (
        &keys::PUBLISH_PUBLIC_URL,
        ["http://a", "http://b", "http://c"],
        "\"",
    ),
    (
        &keys::CONTROL_LISTEN,
        ["127.0.0.1:1", "[::1]:2", "off"],
        "\"",
    ),
    (
        &keys::CONTROL_ALLOW_ORIGINS,
        ["http://a", "http://b", "http://c"],
        "\"",
    ),
    (&keys::CONTROL_ALLOW_HOSTS, ["a", "b", "c"], "\""),
    (&keys::NOTIFY_DESKTOP, ["true", "false", "true"], ""),
    (
        &keys::HOOKS_LISTEN,
        ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"],
        "\"",
    ),
    (&keys::LOG_FORMAT, ["json", "pretty", "json"], "\""),
    (&keys::LOG_FILTER, ["warn", "debug", "trace"], "\""),
];

/// Loads with the value of `key` set in each layer that `layers` names, and all else valid.
fn with_layers(index: usize, layers: [bool; 3]) -> (Desk, Loaded) {
    let (key, values, quote) = THREE_VALUES[index];
    let key = keys::ALL
        .into_iter()
        .find(|known| known.name == key.name)
        .unwrap();
    // A running server needs its URL and its secret, whichever layer asks for one.
    let mut desk = Desk::new().variable("ONSAVE_SYNC_SECRET", "hunter2");
    if *key == keys::TARGET_KIND {
        desk = desk.variable("ONSAVE_TARGET_URL", "http://localhost");
    }
    if layers[0] {
        desk = desk.file(&format!("{} = {quote}{}{quote}\n", key.name, values[0]));
    }
    if layers[1] {
        desk = desk.variable(&key.variable(), values[1]);
    }
    if layers[2] {
        desk = desk.flag(key, "--flag", values[2]);
    }
    let loaded = desk.load().unwrap();
    (desk, loaded)
}

#[test]
fn every_key_has_three_values_here() {
    let here: Vec<_> = THREE_VALUES.iter().map(|(key, ..)| key.name).collect();
    let known: Vec<_> = keys::ALL.iter().map(|key| key.name).collect();
    assert_eq!(here, known);
}

proptest! {
    #[test]
    fn the_uppermost_layer_wins(index in 0..THREE_VALUES.len(), layers: [bool; 3]) {
        let (desk, loaded) = with_layers(index, layers);
        let (key, values, _) = THREE_VALUES[index];
        let setting = setting(&loaded, key.name);
        let file = format!("{}:1", desk.path(FILE_NAME).display());
        let (value, source) = match layers {
            [_, _, true] => (values[2], Source::Flag("--flag".to_owned())),
            [_, true, false] => (values[1], Source::Variable(key.variable())),
            [true, false, false] => (values[0], Source::File(file)),
            [false, false, false] => {
                prop_assert_eq!(&setting.source, &Source::Default);
                return Ok(());
            }
        };
        prop_assert_eq!(setting.value.to_string(), value);
        prop_assert_eq!(&setting.source, &source);
    }
}

#[test]
fn relative_paths_start_where_they_were_said() {
    let desk = Desk::new().file("dir = \"out/./x\"\nlocal.volume = \"/v\"");
    let inner = desk.path("pages/deep");
    fs::create_dir_all(&inner).unwrap();
    let from_inside = |flag: Option<&str>, variable: Option<&str>| {
        let mut surroundings = desk.surroundings.clone();
        surroundings.working_folder.clone_from(&inner);
        if let Some(value) = variable {
            surroundings
                .variables
                .insert("ONSAVE_DIR".into(), value.into());
        }
        let mut flags = FlagLayer::default();
        if let Some(value) = flag {
            flags.set(&keys::DIR, "--dir", value);
        }
        load(&surroundings, &flags).unwrap().config
    };
    assert_eq!(
        from_inside(None, None).root,
        desk.surroundings.working_folder
    );
    assert_eq!(from_inside(None, None).dir, desk.path("out/x"));
    assert_eq!(from_inside(None, Some("out")).dir, inner.join("out"));
    assert_eq!(
        from_inside(Some("here"), Some("out")).dir,
        inner.join("here")
    );
    assert_eq!(from_inside(Some("/there"), None).dir, Path::new("/there"));
}

#[test]
fn the_file_is_the_nearest_one_or_the_one_that_is_named() {
    let mut desk = Desk::new().file("app = \"near\"");
    fs::write(desk.folder.path().join(FILE_NAME), "app = \"far\"").unwrap();
    fs::write(desk.path("other.toml"), "app = \"other\"").unwrap();
    fs::write(desk.path("third.toml"), "app = \"third\"").unwrap();
    assert_eq!(desk.load().unwrap().config.app, "near");
    fs::remove_file(desk.path(FILE_NAME)).unwrap();
    assert_eq!(desk.load().unwrap().config.app, "far");
    desk = desk.variable("ONSAVE_CONFIG", "other.toml");
    let loaded = desk.load().unwrap();
    assert_eq!(loaded.config.app, "other");
    assert_eq!(loaded.file, Some(desk.path("other.toml")));
    desk.flags = FlagLayer::new(Some("third.toml".into()));
    assert_eq!(desk.load().unwrap().config.app, "third");
}

#[test]
fn a_named_file_must_be_there() {
    let desk = Desk::new().variable("ONSAVE_CONFIG", "absent.toml");
    let faults = desk.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("variable ONSAVE_CONFIG: /absent.toml cannot be read: "));
}

#[test]
fn a_file_that_is_none_says_so() {
    let desk = Desk::new();
    fs::create_dir(desk.path(FILE_NAME)).unwrap();
    assert!(desk.faults()[0].starts_with("file /onsave.toml: cannot be read: "));
    let desk = Desk::new();
    fs::write(desk.path(FILE_NAME), b"app = \"\xff\"").unwrap();
    assert!(desk.faults()[0].contains("must be UTF-8"));
    let desk = Desk::new().file(&"#".repeat(1024 * 1024 + 1));
    assert!(desk.faults()[0].contains("is larger than"));
    let desk = Desk::new().file(&"#".repeat(1024 * 1024));
    desk.load().unwrap();
}

#[test]
fn every_syntax_error_is_told_with_its_line() {
    let desk = Desk::new()
        .file("app = \"a\"\ndir = \nlog.format = json\napp = \"b\"\n")
        .variable("ONSAVE_DIRS", "x");
    let faults = desk.faults();
    for line in [2, 3, 4] {
        let start = format!("file /onsave.toml:{line}: is not TOML: ");
        assert!(
            faults.iter().any(|fault| fault.starts_with(&start)),
            "{line}: {faults:?}"
        );
    }
    assert!(
        faults
            .iter()
            .any(|fault| fault.starts_with("ONSAVE_DIRS: unknown variable"))
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let desk = Desk::new()
        .file(
            "app = \"My Site\"\ncolour = \"secret-looking\"\nlog = 5\n[watch]\nquiet_ms = \"25\"\n\
             quite_ms = 3\npoll = [\"auto\"]\n[local]\nkeep_deploys = 0\nvolume = {}\n[colours]\n",
        )
        .variable("ONSAVE_PUBLISH_STRICT", "maybe")
        .variable("ONSAVE_SYNC_SECRETS", "hunter2")
        .variable("ONSAVE_PUBLISH_BY", OsString::from_vec(vec![b'a', 0xff]))
        .flag(&keys::LOG_FILTER, "--filter", "info,onsave=loud");
    let expected = [
        "colour (file /onsave.toml:2): unknown key; the nearest known one is local.volume",
        "colours (file /onsave.toml:11): unknown key; the nearest known one is local.volume",
        "local.volume (file /onsave.toml:10): is a key and no section; it has one value",
        "log (file /onsave.toml:3): is a section; its keys go below [log]",
        "watch.quite_ms (file /onsave.toml:6): unknown key; the nearest known one is watch.quiet_ms",
        "publish.by = \"a\u{fffd}\" (variable ONSAVE_PUBLISH_BY): must be UTF-8",
        "ONSAVE_SYNC_SECRETS: unknown variable; the nearest known one is ONSAVE_SYNC_SECRET",
        "app = \"My Site\" (file /onsave.toml:1): must be 1 to 63 of a-z, 0-9 and -, with no - at \
         either end",
        "local.keep_deploys = 0 (file /onsave.toml:9): must be a whole number from 1 to 1000",
        "watch.quiet_ms = \"25\" (file /onsave.toml:5): must be \"auto\" or a whole number from 1 to 60000",
        "watch.poll = […] (file /onsave.toml:7): must be text in quotes",
        "publish.strict = \"maybe\" (variable ONSAVE_PUBLISH_STRICT): must be true or false",
        "log.filter = \"info,onsave=loud\" (flag --filter): must be a level or a filter such as \
         \"info,onsave=debug\"",
    ];
    assert_eq!(desk.faults(), expected);
}

/// One value out of range for each key that has a range, as a variable says it.
#[test]
fn each_key_refuses_what_it_cannot_be() {
    let cases: &[(&Key, &[&str])] = &[
        (&keys::APP, &["-", "My Site"]),
        (&keys::BUILD_COMMAND, &[" "]),
        (&keys::BUILD_ON_CHANGE, &["wait"]),
        (&keys::BUILD_DEBOUNCE_MS, &["0", "60001"]),
        (&keys::BUILD_TIMEOUT_S, &["-1", "86401"]),
        (&keys::TARGET_KIND, &["flyio", "Local"]),
        (&keys::TARGET_URL, &["example.org", "https://example.org/x"]),
        (
            &keys::LOCAL_ADDRESS,
            &["8080", "localhost:8080", "127.0.0.1:65536"],
        ),
        (
            &keys::LOCAL_KEEP_DEPLOYS,
            &["0", "1001", "-1", "5.0", "five"],
        ),
        (&keys::FLY_ORG, &["My Org"]),
        (&keys::FLY_REGION, &["stockholm", "ARN"]),
        (&keys::FLY_DRIVER, &["fly"]),
        (&keys::FLY_IMAGE, &["nginx", "https://ghcr.io/a/b"]),
        (&keys::FLY_VOLUME_NAME, &["site-data"]),
        (&keys::FLY_VOLUME_GB, &["0", "501", "1gb"]),
        (&keys::FLY_VOLUME_LIMIT_GB, &["0", "501"]),
        (&keys::FLY_SNAPSHOT_DAYS, &["0", "61"]),
        (&keys::FLY_CPU, &["shared", "shared-cpu-3x"]),
        (&keys::FLY_MEMORY_MB, &["255", "300", "4096"]),
        (&keys::FLY_AUTOSTOP, &["true", "on"]),
        (&keys::FLY_KEEP_DEPLOYS, &["0", "1001"]),
        (&keys::FLY_DOMAINS, &["localhost"]),
        (&keys::FLY_APP_URL, &["example.org"]),
        (&keys::FLY_AUTO_REBUILD, &["yes"]),
        (&keys::WATCH_QUIET_MS, &["0", "60001", "25ms"]),
        (&keys::WATCH_MAX_WAIT_MS, &["0", "3600001"]),
        (&keys::WATCH_POLL, &["true", "sometimes"]),
        (&keys::WATCH_POLL_INTERVAL_MS, &["9", "3600001"]),
        (&keys::WATCH_RECONCILE_S, &["0", "86401"]),
        (&keys::PUBLISH_STRICT, &["yes", "1"]),
        (&keys::PUBLISH_MAX_REMOVAL_PERCENT, &["101", "50%"]),
        (&keys::PUBLISH_BY, &["two\nlines"]),
        (&keys::PUBLISH_VERIFY_LIVE, &["on"]),
        (&keys::PUBLISH_PUBLIC_URL, &["example.org"]),
        (&keys::CONTROL_LISTEN, &["4747", "0.0.0.0:4747"]),
        (&keys::CONTROL_ALLOW_ORIGINS, &["*", "cms.example.org"]),
        (&keys::CONTROL_ALLOW_HOSTS, &["*", "a:1"]),
        (&keys::NOTIFY_DESKTOP, &["yes"]),
        (&keys::HOOKS_LISTEN, &["4748", "localhost:4748"]),
        (&keys::LOG_FORMAT, &["xml"]),
        (&keys::LOG_FILTER, &["onsave=loud"]),
    ];
    for (key, values) in cases {
        for value in *values {
            let desk = Desk::new()
                .variable("ONSAVE_SYNC_SECRET", "hunter2")
                .variable(&key.variable(), *value);
            let error = desk.load().unwrap_err();
            let told = error
                .faults
                .iter()
                .find(|fault| fault.key.as_deref() == Some(key.name));
            let told = told.unwrap_or_else(|| panic!("{} = {value}: {error}", key.name));
            assert_eq!(told.value, Some(format!("{value:?}")));
            assert_eq!(told.source, Source::Variable(key.variable()));
            assert!(told.problem.starts_with("must be "), "{}", told.problem);
        }
    }
}

#[test]
fn an_empty_variable_says_nothing() {
    let desk = Desk::new().file("dir = \"out\"").variable("ONSAVE_DIR", "");
    assert_eq!(desk.load().unwrap().config.dir, desk.path("out"));
}

#[test]
fn a_quiet_window_is_learned_or_fixed() {
    let quiet = |text: &str| {
        let desk = Desk::new().file(&format!("[watch]\nquiet_ms = {text}"));
        desk.load().unwrap().config.watch.quiet
    };
    assert_eq!(quiet("\"auto\""), Quiet::Learned);
    assert_eq!(quiet("25"), Quiet::Fixed(Duration::from_millis(25)));
    let by_variable = |value| {
        let desk = Desk::new().variable("ONSAVE_WATCH_QUIET_MS", value);
        desk.load().unwrap().config.watch.quiet
    };
    assert_eq!(by_variable("7"), Quiet::Fixed(Duration::from_millis(7)));
    assert_eq!(by_variable("auto"), Quiet::Learned);
    let desk = Desk::new().file("[watch]\nmax_wait_ms = 24");
    let faults = desk.faults();
    assert!(
        faults[0].ends_with("must be at least watch.quiet_ms, which is 25"),
        "{faults:?}"
    );
}

#[test]
fn the_longest_wait_is_no_shorter_than_the_quiet_window() {
    let desk = Desk::new().file("[watch]\nquiet_ms = 200\nmax_wait_ms = 100");
    assert_eq!(
        desk.faults(),
        [
            "watch.max_wait_ms = 100 (file /onsave.toml:3): must be at least watch.quiet_ms, which is 200"
        ]
    );
}

#[test]
fn the_volume_is_never_published_into_itself() {
    for (dir, volume, fits) in [
        (".", ".onsave/volume", true),
        ("deploy", "volume", true),
        ("deploy", "deployed", true),
        (".", "volume", false),
        ("deploy", "deploy/volume", false),
        ("deploy", "other/../deploy/volume", false),
        ("deploy", "deploy", false),
        ("deploy", ".", false),
        (".", ".well-known/volume", false),
    ] {
        let desk = Desk::new().file(&format!("dir = \"{dir}\"\nlocal.volume = \"{volume}\""));
        assert_eq!(desk.load().is_ok(), fits, "{dir} and {volume}");
    }
}

#[test]
fn the_secret_is_never_published() {
    for (dir, secret_file, fits) in [
        ("deploy", "sync-secret", true),
        (".", ".sync-secret", true),
        (".", "sync-secret", false),
        ("deploy", "deploy/sync-secret", false),
    ] {
        let text = format!("dir = \"{dir}\"\ntarget.secret_file = \"{secret_file}\"");
        let desk = Desk::new().file(&text);
        assert_eq!(desk.load().is_ok(), fits, "{dir} and {secret_file}");
    }
}

/// A name that does not look like the site folder may lead into it.
#[test]
fn symlinks_do_not_hide_what_lies_in_the_site_folder() {
    let link = |desk: &Desk, to: &str, name: &str| {
        std::os::unix::fs::symlink(desk.path(to), desk.path(name)).unwrap();
    };
    for (text, fits) in [
        (
            "dir = \"site\"\ntarget.secret_file = \"alias/secret\"",
            false,
        ),
        (
            "dir = \"alias\"\ntarget.secret_file = \"site/secret\"",
            false,
        ),
        (
            "dir = \"site\"\nlocal.volume = \"alias/not/there/yet\"",
            false,
        ),
        ("dir = \"alias/inner\"\nlocal.volume = \"site\"", false),
        (
            "dir = \"site\"\ntarget.secret_file = \"alias/.secret\"",
            true,
        ),
        ("dir = \"site\"\nlocal.volume = \"beside/volume\"", true),
    ] {
        let desk = Desk::new().file(text);
        fs::create_dir_all(desk.path("site/inner")).unwrap();
        fs::create_dir_all(desk.path("apart")).unwrap();
        link(&desk, "site", "alias");
        link(&desk, "apart", "beside");
        assert_eq!(desk.load().is_ok(), fits, "{text}");
    }
}

#[test]
fn a_server_is_meant_where_its_url_is_given() {
    let with_secret = || Desk::new().variable("ONSAVE_SYNC_SECRET", "hunter2");
    let desk = with_secret().file("target.url = \"https://Example.org/\"");
    let TargetConfig::Url(target) = desk.load().unwrap().config.target else {
        panic!("a URL means a server");
    };
    assert_eq!(target.url, "https://example.org");
    assert_eq!(target.secret.expose(), b"hunter2");
    let desk = with_secret().file("target.url = \"https://example.org\"\ntarget.kind = \"local\"");
    assert!(matches!(
        desk.load().unwrap().config.target,
        TargetConfig::Local(_)
    ));
    let desk = with_secret().file("target.kind = \"url\"");
    assert_eq!(
        desk.faults(),
        ["target.url: is needed where target.kind is \"url\"; for example \"https://example.org\""]
    );
}

#[test]
fn an_app_on_fly_needs_nothing_but_its_kind() {
    let loaded = Desk::new().file("target.kind = \"fly\"").load().unwrap();
    let TargetConfig::Fly(fly) = loaded.config.target else {
        panic!("{:?}", loaded.config.target);
    };
    assert_eq!((fly.region.as_str(), fly.driver), ("arn", FlyDriver::Api));
    assert_eq!(fly.guest.to_string(), "shared-cpu-1x, 256 MB");
    assert_eq!(fly.volume.name, "site_data");
    assert_eq!((fly.volume.size_gb, fly.volume.limit_gb), (1, 10));
    assert!(fly.token.is_none() && fly.secret.is_none() && fly.domains.is_empty());
    assert_eq!(fly.app_source, Source::Default);
}

#[test]
fn the_token_of_fly_comes_from_a_variable_then_the_file() {
    let desk = Desk::new().file(
        "target.kind = \"fly\"\n[fly]\ntoken_file = \"t\"\ncpu = \"shared-cpu-2x\"\n\
         domains = [\"Example.org\", \"www.example.org\"]",
    );
    fs::write(desk.path("t"), "fo1_file\n").unwrap();
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(desk.path("t"), private).unwrap();
    let fly = |desk: &Desk| match desk.load().unwrap().config.target {
        TargetConfig::Fly(fly) => fly,
        other => panic!("{other:?}"),
    };
    let of_file = fly(&desk);
    assert_eq!(of_file.token.unwrap().secret.expose(), b"fo1_file");
    // The least that goes with two processors.
    assert_eq!(of_file.guest.memory_mb, 512);
    assert_eq!(of_file.domains, ["example.org", "www.example.org"]);
    let desk = desk.variable("FLY_API_TOKEN", "fo1_second");
    assert_eq!(fly(&desk).token.unwrap().secret.expose(), b"fo1_second");
    let desk = desk.variable("FLY_ACCESS_TOKEN", "fo1_first");
    let token = fly(&desk).token.unwrap();
    assert_eq!(token.secret.expose(), b"fo1_first");
    assert_eq!(token.source, Source::Variable("FLY_ACCESS_TOKEN".into()));
    let told = format!("{:?}", desk.load().unwrap());
    assert!(!told.contains("fo1_"), "{told}");
}

#[test]
fn a_server_needs_its_secret_and_local_does_not() {
    let desk = Desk::new().file("target.url = \"https://example.org\"");
    let faults = desk.faults();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("target.secret_file: a running server needs its secret"));
    let desk = Desk::new().file("target.secret_file = \"absent\"");
    desk.load().unwrap();
}

#[test]
fn the_secret_comes_from_the_variable_then_the_file() {
    let desk = Desk::new().file("target.url = \"https://example.org\"\ntarget.secret_file = \"s\"");
    let secret_of = |desk: &Desk| match desk.load().unwrap().config.target {
        TargetConfig::Url(target) => String::from_utf8(target.secret.expose().to_vec()).unwrap(),
        TargetConfig::Local(_) | TargetConfig::Fly(_) => panic!("a URL means a server"),
    };
    assert_eq!(desk.faults(), ["secret (file /s): there is no such file"]);
    fs::write(desk.path("s"), "from-the-file\n").unwrap();
    fs::set_permissions(desk.path("s"), fs::Permissions::from_mode(0o644)).unwrap();
    let faults = desk.faults();
    assert!(faults[0].starts_with("secret (file /s): everybody on this machine may read it"));
    fs::set_permissions(desk.path("s"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(secret_of(&desk), "from-the-file");
    assert_eq!(desk.load().unwrap().warnings.len(), 1);
    let desk = desk.variable("ONSAVE_SYNC_SECRET", "from-the-variable");
    assert_eq!(secret_of(&desk), "from-the-variable");
    let loaded = desk.load().unwrap();
    assert!(loaded.warnings.is_empty());
    let told = setting(&loaded, "secret");
    assert_eq!(told.value.to_string(), "****");
    assert_eq!(
        told.source,
        Source::Variable("ONSAVE_SYNC_SECRET".to_owned())
    );
    assert!(!format!("{loaded:?}").contains("from-the"));
}

#[test]
fn a_password_in_a_url_is_refused_and_not_told() {
    let desk = Desk::new()
        .variable("ONSAVE_TARGET_URL", "https://ann:hunter2@example.org")
        .variable(
            "ONSAVE_PUBLISH_PUBLIC_URL",
            "https://ann:hunter2@example.org",
        )
        .variable("ONSAVE_SYNC_SECRET", "hunter2");
    let error = desk.load().unwrap_err();
    assert_eq!(error.faults.len(), 2);
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}

#[test]
fn a_key_without_a_section_is_never_a_section() {
    let desk = Desk::new().file("[app]\nname = \"x\"\n[watch.poll]\nwhen = 1\n[[log]]\n");
    assert_eq!(
        desk.faults(),
        [
            "app (file /onsave.toml:1): is a key and no section; it has one value",
            "log (file /onsave.toml:5): is a section; its keys go below [log]",
            "watch.poll (file /onsave.toml:3): is a key and no section; it has one value",
        ]
    );
}

/// The lines of the example that are keys, whether or not they are commented out.
///
/// A key that is commented out has no space after its `#`; an explanation has one.
fn uncommented(example: &str) -> String {
    let lines = example.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|first: char| first.is_ascii_lowercase()) => key,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_as_shipped_changes_nothing_but_the_name() {
    let loaded = Desk::new().file(EXAMPLE).load().unwrap();
    for setting in &loaded.settings {
        if setting.key == "app" {
            assert_eq!(setting.value.to_string(), "my-site");
        } else {
            assert_eq!(setting.source, Source::Default, "{}", setting.key);
        }
    }
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    // The kind is that of the example's URL unless it is said, as it then is.
    let desk = Desk::new().file(&uncommented(EXAMPLE));
    let shown = desk.load().unwrap();
    let default = Desk::new();
    let defaults = default.load().unwrap();
    let in_folder = |desk: &Desk, value: &SettingValue| {
        let folder = desk.surroundings.working_folder.display().to_string();
        value.to_string().replace(&folder, "")
    };
    for key in keys::ALL {
        let (shown, by_default) = (setting(&shown, key.name), setting(&defaults, key.name));
        assert!(
            matches!(shown.source, Source::File(_)),
            "{} is missing",
            key.name
        );
        if key.default.is_some() {
            let value = in_folder(&desk, &shown.value);
            assert_eq!(
                value,
                in_folder(&default, &by_default.value),
                "{}",
                key.name
            );
        }
    }
}

#[test]
fn the_example_explains_every_key() {
    let lines: Vec<_> = EXAMPLE.lines().collect();
    let uncommented = uncommented(EXAMPLE);
    let keys = uncommented
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains(" = "));
    let mut count = 0;
    for (index, line) in keys.filter(|(_, line)| !line.starts_with('#')) {
        count += 1;
        let before = lines[index - 1];
        assert!(
            before.starts_with("# ") && before.ends_with('.'),
            "{line} after {before}"
        );
    }
    assert_eq!(count, keys::ALL.len());
}

proptest! {
    /// Whatever the file holds, loading says what is wrong with it and does not panic.
    #[test]
    fn no_file_is_too_strange(text in "[a-z\\[\\]=\".0-9{} \n#_]{0,120}") {
        let desk = Desk::new().file(&text);
        if let Err(error) = desk.load() {
            prop_assert!(!error.faults.is_empty());
        }
    }
}

#[test]
fn a_fault_takes_its_own_part_and_leaves_the_others() {
    let desk = Desk::new().file("dir = \"out\"\n[watch]\nquiet_ms = 0\n[target]\nkind = \"url\"\n");
    let examined = examine(&desk.surroundings, &desk.flags);
    let parts = &examined.parts;
    assert_eq!(parts.dir, Some(desk.path("out")));
    assert!(parts.watch.is_none() && parts.target.is_none());
    assert!(parts.app.is_some() && parts.publish.is_some() && parts.log.is_some());
    assert_eq!(examined.faults, desk.load().unwrap_err().faults);
    assert!(examined.config().is_none());
    // What is nowhere read takes nothing.
    let desk = Desk::new().file("[watch]\nquiet = 5\n");
    let examined = examine(&desk.surroundings, &desk.flags);
    assert!(examined.config().is_some() && examined.faults.len() == 1);
    assert!(
        desk.load().is_err(),
        "a fault is a fault for everybody else"
    );
    let desk = Desk::new().file("[watch\n");
    let examined = examine(&desk.surroundings, &desk.flags);
    assert!(examined.parts.dir.is_none() && examined.faults.len() == 1);
    assert_eq!(examined.root, desk.surroundings.working_folder);
}

#[test]
fn a_build_is_a_line_for_the_shell_or_a_program_with_its_arguments() {
    let loaded = |text: &str| Desk::new().file(text).load().unwrap().config.build;
    assert_eq!(loaded("[build]\non_change = \"restart\""), None);
    let build = loaded("build.command = \"npm run build\"").unwrap();
    let expected = BuildConfig {
        command: BuildCommand::Shell("npm run build".to_owned()),
        watch: Vec::new(),
        on_change: OnChange::Queue,
        debounce: Duration::from_millis(50),
        timeout: None,
    };
    assert_eq!(build, expected);
    let build = loaded("[build]\ncommand = [\"a b\", \"c\", \"c\"]\ntimeout_s = 60").unwrap();
    let words = ["a b", "c", "c"].map(str::to_owned).to_vec();
    assert_eq!(build.command, BuildCommand::Program(words));
    assert_eq!(build.timeout, Some(Duration::from_mins(1)));
    for text in ["[]", "[\"\"]", "[\"a\", 1]", "5", "\"\""] {
        let desk = Desk::new().file(&format!("build.command = {text}"));
        assert!(desk.faults()[0].contains("must be a "), "{text}");
    }
    let desk = Desk::new().file("build.command = \"x\"\nbuild.watch = [\"src\", \"{a\"]");
    assert!(desk.faults()[0].contains("must be patterns as in .gitignore: "));
}

#[test]
fn the_output_of_a_build_is_the_site_folder() {
    let desk = Desk::new().file("[build]\ncommand = \"x\"\noutput = \"dist\"");
    let loaded = desk.load().unwrap();
    assert_eq!(loaded.config.dir, desk.path("dist"));
    let said = setting(&loaded, "dir");
    assert_eq!(
        said.value.to_string(),
        desk.path("dist").display().to_string()
    );
    assert!(matches!(said.source, Source::File(_)));
    let same = "dir = \"dist/\"\n[build]\ncommand = \"x\"\noutput = \"dist\"";
    assert!(Desk::new().file(same).load().is_ok());
    let other = same.replace("dist/", "out");
    assert_eq!(
        Desk::new().file(&other).faults(),
        [
            "build.output = \"dist\" (file /onsave.toml:4): is the site folder, and dir (file \
          /onsave.toml:1) names another"
        ]
    );
    let warned = Desk::new().file("build.output = \"dist\"").load().unwrap();
    assert_eq!(
        warned.warnings,
        ["nothing is built: build.command is not set"]
    );
}

#[test]
fn a_build_into_its_own_sources_is_refused() {
    for folder in [".", "..", "../site"] {
        let text = format!("build.command = \"x\"\nbuild.output = \"{folder}\"");
        let faults = Desk::new().file(&text).faults();
        assert!(faults[0].contains("is no source"), "{folder}: {faults:?}");
        let text = format!("build.command = \"x\"\ndir = \"{folder}\"");
        let faults = Desk::new().file(&text).faults();
        assert!(faults[0].starts_with("dir = "), "{folder}: {faults:?}");
        assert!(
            Desk::new()
                .file(&format!("dir = \"{folder}\"\nlocal.volume = \"/v\""))
                .load()
                .is_ok()
        );
    }
}
