//! What is over a limit is refused, clearly, and before it costs anything.

use std::time::Duration;

use onsave_protocol::{
    Sha256Digest,
    wire::{
        error::ErrorCode,
        frame,
        v2::{ChangesetHeader, Source},
    },
};

use crate::harness::{Request, TestServer, changeset, changeset_of, put};

#[tokio::test]
async fn sizes() {
    let server = TestServer::start_with(|config| {
        config.limits.file_bytes = 1_000;
        config.limits.changeset_bytes = 3_000;
        config.limits.frame_header_bytes = 2_000;
        config.limits.files = 5;
        config.limits.v1_body_bytes = 2_000;
    })
    .await;
    let large = "x".repeat(1_001);
    let many: Vec<(String, &str)> = (0..6).map(|at| (format!("{at}"), "x")).collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    let all: Vec<(String, String)> = (0..4)
        .map(|at| (format!("{at}"), "y".repeat(900)))
        .collect();
    let all: Vec<(&str, &str)> = all
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let long = "p".repeat(200);
    let wide: Vec<String> = (0..9).map(|at| format!("{long}/{long}{at}")).collect();
    let wide = ChangesetHeader {
        removes: wide.iter().map(|path| path.parse().unwrap()).collect(),
        ..ChangesetHeader::default()
    };
    let put_blob = Request::new(
        "PUT",
        &format!("/_icd/blobs/{}", Sha256Digest::of(large.as_bytes())),
    );
    let put_file = Request::new("PUT", "/_icd/deploys/1-00000000/files?path=a");
    for (what, request) in [
        ("a large file", changeset(None, &[("a", &large)])),
        ("many files", changeset(None, &many)),
        ("much content", changeset(None, &all)),
        ("a large header", changeset_of(None, &wide, b"")),
        ("a large blob", put_blob.body(large.clone()).v2()),
        ("a large v1 body", put_file.body("x".repeat(2_001)).v1()),
    ] {
        let answer = server.send(request).await;
        assert_eq!(answer.refusal(), (413, ErrorCode::TooLarge), "{what}");
    }
    let unknown = Request::new("PUT", &format!("/_icd/blobs/{}", Sha256Digest::of(b"")))
        .v2()
        .header("transfer-encoding", "chunked");
    let mut connection = server.connect().await;
    connection.write(&unknown.head_bytes()).await;
    connection.write(b"0\r\n\r\n").await;
    let answer = connection.read(false).await.unwrap();
    assert_eq!(answer.refusal(), (411, ErrorCode::LengthRequired));
    assert_eq!(server.current(), None);
    server.stop().await;
}

