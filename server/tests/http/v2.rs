//! The second generation's calls: publishing in one exchange, bulk upload, history.

use onsave_protocol::{
    Sha256Digest, SitePath,
    wire::{
        error::{ErrorBody, ErrorCode},
        frame,
        v1::ManifestBody,
        v2::{
            ChangesetHeader, DeployDetail, DeployList, MissingAnswer, MissingRequest, PackHeader,
            PackRecord, Published, PutRecord, Source,
        },
    },
};

use crate::harness::{Request, TestServer, changeset, changeset_of, on_base, put};

/// Returns text that compresses well, and differs by `seed`.
fn prose(seed: &str, lines: usize) -> String {
    let line = |at| format!("line {at}: the quick brown fox {seed} jumps over the lazy dog\n");
    (0..lines).map(line).collect()
}

fn zstd_against(base: &[u8], content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::with_ref_prefix(Vec::new(), 3, base).unwrap();
    std::io::Write::write_all(&mut encoder, content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn one_exchange_publishes() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    let answer = connection
        .send(changeset(None, &[("index.html", "one"), ("b", "b")]))
        .await;
    let first: Published = answer.json();
    assert_eq!(
        (first.files, first.bytes, first.previous_deploy_id),
        (2, 4, None)
    );
    assert!(first.server_ms > 0.0);
    assert_eq!(connection.send(Request::get("/")).await.text(), "one");

    let header = ChangesetHeader {
        puts: vec![put("index.html", b"two", Source::Inline)],
        removes: ["b", "absent"]
            .map(|path| SitePath::parse(path).unwrap())
            .to_vec(),
        message: Some("a\nmessage".into()),
        published_by: None,
    };
    let request = changeset_of(Some(first.deploy_id), &header, b"two");
    let second: Published = connection.send(request).await.json();
    assert_eq!((second.files, second.bytes), (1, 3));
    assert_eq!(second.previous_deploy_id, Some(first.deploy_id));
    assert!(second.deploy_id > first.deploy_id);
    assert_eq!(connection.send(Request::get("/")).await.text(), "two");
    assert_eq!(connection.send(Request::get("/b")).await.status, 404);

    let list: DeployList = connection
        .send(Request::get("/_icd/deploys").v2())
        .await
        .json();
    assert_eq!(list.deploys.len(), 2);
    assert_eq!(list.deploys[0].deploy_id, second.deploy_id);
    assert!(list.deploys[0].current && !list.deploys[1].current);
    assert_eq!(list.deploys[0].message.as_deref(), Some("a\nmessage"));
    assert_eq!(list.deploys[1].published_by.as_deref(), Some("ann"));
    let target = format!("/_icd/deploys/{}", second.deploy_id);
    let detail: DeployDetail = connection.send(Request::get(&target).v2()).await.json();
    assert_eq!(detail.changed, [SitePath::parse("index.html").unwrap()]);
    assert_eq!(detail.removed, [SitePath::parse("b").unwrap()]);
    let none = connection
        .send(Request::get("/_icd/deploys/1-00000000").v2())
        .await;
    assert_eq!(none.refusal(), (404, ErrorCode::NotFound));
    server.stop().await;
}

#[tokio::test]
async fn every_source_of_bytes_small_and_streamed() {
    for lines in [20, 30_000] {
        let server = TestServer::start().await;
        let old = prose("old", lines);
        let base = server.publish(&[("page.html", &old)]).await.deploy_id;
        let (inline, packed, delta) = (
            prose("a", lines),
            prose("b", lines),
            prose("old", lines) + "new",
        );
        let zstd = zstd::encode_all(packed.as_bytes(), 3).unwrap();
        let patch = zstd_against(old.as_bytes(), delta.as_bytes());
        assert!(patch.len() < zstd.len().max(200));
        let reference = Source::ZstdAgainst {
            length: patch.len() as u64,
            base: Sha256Digest::of(old.as_bytes()),
        };
        let header = ChangesetHeader {
            puts: vec![
                put("empty.html", b"", Source::Inline),
                put("inline.html", inline.as_bytes(), Source::Inline),
                put(
                    "zstd.html",
                    packed.as_bytes(),
                    Source::Zstd {
                        length: zstd.len() as u64,
                    },
                ),
                put("page.html", delta.as_bytes(), reference),
                put("stored.html", old.as_bytes(), Source::Stored),
            ],
            ..ChangesetHeader::default()
        };
        let content = [inline.as_bytes(), &zstd, &patch].concat();
        let answer = server
            .send(changeset_of(Some(base), &header, &content))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for (path, expected) in [
            ("/empty.html", ""),
            ("/inline.html", &inline),
            ("/zstd.html", &packed),
            ("/page.html", &delta),
            ("/stored.html", &old),
        ] {
            assert_eq!(
                server.send(Request::get(path)).await.text(),
                expected,
                "{path}"
            );
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn preconditions_decide_before_anything_is_written() {
    let server = TestServer::start().await;
    let wrong_first = server
        .send(changeset(Some("1-00000000".parse().unwrap()), &[]))
        .await;
    assert_eq!(wrong_first.refusal(), (412, ErrorCode::BaseNotCurrent));
    let first = server.publish(&[("a", "1")]).await.deploy_id;
    let second = server.publish(&[("a", "2")]).await.deploy_id;
    for base in [None, Some(first)] {
        let answer = server.send(changeset(base, &[("a", "3")])).await;
        assert_eq!(answer.refusal(), (412, ErrorCode::BaseNotCurrent));
        assert_eq!(answer.json::<ErrorBody>().current_deploy_id, Some(second));
    }
    // A body that is larger than what a stranger may send is read, so that the answer arrives.
    let large = "x".repeat(5_000_000);
    let answer = server.send(changeset(Some(first), &[("a", &large)])).await;
    assert_eq!(answer.refusal(), (412, ErrorCode::BaseNotCurrent));
    let body = frame::encode(&ChangesetHeader::default()).unwrap();
    let none = Request::new("POST", "/_icd/changesets")
        .body(body.clone())
        .v2();
    assert_eq!(
        server.send(none).await.refusal(),
        (428, ErrorCode::PreconditionRequired)
    );
    let unsigned_base = on_base(Request::new("POST", "/_icd/changesets"), Some(second))
        .body(body)
        .v1();
    let answer = server.send(unsigned_base).await;
    assert_eq!(answer.refusal(), (401, ErrorCode::MissingAuthHeaders));
    assert_eq!(server.current(), Some(second));
    server.stop().await;
}

#[tokio::test]
async fn missing_blobs_are_named_and_then_uploaded() {
    let server = TestServer::start().await;
    let contents = ["zero", "one", "two"];
    let digests = contents.map(|content| Sha256Digest::of(content.as_bytes()));
    let puts = contents
        .iter()
        .enumerate()
        .map(|(at, content)| put(&format!("{at}.txt"), content.as_bytes(), Source::Stored))
        .collect();
    let header = ChangesetHeader {
        puts,
        ..ChangesetHeader::default()
    };
    let answer = server.send(changeset_of(None, &header, b"")).await;
    assert_eq!(answer.refusal(), (422, ErrorCode::MissingBlobs));
    assert_eq!(answer.json::<ErrorBody>().missing, digests);

    let blobs = [digests[1], digests[0], digests[1]].to_vec();
    let ask = serde_json::to_vec(&MissingRequest { blobs }).unwrap();
    let ask = || {
        Request::new("POST", "/_icd/blobs/missing")
            .body(ask.clone())
            .v2()
    };
    let missing: MissingAnswer = server.send(ask()).await.json();
    assert_eq!(
        missing.missing,
        [digests[1], digests[0]],
        "in order, each once"
    );

    let one = Request::new("PUT", &format!("/_icd/blobs/{}", digests[0]))
        .body(contents[0])
        .v2();
    assert_eq!(server.send(one).await.text(), r#"{"missing":[]}"#);
    let record = |at: usize, source| PackRecord {
        sha256: digests[at],
        size: contents[at].len() as u64,
        source,
    };
    let zstd = zstd::encode_all(contents[2].as_bytes(), 3).unwrap();
    let length = zstd.len() as u64;
    let blobs = vec![
        record(1, Source::Inline),
        record(2, Source::Zstd { length }),
    ];
    let mut body = frame::encode(&PackHeader { blobs }).unwrap();
    body.extend_from_slice(contents[1].as_bytes());
    body.extend_from_slice(&zstd);
    let answer = server
        .send(Request::new("POST", "/_icd/blobs").body(body).v2())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let missing: MissingAnswer = server.send(ask()).await.json();
    assert_eq!(missing.missing, []);
    assert_eq!(server.current(), None);
    assert_eq!(
        server.send(changeset_of(None, &header, b"")).await.status,
        200
    );
    assert_eq!(server.send(Request::get("/2.txt")).await.text(), "two");
    server.stop().await;
}

#[tokio::test]
async fn a_large_blob_is_streamed_and_verified() {
    let server = TestServer::start().await;
    let content = prose("large", 60_000);
    let target = format!("/_icd/blobs/{}", Sha256Digest::of(content.as_bytes()));
    let good = Request::new("PUT", &target).body(content.clone()).v2();
    assert_eq!(server.send(good).await.status, 200);
    let other = format!("/_icd/blobs/{}", Sha256Digest::of(b"other"));
    let wrong = Request::new("PUT", &other).body(content).v2();
    assert_eq!(
        server.send(wrong).await.refusal(),
        (400, ErrorCode::DigestMismatch)
    );
    let missing = server.store.missing(&[Sha256Digest::of(b"other")]).unwrap();
    assert_eq!(missing.len(), 1);
    server.stop().await;
}

/// Returns the header of a changeset that only puts.
fn puts(puts: Vec<PutRecord>) -> ChangesetHeader {
    ChangesetHeader {
        puts,
        ..ChangesetHeader::default()
    }
}

/// What is wrong, the changeset's header and content, and the refusal.
type Refused<'c> = (&'c str, ChangesetHeader, &'c [u8], (u16, ErrorCode));

/// Sends each changeset, expects its refusal, and that nothing changed and nothing is left over.
async fn expect_refusals(cases: Vec<Refused<'_>>) {
    let server = TestServer::start().await;
    let base = server
        .publish(&[("a", "1"), ("dir/b", "2")])
        .await
        .deploy_id;
    for (what, header, content, refusal) in cases {
        let answer = server
            .send(changeset_of(Some(base), &header, content))
            .await;
        assert_eq!(answer.status, refusal.0, "{what}: {}", answer.text());
        assert_eq!(answer.refusal(), refusal, "{what}");
    }
    assert_eq!(server.current(), Some(base));
    server.store.wait_idle();
    let objects = walk(&server.folder.path().join("objects"));
    assert_eq!(objects.len(), 2, "{objects:?}");
    server.stop().await;
}

/// Returns the names of the files below a folder of folders.
fn walk(folder: &std::path::Path) -> Vec<std::ffi::OsString> {
    let entries = |folder: &std::path::Path| std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries(folder)
        .flat_map(|inner| entries(&inner.path()))
        .map(|entry| entry.file_name())
        .collect()
}

#[tokio::test]
async fn changesets_that_break_a_rule_change_nothing() {
    let inline = |path: &str| put(path, b"1", Source::Inline);
    let note = |message: &str| ChangesetHeader {
        message: Some(message.into()),
        ..ChangesetHeader::default()
    };
    let both = ChangesetHeader {
        removes: vec![SitePath::parse("a").unwrap()],
        ..puts(vec![inline("a")])
    };
    let (bad, conflict) = (ErrorCode::BadRequest, ErrorCode::PathConflict);
    let twice = puts(vec![inline("a"), inline("a")]);
    expect_refusals(vec![
        ("twice", twice, b"11", (400, bad)),
        ("put and removed", both, b"1", (400, bad)),
        (
            "not NFC",
            puts(vec![inline("bla\u{30a}")]),
            b"1",
            (400, bad),
        ),
        (
            "below a file",
            puts(vec![inline("a/b")]),
            b"1",
            (400, conflict),
        ),
        (
            "over a folder",
            puts(vec![inline("dir")]),
            b"1",
            (400, conflict),
        ),
        ("terminal escape", note("\u{1b}[2J"), b"", (400, bad)),
        (
            "long note",
            note(&"n".repeat(2_000)),
            b"",
            (413, ErrorCode::TooLarge),
        ),
    ])
    .await;
}

#[tokio::test]
async fn content_that_is_not_what_was_announced_changes_nothing() {
    let inline = || puts(vec![put("a", b"x", Source::Inline)]);
    let zstd = zstd::encode_all(&b"x"[..], 3).unwrap();
    let twice = zstd.repeat(2);
    let packed = |length: usize| {
        let length = length as u64;
        puts(vec![put("a", b"x", Source::Zstd { length })])
    };
    let mut wrong_hash = put("a", b"x", Source::Inline);
    wrong_hash.sha256 = Sha256Digest::of(b"y");
    let against = |base: &[u8]| {
        let base = Sha256Digest::of(base);
        puts(vec![put(
            "a",
            b"x",
            Source::ZstdAgainst { length: 3, base },
        )])
    };
    let bad = ErrorCode::BadRequest;
    expect_refusals(vec![
        ("too short", inline(), b"", (400, bad)),
        ("too long", inline(), b"xy", (400, bad)),
        ("bytes for nothing", puts(vec![]), b"x", (400, bad)),
        (
            "wrong hash",
            puts(vec![wrong_hash]),
            b"x",
            (400, ErrorCode::DigestMismatch),
        ),
        ("not zstd", packed(3), b"abc", (400, bad)),
        ("cut zstd", packed(4), &zstd[..4], (400, bad)),
        ("two zstd frames", packed(twice.len()), &twice, (400, bad)),
        ("no zstd at all", packed(0), b"", (400, bad)),
        ("not zstd against", against(b"1"), b"abc", (400, bad)),
        (
            "absent base",
            against(b"absent"),
            b"abc",
            (422, ErrorCode::MissingBlobs),
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies_that_are_no_frame_change_nothing() {
    let server = TestServer::start().await;
    for body in [
        &b""[..],
        b"ONS2",
        b"HTTP\0\0\0\x02{}",
        b"ONS2\0\0\0\x09{}",
        b"ONS2\0\0\0\x027 ",
        b"ONS2\0\0\0\x1c{\"removes\":[\"../etc/passwd\"]}",
    ] {
        for chunked in [false, true] {
            let request = on_base(Request::new("POST", "/_icd/changesets"), None)
                .body(body)
                .v2();
            let mut connection = server.connect().await;
            let answer = if chunked {
                let request = request.header("transfer-encoding", "chunked");
                connection.write(&request.head_bytes()).await;
                let length = format!("{:x}\r\n", body.len());
                let end = if body.is_empty() {
                    &b"\r\n"[..]
                } else {
                    b"\r\n0\r\n\r\n"
                };
                connection
                    .write(&[length.as_bytes(), body, end].concat())
                    .await;
                connection.read(false).await.unwrap()
            } else {
                connection.send(request).await
            };
            assert_eq!(answer.refusal(), (400, ErrorCode::BadRequest), "{body:?}");
        }
    }
    assert_eq!(server.current(), None);
    server.stop().await;
}

#[tokio::test]
async fn a_zstd_bomb_unfolds_no_further_than_announced() {
    let server = TestServer::start().await;
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(0), 200_000_000), 3).unwrap();
    assert!(bomb.len() < 100_000);
    let source = || Source::Zstd {
        length: bomb.len() as u64,
    };
    let mut record = put("a", b"", source());
    record.size = 1_000;
    let header = ChangesetHeader {
        puts: vec![record],
        ..ChangesetHeader::default()
    };
    let answer = server.send(changeset_of(None, &header, &bomb)).await;
    assert_eq!(answer.refusal(), (400, ErrorCode::DigestMismatch));
    assert_eq!(server.current(), None);
    server.stop().await;
}

#[tokio::test]
async fn the_manifest_is_validated_and_compressed() {
    let server = TestServer::start().await;
    let id = server.publish(&[("index.html", "x")]).await.deploy_id;
    let etag = format!("\"{id}\"");
    let packed = Request::get("/_icd/manifest")
        .header("accept-encoding", "gzip, zstd")
        .v2();
    let answer = server.send(packed).await;
    assert_eq!(answer.header("content-encoding"), Some("zstd"));
    assert_eq!(answer.header("etag"), Some(etag.as_str()));
    let manifest: ManifestBody =
        serde_json::from_slice(&zstd::decode_all(&answer.body[..]).unwrap()).unwrap();
    assert_eq!(manifest.deploy_id, Some(id.to_string()));
    assert_eq!(
        manifest.files["index.html"],
        Sha256Digest::of(b"x").to_hex()
    );
    let again = Request::get("/_icd/manifest")
        .header("if-none-match", &etag)
        .v2();
    let answer = server.send(again).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    server.publish(&[("index.html", "y")]).await;
    let stale = Request::get("/_icd/manifest")
        .header("if-none-match", &etag)
        .v2();
    assert_eq!(server.send(stale).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn rollback_honours_its_precondition() {
    let server = TestServer::start().await;
    let first = server.publish(&[("a", "1")]).await.deploy_id;
    let second = server.publish(&[("a", "2")]).await.deploy_id;
    let rollback = |base| on_base(Request::new("POST", "/_icd/rollback"), Some(base)).v2();
    let answer = server.send(rollback(first)).await;
    assert_eq!(answer.refusal(), (412, ErrorCode::BaseNotCurrent));
    let published: Published = server.send(rollback(second)).await.json();
    assert_eq!(published.deploy_id, first);
    assert_eq!(published.previous_deploy_id, Some(second));
    assert_eq!(server.send(Request::get("/a")).await.text(), "1");
    server.stop().await;
}
