//! The second generation: one exchange, conflicts, restarts, resumption.

use std::{io::Write as _, time::Duration};

use onsave_protocol::limits::LARGE_FILE_BYTES;

use super::harness::{Relay, Relaying, TestServer, TestSite, endpoint};
use crate::{
    publish::{
        Converged, Endpoint, FailureKind, Generation, PublishError, Publisher, RetryClass, Scope,
        session::Session, sign::Signer,
    },
    verify_live::{LiveCheck, LiveVerdict, LiveVerifier},
};

fn publisher(url: &str) -> Publisher {
    Publisher::new(endpoint(url)).unwrap()
}

fn page(sentence: &str) -> String {
    // Text that zstd finds some order in, like that of a page.
    let words: Vec<String> = (0..1_200)
        .map(|n: u32| format!("word{} ", n * n % 977))
        .collect();
    format!("<!doctype html><p>{sentence}</p><p>{}</p>", words.concat())
}

/// Bytes without any order.
fn noise(length: u64, seed: u64) -> Vec<u8> {
    // Never zero, and another for each seed.
    let mut state = seed * 2 + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next)
        .take(usize::try_from(length).unwrap())
        .collect()
}

#[tokio::test]
async fn a_save_is_one_exchange_on_one_connection() {
    let server = TestServer::start().await;
    let relay = Relay::before(server.address(), Relaying::Plain).await;
    let site = TestSite::new(&[("index.html", &page("one")), ("b/c.html", "other")]);
    let mut publisher = publisher(&relay.url());
    site.publish(&mut publisher).await;
    assert_eq!(publisher.generation(), Some(Generation::V2));
    for sentence in ["two", "three", "four"] {
        site.write("index.html", page(sentence).as_bytes());
        let (requests, sent, received) = (relay.requests(), relay.sent(), relay.received());
        let report = site.publish(&mut publisher).await;
        assert_eq!(relay.requests() - requests, 1);
        assert_eq!(report.wire.exchanges, 1);
        let sent = relay.sent() - sent;
        assert!(sent <= 6 * 1024, "{sent} bytes were sent");
        // What is reported is what passed, but for what the HTTP client alone knows.
        assert!(
            report.wire.sent.abs_diff(sent) <= 48,
            "{} told, {sent} sent",
            report.wire.sent
        );
        let received = relay.received() - received;
        assert!(report.wire.received.abs_diff(received) <= 48);
        assert!(report.server.is_some_and(|server| server <= report.send));
        let (status, body) = server.get("/").await;
        assert_eq!((status, body), (200, page(sentence).into_bytes()));
    }
    assert_eq!(relay.connections(), 1);
}

#[tokio::test]
async fn a_warmed_connection_serves_the_publish() {
    let server = TestServer::start().await;
    let relay = Relay::before(server.address(), Relaying::Plain).await;
    let publisher = publisher(&relay.url());
    let warmer = publisher.warmer();
    warmer.warm().await;
    warmer.warm().await;
    assert_eq!((relay.connections(), relay.requests()), (1, 1));
}

#[tokio::test]
async fn a_renamed_file_costs_its_name() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[]);
    let bytes = noise(200_000, 1);
    site.write("a.bin", &bytes);
    let mut publisher = publisher(&server.url());
    site.publish(&mut publisher).await;
    site.write("folder/b.bin", &bytes);
    site.remove("a.bin");
    let report = site.publish(&mut publisher).await;
    assert!(report.wire.sent < 2_000, "{:?}", report.wire);
    assert!(server.get("/folder/b.bin").await == (200, bytes));
    assert_eq!(server.get("/a.bin").await.0, 404);
}

#[tokio::test]
async fn equal_files_of_one_publish_travel_once() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[]);
    let bytes = noise(100_000, 2);
    for name in ["a.bin", "b.bin", "c.bin"] {
        site.write(name, &bytes);
    }
    let report = site.publish(&mut publisher(&server.url())).await;
    assert!(report.wire.sent < 110_000, "{:?}", report.wire);
    assert!(server.get("/c.bin").await == (200, bytes));
}