#[tokio::test]
async fn a_chunked_changeset_is_taken_and_bounded() {
    let server = TestServer::start_with(|config| {
        config.limits.changeset_bytes = 2_000_000;
        config.limits.frame_header_bytes = 1_000;
    })
    .await;
    let mut connection = server.connect().await;
    let good = changeset(None, &[("a", "chunked")]).header("transfer-encoding", "chunked");
    connection.write(&good.head_bytes()).await;
    let (first, second) = good.body.split_at(20);
    for part in [first, second, b""] {
        connection
            .write(format!("{:x}\r\n", part.len()).as_bytes())
            .await;
        connection.write(&[part, b"\r\n"].concat()).await;
    }
    assert_eq!(connection.read(false).await.unwrap().status, 200);
    assert_eq!(connection.send(Request::get("/a")).await.text(), "chunked");

    let content = vec![b'x'; 2_500_000];
    let header = ChangesetHeader {
        puts: vec![put("b", &content[..1_900_000], Source::Inline)],
        ..ChangesetHeader::default()
    };
    let over = changeset_of(server.current(), &header, &content);
    let over = over.header("transfer-encoding", "chunked");
    connection.write(&over.head_bytes()).await;
    connection
        .write(format!("{:x}\r\n", over.body.len()).as_bytes())
        .await;
    connection.write(&over.body).await;
    connection.write(b"\r\n0\r\n\r\n").await;
    let answer = connection.read(false).await.unwrap();
    assert!(matches!(answer.status, 400 | 413), "{answer:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_head_over_its_limit_is_refused() {
    let server = TestServer::start().await;
    let long = Request::get("/").header("cookie", &"c".repeat(40_000));
    assert_eq!(server.send(long).await.status, 431);
    let many = (0..150).fold(Request::get("/"), |request, at| {
        request.header(&format!("x-{at}"), "x")
    });
    assert_eq!(server.send(many).await.status, 431);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_head_ends_the_connection_and_an_idle_one_stays() {
    let server = TestServer::start_with(|config| {
        config.timeouts.head = Duration::from_millis(200);
    })
    .await;
    let mut idle = server.connect().await;
    assert_eq!(idle.send(Request::get("/")).await.status, 503);
    let mut slow = server.connect().await;
    slow.write(b"GET / HTTP/1.1\r\nhost:").await;
    assert!(slow.is_closed().await);
    assert_eq!(
        idle.send(Request::get("/")).await.status,
        503,
        "idle for longer, and open"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_stalled_body_is_given_up() {
    let server = TestServer::start_with(|config| {
        config.timeouts.body_idle = Duration::from_millis(200);
    })
    .await;
    for signed in [changeset(None, &[("a", "1")]), {
        Request::new("PUT", "/_icd/deploys/1-00000000/files?path=a")
            .body("abc")
            .v1()
    }] {
        let mut connection = server.connect().await;
        connection.write(&signed.head_bytes()).await;
        connection.write(&signed.body[..2]).await;
        let answer = connection.read(false).await.unwrap();
        assert_eq!(answer.refusal(), (408, ErrorCode::Timeout));
    }
    server.stop().await;
}

#[tokio::test]
async fn first_generation_bodies_in_flight_are_bounded() {
    let server = TestServer::start_with(|config| config.limits.v1_bodies = 1).await;
    let begin = server
        .send(Request::new("POST", "/_icd/deploys").v1())
        .await;
    let id = begin.json::<onsave_protocol::wire::v1::Begun>().deploy_id;
    let target = format!("/_icd/deploys/{id}/files?path=a");
    let large = Request::new("PUT", &target).body("x".repeat(100_000)).v1();
    let mut holder = server.connect().await;
    holder.write(&large.head_bytes()).await;
    holder.write(&large.body[..50_000]).await;
    let mut second = server.connect().await;
    second.write(&large.head_bytes()).await;
    let answer = second.read(false).await.unwrap();
    assert_eq!(answer.refusal(), (503, ErrorCode::Busy));
    assert_eq!(answer.header("retry-after"), Some("1"));
    // Small bodies need no slot, and the holder loses nothing.
    let small = Request::new("PUT", &target).body("small").v1();
    assert_eq!(server.send(small).await.status, 200);
    holder.write(&large.body[50_000..]).await;
    assert_eq!(holder.read(false).await.unwrap().status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_pack_may_not_name_what_it_does_not_hold() {
    use onsave_protocol::wire::v2::{PackHeader, PackRecord};
    let server = TestServer::start().await;
    let record = PackRecord {
        sha256: Sha256Digest::of(b""),
        size: 0,
        source: Source::Stored,
    };
    let stored = frame::encode(&PackHeader {
        blobs: vec![record.clone()],
    })
    .unwrap();
    let answer = server
        .send(Request::new("POST", "/_icd/blobs").body(stored).v2())
        .await;
    assert_eq!(answer.refusal(), (400, ErrorCode::BadRequest));
    let inline = PackRecord {
        source: Source::Inline,
        ..record
    };
    let many = frame::encode(&PackHeader {
        blobs: vec![inline; 4_097],
    })
    .unwrap();
    let answer = server
        .send(Request::new("POST", "/_icd/blobs").body(many).v2())
        .await;
    assert_eq!(answer.refusal(), (413, ErrorCode::TooLarge));
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_large_body_reaches_the_peer() {
    let server = TestServer::start_with(|config| config.limits.changeset_bytes = 64 * 1024).await;
    // No blob can be staged any more, which shows when the first bytes are written.
    std::fs::remove_dir_all(server.folder.path().join("staging")).unwrap();
    let blob = vec![b'x'; 1_500_000];
    let target = format!("/_icd/blobs/{}", Sha256Digest::of(&blob));
    let mut connection = server.connect().await;
    let answer = connection
        .send(Request::new("PUT", &target).body(blob).v2())
        .await;
    assert_eq!(answer.refusal(), (500, ErrorCode::Internal));
    // Only a body that was read to its end leaves the connection usable.
    connection
        .write(&Request::get("/_icd/health").head_bytes())
        .await;
    let health = connection.read(false).await.map(|answer| answer.status);
    assert_eq!(health, Some(200));
    server.stop().await;
}
