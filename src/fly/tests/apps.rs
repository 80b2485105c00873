//! Apps, addresses and secrets.

use onsave_protocol::Secret;
use serde_json::json;

use super::{Reply, Scripted, error, json, say};
use crate::fly::{
    FlyError, Reason,
    resources::{AppLookup, IpKind},
};

const APP: &str = r#"{"id":"a1","name":"site","status":"pending","organization":{"name":"Ann","slug":"ann-1"},"machine_count":0}"#;

#[tokio::test(start_paused = true)]
async fn a_name_is_free_ours_or_taken() {
    let scripted = Scripted::new(vec![
        ("GET /v1/apps/site", say(200, APP)),
        ("GET /v1/apps/site", error(404, "app not found")),
        (
            "GET /v1/apps/site",
            error(400, "could not find app \"site\""),
        ),
        ("GET /v1/apps/site", say(403, r#"{"message":"Forbidden"}"#)),
        (
            "GET /v1/apps/site",
            say(401, r#"{"message":"Unauthorized"}"#),
        ),
    ]);
    let AppLookup::Ours(app) = scripted.fly.app("site").await.unwrap() else {
        panic!("it is ours");
    };
    assert_eq!(
        (app.name.as_str(), app.organization.slug.as_str()),
        ("site", "ann-1")
    );
    for expected in [AppLookup::Free, AppLookup::Free, AppLookup::TakenByOthers] {
        assert_eq!(scripted.fly.app("site").await.unwrap(), expected);
    }
    let refused = scripted.fly.app("site").await.unwrap_err();
    assert_eq!(refused.reason(), Some(&Reason::BadToken));
    for made in scripted.made() {
        assert_eq!(made.header("authorization"), Some("FlyV1 fm2_hunter2token"));
        assert_eq!(made.header("content-type"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_app_is_waited_for() {
    let scripted = Scripted::new(vec![
        ("POST /v1/apps", say(201, r#"{"id":"a1","created_at":1}"#)),
        ("GET /v1/apps/site", error(404, "not found")),
        (
            "GET /v1/apps/site",
            error(401, "Authenticate: token validation error"),
        ),
        ("GET /v1/apps/site", say(200, APP)),
    ]);
    scripted.fly.create_app("site", "ann-1").await.unwrap();
    let made = scripted.made();
    assert_eq!(made[0].body["name"], "site");
    assert_eq!(made[0].body["org_slug"], "ann-1");
    assert_eq!(made[0].body["idempotency_key"].as_str().unwrap().len(), 32);
    assert_eq!(made[0].body.as_object().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_creation_of_an_app_is_repeated_with_its_key() {
    let scripted = Scripted::new(vec![
        ("POST /v1/apps", Reply::Cut),
        ("POST /v1/apps", say(201, "{}")),
        ("GET /v1/apps/site", say(200, APP)),
    ]);
    scripted.fly.create_app("site", "ann-1").await.unwrap();
    let made = scripted.made();
    assert_eq!(made[0].body, made[1].body);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_never_seen_is_an_error() {
    let mut script = vec![("POST /v1/apps", say(201, "{}"))];
    script.extend((0..100).map(|_| ("GET /v1/apps/site", error(404, "not found"))));
    let scripted = Scripted::new(script);
    let start = tokio::time::Instant::now();
    let error = scripted.fly.create_app("site", "ann-1").await.unwrap_err();
    assert!(matches!(error, FlyError::AppNotVisible { .. }), "{error}");
    assert!(error.hint().unwrap().contains("again"));
    assert!(start.elapsed().as_secs() <= 35);
}

#[tokio::test(start_paused = true)]
async fn the_page_for_a_card_is_that_of_the_organisation() {
    let words = "We need your payment information to continue!";
    let scripted = Scripted::new(vec![("POST /v1/apps", error(422, words))]);
    let error = scripted.fly.create_app("site", "ann-1").await.unwrap_err();
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("https://fly.io/dashboard/ann-1/billing"),
        "{hint}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_gone_is_deleted() {
    let line = "DELETE /v1/apps/site?force=true";
    let scripted = Scripted::new(vec![
        (line, say(202, "")),
        (line, error(404, "app not found")),
        (line, error(403, "forbidden")),
    ]);
    scripted.fly.delete_app("site").await.unwrap();
    scripted.fly.delete_app("site").await.unwrap();
    let error = scripted.fly.delete_app("site").await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::TokenMayNot));
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn no_name_makes_another_call_of_a_call() {
    let scripted = Scripted::new(vec![]);
    for name in ["", ".", ".."] {
        let errors = [
            scripted.fly.delete_app(name).await.unwrap_err(),
            scripted
                .fly
                .remove_certificate("site", name)
                .await
                .unwrap_err(),
            scripted.fly.machine("site", name).await.unwrap_err(),
            scripted.fly.ips(name).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, FlyError::BadName { .. }), "{error}");
        }
    }
    assert!(scripted.made().is_empty());
}

const IPS: &str = "/v1/apps/site/ip_assignments";

#[tokio::test(start_paused = true)]
async fn addresses_are_listed_and_assigned() {
    let get = format!("GET {IPS}");
    let post = format!("POST {IPS}");
    let both = json!({"ips": [
        {"ip": "2a09:8280:1::1", "region": "global", "shared": false},
        {"ip": "66.241.1.1", "shared": true},
    ]});
    let scripted = Scripted::new(vec![
        (&get, json(200, &both)),
        (&get, say(200, r#"{"ips":null}"#)),
        (&post, json(200, &both["ips"][0])),
        (&post, json(200, &both["ips"][1])),
    ]);
    let ips = scripted.fly.ips("site").await.unwrap();
    assert!(ips[0].serves(IpKind::V6) && ips[1].serves(IpKind::SharedV4));
    assert!(scripted.fly.ips("site").await.unwrap().is_empty());
    scripted.fly.assign_ip("site", IpKind::V6).await.unwrap();
    scripted
        .fly
        .assign_ip("site", IpKind::SharedV4)
        .await
        .unwrap();
    let made = scripted.made();
    assert_eq!(made[2].body, json!({"type": "v6"}));
    assert_eq!(made[3].body, json!({"type": "shared_v4"}));
    assert_eq!(made[3].header("content-type"), Some("application/json"));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_there_is_enough() {
    let get = format!("GET {IPS}");
    let post = format!("POST {IPS}");
    let one = r#"{"ips":[{"ip":"2a09:8280:1::1"}]}"#;
    let scripted = Scripted::new(vec![
        (&post, error(409, "already allocated")),
        (&get, say(200, one)),
        // Lost, and done.
        (&post, Reply::Cut),
        (&get, say(200, one)),
        // Not known yet, then lost and not done, then done.
        (&post, error(404, "app not found")),
        (&post, error(502, "bad gateway")),
        (&get, say(200, r#"{"ips":[]}"#)),
        (&post, say(200, "{}")),
        // Refused although it is not there.
        (&post, error(409, "conflict")),
        (&get, say(200, one)),
    ]);
    for _ in 0..3 {
        scripted.fly.assign_ip("site", IpKind::V6).await.unwrap();
    }
    let error = scripted.fly.assign_ip("site", IpKind::SharedV4).await;
    assert!(matches!(error, Err(FlyError::Refused(refusal)) if refusal.status == 409));
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn secrets_are_listed_set_and_unset() {
    let secret = Secret::from_text("hunter2value").unwrap();
    let scripted = Scripted::new(vec![
        (
            "GET /v1/apps/site/secrets",
            say(200, r#"{"secrets":[{"name":"SYNC_SECRET","digest":"d1"}]}"#),
        ),
        (
            "POST /v1/apps/site/secrets",
            say(
                200,
                r#"{"secrets":[{"name":"SYNC_SECRET","digest":"d2"}],"version":7,"Version":7}"#,
            ),
        ),
        (
            "POST /v1/apps/site/secrets",
            say(200, r#"{"secrets":null,"Version":8}"#),
        ),
    ]);
    let secrets = scripted.fly.secrets("site").await.unwrap();
    assert_eq!(secrets[0].digest, "d1");
    let values = [("SYNC_SECRET", Some(&secret)), ("OLD", None)];
    let change = scripted.fly.change_secrets("site", &values).await.unwrap();
    assert_eq!((change.version, change.secrets.len()), (7, 1));
    let change = scripted.fly.change_secrets("site", &values).await.unwrap();
    assert_eq!((change.version, change.secrets.len()), (8, 0));
    let expected = json!({"values": {"SYNC_SECRET": "hunter2value", "OLD": null}});
    assert_eq!(scripted.made()[1].body, expected);
}
