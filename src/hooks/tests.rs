//! Requests and their answers: proof, repetition, limits, and who hears what.

use hmac::{KeyInit as _, Mac as _};
use hyper::body::Frame;
use tempfile::TempDir;

use super::*;
use crate::config::{HookAction, HookFetch};

/// Returns a hook whose secret is `hunter2`.
pub(super) fn hook(id: &str, verify: HookVerify) -> HookConfig {
    HookConfig {
        id: id.to_owned(),
        events: match verify {
            HookVerify::GitHub => vec!["push".to_owned()],
            _ => Vec::new(),
        },
        verify,
        secrets: verify::tests::secrets(&["hunter2"]),
        action: HookAction::Publish,
        fetch: None,
        secret_variables: Vec::new(),
    }
}

/// Returns what is fetched from an API at `url`.
pub(super) fn fetch(url: &str) -> HookFetch {
    HookFetch {
        url: url.to_owned(),
        dataset: "production".to_owned(),
        api_version: "2025-02-19".to_owned(),
        query: "*[_id == $id][0]".to_owned(),
        path: PathTemplate::parse("content/{_type}/{slug.current}.json").unwrap(),
        token: None,
    }
}

struct Desk {
    home: TempDir,
    hooks: Hooks,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let journal = Journal::open(home.path().join("events")).unwrap();
        let entries = vec![
            hook("script", HookVerify::SharedSecret("x-onsave-secret".into())),
            hook("git", HookVerify::GitHub),
        ];
        Self {
            home,
            hooks: Hooks::new(entries, Arc::new(journal)),
        }
    }

    async fn ask(&self, request: Request<Full<Bytes>>, peer: &str) -> (StatusCode, Value) {
        let answer = self
            .hooks
            .answer(request, Some(peer.parse().unwrap()))
            .await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(head.headers["cache-control"], "no-store");
        (head.status, serde_json::from_slice(&body).unwrap())
    }

    fn events(&self) -> usize {
        std::fs::read_dir(self.home.path().join("events"))
            .unwrap()
            .count()
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

fn post(path: &str, secret: &str, body: &str) -> Request<Full<Bytes>> {
    request("POST", path, &[("x-onsave-secret", secret)], body)
}

fn push(body: &str, delivery: &str, event: &str) -> Request<Full<Bytes>> {
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"hunter2").unwrap();
    mac.update(body.as_bytes());
    let tag = digest::hex(&mac.finalize().into_bytes());
    let headers = [
        ("x-hub-signature-256", format!("sha256={tag}")),
        ("x-github-delivery", delivery.to_owned()),
        ("x-github-event", event.to_owned()),
    ];
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    request("POST", "/hooks/git", &headers, body)
}

const PEER: &str = "203.0.113.9";

#[tokio::test]
async fn a_proven_request_is_accepted_and_its_outcome_can_be_read() {
    let desk = Desk::new();
    let (status, body) = desk.ask(post("/hooks/script", "hunter2", "{}"), PEER).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let id = body["id"].as_str().unwrap();
    assert_eq!(id.len(), 32);
    assert_eq!(body["outcome"], format!("/hooks/outcomes/{id}"));
    let outcome = body["outcome"].as_str().unwrap();
    let (status, outcome) = desk.ask(request("GET", outcome, &[], ""), PEER).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(outcome["state"], "queued");
    assert_eq!(outcome["hook"], "script");
    assert_eq!(desk.events(), 1);
    // Without a key, each call is a new one.
    let (_, again) = desk.ask(post("/hooks/script", "hunter2", "{}"), PEER).await;
    assert_ne!(again["id"], body["id"]);
}

#[tokio::test]
async fn a_delivery_that_comes_again_does_nothing_again() {
    let desk = Desk::new();
    let (_, first) = desk.ask(push("{}", "d-1", "push"), PEER).await;
    let (status, again) = desk.ask(push("{}", "d-1", "push"), PEER).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(again, first);
    let (_, other) = desk.ask(push("{}", "d-2", "push"), PEER).await;
    assert_ne!(other["id"], first["id"]);
    assert_eq!(desk.events(), 2);
}

#[tokio::test]
async fn a_ping_is_answered_and_does_nothing() {
    let desk = Desk::new();
    for event in ["ping", "star"] {
        let (status, body) = desk.ask(push("{}", "d", event), PEER).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body["ignored"].as_str().unwrap().contains(event));
    }
    assert_eq!(desk.events(), 0);
}

#[tokio::test]
async fn a_stranger_is_told_nothing() {
    let desk = Desk::new();
    let (status, body) = desk.ask(post("/hooks/script", "hunter3", "{}"), PEER).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(body, json!({"code": "refused", "error": "unauthorized"}));
    let (_, none) = desk
        .ask(request("POST", "/hooks/script", &[], ""), PEER)
        .await;
    assert_eq!(none, body, "whatever is wrong, the words are the same");
    for path in [
        "/",
        "/hooks",
        "/hooks/",
        "/hooks/none",
        "/hooks/script/",
        "/v1/status",
        "/hooks/outcomes/0",
    ] {
        let (status, _) = desk.ask(request("GET", path, &[], ""), PEER).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    for (method, path) in [("GET", "/hooks/script"), ("POST", "/hooks/outcomes/0")] {
        let (status, _) = desk.ask(request(method, path, &[], ""), PEER).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
    }
    assert_eq!(desk.events(), 0);
}

#[tokio::test]
async fn who_fails_too_often_is_not_listened_to_for_a_while() {
    let desk = Desk::new();
    for _ in 0..20 {
        let (status, _) = desk.ask(post("/hooks/script", "wrong", ""), PEER).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let (status, _) = desk.ask(post("/hooks/script", "hunter2", ""), PEER).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let (status, _) = desk
        .ask(post("/hooks/script", "hunter2", ""), "203.0.113.10")
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_body_has_a_limit_with_and_without_a_length() {
    let desk = Desk::new();
    let long = "x".repeat(MOST_BODY + 1);
    let (status, _) = desk
        .ask(post("/hooks/script", "hunter2", &long), PEER)
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let length = MOST_BODY + 1;
    for (path, status) in [
        ("/hooks/script", StatusCode::PAYLOAD_TOO_LARGE),
        // GitHub says how long its long ones are.
        ("/hooks/git", StatusCode::UNAUTHORIZED),
    ] {
        let mut asked = post(path, "hunter2", &long);
        asked.headers_mut().insert(CONTENT_LENGTH, length.into());
        assert_eq!(desk.ask(asked, PEER).await.0, status, "{path}");
    }
    let fits = "x".repeat(MOST_BODY);
    let (status, _) = desk
        .ask(post("/hooks/script", "hunter2", &fits), PEER)
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let desk = Desk::new();
    let never = futures_util::stream::pending::<Result<Frame<Bytes>, io::Error>>();
    let request = Request::builder()
        .method("POST")
        .uri("/hooks/script")
        .body(http_body_util::StreamBody::new(never))
        .unwrap();
    let answer = desk.hooks.answer(request, None).await;
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn an_event_that_cannot_be_kept_is_refused_for_now() {
    let desk = Desk::new();
    std::fs::remove_dir_all(desk.home.path().join("events")).unwrap();
    let (status, _) = desk.ask(post("/hooks/script", "hunter2", ""), PEER).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
