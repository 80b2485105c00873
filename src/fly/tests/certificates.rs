//! Certificates of custom domains.

use serde_json::json;

use super::{Scripted, error, json, say};

#[tokio::test(start_paused = true)]
async fn certificates_are_read_page_by_page() {
    let scripted = Scripted::new(vec![
        (
            "GET /v1/apps/site/certificates?limit=100",
            say(
                200,
                r#"{"certificates":[{"hostname":"a.example"}],"next_cursor":"x/1","total_count":2}"#,
            ),
        ),
        (
            "GET /v1/apps/site/certificates?limit=100&cursor=x%2F1",
            say(
                200,
                r#"{"certificates":[{"hostname":"b.example","configured":true}],"next_cursor":""}"#,
            ),
        ),
    ]);
    let certificates = scripted.fly.certificates("site").await.unwrap();
    let hosts: Vec<&str> = certificates
        .iter()
        .map(|found| found.hostname.as_str())
        .collect();
    assert_eq!(hosts, ["a.example", "b.example"]);
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_stands_still_ends_the_list() {
    let page = r#"{"certificates":[],"next_cursor":"x"}"#;
    let scripted = Scripted::new(vec![
        ("GET /v1/apps/site/certificates?limit=100", say(200, page)),
        (
            "GET /v1/apps/site/certificates?limit=100&cursor=x",
            say(200, page),
        ),
    ]);
    assert!(scripted.fly.certificates("site").await.unwrap().is_empty());
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_requested_once() {
    let detail = json!({"hostname": "www.example.org", "configured": false,
        "status": "pending_validation", "validation_errors": null,
        "dns_requirements": {"a": ["66.241.1.1"], "aaaa": null, "cname": "site.fly.dev",
            "acme_challenge": {"name": "_acme-challenge.www.example.org", "target": "x.flydns.net"},
            "ownership": {"name": "_fly-ownership.www.example.org", "app_value": "app-1"}}});
    let acme = "POST /v1/apps/site/certificates/acme";
    let get = "GET /v1/apps/site/certificates/www.example.org";
    let scripted = Scripted::new(vec![
        (acme, json(201, &detail)),
        (acme, error(422, "Hostname already exists on app")),
        (get, json(200, &detail)),
        (acme, error(422, "Hostname is invalid")),
        (get, error(404, "not found")),
    ]);
    let fly = &scripted.fly;
    let first = fly
        .request_certificate("site", "www.example.org")
        .await
        .unwrap();
    let requirements = first.dns_requirements.clone().unwrap();
    assert_eq!(requirements.a, ["66.241.1.1"]);
    assert_eq!(requirements.ownership.unwrap().app_value, "app-1");
    let again = fly
        .request_certificate("site", "www.example.org")
        .await
        .unwrap();
    assert_eq!(first, again);
    let error = fly
        .request_certificate("site", "www.example.org")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Hostname is invalid"), "{error}");
    assert_eq!(
        scripted.made()[0].body,
        json!({"hostname": "www.example.org"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_wildcard_is_a_name_like_others() {
    let path = "/v1/apps/site/certificates/%2A.example.org";
    let lines = [
        format!("GET {path}"),
        format!("POST {path}/check"),
        format!("DELETE {path}"),
    ];
    let answer = json!({"hostname": "*.example.org", "status": "active", "configured": true,
        "dns_records": {"a": []}});
    let scripted = Scripted::new(vec![
        (&lines[0], json(200, &answer)),
        (&lines[0], error(404, "not found")),
        (&lines[1], json(200, &answer)),
        (&lines[2], say(204, "")),
        (&lines[2], error(404, "not found")),
    ]);
    let fly = &scripted.fly;
    let host = "*.example.org";
    assert!(
        fly.certificate("site", host)
            .await
            .unwrap()
            .unwrap()
            .configured
    );
    assert_eq!(fly.certificate("site", host).await.unwrap(), None);
    assert_eq!(
        fly.check_certificate("site", host).await.unwrap().status,
        "active"
    );
    fly.remove_certificate("site", host).await.unwrap();
    fly.remove_certificate("site", host).await.unwrap();
    scripted.made();
}
