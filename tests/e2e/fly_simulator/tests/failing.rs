//! Failures on demand: each says what the platform says, once, and does or does not act.

use serde_json::{Value, json};

use super::asking::{
    APP, create_volume, healthy, machine_of, of_app, push, server_config, server_image,
    small_image, started, with_app,
};
use crate::{
    fly_simulator::{
        ApiClient, Failure, FlySimulator, ORGANIZATION_TOKEN, Operation, Options, USER_TOKEN,
    },
    harness::wait_for,
};

/// Failures that refuse, their status, and what their bodies say.
const REFUSALS: &[(Failure, u16, &str)] = &[
    (Failure::CardNeeded, 422, "please add a payment method"),
    (Failure::HighRisk, 422, "https://fly.io/high-risk-unlock"),
    (Failure::TrialEnded, 403, "payment information"),
    (Failure::NameTaken, 422, "name_taken"),
    (
        Failure::NameTakenInOlderWords,
        422,
        "Name has already been taken",
    ),
    (Failure::NoCapacity, 400, r#""error":"no capacity""#),
    (
        Failure::InsufficientCapacity,
        422,
        r#""status":"insufficient_capacity""#,
    ),
    (
        Failure::ReservationLost,
        409,
        "could not reserve resource for machine",
    ),
    (Failure::NoRoomBesideVolume, 412, "with existing volume"),
    (Failure::VolumePlacement, 412, "volume_placement_capacity"),
    (Failure::VolumeInWrongRegion, 400, "is in the wrong region"),
    (Failure::VolumeGone, 404, "volume does not exist"),
    (Failure::LeaseHeld, 409, "lease currently held by"),
    (Failure::ImageNotVisible, 400, "MANIFEST_UNKNOWN"),
    (Failure::ImageTooBig, 422, "exceeds maximum of 8GB"),
    (Failure::SecretsNotVisible, 412, "secrets version"),
    (Failure::NotFoundYet, 404, "not found"),
    (Failure::OverQuota, 403, "over the allowed quota"),
    (Failure::TooManyRequests(2), 429, "rate limit"),
    (Failure::Status(500), 500, "Internal Server Error"),
    (Failure::Status(502), 502, "Bad Gateway"),
    (Failure::Unknown, 400, "E7731"),
];

#[test]
fn a_refusal_is_said_once_and_nothing_is_done() {
    let (simulator, client) = with_app();
    let image = push(&simulator, &small_image(), "1");
    let mut body = machine_of(&image);
    body["skip_launch"] = true.into();
    for (failure, status, words) in REFUSALS {
        simulator.fail_next(Operation::MachineCreate, *failure);
        let answer = client.ask("POST", &of_app("machines"), &body).unwrap();
        assert_eq!(answer.status, *status, "{failure:?}");
        assert!(
            answer.text().contains(words),
            "{failure:?}: {}",
            answer.text()
        );
        let after = (*failure == Failure::TooManyRequests(2)).then_some("2");
        assert_eq!(answer.header("retry-after"), after);
        assert!(answer.header("fly-request-id").is_some());
        assert_eq!(client.get(&of_app("machines")).1, json!([]), "{failure:?}");
    }
    assert_eq!(
        client.post(&of_app("machines"), &body).0,
        200,
        "and then all is well"
    );
    assert_eq!(simulator.unmet_failures(), []);
}

#[test]
fn an_answer_can_be_lost_before_or_after_the_act() {
    let (simulator, client) = started(&Options::default());
    let body = json!({"name": APP, "org_slug": "personal"});
    simulator.fail_next(Operation::AppCreate, Failure::CutBefore);
    assert!(client.ask("POST", "/v1/apps", &body).is_none());
    assert_eq!(client.get("/v1/apps/my-site").0, 404);
    assert_eq!(simulator.writes()[0].status, 0);
    simulator.fail_next(Operation::AppCreate, Failure::CutAfter);
    assert!(client.ask("POST", "/v1/apps", &body).is_none());
    assert_eq!(client.get("/v1/apps/my-site").0, 200);

    let image = push(&simulator, &small_image(), "1");
    simulator.fail_next(Operation::MachineCreate, Failure::ActedThenTimedOut);
    let mut body = machine_of(&image);
    body["skip_launch"] = true.into();
    assert_eq!(client.post(&of_app("machines"), &body).0, 408);
    assert_eq!(client.get(&of_app("machines")).1[0]["name"], "web");
}

#[test]
fn failures_wait_for_their_own_call() {
    let (simulator, client) = with_app();
    simulator.fail_next(Operation::IpAssign, Failure::Status(502));
    simulator.fail_next(Operation::IpAssign, Failure::Status(503));
    assert_eq!(client.get(&of_app("ip_assignments")).0, 200);
    assert_eq!(simulator.unmet_failures().len(), 2);
    let statuses = [0; 3].map(|_| {
        client
            .post(&of_app("ip_assignments"), &json!({"type": "v6"}))
            .0
    });
    assert_eq!(statuses, [502, 503, 200]);
}

#[test]
fn the_registry_and_the_older_api_fail_too() {
    let (simulator, _client) = with_app();
    let registry = simulator.registry_host().parse().unwrap();
    let push = || {
        small_image()
            .push(registry, (APP, "1"), ORGANIZATION_TOKEN)
            .status
    };
    simulator.fail_next(Operation::UploadPut, Failure::Status(502));
    assert_eq!(push(), 502);
    simulator.fail_next(Operation::ManifestPut, Failure::ActedThenTimedOut);
    assert_eq!(push(), 408);
    assert_eq!(push(), 201);
    let user = ApiClient::new(&simulator.older_api_url(), USER_TOKEN);
    simulator.fail_next(Operation::GraphQl, Failure::CutBefore);
    assert!(
        user.ask("POST", "/graphql", &json!({"query": "{viewer}"}))
            .is_none()
    );
    simulator.fail_next(Operation::Organizations, Failure::Status(500));
    assert_eq!(user.get("/api/v1/organizations").0, 500);
}

fn serve(simulator: &FlySimulator, client: &ApiClient) -> (String, String) {
    let image = push(simulator, &server_image(), "1");
    let secret = json!({"values": {"SYNC_SECRET": crate::harness::server::SECRET}});
    client.done("POST", &of_app("secrets"), &secret);
    let volume = create_volume(client);
    let mut body = machine_of(&image);
    body["config"] = server_config(&image, &volume);
    body["config"]["restart"] = json!({"policy": "always", "max_retries": 1});
    let machine = client.done("POST", &of_app("machines"), &body);
    let id = machine["id"].as_str().unwrap().to_owned();
    (of_app(&format!("machines/{id}")), id)
}

#[test]
fn a_machine_can_crash_and_the_next_version_runs() {
    let (simulator, client) = with_app();
    simulator.fail_next(Operation::MachineCreate, Failure::CrashAtBoot);
    let (path, id) = serve(&simulator, &client);
    let stopped = wait_for("the machine to give up", || {
        let (_, machine) = client.get(&path);
        (machine["state"] == "stopped").then_some(machine)
    });
    assert!(
        stopped["events"].to_string().contains("\"exit_code\":127"),
        "{stopped}"
    );
    assert_eq!(stopped["checks"][0]["status"], "critical");
    client.done("POST", &path, &json!({"config": stopped["config"]}));
    healthy(&client, &id);
}

#[test]
fn checks_can_stay_critical() {
    let (simulator, client) = with_app();
    client.done("POST", &of_app("ip_assignments"), &json!({"type": "v6"}));
    simulator.fail_next(Operation::MachineCreate, Failure::ChecksStayCritical);
    let (path, id) = serve(&simulator, &client);
    assert_eq!(client.get(&format!("{path}/wait?state=started")).0, 200);
    let machine = wait_for("a check to be made", || {
        let (_, machine) = client.get(&path);
        let output = machine["checks"][0]["output"].as_str()?;
        output.contains("connection refused").then_some(machine)
    });
    assert_eq!(machine["checks"][0]["status"], "critical");
    let edge = crate::harness::http::get(simulator.edge_address(), "/_icd/health").unwrap();
    assert_eq!(edge.status, 503, "what is not well gets no visitors");
    client.done("POST", &path, &json!({"config": machine["config"]}));
    let well = healthy(&client, &id);
    assert_eq!(well["checks"][0]["name"], "servicecheck-00-http-8080");
    assert_ne!(well["instance_id"], Value::Null);
}
