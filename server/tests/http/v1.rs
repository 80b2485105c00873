//! The first generation's calls, as clients of other makes send them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use onsave_protocol::{
    Secret,
    wire::{
        error::ErrorCode,
        v1::{Begun, Committed, Done, ManifestBody},
    },
};
use onsave_server::store::Clock;

use crate::harness::{Connection, Request, TestServer};

async fn begin(connection: &mut Connection) -> String {
    let answer = connection
        .send(Request::new("POST", "/_icd/deploys").v1())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json::<Begun>().deploy_id
}

fn put(id: &str, query: &str, body: &str) -> Request {
    Request::new("PUT", &format!("/_icd/deploys/{id}/files?{query}")).body(body)
}

fn commit(id: &str) -> Request {
    Request::new("POST", &format!("/_icd/deploys/{id}/commit")).v1()
}

#[tokio::test]
async fn a_whole_deploy() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    let manifest = connection.send(Request::get("/_icd/manifest").v1()).await;
    assert_eq!(manifest.text(), r#"{"deployId":null,"files":{}}"#);
    assert_eq!(manifest.header("etag"), None);

    let id = begin(&mut connection).await;
    for (query, body) in [
        ("path=index.html", "home"),
        ("path=blog%2Fhello%20world.txt", "component"),
        ("path=blog%2Fhello+form.txt", "form"),
        ("path=a%2Bb.txt", "plus"),
        ("path=gone.txt", "gone"),
    ] {
        let answer = connection.send(put(&id, query, body).v1()).await;
        assert!(answer.json::<Done>().ok);
    }
    // A call of the first generation may be signed as the second signs.
    let answer = connection.send(put(&id, "path=two.txt", "two").v2()).await;
    assert_eq!(answer.text(), r#"{"ok":true}"#);
    for target in ["gone.txt", "never.txt"] {
        let target = format!("/_icd/deploys/{id}/files?path={target}");
        let answer = connection.send(Request::new("DELETE", &target).v1()).await;
        assert_eq!(answer.text(), r#"{"ok":true}"#);
    }
    assert_eq!(server.current(), None, "an uncommitted upload is no deploy");
    let answer = connection.send(commit(&id)).await;
    assert_eq!(
        answer.json::<Committed>(),
        Committed {
            ok: true,
            deploy_id: id.clone()
        }
    );

    let answer = connection.send(Request::get("/_icd/manifest").v1()).await;
    assert_eq!(answer.header("etag"), Some(format!("\"{id}\"").as_str()));
    let manifest: ManifestBody = answer.json();
    assert_eq!(manifest.deploy_id, Some(id));
    let paths: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
    let expected = [
        "a+b.txt",
        "blog/hello form.txt",
        "blog/hello world.txt",
        "index.html",
        "two.txt",
    ];
    assert_eq!(paths, expected);
    let page = connection
        .send(Request::get("/blog/hello%20world.txt"))
        .await;
    assert_eq!(page.text(), "component");
    server.stop().await;
}

#[tokio::test]
async fn rollback_and_its_refusals() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    let rollback = |body: String| Request::new("POST", "/_icd/rollback").body(body).v1();
    let answer = connection.send(rollback(String::new())).await;
    assert_eq!(answer.refusal(), (400, ErrorCode::NoEarlierDeploy));
    let first = server.publish(&[("index.html", "one")]).await.deploy_id;
    let answer = connection.send(rollback(String::new())).await;
    assert_eq!(answer.refusal(), (400, ErrorCode::NoEarlierDeploy));
    let second = server.publish(&[("index.html", "two")]).await.deploy_id;
    let answer = connection.send(rollback(String::new())).await;
    assert_eq!(
        answer.text(),
        format!(r#"{{"ok":true,"deployId":"{first}"}}"#)
    );
    assert_eq!(connection.send(Request::get("/")).await.text(), "one");
    let answer = connection
        .send(rollback(format!(r#"{{"deployId":"{second}"}}"#)))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(connection.send(Request::get("/")).await.text(), "two");
    for (body, status) in [
        (r#"{"deployId":"nonsense"}"#, 404),
        (r#"{"deployId":"1-00000000"}"#, 404),
        ("[", 400),
    ] {
        let answer = connection.send(rollback(body.into())).await;
        assert_eq!(answer.status, status, "{body}");
    }
    assert_eq!(server.current(), Some(second));
    server.stop().await;
}

#[tokio::test]
async fn a_deploy_that_was_overtaken_is_refused() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    let id = begin(&mut connection).await;
    let overtaken = server.publish(&[("index.html", "other")]).await.deploy_id;
    let answer = connection.send(put(&id, "path=a", "a").v1()).await;
    assert_eq!(answer.status, 200);
    let answer = connection.send(commit(&id)).await;
    assert_eq!(answer.refusal(), (409, ErrorCode::StagingConflict));
    assert_eq!(server.current(), Some(overtaken));
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_and_what_may_not_be() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    let id = begin(&mut connection).await;
    let gone = begin(&mut connection).await;
    let abort = Request::new("DELETE", &format!("/_icd/deploys/{gone}")).v1();
    assert_eq!(
        connection.send(abort.clone()).await.text(),
        r#"{"ok":true}"#
    );
    for (request, refusal) in [
        (put(&gone, "path=a", "a").v1(), (404, ErrorCode::NotFound)),
        (commit(&gone), (404, ErrorCode::NotFound)),
        (abort, (404, ErrorCode::NotFound)),
        (put(&id, "path=..%2Fa", "a").v1(), (400, ErrorCode::BadPath)),
        (
            put(&id, "path=%2Fetc%2Fpasswd", "a").v1(),
            (400, ErrorCode::BadPath),
        ),
        (put(&id, "path=a%00", "a").v1(), (400, ErrorCode::BadPath)),
        (put(&id, "", "a").v1(), (400, ErrorCode::BadRequest)),
        (
            Request::get("/_icd/nothing").v1(),
            (404, ErrorCode::NotFound),
        ),
        (
            Request::get("/_icd/rollback").v1(),
            (405, ErrorCode::MethodNotAllowed),
        ),
    ] {
        let shown = format!("{} {}", request.method, request.target);
        assert_eq!(connection.send(request).await.refusal(), refusal, "{shown}");
    }
    for path in ["a", "a%2Fb"] {
        let answer = connection
            .send(put(&id, &format!("path={path}"), "x").v1())
            .await;
        assert_eq!(answer.status, 200);
    }
    let answer = connection.send(commit(&id)).await;
    assert_eq!(answer.refusal(), (400, ErrorCode::PathConflict));
    assert_eq!(server.current(), None);
    server.stop().await;
}

/// A clock that stands at the time of the golden vectors.
#[derive(Debug)]
struct VectorClock;

impl Clock for VectorClock {
    fn unix_ms(&self) -> u64 {
        1_777_000_005_000
    }
}

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    secret: String,
    timestamp: String,
    method: String,
    path_and_query: String,
    body_base64: String,
    signature: String,
}

#[tokio::test]
async fn golden_vectors_are_accepted_over_http_and_nothing_near_them() {
    let text = include_str!("../../../protocol/vectors/v1.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    for vector in vectors.vectors {
        let server = TestServer::start_with(|config| {
            config.secrets.current = Secret::from_text(&vector.secret).unwrap();
            config.clock = std::sync::Arc::new(VectorClock);
        })
        .await;
        let request = Request::new(&vector.method, &vector.path_and_query)
            .body(STANDARD.decode(&vector.body_base64).unwrap())
            .header("x-cms-timestamp", &vector.timestamp)
            .header("x-cms-signature", &vector.signature);
        let answer = server.send(request.clone()).await;
        // The vectors name a deploy that this server never began.
        assert!(
            matches!(answer.status, 200 | 400 | 404),
            "{}: {answer:?}",
            vector.name
        );
        let mut changed = request;
        changed.body.push(b'!');
        assert_eq!(server.send(changed).await.status, 401, "{}", vector.name);
        server.stop().await;
    }
}
