//! Machines as the API shows them: creation and its conditions, versions, leases, waits, deletion. The
//! image is one whose program is not there, or nothing is launched.

use std::time::Duration;

use serde_json::{Value, json};

use super::asking::{APP, create_volume, machine_of, of_app, push, small_image, with_app};
use crate::{
    fly_simulator::{ApiClient, FlySimulator, ORGANIZATION_TOKEN, OneLayerImage},
    harness::eventually,
};

/// A machine that is not launched, and its path.
fn at_rest(client: &ApiClient, image: &str) -> (Value, String) {
    let mut body = machine_of(image);
    body["skip_launch"] = true.into();
    let machine = client.done("POST", &of_app("machines"), &body);
    let path = of_app(&format!("machines/{}", machine["id"].as_str().unwrap()));
    (machine, path)
}

fn with_image() -> (FlySimulator, ApiClient, String) {
    let (simulator, client) = with_app();
    let image = push(&simulator, &small_image(), "1");
    (simulator, client, image)
}

#[test]
fn a_machine_is_made_listed_and_deleted() {
    let (_simulator, client, image) = with_image();
    let mut body = machine_of(&image);
    body["skip_launch"] = true.into();
    body["config"]["metadata"] = json!({"fly_process_group": "app"});
    let machine = client.done("POST", &of_app("machines"), &body);
    assert_eq!(
        (&machine["state"], &machine["config"]),
        (&json!("created"), &body["config"])
    );
    assert_eq!(machine["image_ref"]["repository"], APP);
    assert_eq!(
        client.post(&of_app("machines"), &body).0,
        409,
        "the name is unique"
    );
    for (query, found) in [
        ("metadata.fly_process_group=app", 1),
        ("metadata.fly_process_group=other", 0),
        ("state=created&region=arn", 1),
        ("region=ams", 0),
    ] {
        let (_, listed) = client.get(&of_app(&format!("machines?{query}")));
        assert_eq!(listed.as_array().unwrap().len(), found, "{query}");
    }
    let path = of_app(&format!("machines/{}", machine["id"].as_str().unwrap()));
    assert_eq!(
        client
            .post(&format!("{path}/metadata/k"), &json!({"value": "v"}))
            .0,
        204
    );
    assert_eq!(client.get(&format!("{path}/metadata")).1["k"], "v");
    assert_eq!(client.get(&format!("{path}/events")).1[0]["type"], "launch");
    client.done("POST", &format!("{path}/cordon"), &Value::Null);
    assert_eq!(client.get(&path).1["cordoned"], true);
    client.done("POST", &format!("{path}/uncordon"), &Value::Null);
    assert_eq!(client.get(&path).1["cordoned"], false);
    client.done("DELETE", &path, &Value::Null);
    assert_eq!(client.get(&of_app("machines")).1, json!([]));
    let (_, all) = client.get(&of_app("machines?include_deleted=true"));
    assert_eq!(all[0]["state"], "destroyed");
    assert_eq!(client.get(&of_app("machines/none")).0, 404);
}

#[test]
fn an_image_has_to_be_in_the_registry() {
    let (simulator, client, image) = with_image();
    let (status, body) = client.post(
        &of_app("machines"),
        &machine_of("registry.fly.io/my-site:2"),
    );
    assert_eq!(status, 400);
    assert!(
        body["error"].as_str().unwrap().contains("MANIFEST_UNKNOWN"),
        "{body}"
    );
    let other = image.replace("registry.fly.io", &simulator.registry_host());
    at_rest(&client, &other);
    let by_digest = format!("registry.fly.io/{APP}@{}", small_image().digest());
    let mut body = machine_of(&by_digest);
    body["name"] = "second".into();
    body["skip_launch"] = true.into();
    let machine = client.done("POST", &of_app("machines"), &body);
    assert_eq!(machine["image_ref"]["digest"], small_image().digest());
    let public = "ghcr.io/somebody/server:1";
    assert_eq!(client.post(&of_app("machines"), &machine_of(public)).0, 400);
    simulator.offer_public_image(public, &small_image());
    body["name"] = "third".into();
    body["config"]["image"] = public.into();
    client.done("POST", &of_app("machines"), &body);
}

#[test]
fn the_registry_knows_apps_and_tokens() {
    let (simulator, _client) = with_app();
    let registry = simulator.registry_host().parse().unwrap();
    let image = small_image();
    let refused = image.push(registry, ("no-such-app", "1"), ORGANIZATION_TOKEN);
    assert_eq!(refused.status, 404);
    assert!(
        refused
            .text()
            .contains("name unknown: app repository not found")
    );
    let refused = image.push(registry, (APP, "1"), "fm2_unknown");
    assert_eq!(refused.status, 401);
    assert!(
        refused
            .header("www-authenticate")
            .unwrap()
            .starts_with("Basic")
    );
    let refused = image.push(registry, (APP, "1"), crate::fly_simulator::READ_ONLY_TOKEN);
    assert_eq!(refused.status, 403);
    assert_eq!(
        image.push(registry, (APP, "1"), ORGANIZATION_TOKEN).status,
        201
    );
    let before = simulator.writes().len();
    assert_eq!(
        image.push(registry, (APP, "2"), ORGANIZATION_TOKEN).status,
        201
    );
    assert_eq!(
        simulator.writes().len(),
        before + 1,
        "blobs that are there are not sent again"
    );
}

