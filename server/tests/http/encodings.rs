//! Encoded answers: which form is sent, and by which tag it is told.

use std::io::{Read as _, Write as _};

use crate::harness::{Answer, Request, TestServer};

fn text() -> String {
    let lines: Vec<String> = (0..500)
        .map(|n| format!("<p>line {n} of a page\n"))
        .collect();
    lines.concat()
}

fn decoded(answer: &Answer) -> String {
    let bytes = &answer.body;
    let mut plain = Vec::new();
    match answer.header("content-encoding") {
        None => plain.clone_from(bytes),
        Some("br") => brotli::BrotliDecompress(&mut &bytes[..], &mut plain).unwrap(),
        Some("zstd") => plain = zstd::decode_all(&bytes[..]).unwrap(),
        Some("gzip") => {
            let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
            decoder.read_to_end(&mut plain).unwrap();
        }
        Some(other) => panic!("{other}"),
    }
    String::from_utf8(plain).unwrap()
}

fn accepting(target: &str, codings: &str) -> Request {
    Request::get(target).header("accept-encoding", codings)
}

#[tokio::test]
async fn text_is_sent_as_the_peer_likes_it_best() {
    let server = TestServer::start().await;
    let text = text();
    server
        .publish(&[("index.html", &text), ("photo.png", &text)])
        .await;
    let mut connection = server.connect().await;
    let mut tags = Vec::new();
    for (codings, expected) in [
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip, zstd", Some("zstd")),
        ("gzip", Some("gzip")),
        ("identity", None),
        ("identity;q=0, br;q=0", None),
    ] {
        let answer = connection.send(accepting("/", codings)).await;
        assert_eq!(answer.header("content-encoding"), expected, "{codings}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert_eq!(decoded(&answer), text);
        assert!(expected.is_none() || answer.body.len() < text.len() / 4);
        let etag = answer.header("etag").unwrap().to_owned();
        assert!(etag.starts_with('"'), "strong: {etag}");
        // The tag holds for this form, and for no other.
        let again = accepting("/", codings).header("if-none-match", &etag);
        let again = connection.send(again).await;
        assert_eq!(
            (again.status, again.header("etag")),
            (304, Some(etag.as_str()))
        );
        assert_eq!(again.header("vary"), Some("accept-encoding"));
        let head = Request::new("HEAD", "/").header("accept-encoding", codings);
        let head = connection.send(head).await;
        assert_eq!(head.headers, answer.headers);
        tags.push(etag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "one for each form: {tags:?}");
    // What is compressed already is sent as it is, and varies with nothing.
    let answer = connection.send(accepting("/photo.png", "br")).await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("vary"), None);
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    server.stop().await;
}

#[tokio::test]
async fn text_that_leaves_unencoded_is_marked_where_a_proxy_may_encode_it() {
    let server = TestServer::start().await;
    // Too short for any coding to make it shorter.
    server.publish(&[("a.txt", "a")]).await;
    let mut connection = server.connect().await;
    let answer = connection.send(accepting("/a.txt", "gzip, br")).await;
    assert_eq!(
        (answer.header("content-encoding"), answer.text().as_str()),
        (None, "a")
    );
    let weak = answer.header("etag").unwrap().to_owned();
    assert!(weak.starts_with("W/"), "{weak}");
    let again = accepting("/a.txt", "gzip, br").header("if-none-match", &weak);
    assert_eq!(connection.send(again).await.status, 304);
    let plain = connection.send(Request::get("/a.txt")).await;
    assert!(plain.header("etag").unwrap().starts_with('"'));
    server.stop().await;
}

#[tokio::test]
async fn siblings_in_the_site_are_used() {
    let server = TestServer::start().await;
    let text = text();
    let first = server.publish(&[("app.js", &text)]).await;
    let encoded = |gzip: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(gzip.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let sibling = encoded(&text);
    let put = crate::harness::put(
        "app.js.gz",
        &sibling,
        onsave_protocol::wire::v2::Source::Inline,
    );
    let header = onsave_protocol::wire::v2::ChangesetHeader {
        puts: vec![put],
        ..Default::default()
    };
    let request = crate::harness::changeset_of(Some(first.deploy_id), &header, &sibling);
    assert_eq!(server.send(request).await.status, 200);
    let mut connection = server.connect().await;
    let answer = connection.send(accepting("/app.js", "gzip")).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(
        answer.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(answer.body, sibling);
    // What has no sibling is made.
    let answer = connection.send(accepting("/app.js", "gzip, br")).await;
    assert_eq!(answer.header("content-encoding"), Some("br"));
    assert_eq!(decoded(&answer), text);
    server.stop().await;
}

#[tokio::test]
async fn siblings_that_are_none_are_not_used() {
    let server = TestServer::start().await;
    let text = text();
    // Empty, the file itself, and larger than it.
    server
        .publish(&[
            ("app.js", &text),
            ("app.js.br", ""),
            ("app.js.gz", &text),
            ("app.js.zst", &text.repeat(2)),
        ])
        .await;
    let mut connection = server.connect().await;
    for coding in ["br", "gzip", "zstd"] {
        let answer = connection.send(accepting("/app.js", coding)).await;
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(decoded(&answer), text, "{coding}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_sibling_that_changes_is_news_and_has_a_tag_of_its_own() {
    let server = TestServer::start().await;
    let text = text();
    server
        .publish(&[("app.js", &text), ("app.js.br", "1"), ("app.js.gz", "1")])
        .await;
    let mut connection = server.connect().await;
    let first = connection.send(accepting("/app.js", "br")).await;
    let other = connection.send(accepting("/app.js", "gzip")).await;
    assert_eq!((first.text(), other.text()), ("1".into(), "1".into()));
    assert_ne!(first.header("etag"), other.header("etag"));
    let modified = first.header("last-modified").unwrap().to_owned();
    server.publish(&[("app.js.br", "2")]).await;
    let again = accepting("/app.js", "br").header("if-modified-since", &modified);
    let again = connection.send(again).await;
    assert_eq!((again.status, again.text().as_str()), (200, "2"));
    server.stop().await;
}

#[tokio::test]
async fn many_ask_for_a_variant_that_is_made_once() {
    let server = TestServer::start().await;
    let text = text().repeat(40);
    server.publish(&[("index.html", &text)]).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let address = server.address;
        asking.spawn(async move {
            let mut connection = crate::harness::Connection::open(address).await;
            connection.send(accepting("/", "br")).await
        });
    }
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(decoded(&answer), text);
        // Beyond what is waited for at once, the page comes as it is, and marked.
        let weak = answer.header("etag").unwrap().starts_with("W/");
        assert_eq!(weak, answer.header("content-encoding").is_none());
    }
    server.stop().await;
}
