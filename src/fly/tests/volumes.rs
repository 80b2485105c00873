//! Volumes, snapshots and regions.

use serde_json::{Value, json};

use super::{Reply, Scripted, error, json, say};
use crate::fly::{
    Reason,
    resources::{NeedsRestart, NewVolume},
};

const GET: &str = "GET /v1/apps/site/volumes";
const POST: &str = "POST /v1/apps/site/volumes";

fn volume(id: &str, state: &str) -> Value {
    json!({"id": id, "name": "site_data", "state": state, "size_gb": 1, "region": "arn",
        "zone": "z", "encrypted": true, "attached_machine_id": null, "snapshot_retention": 5,
        "host_status": "ok", "created_at": "2026-10-01T00:00:00Z"})
}

fn new_volume() -> NewVolume {
    NewVolume {
        name: "site_data".into(),
        region: "arn".into(),
        size_gb: 1,
        encrypted: true,
        snapshot_retention: 14,
        compute: json!({"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}),
        compute_image: "registry.fly.io/site:1".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn volumes_are_listed_dying_ones_too() {
    let list = json!([
        volume("vol_1", "created"),
        volume("vol_2", "pending_destroy")
    ]);
    let scripted = Scripted::new(vec![(GET, json(200, &list)), (GET, say(200, "null"))]);
    let volumes = scripted.fly.volumes("site").await.unwrap();
    assert!(volumes[0].is_alive() && !volumes[1].is_alive());
    assert_eq!(volumes[0].attached_machine_id, None);
    assert!(scripted.fly.volumes("site").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_made_with_its_machine_in_mind() {
    let scripted = Scripted::new(vec![
        (GET, say(200, "[]")),
        (POST, json(200, &volume("vol_1", "creating"))),
    ]);
    let made = scripted
        .fly
        .create_volume("site", &new_volume())
        .await
        .unwrap();
    assert_eq!(made.id, "vol_1");
    let expected = json!({"name": "site_data", "region": "arn", "size_gb": 1, "encrypted": true,
        "snapshot_retention": 14, "compute": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
        "compute_image": "registry.fly.io/site:1"});
    assert_eq!(scripted.made()[1].body, expected);
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_answer_was_lost_is_found_and_not_mistaken() {
    for lost in [
        Reply::Cut,
        error(504, "timeout"),
        say(200, "{}"),
        error(408, "slow"),
    ] {
        let old = json!([volume("vol_old", "created")]);
        let both = json!([volume("vol_old", "created"), volume("vol_new", "created")]);
        let scripted = Scripted::new(vec![
            (GET, json(200, &old)),
            (POST, lost),
            (GET, json(200, &old)),
            (GET, json(200, &both)),
        ]);
        let made = scripted
            .fly
            .create_volume("site", &new_volume())
            .await
            .unwrap();
        assert_eq!(made.id, "vol_new");
        scripted.made();
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_was_not_made_is_made_again() {
    let scripted = Scripted::new(vec![
        (GET, say(200, "[]")),
        (POST, error(503, "unavailable")),
        (GET, say(200, "[]")),
        (GET, json(200, &json!([volume("vol_0", "destroyed")]))),
        (POST, json(200, &volume("vol_1", "created"))),
    ]);
    let made = scripted
        .fly
        .create_volume("site", &new_volume())
        .await
        .unwrap();
    assert_eq!(made.id, "vol_1");
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn a_full_region_is_said_at_once() {
    let scripted = Scripted::new(vec![
        (GET, say(200, "[]")),
        (POST, error(400, "no capacity")),
    ]);
    let error = scripted
        .fly
        .create_volume("site", &new_volume())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::NoCapacity));
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_extended_and_its_snapshots_kept() {
    let extend = "PUT /v1/apps/site/volumes/vol_1/extend";
    let scripted = Scripted::new(vec![
        (
            extend,
            json(
                200,
                &json!({"volume": volume("vol_1", "created"), "needs_restart": true}),
            ),
        ),
        (
            extend,
            json(200, &json!({"volume": volume("vol_1", "created")})),
        ),
        (
            "PUT /v1/apps/site/volumes/vol_1",
            json(200, &volume("vol_1", "created")),
        ),
        (
            "GET /v1/apps/site/volumes/vol_1/snapshots",
            say(
                200,
                r#"[{"id":"vs_1","created_at":"2026-10-01T00:00:00Z","status":"created"}]"#,
            ),
        ),
    ]);
    let fly = &scripted.fly;
    assert_eq!(
        fly.extend_volume("site", "vol_1", 3).await.unwrap(),
        NeedsRestart::Yes
    );
    assert_eq!(
        fly.extend_volume("site", "vol_1", 3).await.unwrap(),
        NeedsRestart::No
    );
    fly.keep_snapshots("site", "vol_1", 14).await.unwrap();
    assert_eq!(fly.snapshots("site", "vol_1").await.unwrap()[0].id, "vs_1");
    let made = scripted.made();
    assert_eq!(made[0].body, json!({"size_gb": 3}));
    let kept = json!({"snapshot_retention": 14, "auto_backup_enabled": true});
    assert_eq!(made[2].body, kept);
}

#[tokio::test(start_paused = true)]
async fn regions_come_in_both_cases() {
    let line = "GET /v1/platform/regions";
    let upper = r#"{"Nearest":"arn","Regions":[{"code":"arn","name":"Stockholm, Sweden","latitude":59.7,"longitude":17.9},{"code":"maa","name":"old","latitude":1,"longitude":1,"deprecated":true}]}"#;
    let lower = r#"{"nearest":"arn","regions":[{"Code":"ams","Name":"Amsterdam","Latitude":52,"Longitude":null,"Deprecated":null}]}"#;
    let scripted = Scripted::new(vec![(line, say(200, upper)), (line, say(200, lower))]);
    let regions = scripted.fly.regions().await.unwrap();
    assert_eq!((regions.len(), regions[0].code.as_str()), (1, "arn"));
    assert!((regions[0].latitude - 59.7).abs() < 0.001);
    let regions = scripted.fly.regions().await.unwrap();
    assert_eq!(regions[0].name, "Amsterdam");
    assert!(regions[0].longitude.is_nan());
}
