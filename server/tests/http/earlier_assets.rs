//! Pages that a visitor loaded before a publish still get their scripts and styles.

use std::time::Duration;

use crate::harness::{Request, TestServer};

const OLD: &str = "assets/app.3f9c2b1a.js";
const NEW: &str = "assets/app.77d0e4c2.js";

#[tokio::test]
async fn assets_of_kept_deploys_stay_reachable() {
    let server = TestServer::start().await;
    server
        .publish(&[
            (OLD, "old script"),
            ("about.html", "old page"),
            ("plain.js", "old plain"),
            ("404.html", "none"),
        ])
        .await;
    server
        .replace(&[(NEW, "new script")], &[OLD, "about.html", "plain.js"])
        .await;
    let mut connection = server.connect().await;
    for (target, expected) in [
        ("/assets/app.3f9c2b1a.js", (200, "old script")),
        ("/assets/app.77d0e4c2.js", (200, "new script")),
        // A page or a script without a hash in its name would be half the old site.
        ("/about", (404, "none")),
        ("/about.html", (404, "none")),
        ("/plain.js", (404, "none")),
    ] {
        let answer = connection.send(Request::get(target)).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            expected,
            "{target}"
        );
    }
    let answer = connection
        .send(Request::get("/assets/app.3f9c2b1a.js"))
        .await;
    assert_eq!(
        answer.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    // A catch-all rule does not take it away, and what is current under the name wins.
    server
        .publish(&[("_redirects", "/* /elsewhere 302\n")])
        .await;
    let answer = connection
        .send(Request::get("/assets/app.3f9c2b1a.js"))
        .await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "old script"));
    server.publish(&[(OLD, "other bytes")]).await;
    let answer = connection
        .send(Request::get("/assets/app.3f9c2b1a.js"))
        .await;
    assert_eq!(answer.text(), "other bytes");

    // It is there after a start, and also when going back makes the newer one an old one.
    server.replace(&[], &[OLD, "_redirects"]).await;
    let folder = server.stop().await;
    let server = TestServer::start_in(folder, |_| {}).await;
    let answer = server.send(Request::get("/assets/app.3f9c2b1a.js")).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "other bytes")
    );
    server.stop().await;
}

#[tokio::test]
async fn without_a_grace_there_is_only_what_is_current() {
    let server = TestServer::start_with(|config| config.serving.asset_grace = Duration::ZERO).await;
    server.publish(&[(OLD, "old script")]).await;
    server.replace(&[(NEW, "new script")], &[OLD]).await;
    let answer = server.send(Request::get("/assets/app.3f9c2b1a.js")).await;
    assert_eq!(answer.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn what_no_kept_deploy_has_is_gone() {
    let server = TestServer::start().await;
    server.publish(&[(OLD, "old script")]).await;
    server.replace(&[(NEW, "new script")], &[OLD]).await;
    for content in ["1", "2", "3", "4", "5"] {
        server.publish(&[("index.html", content)]).await;
    }
    let answer = server.send(Request::get("/assets/app.3f9c2b1a.js")).await;
    assert_eq!(answer.status, 404);
    server.stop().await;
}