#[tokio::test]
async fn a_file_becomes_a_folder_and_back() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[("docs", "a file")]);
    let mut publisher = publisher(&server.url());
    site.publish(&mut publisher).await;
    site.remove("docs");
    site.write("docs/a.html", b"in a folder");
    site.publish(&mut publisher).await;
    assert_eq!(
        server.get("/docs/a.html").await,
        (200, b"in a folder".to_vec())
    );
}

#[tokio::test]
async fn nothing_changed_asks_whether_that_is_so_and_sends_nothing() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[("a", "1")]);
    let mut publisher = publisher(&server.url());
    site.publish(&mut publisher).await;
    let before = publisher.session.wire();
    assert!(matches!(
        site.converge(&mut publisher).await,
        Ok(Converged::InStep)
    ));
    let wire = publisher.session.wire().since(before);
    assert_eq!(wire.exchanges, 1);
    assert!(wire.received < 600, "not the manifest: {wire:?}");
}

#[tokio::test]
async fn the_last_of_two_writers_wins_with_its_whole_tree() {
    let server = TestServer::start().await;
    let ann = TestSite::new(&[("index.html", "ann"), ("ann.html", "ann")]);
    let bob = TestSite::new(&[("index.html", "bob"), ("bob.html", "bob")]);
    let (mut ann_publisher, mut bob_publisher) =
        (publisher(&server.url()), publisher(&server.url()));
    ann.publish(&mut ann_publisher).await;
    bob.publish(&mut bob_publisher).await;
    ann.write("index.html", b"ann again");
    ann.publish(&mut ann_publisher).await;
    assert_eq!(server.get("/").await.1, b"ann again");
    assert_eq!(server.get("/ann.html").await.1, b"ann");
    assert_eq!(server.get("/bob.html").await.0, 404);
    assert_eq!(ann_publisher.remote().unwrap().manifest().len(), 2);
}

#[tokio::test]
async fn a_publish_on_another_base_is_refused_with_the_current_one() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[("a", "1")]);
    let mut first = publisher(&server.url());
    let mut second = publisher(&server.url());
    second.refresh().await.unwrap();
    let id = site.publish(&mut first).await.deploy_id;
    let manifest = site.manifest();
    let local = site.local(&manifest);
    let publication = crate::publish::Publication {
        changeset: std::sync::Arc::new(second.changeset(&manifest, Scope::Whole)),
        site: local.site,
        note: local.note,
        progress: local.progress,
    };
    let error = second.publish(&publication).await.unwrap_err();
    assert_eq!(error.retry(), RetryClass::FreshManifest);
    assert!(
        matches!(&error, PublishError::BaseNotCurrent { current } if *current == Some(id)),
        "{error:?}"
    );
    assert!(matches!(
        site.converge(&mut second).await,
        Ok(Converged::InStep)
    ));
}

#[tokio::test]
async fn a_restart_between_two_publishes_is_not_noticed() {
    let mut server = TestServer::start().await;
    let site = TestSite::new(&[("a", "1")]);
    let mut publisher = publisher(&server.url());
    for content in ["2", "3", "4"] {
        site.write("a", content.as_bytes());
        site.publish(&mut publisher).await;
        server.stop().await;
        server.start_again().await;
    }
    site.write("a", b"5");
    site.publish(&mut publisher).await;
    assert_eq!(server.get("/a").await.1, b"5");
}

#[tokio::test]
async fn a_server_with_an_empty_volume_gets_everything() {
    let first = TestServer::start().await;
    let site = TestSite::new(&[("a", "1"), ("b", "2")]);
    let mut publisher = publisher(&first.url());
    site.publish(&mut publisher).await;
    let second = TestServer::start().await;
    publisher.session = std::sync::Arc::new(Session::new(endpoint(&second.url())).unwrap());
    site.write("b", b"3");
    site.publish(&mut publisher).await;
    assert_eq!(second.get("/a").await.1, b"1");
    assert_eq!(second.get("/b").await.1, b"3");
}

