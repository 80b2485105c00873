//! Which organisations a token reaches.

use super::{Reply, Scripted, error, say};
use crate::fly::{
    Reason,
    resources::{BillingStatus, Organisation},
};

const TOKEN: &str = "GET /v1/tokens/current";
const WEB: &str = "GET /api/v1/organizations?admin=false";
const GRAPH: &str = "POST /graphql";
const WEB_LIST: &str = r#"{"organizations":[{"id":"1","slug":"personal","raw_slug":"ann-1","name":"Ann","personal":true,"billing_status":"TRIAL_ACTIVE"},{"id":"2","slug":"shop","name":"","billing_status":"SOMETHING_NEW"}]}"#;

fn organisation(slug: &str, name: &str, billing: Option<BillingStatus>) -> Organisation {
    Organisation {
        slug: slug.into(),
        name: name.into(),
        billing,
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_tells_and_the_web_api_adds() {
    let tokens = r#"{"tokens":[{"token_id":"t","org_slug":"ann-1","organization":"17","apps":null},{"org_slug":"ann-1"},{"org_slug":null}]}"#;
    let scripted = Scripted::new(vec![(TOKEN, say(200, tokens)), (WEB, say(200, WEB_LIST))]);
    let found = scripted.fly.organisations().await.unwrap();
    let trial = Some(BillingStatus::TrialActive);
    assert_eq!(found, [organisation("ann-1", "Ann", trial)]);
    // Nothing of it is needed.
    for useless in [
        error(404, "404 page not found"),
        error(500, "x"),
        say(200, "<html>"),
        Reply::Cut,
    ] {
        let scripted = Scripted::new(vec![(TOKEN, say(200, tokens)), (WEB, useless)]);
        let found = scripted.fly.organisations().await.unwrap();
        assert_eq!(found, [organisation("ann-1", "ann-1", None)]);
        scripted.made();
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_token_does_not_tell_the_web_api_does() {
    for silent in [error(401, "unauthorized"), say(200, r#"{"tokens":[]}"#)] {
        let scripted = Scripted::new(vec![(TOKEN, silent), (WEB, say(200, WEB_LIST))]);
        let expected = [
            organisation("ann-1", "Ann", Some(BillingStatus::TrialActive)),
            organisation(
                "shop",
                "shop",
                Some(BillingStatus::Other("SOMETHING_NEW".into())),
            ),
        ];
        assert_eq!(scripted.fly.organisations().await.unwrap(), expected);
        scripted.made();
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_to_be_asked_is_graphql() {
    let nodes = r#"{"data":{"organizations":{"nodes":[{"slug":"personal","rawSlug":"ann-1","name":"Ann"}]}}}"#;
    let scripted = Scripted::new(vec![
        (TOKEN, error(401, "unauthorized")),
        (WEB, error(401, "unauthorized")),
        (GRAPH, say(200, nodes)),
    ]);
    let found = scripted.fly.organisations().await.unwrap();
    assert_eq!(found, [organisation("ann-1", "Ann", None)]);
    let query = scripted.made()[2].body["query"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(query.contains("organizations"));
}

#[tokio::test(start_paused = true)]
async fn a_bad_token_is_said_as_the_machines_api_says_it() {
    let graph_error = r#"{"data":null,"errors":[{"message":"You must be authenticated to view this. fm2_hunter2token"}]}"#;
    let scripted = Scripted::new(vec![
        (TOKEN, error(401, "Authenticate: token validation error")),
        (WEB, error(401, "unauthorized")),
        (GRAPH, say(200, graph_error)),
    ]);
    let error = scripted.fly.organisations().await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::BadToken));
    assert!(
        error.to_string().contains("token validation error"),
        "{error}"
    );
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn graphql_refuses_with_a_status_of_success() {
    let graph_error = r#"{"errors":[{"message":"Not authorized: fm2_hunter2token"}]}"#;
    let scripted = Scripted::new(vec![
        (TOKEN, say(200, r#"{"tokens":null}"#)),
        (WEB, error(404, "x")),
        (GRAPH, say(200, graph_error)),
    ]);
    let error = scripted.fly.organisations().await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::BadToken));
    assert!(!error.to_string().contains("hunter2"), "{error}");
    scripted.made();
}
