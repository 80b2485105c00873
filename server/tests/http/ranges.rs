//! Parts of files, and conditions, over real sockets.

use crate::harness::{Request, TestServer};

#[tokio::test]
async fn parts_of_small_and_large_files() {
    let server = TestServer::start().await;
    // One that is kept in memory, and one that is read from the volume in chunks.
    let numbers: Vec<String> = (0..1_000).map(|n| format!("{n:04}")).collect();
    let small = numbers.concat();
    let large = small.repeat(1_500);
    server
        .publish(&[
            ("small.bin", &small),
            ("large.bin", &large),
            ("empty.bin", ""),
        ])
        .await;
    let mut connection = server.connect().await;
    for (target, whole) in [("/small.bin", &small), ("/large.bin", &large)] {
        let length = whole.len();
        let end = length - 1;
        for (range, first, last) in [
            ("bytes=0-0".to_owned(), 0, 0),
            ("bytes=5-".to_owned(), 5, end),
            ("bytes=-7".to_owned(), length - 7, end),
            (format!("bytes=100-{}", length * 2), 100, end),
        ] {
            let request = Request::get(target).header("range", &range);
            let answer = connection.send(request.clone()).await;
            assert_eq!(answer.status, 206, "{range}");
            assert_eq!(answer.text(), whole[first..=last], "{range}");
            let expected = format!("bytes {first}-{last}/{length}");
            assert_eq!(answer.header("content-range"), Some(expected.as_str()));
            // HEAD has no part.
            let head = Request::new("HEAD", target).header("range", &range);
            assert_eq!(connection.send(head).await.status, 200);
        }
        let request = Request::get(target).header("range", "bytes=0-1,4-5,-2");
        let answer = connection.send(request).await;
        assert_eq!(answer.status, 206);
        assert_eq!(answer.header("content-range"), None);
        let kind = answer.header("content-type").unwrap();
        let boundary = kind
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        let parts = answer.text();
        let parts: Vec<&str> = parts.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 5);
        assert_eq!(parts[4], "--\r\n");
        for (part, (first, last)) in parts[1..4].iter().zip([(0, 1), (4, 5), (end - 1, end)]) {
            let (head, body) = part.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Range: bytes {first}-{last}/{length}")));
            assert_eq!(body, format!("{}\r\n", &whole[first..=last]));
        }
        let request = Request::get(target).header("range", &format!("bytes={length}-"));
        let answer = connection.send(request).await;
        assert_eq!(answer.status, 416);
        let expected = format!("bytes */{length}");
        assert_eq!(answer.header("content-range"), Some(expected.as_str()));
    }
    let request = Request::get("/empty.bin").header("range", "bytes=0-");
    assert_eq!(connection.send(request).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_part_is_of_the_form_that_its_tag_names() {
    let server = TestServer::start().await;
    let text = "some words that come again and again\n".repeat(400);
    server.publish(&[("page.txt", &text)]).await;
    let mut connection = server.connect().await;
    let get = || Request::get("/page.txt").header("accept-encoding", "br");
    let whole = connection.send(get()).await;
    let etag = whole.header("etag").unwrap().to_owned();
    let part = get().header("range", "bytes=3-9").header("if-range", &etag);
    let answer = connection.send(part).await;
    assert_eq!((answer.status, &answer.body[..]), (206, &whole.body[3..=9]));
    assert_eq!(answer.header("content-encoding"), Some("br"));
    assert_eq!(answer.header("etag"), Some(etag.as_str()));
    // The same tag says nothing about the bytes as they are.
    let plain = Request::get("/page.txt");
    let part = plain.header("range", "bytes=3-9").header("if-range", &etag);
    let answer = connection.send(part).await;
    assert_eq!((answer.status, answer.text()), (200, text.clone()));

    server.publish(&[("page.txt", "another")]).await;
    let part = get().header("range", "bytes=3-9").header("if-range", &etag);
    assert_eq!(connection.send(part).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn conditions_of_tags_and_dates() {
    let server = TestServer::start().await;
    server.publish(&[("a.bin", "first")]).await;
    let mut connection = server.connect().await;
    let answer = connection.send(Request::get("/a.bin")).await;
    let etag = answer.header("etag").unwrap().to_owned();
    let modified = answer.header("last-modified").unwrap().to_owned();
    let earlier = "Sat, 01 Jan 2000 00:00:00 GMT";
    for (pairs, expected) in [
        (vec![("if-match", etag.as_str())], 200),
        (vec![("if-match", "\"x\"")], 412),
        (vec![("if-unmodified-since", modified.as_str())], 200),
        (vec![("if-unmodified-since", earlier)], 412),
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", "\"x\"")], 200),
        (vec![("if-modified-since", modified.as_str())], 304),
        (vec![("if-modified-since", earlier)], 200),
        (
            vec![("if-none-match", "\"x\""), ("if-modified-since", &modified)],
            200,
        ),
        (vec![("if-match", "\"x\""), ("range", "bytes=0-1")], 412),
        (vec![("if-none-match", &etag), ("range", "bytes=0-1")], 304),
    ] {
        let mut request = Request::get("/a.bin");
        for (name, value) in &pairs {
            request = request.header(name, value);
        }
        assert_eq!(connection.send(request).await.status, expected, "{pairs:?}");
    }
    // However soon the next save comes, whoever asks by the time alone gets it.
    for content in ["second", "third", "first"] {
        server.publish(&[("a.bin", content)]).await;
        let request = Request::get("/a.bin").header("if-modified-since", &modified);
        let answer = connection.send(request).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, content));
    }
    server.stop().await;
}