#[tokio::test]
async fn bytes_that_the_server_lost_travel_again() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[("a", "the same bytes")]);
    let mut publisher = publisher(&server.url());
    // The publisher believes that another path has these bytes already.
    let mut believed = site.manifest();
    let entry = *believed.get("a").unwrap();
    believed.remove("a");
    believed.insert(onsave_protocol::SitePath::parse("gone").unwrap(), entry);
    let id = TestSite::new(&[("other", "x")])
        .publish(&mut publisher)
        .await
        .deploy_id;
    let changeset = publisher.changeset(&believed, Scope::Whole);
    publisher
        .known
        .as_mut()
        .unwrap()
        .remote
        .advance(&changeset, id);
    site.publish(&mut publisher).await;
    assert_eq!(server.get("/a").await.1, b"the same bytes");
}

#[tokio::test]
async fn a_bulk_is_staged_and_goes_on_where_it_was_cut() {
    let server = TestServer::start().await;
    let relay = Relay::before(server.address(), Relaying::CutAfter(12_000_000)).await;
    let site = TestSite::new(&[]);
    for n in 0..20_u64 {
        site.write(&format!("img/{n}.png"), &noise(900_000, n));
    }
    site.write("large.bin", &noise(LARGE_FILE_BYTES * 3, 99));
    let mut publisher = publisher(&relay.url());
    let error = site.converge(&mut publisher).await.unwrap_err();
    assert_eq!(error.retry(), RetryClass::Backoff, "{error:?}");
    assert_eq!(error.kind(), FailureKind::Unreachable);
    assert_eq!(
        server.get("/large.bin").await.0,
        503,
        "nothing is half published"
    );
    relay.mend();
    let report = site.publish(&mut publisher).await;
    assert_eq!(report.counts.added, 21);
    let all: u64 = 20 * 900_000 + LARGE_FILE_BYTES * 3;
    assert!(
        report.wire.sent < all,
        "{} of {all} bytes",
        report.wire.sent
    );
    let large = server.get("/large.bin").await.1;
    assert!(large == noise(LARGE_FILE_BYTES * 3, 99));
    assert!(server.get("/img/19.png").await.1 == noise(900_000, 19));
}

#[tokio::test]
async fn a_file_that_changed_since_the_scan_is_not_published() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[("a", "scanned")]);
    site.write("large.bin", &noise(LARGE_FILE_BYTES, 1));
    let scanned = site.manifest();
    let mut publisher = publisher(&server.url());
    // Of the same size: only the server can tell while it is streamed.
    site.write("large.bin", &noise(LARGE_FILE_BYTES, 2));
    for changed in ["large.bin", "a"] {
        let outcome = publisher
            .converge(&site.local(&scanned), Scope::Whole)
            .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.retry(), RetryClass::Rescan);
        assert_eq!(
            error.to_string(),
            format!("{changed} changed since it was scanned")
        );
        site.write("large.bin", &noise(LARGE_FILE_BYTES, 1));
        site.write("a", b"changed");
    }
    assert_eq!(server.get("/a").await.0, 503);
    site.publish(&mut publisher).await;
    assert_eq!(server.get("/a").await.1, b"changed");
}

#[tokio::test]
async fn the_guard_is_asked_about_each_base() {
    let server = TestServer::start().await;
    let names: Vec<String> = (0..20).map(|n| format!("{n}.html")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let ann = TestSite::new(&files);
    let bob = TestSite::new(&[("index.html", "bob")]);
    let mut bob_publisher = publisher(&server.url());
    bob_publisher.refresh().await.unwrap();
    ann.publish(&mut publisher(&server.url())).await;
    let manifest = bob.manifest();
    let mut local = bob.local(&manifest);
    local.removals = crate::guard::Removals::UpTo(50);
    let outcome = bob_publisher.converge(&local, Scope::Whole).await.unwrap();
    assert!(
        matches!(
            outcome,
            Converged::Held {
                removes: 20,
                of: 20
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(server.get("/3.html").await.0, 200);
}

#[tokio::test]
async fn deploys_are_listed_and_gone_back_to() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[("a", "1"), ("b", "1")]);
    let mut publisher = publisher(&server.url());
    let first = site.publish(&mut publisher).await.deploy_id;
    site.write("a", b"2");
    let second = site.publish(&mut publisher).await.deploy_id;
    let deploys = publisher.deploys().await.unwrap();
    let ids: Vec<String> = deploys
        .iter()
        .map(|deploy| deploy.deploy_id.to_string())
        .collect();
    assert_eq!(ids, [second.clone(), first.clone()]);
    assert_eq!(deploys[0].published_by.as_deref(), Some("ann@desk"));
    let detail = publisher.deploy(deploys[0].deploy_id).await.unwrap();
    assert_eq!(
        detail
            .changed
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["a"]
    );
    let rolled_back = publisher.rollback(None).await.unwrap();
    assert_eq!(
        (rolled_back.deploy_id, rolled_back.previous),
        (first.clone(), Some(second.clone()))
    );
    assert_eq!(server.get("/a").await.1, b"1");
    let forward = publisher.rollback(Some(&second)).await.unwrap();
    assert_eq!(forward.deploy_id, second);
    let error = publisher.rollback(Some("1-00000000")).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Refused, "{error:?}");
    publisher.rollback(Some(&first)).await.unwrap();
    let error = publisher.rollback(None).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Refused, "{error:?}");
}

