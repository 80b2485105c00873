//! HTTP/2 in cleartext: the same server on the same port, and the limits of its streams.

use std::time::Duration;

use bytes::Bytes;
use onsave_protocol::wire::error::ErrorCode;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use crate::{
    harness::{Request, TestServer, changeset},
    http2_client::{Http2Client, PREFACE, RawFrames, error_code, kind, read_to_end},
};

const SHORT: Duration = Duration::from_millis(200);

/// Longer than anything that a test waits for.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn signed_calls_and_the_site_over_one_connection() {
    let server = TestServer::start().await;
    let client = Http2Client::open(server.address).await;
    let answer = client.send(Request::get("/")).await;
    assert_eq!(answer.status, 503);
    let answer = client
        .send(changeset(
            None,
            &[("index.html", "home"), ("a b.txt", "spaced")],
        ))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("onsave-protocol").is_some());
    assert_eq!(client.send(Request::get("/")).await.text(), "home");
    assert_eq!(
        client.send(Request::get("/a%20b.txt?q=1")).await.text(),
        "spaced"
    );
    let head = client.send(Request::new("HEAD", "/")).await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("4"))
    );
    assert!(head.body.is_empty());
    assert_eq!(client.send(Request::get("/none")).await.status, 404);
    // Both generations, with a query that the signature covers, and one that nobody signed.
    let begun = client
        .send(Request::new("POST", "/_icd/deploys").v1())
        .await;
    let id = begun.json::<onsave_protocol::wire::v1::Begun>().deploy_id;
    let target = format!("/_icd/deploys/{id}/files?path=v1.txt");
    let put = Request::new("PUT", &target).body("first generation").v1();
    assert_eq!(client.send(put).await.status, 200);
    let commit = Request::new("POST", &format!("/_icd/deploys/{id}/commit")).v1();
    assert_eq!(client.send(commit).await.status, 200);
    assert_eq!(
        client.send(Request::get("/v1.txt")).await.text(),
        "first generation"
    );
    assert_eq!(
        client
            .send(Request::get("/_icd/manifest").v2())
            .await
            .status,
        200
    );
    let unsigned = client.send(Request::get("/_icd/manifest")).await;
    assert_eq!(unsigned.refusal(), (401, ErrorCode::MissingAuthHeaders));
    let moved = Request::get("/_icd/manifest").v2();
    let moved = Request {
        target: "/_icd/deploys".into(),
        ..moved
    };
    assert_eq!(
        client.send(moved).await.refusal(),
        (401, ErrorCode::InvalidSignature)
    );
    server.stop().await;
}

