//! Machines, leases and waits.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Made, Reply, Scripted, error, json, say};
use crate::fly::{
    FlyError, Reason,
    resources::{Lease, Machine, MachineUpdate, NewMachine},
};

const LIST: &str = "GET /v1/apps/site/machines";
const CREATE: &str = "POST /v1/apps/site/machines";
const GET: &str = "GET /v1/apps/site/machines/m1";
const UPDATE: &str = "POST /v1/apps/site/machines/m1";
const LEASE: &str = "POST /v1/apps/site/machines/m1/lease";
const READ_LEASE: &str = "GET /v1/apps/site/machines/m1/lease";
const WAIT: &str = "GET /v1/apps/site/machines/m1/wait?state=started&timeout=10&version=v1";
const NOT_YET: &str =
    "deadline_exceeded: machine failed to reach desired state, started, currently starting";
const NO_MANIFEST: &str = r#"failed to get manifest registry.fly.io/site:1: request failed: not found [http 404]: {"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;

fn machine(state: &str, version: &str) -> Value {
    json!({"id": "m1", "name": "onsave", "state": state, "region": "arn", "instance_id": version,
        "config": {"image": "i", "mounts": [{"volume": "vol_1", "path": "/srv"}]},
        "image_ref": {"registry": "registry.fly.io", "repository": "site", "tag": "1",
            "digest": "sha256:0"},
        "checks": null, "events": [{"type": "start", "status": "started", "source": "flyd",
            "timestamp": 1, "request": null}]})
}

fn parsed(state: &str) -> Machine {
    serde_json::from_value(machine(state, "v1")).unwrap()
}

fn new_machine() -> NewMachine {
    NewMachine {
        name: "onsave".into(),
        region: "arn".into(),
        config: json!({"image": "i"}),
        min_secrets_version: Some(3),
    }
}

fn lease() -> Lease {
    Lease { nonce: "n1".into() }
}

async fn create(script: Vec<(&str, Reply)>) -> (Result<Machine, FlyError>, Vec<Made>) {
    let scripted = Scripted::new(script);
    let outcome = scripted.fly.create_machine("site", &new_machine()).await;
    (outcome, scripted.made())
}

#[tokio::test(start_paused = true)]
async fn machines_are_read_whole() {
    let scripted = Scripted::new(vec![
        (LIST, json(200, &json!([machine("started", "v1")]))),
        (LIST, say(200, "null")),
        (GET, json(200, &machine("stopped", "v1"))),
        (GET, error(404, "machine not found")),
    ]);
    let machines = scripted.fly.machines("site").await.unwrap();
    assert_eq!(machines[0].mounted_volume(), Some("vol_1"));
    assert_eq!(machines[0].events[0].kind, "start");
    assert!(scripted.fly.machines("site").await.unwrap().is_empty());
    assert_eq!(
        scripted.fly.machine("site", "m1").await.unwrap().state,
        "stopped"
    );
    let error = scripted.fly.machine("site", "m1").await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::NotFound));
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_made() {
    let (made, calls) = create(vec![(CREATE, json(200, &machine("created", "v1")))]).await;
    assert_eq!(made.unwrap().id, "m1");
    let expected = json!({"name": "onsave", "region": "arn", "config": {"image": "i"},
        "min_secrets_version": 3});
    assert_eq!(calls[0].body, expected);
}