#[tokio::test]
async fn a_wrong_secret_names_where_it_was_read() {
    let server = TestServer::start().await;
    let wrong = Endpoint {
        secret: onsave_protocol::Secret::from_text("another").unwrap(),
        ..endpoint(&server.url())
    };
    let error = Publisher::new(wrong).unwrap().refresh().await.unwrap_err();
    assert!(
        matches!(error, PublishError::WrongSecret { .. }),
        "{error:?}"
    );
    assert!(error.hint().contains("variable ONSAVE_SYNC_SECRET"));
    assert!(!format!("{error:?}{error}").contains("another"));
}

#[tokio::test]
async fn clocks_that_differ_are_both_named() {
    let server = TestServer::start().await;
    let mut publisher = publisher(&server.url());
    let signer = Signer::with_clock(super::harness::secret(), || {
        std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
    });
    let session = Session::with_signer(endpoint(&server.url()), signer).unwrap();
    publisher.session = std::sync::Arc::new(session);
    let error = publisher.refresh().await.unwrap_err();
    let PublishError::ClockSkew { server, local, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(server.contains("GMT"), "{server}");
    assert_eq!(local, "2001-09-09T01:46:40Z");
}

#[tokio::test]
async fn a_server_that_is_down_is_told_from_one_that_is_something_else() {
    let mut server = TestServer::start().await;
    let url = server.url();
    server.stop().await;
    let error = publisher(&url).refresh().await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unreachable);
    assert_eq!(error.to_string(), format!("no answer from {url}"));
    assert!(error.hint().contains("curl"));

    let listener = std::net::TcpListener::bind(server.address()).unwrap();
    let page = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4_096];
        let length = std::io::Read::read(&mut stream, &mut request).unwrap();
        assert!(length > 0);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
        stream.write_all(answer).unwrap();
    });
    let error = publisher(&url).refresh().await.unwrap_err();
    assert!(
        matches!(error, PublishError::NotOnsave { status: 200, .. }),
        "{error:?}"
    );
    page.join().unwrap();
}

#[tokio::test]
async fn what_was_published_is_seen_by_visitors() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[("blog/index.html", "one"), ("old.html", "old")]);
    let mut publisher = publisher(&server.url());
    let report = site.publish(&mut publisher).await;
    let verifier = LiveVerifier::new(&server.url()).unwrap();
    let first = LiveCheck::of(&report.changeset).unwrap();
    assert!(matches!(
        verifier.verify(&first).await,
        LiveVerdict::Live { .. }
    ));
    site.write("blog/index.html", b"two");
    site.publish(&mut publisher).await;
    assert!(matches!(
        verifier.verify(&first).await,
        LiveVerdict::Mismatch { .. }
    ));
    assert!(!first.holds_for(publisher.remote().unwrap().manifest()));
    site.remove("old.html");
    let report = site.publish(&mut publisher).await;
    let gone = LiveCheck::of(&report.changeset).unwrap();
    assert!(matches!(
        verifier.verify(&gone).await,
        LiveVerdict::Live { .. }
    ));
}
