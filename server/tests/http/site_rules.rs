//! The site's own rules, over real sockets: `_redirects`, `_headers`, policies of addresses, fallbacks.

use onsave_server::config::{Fallback, SecurityHeaders, TrailingSlash};

use crate::harness::{Answer, Request, TestServer};

const PAGE: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// What an answer is, in one line: status, and where to or what.
fn shown(answer: &Answer) -> String {
    match answer.header("location") {
        Some(location) => format!("{} {location}", answer.status),
        None => format!("{} {}", answer.status, answer.text()),
    }
}

#[tokio::test]
async fn redirects_decide_what_is_answered() {
    let server = TestServer::start().await;
    let redirects = "\
        /old /new\n\
        /temp /new 302\n\
        /see /new 303\n\
        /keep /new 307\n\
        /move /new 308\n\
        /blog/* /news/:splat 301\n\
        /user/:name /people/:name.html 200\n\
        /store id=:id /item/:id 301\n\
        /page.html /elsewhere 301\n\
        /forced.html /elsewhere 301!\n\
        /gone /farewell.html 410\n\
        /away /nothing-here.html 410\n\
        /hidden /private.html 404\n\
        /proxy https://example.com/x 200\n\
        /out https://example.com/x 301\n";
    server
        .publish(&[
            ("_redirects", redirects),
            ("page.html", "page"),
            ("forced.html", "forced"),
            ("people/ann.html", "ann"),
            ("farewell.html", "it is gone"),
            ("private.html", "nobody here"),
            ("404.html", "not found"),
        ])
        .await;
    let mut connection = server.connect().await;
    for (target, expected) in [
        ("/old", "301 /new"),
        ("/old?a=1&b", "301 /new?a=1&b"),
        ("/old/", "301 /new"),
        ("/temp", "302 /new"),
        ("/see", "303 /new"),
        ("/keep", "307 /new"),
        ("/move", "308 /new"),
        ("/blog/a/b%20c", "301 /news/a/b%20c"),
        ("/blog//evil.example", "404 not found"),
        ("/user/ann", "200 ann"),
        ("/user/bob", "404 not found"),
        ("/store?id=7&x=1", "301 /item/7?x=1"),
        ("/store", "404 not found"),
        ("/page.html", "200 page"),
        ("/forced.html", "301 /elsewhere"),
        ("/gone", "410 it is gone"),
        ("/hidden", "404 nobody here"),
        ("/proxy", "404 not found"),
        ("/out", "301 https://example.com/x"),
        ("/_redirects", "404 not found"),
        ("/%5fredirects", "404 not found"),
    ] {
        let answer = connection.send(Request::get(target)).await;
        assert_eq!(shown(&answer), expected, "{target}");
    }
    let answer = connection.send(Request::get("/away")).await;
    assert_eq!(answer.status, 410);
    assert!(answer.text().contains("does not come back"));

    // The next save decides anew, and a rollback brings the rules back.
    let second = server.publish(&[("_redirects", "/old /newer 302\n")]).await;
    let answer = connection.send(Request::get("/old")).await;
    assert_eq!(shown(&answer), "302 /newer");
    let rollback = Request::new("POST", "/_icd/rollback").v2();
    assert_eq!(server.send(rollback).await.status, 200);
    assert_ne!(server.current(), Some(second.deploy_id));
    let answer = connection.send(Request::get("/old")).await;
    assert_eq!(shown(&answer), "301 /new");

    // And a start reads them again.
    let folder = server.stop().await;
    let server = TestServer::start_in(folder, |_| {}).await;
    let answer = server.send(Request::get("/old")).await;
    assert_eq!(shown(&answer), "301 /new");
    server.stop().await;
}

#[tokio::test]
async fn a_bad_line_takes_nothing_down() {
    let server = TestServer::start().await;
    server
        .publish(&[
            ("_redirects", "/a\n/b /c 999\n\u{0}\n/ok /fine\n"),
            ("_headers", "X-Stray: 1\n/x\n  bad name: 1\n  X-Good: 1\n"),
            ("x", "x"),
        ])
        .await;
    let answer = server.send(Request::get("/ok")).await;
    assert_eq!(shown(&answer), "301 /fine");
    let answer = server.send(Request::get("/x")).await;
    assert_eq!(answer.header("x-good"), Some("1"));
    server.stop().await;
}

#[tokio::test]
async fn header_rules_set_append_and_detach() {
    let server = TestServer::start().await;
    let headers = "\
        /*\n  X-All: yes\n  ! X-Frame-Options\n\
        /page\n  Cache-Control: public, max-age=60\n  Content-Security-Policy: default-src 'self'\n\
        /assets/*\n  X-Path: :splat\n  X-Twice: one\n  X-Twice: two\n\
        /none/*\n  X-Missing: yes\n  Cache-Control: max-age=99\n  Expires: x\n";
    server
        .publish(&[
            ("_headers", headers),
            ("page.html", "page"),
            ("assets/a.css", "a{}"),
            ("404.html", "nothing"),
        ])
        .await;
    let mut connection = server.connect().await;
    let answer = connection.send(Request::get("/page")).await;
    assert_eq!(answer.header("x-all"), Some("yes"));
    assert_eq!(answer.header("x-frame-options"), None);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(
        answer.header("content-security-policy"),
        Some("default-src 'self'")
    );
    let etag = answer.header("etag").unwrap().to_owned();
    let request = Request::get("/page").header("if-none-match", &etag);
    let answer = connection.send(request.clone()).await;
    assert_eq!(answer.status, 304);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    let answer = connection.send(Request::get("/assets/a.css")).await;
    assert_eq!(answer.header("x-path"), Some("a.css"));
    assert_eq!(answer.header("x-twice"), Some("one, two"));
    let answer = connection.send(Request::get("/none/at/all")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("x-missing"), Some("yes"));
    // It is meant for the file, and not for that there is none.
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("expires"), None);
    assert_eq!(connection.send(Request::get("/_headers")).await.status, 404);

    // Whoever has the page gets the headers of today, although its bytes are the same.
    server.publish(&[("_headers", "/page\n  X-New: 1\n")]).await;
    let answer = connection.send(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-new"), Some("1"));
    assert_eq!(answer.header("x-all"), None);
    server.stop().await;
}