#[test]
fn a_volume_binds_its_machine() {
    let (_simulator, client, image) = with_image();
    let create = |volume: &str, region: &str, guest: Value| {
        let mut body = machine_of(&image);
        body["skip_launch"] = true.into();
        body["region"] = region.into();
        body["config"]["guest"] = guest;
        body["config"]["mounts"] = json!([{"volume": volume, "path": "/srv"}]);
        client.post(&of_app("machines"), &body)
    };
    let small = json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 256});
    assert_eq!(create("vol_none", "arn", small.clone()).0, 404);
    let bare = client.done(
        "POST",
        &of_app("volumes"),
        &json!({"name": "bare", "region": "arn", "size_gb": 1}),
    );
    let (status, body) = create(bare["id"].as_str().unwrap(), "arn", small.clone());
    assert_eq!(status, 412, "no hint, no room: {body}");
    let volume = create_volume(&client);
    let (status, body) = create(&volume, "ams", small.clone());
    assert!(
        status == 400 && body["error"].as_str().unwrap().contains("wrong region"),
        "{body}"
    );
    let large = json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 512});
    assert_eq!(
        create(&volume, "arn", large).0,
        412,
        "a larger machine than was hinted at"
    );
    let (status, machine) = create(&volume, "arn", small.clone());
    assert_eq!(status, 200, "{machine}");
    assert_eq!(create(&volume, "arn", small).0, 409, "attached already");
    let of_volume = of_app(&format!("volumes/{volume}"));
    assert_eq!(
        client.get(&of_volume).1["attached_machine_id"],
        machine["id"]
    );
    assert_eq!(client.call("DELETE", &of_volume, &Value::Null).0, 409);
    let path = of_app(&format!("machines/{}", machine["id"].as_str().unwrap()));
    let without = json!({"config": {"image": image}});
    assert_eq!(
        client.post(&path, &without).0,
        400,
        "a volume cannot be given up"
    );
    client.done("DELETE", &path, &Value::Null);
    assert_eq!(client.call("DELETE", &of_volume, &Value::Null).0, 200);
}

#[test]
fn machines_see_secrets_that_are_visible() {
    let (_simulator, client, image) = with_image();
    let mut body = machine_of(&image);
    body["min_secrets_version"] = 1.into();
    body["skip_launch"] = true.into();
    assert_eq!(client.post(&of_app("machines"), &body).0, 412);
    client.done("POST", &of_app("secrets"), &json!({"values": {"A": "b"}}));
    assert_eq!(client.post(&of_app("machines"), &body).0, 200);
}

#[test]
fn a_region_can_be_full_or_unknown() {
    let (simulator, client, image) = with_image();
    simulator.fill_region("arn");
    let (status, body) = client.post(&of_app("machines"), &machine_of(&image));
    assert_eq!(
        (status, &body["status"]),
        (422, &json!("insufficient_capacity"))
    );
    let mut elsewhere = machine_of(&image);
    elsewhere["region"] = "europe".into();
    assert_eq!(client.post(&of_app("machines"), &elsewhere).0, 400);
    assert_eq!(
        client
            .post(&of_app("machines"), &json!({"region": "ams"}))
            .0,
        400,
        "no config"
    );
}

#[test]
fn a_lease_keeps_others_away() {
    let (simulator, client, image) = with_image();
    let (machine, path) = at_rest(&client, &image);
    let lease = format!("{path}/lease");
    assert_eq!(client.get(&lease).0, 404);
    let (status, taken) = client.post(&lease, &json!({"ttl": 30, "description": "a test"}));
    assert_eq!((status, &taken["status"]), (201, &json!("success")));
    assert_eq!(taken["data"]["description"], "a test");
    let nonce = taken["data"]["nonce"].as_str().unwrap();
    assert_eq!(
        client.get(&lease).1["data"]["owner"],
        taken["data"]["owner"]
    );
    let update = json!({"config": {"image": image}, "skip_launch": true});
    let (status, body) = client.post(&path, &update);
    assert!(
        status == 409
            && body["error"]
                .as_str()
                .unwrap()
                .contains("lease currently held by"),
        "{body}"
    );
    for action in ["start", "stop", "restart", "cordon", "lease"] {
        assert_eq!(
            client.post(&format!("{path}/{action}"), &json!({})).0,
            409,
            "{action}"
        );
    }
    assert_eq!(client.call("DELETE", &path, &Value::Null).0, 409);
    let holder = client.with_nonce(nonce);
    assert_eq!(
        holder.post(&lease, &json!({"ttl": 60})).1["data"]["nonce"],
        nonce,
        "refreshed"
    );
    let updated = holder.done("POST", &path, &update);
    assert_ne!(updated["instance_id"], machine["instance_id"]);
    assert_eq!(client.call("DELETE", &lease, &Value::Null).0, 409);
    holder.done("DELETE", &lease, &Value::Null);
    assert_eq!(holder.call("DELETE", &lease, &Value::Null).0, 404);
    assert_eq!(client.post(&path, &update).0, 200);

    simulator.hold_lease((APP, machine["id"].as_str().unwrap()), 1);
    assert_eq!(client.post(&path, &update).0, 409);
    eventually("the lease runs out", || {
        client.post(&path, &update).0 == 200
    });

    let mut leased = machine_of(&image);
    leased["name"] = "leased".into();
    leased["skip_launch"] = true.into();
    leased["lease_ttl"] = 30.into();
    let made = client.done("POST", &of_app("machines"), &leased);
    let path = of_app(&format!("machines/{}", made["id"].as_str().unwrap()));
    assert_eq!(client.post(&path, &update).0, 409);
    let holder = client.with_nonce(made["nonce"].as_str().unwrap());
    assert_eq!(holder.post(&path, &update).0, 200);
}

