//! Who may call, and who is told what.

use onsave_protocol::{
    Secret,
    wire::error::{ErrorBody, ErrorCode},
    wire::v2::SignedHealth,
};
use onsave_server::config::PeerSource;

use crate::harness::{LOG, Request, SECRET, TestServer, changeset, nonce, now, secret};

fn other_secret() -> Secret {
    Secret::from_text("another-secret-another-secret").unwrap()
}

#[tokio::test]
async fn health_tells_strangers_little_and_holders_more() {
    let server = TestServer::start().await;
    let published = server.publish(&[("index.html", "x")]).await;
    let answer = server.send(Request::get("/_icd/health")).await;
    assert_eq!(answer.text(), r#"{"ok":true,"version":"1.0.0"}"#);
    assert_eq!(answer.header("onsave-protocol"), Some("2"));
    let head = server.send(Request::new("HEAD", "/_icd/health")).await;
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-length"),
        answer.header("content-length")
    );
    for request in [
        Request::get("/_icd/health").v1(),
        Request::get("/_icd/health").v2(),
    ] {
        let health: SignedHealth = server.send(request).await.json();
        assert_eq!(health.current_deploy_id, Some(published.deploy_id));
        assert_eq!((health.files, health.bytes), (1, 1));
        assert!(health.volume_bytes >= health.volume_free_bytes && health.volume_bytes > 0);
    }
    let wrong = Request::get("/_icd/health").v2_with(&other_secret(), &nonce());
    assert_eq!(server.send(wrong).await.status, 401);
    server.stop().await;
}

