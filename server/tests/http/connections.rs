//! Connections: kept warm, told to continue, cut by the peer, drained at the end.

use std::time::Duration;

use onsave_server::ServeError;
use tokio::net::TcpStream;

use crate::harness::{Connection, Request, TestServer, changeset};

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    for round in 0..5 {
        let text = format!("round {round}");
        let base = server.current();
        assert_eq!(
            connection
                .send(changeset(base, &[("index.html", &text)]))
                .await
                .status,
            200
        );
        assert_eq!(connection.send(Request::get("/")).await.text(), text);
        assert_eq!(
            connection.send(Request::new("HEAD", "/none")).await.status,
            404
        );
        assert_eq!(
            connection
                .send(Request::get("/_icd/manifest").v1())
                .await
                .status,
            200
        );
        // A refusal does not cost the connection.
        let stale = changeset(None, &[("index.html", "stale")]);
        assert_eq!(connection.send(stale).await.status, 412);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_for_it_is_told_to_continue() {
    let server = TestServer::start().await;
    let request = changeset(None, &[("a", "1")]).header("expect", "100-continue");
    let mut connection = server.connect().await;
    connection.write(&request.head_bytes()).await;
    assert_eq!(connection.read(false).await.unwrap().status, 100);
    connection.write(&request.body).await;
    assert_eq!(connection.read(false).await.unwrap().status, 200);
    // What is refused by its head alone never asks for the body.
    let stale = changeset(None, &[("a", "2")]).header("expect", "100-continue");
    let mut connection = server.connect().await;
    connection.write(&stale.head_bytes()).await;
    assert_eq!(connection.read(false).await.unwrap().status, 412);
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_hangs_up_does_not_cut_its_commit() {
    let server = TestServer::start().await;
    let request = changeset(None, &[("index.html", "committed")]);
    let mut connection = server.connect().await;
    connection.write(&request.head_bytes()).await;
    connection.write(&request.body).await;
    drop(connection);
    wait_until(|| server.current().is_some()).await;
    assert_eq!(server.send(Request::get("/")).await.text(), "committed");
    server.stop().await;
}

#[tokio::test]
async fn half_an_upload_is_nothing() {
    let server = TestServer::start().await;
    let base = server.publish(&[("index.html", "old")]).await.deploy_id;
    let large = "x".repeat(3_000_000);
    for text in ["small", large.as_str()] {
        let request = changeset(Some(base), &[("index.html", text)]);
        let mut connection = server.connect().await;
        connection.write(&request.head_bytes()).await;
        connection
            .write(&request.body[..request.body.len() - 1])
            .await;
        drop(connection);
    }
    let folder = server.stop().await;
    let server = TestServer::start_in(folder, |_| {}).await;
    assert_eq!(server.current(), Some(base));
    assert_eq!(server.send(Request::get("/")).await.text(), "old");
    server.stop().await;
}

#[tokio::test]
async fn two_publishers_get_one_winner() {
    let server = TestServer::start().await;
    let base = Some(server.publish(&[("index.html", "base")]).await.deploy_id);
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    let (first, second) = tokio::join!(
        one.send(changeset(base, &[("index.html", "one"), ("one", "1")])),
        two.send(changeset(base, &[("index.html", "two"), ("two", "2")])),
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let (winner, other) = if first.status == 200 {
        ("one", "/two")
    } else {
        ("two", "/one")
    };
    assert_eq!(server.send(Request::get("/")).await.text(), winner);
    assert_eq!(server.send(Request::get(other)).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_drain_ends_idle_connections_and_lets_the_others_finish() {
    let server = TestServer::start().await;
    let address = server.address;
    let mut idle = server.connect().await;
    assert_eq!(idle.send(Request::get("/_icd/health")).await.status, 200);
    let request = changeset(None, &[("index.html", "last words")]);
    let (most, rest) = request.body.split_at(request.body.len() - 3);
    let mut busy = server.connect().await;
    busy.write(&request.head_bytes()).await;
    busy.write(most).await;
    // The head is being worked on once another connection, opened later, was answered.
    assert_eq!(server.send(Request::get("/_icd/health")).await.status, 200);
    let stopping = server.begin_stop();
    assert!(idle.is_closed().await);
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the listener is closed"
    );
    busy.write(rest).await;
    let answer = busy.read(false).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    let folder = stopping.ended().await.unwrap();
    let server = TestServer::start_in(folder, |_| {}).await;
    assert_eq!(server.send(Request::get("/")).await.text(), "last words");
    server.stop().await;
}

#[tokio::test]
async fn a_drain_has_a_deadline() {
    let server = TestServer::start_with(|config| {
        config.timeouts.drain = Duration::from_millis(200);
    })
    .await;
    let request = changeset(None, &[("a", "1")]);
    let mut stalled = server.connect().await;
    stalled.write(&request.head_bytes()).await;
    assert_eq!(server.send(Request::get("/_icd/health")).await.status, 200);
    let ended = server.begin_stop().ended().await;
    assert!(
        !matches!(ended, Err(ServeError::Unfinished { .. })),
        "the upload was cut"
    );
    assert!(stalled.is_closed().await);
}

#[tokio::test]
async fn an_idle_connection_ends_at_last() {
    let server = TestServer::start_with(|config| {
        config.timeouts.keep_alive = Duration::from_millis(200);
    })
    .await;
    let mut fresh = server.connect().await;
    let mut used = server.connect().await;
    assert_eq!(used.send(Request::get("/")).await.status, 503);
    assert!(used.is_closed().await);
    assert!(fresh.is_closed().await);
    server.stop().await;
}

#[tokio::test]
async fn requests_may_be_sent_ahead_of_their_answers() {
    let server = TestServer::start().await;
    let first = changeset(None, &[("index.html", "ahead")]);
    let mut connection = server.connect().await;
    let mut bytes = [first.head_bytes(), first.body].concat();
    bytes.extend(Request::get("/").head_bytes());
    bytes.extend(Request::new("HEAD", "/").head_bytes());
    connection.write(&bytes).await;
    assert_eq!(connection.read(false).await.unwrap().status, 200);
    assert_eq!(connection.read(false).await.unwrap().text(), "ahead");
    assert_eq!(connection.read(true).await.unwrap().status, 200);
    server.stop().await;
}

#[tokio::test]
async fn more_connections_than_allowed_wait() {
    let server = TestServer::start_with(|config| config.limits.connections = 1).await;
    let mut first = server.connect().await;
    assert_eq!(first.send(Request::get("/_icd/health")).await.status, 200);
    let mut second = server.connect().await;
    second
        .write(&Request::get("/_icd/health").head_bytes())
        .await;
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(false)).await;
    assert!(early.is_err(), "the one permit is taken");
    drop(first);
    assert_eq!(second.read(false).await.unwrap().status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_crowd_is_served_a_few_at_a_time() {
    let server = TestServer::start_with(|config| config.limits.connections = 4).await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let address = server.address;
        crowd.spawn(async move {
            // The answer comes when it is this one's turn; the connection ends with it.
            let mut connection = Connection::open(address).await;
            connection.send(Request::get("/_icd/health")).await.status
        });
    }
    assert_eq!(crowd.join_all().await, [200; 60]);
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_cut_and_a_slow_one_is_not() {
    let server = TestServer::start_with(|config| {
        config.timeouts.write_idle = Duration::from_millis(300);
        // Shorter: an answer that is being sent is no idle connection.
        config.timeouts.keep_alive = Duration::from_millis(100);
    })
    .await;
    let size = 24 * 1024 * 1024;
    let large = "x".repeat(size);
    server.publish(&[("index.html", &large)]).await;
    let head = Request::get("/").head_bytes();
    let (mut stuck, mut slow) = (server.connect().await, server.connect().await);
    stuck.write(&head).await;
    slow.write(&head).await;
    let mut taken = 0;
    while taken < size {
        tokio::time::sleep(Duration::from_millis(20)).await;
        taken += slow.read_at_most(1024 * 1024).await;
    }
    assert!(stuck.read_to_end().await < size);
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_has_said_everything_is_answered() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    let request = changeset(None, &[("index.html", "said")]);
    connection.write(&request.head_bytes()).await;
    connection.write(&request.body).await;
    connection.write(&Request::get("/").head_bytes()).await;
    connection.close_writing().await;
    assert_eq!(connection.read(false).await.unwrap().status, 200);
    assert_eq!(connection.read(false).await.unwrap().text(), "said");
    assert!(connection.is_closed().await);
    server.stop().await;
}

/// Waits for what another task does, and not for a fixed time.
async fn wait_until(holds: impl Fn() -> bool) {
    let polling = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), polling)
        .await
        .unwrap();
}
