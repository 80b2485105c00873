//! The site: what is served, with which headers.

use onsave_protocol::Sha256Digest;

use crate::harness::{Request, TestServer};

#[tokio::test]
async fn before_the_first_deploy_a_page_says_what_is_waited_for() {
    let server = TestServer::start().await;
    let answer = server.send(Request::get("/")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(answer.text().contains("Waiting for the first deploy"));
    server.stop().await;
}

#[tokio::test]
async fn files_have_validators_and_types() {
    let server = TestServer::start().await;
    server
        .publish(&[("index.html", "<p>hi"), ("a/app.js", "1")])
        .await;
    let mut connection = server.connect().await;
    let answer = connection.send(Request::get("/")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "<p>hi"));
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(answer.header("content-length"), Some("5"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let etag = answer.header("etag").unwrap().to_owned();
    let digest = Sha256Digest::of(b"<p>hi").to_hex();
    assert_eq!(etag, format!("\"{}\"", &digest[..32]));

    let head = connection.send(Request::new("HEAD", "/index.html")).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some("5"));
    assert_eq!(head.header("etag"), Some(etag.as_str()));

    let list = format!("\"x\", {etag}");
    for value in [etag.as_str(), "*", &list] {
        let request = Request::get("/").header("if-none-match", value);
        let answer = connection.send(request).await;
        assert_eq!(answer.status, 304, "{value}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
    }
    let request = Request::get("/").header("if-none-match", "\"x\"");
    assert_eq!(connection.send(request).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn pages_folders_and_what_is_not_there() {
    let server = TestServer::start().await;
    let plain = server
        .publish(&[("about.html", "about"), ("blog/index.html", "blog")])
        .await;
    assert_eq!(server.send(Request::get("/about")).await.text(), "about");
    assert_eq!(server.send(Request::get("/blog/")).await.text(), "blog");
    let answer = server.send(Request::get("/blog?x=1&y=%2F")).await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some("/blog/?x=1&y=%2F"));
    let answer = server.send(Request::get("/none")).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("There is no such page here"));

    let next = server
        .publish(&[("404.html", "root page"), ("blog/404.html", "blog page")])
        .await;
    assert_eq!(next.previous_deploy_id, Some(plain.deploy_id));
    for (target, text) in [("/none", "root page"), ("/blog/none/x", "blog page")] {
        let answer = server.send(Request::get(target)).await;
        assert_eq!((answer.status, answer.text().as_str()), (404, text));
        assert_eq!(
            answer.header("etag"),
            None,
            "a 404 is not the page's own address"
        );
    }
    let head = server.send(Request::new("HEAD", "/none")).await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (404, Some("9"))
    );
    server.stop().await;
}

#[tokio::test]
async fn other_methods_are_told_what_is_allowed() {
    let server = TestServer::start().await;
    server.publish(&[("index.html", "x")]).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "MADEUP"] {
        let answer = server.send(Request::new(method, "/")).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    for target in ["/", "/none", "*"] {
        let answer = server.send(Request::new("OPTIONS", target)).await;
        assert_eq!(answer.status, 204, "{target}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    server.stop().await;
}

#[tokio::test]
async fn large_files_are_streamed_whole() {
    let server = TestServer::start().await;
    // Over the size that is kept in memory, and no multiple of a chunk.
    let large = "0123456789abcdef".repeat(300_000) + "end";
    server
        .publish(&[("large.bin", &large), ("empty.txt", "")])
        .await;
    let mut connection = server.connect().await;
    let answer = connection.send(Request::get("/large.bin")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        Sha256Digest::of(&answer.body),
        Sha256Digest::of(large.as_bytes())
    );
    let head = connection.send(Request::new("HEAD", "/large.bin")).await;
    assert_eq!(
        head.header("content-length"),
        Some(large.len().to_string().as_str())
    );
    let answer = connection.send(Request::get("/empty.txt")).await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("0"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_damaged_object_is_never_served_as_if_it_were_whole() {
    let server = TestServer::start().await;
    // Over the size that is kept in memory.
    let large = "x".repeat(5_000_000);
    server
        .publish(&[("small.txt", "small"), ("large.txt", &large)])
        .await;
    let truncate = |content: &str| {
        let hex = Sha256Digest::of(content.as_bytes()).to_hex();
        let object = server
            .folder
            .path()
            .join("objects")
            .join(&hex[..2])
            .join(&hex);
        std::fs::remove_file(&object).unwrap();
        std::fs::write(object, &content[..content.len() / 2]).unwrap();
    };
    truncate("small");
    truncate(&large);
    assert_eq!(server.send(Request::get("/small.txt")).await.status, 500);
    let compressed = Request::get("/small.txt").header("accept-encoding", "br");
    assert_eq!(server.send(compressed).await.status, 500);
    let mut connection = server.connect().await;
    connection
        .write(&Request::get("/large.txt").head_bytes())
        .await;
    assert!(
        connection.read(false).await.is_none(),
        "the connection breaks off"
    );
    server.stop().await;
}
