//! The part of a machine's configuration that the simulator acts on, and the checks that the platform
//! makes of it. Fields that it does not know are ignored, as the platform ignores them.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

/// What a machine runs and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MachineConfig {
    pub(crate) image: String,
    pub(crate) guest: Guest,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) services: Vec<Service>,
    pub(crate) checks: BTreeMap<String, Check>,
    pub(crate) restart: Restart,
    pub(crate) stop_config: StopConfig,
    pub(crate) init: Init,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) files: Vec<GuestFile>,
}

/// Processors and memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Guest {
    cpu_kind: String,
    cpus: u64,
    memory_mb: u64,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            cpu_kind: "shared".to_owned(),
            cpus: 1,
            memory_mb: 256,
        }
    }
}

/// A volume's place.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Mount {
    pub(crate) volume: String,
    pub(crate) path: String,
    extend_threshold_percent: u64,
    add_size_gb: u64,
    size_gb_limit: u64,
}

/// What is reached from outside.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    protocol: String,
    pub(crate) internal_port: u16,
    pub(crate) ports: Vec<Port>,
    pub(crate) checks: Vec<Check>,
    autostop: Value,
}

/// A port of the edge.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Port {
    #[serde(rename = "port")]
    outside: u16,
    handlers: Vec<String>,
    http_options: HttpOptions,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct HttpOptions {
    h2_backend: bool,
    idle_timeout: Option<u64>,
}

/// What is asked of a machine to know whether it is well.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Check {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) port: Option<u16>,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) headers: Vec<Header>,
    interval: Option<String>,
    timeout: Option<String>,
    grace_period: Option<String>,
}

/// A header that a check sends.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

/// What follows the end of the program.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Restart {
    policy: Option<String>,
    max_retries: Option<u32>,
}

/// How the program is asked to end.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StopConfig {
    pub(crate) signal: Option<String>,
    pub(crate) timeout: Option<String>,
}

/// What runs instead of the image's own command.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Init {
    pub(crate) exec: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
}

/// A file that is written before the program starts; in base64.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GuestFile {
    pub(crate) guest_path: String,
    pub(crate) raw_value: Option<String>,
    pub(crate) secret_name: Option<String>,
}

