//! Header rules as files and what they do to a path.

use proptest::prelude::*;

use super::*;

/// Returns what is done to a path, one step a line: `=` sets, `+` appends, `-` takes away.
fn steps(file: &str, path: &str) -> Vec<String> {
    let (rules, _) = HeaderRules::parse(file.as_bytes());
    shown_steps(&rules, path)
}

fn shown_steps(rules: &HeaderRules, path: &str) -> Vec<String> {
    rules
        .for_path(path)
        .iter()
        .map(|step| match step {
            HeaderStep::Set { name, value } => format!("={name}: {value}"),
            HeaderStep::Append { name, value } => format!("+{name}: {value}"),
            HeaderStep::Detach { name } => format!("-{name}"),
        })
        .collect()
}

fn faults(file: &[u8]) -> Vec<(u32, &'static str)> {
    let (_, diagnostics) = HeaderRules::parse(file);
    diagnostics
        .iter()
        .map(|diagnostic| (diagnostic.line, diagnostic.code.as_str()))
        .collect()
}

#[test]
fn blocks_that_match_count_in_the_order_of_the_file() {
    let file = "\u{feff}# all\r\n/*\r\n  X-A: 1\r\n\tx-b:2\r\n\n/docs/*\n  X-A: 3\n  ! X-B\n/docs/:page\n  X-Page: :page\n";
    assert_eq!(faults(file.as_bytes()), []);
    assert_eq!(steps(file, "/"), ["=x-a: 1", "=x-b: 2"]);
    assert_eq!(
        steps(file, "/docs/a"),
        ["=x-a: 1", "=x-b: 2", "-x-b", "+x-a: 3", "=x-page: a"]
    );
    assert_eq!(steps(file, "no path"), Vec::<String>::new());
}

#[test]
fn values_of_one_block_are_joined() {
    let file = "/a\n  Cache-Control: max-age=0\n  cache-control: no-cache\n  X: a\n  X: b, c\n";
    assert_eq!(
        steps(file, "/a"),
        ["=cache-control: max-age=0, no-cache", "=x: a, b, c"]
    );
}

#[test]
fn detaching_comes_first_in_its_block() {
    let file = "/a\n  X: 1\n  ! X\n  !  Y\n  !Y\n";
    assert_eq!(steps(file, "/a"), ["-x", "-y", "=x: 1"]);
}

#[test]
fn cookies_stay_apart_and_vary_grows() {
    let file = "/*\n  Set-Cookie: a=1\n  Set-Cookie: b=2\n  Vary: Origin\n/a\n  Set-Cookie: c=3\n  Vary: Cookie\n";
    assert_eq!(
        steps(file, "/a"),
        [
            "+set-cookie: a=1",
            "+set-cookie: b=2",
            "+vary: Origin",
            "+set-cookie: c=3",
            "+vary: Cookie"
        ]
    );
}

#[test]
fn of_a_header_with_one_value_the_last_counts() {
    let file = "/*\n  X-Frame-Options: DENY\n/a\n  X-Frame-Options: SAMEORIGIN\n  Content-Type: text/plain\n  Content-Type: text/css\n";
    assert_eq!(
        steps(file, "/a"),
        [
            "=x-frame-options: DENY",
            "=x-frame-options: SAMEORIGIN",
            "=content-type: text/css"
        ]
    );
    assert_eq!(faults(file.as_bytes()), [(6, "repeated-header")]);
}

#[test]
fn captures_are_put_into_values() {
    let file = "/movies/:title/*\n  X-Title: :title-:splat\n  Link: </:splat>; rel=canonical\n  X: :other\n";
    assert_eq!(
        steps(file, "/movies/a b/c,d;e/é"),
        [
            "=x-title: a%20b-c%2Cd%3Be/%C3%A9",
            "=link: </c%2Cd%3Be/%C3%A9>; rel=canonical",
            "=x: :other"
        ]
    );
    assert_eq!(steps("/*\n X: :splat\n Y: 1", "/"), ["=y: 1"]);
    let file = "/a/*/b/*\n  X: :splat\n  Y: :splatter\n";
    assert_eq!(faults(file.as_bytes()), [(2, "bad-placeholder")]);
    assert_eq!(steps(file, "/a/1/b/2"), ["=y: :splatter"]);
}

#[test]
fn paths_match_as_patterns_do() {
    for (pattern, path, matches) in [
        ("/a", "/a", true),
        ("/a", "/a/", true),
        ("/a", "/A", false),
        ("/*.css", "/x/y.css", true),
        ("/*.css", "/x/y.css.map", false),
        ("/a/*/z", "/a/b/c/z", true),
        ("/a b # note", "/a b", true),
        ("/a#b", "/a#b", false),
        ("/bl%C3%A5", "/bl\u{e5}", true),
        ("/bl\u{e5}", "/bla\u{30a}", true),
    ] {
        let file = format!("{pattern}\n  X: 1\n");
        assert_eq!(
            !steps(&file, path).is_empty(),
            matches,
            "{pattern} on {path}"
        );
    }
}

