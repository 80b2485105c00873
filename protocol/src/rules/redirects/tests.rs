//! Redirects as files and requests, and what comes of them.

use proptest::prelude::*;

use super::*;

/// Returns what a file answers a request, in one line.
fn answer(file: &str, request: &str) -> String {
    let (redirects, _) = Redirects::parse(file.as_bytes());
    shown(&redirects, request)
}

fn shown(redirects: &Redirects, request: &str) -> String {
    let (path, query) = match request.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request, None),
    };
    let Some(found) = redirects.find(path, query) else {
        return "nothing".into();
    };
    match found.into_action() {
        Action::Redirect { status, location } => format!("{} {location}", status.code()),
        Action::Rewrite {
            path,
            catch_all: CatchAll::No,
        } => format!("200 {path}"),
        Action::Rewrite {
            path,
            catch_all: CatchAll::Yes,
        } => format!("200 {path} for all"),
        Action::Status { code, path } => format!("{} {path}", code.code()),
    }
}

fn faults(file: &[u8]) -> Vec<(u32, &'static str)> {
    let (_, diagnostics) = Redirects::parse(file);
    diagnostics
        .iter()
        .map(|diagnostic| (diagnostic.line, diagnostic.code.as_str()))
        .collect()
}

/// Asserts that a file has no fault, and what it answers.
fn assert_answers(file: &str, cases: &[(&str, &str)]) {
    assert_eq!(faults(file.as_bytes()), [], "{file}");
    for (request, expected) in cases {
        assert_eq!(answer(file, request), *expected, "{file} on {request}");
    }
}

#[test]
fn statuses() {
    for (status, expected) in [
        ("", "301 /b"),
        ("301", "301 /b"),
        ("302", "302 /b"),
        ("303", "303 /b"),
        ("307", "307 /b"),
        ("308", "308 /b"),
        ("200", "200 /b"),
        ("404", "404 /b"),
        ("410", "410 /b"),
    ] {
        assert_answers(
            &format!("/a /b {status}"),
            &[("/a", expected), ("/c", "nothing")],
        );
    }
}

#[test]
fn force_is_told() {
    let (redirects, _) = Redirects::parse(b"/a /b 301!\n/c /d 200!\n/e /f 302");
    assert!(redirects.has_forced());
    let is_forced = |path| redirects.find(path, None).unwrap().is_forced();
    assert!(is_forced("/a") && is_forced("/c") && !is_forced("/e"));
    assert!(!Redirects::parse(b"/a /b 301").0.has_forced());
}

#[test]
fn comments_spaces_and_line_ends() {
    let file =
        "\u{feff}# all\r\n\r\n/a /b # why\r\n\t/c\t/d\t302\t#x\n   # more\n/e /f#g\n/h /i #j k";
    assert_answers(
        file,
        &[
            ("/a", "301 /b"),
            ("/c", "302 /d"),
            ("/e", "301 /f#g"),
            ("/h", "301 /i"),
        ],
    );
    let (redirects, _) = Redirects::parse(file.as_bytes());
    assert_eq!(redirects.len(), 4);
    assert_eq!(redirects.find("/c", None).unwrap().line(), 4);
}

#[test]
fn the_first_match_wins_whatever_its_kind() {
    assert_answers(
        "/a/:x /one/:x\n/a/b /two\n/* /three 200\n",
        &[
            ("/a/b", "301 /one/b"),
            ("/a/b/c", "200 /three for all"),
            ("/", "200 /three for all"),
        ],
    );
    assert_answers(
        "/a/b /two\n/a/:x /one/:x\n",
        &[("/a/b", "301 /two"), ("/a/c", "301 /one/c")],
    );
}

#[test]
fn splats_and_placeholders() {
    assert_answers(
        "/news/:year/:month/* /blog/:year-:month/:splat 302\n/x/* /y\n",
        &[
            ("/news/2024/05", "302 /blog/2024-05/"),
            ("/news/2024/05/a/b/", "302 /blog/2024-05/a/b/"),
            ("/news/2024", "nothing"),
            ("/x", "301 /y"),
            ("/x/", "301 /y"),
            ("/x/1/2", "301 /y"),
            ("/X/1", "nothing"),
        ],
    );
}

#[test]
fn slashes_at_the_end_do_not_count() {
    assert_answers(
        "/a /b\n/c/ /d",
        &[("/a/", "301 /b"), ("/c", "301 /d"), ("/c/", "301 /d")],
    );
}