#[tokio::test]
async fn caching_and_security_by_default() {
    let server = TestServer::start().await;
    let files = [
        ("index.html", "page"),
        ("app.3f9c2b1a.js", "1"),
        ("style.css", "a{}"),
        ("404.html", "none"),
    ];
    server.publish(&files).await;
    let mut connection = server.connect().await;
    for (target, cache, frames) in [
        ("/", "no-cache", Some("SAMEORIGIN")),
        (
            "/app.3f9c2b1a.js",
            "public, max-age=31536000, immutable",
            None,
        ),
        ("/style.css", "public, max-age=0, must-revalidate", None),
        ("/none", "no-cache", Some("SAMEORIGIN")),
    ] {
        let answer = connection.send(Request::get(target)).await;
        assert_eq!(answer.header("cache-control"), Some(cache), "{target}");
        assert_eq!(answer.header("x-frame-options"), frames, "{target}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let folder = server.stop().await;
    let off = |config: &mut onsave_server::ServerConfig| {
        config.serving.security_headers = SecurityHeaders::Off;
    };
    let server = TestServer::start_in(folder, off).await;
    let answer = server.send(Request::get("/")).await;
    assert_eq!(answer.header("x-frame-options"), None);
    assert_eq!(answer.header("x-content-type-options"), None);
    server.stop().await;
}

#[tokio::test]
async fn one_page_for_an_application_and_none_for_a_missing_asset() {
    let by_rule = TestServer::start().await;
    by_rule
        .publish(&[
            ("_redirects", "/* /index.html 200\n"),
            ("index.html", "app"),
            ("404.html", "none"),
        ])
        .await;
    let by_setting =
        TestServer::start_with(|config| config.serving.fallback = Fallback::SinglePage).await;
    by_setting
        .publish(&[("index.html", "app"), ("404.html", "none")])
        .await;
    for server in [by_rule, by_setting] {
        let mut connection = server.connect().await;
        for (target, accept, expected) in [
            ("/", PAGE, "200 app"),
            ("/some/route", PAGE, "200 app"),
            ("/some/route/", PAGE, "200 app"),
            ("/some/route", "*/*", "200 app"),
            ("/some/route", "application/json", "404 none"),
            ("/some/route", "text/html;q=0, */*", "404 none"),
            ("/missing.js", "*/*", "404 none"),
            ("/missing.png", "image/avif,*/*", "404 none"),
            ("/missing.js", PAGE, "404 none"),
        ] {
            let request = Request::get(target).header("accept", accept);
            let answer = connection.send(request).await;
            assert_eq!(shown(&answer), expected, "{target} {accept}");
            if target.starts_with("/some") {
                let vary = answer.header("vary").unwrap();
                assert!(vary.contains("accept-encoding") && vary.ends_with(", accept"));
            }
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn addresses_follow_the_policy() {
    let files = [
        ("about.html", "about"),
        ("blog/index.html", "blog"),
        ("index.html", "home"),
    ];
    for (policy, expected) in [
        (
            TrailingSlash::Auto,
            ["200 about", "308 /about?q", "308 /blog/", "200 blog"],
        ),
        (
            TrailingSlash::Never,
            ["200 about", "308 /about?q", "200 blog", "308 /blog"],
        ),
        (
            TrailingSlash::Always,
            ["308 /about/", "200 about", "308 /blog/", "200 blog"],
        ),
    ] {
        let server = TestServer::start_with(|config| config.serving.trailing_slash = policy).await;
        server.publish(&files).await;
        let targets = ["/about", "/about/?q", "/blog", "/blog/"];
        for (target, expected) in targets.into_iter().zip(expected) {
            let answer = server.send(Request::get(target)).await;
            assert_eq!(shown(&answer), expected, "{target} {policy:?}");
        }
        assert_eq!(shown(&server.send(Request::get("/")).await), "200 home");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_cache_never_takes_what_one_accepts_for_all() {
    let server = TestServer::start().await;
    // Without a page of its own for what is not there.
    server
        .publish(&[
            ("index.html", "app"),
            ("_redirects", "/* /index.html 200\n"),
            ("_headers", "/*\n  Cache-Control: public, max-age=600\n"),
        ])
        .await;
    let mut connection = server.connect().await;
    for (accept, status, cache) in [
        ("text/html", 200, "public, max-age=600"),
        ("application/json", 404, "no-cache"),
    ] {
        let request = Request::get("/route").header("accept", accept);
        let answer = connection.send(request).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("cache-control"), Some(cache));
        assert!(
            answer.header("vary").unwrap().ends_with("accept"),
            "{accept}"
        );
    }
    server.stop().await;
}
