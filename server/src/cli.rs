//! The command's flags and environment → what to do, checked.
//!
//! Flags win over the environment, and the environment over the defaults; an empty value counts as
//! not given. All faults are found before any is reported. The environment is handed in, so that
//! tests need none. Parsing never acts.

mod bounds;
mod settings;

use std::{
    ffi::OsString,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::Parser;

use crate::{
    config::{PeerSource, Secrets, ServerConfig},
    observer::AccessLogFormat,
    reply::chain,
    store::StoreOptions,
    telemetry::{self, LogFormat},
};

use self::settings::Source;

/// What the process ends with; part of the command's contract.
pub mod exit_code {
    /// The server drained and ended, `--verify` found nothing wrong, or `--health` a server that is
    /// well.
    pub const OK: u8 = 0;
    /// The server could not start or go on, or `--health` found none that is well.
    pub const FAILURE: u8 = 1;
    /// The flags or the environment are wrong.
    pub const USAGE: u8 = 2;
    /// `--verify` found damage.
    pub const DAMAGED: u8 = 3;
}

/// Most that can be counted at once: what a semaphore takes.
const MOST_AT_ONCE: usize = tokio::sync::Semaphore::MAX_PERMITS;

const EXAMPLES: &str = "\
Secrets come from the environment or from a file, never from a flag:
  SYNC_SECRET            the shared secret that requests are signed with; required
  SYNC_SECRET_FILE       a file that holds it instead
  SYNC_SECRET_PREVIOUS   the secret before a rotation, still accepted
  SYNC_SECRET_PREVIOUS_FILE   a file that holds it instead
  RUST_LOG               which log lines are written [default: info]

When it is ready, the server writes one line to standard output:
  onsave-server ready on http://127.0.0.1:8080
With port 0 the system chooses the port, and the line says which. Where metrics are on, a second
line says where; then come the lines of the access log, where that is on. Log lines go to standard
error.

Exit codes: 0 ended as asked, or nothing wrong with the volume or the server; 1 failed, or no server
that is well; 2 flags or environment are wrong; 3 --verify found damage.

Examples:
  SYNC_SECRET_FILE=/run/secrets/sync onsave-server
  SYNC_SECRET=$(cat secret) onsave-server --port 9000 --root ./volume
  onsave-server --verify --root /srv
  onsave-server --health --port 9000";

/// Serves a site from one volume, and takes new versions of it over a signed sync endpoint.
#[derive(Debug, Default, Parser)]
#[expect(
    clippy::doc_markdown,
    reason = "these comments are the help text, where backticks would be shown"
)]
#[command(name = "onsave-server", version, after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The address to listen on [env: ADDRESS] [default: [::], or 0.0.0.0 without IPv6]
    #[arg(long, value_name = "IP")]
    address: Option<String>,

    /// The port to listen on; 0 lets the system choose [env: PORT] [default: 8080]
    #[arg(long)]
    port: Option<String>,

    /// The volume's root folder [env: SITE_DATA_ROOT] [default: /srv]
    #[arg(long, value_name = "FOLDER")]
    root: Option<String>,

    /// How many of the newest deploys are kept [env: KEEP_DEPLOYS] [default: 5]
    #[arg(long, value_name = "COUNT")]
    keep_deploys: Option<String>,

    /// Take the peer's address from Fly-Client-IP; only behind Fly's proxy: true or false
    /// [env: TRUST_FLY_CLIENT_IP] [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    trust_fly_client_ip: Option<String>,

    /// Check every object, manifest and tree of the volume, say what was found, and end
    #[arg(long)]
    verify: bool,

    /// Ask the server that runs here, at --port and --address, whether it is well, and end: for a
    /// container's health check
    #[arg(long, conflicts_with = "verify")]
    health: bool,

    /// Addresses of pages: auto (a.html at /a, a/index.html at /a/), never or always a slash at the end
    /// [env: TRAILING_SLASH] [default: auto]
    #[arg(long, value_name = "POLICY", help_heading = "Site")]
    trailing_slash: Option<String>,

    /// Answer with /index.html for pages that are not there: true or false
    /// [env: SINGLE_PAGE] [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Site")]
    single_page: Option<String>,

    /// Seconds that fingerprinted assets of earlier deploys stay reachable; 0 for none
    /// [env: ASSET_GRACE_SECONDS] [default: 86400]
    #[arg(long, value_name = "SECONDS", help_heading = "Site")]
    asset_grace_seconds: Option<String>,

    /// Send the default security headers: true or false [env: SECURITY_HEADERS] [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Site")]
    security_headers: Option<String>,

    /// Content kept in memory, in bytes [env: CACHE_BYTES] [default: 67108864]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    cache_bytes: Option<String>,

    /// Largest file, in bytes [env: MAX_FILE_BYTES] [default: 1073741824]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_file_bytes: Option<String>,

    /// Most files in the site [env: MAX_FILES] [default: 1000000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_files: Option<String>,

    /// Content of one changeset, in bytes as sent [env: MAX_CHANGESET_BYTES] [default: 33554432]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_changeset_bytes: Option<String>,

    /// Body of a first-generation request, in bytes [env: MAX_V1_BODY_BYTES] [default: 33554432]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_v1_body_bytes: Option<String>,

    /// First-generation bodies held in memory at once [env: MAX_V1_BODIES] [default: 2]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_v1_bodies: Option<String>,

    /// Connections open at once [env: MAX_CONNECTIONS] [default: 1024]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_connections: Option<String>,

    /// Requests of one HTTP/2 connection at once [env: MAX_STREAMS] [default: 100]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_streams: Option<String>,

    /// Bytes of a request's head, at least 8192 [env: MAX_HEAD_BYTES] [default: 32768]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_head_bytes: Option<String>,

    /// Failed signatures of one address in a minute [env: MAX_FAILURES_PER_MINUTE] [default: 30]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_failures_per_minute: Option<String>,

    /// Seconds for a request's head [env: HEAD_SECONDS] [default: 15]
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    head_seconds: Option<String>,

    /// Seconds between two parts of a body [env: BODY_IDLE_SECONDS] [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    body_idle_seconds: Option<String>,

    /// Seconds that a connection may be idle [env: KEEP_ALIVE_SECONDS] [default: 300]
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    keep_alive_seconds: Option<String>,

    /// Seconds that a shutdown waits for what is under way [env: DRAIN_SECONDS] [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    drain_seconds: Option<String>,

    /// Where the metrics are scraped, such as 0.0.0.0:9091, at /metrics
    /// [env: METRICS_ADDRESS] [default: nowhere]
    #[arg(long, value_name = "IP:PORT", help_heading = "Logging")]
    metrics_address: Option<String>,

    /// A line for each request on standard output: off, common or json
    /// [env: ACCESS_LOG] [default: off]
    #[arg(long, value_name = "SHAPE", help_heading = "Logging")]
    access_log: Option<String>,

    /// Say in every answer how long it took, and not only when a request has Onsave-Server-Timing: true
    /// or false [env: SERVER_TIMING] [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Logging")]
    server_timing: Option<String>,

    /// The shape of log lines: pretty or json [env: LOG_FORMAT] [default: pretty]
    #[arg(long, value_name = "SHAPE", help_heading = "Logging")]
    log_format: Option<String>,
}

