//! Request targets that no proper client sends, as raw bytes.

use crate::harness::{Connection, TestServer};

/// Sends `target` as it is, and returns the status and what came with it.
async fn ask(server: &TestServer, target: &[u8]) -> (u16, String) {
    let mut connection = Connection::open(server.address).await;
    let request = [b"GET ", target, b" HTTP/1.1\r\nhost: x\r\n\r\n"].concat();
    connection.write(&request).await;
    let answer = connection.read(false).await.unwrap();
    let text = answer.text();
    (answer.status, text)
}

#[tokio::test]
async fn no_target_leaves_the_site() {
    let server = TestServer::start().await;
    server.publish(&[("index.html", "home"), ("a/b.html", "page")]).await;
    std::fs::write(server.folder.path().join("outside.txt"), "outside").unwrap();
    let long = [b"/", "x".repeat(20_000).as_bytes()].concat();
    let deep = [b"/", "../".repeat(1_000).as_bytes(), b"etc/passwd"].concat();
    let targets: &[&[u8]] = &[
        b"/../outside.txt",
        b"/../../outside.txt",
        b"/a/../../outside.txt",
        b"/a/../index.html",
        b"/./index.html",
        b"/%2e%2e/outside.txt",
        b"/%2e%2e%2foutside.txt",
        b"/..%2foutside.txt",
        b"/%252e%252e/outside.txt",
        b"/a%2fb.html",
        b"/..\\outside.txt",
        b"/..%5coutside.txt",
        b"/index.html%00",
        b"/%00",
        b"/\0",
        b"//outside.txt",
        b"//evil.example/a",
        b"/a//b.html",
        b"/\xff\xfe",
        b"/%ff%fe",
        b"/%c0%ae%c0%ae/outside.txt",
        b"/%",
        b"/%zz",
        b"*",
        b"outside.txt",
        b"../outside.txt",
        b"file:///etc/passwd",
        b"/_icd/../index.html",
        b"/_icdx/index.html",
        b"/_icd",
        b"/objects",
        b"/head",
        b"/current/index.html",
        &long,
        &deep,
    ];
    for target in targets {
        let shown = String::from_utf8_lossy(target);
        let (status, text) = ask(&server, target).await;
        assert!(matches!(status, 400 | 404 | 414), "{status} for {shown}");
        for content in ["outside", "home", "page<", "root:"] {
            assert!(!text.contains(content), "{content} for {shown}");
        }
    }
    assert_eq!(ask(&server, b"/a/b").await, (200, "page".into()));
    assert_eq!(ask(&server, b"http://x/a/b").await, (200, "page".into()));
    server.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_http_get_a_refusal_and_the_end() {
    let server = TestServer::start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ] {
        let mut connection = server.connect().await;
        connection.write(garbage).await;
        let answer = connection.read(false).await;
        assert!(answer.is_none_or(|answer| answer.status == 400));
        assert!(connection.is_closed().await);
    }
    server.stop().await;
}