impl MachineConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        if !value.is_object() {
            return Err("config is required".to_owned());
        }
        let config: Self = serde_json::from_value(value.clone())
            .map_err(|error| format!("invalid config: {error}"))?;
        if config.image.is_empty() {
            return Err("invalid config.image, cannot be empty".to_owned());
        }
        config.guest.check()?;
        config.check_mounts()?;
        config.check_services()?;
        config.restart.check()?;
        if let Some(timeout) = &config.stop_config.timeout {
            duration("config.stop_config.timeout", timeout)?;
        }
        Ok(config)
    }

    fn check_mounts(&self) -> Result<(), String> {
        if self.mounts.len() > 1 {
            return Err("invalid config.mounts, only one mount is supported".to_owned());
        }
        for mount in &self.mounts {
            if !mount.path.starts_with('/') || mount.path == "/" || mount.path.contains("..") {
                return Err(format!("invalid config.mounts path {:?}", mount.path));
            }
            let parts = [
                mount.extend_threshold_percent,
                mount.add_size_gb,
                mount.size_gb_limit,
            ];
            let given = parts.iter().filter(|part| **part > 0).count();
            if given != 0 && given != parts.len() {
                return Err(
                    "extend_threshold_percent, add_size_gb and size_gb_limit go together"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    fn check_services(&self) -> Result<(), String> {
        for service in &self.services {
            if !matches!(service.protocol.as_str(), "tcp" | "udp") {
                return Err(format!(
                    "invalid config.services protocol {:?}",
                    service.protocol
                ));
            }
            if service.internal_port == 0 {
                return Err("invalid config.services internal_port".to_owned());
            }
            let autostop_is_known = match &service.autostop {
                Value::Null | Value::Bool(_) => true,
                Value::String(text) => matches!(text.as_str(), "off" | "stop" | "suspend"),
                _ => false,
            };
            if !autostop_is_known {
                return Err(format!(
                    "invalid config.services autostop {}",
                    service.autostop
                ));
            }
            for port in &service.ports {
                port.check()?;
            }
            for check in &service.checks {
                check.check()?;
            }
        }
        self.checks.values().try_for_each(Check::check)
    }

    /// Returns every check with the name that the platform gives it, its port, and whether traffic waits
    /// for it.
    pub(crate) fn named_checks(&self) -> Vec<NamedCheck> {
        let mut found = Vec::new();
        for (index, service) in self.services.iter().enumerate() {
            for check in &service.checks {
                let port = check.port.unwrap_or(service.internal_port);
                found.push(NamedCheck {
                    name: format!("servicecheck-{index:02}-{}-{port}", check.kind),
                    port,
                    gates_traffic: true,
                    check: check.clone(),
                });
            }
        }
        for (name, check) in &self.checks {
            found.push(NamedCheck {
                name: name.clone(),
                port: check.port.unwrap_or(8080),
                gates_traffic: false,
                check: check.clone(),
            });
        }
        found
    }

    /// Returns the port inside the machine and whether HTTP/2 is spoken there, for what is reached over
    /// HTTP.
    pub(crate) fn http_backend(&self) -> Option<(u16, bool)> {
        let service = self
            .services
            .iter()
            .find(|service| service.ports.iter().any(Port::is_http))?;
        let h2 = service
            .ports
            .iter()
            .any(|port| port.http_options.h2_backend);
        Some((service.internal_port, h2))
    }
}

/// A check with its name.
#[derive(Debug, Clone)]
pub(crate) struct NamedCheck {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) gates_traffic: bool,
    pub(crate) check: Check,
}

impl Guest {
    /// Reads and checks processors and memory.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        let guest: Self = serde_json::from_value(value.clone())
            .map_err(|error| format!("invalid guest: {error}"))?;
        guest.check()?;
        Ok(guest)
    }

    fn check(&self) -> Result<(), String> {
        let (least, most) = match self.cpu_kind.as_str() {
            "shared" => (256, 2048),
            "performance" => (2048, 8192),
            other => return Err(format!("invalid config.guest.cpu_kind {other:?}")),
        };
        if !matches!(self.cpus, 1 | 2 | 4 | 8 | 16) {
            return Err(format!("invalid config.guest.cpus {}", self.cpus));
        }
        let range = least * self.cpus..=most * self.cpus;
        if !self.memory_mb.is_multiple_of(256) || !range.contains(&self.memory_mb) {
            return Err(format!(
                "invalid config.guest.memory_mb {}: must be a multiple of 256, from {} to {}",
                self.memory_mb,
                range.start(),
                range.end()
            ));
        }
        Ok(())
    }

    /// Returns whether a host that was chosen for this one has room for another.
    pub(crate) fn has_room_for(&self, other: &Self) -> bool {
        other.cpus <= self.cpus && other.memory_mb <= self.memory_mb
    }
}

impl Port {
    fn is_http(&self) -> bool {
        self.handlers.iter().any(|handler| handler == "http")
    }

    fn check(&self) -> Result<(), String> {
        if self.outside == 0 {
            return Err("invalid config.services ports: port is required".to_owned());
        }
        let known = ["http", "tls", "proxy_proto", "pg_tls", "edge_http"];
        if let Some(other) = self
            .handlers
            .iter()
            .find(|one| !known.contains(&one.as_str()))
        {
            return Err(format!("invalid config.services ports handler {other:?}"));
        }
        if self.http_options.idle_timeout == Some(0) {
            return Err("invalid http_options.idle_timeout".to_owned());
        }
        Ok(())
    }
}

impl Check {
    fn check(&self) -> Result<(), String> {
        if !matches!(self.kind.as_str(), "http" | "tcp") {
            return Err(format!("invalid check type {:?}", self.kind));
        }
        for (name, value) in [
            ("interval", &self.interval),
            ("timeout", &self.timeout),
            ("grace_period", &self.grace_period),
        ] {
            if let Some(value) = value {
                duration(name, value)?;
            }
        }
        Ok(())
    }
}

impl Restart {
    fn check(&self) -> Result<(), String> {
        match self.policy.as_deref() {
            None | Some("no" | "always" | "on-failure") => Ok(()),
            Some(other) => Err(format!("invalid config.restart.policy {other:?}")),
        }
    }

    /// Returns whether a program that ended is started again.
    pub(crate) fn applies(&self, exit_code: i32, restarts: u32) -> bool {
        let wanted = match self.policy.as_deref() {
            Some("no") => false,
            Some("always") => true,
            _ => exit_code != 0,
        };
        wanted && restarts < self.max_retries.unwrap_or(10)
    }
}

/// Reads a duration such as `15s`, `500ms` or `1m30s`.
///
/// # Errors
///
/// When it is none; `name` says which.
pub(crate) fn duration(name: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration in {name}: {text:?}");
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let of_one = match &rest[..unit] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return Err(wrong()),
        };
        sum += of_one * number;
        rest = &rest[unit..];
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(sum)
    }
}

