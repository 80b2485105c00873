//! Text with captures put in, encoded for the place where it stands.
//!
//! What a visitor sent never gains a meaning by being put in: a capture cannot end a segment's place in
//! a query, start a fragment, or bring a control character into a header.

use std::borrow::Cow;

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode_byte, utf8_percent_encode,
};

/// What a path of a URL has as such (RFC 3986, section 3.3: `pchar`), and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// A fragment may also have a question mark (RFC 3986, section 3.5).
const FRAGMENT: &AsciiSet = &PATH.remove(b'?');

/// As a path, without what separates the parts of a header's value (RFC 9110, section 5.6).
const HEADER_VALUE: &AsciiSet = &PATH.add(b',').add(b';');

/// A value in a query, which ends at `&`, and in which `+` is a space.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// A query as written or sent, escapes and separators as they are (RFC 3986, section 3.4).
const QUERY: &AsciiSet = &FRAGMENT.remove(b'%');

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the path of a `Location`.
    Path,
    /// In the query of a `Location`.
    Query,
    /// In the fragment of a `Location`.
    Fragment,
    /// In a path of the site, which is not encoded.
    SitePath,
    /// In the value of a header.
    HeaderValue,
}

/// Text with holes for captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// As it goes out: encoded, or decoded, as the place wants it.
    Literal(String),
    /// The number of a capture.
    Capture(usize),
}

impl Template {
    /// Returns the template that `text` says where it stands, with `names` as the captures; and the
    /// placeholders at the start of a segment or a value that nothing captures, which stay as text.
    ///
    /// Nothing, when a path of the site would not be UTF-8.
    pub(super) fn parse<'t>(
        text: &'t str,
        place: Place,
        names: &[String],
    ) -> Option<(Self, Vec<&'t str>)> {
        let mut parts = Vec::new();
        let mut unknown = Vec::new();
        let mut literal_from = 0;
        let mut at = 0;
        while let Some(found) = text[at..].find(':') {
            let colon = at + found;
            let name = name_at(&text[colon + 1..]);
            at = colon + 1 + name.len();
            if let Some(number) = names.iter().position(|known| known == name) {
                push_literal(&mut parts, &text[literal_from..colon], place)?;
                parts.push(Part::Capture(number));
                literal_from = at;
            } else if !name.is_empty() && text[..colon].ends_with(['/', '=']) {
                unknown.push(name);
            }
        }
        push_literal(&mut parts, &text[literal_from..], place)?;
        Some((Self { parts, place }, unknown))
    }

    /// Returns whether a capture is put in.
    pub(super) fn has_captures(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Capture(_)))
    }

    /// Adds another template of the same place, after a separator.
    pub(super) fn join(&mut self, separator: &str, other: Self) {
        for part in [Part::Literal(separator.to_owned())]
            .into_iter()
            .chain(other.parts)
        {
            match (self.parts.last_mut(), part) {
                (Some(Part::Literal(text)), Part::Literal(more)) => text.push_str(&more),
                (_, part) => self.parts.push(part),
            }
        }
    }

    /// Returns the text with `captures` put in, encoded for its place.
    pub(super) fn render(&self, captures: &[Cow<'_, str>]) -> Cow<'_, str> {
        match self.parts.as_slice() {
            [] => Cow::Borrowed(""),
            [Part::Literal(text)] => Cow::Borrowed(text),
            parts => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Capture(number) => {
                            text.push_str(&encoded(&captures[*number], self.place));
                        }
                    }
                }
                Cow::Owned(text)
            }
        }
    }
}

/// Returns the name at the start of a text: a letter, then letters, digits and `_`.
fn name_at(text: &str) -> &str {
    if !text.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return "";
    }
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_')
        .unwrap_or(text.len());
    &text[..end]
}

fn push_literal(parts: &mut Vec<Part>, text: &str, place: Place) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    let literal = match place {
        Place::Path => recoded(text, PATH),
        Place::Fragment => recoded(text, FRAGMENT),
        Place::Query => utf8_percent_encode(text, QUERY).to_string(),
        Place::SitePath => percent_decode_str(text).decode_utf8().ok()?.into_owned(),
        Place::HeaderValue => text.to_owned(),
    };
    parts.push(Part::Literal(literal));
    Some(())
}

fn encoded(capture: &str, place: Place) -> Cow<'_, str> {
    let set = match place {
        Place::Path => PATH,
        Place::Query => QUERY_VALUE,
        Place::Fragment => FRAGMENT,
        Place::HeaderValue => HEADER_VALUE,
        Place::SitePath => return Cow::Borrowed(capture),
    };
    utf8_percent_encode(capture, set).into()
}

/// Returns a path as a `Location` has it.
pub(super) fn encoded_path(path: &str) -> Cow<'_, str> {
    encoded(path, Place::Path)
}

/// Returns a query as it was sent, with what no query can have encoded.
pub(super) fn sent_query(query: &str) -> Cow<'_, str> {
    utf8_percent_encode(query, QUERY).into()
}

