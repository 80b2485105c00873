//! The machine's configuration: what it ought to be, what differs, and what an update sends.
//!
//! Pure. The platform ignores fields that it does not know and adds some of its own, so that a
//! configuration is compared field by field with what is wanted, and nothing else of it is judged:
//! what somebody added by hand stays.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::config::{Autostop, FlyDriver, FlyTarget};

/// Where the volume is in the machine.
pub const VOLUME_PATH: &str = "/srv";

/// Where the server listens in the machine.
pub const SERVER_PORT: u16 = 8080;

/// Where the platform asks for metrics.
pub const METRICS_PORT: u16 = 9091;

/// The variable that tells the server where its volume is.
pub const DATA_ROOT: &str = "SITE_DATA_ROOT";

/// Says in a machine's metadata that it was made here, and must not be taken for somebody else's.
pub const MARK: &str = "onsave";

/// The configuration's field that names its image.
const IMAGE: &str = "image";

/// The field of a port whose order means nothing.
const HANDLERS: &str = "handlers";

/// When a volume grows by itself: this full, in percent.
const EXTEND_PERCENT: u32 = 80;

/// Returns the variables that the server in the machine gets.
#[must_use]
pub fn environment(target: &FlyTarget) -> Vec<(&'static str, String)> {
    use onsave_server::config::{Fallback, SecurityHeaders, TrailingSlash};

    let serving = &target.serving;
    let trailing_slash = match serving.trailing_slash {
        TrailingSlash::Auto => "auto",
        TrailingSlash::Never => "never",
        TrailingSlash::Always => "always",
    };
    vec![
        ("PORT", SERVER_PORT.to_string()),
        (DATA_ROOT, VOLUME_PATH.to_owned()),
        ("METRICS_ADDRESS", format!("[::]:{METRICS_PORT}")),
        // The platform's proxy stands in front, and nothing else reaches the machine's port.
        ("TRUST_FLY_CLIENT_IP", "true".to_owned()),
        ("KEEP_DEPLOYS", target.keep_deploys.to_string()),
        ("TRAILING_SLASH", trailing_slash.to_owned()),
        (
            "SINGLE_PAGE",
            (serving.fallback == Fallback::SinglePage).to_string(),
        ),
        (
            "ASSET_GRACE_SECONDS",
            serving.asset_grace.as_secs().to_string(),
        ),
        (
            "SECURITY_HEADERS",
            (serving.security_headers == SecurityHeaders::Default).to_string(),
        ),
    ]
}

/// Returns the machine's size, as a volume's placement and the machine itself are asked for it.
#[must_use]
pub fn guest(target: &FlyTarget) -> Value {
    json!({
        "cpu_kind": target.guest.kind.name(),
        "cpus": target.guest.cpus,
        "memory_mb": target.guest.memory_mb,
    })
}

/// Returns the machine's configuration with that image and that volume.
#[must_use]
pub fn wanted(target: &FlyTarget, image: &str, volume_id: &str) -> Value {
    let environment: Map<String, Value> = environment(target)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let mut wanted = json!({
        IMAGE: image,
        "guest": guest(target),
        "env": environment,
        "mounts": [mount(target, volume_id)],
        "services": [service(target)],
        "restart": { "policy": "always" },
        // The server drains for ten seconds; a publish that is made durable may need them.
        "stop_config": { "signal": "SIGTERM", "timeout": "30s" },
        "metrics": { "port": METRICS_PORT, "path": "/metrics" },
        "metadata": {
            "fly_platform_version": "v2",
            "fly_process_group": "app",
            MARK: "1",
        },
    });
    if target.driver == FlyDriver::Flyctl {
        without_what_no_fly_toml_says(&mut wanted);
    }
    wanted
}

/// A machine that flyctl deploys is known by its volume alone, and its checks go where the service is.
fn without_what_no_fly_toml_says(wanted: &mut Value) {
    let inside = ["/metadata", "/services/0/checks/0"]
        .into_iter()
        .zip([MARK, "port"]);
    for (pointer, key) in inside {
        if let Some(object) = wanted.pointer_mut(pointer).and_then(Value::as_object_mut) {
            object.remove(key);
        }
    }
}

fn mount(target: &FlyTarget, volume_id: &str) -> Value {
    let volume = &target.volume;
    let mut mount = json!({
        "volume": volume_id,
        "path": VOLUME_PATH,
        "name": volume.name,
    });
    if volume.limit_gb > volume.size_gb {
        mount["extend_threshold_percent"] = EXTEND_PERCENT.into();
        mount["add_size_gb"] = 1.into();
        mount["size_gb_limit"] = volume.limit_gb.into();
    }
    mount
}