#[test]
fn durations_have_units() {
    assert_eq!(duration("d", "15s"), Ok(Duration::from_secs(15)));
    assert_eq!(duration("d", "1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(duration("d", "500ms"), Ok(Duration::from_millis(500)));
    for wrong in ["", "15", "s", "15 s", "1.5s", "-1s"] {
        assert!(duration("d", wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_wrong_configuration_is_refused() {
    use serde_json::json;
    let service = |change: Value| {
        let mut service = json!({"protocol": "tcp", "internal_port": 8080});
        for (name, value) in change.as_object().unwrap() {
            service[name] = value.clone();
        }
        json!({"image": "i", "services": [service]})
    };
    let cases = [
        (json!(null), "config is required"),
        (json!({}), "config.image"),
        (json!({"image": "i", "env": {"PORT": 8080}}), "invalid type"),
        (
            json!({"image": "i", "guest": {"memory_mb": 300}}),
            "multiple of 256",
        ),
        (json!({"image": "i", "guest": {"cpus": 3}}), "cpus"),
        (
            json!({"image": "i", "guest": {"cpu_kind": "fast"}}),
            "cpu_kind",
        ),
        (json!({"image": "i", "mounts": [{"path": "/"}]}), "path"),
        (
            json!({"image": "i", "mounts": [{"path": "/a"}, {"path": "/b"}]}),
            "only one mount",
        ),
        (
            json!({"image": "i", "mounts": [{"path": "/a", "add_size_gb": 1}]}),
            "together",
        ),
        (
            json!({"image": "i", "restart": {"policy": "never"}}),
            "restart.policy",
        ),
        (
            json!({"image": "i", "stop_config": {"timeout": "30"}}),
            "duration",
        ),
        (
            json!({"image": "i", "checks": {"c": {"type": "grpc"}}}),
            "check type",
        ),
        (service(json!({"protocol": "http"})), "protocol"),
        (service(json!({"internal_port": 0})), "internal_port"),
        (service(json!({"autostop": "never"})), "autostop"),
        (service(json!({"ports": [{}]})), "port is required"),
        (
            service(json!({"ports": [{"port": 80, "handlers": ["h2"]}]})),
            "handler",
        ),
        (
            service(json!({"checks": [{"type": "http", "interval": "15"}]})),
            "duration",
        ),
    ];
    for (config, expected) in cases {
        let fault = MachineConfig::parse(&config).expect_err(&config.to_string());
        assert!(fault.contains(expected), "{config}: {fault}");
    }
    let unknown = json!({"image": "i", "auto_stop_machines": "off"});
    assert!(
        MachineConfig::parse(&unknown).is_ok(),
        "unknown fields are ignored"
    );
}