#[tokio::test]
async fn many_streams_at_once_are_answered_whole() {
    let server = TestServer::start().await;
    let large = "large ".repeat(100_000);
    server
        .publish(&[("index.html", &large), ("small.txt", "small")])
        .await;
    let client = std::sync::Arc::new(Http2Client::open(server.address).await);
    let mut tasks = JoinSet::new();
    for at in 0..90 {
        let client = std::sync::Arc::clone(&client);
        let path = if at % 3 == 0 { "/" } else { "/small.txt" };
        tasks.spawn(async move { (path, client.send(Request::get(path)).await) });
    }
    for (path, answer) in tasks.join_all().await {
        let expected = if path == "/" { large.as_str() } else { "small" };
        assert!(answer.status == 200 && answer.text() == expected, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_preface_may_come_in_pieces() {
    let server = TestServer::start().await;
    let mut raw = RawFrames(TcpStream::connect(server.address).await.unwrap());
    raw.0.set_nodelay(true).unwrap();
    for part in PREFACE.chunks(5) {
        raw.0.write_all(part).await.unwrap();
        // The server has seen the part by the time that it answered somebody who came later.
        assert_eq!(server.send(Request::get("/_icd/health")).await.status, 200);
    }
    raw.write(kind::SETTINGS, 0, 0, &[]).await.unwrap();
    raw.get_root(1).await.unwrap();
    assert_eq!(raw.read().await.unwrap().kind, kind::SETTINGS);
    assert_eq!(raw.read_until(kind::HEADERS).await.unwrap().stream, 1);
    drop(raw);
    server.stop().await;
}

#[tokio::test]
async fn half_a_preface_is_bounded_as_half_a_head() {
    let server = TestServer::start_with(|config| config.timeouts.head = SHORT).await;
    let mut raw = RawFrames(TcpStream::connect(server.address).await.unwrap());
    raw.0.write_all(&PREFACE[..12]).await.unwrap();
    let ended = tokio::time::timeout(LONG, raw.read()).await.unwrap();
    assert!(ended.is_none());
    server.stop().await;
}

#[tokio::test]
async fn an_offer_to_upgrade_is_ignored() {
    let server = TestServer::start().await;
    server.publish(&[("index.html", "home")]).await;
    let offer = Request::get("/")
        .header("connection", "upgrade, http2-settings")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA");
    let mut connection = server.connect().await;
    assert_eq!(connection.send(offer).await.text(), "home");
    assert_eq!(connection.send(Request::get("/")).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn streams_over_the_limit_are_refused() {
    let server = TestServer::start_with(|config| config.limits.streams = 2).await;
    server.publish(&[("index.html", "home")]).await;
    // Without a window no answer ends, and its stream stays.
    let mut raw = RawFrames::open(server.address, 0).await;
    for stream in [1, 3, 5] {
        raw.get_root(stream).await.unwrap();
    }
    let refused = raw.read_until(kind::RST_STREAM).await.unwrap();
    assert_eq!(
        (refused.stream, refused.number(0)),
        (5, error_code::REFUSED_STREAM)
    );
    drop(raw);
    // A proper client reads the limit, and waits by itself.
    let client = std::sync::Arc::new(Http2Client::open(server.address).await);
    assert_eq!(client.send(Request::get("/")).await.status, 200);
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let client = std::sync::Arc::clone(&client);
        tasks.spawn(async move { client.send(Request::get("/")).await.status });
    }
    assert_eq!(tasks.join_all().await, [200; 20]);
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let server = TestServer::start().await;
    let mut raw = RawFrames::open(server.address, 65_535).await;
    let mut told = None;
    let mut is_cut = false;
    for stream in (1..20_000).step_by(2) {
        let begun = raw.get_root(stream).await;
        let reset = raw
            .write(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())
            .await;
        if begun.and(reset).is_err() {
            is_cut = true;
            break;
        }
    }
    assert!(is_cut, "as many as anybody likes");
    // What was said before the socket was reset may be lost with it.
    while let Some(frame) = raw.read().await {
        if frame.kind == kind::GOAWAY {
            told = Some(frame.number(4));
        }
    }
    assert!(
        matches!(told, None | Some(error_code::ENHANCE_YOUR_CALM)),
        "{told:?}"
    );
    let health = server.send(Request::get("/_icd/health")).await;
    assert_eq!(health.status, 200, "others notice nothing");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_reset_and_the_others_stay() {
    let server = TestServer::start_with(|config| config.timeouts.write_idle = SHORT).await;
    let large = "large ".repeat(100_000);
    server
        .publish(&[("index.html", &large), ("small.txt", "small")])
        .await;
    // The window of the connection has room for the others.
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1_000_000);
    let client = Http2Client::open_with(server.address, &builder).await;
    let mut stalled = client.begin(Request::get("/")).await.unwrap();
    stalled.body.send_data(Bytes::new(), true).unwrap();
    let mut body = stalled.response.await.unwrap().into_body();
    let error = loop {
        // What is not released is not room for more.
        match tokio::time::timeout(LONG, body.data()).await.unwrap() {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the answer came whole without room for it"),
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    assert_eq!(
        client.send(Request::get("/small.txt")).await.text(),
        "small"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_cut() {
    let server = TestServer::start_with(|config| config.timeouts.write_idle = SHORT).await;
    let mut raw = RawFrames::open(server.address, 65_535).await;
    let ended = async { while raw.read().await.is_some() {} };
    tokio::time::timeout(LONG, ended).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_away() {
    let server = TestServer::start_with(|config| config.timeouts.keep_alive = SHORT).await;
    let client = Http2Client::open(server.address).await;
    assert_eq!(client.send(Request::get("/")).await.status, 503);
    tokio::time::timeout(LONG, client.ended())
        .await
        .unwrap()
        .unwrap();
    let mut raw = RawFrames::open(server.address, 65_535).await;
    let told = raw.read_until(kind::GOAWAY).await.unwrap();
    assert_eq!(told.number(4), error_code::NO_ERROR);
    drop(raw);
    server.stop().await;
}

#[tokio::test]
async fn a_drain_tells_the_peer_and_lets_its_requests_finish() {
    let server = TestServer::start().await;
    let client = Http2Client::open(server.address).await;
    assert_eq!(client.send(Request::get("/_icd/health")).await.status, 200);
    let request = changeset(None, &[("index.html", "last words")]);
    let whole = Bytes::from(request.body.clone());
    let mut busy = client.begin(request).await.unwrap();
    let half = whole.len() / 2;
    busy.body.send_data(whole.slice(..half), false).unwrap();
    assert_eq!(client.send(Request::get("/_icd/health")).await.status, 200);
    let stopping = server.begin_stop();
    // Once the peer was told, it begins nothing more.
    while client.try_send(Request::get("/_icd/health")).await.is_ok() {}
    busy.body.send_data(whole.slice(half..), true).unwrap();
    let answer = busy.response.await.unwrap();
    assert_eq!(answer.status(), 200);
    read_to_end(answer.into_body()).await.unwrap();
    client.ended().await.unwrap();
    let folder = stopping.ended().await.unwrap();
    let server = TestServer::start_in(folder, |_| {}).await;
    assert_eq!(server.send(Request::get("/")).await.text(), "last words");
    server.stop().await;
}

#[tokio::test]
async fn a_drain_cuts_streams_that_do_not_end() {
    let server = TestServer::start_with(|config| config.timeouts.drain = SHORT).await;
    let client = Http2Client::open(server.address).await;
    let stalled = client.begin(changeset(None, &[("a", "1")])).await.unwrap();
    assert_eq!(client.send(Request::get("/_icd/health")).await.status, 200);
    let ended = tokio::time::timeout(LONG, server.begin_stop().ended()).await;
    assert!(ended.unwrap().is_ok(), "the upload was cut");
    assert!(stalled.response.await.is_err());
}

#[tokio::test]
async fn requests_of_all_connections_together_are_bounded() {
    let server = TestServer::start_with(|config| {
        config.limits.connections = 2;
        config.timeouts.head = SHORT;
    })
    .await;
    let client = Http2Client::open(server.address).await;
    let request = changeset(None, &[("a", "1")]);
    let body = Bytes::from(request.body.clone());
    let mut holders = Vec::new();
    for _ in 0..2 {
        holders.push(client.begin(request.clone()).await.unwrap());
    }
    let answer = client.send(Request::get("/_icd/health")).await;
    assert_eq!(answer.refusal(), (503, ErrorCode::Busy));
    let mut first = holders.remove(0);
    first.body.send_data(body, true).unwrap();
    assert_eq!(first.response.await.unwrap().status(), 200);
    assert_eq!(client.send(Request::get("/_icd/health")).await.status, 200);
    drop(holders);
    server.stop().await;
}

#[tokio::test]
async fn a_head_over_its_limit_is_refused() {
    let server = TestServer::start().await;
    let client = Http2Client::open(server.address).await;
    let long = Request::get("/").header("cookie", &"c".repeat(40_000));
    let refused = client.try_send(long).await;
    let told = refused
        .map(|answer| answer.status)
        .map_err(|error| error.reason());
    assert_eq!(told, Ok(431));
    assert_eq!(client.send(Request::get("/")).await.status, 503);
    server.stop().await;
}
