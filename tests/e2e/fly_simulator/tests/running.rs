//! Machines that run: the real server from an image that was pushed, seen through the edge.

use std::{fs, io::Read as _, net::SocketAddr};

use serde_json::{Value, json};

use super::asking::{
    APP, create_app, create_volume, healthy, machine_of, of_app, push, server_config, server_image,
    started, static_server, with_app,
};
use crate::{
    fly_simulator::{ApiClient, FlySimulator, OneLayerImage, Options, RegistryBehind},
    harness::{
        eventually,
        http::{self, Answer, Connection, Request},
        registry::{self, DockerRegistry},
        server::SECRET,
        site::Tree,
        sync_client, wait_for, world,
    },
};

/// A world with a healthy server.
struct Served {
    simulator: FlySimulator,
    client: ApiClient,
    volume: String,
    machine: String,
}

fn served() -> Served {
    served_with(|_| ())
}

/// As [`served`], with a configuration that is changed first.
fn served_with(change: impl FnOnce(&mut Value)) -> Served {
    let (simulator, client) = with_app();
    for kind in ["v6", "shared_v4"] {
        client.done("POST", &of_app("ip_assignments"), &json!({"type": kind}));
    }
    let image = push(&simulator, &server_image(), "1");
    set_secret(&client, SECRET);
    let volume = create_volume(&client);
    let mut body = machine_of(&image);
    body["config"] = server_config(&image, &volume);
    change(&mut body["config"]);
    let machine = client.done("POST", &of_app("machines"), &body);
    let machine = machine["id"].as_str().unwrap().to_owned();
    healthy(&client, &machine);
    Served {
        simulator,
        client,
        volume,
        machine,
    }
}

fn set_secret(client: &ApiClient, value: &str) -> Value {
    let body = json!({"values": {"SYNC_SECRET": value}});
    client.done("POST", &of_app("secrets"), &body)["version"].clone()
}

fn path(served: &Served) -> String {
    of_app(&format!("machines/{}", served.machine))
}

/// What the edge answers for a host name; nothing when it ends the connection.
fn visit(edge: SocketAddr, host: &str, target: &str) -> Option<Answer> {
    let request = Request {
        method: "GET",
        target,
        headers: vec![("host", host.to_owned())],
        body: &[],
    };
    Connection::open(edge).unwrap().send(&request).ok()
}

fn site(page: &str) -> Tree {
    Tree::from([("index.html".to_owned(), page.as_bytes().to_vec())])
}