/// Returns a text in which what `set` encodes is encoded, and nothing else: escapes that it has for no
/// reason are taken back. So two spellings of one path become one.
fn recoded(text: &str, set: &'static AsciiSet) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.extend(utf8_percent_encode(&rest[..at], set));
        rest = &rest[at + 1..];
        let digits = rest
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = digits {
            push_escape(&mut out, byte, set);
            rest = &rest[2..];
        } else {
            // No escape: the sign itself is meant.
            out.push_str("%25");
        }
    }
    out.extend(utf8_percent_encode(rest, set));
    out
}

fn push_escape(out: &mut String, byte: u8, set: &'static AsciiSet) {
    // An encoded slash is not a separator, so it stays apart from the slash itself.
    if byte.is_ascii() && byte != b'/' {
        let letter = [byte];
        let text = std::str::from_utf8(&letter).expect("it is ASCII");
        out.extend(utf8_percent_encode(text, set));
    } else {
        out.push_str(percent_encode_byte(byte));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(text: &str, place: Place, captures: &[(&str, &str)]) -> String {
        let names: Vec<String> = captures
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let values: Vec<Cow<'_, str>> = captures
            .iter()
            .map(|(_, value)| Cow::Borrowed(*value))
            .collect();
        let (template, _) = Template::parse(text, place, &names).unwrap();
        template.render(&values).into_owned()
    }

    #[test]
    fn the_longest_name_is_meant() {
        let captures = [("a", "1"), ("ab", "2"), ("splat", "x/y")];
        for (text, expected) in [
            ("/:a/:ab", "/1/2"),
            ("/:a-:ab.html", "/1-2.html"),
            ("/:abc", "/:abc"),
            ("/:splat", "/x/y"),
            ("/p:a", "/p1"),
            ("/:", "/:"),
            ("/:1", "/:1"),
            ("/::a", "/:1"),
            ("/wiki/Special:Search", "/wiki/Special:Search"),
        ] {
            assert_eq!(rendered(text, Place::Path, &captures), expected, "{text}");
        }
    }

    #[test]
    fn placeholders_that_nothing_captures_are_told() {
        let names = ["a".to_owned()];
        let (_, unknown) =
            Template::parse("/x/:b/Special:Search/:a?q=:c", Place::Path, &names).unwrap();
        assert_eq!(unknown, ["b", "c"]);
    }

    #[test]
    fn a_capture_is_encoded_for_its_place() {
        let capture = [("x", "a b/é?&=#%,;+\r\n\"")];
        for (place, expected) in [
            (Place::Path, "a%20b/%C3%A9%3F&=%23%25,;+%0D%0A%22"),
            (
                Place::Query,
                "a%20b/%C3%A9%3F%26%3D%23%25%2C%3B%2B%0D%0A%22",
            ),
            (Place::Fragment, "a%20b/%C3%A9?&=%23%25,;+%0D%0A%22"),
            (
                Place::HeaderValue,
                "a%20b/%C3%A9%3F&=%23%25%2C%3B+%0D%0A%22",
            ),
            (Place::SitePath, "a b/é?&=#%,;+\r\n\""),
        ] {
            assert_eq!(rendered(":x", place, &capture), expected, "{place:?}");
        }
    }

    #[test]
    fn two_spellings_of_a_path_become_one() {
        for (text, expected) in [
            ("/c%C3%A9line", "/c%C3%A9line"),
            ("/céline", "/c%C3%A9line"),
            ("/%41%2d%7E", "/A-~"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%3Fb%23", "/a%3Fb%23"),
            ("/100%", "/100%25"),
            ("/100%zz", "/100%25zz"),
            ("/%+f", "/%25+f"),
            ("/%4", "/%254"),
            ("/%é", "/%25%C3%A9"),
            ("/%%41", "/%25A"),
            ("/%FF", "/%FF"),
            ("/a b\\", "/a%20b%5C"),
        ] {
            assert_eq!(rendered(text, Place::Path, &[]), expected, "{text}");
        }
        assert_eq!(rendered("/a%20b/é", Place::SitePath, &[]), "/a b/é");
        assert!(Template::parse("/%FF", Place::SitePath, &[]).is_none());
    }

    #[test]
    fn a_query_keeps_its_escapes() {
        assert_eq!(
            sent_query("a=%20+b&c=é \"<\r\n"),
            "a=%20+b&c=%C3%A9%20%22%3C%0D%0A"
        );
        assert_eq!(
            rendered("a=%20&b=:x", Place::Query, &[("x", "1&2")]),
            "a=%20&b=1%262"
        );
    }

    proptest! {
        #[test]
        fn what_goes_out_is_visible_ascii(text in any::<String>(), capture in any::<String>()) {
            for place in [Place::Path, Place::Query, Place::Fragment] {
                let out = rendered(&format!("{text}/:x"), place, &[("x", &capture)]);
                prop_assert!(out.bytes().all(|byte| byte.is_ascii_graphic()), "{}", out);
            }
        }

        #[test]
        fn recoding_again_changes_nothing(text in "[a-c/%:0-9A-F é?#-]{0,16}") {
            let once = recoded(&text, PATH);
            prop_assert_eq!(recoded(&once, PATH), once);
        }
    }
}