#[test]
fn escapes_are_decoded_and_captures_encoded() {
    assert_answers(
        "/c%C3%A9line /about-c%C3%A9line\n/a%20b /a+b%20c\n/u/:name /v/:name\n/w/:name /x/:name 200\n",
        &[
            ("/c\u{e9}line", "301 /about-c%C3%A9line"),
            ("/ce\u{301}line", "301 /about-c%C3%A9line"),
            ("/a b", "301 /a+b%20c"),
            ("/u/a b?", "301 /v/a%20b"),
            ("/u/\u{e9}%\r\n", "301 /v/%C3%A9%25%0D%0A"),
            ("/w/a b\u{e9}", "200 /x/a b\u{e9}"),
        ],
    );
}

#[test]
fn queries_are_passed_on_unless_the_target_has_one() {
    assert_answers(
        "/a /b\n/c /d?x=1\n/e /f?\n/g https://h.example/i#j\n/k /l?x=1#m\n",
        &[
            ("/a?q=1&r=%20+", "301 /b?q=1&r=%20+"),
            ("/a?", "301 /b"),
            ("/c?q=1", "301 /d?x=1"),
            ("/e?q=1", "301 /f"),
            ("/g?q=1", "301 https://h.example/i?q=1#j"),
            ("/k?q=1", "301 /l?x=1#m"),
        ],
    );
}

#[test]
fn query_conditions() {
    let file = "/s id=:id tag=news /n/:id 301\n/s id=:id /b/:id\n/s id=7 /never 301\n/s /all\n/q v=:v /r?w=:v&x=1\n";
    assert_answers(
        file,
        &[
            ("/s?id=5", "301 /b/5"),
            ("/s?tag=news&id=5", "301 /n/5"),
            ("/s?id=5&tag=old&x=y", "301 /b/5?tag=old&x=y"),
            ("/s?id=", "301 /all?id="),
            ("/s", "301 /all"),
            ("/s?id=a+b%2Fc", "301 /b/a%20b/c"),
            ("/s?id=../x", "301 /all?id=../x"),
            ("/q?v=a%26b%3Dc", "301 /r?w=a%26b%3Dc&x=1"),
        ],
    );
    let (redirects, _) = Redirects::parse(file.as_bytes());
    assert!(redirects.has_query_conditions());
    assert!(!Redirects::parse(b"/a /b?c=d").0.has_query_conditions());
}

#[test]
fn a_target_may_be_left_out_below_a_folder() {
    assert_answers(
        "/api/* 200\n/* /index.html 200\n",
        &[
            ("/api/x", "200 /api/x"),
            ("/api", "200 /api/"),
            ("/x", "200 /index.html for all"),
        ],
    );
}

#[test]
fn a_visitor_never_chooses_the_host() {
    let file = "/a/* /:splat\n/b/:x /:x\n/q u=:u /:u\n/o/* https://o.example/:splat\n/p/* https://p.example:8443\n/s/* /:splat 200\n";
    assert_answers(
        file,
        &[
            ("/a//evil.example", "301 /evil.example"),
            ("/a///evil.example", "301 /evil.example"),
            ("/a/\\evil.example", "301 /%5Cevil.example"),
            ("/a/\t/evil.example", "301 /%09/evil.example"),
            ("/a/https://evil.example", "301 /https://evil.example"),
            ("/b/\\evil.example", "301 /%5Cevil.example"),
            ("/q?u=//evil.example", "301 /evil.example"),
            ("/q?u=%5C%5Cevil.example", "301 /%5C%5Cevil.example"),
            ("/o//evil.example", "301 https://o.example//evil.example"),
            ("/o/@evil.example", "301 https://o.example/@evil.example"),
            ("/p/@evil.example", "301 https://p.example:8443/"),
            ("/s//x", "200 /x"),
            ("/a/../x", "nothing"),
            ("/o/./x", "nothing"),
        ],
    );
}

#[test]
fn a_rule_to_the_very_address_is_passed_over() {
    assert_answers(
        "/a /a/\n/b/ /b\n/* /x\n/x /never-in-a-circle 404",
        &[
            ("/a", "301 /a/"),
            ("/a/", "301 /x"),
            ("/b/", "301 /b"),
            ("/b", "301 /x"),
            ("/x", "404 /never-in-a-circle"),
        ],
    );
    assert_answers(
        "/c /%63\n/d/* /d/:splat",
        &[("/c", "nothing"), ("/c/", "301 /c"), ("/d/e", "nothing")],
    );
    assert_answers("/a /a?x=1", &[("/a", "301 /a?x=1"), ("/a?x=1", "nothing")]);
    assert_answers(
        "/s q=:q /s?p=:q",
        &[("/s?q=1", "301 /s?p=1"), ("/s?p=1", "nothing")],
    );
}