#[test]
fn an_update_names_the_version_that_it_saw() {
    let (_simulator, client, image) = with_image();
    let (machine, path) = at_rest(&client, &image);
    let update = |version: &Value| {
        let body =
            json!({"config": {"image": image}, "skip_launch": true, "current_version": version});
        client.post(&path, &body)
    };
    let (status, updated) = update(&machine["instance_id"]);
    assert_eq!((status, &updated["state"]), (200, &json!("created")));
    assert_eq!(
        update(&machine["instance_id"]).0,
        409,
        "a version that was replaced"
    );
    assert_eq!(
        client
            .get(&format!("{path}/versions"))
            .1
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let moved = json!({"config": {"image": image}, "region": "ams"});
    assert_eq!(client.post(&path, &moved).0, 400);
}

#[test]
fn a_wait_ends_when_it_is_over_or_in_vain() {
    let (_simulator, client, image) = with_image();
    let (machine, path) = at_rest(&client, &image);
    let wait = |query: &str| client.get(&format!("{path}/wait?{query}"));
    let (status, body) = wait("state=started&timeout=1");
    assert_eq!(status, 408);
    assert_eq!(
        body["error"],
        "deadline_exceeded: machine failed to reach desired state, started, currently created"
    );
    for wrong in [
        "state=well",
        "state=stopped",
        "timeout=61",
        "timeout=0",
        "timeout=x",
        "version=none&timeout=1",
    ] {
        assert_eq!(wait(wrong).0, 400, "{wrong}");
    }
    client.done("DELETE", &path, &Value::Null);
    let (status, body) = wait("state=destroyed");
    assert_eq!(
        (status, &body["ok"], &body["version"]),
        (200, &json!(true), &machine["instance_id"])
    );
}

#[test]
fn a_program_that_is_not_there_is_told_by_the_events() {
    let (simulator, client, image) = with_image();
    let mut body = machine_of(&image);
    body["config"]["restart"] = json!({"policy": "on-failure", "max_retries": 2});
    let machine = client.done("POST", &of_app("machines"), &body);
    let id = machine["id"].as_str().unwrap();
    let path = of_app(&format!("machines/{id}"));
    let wait = format!(
        "{path}/wait?state=stopped&version={}",
        machine["instance_id"].as_str().unwrap()
    );
    assert_eq!(client.get(&wait).0, 200);
    let (_, events) = client.get(&format!("{path}/events"));
    let exits: Vec<&Value> = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "exit" && event["source"] == "flyd")
        .map(|event| &event["request"]["exit_event"])
        .filter(|exit| exit.is_object())
        .collect();
    assert_eq!(exits.len(), 3, "once, and two retries: {events}");
    assert_eq!(
        (&exits[0]["exit_code"], &exits[0]["restarting"]),
        (&json!(127), &json!(false)),
        "newest first"
    );
    assert_eq!(exits[1]["restarting"], true);
    assert!(
        simulator.machine_log(id).contains("/nothing"),
        "the log says what is not there"
    );
    assert!(simulator.simulated_delay() >= Duration::from_millis(300));
}

#[test]
fn an_image_that_cannot_run_is_a_failed_launch() {
    let (simulator, client, _) = with_image();
    let image = OneLayerImage::new(&[("a", b"a")], &json!({}));
    let image = push(&simulator, &image, "no-command");
    let machine = client.done("POST", &of_app("machines"), &machine_of(&image));
    let path = of_app(&format!("machines/{}", machine["id"].as_str().unwrap()));
    assert_eq!(client.get(&format!("{path}/wait?state=failed")).0, 200);
    let (_, machine) = client.get(&path);
    assert_eq!(machine["state"], "launch_failed");
    let events = machine["events"].to_string();
    assert!(
        events.contains("neither image nor configuration"),
        "{events}"
    );
}