/// What the command is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Serve(Box<ServeCommand>),
    /// Check the volume at this root.
    Verify {
        /// The volume's root.
        root: PathBuf,
    },
    /// Ask whether the server at this address is well.
    Health {
        /// Where it listens, as this machine reaches it.
        address: SocketAddr,
    },
}

/// Everything that serving needs.
#[derive(Debug)]
pub struct ServeCommand {
    /// How the store is opened.
    pub store: StoreOptions,
    /// How requests are answered.
    pub config: ServerConfig,
    /// Where to listen; nothing means every address of the machine.
    pub address: Option<IpAddr>,
    /// The port to listen on.
    pub port: u16,
    /// Where the metrics are scraped, if anywhere.
    pub metrics_address: Option<SocketAddr>,
    /// The shape of the access log; nothing where there is none.
    pub access_log: Option<AccessLogFormat>,
    /// The shape of log lines.
    pub log_format: LogFormat,
    /// The log filter.
    pub log_filter: String,
}

/// Everything that is wrong with the flags and the environment.
#[derive(Debug, thiserror::Error)]
pub struct ConfigFaults(Vec<String>);

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is wrong")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl Arguments {
    /// Returns what to do, given the environment that `variable` reads.
    ///
    /// # Errors
    ///
    /// [`ConfigFaults`], all of them.
    pub fn resolve(
        &self,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Command, ConfigFaults> {
        let mut source = Source {
            variable,
            faults: Vec::new(),
        };
        let root = source.value(
            self.root.as_deref(),
            "root",
            "SITE_DATA_ROOT",
            PathBuf::from("/srv"),
        );
        let command = if self.verify {
            Some(Command::Verify { root })
        } else if self.health {
            let address = source.given(self.address.as_deref(), "address", "ADDRESS");
            let port = source.value(self.port.as_deref(), "port", "PORT", 8080);
            Some(Command::Health {
                address: reachable((address.unwrap_or(EVERYWHERE), port).into()),
            })
        } else {
            self.serve_command(&mut source, &root)
                .map(|serve| Command::Serve(Box::new(serve)))
        };
        match command {
            Some(command) if source.faults.is_empty() => Ok(command),
            _ => Err(ConfigFaults(source.faults)),
        }
    }

    fn serve_command(&self, source: &mut Source<'_>, root: &Path) -> Option<ServeCommand> {
        let limits = self.limits(source);
        let timeouts = self.timeouts(source);
        let serving = self.serving(source);
        let five = NonZeroUsize::new(5).unwrap_or(NonZeroUsize::MIN);
        let keep = source.value(
            self.keep_deploys.as_deref(),
            "keep-deploys",
            "KEEP_DEPLOYS",
            five,
        );
        let trust = source.value(
            self.trust_fly_client_ip.as_deref(),
            "trust-fly-client-ip",
            "TRUST_FLY_CLIENT_IP",
            false,
        );
        let address = source.given(self.address.as_deref(), "address", "ADDRESS");
        let port = source.value(self.port.as_deref(), "port", "PORT", 8080);
        let metrics_address = source.given(
            self.metrics_address.as_deref(),
            "metrics-address",
            "METRICS_ADDRESS",
        );
        let access_log = source.value(self.access_log.as_deref(), "access-log", "ACCESS_LOG", None);
        let server_timing = source.value(
            self.server_timing.as_deref(),
            "server-timing",
            "SERVER_TIMING",
            false,
        );
        let log_format = source.value(
            self.log_format.as_deref(),
            "log-format",
            "LOG_FORMAT",
            LogFormat::Pretty,
        );
        let log_filter = source.text("RUST_LOG").unwrap_or_else(|| "info".into());
        if let Err(error) = telemetry::check_filter(&log_filter) {
            source.faults.push(format!("RUST_LOG: {}", chain(&error)));
        }
        let secrets = secrets(source);
        let mut store = StoreOptions::new(root);
        store.keep_deploys = keep;
        store.max_files = limits.files;
        store.max_file_bytes = limits.file_bytes;
        let secrets = secrets?;
        let mut config = ServerConfig::new(root, secrets.current.clone());
        config.secrets = secrets;
        config.limits = limits;
        config.timeouts = timeouts;
        config.serving = serving;
        config.observation.server_timing = server_timing;
        if trust {
            config.peer_source = PeerSource::FlyClientIp;
        }
        Some(ServeCommand {
            store,
            config,
            address,
            port,
            metrics_address,
            access_log,
            log_format,
            log_filter,
        })
    }
}