fn service(target: &FlyTarget) -> Value {
    json!({
        "protocol": "tcp",
        "internal_port": SERVER_PORT,
        "autostart": true,
        "autostop": target.autostop.name(),
        "min_machines_running": u8::from(target.autostop == Autostop::Off),
        "concurrency": { "type": "requests", "soft_limit": 500, "hard_limit": 1000 },
        "ports": [
            { "port": 80, "handlers": ["http"], "force_https": true },
            {
                "port": 443,
                "handlers": ["tls", "http"],
                "http_options": { "h2_backend": true },
                "tls_options": { "alpn": ["h2", "http/1.1"] },
            },
        ],
        "checks": [{
            "type": "http",
            "port": SERVER_PORT,
            "method": "GET",
            "path": "/_icd/health",
            "interval": "15s",
            "timeout": "5s",
            "grace_period": "10s",
        }],
    })
}

/// Returns what is not as wanted, in words, one for each part of the configuration.
#[must_use]
pub fn differences(actual: &Value, wanted: &Value) -> Vec<String> {
    let Some(wanted) = wanted.as_object() else {
        return Vec::new();
    };
    let different = wanted.iter().filter(|(key, value)| match key.as_str() {
        IMAGE => !is_image(actual.get(IMAGE), value),
        key => !holds(actual.get(key), value),
    });
    different
        .map(|(key, value)| difference(key, actual.get(key.as_str()), value))
        .collect()
}

fn difference(key: &str, actual: Option<&Value>, wanted: &Value) -> String {
    match key {
        IMAGE => "another image".to_owned(),
        "guest" => format!(
            "size {} instead of {}",
            size(wanted),
            size(actual.unwrap_or(&Value::Null))
        ),
        "env" => {
            let names: Vec<&str> = wanted
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, value)| {
                    !holds(actual.and_then(|all| all.get(name.as_str())), value)
                })
                .map(|(name, _)| name.as_str())
                .collect();
            format!("settings {}", names.join(", "))
        }
        "mounts" => "how the volume grows".to_owned(),
        "services" => "how it is reached".to_owned(),
        "stop_config" => "how it is stopped".to_owned(),
        "restart" => "when it is restarted".to_owned(),
        "metrics" => "where its metrics are".to_owned(),
        "metadata" => "its marks".to_owned(),
        other => other.to_owned(),
    }
}

fn size(guest: &Value) -> String {
    let number = |key: &str| guest.get(key).and_then(Value::as_u64).unwrap_or_default();
    let kind = guest.get("cpu_kind").and_then(Value::as_str).unwrap_or("?");
    format!("{kind} {}x {} MB", number("cpus"), number("memory_mb"))
}

/// Returns whether `actual` has all that is wanted; it may have more.
fn holds(actual: Option<&Value>, wanted: &Value) -> bool {
    let Some(actual) = actual else {
        return false;
    };
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| match key.as_str() {
                IMAGE => is_image(actual.get(IMAGE), value),
                HANDLERS => same_words(actual.get(HANDLERS), value),
                key => holds(actual.get(key), value),
            })
        }
        (Value::Array(actual), Value::Array(wanted)) => {
            actual.len() == wanted.len()
                && actual
                    .iter()
                    .zip(wanted)
                    .all(|(actual, wanted)| holds(Some(actual), wanted))
        }
        // Older machines have a switch where newer ones have a word.
        (Value::Bool(on), Value::String(word)) => word == if *on { "stop" } else { "off" },
        (Value::String(actual), Value::String(wanted)) => {
            actual == wanted || same_duration(actual, wanted)
        }
        (actual, wanted) => actual == wanted,
    }
}

/// Returns whether an image is the one that is wanted: flyctl adds the digest to its name.
#[must_use]
pub fn is_image(actual: Option<&Value>, wanted: &Value) -> bool {
    match (actual.and_then(Value::as_str), wanted.as_str()) {
        (Some(actual), Some(wanted)) => {
            let rest = actual.strip_prefix(wanted);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("@sha256:"))
        }
        _ => false,
    }
}

/// Returns whether two lists have the same words, in whatever order.
fn same_words(actual: Option<&Value>, wanted: &Value) -> bool {
    let Some(actual) = actual.and_then(words) else {
        return false;
    };
    words(wanted).is_some_and(|wanted| wanted == actual)
}

fn words(list: &Value) -> Option<BTreeSet<&str>> {
    list.as_array()?.iter().map(Value::as_str).collect()
}

/// Durations come back as the platform writes them: `15s`, `1m30s`, or `15.000s`.
fn same_duration(a: &str, b: &str) -> bool {
    match (seconds(a), seconds(b)) {
        (Some(a), Some(b)) => (a - b).abs() < f64::EPSILON,
        _ => false,
    }
}

fn seconds(text: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        let after = &rest[unit_at..];
        let unit_end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        total += number
            * match &after[..unit_end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                _ => return None,
            };
        rest = &after[unit_end..];
    }
    (!text.is_empty()).then_some(total)
}