#[test]
fn a_site_is_published_through_the_edge_and_survives_an_update() {
    let served = served();
    let edge = served.simulator.edge_address();
    assert_eq!(served.simulator.edge_url(), format!("http://{edge}"));
    assert_eq!(
        http::get(edge, "/_icd/health").unwrap().status,
        200,
        "the only app"
    );
    assert_eq!(
        visit(edge, "my-site.fly.dev", "/_icd/health")
            .unwrap()
            .status,
        200
    );
    assert!(
        visit(edge, "other.fly.dev", "/").is_none(),
        "an app that is not there"
    );

    let tree = site("<p>published");
    let first = sync_client::publish(edge, None, (&Tree::new(), &tree)).unwrap();
    world::assert_serves(edge, &tree);
    assert!(
        served
            .simulator
            .volume_folder(&served.volume)
            .join("head")
            .exists()
    );

    let (_, machine) = served.client.get(&path(&served));
    let updated = served.client.done(
        "POST",
        &path(&served),
        &json!({"config": machine["config"]}),
    );
    assert_eq!(updated["state"], "replacing");
    let version = updated["instance_id"].as_str().unwrap();
    let wait = format!(
        "{}/wait?state=started&version={version}&timeout=60",
        path(&served)
    );
    assert_eq!(served.client.get(&wait).1["version"], version);
    let machine = healthy(&served.client, &served.machine);
    let exit = machine["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["type"] == "exit")
        .unwrap();
    let exit = &exit["request"]["exit_event"];
    assert_eq!(
        (&exit["exit_code"], &exit["requested_stop"]),
        (&json!(0), &json!(true)),
        "it drained"
    );
    world::assert_serves(edge, &tree);
    let manifest = sync_client::manifest(edge).unwrap();
    assert_eq!(manifest.deploy_id, Some(first.deploy_id.to_string()));
}

#[test]
fn a_new_secret_is_seen_by_a_new_version_only() {
    let served = served();
    let edge = served.simulator.edge_address();
    let version = set_secret(&served.client, "another-secret-of-some-length");
    sync_client::manifest(edge).expect("the running version has the secret it was made with");
    served
        .client
        .done("POST", &format!("{}/restart", path(&served)), &Value::Null);
    eventually("the machine is back", || {
        http::get(edge, "/_icd/health").is_some_and(|answer| answer.status == 200)
    });
    sync_client::manifest(edge).expect("a restart makes no new version");

    let (_, machine) = served.client.get(&path(&served));
    let body = json!({"config": machine["config"], "min_secrets_version": version});
    served.client.done("POST", &path(&served), &body);
    healthy(&served.client, &served.machine);
    let refused = wait_for("the new version to answer", || {
        let answer = visit(edge, "my-site.fly.dev", "/_icd/manifest")?;
        (answer.status != 503).then_some(answer.status)
    });
    assert_eq!(refused, 401);
    let refused = std::panic::catch_unwind(|| sync_client::manifest(edge));
    assert!(refused.is_err(), "the old secret is refused");
}

#[test]
fn a_machine_stops_starts_and_is_destroyed() {
    let served = served();
    let edge = served.simulator.edge_address();
    let path = path(&served);
    let (_, machine) = served.client.get(&path);
    let version = machine["instance_id"].as_str().unwrap();
    assert_eq!(
        served.client.call("DELETE", &path, &Value::Null).0,
        412,
        "it runs"
    );
    assert_eq!(
        served.client.post(&format!("{path}/stop"), &json!([])).0,
        400
    );
    assert_eq!(
        served
            .client
            .post(&format!("{path}/stop"), &json!({"timeout": "5"}))
            .0,
        400
    );
    served.client.done(
        "POST",
        &format!("{path}/stop"),
        &json!({"signal": "SIGTERM", "timeout": "10s"}),
    );
    let wait = format!("{path}/wait?state=stopped&instance_id={version}");
    assert_eq!(served.client.get(&wait).0, 200);
    assert_eq!(http::get(edge, "/").unwrap().status, 503);
    assert!(served.simulator.connect(&served.machine, 8080).is_err());
    served
        .client
        .done("POST", &format!("{path}/stop"), &json!({}));
    served
        .client
        .done("POST", &format!("{path}/start"), &Value::Null);
    assert_eq!(
        served.client.get(&format!("{path}/wait?state=started")).0,
        200
    );
    served
        .client
        .done("POST", &format!("{path}/start"), &Value::Null);
    eventually("the edge finds it again", || {
        http::get(edge, "/_icd/health").unwrap().status == 200
    });
    served
        .client
        .done("DELETE", &format!("{path}?force=true"), &Value::Null);
    assert_eq!(
        served.client.get(&format!("{path}/wait?state=destroyed")).0,
        200
    );
    assert_eq!(
        served.client.post(&format!("{path}/start"), &Value::Null).0,
        404
    );
    assert_eq!(http::get(edge, "/").unwrap().status, 503);
    let (status, _) = served
        .client
        .call("DELETE", &format!("/v1/apps/{APP}"), &Value::Null);
    assert_eq!(status, 202, "what is destroyed does not hold the app");
    assert!(visit(edge, "my-site.fly.dev", "/").is_none());
}

#[test]
fn an_app_without_an_address_is_not_reached() {
    let served = served();
    let edge = served.simulator.edge_address();
    let (_, addresses) = served.client.get(&of_app("ip_assignments"));
    for address in addresses["ips"].as_array().unwrap() {
        assert!(http::get(edge, "/_icd/health").is_some());
        let one = of_app(&format!(
            "ip_assignments/{}",
            address["ip"].as_str().unwrap()
        ));
        served.client.call("DELETE", &one, &Value::Null);
    }
    assert!(http::get(edge, "/_icd/health").is_none());
    let busy = served
        .client
        .call("DELETE", &format!("/v1/apps/{APP}"), &Value::Null)
        .0;
    assert_eq!(busy, 412, "a machine runs");
    let forced = served
        .client
        .call(
            "DELETE",
            &format!("/v1/apps/{APP}?force=true"),
            &Value::Null,
        )
        .0;
    assert_eq!(forced, 202);
}

#[test]
fn the_server_gets_its_environment_and_nothing_else() {
    let served = served();
    let names = environment_names(&served);
    let expected = [
        "METRICS_ADDRESS",
        "PORT",
        "SITE_DATA_ROOT",
        "SYNC_SECRET",
        "TRUST_FLY_CLIENT_IP",
    ];
    assert_eq!(names, expected);
    let stream = served.simulator.connect(&served.machine, 9091).unwrap();
    let metrics = Connection::over(stream).send(&Request {
        method: "GET",
        target: "/metrics",
        ..Request::default()
    });
    assert_eq!(metrics.unwrap().status, 200);
    let log = served.simulator.machine_log(&served.machine);
    assert!(log.contains("onsave-server ready"), "{log}");
    assert!(!log.contains(SECRET));
}

/// Names of the variables of the one process that serves the volume, which is found by its root.
fn environment_names(served: &Served) -> Vec<String> {
    let volume = served.simulator.volume_folder(&served.volume);
    let folder = volume.parent().unwrap().parent().unwrap().to_owned();
    let is_ours = |entry: &fs::DirEntry| {
        fs::read_link(entry.path().join("root")).is_ok_and(|root| root.starts_with(&folder))
    };
    let process = fs::read_dir("/proc").unwrap().flatten().find(is_ours);
    let mut environment = String::new();
    let path = process.expect("the server runs").path().join("environ");
    fs::File::open(path)
        .unwrap()
        .read_to_string(&mut environment)
        .unwrap();
    let pairs = environment
        .split('\0')
        .filter_map(|pair| pair.split_once('='));
    let mut names: Vec<String> = pairs.map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_user_and_files_are_as_configured() {
    let (simulator, client) = with_app();
    let files = [("bin/onsave-server", static_server())];
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(path, bytes)| (*path, bytes.as_slice()))
        .collect();
    let settings = json!({"Entrypoint": ["/bin/onsave-server"], "User": "65532:65532", "Env": ["PORT=8080", "SITE_DATA_ROOT=/tmp/site"]});
    let image = push(&simulator, &OneLayerImage::new(&files, &settings), "user");
    let mut body = machine_of(&image);
    body["config"]["env"] = json!({"SYNC_SECRET_FILE": "/run/secrets/sync"});
    // A secret of 32 letters, in base64 as files are given.
    body["config"]["files"] = json!([{"guest_path": "/run/secrets/sync", "raw_value": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}]);
    body["config"]["checks"] = json!({"alive": {"type": "tcp", "port": 8080}, "health": {"type": "http", "port": 8080, "path": "/_icd/health", "headers": [{"name": "X-Check", "values": ["yes"]}]}});
    let machine = client.done("POST", &of_app("machines"), &body);
    let machine = healthy(&client, machine["id"].as_str().unwrap());
    assert_eq!(machine["checks"].as_array().unwrap().len(), 2);
}

#[test]
fn nothing_is_left_of_a_simulator() {
    let served = served();
    let volume = served.simulator.volume_folder(&served.volume);
    let folder = volume.parent().unwrap().parent().unwrap().to_owned();
    assert!(folder.exists());
    let edge = served.simulator.edge_address();
    drop(served);
    assert!(!folder.exists(), "{}", folder.display());
    assert!(Connection::open(edge).is_err());
    let left = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        fs::read_link(entry.path().join("root")).is_ok_and(|root| root.starts_with(&folder))
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn the_edge_says_who_asks_in_both_versions_of_http() {
    for h2_backend in [true, false] {
        let served = served_with(|config| {
            config["services"][0]["ports"][1]["http_options"]["h2_backend"] = h2_backend.into();
            config["env"]["ACCESS_LOG"] = "common".into();
        });
        let request = Request {
            method: "GET",
            target: "/who?asks",
            headers: vec![("fly-client-ip", "203.0.113.9".to_owned())],
            body: &[],
        };
        let mut connection = Connection::open(served.simulator.edge_address()).unwrap();
        assert_eq!(
            connection.send(&request).unwrap().status,
            503,
            "no deploy yet"
        );
        let line = wait_for("the access log", || {
            let log = served.simulator.machine_log(&served.machine);
            log.lines()
                .find(|line| line.contains("/who"))
                .map(str::to_owned)
        });
        assert!(
            line.starts_with("127.0.0.1 "),
            "a visitor cannot say who it is: {line}"
        );
        let version = if h2_backend { "HTTP/2" } else { "HTTP/1.1" };
        assert!(line.contains(version), "{line}");
    }
}

#[test]
fn a_real_registry_can_stand_behind_the_front() {
    let registry = DockerRegistry::start();
    let (simulator, client) = started(&Options {
        registry: Some(RegistryBehind {
            address: registry.address(),
            token: Some(registry::TOKEN),
        }),
        ..Options::default()
    });
    create_app(&client);
    let image = push(&simulator, &server_image(), "1");
    let raw = registry.skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--raw",
        &registry.image(APP, "1"),
    ]);
    let raw: Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!(raw["layers"].as_array().unwrap().len(), 1);
    let secret = json!({"values": {"SYNC_SECRET": SECRET}});
    client.done("POST", &of_app("secrets"), &secret);
    let mut body = machine_of(&image);
    body["config"] = server_config(&image, &create_volume(&client));
    let machine = client.done("POST", &of_app("machines"), &body);
    healthy(&client, machine["id"].as_str().unwrap());
}
