//! What the tests of the simulator stand on: a client with a token, and images to push.

use std::fs;

use serde_json::{Value, json};

use crate::{
    fly_simulator::{ApiClient, FlySimulator, ORGANIZATION_TOKEN, OneLayerImage, Options},
    harness::{server::static_program, wait_for},
};

/// The app of most tests.
pub(super) const APP: &str = "my-site";

/// A simulator and a client with the organisation's token.
pub(super) fn started(options: &Options) -> (FlySimulator, ApiClient) {
    let simulator = FlySimulator::start(options);
    let client = simulator.client();
    (simulator, client)
}

/// A simulator with an app, and a client.
pub(super) fn with_app() -> (FlySimulator, ApiClient) {
    let (simulator, client) = started(&Options::default());
    create_app(&client);
    (simulator, client)
}

pub(super) fn create_app(client: &ApiClient) {
    let body = json!({"name": APP, "org_slug": "personal"});
    client.done("POST", "/v1/apps", &body);
}

/// A path of the app.
pub(super) fn of_app(rest: &str) -> String {
    format!("/v1/apps/{APP}/{rest}")
}

/// An image that nothing has to run.
pub(super) fn small_image() -> OneLayerImage {
    OneLayerImage::new(
        &[("nothing", b"nothing")],
        &json!({"Entrypoint": ["/nothing"]}),
    )
}

/// The program that images hold.
pub(super) fn static_server() -> Vec<u8> {
    fs::read(static_program()).unwrap()
}

/// An image of the real server.
pub(super) fn server_image() -> OneLayerImage {
    let files = [("onsave-server", static_server())];
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(path, bytes)| (*path, bytes.as_slice()))
        .collect();
    OneLayerImage::new(&files, &json!({"Entrypoint": ["/onsave-server"]}))
}

/// Pushes an image of the app with a tag, and returns its name.
pub(super) fn push(simulator: &FlySimulator, image: &OneLayerImage, tag: &str) -> String {
    let registry = simulator.registry_host().parse().unwrap();
    let answer = image.push(registry, (APP, tag), ORGANIZATION_TOKEN);
    assert_eq!(answer.status, 201, "{}", answer.text());
    format!("registry.fly.io/{APP}:{tag}")
}

/// A machine of an image with nothing else.
pub(super) fn machine_of(image: &str) -> Value {
    json!({"name": "web", "region": "arn", "config": {"image": image}})
}

/// The configuration that sites are served with.
pub(super) fn server_config(image: &str, volume: &str) -> Value {
    json!({
        "image": image,
        "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
        "env": {
            "PORT": "8080",
            "METRICS_ADDRESS": "[::]:9091",
            "SITE_DATA_ROOT": "/srv",
            "TRUST_FLY_CLIENT_IP": "true",
        },
        "mounts": [{"volume": volume, "path": "/srv", "name": "site_data"}],
        "services": [{
            "protocol": "tcp",
            "internal_port": 8080,
            "autostart": true,
            "autostop": "off",
            "min_machines_running": 1,
            "concurrency": {"type": "requests", "soft_limit": 200},
            "ports": [
                {"port": 80, "handlers": ["http"], "force_https": true},
                {"port": 443, "handlers": ["tls", "http"], "http_options": {"h2_backend": true}, "tls_options": {"alpn": ["h2", "http/1.1"]}},
            ],
            "checks": [{
                "type": "http",
                "port": 8080,
                "method": "GET",
                "path": "/_icd/health",
                "interval": "15s",
                "timeout": "5s",
                "grace_period": "10s",
            }],
        }],
        "restart": {"policy": "always"},
        "stop_config": {"signal": "SIGTERM", "timeout": "30s"},
        "metrics": {"port": 9091, "path": "/metrics"},
        "metadata": {"fly_platform_version": "v2", "fly_process_group": "app"},
    })
}

/// Makes a volume for the smallest machine, and returns its id.
pub(super) fn create_volume(client: &ApiClient) -> String {
    let body = json!({
        "name": "site_data",
        "region": "arn",
        "size_gb": 1,
        "compute": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
    });
    let volume = client.done("POST", &of_app("volumes"), &body);
    volume["id"].as_str().unwrap().to_owned()
}

/// Waits until all checks of a machine pass, and returns the machine.
pub(super) fn healthy(client: &ApiClient, machine: &str) -> Value {
    let path = of_app(&format!("machines/{machine}"));
    wait_for("the machine's checks to pass", || {
        let (_, machine) = client.get(&path);
        assert_ne!(machine["state"], "launch_failed", "{machine}");
        let checks = machine["checks"].as_array()?;
        let pass = !checks.is_empty() && checks.iter().all(|check| check["status"] == "passing");
        pass.then_some(machine)
    })
}
