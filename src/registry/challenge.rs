//! `WWW-Authenticate: Bearer realm="…",service="…",scope="…"`: where a registry wants a token from.
//!
//! Reads the header alone; asking for the token is the session's. Never panics, whatever is sent.

/// Where a token is to be had, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The token service's URL.
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

impl Challenge {
    /// Returns the challenge for a token in `header`, which may hold others beside it.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let mut rest = after_scheme(header)?;
        let mut found = Self {
            realm: String::new(),
            service: None,
            scope: None,
        };
        while let Some((name, value, after)) = parameter(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => found.realm = value,
                "service" => found.service = Some(value),
                "scope" => found.scope = Some(value),
                _ => {}
            }
            rest = after;
        }
        (!found.realm.is_empty()).then_some(found)
    }
}

/// Returns what follows the scheme's name, wherever in the header it stands outside of a quote.
fn after_scheme(header: &str) -> Option<&str> {
    const SCHEME: &str = "bearer ";
    let lower = header.to_ascii_lowercase();
    lower
        .match_indices(SCHEME)
        .find(|(at, _)| {
            let before = &header[..*at];
            let is_quoted = before.matches('"').count() % 2 == 1;
            let is_start = before
                .chars()
                .next_back()
                .is_none_or(|character| matches!(character, ' ' | ','));
            is_start && !is_quoted
        })
        .map(|(at, found)| &header[at + found.len()..])
}

/// Returns the next `name=value` or `name="value"`, and what follows its comma.
///
/// The next challenge's scheme has a space where a parameter has its `=`, and ends the list.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_end();
    if name.is_empty() || name.contains([' ', '\t', '"', ',']) {
        return None;
    }
    let rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ' ']).unwrap_or(rest.len());
        return Some((name, rest[..end].to_owned(), &rest[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((name, value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge {
            realm: realm.into(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn challenges_are_read() {
        let scope = "repository:app:pull,push";
        let whole = challenge("https://a.example/token", Some("reg"), Some(scope));
        let table = [
            (
                r#"Bearer realm="https://a.example/token",service="reg",scope="repository:app:pull,push""#,
                whole.clone(),
            ),
            (
                r#"bearer scope="repository:app:pull,push" , service=reg, realm="https://a.example/token",error="x""#,
                whole.clone(),
            ),
            (
                r#"Basic realm="a bearer of b", Bearer realm="https://a.example/token",service="reg",scope="repository:app:pull,push", Negotiate"#,
                whole,
            ),
            (
                r#"Bearer realm="https://a/t", Basic realm="b""#,
                challenge("https://a/t", None, None),
            ),
            (
                r#"Bearer realm="a \"b\" \\c""#,
                challenge("a \"b\" \\c", None, None),
            ),
        ];
        for (header, expected) in table {
            assert_eq!(Challenge::parse(header), Some(expected), "{header}");
        }
    }

    #[test]
    fn other_headers_hold_none() {
        for header in [
            "",
            "Bearer",
            "Bearer ",
            r#"Basic realm="Registry""#,
            r#"Basic realm="Bearer realm=x""#,
            r#"Bearer service="reg""#,
            r#"Bearer realm="unfinished"#,
            r#"Xbearer realm="a""#,
        ] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header: String, parameters in r#"[a-z=",\\ é]{0,40}"#) {
            Challenge::parse(&header);
            Challenge::parse(&format!("Bearer {parameters}"));
        }
    }
}