#[tokio::test]
async fn refusals_have_the_protocols_texts() {
    let server = TestServer::start().await;
    let get = || Request::get("/_icd/manifest");
    let long_ago = (now() - 301).to_string();
    let v1_header = |request: Request| request.header("x-cms-signature", "sha256=00");
    for (request, text, code) in [
        (get(), "missing auth headers", ErrorCode::MissingAuthHeaders),
        (
            v1_header(get()),
            "missing auth headers",
            ErrorCode::MissingAuthHeaders,
        ),
        (
            get().header("signature", "x"),
            "missing auth headers",
            ErrorCode::MissingAuthHeaders,
        ),
        (
            get().v1_with(&secret(), "soon"),
            "bad timestamp",
            ErrorCode::BadTimestamp,
        ),
        (
            get().v1_with(&secret(), &long_ago),
            "timestamp skew too large",
            ErrorCode::TimestampSkew,
        ),
        (
            get().v1_with(&other_secret(), &now().to_string()),
            "invalid signature",
            ErrorCode::InvalidSignature,
        ),
        (
            v1_header(get().header("x-cms-timestamp", &now().to_string())),
            "invalid signature",
            ErrorCode::InvalidSignature,
        ),
        (
            get().v2_with(&other_secret(), &nonce()),
            "invalid signature",
            ErrorCode::InvalidSignature,
        ),
        // Both header sets are there: the second generation's decide.
        (
            get().v1().v2_with(&other_secret(), &nonce()),
            "invalid signature",
            ErrorCode::InvalidSignature,
        ),
    ] {
        let answer = server.send(request).await;
        assert_eq!(answer.refusal(), (401, code));
        assert_eq!(answer.json::<ErrorBody>().error, text);
    }
    let both = get().v2().v1_with(&other_secret(), "soon");
    assert_eq!(server.send(both).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn what_is_signed_cannot_be_changed() {
    let server = TestServer::start().await;
    let base = server.publish(&[("a", "1")]).await.deploy_id;
    let good = changeset(Some(base), &[("a", "2")]);
    let change = |name: &str, value: &str| {
        let mut request = good.clone();
        request.headers.retain(|(known, _)| known != name);
        request.header(name, value)
    };
    let mut retargeted = good.clone();
    retargeted.target = "/_icd/rollback".into();
    let mut queried = good.clone();
    queried.target += "?x";
    let doubled = good.clone().header("if-match", "\"1-00000000\"");
    for request in [
        change("if-match", "\"1-00000000\""),
        change(
            "content-digest",
            "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
        ),
        retargeted,
        queried,
        doubled,
    ] {
        let answer = server.send(request).await;
        assert_eq!(answer.refusal(), (401, ErrorCode::InvalidSignature));
    }
    let mut other_body = good.clone();
    *other_body.body.last_mut().unwrap() = b'3';
    let answer = server.send(other_body).await;
    assert_eq!(answer.refusal(), (400, ErrorCode::DigestMismatch));
    assert_eq!(server.current(), Some(base), "nothing was committed");
    server.stop().await;
}

#[tokio::test]
async fn a_nonce_is_accepted_once_also_across_a_restart() {
    let server = TestServer::start().await;
    let request = Request::get("/_icd/manifest").v2_with(&secret(), "a-nonce-of-this-test");
    assert_eq!(server.send(request.clone()).await.status, 200);
    let replayed = server.send(request.clone()).await;
    assert_eq!(replayed.refusal(), (401, ErrorCode::NonceReused));
    let folder = server.stop().await;
    let server = TestServer::start_in(folder, |_| {}).await;
    let replayed = server.send(request).await;
    assert_eq!(replayed.refusal(), (401, ErrorCode::NonceReused));
    server.stop().await;
}

#[tokio::test]
async fn the_previous_secret_is_accepted_during_a_rotation() {
    let server = TestServer::start_with(|config| {
        config.secrets.previous = Some(other_secret());
    })
    .await;
    let get = || Request::get("/_icd/manifest");
    for request in [
        get().v1(),
        get().v2(),
        get().v1_with(&other_secret(), &now().to_string()),
        get().v2_with(&other_secret(), &nonce()),
    ] {
        assert_eq!(server.send(request).await.status, 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_fails_too_often_is_held_off() {
    let server = TestServer::start_with(|config| config.limits.failures_per_minute = 3).await;
    let wrong = || Request::get("/_icd/manifest").v2_with(&other_secret(), &nonce());
    for _ in 0..3 {
        assert_eq!(server.send(wrong()).await.status, 401);
    }
    let answer = server.send(wrong()).await;
    assert_eq!(answer.refusal(), (429, ErrorCode::TooManyFailures));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    // Before any body: the announced one never comes.
    let stalled = Request::new("PUT", "/_icd/deploys/1777000001000-a1b2c3d4/files?path=a")
        .header("content-length", "1000000")
        .header("expect", "100-continue")
        .v1();
    assert_eq!(server.send(stalled).await.status, 429);
    let owner = Request::get("/_icd/manifest").v2();
    assert_eq!(
        server.send(owner).await.status,
        200,
        "the owner may stand behind the same address"
    );
    assert_eq!(server.send(Request::get("/_icd/health")).await.status, 200);
    assert_eq!(
        server.send(Request::get("/")).await.status,
        503,
        "the site is not held off"
    );
    server.stop().await;
}

#[tokio::test]
async fn fly_names_the_peer_only_where_it_is_trusted() {
    let wrong = |peer: &str| {
        let request = Request::get("/_icd/manifest").header("fly-client-ip", peer);
        request.v2_with(&other_secret(), &nonce())
    };
    for (source, second_peer) in [(PeerSource::FlyClientIp, 401), (PeerSource::Socket, 429)] {
        let server = TestServer::start_with(|config| {
            config.limits.failures_per_minute = 1;
            config.peer_source = source;
        })
        .await;
        assert_eq!(server.send(wrong("192.0.2.1")).await.status, 401);
        assert_eq!(server.send(wrong("192.0.2.1")).await.status, 429);
        assert_eq!(
            server.send(wrong("192.0.2.2")).await.status,
            second_peer,
            "{source:?}"
        );
        server.stop().await;
    }
}

#[tokio::test]
async fn logs_join_by_request_id_and_never_hold_a_secret() {
    let server = TestServer::start().await;
    let nonce = nonce();
    let first = changeset(None, &[("index.html", "body-text-that-is-not-logged")])
        .header("onsave-request-id", "id-of-this-test");
    let signature = first
        .headers
        .iter()
        .find(|(name, _)| name == "signature")
        .map(|(_, value)| value.clone())
        .unwrap();
    let answer = server.send(first).await;
    assert_eq!(answer.header("onsave-request-id"), Some("id-of-this-test"));
    let wrong = Request::get("/_icd/manifest")
        .header("onsave-request-id", "id-of-a-refusal")
        .v2_with(&other_secret(), &nonce);
    assert_eq!(server.send(wrong).await.status, 401);
    server.send(Request::get("/_icd/manifest").v1()).await;
    server.stop().await;
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let line = |part: &str, id: &str| {
        let found = log
            .lines()
            .any(|line| line.contains(part) && line.contains(id));
        assert!(found, "no line has {part} and {id}");
    };
    line(
        "is current (changeset: 1 put, 0 removed)",
        "id-of-this-test",
    );
    line("request refused: invalid signature", "id-of-a-refusal");
    for hidden in [
        SECRET,
        "another-secret",
        &signature,
        "body-text-that-is-not-logged",
        "sha256=",
    ] {
        let found = log.lines().find(|line| line.contains(hidden));
        assert_eq!(found, None, "{hidden} is in the log");
    }
}
