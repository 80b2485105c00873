//! The simulator and the published description agree, in both directions, and a wrong call is caught.

use serde_json::{Value, json};

use super::asking::{machine_of, of_app, push, server_config, small_image, started};
use crate::fly_simulator::{ApiClient, ORGANIZATION_TOKEN, Options, Prism};

#[test]
fn right_calls_pass_and_wrong_ones_are_caught() {
    let (simulator, direct) = started(&Options::default());
    let prism = Prism::start(&simulator.api_url());
    let client = ApiClient::new(&prism.url(), ORGANIZATION_TOKEN);
    call_everything(&client, || push(&simulator, &small_image(), "1"));
    prism.assert_no_violation();

    let refused = client.get("/v1/apps/not-there");
    assert_eq!(
        refused,
        direct.get("/v1/apps/not-there"),
        "refusals pass as they are"
    );
    prism.assert_no_violation();

    let wrong: [(&str, &str, Value, &str); 6] = [
        (
            "POST",
            "/v1/apps",
            json!({"name": 7, "org_slug": "personal"}),
            "must be string",
        ),
        (
            "POST",
            "/v1/apps",
            json!({"app_name": "a", "org_slug": "personal"}),
            "app_name",
        ),
        (
            "POST",
            "/v1/apps/my-site/machines",
            json!({"config": {"auto_stop_machines": "off"}}),
            "auto_stop_machines",
        ),
        (
            "POST",
            "/v1/apps/my-site/ip_assignments",
            json!({"type": "v5"}),
            "allowed values",
        ),
        ("GET", "/v1/apps", Value::Null, "org_slug"),
        ("GET", "/apps", Value::Null, "NO_PATH_MATCHED"),
    ];
    for (index, (method, path, body, words)) in wrong.iter().enumerate() {
        let before = simulator.requests().len();
        client.ask(method, path, body);
        let violations = prism.violations();
        assert_eq!(violations.len(), index + 1, "{method} {path} {body}");
        let violation = &violations[index];
        assert_eq!(violation.request, format!("{method} {path}"));
        assert!(
            violation.problem.to_string().contains(words),
            "{violation:?}"
        );
        assert_eq!(
            simulator.requests().len(),
            before,
            "it never came to the simulator"
        );
    }
}

/// Makes every call once that provisioning needs, and checks that it succeeds.
fn call_everything(client: &ApiClient, push: impl Fn() -> String) {
    let nothing = Value::Null;
    for path in [
        "/v1/tokens/current",
        "/v1/platform/regions",
        "/v1/apps?org_slug=personal",
    ] {
        client.done("GET", path, &nothing);
    }
    let app = json!({"name": "my-site", "org_slug": "personal", "idempotency_key": "k"});
    client.done("POST", "/v1/apps", &app);
    client.done("GET", "/v1/apps/my-site", &nothing);
    let place = json!({"org_slug": "personal", "region": "arn", "compute": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}});
    client.done("POST", "/v1/platform/placements", &place);
    client.done("POST", &of_app("ip_assignments"), &json!({"type": "v6"}));
    client.done(
        "POST",
        &of_app("ip_assignments"),
        &json!({"type": "shared_v4"}),
    );
    client.done("GET", &of_app("ip_assignments"), &nothing);
    client.done(
        "POST",
        &of_app("secrets"),
        &json!({"values": {"SYNC_SECRET": "s", "OLD": null}}),
    );
    client.done("GET", &of_app("secrets?min_version=1"), &nothing);
    client.done("POST", &of_app("secrets/OTHER"), &json!({"value": "v"}));
    client.done("DELETE", &of_app("secrets/OTHER"), &nothing);

    let guest = json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 256});
    let volume = json!({"name": "site_data", "region": "arn", "size_gb": 1, "compute": guest, "snapshot_retention": 5});
    let volume = client.done("POST", &of_app("volumes"), &volume);
    let volume = volume["id"].as_str().expect("a volume has an id");
    let of_volume = of_app(&format!("volumes/{volume}"));
    client.done("GET", &of_app("volumes"), &nothing);
    client.done("GET", &of_volume, &nothing);
    client.done(
        "PUT",
        &format!("{of_volume}/extend"),
        &json!({"size_gb": 2}),
    );
    client.done("PUT", &of_volume, &json!({"snapshot_retention": 14}));
    client.done("POST", &format!("{of_volume}/snapshots"), &nothing);
    client.done("GET", &format!("{of_volume}/snapshots"), &nothing);
    client.done("GET", "/v1/orgs/personal/volumes", &nothing);

    let mut body = machine_of(&push());
    body["config"] = server_config(
        body["config"]["image"].as_str().expect("it is named"),
        volume,
    );
    body["skip_launch"] = true.into();
    body["min_secrets_version"] = 1.into();
    let machine = client.done("POST", &of_app("machines"), &body);
    drive(client, &machine, volume);

    client.done(
        "POST",
        &of_app("certificates/acme"),
        &json!({"hostname": "example.com"}),
    );
    client.done("GET", &of_app("certificates"), &nothing);
    client.done("GET", &of_app("certificates/example.com"), &nothing);
    client.done("POST", &of_app("certificates/example.com/check"), &nothing);
    client.done("DELETE", &of_app("certificates/example.com"), &nothing);
    client.done("POST", &of_app("deploy_token"), &json!({"expiry": "1h"}));
}

/// Makes every call about a machine, up to its end and that of its volume.
fn drive(client: &ApiClient, machine: &Value, volume: &str) {
    let nothing = Value::Null;
    let path = of_app(&format!(
        "machines/{}",
        machine["id"].as_str().expect("a machine has an id")
    ));
    client.done(
        "GET",
        &of_app("machines?metadata.fly_process_group=app"),
        &nothing,
    );
    client.done("GET", &path, &nothing);
    let lease = client.done(
        "POST",
        &format!("{path}/lease?ttl=30"),
        &json!({"description": "update"}),
    );
    client.done("GET", &format!("{path}/lease"), &nothing);
    let holder = client.with_nonce(
        lease["data"]["nonce"]
            .as_str()
            .expect("a lease has a nonce"),
    );
    let update = json!({"config": machine["config"], "current_version": machine["instance_id"], "skip_launch": true});
    holder.done("POST", &path, &update);
    holder.done("POST", &format!("{path}/cordon"), &nothing);
    holder.done("POST", &format!("{path}/uncordon"), &nothing);
    holder.done("POST", &format!("{path}/stop"), &json!({}));
    holder.done("DELETE", &format!("{path}/lease"), &nothing);
    client.done("GET", &format!("{path}/events"), &nothing);
    client.done("GET", &format!("{path}/versions"), &nothing);
    client.done(
        "POST",
        &format!("{path}/metadata/k"),
        &json!({"value": "v"}),
    );
    client.done("GET", &format!("{path}/metadata"), &nothing);
    client.done("POST", &format!("{path}/start"), &nothing);
    client.done("POST", &format!("{path}/restart?timeout=5s"), &nothing);
    client.done("DELETE", &format!("{path}?force=true"), &nothing);
    client.done(
        "GET",
        &format!("{path}/wait?state=destroyed&timeout=30"),
        &nothing,
    );
    client.done("DELETE", &of_app(&format!("volumes/{volume}")), &nothing);
}
