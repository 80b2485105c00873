//! A server that moved on while the publisher was not looking: somebody else published or went back.

use onsave_protocol::SitePath;

use super::harness::{TestServer, TestSite, endpoint};
use crate::{
    guard::Removals,
    publish::{Converged, Publisher, Scope},
};

fn publisher(url: &str) -> Publisher {
    Publisher::new(endpoint(url)).unwrap()
}

#[tokio::test]
async fn what_is_there_already_is_sent_again_when_somebody_replaced_it() {
    let server = TestServer::start().await;
    let site = TestSite::new(&[("a", "first")]);
    let mut daemon = publisher(&server.url());
    site.publish(&mut daemon).await;
    site.write("a", b"second");
    site.publish(&mut publisher(&server.url())).await;
    // Back to what the daemon knows the server to have, which it has no more.
    site.write("a", b"first");
    let manifest = site.manifest();
    let paths = [SitePath::parse("a").unwrap()];
    let outcome = daemon
        .converge(&site.local(&manifest), Scope::Paths(&paths))
        .await;
    assert!(
        matches!(outcome, Ok(Converged::Published(_))),
        "{outcome:?}"
    );
    assert_eq!(server.get("/a").await.1, b"first");
}

#[tokio::test]
async fn removals_that_a_person_allowed_elsewhere_are_not_held_any_more() {
    let server = TestServer::start().await;
    let names: Vec<String> = (0..20).map(|n| format!("{n}.html")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let site = TestSite::new(&files);
    let mut daemon = publisher(&server.url());
    site.publish(&mut daemon).await;
    for name in &names[1..] {
        site.remove(name);
    }
    let owed: Vec<_> = names
        .iter()
        .map(|name| SitePath::parse(name).unwrap())
        .collect();
    let manifest = site.manifest();
    let mut local = site.local(&manifest);
    local.removals = Removals::UpTo(50);
    let outcome = daemon.converge(&local, Scope::Paths(&owed)).await;
    assert!(matches!(outcome, Ok(Converged::Held { .. })), "{outcome:?}");

    site.publish(&mut publisher(&server.url())).await;
    site.write("0.html", b"the next save");
    let manifest = site.manifest();
    let mut local = site.local(&manifest);
    local.removals = Removals::UpTo(50);
    let outcome = daemon.converge(&local, Scope::Paths(&owed)).await;
    assert!(
        matches!(outcome, Ok(Converged::Published(_))),
        "{outcome:?}"
    );
    assert_eq!(server.get("/0.html").await.1, b"the next save");
}
