//! The first generation: a server that hides its second, and a client that falls back.

use onsave_protocol::limits::LARGE_FILE_BYTES;

use super::harness::{Relay, Relaying, TestServer, TestSite, endpoint};
use crate::publish::{Converged, Generation, PublishError, Publisher, RetryClass, Scope};

async fn v1_server() -> (TestServer, Relay, Publisher) {
    let server = TestServer::start().await;
    let relay = Relay::before(server.address(), Relaying::FirstGeneration).await;
    let publisher = Publisher::new(endpoint(&relay.url())).unwrap();
    (server, relay, publisher)
}

#[tokio::test]
async fn the_client_falls_back() {
    let (server, _relay, mut publisher) = v1_server().await;
    let site = TestSite::new(&[
        ("index.html", "<p>one</p>"),
        ("a b/it's 100% ü+(1)&x=y.html", "odd"),
        ("docs", "a file"),
    ]);
    site.publish(&mut publisher).await;
    assert_eq!(publisher.generation(), Some(Generation::V1));
    site.remove("docs");
    site.write("docs/a.html", b"in a folder");
    site.write(
        "large.bin",
        &vec![7; usize::try_from(LARGE_FILE_BYTES).unwrap() * 2],
    );
    let report = site.publish(&mut publisher).await;
    assert_eq!((report.counts.added, report.counts.removed), (2, 1));
    assert_eq!(report.server, None);
    assert_eq!(server.get("/docs/a.html").await.1, b"in a folder");
    assert_eq!(
        server.get("/large.bin").await.1.len() as u64,
        2 * LARGE_FILE_BYTES
    );
    let odd = "/a%20b/it%27s%20100%25%20%C3%BC%2B(1)%26x%3Dy.html";
    assert_eq!(server.get(odd).await.1, b"odd");
    assert!(matches!(
        site.converge(&mut publisher).await,
        Ok(Converged::InStep)
    ));
}

#[tokio::test]
async fn what_others_published_is_seen_first() {
    let (server, _relay, mut publisher) = v1_server().await;
    let site = TestSite::new(&[("a", "1")]);
    site.publish(&mut publisher).await;
    let other = TestSite::new(&[("b", "2")]);
    other
        .publish(&mut Publisher::new(endpoint(&server.url())).unwrap())
        .await;
    site.write("a", b"3");
    site.publish(&mut publisher).await;
    assert_eq!(server.get("/b").await.0, 404);
    assert_eq!(server.get("/a").await.1, b"3");
}

#[tokio::test]
async fn a_failed_publish_is_aborted() {
    let (server, _relay, mut publisher) = v1_server().await;
    let site = TestSite::new(&[("a", "1")]);
    site.publish(&mut publisher).await;
    site.write(
        "large.bin",
        &vec![1; usize::try_from(LARGE_FILE_BYTES).unwrap()],
    );
    let scanned = site.manifest();
    site.write(
        "large.bin",
        &vec![2; usize::try_from(LARGE_FILE_BYTES).unwrap()],
    );
    let outcome = publisher
        .converge(&site.local(&scanned), Scope::Whole)
        .await;
    let error = outcome.unwrap_err();
    assert_eq!(error.retry(), RetryClass::Rescan, "{error:?}");
    assert_eq!(error.to_string(), "large.bin changed since it was scanned");
    assert_eq!(server.get("/large.bin").await.0, 404);
}

#[tokio::test]
async fn rollback_speaks_the_first_generation_and_lists_do_not() {
    let (server, _relay, mut publisher) = v1_server().await;
    let site = TestSite::new(&[("a", "1")]);
    let first = site.publish(&mut publisher).await.deploy_id;
    site.write("a", b"2");
    site.publish(&mut publisher).await;
    assert_eq!(publisher.rollback(None).await.unwrap().deploy_id, first);
    assert_eq!(server.get("/a").await.1, b"1");
    let error = publisher.deploys().await.unwrap_err();
    assert!(
        matches!(error, PublishError::NeedsSecondGeneration { .. }),
        "{error:?}"
    );
}