/// Returns `actual` with all that is wanted put over it: what an update sends.
///
/// Objects are merged; a list is replaced whole, since its items have no names.
#[must_use]
pub fn updated(actual: &Value, wanted: &Value) -> Value {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            let mut merged = actual.clone();
            for (key, value) in wanted {
                let value = match actual.get(key.as_str()) {
                    Some(old) => updated(old, value),
                    None => value.clone(),
                };
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        _ => wanted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::tests::target;

    fn config() -> Value {
        wanted(&target(), "registry.fly.io/my-site:onsave-1", "vol_1")
    }

    #[test]
    fn what_the_platform_adds_is_no_difference() {
        let mut actual = config();
        actual["dns"] = json!({});
        actual["env"]["MINE"] = json!("1");
        actual["services"][0]["autostop"] = json!(false);
        actual["services"][0]["checks"][0]["interval"] = json!("15.0s");
        actual["stop_config"]["timeout"] = json!("0m30s");
        assert_eq!(differences(&actual, &config()), Vec::<String>::new());
    }

    #[test]
    fn what_flyctl_deploys_from_the_file_is_no_difference() {
        let mut target = target();
        target.driver = FlyDriver::Flyctl;
        let wanted = wanted(&target, "ghcr.io/ann/server:1", "vol_1");
        let mut actual = wanted.clone();
        actual["image"] = json!("ghcr.io/ann/server:1@sha256:00ff");
        actual["services"][0]["ports"][1]["handlers"] = json!(["http", "tls"]);
        actual["metadata"]["fly_release_version"] = json!("3");
        actual["env"]["FLY_PROCESS_GROUP"] = json!("app");
        assert_eq!(differences(&actual, &wanted), Vec::<String>::new());
        assert!(wanted.pointer("/metadata/onsave").is_none());
        assert!(wanted.pointer("/services/0/checks/0/port").is_none());
        actual["image"] = json!("ghcr.io/ann/server:10");
        actual["services"][0]["ports"][1]["handlers"] = json!(["http"]);
        assert_eq!(differences(&actual, &wanted).len(), 2);
    }

    #[test]
    fn each_difference_has_its_words() {
        let wanted = config();
        let changed = |pointer: &str, value: Value| {
            let mut actual = config();
            *actual.pointer_mut(pointer).unwrap() = value;
            differences(&actual, &wanted)
        };
        assert_eq!(changed("/image", json!("x")), ["another image"]);
        assert_eq!(
            changed("/guest/memory_mb", json!(512)),
            ["size shared 1x 256 MB instead of shared 1x 512 MB"]
        );
        assert_eq!(changed("/env/PORT", json!("1")), ["settings PORT"]);
        assert_eq!(changed("/services", json!([])), ["how it is reached"]);
        assert_eq!(
            changed("/mounts/0/size_gb_limit", json!(3)),
            ["how the volume grows"]
        );
        assert_eq!(differences(&json!({}), &wanted).len(), 9);
    }

    #[test]
    fn an_update_keeps_what_somebody_added() {
        let mut actual = config();
        actual["env"]["MINE"] = json!("1");
        actual["init"] = json!({"swap_size_mb": 256});
        actual["services"] = json!([]);
        let update = updated(&actual, &config());
        assert_eq!(update["env"]["MINE"], "1");
        assert_eq!(update["init"]["swap_size_mb"], 256);
        assert_eq!(update["services"], config()["services"]);
        assert_eq!(differences(&update, &config()), Vec::<String>::new());
    }

    #[test]
    fn a_volume_grows_only_up_to_a_limit_above_its_size() {
        let mut target = target();
        assert_eq!(config()["mounts"][0]["size_gb_limit"], 10);
        target.volume.limit_gb = 1;
        let mount = &wanted(&target, "i", "v")["mounts"][0];
        assert_eq!(mount.get("size_gb_limit"), None);
        assert_eq!(mount.get("extend_threshold_percent"), None);
    }

    #[test]
    fn a_machine_that_sleeps_needs_no_other_awake() {
        let mut target = target();
        assert_eq!(config()["services"][0]["min_machines_running"], 1);
        target.autostop = Autostop::Suspend;
        let service = &wanted(&target, "i", "v")["services"][0];
        assert_eq!(service["autostop"], "suspend");
        assert_eq!(service["min_machines_running"], 0);
    }

    #[test]
    fn durations_are_compared_as_times() {
        for (a, b) in [("15s", "15s"), ("90s", "1m30s"), ("0.5s", "500ms")] {
            assert!(same_duration(a, b), "{a} {b}");
        }
        for (a, b) in [("15s", "16s"), ("15", "15s"), ("", "0s"), ("x", "x1")] {
            assert!(!same_duration(a, b), "{a} {b}");
        }
    }
}