#[tokio::test(start_paused = true)]
async fn a_second_machine_is_never_made() {
    for lost in [
        Reply::Cut,
        error(408, "slow"),
        error(502, "bad"),
        say(200, "{}"),
    ] {
        let (made, _) = create(vec![
            (CREATE, lost),
            (LIST, say(200, "[]")),
            (LIST, json(200, &json!([machine("starting", "v1")]))),
        ])
        .await;
        assert_eq!(made.unwrap().id, "m1");
    }
    // Seen by the check of names before it is seen in the list.
    let violation = "already_exists: unique machine name violation, machine ID m1 already exists with name \"onsave\"";
    let (made, _) = create(vec![
        (CREATE, Reply::Cut),
        (LIST, say(200, "[]")),
        (LIST, say(200, "[]")),
        (CREATE, error(409, violation)),
        (LIST, json(200, &json!([machine("starting", "v1")]))),
    ])
    .await;
    assert_eq!(made.unwrap().id, "m1");
    // Nothing was lost: it is somebody else's.
    let (refused, _) = create(vec![(CREATE, error(409, violation))]).await;
    assert_eq!(
        refused.unwrap_err().reason(),
        Some(&Reason::MachineNameTaken)
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_not_made_is_made_again() {
    let (made, _) = create(vec![
        (CREATE, error(503, "unavailable")),
        (LIST, say(200, "[]")),
        (LIST, json(200, &json!([machine("destroyed", "v0")]))),
        (CREATE, json(200, &machine("created", "v1"))),
    ])
    .await;
    assert_eq!(made.unwrap().instance_id, "v1");
}

#[tokio::test(start_paused = true)]
async fn an_image_and_secrets_are_waited_for_a_minute() {
    let (made, _) = create(vec![
        (CREATE, error(400, NO_MANIFEST)),
        (CREATE, error(412, "precondition failed")),
        (CREATE, error(400, NO_MANIFEST)),
        (CREATE, json(200, &machine("created", "v1"))),
    ])
    .await;
    made.unwrap();
    let start = Instant::now();
    let scripted = Scripted::new(
        (0..200)
            .map(|_| (CREATE, error(400, NO_MANIFEST)))
            .collect(),
    );
    let outcome = scripted.fly.create_machine("site", &new_machine()).await;
    assert_eq!(
        outcome.unwrap_err().reason(),
        Some(&Reason::ImageNotVisible)
    );
    let waited = start.elapsed().as_secs();
    assert!((40..=65).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_full_host_is_said_at_once() {
    let words = "insufficient resources to create new machine with existing volume 'vol_x'";
    let (refused, _) = create(vec![(CREATE, error(412, words))]).await;
    assert_eq!(refused.unwrap_err().reason(), Some(&Reason::NoRoomAtVolume));
}

async fn update(script: Vec<(&str, Reply)>) -> (Result<Machine, FlyError>, Vec<Made>) {
    let scripted = Scripted::new(script);
    let change = MachineUpdate {
        config: json!({"image": "j"}),
        min_secrets_version: None,
    };
    let outcome = scripted
        .fly
        .update_machine("site", "m1", &change, &lease())
        .await;
    (outcome, scripted.made())
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_updated_under_its_lease() {
    let (updated, calls) = update(vec![
        (GET, json(200, &machine("started", "v1"))),
        (UPDATE, json(200, &machine("replacing", "v2"))),
    ])
    .await;
    assert_eq!(updated.unwrap().instance_id, "v2");
    assert_eq!(calls[1].body, json!({"config": {"image": "j"}}));
    assert_eq!(calls[1].header("fly-machine-lease-nonce"), Some("n1"));
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_not_booted_twice_for_one_change() {
    let (updated, _) = update(vec![
        (GET, json(200, &machine("started", "v1"))),
        (UPDATE, Reply::Cut),
        (GET, json(200, &machine("replacing", "v2"))),
    ])
    .await;
    assert_eq!(updated.unwrap().instance_id, "v2");
    let (updated, _) = update(vec![
        (GET, json(200, &machine("started", "v1"))),
        (UPDATE, error(504, "timeout")),
        (GET, json(200, &machine("started", "v1"))),
        (UPDATE, error(400, NO_MANIFEST)),
        (UPDATE, json(200, &machine("replacing", "v2"))),
    ])
    .await;
    assert_eq!(updated.unwrap().instance_id, "v2");
    let (refused, _) = update(vec![
        (GET, json(200, &machine("started", "v1"))),
        (UPDATE, error(409, "current_version does not match")),
    ])
    .await;
    assert_eq!(
        refused.unwrap_err().reason(),
        Some(&Reason::ChangedMeanwhile)
    );
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_started_and_restarted() {
    let path = "POST /v1/apps/site/machines/m1";
    let lines = ["start", "restart"].map(|word| format!("{path}/{word}"));
    let answers = lines
        .iter()
        .map(|line| (line.as_str(), say(200, r#"{"ok":true}"#)));
    let scripted = Scripted::new(answers.collect());
    scripted
        .fly
        .start_machine("site", "m1", None)
        .await
        .unwrap();
    scripted
        .fly
        .restart_machine("site", "m1", Some(&lease()))
        .await
        .unwrap();
    let made = scripted.made();
    let nonces: Vec<_> = made
        .iter()
        .map(|made| made.header("fly-machine-lease-nonce"))
        .collect();
    assert_eq!(nonces, [None, Some("n1")]);
    assert_eq!(made[0].body, Value::Null);
}

async fn take(scripted: &Scripted) -> Result<Lease, FlyError> {
    scripted
        .fly
        .lease("site", "m1", Duration::from_mins(1), "onsave")
        .await
}

#[tokio::test(start_paused = true)]
async fn a_lease_comes_with_and_without_its_envelope() {
    let scripted = Scripted::new(vec![
        (
            LEASE,
            say(
                201,
                r#"{"status":"success","data":{"nonce":"n1","expires_at":9,"owner":"a","description":""}}"#,
            ),
        ),
        (
            LEASE,
            say(201, r#"{"nonce":"n2","expires_at":9,"owner":"a"}"#),
        ),
        (LEASE, say(201, r#"{"status":"success"}"#)),
        ("DELETE /v1/apps/site/machines/m1/lease", say(200, "")),
        (
            "DELETE /v1/apps/site/machines/m1/lease",
            error(404, "lease not found"),
        ),
    ]);
    assert_eq!(take(&scripted).await.unwrap().nonce, "n1");
    assert_eq!(take(&scripted).await.unwrap().nonce, "n2");
    assert!(matches!(
        take(&scripted).await,
        Err(FlyError::BadAnswer { .. })
    ));
    scripted.fly.release("site", "m1", lease()).await.unwrap();
    scripted.fly.release("site", "m1", lease()).await.unwrap();
    let made = scripted.made();
    assert_eq!(made[0].body["ttl"], 60);
    let description = made[0].body["description"].as_str().unwrap();
    assert!(description.starts_with("onsave #"), "{description}");
    assert_ne!(made[0].body["description"], made[1].body["description"]);
    assert_eq!(made[3].header("fly-machine-lease-nonce"), Some("n1"));
}

#[tokio::test(start_paused = true)]
async fn who_holds_a_lease_is_said() {
    let held = "failed to get lease: lease currently held by 1a2b@tokens.fly.io, expires at 2026";
    let reads = [
        (
            say(
                200,
                r#"{"status":"success","data":{"nonce":"n9","owner":"ann@example.org","description":"deploy"}}"#,
            ),
            "ann@example.org (deploy)",
        ),
        (error(404, "no lease"), "1a2b@tokens.fly.io"),
    ];
    for (read, by) in reads {
        let scripted = Scripted::new(vec![(LEASE, error(409, held)), (READ_LEASE, read)]);
        let error = take(&scripted).await.unwrap_err();
        assert_eq!(
            error.reason(),
            Some(&Reason::LeaseHeld {
                by: Some(by.into())
            })
        );
        assert!(error.hint().unwrap().contains(by));
        scripted.made();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_answer_was_lost_is_known_again() {
    let ours = |asked: &Value| {
        json!({"status": "success", "data": {"nonce": "n1", "owner": "us",
        "description": asked["description"]}})
    };
    let scripted = Scripted::new(vec![
        (LEASE, Reply::Cut),
        (LEASE, error(409, "lease currently held by us")),
        (READ_LEASE, Reply::Echo(200, ours)),
    ]);
    assert_eq!(take(&scripted).await.unwrap().nonce, "n1");
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_waited_for() {
    let slow = || {
        Reply::After(
            Duration::from_secs(10),
            408,
            json!({"error": NOT_YET}).to_string(),
        )
    };
    let scripted = Scripted::new(vec![
        (WAIT, error(404, "machine not found")),
        (GET, error(404, "machine not found")),
        (WAIT, slow()),
        (GET, json(200, &machine("starting", "v1"))),
        (WAIT, error(502, "bad gateway")),
        (GET, json(200, &machine("starting", "v1"))),
        (WAIT, say(200, r#"{"ok":true,"state":"started"}"#)),
    ]);
    let patience = Duration::from_mins(2);
    scripted
        .fly
        .wait_for_state("site", &parsed("created"), "started", patience)
        .await
        .unwrap();
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_failed_is_not_waited_for() {
    for state in ["failed", "launch_failed", "destroyed", "destroying"] {
        let scripted = Scripted::new(vec![
            (WAIT, error(408, NOT_YET)),
            (GET, json(200, &machine(state, "v1"))),
        ]);
        let patience = Duration::from_mins(10);
        let outcome = scripted
            .fly
            .wait_for_state("site", &parsed("created"), "started", patience)
            .await;
        let Err(FlyError::NeverInState { state: found, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(found, state);
        scripted.made();
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_version_of_a_machine_is_not_taken_for_the_new_one() {
    let scripted = Scripted::new(vec![
        (WAIT, error(408, NOT_YET)),
        (GET, json(200, &machine("started", "v0"))),
        (WAIT, error(408, NOT_YET)),
        (GET, json(200, &machine("started", "v1"))),
    ]);
    let patience = Duration::from_mins(1);
    scripted
        .fly
        .wait_for_state("site", &parsed("created"), "started", patience)
        .await
        .unwrap();
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let wait = |seconds: u64| {
        let line = format!(
            "GET /v1/apps/site/machines/m1/wait?state=started&timeout={seconds}&version=v1"
        );
        let reply = Reply::After(
            Duration::from_secs(seconds),
            408,
            json!({"error": NOT_YET}).to_string(),
        );
        (line, reply)
    };
    let waits = [wait(10), wait(10), wait(5)];
    let mut script = Vec::new();
    for (line, reply) in &waits {
        let Reply::After(time, status, body) = reply else {
            panic!("all take time");
        };
        script.push((line.as_str(), Reply::After(*time, *status, body.clone())));
        script.push((GET, json(200, &machine("starting", "v1"))));
    }
    let scripted = Scripted::new(script);
    let start = Instant::now();
    let patience = Duration::from_secs(25);
    let outcome = scripted
        .fly
        .wait_for_state("site", &parsed("created"), "started", patience)
        .await;
    assert_eq!(start.elapsed(), patience);
    let error = outcome.unwrap_err();
    assert_eq!(
        error.to_string(),
        "machine m1 did not become started within 25 s, it is starting"
    );
    assert!(error.hint().unwrap().contains("onsave doctor"));
    scripted.made();
}