#[test]
fn loops_are_found() {
    for file in [
        "/* /x/:splat",
        "/a/* /a/b/:splat 302",
        "/a/* /a/:splat/ 302",
    ] {
        assert_eq!(faults(file.as_bytes()), [(1, "redirect-loop")], "{file}");
        assert!(Redirects::parse(file.as_bytes()).0.is_empty(), "{file}");
    }
    let file = b"/a /b\n/b /c\n/c /a\n/d /a\n";
    let circle = [
        (1, "redirect-loop"),
        (2, "redirect-loop"),
        (3, "redirect-loop"),
    ];
    assert_eq!(faults(file), circle);
    assert_eq!(Redirects::parse(file).0.len(), 4);
    for file in [
        "/a /b\n/b /c\n",
        "/a https://o.example/a",
        "/* /a 200\n/a /b",
        "/a /a#b\n",
    ] {
        assert!(
            !faults(file.as_bytes()).contains(&(2, "redirect-loop")),
            "{file}"
        );
    }
}

#[test]
fn refusal_table() {
    for (line, code) in [
        ("/a", "missing-target"),
        ("/a # /b", "missing-target"),
        ("/a 301", "missing-target"),
        ("/a 200", "missing-target"),
        ("/a/* 301", "missing-target"),
        ("/a/* 404", "missing-target"),
        ("/a x=1", "missing-target"),
        ("/a b", "bad-target"),
        ("/a mailto:x@example.com", "bad-target"),
        ("/a //evil.example/x", "bad-target"),
        ("/a ftp://a.example", "bad-target"),
        ("/a https://", "bad-target"),
        ("/a https:///x", "bad-target"),
        ("/a https://us\u{e9}r.example", "bad-target"),
        ("/a https://me:pw@a.example/", "bad-target"),
        ("/a https://a.example:99999/", "bad-target"),
        ("/a https://a\\b.example/", "bad-target"),
        ("/:x https://:x.example/", "bad-target"),
        ("/* https://a.example:splat", "bad-target"),
        ("/a /b/../c", "bad-target"),
        ("/a /b/%2e%2e/c 200", "bad-target"),
        ("/a /b%2Fc 200", "bad-target"),
        ("/a /%FF 200", "bad-target"),
        ("/a /b%00 200", "bad-target"),
        ("/a /b\\c 404", "bad-target"),
        ("a /b", "bad-path"),
        ("//a /b", "bad-path"),
        ("/a?b=1 /c", "bad-path"),
        ("/a#b /c", "bad-path"),
        ("/a/../b /c", "bad-path"),
        ("/a/*/b /c", "bad-wildcard"),
        ("/a* /c", "bad-wildcard"),
        ("/:x.html /c", "bad-placeholder"),
        ("/:x/:x /c", "bad-placeholder"),
        ("/:x y=:x /c", "bad-placeholder"),
        ("/a y=:x-y /c", "bad-placeholder"),
        ("/a y=:x z=:x /c", "bad-placeholder"),
        ("https://a.example/* /b", "domain-rule"),
        ("/a /b 300", "bad-status"),
        ("/a /b 500", "bad-status"),
        ("/a /b 30x", "bad-status"),
        ("/a /b 301!!", "bad-status"),
        ("/a /b 0301", "bad-status"),
        ("/a /b !", "unexpected-token"),
        ("/a /b 301 x", "unexpected-token"),
        ("/a /b x=1", "unexpected-token"),
        ("/a /b /c", "unexpected-token"),
        ("/a /b 301 x=1", "unexpected-token"),
        ("/a https://b.example/ 200", "proxy"),
        ("/a/* https://b.example/:splat 200!", "proxy"),
        ("/a https://b.example/ 404", "proxy"),
        ("/a /b 200 Sign=KEY", "proxy"),
        ("/a /b 302 Country=us,ca", "unsupported-condition"),
        ("/a /b 302 country=us", "unsupported-condition"),
        ("/a /b Language=da", "unsupported-condition"),
        ("/a /b 200! Role=admin", "unsupported-condition"),
        ("/a /b 302 Cookie=beta", "unsupported-condition"),
        ("/a b /c", "bad-query-condition"),
        ("/a =1 /c", "bad-query-condition"),
        ("/a x=1 x=2 /c", "bad-query-condition"),
        ("/a x=%FF /c", "bad-query-condition"),
        ("/.netlify/functions/x /b", "reserved-path"),
        ("/a /.netlify/functions/x 200", "reserved-path"),
        ("/a /.netlify/identity 302", "reserved-path"),
        ("/_icd/* /b", "reserved-path"),
        ("/_icd /b", "reserved-path"),
        ("/a /_icd/health 200", "reserved-path"),
    ] {
        let file = format!("/before /1\n{line}\n/after /2\n");
        assert_eq!(faults(file.as_bytes()), [(2, code)], "{line}");
        assert_eq!(answer(&file, "/before"), "301 /1", "{line}");
        assert_eq!(answer(&file, "/after"), "301 /2", "{line}");
        assert_eq!(Redirects::parse(file.as_bytes()).0.len(), 2, "{line}");
    }
    assert_eq!(faults(b"/a /b\n/c\xff /d\n/e /f"), [(2, "not-utf8")]);
}