/// Where the server listens unless it is told.
const EVERYWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Returns where this machine reaches `local`: a wildcard address is no place to connect to.
#[must_use]
pub const fn reachable(local: SocketAddr) -> SocketAddr {
    if local.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), local.port())
    } else {
        local
    }
}

/// Reads the secrets, of which the current one has to be there.
fn secrets(source: &mut Source<'_>) -> Option<Secrets> {
    let current = source.secret("SYNC_SECRET", "SYNC_SECRET_FILE");
    let previous = source.secret("SYNC_SECRET_PREVIOUS", "SYNC_SECRET_PREVIOUS_FILE");
    if current.is_none()
        && !source
            .faults
            .iter()
            .any(|fault| fault.contains("SYNC_SECRET"))
    {
        source.faults.push(
            "SYNC_SECRET is required: the secret that the client shares, or a file that holds \
                 it in SYNC_SECRET_FILE"
                .into(),
        );
    }
    let current = current?;
    Some(Secrets { current, previous })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;

    use super::*;
    use crate::config::{Fallback, Limits, SecurityHeaders, Serving, Timeouts, TrailingSlash};

    fn resolve(flags: &[&str], variables: &[(&str, &str)]) -> Result<Command, ConfigFaults> {
        let all = std::iter::once(&"onsave-server").chain(flags);
        Arguments::try_parse_from(all).unwrap().resolve(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    }

    fn serve(flags: &[&str], variables: &[(&str, &str)]) -> ServeCommand {
        match resolve(flags, variables).unwrap() {
            Command::Serve(serve) => *serve,
            other => panic!("asked to serve: {other:?}"),
        }
    }

    #[test]
    fn the_definition_holds() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let serve = serve(&[], &[("SYNC_SECRET", "s")]);
        assert_eq!(serve.port, 8080);
        assert_eq!(serve.address, None);
        assert_eq!(serve.store.root, PathBuf::from("/srv"));
        assert_eq!(serve.store.keep_deploys.get(), 5);
        assert_eq!(serve.config.limits, Limits::default());
        assert_eq!(serve.config.timeouts, Timeouts::default());
        assert_eq!(serve.config.serving, Serving::default());
        assert_eq!(serve.config.peer_source, PeerSource::Socket);
        assert_eq!(serve.config.nonce_file, PathBuf::from("/srv/nonces"));
        assert_eq!(serve.log_format, LogFormat::Pretty);
        assert_eq!(serve.log_filter, "info");
    }

    #[test]
    fn flags_win_over_the_environment() {
        let variables = [
            ("SYNC_SECRET", "s"),
            ("PORT", "1"),
            ("KEEP_DEPLOYS", "7"),
            ("MAX_FILES", ""),
            ("RUST_LOG", "debug"),
        ];
        let serve = serve(&["--port", "2", "--trust-fly-client-ip"], &variables);
        assert_eq!(serve.port, 2);
        assert_eq!(serve.store.keep_deploys.get(), 7);
        assert_eq!(serve.config.limits.files, Limits::default().files);
        assert_eq!(serve.config.peer_source, PeerSource::FlyClientIp);
        assert_eq!(serve.log_filter, "debug");
    }

    #[test]
    fn how_the_site_is_served() {
        let variables = [
            ("SYNC_SECRET", "s"),
            ("TRAILING_SLASH", "never"),
            ("SINGLE_PAGE", "true"),
            ("ASSET_GRACE_SECONDS", "0"),
            ("CACHE_BYTES", "1000000"),
        ];
        let serving = serve(&["--security-headers", "false"], &variables)
            .config
            .serving;
        let expected = Serving {
            trailing_slash: TrailingSlash::Never,
            fallback: Fallback::SinglePage,
            asset_grace: Duration::ZERO,
            security_headers: SecurityHeaders::Off,
            cache_bytes: 1_000_000,
        };
        assert_eq!(serving, expected);
        let variables = [("SYNC_SECRET", "s"), ("TRAILING_SLASH", "sometimes")];
        let text = resolve(&[], &variables).unwrap_err().to_string();
        assert!(text.contains("auto, never or always"), "{text}");
    }

    #[test]
    fn all_faults_at_once() {
        let variables = [("PORT", "99999"), ("KEEP_DEPLOYS", "0"), ("MAX_FILES", "0")];
        let faults = resolve(&["--log-format", "xml"], &variables).unwrap_err();
        let text = faults.to_string();
        for part in [
            "PORT is \"99999\"",
            "KEEP_DEPLOYS",
            "MAX_FILES",
            "--log-format",
            "SYNC_SECRET",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn numbers_that_would_overflow_are_faults() {
        let most = u64::MAX.to_string();
        let names = [
            "MAX_CONNECTIONS",
            "MAX_V1_BODIES",
            "HEAD_SECONDS",
            "KEEP_ALIVE_SECONDS",
            "DRAIN_SECONDS",
        ];
        let mut variables = names.map(|name| (name, most.as_str())).to_vec();
        variables.push(("SYNC_SECRET", "s"));
        let text = resolve(&[], &variables).unwrap_err().to_string();
        for name in names {
            let fault = format!("{name} can be at most");
            assert!(text.contains(&fault), "{fault} in {text}");
        }
    }

    #[test]
    fn secrets_come_from_the_environment_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "from-file\n").unwrap();
        let path = file.to_str().unwrap();
        let serve = serve(
            &[],
            &[("SYNC_SECRET_FILE", path), ("SYNC_SECRET_PREVIOUS", "old")],
        );
        assert_eq!(serve.config.secrets.current.expose(), b"from-file");
        assert_eq!(
            serve.config.secrets.previous.as_ref().unwrap().expose(),
            b"old"
        );
        assert!(!format!("{serve:?}").contains("from-file"));
        let both = resolve(&[], &[("SYNC_SECRET_FILE", path), ("SYNC_SECRET", "s")]);
        assert!(both.unwrap_err().to_string().contains("exclude each other"));
        let blank = resolve(&[], &[("SYNC_SECRET", " ")]);
        assert!(
            blank
                .unwrap_err()
                .to_string()
                .contains("the secret is empty")
        );
        let gone = resolve(&[], &[("SYNC_SECRET_FILE", "/nowhere/secret")]);
        assert!(gone.unwrap_err().to_string().contains("/nowhere/secret"));
    }

    #[test]
    fn verify_needs_no_secret() {
        let command = resolve(&["--verify", "--root", "/data"], &[]).unwrap();
        assert!(matches!(command, Command::Verify { root } if root.as_path() == "/data"));
    }

    #[test]
    fn health_needs_no_secret_and_knows_where_the_server_listens() {
        let asked = |flags: &[&str], variables: &[(&str, &str)]| {
            let flags = [&["--health"], flags].concat();
            match resolve(&flags, variables).unwrap() {
                Command::Health { address } => address.to_string(),
                other => panic!("asked for health: {other:?}"),
            }
        };
        assert_eq!(asked(&[], &[]), "127.0.0.1:8080");
        assert_eq!(asked(&[], &[("PORT", "9000")]), "127.0.0.1:9000");
        assert_eq!(asked(&[], &[("ADDRESS", "0.0.0.0")]), "127.0.0.1:8080");
        assert_eq!(asked(&["--address", "::1", "--port", "1"], &[]), "[::1]:1");
        let wrong = resolve(&["--health"], &[("PORT", "x")]).unwrap_err();
        assert!(wrong.to_string().contains("PORT"), "{wrong}");
    }

    #[test]
    fn help_names_every_variable() {
        let help = Arguments::command().render_long_help().to_string();
        for name in [
            "PORT",
            "ADDRESS",
            "SITE_DATA_ROOT",
            "SYNC_SECRET",
            "SYNC_SECRET_FILE",
            "SYNC_SECRET_PREVIOUS",
            "KEEP_DEPLOYS",
            "MAX_FILE_BYTES",
            "MAX_FILES",
            "MAX_CHANGESET_BYTES",
            "MAX_V1_BODY_BYTES",
            "MAX_V1_BODIES",
            "MAX_CONNECTIONS",
            "MAX_STREAMS",
            "MAX_HEAD_BYTES",
            "MAX_FAILURES_PER_MINUTE",
            "HEAD_SECONDS",
            "BODY_IDLE_SECONDS",
            "KEEP_ALIVE_SECONDS",
            "DRAIN_SECONDS",
            "TRUST_FLY_CLIENT_IP",
            "TRAILING_SLASH",
            "SINGLE_PAGE",
            "ASSET_GRACE_SECONDS",
            "SECURITY_HEADERS",
            "CACHE_BYTES",
            "METRICS_ADDRESS",
            "ACCESS_LOG",
            "SERVER_TIMING",
            "LOG_FORMAT",
            "RUST_LOG",
        ] {
            assert!(help.contains(name), "{name}");
        }
        assert!(!help.contains('`'), "{help}");
    }
}