#[test]
fn fault_table() {
    for (file, expected) in [
        ("X: 1\n/a\n Y: 2", vec![(1, "header-without-path")]),
        ("/a\n\n# nothing\n/b\n X: 1", vec![(1, "empty-block")]),
        ("/a", vec![(1, "empty-block")]),
        (
            "https://a.example/*\n X: 1\n Y: 1\n/b\n X: 1",
            vec![(1, "domain-rule")],
        ),
        ("http://a.example\n X: 1", vec![(1, "domain-rule")]),
        ("/_icd/*\n X: 1", vec![(1, "reserved-path")]),
        ("/:a.html\n X: 1", vec![(1, "bad-placeholder")]),
        ("//a\n X: 1", vec![(1, "bad-path")]),
        (
            "/a\n nonsense",
            vec![(1, "empty-block"), (2, "bad-header-line")],
        ),
        ("/a\n X: 1\n Y:", vec![(3, "bad-header-line")]),
        ("/a\n X: 1\n : y", vec![(3, "bad-header-name")]),
        ("/a\n X: 1\n a b: y", vec![(3, "bad-header-name")]),
        ("/a\n X: 1\n !", vec![(3, "bad-header-name")]),
        ("/a\n X: 1\n ! a: b", vec![(3, "bad-header-name")]),
        ("/a\n X: 1\n é: b", vec![(3, "bad-header-name")]),
        ("/a\n X: 1\n Y: é", vec![(3, "bad-header-value")]),
        ("/a\n X: 1\n Y: a\u{1}b", vec![(3, "bad-header-value")]),
        (
            "/a\n X: 1\n Content-Length: 0",
            vec![(3, "reserved-header")],
        ),
        (
            "/a\n X: 1\n transfer-encoding: chunked",
            vec![(3, "reserved-header")],
        ),
        ("/a\n X: 1\n ! ETag", vec![(3, "reserved-header")]),
        ("/a\n X: 1\n ! Vary", vec![(3, "reserved-header")]),
        (
            "/a\n X: 1\n Basic-Auth: me:secret",
            vec![(3, "reserved-header")],
        ),
        ("/a\n X:https://a.example", vec![]),
        ("/a\n X: 1\n ://y", vec![(3, "bad-header-name")]),
        ("/a\n Link: <https://a.example/>; rel=x", vec![]),
    ] {
        assert_eq!(faults(file.as_bytes()), expected, "{file}");
    }
    assert_eq!(faults(b"/a\n X: 1\n Y: \xff\n Z: 1"), [(3, "not-utf8")]);
}

#[test]
fn a_password_is_not_repeated() {
    for file in ["/a\n Basic-Auth: me:secret", "Basic-Auth: me:secret"] {
        let (_, diagnostics) = HeaderRules::parse(file.as_bytes());
        assert!(
            diagnostics
                .iter()
                .all(|found| !found.message.contains("secret"))
        );
    }
}

#[test]
fn lines_over_the_limit_are_refused() {
    let lines = (0..=MAX_HEADER_LINES).map(|number| format!("X-{number}: 1\n"));
    let file: String = std::iter::once("/*\n".to_owned()).chain(lines).collect();
    let expected = u32::try_from(MAX_HEADER_LINES).unwrap() + 2;
    assert_eq!(faults(file.as_bytes()), [(expected, "too-many-rules")]);
    let (rules, _) = HeaderRules::parse(file.as_bytes());
    assert_eq!(rules.for_path("/").len(), MAX_HEADER_LINES);
}

proptest! {
    #[test]
    fn any_bytes_are_a_file(bytes in proptest::collection::vec(any::<u8>(), 0..300), path in any::<String>()) {
        let (rules, diagnostics) = HeaderRules::parse(&bytes);
        let lines = bytes.split(|byte| *byte == b'\n').count();
        for diagnostic in diagnostics {
            prop_assert!((1..=lines).contains(&usize::try_from(diagnostic.line).unwrap()));
        }
        drop(rules.for_path(&format!("/{path}")));
    }

    #[test]
    fn every_value_can_be_sent(
        file in "(/[a:*]{0,3}(/[a-c:*é]{0,3}){0,2}\n( ?(X|Set-Cookie|Vary|! X)(:|: ):?[a-c, é]{0,5}:splat\n){0,3}){0,4}",
        path in "/[a-c,;\"\r\né/]{0,10}",
    ) {
        let (rules, _) = HeaderRules::parse(file.as_bytes());
        for step in rules.for_path(&path) {
            let (name, value) = match step {
                HeaderStep::Set { name, value } | HeaderStep::Append { name, value } => (name, value),
                HeaderStep::Detach { name } => (name, Cow::Borrowed("x")),
            };
            prop_assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(!value.is_empty() && value.trim() == value);
            prop_assert!(value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')), "{}", value);
        }
    }

    #[test]
    fn looking_each_block_up_gives_the_same(
        patterns in proptest::collection::vec("(/(a|b|:x|:y|\\*|a\\*)){1,3}", 1..8),
        path in "(/[ab]{0,2}){1,4}",
    ) {
        let blocks: Vec<String> = patterns
            .iter()
            .enumerate()
            .map(|(number, pattern)| format!("{pattern}\n X-{number}: 1\n"))
            .collect();
        let file = blocks.concat();
        let (rules, _) = HeaderRules::parse(file.as_bytes());
        let expected: Vec<String> = rules
            .blocks
            .iter()
            .filter(|block| block.pattern.captures(&path).is_some())
            .map(|block| format!("={}: 1", block.fields[0].name))
            .collect();
        prop_assert_eq!(shown_steps(&rules, &path), expected);
    }
}