#[test]
fn warning_table() {
    for (line, code, request, expected) in [
        ("/a /b/:x", "unknown-placeholder", "/a", "301 /b/:x"),
        ("/a /b?x=:x", "unknown-placeholder", "/a", "301 /b?x=:x"),
        ("/a /b?x=1#y 200", "ignored-part", "/a", "200 /b"),
        (
            "/a country=us /b",
            "unsupported-condition",
            "/a?country=us",
            "301 /b",
        ),
    ] {
        assert_eq!(faults(line.as_bytes()), [(1, code)], "{line}");
        assert_eq!(answer(line, request), expected, "{line}");
    }
    let file = "/a /b\n/a/ /c\n/:x/d /e\n/:y/d /f\n/q a=1 b=:x /g\n/q b=:y a=1 /h\n/q a=1 /i\n";
    let duplicates = [2, 4, 6].map(|line| (line, "duplicate-rule"));
    assert_eq!(faults(file.as_bytes()), duplicates);
    assert_eq!(answer(file, "/a"), "301 /b");
    assert_eq!(answer(file, "/q?a=1"), "301 /i");
}

#[test]
fn ordinary_colons_are_text() {
    assert_answers(
        "/wiki/Special:Search /w/Special:Find\n/12:30 https://a.example:8080/:30\n",
        &[
            ("/wiki/Special:Search", "301 /w/Special:Find"),
            ("/12:30", "301 https://a.example:8080/:30"),
        ],
    );
}

#[test]
fn hosts() {
    for host in [
        "https://a.example",
        "http://a.example:80",
        "https://[2001:db8::1]:443",
        "https://localhost",
    ] {
        let expected = format!("301 {host}/x");
        assert_answers(&format!("/* {host}/:splat"), &[("/x", &expected)]);
        let expected = format!("301 {host}/?q=1");
        assert_answers(&format!("/a {host}"), &[("/a?q=1", &expected)]);
    }
}

#[test]
fn messages_name_what_is_not_supported() {
    for (line, word) in [
        ("/a /b 302 Country=us", "country"),
        ("/a /b 302 Language=da", "language"),
        ("/a /b 302 Role=admin", "role"),
        ("/a /b 302 Cookie=beta", "cookie"),
        ("/a https://b.example/ 200", "fetch from another host"),
    ] {
        let (_, diagnostics) = Redirects::parse(line.as_bytes());
        assert!(diagnostics[0].message.contains(word), "{diagnostics:?}");
    }
}

#[test]
fn many_rules_are_taken_and_more_are_refused() {
    let lines: Vec<String> = (0..=MAX_REDIRECT_RULES)
        .map(|number| format!("/old/{number} /new/{number}\n"))
        .collect();
    let file = lines.concat();
    let (redirects, diagnostics) = Redirects::parse(file.as_bytes());
    assert_eq!(redirects.len(), MAX_REDIRECT_RULES);
    assert_eq!(shown(&redirects, "/old/99999"), "301 /new/99999");
    assert_eq!(shown(&redirects, "/old/100000"), "nothing");
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].code, DiagnosticCode::TooManyRules);
    assert_eq!(diagnostics[0].line, 100_001);
}

#[test]
fn rules_that_begin_alike_have_a_limit() {
    for beginning in ["/:x/", "/one q="] {
        let lines: Vec<String> = (0..=MAX_REDIRECTS_ALIKE)
            .map(|number| format!("{beginning}{number} /new/{number}\n"))
            .collect();
        let file = format!("{}/last /new\n", lines.concat());
        let (redirects, diagnostics) = Redirects::parse(file.as_bytes());
        assert_eq!(redirects.len(), MAX_REDIRECTS_ALIKE + 1);
        let lines: Vec<u32> = diagnostics.iter().map(|found| found.line).collect();
        assert_eq!(lines, [u32::try_from(MAX_REDIRECTS_ALIKE).unwrap() + 1]);
        assert_eq!(diagnostics[0].code, DiagnosticCode::TooManyRules);
        assert_eq!(shown(&redirects, "/last"), "301 /new");
    }
}

#[test]
fn of_many_rules_few_are_tried() {
    let lines: Vec<String> = (0..10_000)
        .map(|number| format!("/old/{number} /new/{number}\n/moved/{number}/* /to/:splat\n"))
        .collect();
    let (redirects, _) = Redirects::parse(lines.concat().as_bytes());
    for path in ["/old/9999", "/moved/9999/a/b", "/nothing/here"] {
        let mut tried = 0;
        drop(redirects.find_and_count(path, None, &mut tried));
        assert!(tried <= 1, "{path}: {tried}");
    }
}

/// A file in which rules often meet the same paths.
fn file_of_rules() -> impl Strategy<Value = String> {
    let from = "(/(a|b|:x|:y)){0,2}(/\\*|/)?";
    let to = "/(a|b|c|:x|:splat)(/:y|/b)?";
    let rule = (from, "( q=(1|:q))?", to, "( (200|301|302!|404|410!|999))?").prop_map(
        |(from, query, to, status)| format!("/{from}{query} {to}{status}\n").replacen("//", "/", 1),
    );
    proptest::collection::vec(rule, 0..8).prop_map(|rules| rules.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_a_file(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        path in any::<String>(),
        query in proptest::option::of(any::<String>()),
    ) {
        let (redirects, diagnostics) = Redirects::parse(&bytes);
        let lines = bytes.split(|byte| *byte == b'\n').count();
        for diagnostic in diagnostics {
            prop_assert!((1..=lines).contains(&usize::try_from(diagnostic.line).unwrap()));
        }
        drop(redirects.find(&format!("/{path}"), query.as_deref()));
    }

    #[test]
    fn odd_lines_are_a_file(
        file in "([/a:*. ?#=%!&éhtps0-9\t\r-]{0,24}\n){0,6}",
        path in "/[/a:*.%é\\\\]{0,12}",
        query in proptest::option::of("[a=&%+:0-9]{0,12}"),
    ) {
        let (redirects, _) = Redirects::parse(file.as_bytes());
        drop(redirects.find(&path, query.as_deref()));
    }

    #[test]
    fn the_index_finds_what_a_look_at_each_rule_finds(
        file in file_of_rules(),
        path in "(/[ab]){0,3}/?",
        query in proptest::option::of("q=[12]"),
    ) {
        let path = format!("/{}", path.trim_start_matches('/'));
        let (redirects, _) = Redirects::parse(file.as_bytes());
        let parameters = Parameters::new(query.as_deref());
        let plainly = redirects
            .rules
            .iter()
            .find_map(|rule| Some((rule.line, rule.answer(&path, &parameters)?)));
        let found = redirects
            .find(&path, query.as_deref())
            .map(|found| (found.line(), found.into_action()));
        prop_assert_eq!(found, plainly);
    }

    #[test]
    fn a_location_is_sendable_and_stays_on_its_host(
        target in "(/:splat|/:x:splat|/a/:x\\?b=:splat#:x|https://a\\.example/:splat|/:x/:splat)",
        path in "/[/a\\\\@:%?#é\u{0}\r\n\t.]{0,12}",
        query in proptest::option::of("[a=&%#\\\\/é\r\n]{0,8}"),
    ) {
        let (redirects, _) = Redirects::parse(format!("/:x/* {target}").as_bytes());
        if let Some(found) = redirects.find(&path, query.as_deref()) {
            let Action::Redirect { location, .. } = found.action() else {
                panic!("{found:?}")
            };
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{}", location);
            let own = location.starts_with('/') && !location.starts_with("//");
            prop_assert!(own || location.starts_with("https://a.example/"), "{}", location);
            prop_assert!(!location.contains('\\'), "{}", location);
        }
    }

    #[test]
    fn no_answer_is_the_address_that_was_asked_for(file in file_of_rules(), path in "(/[abc]){1,3}/?") {
        let (redirects, _) = Redirects::parse(file.as_bytes());
        if let Some(found) = redirects.find(&path, None)
            && let Action::Redirect { location, .. } = found.action()
        {
            prop_assert_ne!(location, &path);
        }
    }

    #[test]
    fn a_rule_matches_its_own_example(file in file_of_rules()) {
        let (redirects, _) = Redirects::parse(file.as_bytes());
        for rule in &redirects.rules {
            prop_assert!(rule.from.captures(&rule.from.example()).is_some());
        }
    }
}
