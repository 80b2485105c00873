//! A path pattern, and whether a path matches it.
//!
//! A pattern is text with two kinds of holes: `:name` stands for one whole segment, and `*` for any
//! text. A `*` that is a whole segment stands for any number of segments, none included: `/a/*` matches
//! `/a`, `/a/` and `/a/b/c`. A slash at the end of a pattern or a path does not count.
//!
//! Between two stars stand pieces whose length at a given place is known, and the leftmost place of each
//! piece is also the best one. So nothing is ever tried again: the time of a match is bounded by the length
//! of the path times the length of the pattern, whatever a visitor sends.

use percent_encoding::percent_decode_str;

use super::diagnostic::{DiagnosticCode, Fault, shown};
use crate::site_path::nfc;

/// The name under which a pattern's star is used.
pub(super) const SPLAT: &str = "splat";

/// What fills the holes of an example: a word that no rule has by chance.
pub(super) const EXAMPLE: &str = "onsave-example";

/// Where a pattern may have stars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stars {
    /// One, as the last segment: `_redirects`.
    LastSegment,
    /// Any number, anywhere: `_headers`.
    Anywhere,
}

/// A path pattern, percent-decoded and in normal form C.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What stands before, between and after the stars: always one more than there are stars.
    pieces: Vec<Piece>,
    stars: Vec<Star>,
    names: Vec<String>,
}

/// What stands between two stars; empty where they touch.
type Piece = Vec<Token>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(String),
    /// One or more letters up to the next slash; a slash, or the start of a star, never stands before it
    /// in the same segment.
    Segment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Star {
    /// Any text within what stands around it.
    Text,
    /// Nothing, or a slash and any text: a whole segment's star, with the slash before it.
    Segments,
}

impl Pattern {
    /// Returns the pattern that `text` says.
    pub(super) fn parse(text: &str, stars: Stars) -> Result<Self, Fault> {
        check_start(text)?;
        let mut pattern = Self {
            pieces: vec![Piece::new()],
            stars: Vec::new(),
            names: Vec::new(),
        };
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let mut segments = trimmed.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            if segment.contains('*') && stars == Stars::LastSegment && !(segment == "*" && is_last)
            {
                return Err(Fault::new(
                    DiagnosticCode::BadWildcard,
                    format!(
                        "`*` has to be the whole last segment of a path, and is not in {}; end the \
                         path with `/*`, or name a segment with `:name`",
                        shown(text)
                    ),
                ));
            }
            pattern.push_segment(segment)?;
        }
        pattern.name_splat()?;
        Ok(pattern)
    }

    fn push_segment(&mut self, segment: &str) -> Result<(), Fault> {
        if segment == "*" {
            self.push_star(Star::Segments);
            return Ok(());
        }
        if let Some(name) = placeholder(segment)? {
            if self.names.iter().any(|known| known == name) {
                return Err(twice(name));
            }
            self.names.push(name.to_owned());
            self.push_literal("/");
            self.piece().push(Token::Segment);
            return Ok(());
        }
        self.push_literal("/");
        for (index, text) in segment.split('*').enumerate() {
            if index > 0 {
                self.push_star(Star::Text);
            }
            self.push_literal(&decoded(text)?);
        }
        if matches!(segment, "." | "..") || is_encoded_dots(segment) {
            return Err(bad_path(segment, "no request has `.` or `..` as a segment"));
        }
        Ok(())
    }

    /// Names the star, when there is one: of several, none could be meant.
    fn name_splat(&mut self) -> Result<(), Fault> {
        if self.stars.len() != 1 {
            return Ok(());
        }
        if self.names.iter().any(|known| known == SPLAT) {
            return Err(twice(SPLAT));
        }
        let before = self.pieces[0]
            .iter()
            .filter(|token| **token == Token::Segment)
            .count();
        self.names.insert(before, SPLAT.to_owned());
        Ok(())
    }

    fn piece(&mut self) -> &mut Piece {
        self.pieces.last_mut().expect("a pattern has a piece")
    }

    fn push_literal(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.piece().last_mut() {
            Some(Token::Literal(before)) => before.push_str(text),
            Some(Token::Segment) | None => self.piece().push(Token::Literal(text.to_owned())),
        }
    }

    fn push_star(&mut self, star: Star) {
        self.stars.push(star);
        self.pieces.push(Piece::new());
    }

    /// Returns the names of what is captured, in the order of the captures.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns how many stars the pattern has.
    pub(super) fn star_count(&self) -> usize {
        self.stars.len()
    }

    /// Returns whether the last segment is a star.
    pub(super) fn ends_in_splat(&self) -> bool {
        self.stars.last() == Some(&Star::Segments) && self.pieces.last().is_some_and(Vec::is_empty)
    }

    /// Returns the only path that matches, without a slash at its end; nothing when there are several.
    pub(super) fn exact(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [piece] => match piece.as_slice() {
                [] => Some(""),
                [Token::Literal(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the whole segments before the first hole, such as `/blog` of `/blog/:slug`.
    pub(super) fn literal_prefix(&self) -> &str {
        let Some(Token::Literal(first)) = self.pieces[0].first() else {
            return "";
        };
        let is_whole = self.pieces[0].len() == 1 && self.stars.first() != Some(&Star::Text);
        if is_whole {
            return first;
        }
        &first[..first.rfind('/').unwrap_or(0)]
    }

    /// Returns a text that is the same for two patterns exactly when the same paths match them for the
    /// same reason: without the placeholders' names.
    pub(super) fn shape(&self) -> String {
        // Control characters, which no literal has.
        self.filled("\u{1}", "\u{2}", "\u{3}")
    }

    /// Returns a path that matches.
    pub(super) fn example(&self) -> String {
        let mut path = self.filled(EXAMPLE, EXAMPLE, &format!("/{EXAMPLE}"));
        // The slash at the end that does not count comes after one that does.
        if path.is_empty() || path.ends_with('/') {
            path.push('/');
        }
        path
    }

    fn filled(&self, segment: &str, text: &str, segments: &str) -> String {
        let mut filled = String::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            if index > 0 {
                filled.push_str(match self.stars[index - 1] {
                    Star::Text => text,
                    Star::Segments => segments,
                });
            }
            for token in piece {
                filled.push_str(match token {
                    Token::Literal(literal) => literal,
                    Token::Segment => segment,
                });
            }
        }
        filled
    }

    /// Returns what the holes of the pattern hold, in the order of [`Pattern::names`]; nothing when the
    /// path, which starts with `/` and is in normal form C, does not match.
    pub(super) fn captures<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let mut captures = Vec::with_capacity(self.names.len());
        let (last, before) = self.pieces.split_last()?;
        let Some(first) = before.first() else {
            let end = match_at(last, trimmed, 0, &mut captures)?;
            return (end == trimmed.len()).then_some(captures);
        };
        // What a star at the end takes includes the slash at the end.
        let text = if last.is_empty() { path } else { trimmed };
        let mut at = match_at(first, text, 0, &mut captures)?;
        if !self.stars[0].can_start(text, at) {
            return None;
        }
        for (piece, star) in before[1..].iter().zip(&self.stars[1..]) {
            at = places(text, at).find_map(|place| {
                let end = match_at(piece, text, place, &mut captures)?;
                star.can_start(text, end).then_some(end)
            })?;
        }
        let start = if last.is_empty() {
            text.len()
        } else {
            let mut scratch = Vec::new();
            places(text, at)
                .find(|place| match_at(last, text, *place, &mut scratch) == Some(text.len()))?
        };
        if let [star] = self.stars.as_slice() {
            captures.push(star.captured(&text[at..start]));
        }
        match_at(last, text, start, &mut captures)?;
        Some(captures)
    }
}

impl Star {
    /// Returns whether the star can take what follows.
    fn can_start(self, text: &str, at: usize) -> bool {
        match self {
            Self::Text => true,
            Self::Segments => text[at..].is_empty() || text[at..].starts_with('/'),
        }
    }

    /// Returns what the star holds of what it took.
    fn captured(self, taken: &str) -> &str {
        match self {
            Self::Text => taken,
            Self::Segments => taken.strip_prefix('/').unwrap_or(taken),
        }
    }
}

/// Returns where the piece ends when it starts at `at`. On failure the captures are as they were.
fn match_at<'p>(
    piece: &[Token],
    text: &'p str,
    at: usize,
    captures: &mut Vec<&'p str>,
) -> Option<usize> {
    let known = captures.len();
    let mut end = at;
    for token in piece {
        let rest = &text[end..];
        let length = match token {
            Token::Literal(literal) if rest.starts_with(literal.as_str()) => literal.len(),
            Token::Literal(_) => 0,
            Token::Segment => rest.find('/').unwrap_or(rest.len()),
        };
        if length == 0 {
            captures.truncate(known);
            return None;
        }
        if *token == Token::Segment {
            captures.push(&rest[..length]);
        }
        end += length;
    }
    Some(end)
}

/// Returns the places from `at` on where a piece could start, the end included.
fn places(text: &str, at: usize) -> impl Iterator<Item = usize> {
    (at..=text.len()).filter(|place| text.is_char_boundary(*place))
}

fn check_start(text: &str) -> Result<(), Fault> {
    if !text.starts_with('/') {
        return Err(bad_path(text, "a path starts with `/`"));
    }
    if text.starts_with("//") {
        return Err(bad_path(text, "a path starts with one `/`, not with two"));
    }
    if text.contains('?') {
        let hint = "a path has no query; write its parameters as conditions, as in \
                    `/from name=:value /to/:value`";
        return Err(bad_path(text, hint));
    }
    if text.contains('#') {
        return Err(bad_path(
            text,
            "browsers keep what comes after `#` to themselves; leave it out",
        ));
    }
    Ok(())
}

/// Returns the name when the segment is a placeholder. A colon alone, or before a digit, is text.
fn placeholder(segment: &str) -> Result<Option<&str>, Fault> {
    let Some(name) = segment.strip_prefix(':') else {
        return Ok(None);
    };
    if !name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return Ok(None);
    }
    if name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Ok(Some(name));
    }
    Err(Fault::new(
        DiagnosticCode::BadPlaceholder,
        format!(
            "a placeholder is a whole segment of letters, digits and `_`, and {} is not; write a \
             colon that is meant as such as `%3A`",
            shown(segment)
        ),
    ))
}

fn twice(name: &str) -> Fault {
    Fault::new(
        DiagnosticCode::BadPlaceholder,
        format!("`:{name}` would be captured twice; give the placeholders different names"),
    )
}

fn decoded(text: &str) -> Result<String, Fault> {
    let Ok(plain) = percent_decode_str(text).decode_utf8() else {
        return Err(bad_path(text, "percent-decoded, the path is not UTF-8"));
    };
    if plain.contains('/') {
        return Err(bad_path(
            text,
            "the server takes no encoded slash; write the slash itself",
        ));
    }
    if plain.contains(|letter: char| letter.is_control() || letter == '\\') {
        return Err(bad_path(
            text,
            "the server takes no backslash and no control character in a path",
        ));
    }
    Ok(nfc(&plain))
}

fn is_encoded_dots(segment: &str) -> bool {
    decoded(segment).is_ok_and(|plain| matches!(plain.as_str(), "." | ".."))
}

fn bad_path(text: &str, why: &str) -> Fault {
    Fault::new(
        DiagnosticCode::BadPath,
        format!("{} matches no request: {why}", shown(text)),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str, stars: Stars) -> Pattern {
        Pattern::parse(text, stars).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    fn captured(text: &str, path: &str) -> Option<Vec<String>> {
        let pattern = pattern(text, Stars::Anywhere);
        let captures = pattern.captures(path)?;
        if pattern.stars.len() < 2 {
            assert_eq!(captures.len(), pattern.names.len(), "{text} on {path}");
        }
        let name_of = |index: usize| pattern.names.get(index).map_or("?", String::as_str);
        Some(
            captures
                .iter()
                .enumerate()
                .map(|(index, value)| format!("{}={value}", name_of(index)))
                .collect(),
        )
    }

    #[test]
    fn match_table() {
        for (text, path, expected) in [
            ("/", "/", Some(vec![])),
            ("/", "/a", None),
            ("/a", "/a", Some(vec![])),
            ("/a", "/a/", Some(vec![])),
            ("/a/", "/a", Some(vec![])),
            ("/a/", "/a/", Some(vec![])),
            ("/a", "/A", None),
            ("/a", "/ab", None),
            ("/a", "/a//", None),
            ("/a//b", "/a//b", Some(vec![])),
            ("/*", "/", Some(vec!["splat="])),
            ("/*", "/a/b", Some(vec!["splat=a/b"])),
            ("/*", "//a", Some(vec!["splat=/a"])),
            ("/a/*", "/a", Some(vec!["splat="])),
            ("/a/*", "/a/", Some(vec!["splat="])),
            ("/a/*", "/a/b/c", Some(vec!["splat=b/c"])),
            ("/a/*", "/a/b/", Some(vec!["splat=b/"])),
            ("/a/*", "/ab", None),
            ("/a/*/", "/a/b", Some(vec!["splat=b"])),
            ("/:x", "/a", Some(vec!["x=a"])),
            ("/:x", "/a/", Some(vec!["x=a"])),
            ("/:x", "/", None),
            ("/:x", "/a/b", None),
            ("/:x/b/:y", "/a/b/c", Some(vec!["x=a", "y=c"])),
            ("/:x/b/:y", "/a//c", None),
            ("/n/:y/*", "/n/2024", Some(vec!["y=2024", "splat="])),
            ("/n/:y/*", "/n/2024/5/x", Some(vec!["y=2024", "splat=5/x"])),
            ("/n/:y/*", "/n", None),
            ("/c%C3%A9", "/cé", Some(vec![])),
            ("/ce%CC%81", "/cé", Some(vec![])),
            ("/%3Ax/%2a", "/:x/*", Some(vec![])),
            ("/a:b/12:30", "/a:b/12:30", Some(vec![])),
            ("/:1", "/:1", Some(vec![])),
            ("/%zz", "/%zz", Some(vec![])),
        ] {
            let expected = expected
                .map(|names: Vec<&str>| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(captured(text, path), expected, "{text} on {path}");
        }
    }

    #[test]
    fn stars_anywhere() {
        for (text, path, expected) in [
            ("/*.css", "/a/b.css", Some(vec!["splat=a/b"])),
            ("/*.css", "/.css", Some(vec!["splat="])),
            ("/*.css", "/a.css/", Some(vec!["splat=a"])),
            ("/*.css", "/a.css.js", None),
            ("/a*", "/a", Some(vec!["splat="])),
            ("/a*", "/abc/d/", Some(vec!["splat=bc/d/"])),
            ("/a/*/b", "/a/b", Some(vec!["splat="])),
            ("/a/*/b", "/a/x/y/b", Some(vec!["splat=x/y"])),
            ("/a/*/b", "/ax/b", None),
            ("/*/:x/z", "/a/b/c/z", Some(vec!["splat=a/b", "x=c"])),
            ("/:x/*/:y", "/1/2", Some(vec!["x=1", "splat=", "y=2"])),
            ("/:x/*/:y", "/1", None),
            ("/*a*b*", "/xaybz", Some(vec![])),
            ("/*a/*/b", "/qaXa/b", Some(vec![])),
            ("/*/*", "/", Some(vec![])),
            ("/**", "/a", Some(vec![])),
            ("/*é*", "/aéb", Some(vec![])),
            ("/*/m/:x/*", "/m/m/m/q", Some(vec!["?=m"])),
        ] {
            let names = captured(text, path).map(|names| {
                names
                    .iter()
                    .map(|name| name.replace("x=m", "?=m"))
                    .collect::<Vec<_>>()
            });
            let expected = expected
                .map(|names: Vec<&str>| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(names, expected, "{text} on {path}");
        }
    }

    #[test]
    fn refusal_table() {
        use DiagnosticCode::{BadPath, BadPlaceholder, BadWildcard};
        for (text, code) in [
            ("", BadPath),
            ("a", BadPath),
            ("//a", BadPath),
            ("/a?b=c", BadPath),
            ("/a#b", BadPath),
            ("/a/../b", BadPath),
            ("/./b", BadPath),
            ("/a/%2e%2E", BadPath),
            ("/a%2Fb", BadPath),
            ("/a%00", BadPath),
            ("/a%5Cb", BadPath),
            ("/a\\b", BadPath),
            ("/%FF", BadPath),
            ("/a/*/b", BadWildcard),
            ("/a*", BadWildcard),
            ("/*.css", BadWildcard),
            ("/*/*", BadWildcard),
            ("/:x.html", BadPlaceholder),
            ("/:x-:y", BadPlaceholder),
            ("/:x/:x", BadPlaceholder),
            ("/:splat/*", BadPlaceholder),
        ] {
            let fault = Pattern::parse(text, Stars::LastSegment).unwrap_err();
            assert_eq!(fault.code, code, "{text}: {}", fault.message);
        }
    }

    #[test]
    fn prefixes_and_exact_paths() {
        for (text, exact, prefix) in [
            ("/", Some(""), ""),
            ("/a/b/", Some("/a/b"), "/a"),
            ("/*", None, ""),
            ("/a/*", None, "/a"),
            ("/a/b/:x", None, "/a/b"),
            ("/:x/a", None, ""),
            ("/a/b*", None, "/a"),
            ("/a/*.css", None, "/a"),
            ("/a/*/b", None, "/a"),
        ] {
            let pattern = pattern(text, Stars::Anywhere);
            assert_eq!(pattern.exact(), exact, "{text}");
            if exact.is_none() {
                assert_eq!(pattern.literal_prefix(), prefix, "{text}");
            }
        }
    }

    #[test]
    fn no_path_makes_a_match_slow() {
        // A matcher that tries again takes longer than the age of the universe here.
        let stars = format!("/{}b", "*a".repeat(200));
        let pattern = pattern(&stars, Stars::Anywhere);
        assert!(
            pattern
                .captures(&format!("/{}", "a".repeat(8_000)))
                .is_none()
        );
        assert!(
            pattern
                .captures(&format!("/{}b", "a".repeat(8_000)))
                .is_some()
        );
    }

    /// Says whether a pattern matches by trying everything: slow, and plain to see.
    fn matches_plainly(pattern: &[Segment], path: &[&str]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
            Some((Segment::Star, rest)) => {
                (0..=path.len()).any(|taken| matches_plainly(rest, &path[taken..]))
            }
            Some((Segment::Hole, rest)) => path
                .split_first()
                .is_some_and(|(first, left)| !first.is_empty() && matches_plainly(rest, left)),
            Some((Segment::Text(text), rest)) => path
                .split_first()
                .is_some_and(|(first, left)| fits(text, first) && matches_plainly(rest, left)),
        }
    }

    /// Says whether a text with stars, none of which takes a slash here, fits.
    fn fits(text: &str, segment: &str) -> bool {
        match text.split_once('*') {
            None => text == segment,
            Some((before, after)) => segment.strip_prefix(before).is_some_and(|rest| {
                (0..=rest.len())
                    .any(|taken| rest.is_char_boundary(taken) && fits(after, &rest[taken..]))
            }),
        }
    }

    #[derive(Debug, Clone)]
    enum Segment {
        Text(String),
        Hole,
        Star,
    }

    fn segments(inner_stars: bool) -> impl Strategy<Value = Vec<Segment>> {
        let text = if inner_stars {
            "[ab]{1,2}"
        } else {
            "[abé]{1,3}"
        };
        let segment = prop_oneof![
            3 => text.prop_map(Segment::Text),
            2 => Just(Segment::Hole),
            2 => Just(Segment::Star),
        ];
        proptest::collection::vec(segment, 1..6)
    }

    fn written(segments: &[Segment]) -> String {
        segments
            .iter()
            .enumerate()
            .map(|(index, segment)| match segment {
                Segment::Text(text) => format!("/{text}"),
                Segment::Hole => format!("/:n{index}"),
                Segment::Star => "/*".into(),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_a_fault(text in any::<String>(), path in any::<String>()) {
            for stars in [Stars::LastSegment, Stars::Anywhere] {
                if let Ok(pattern) = Pattern::parse(&text, stars) {
                    prop_assert!(pattern.captures(&pattern.example()).is_some());
                    drop(pattern.captures(&format!("/{path}")));
                }
            }
        }

        #[test]
        fn odd_patterns_match_their_examples(text in "/[/*:ab.%é]{0,12}", path in "/[/ab.é]{0,12}") {
            for stars in [Stars::LastSegment, Stars::Anywhere] {
                if let Ok(pattern) = Pattern::parse(&text, stars) {
                    let example = pattern.example();
                    prop_assert!(pattern.captures(&example).is_some(), "{} on {}", text, example);
                    let captures = pattern.captures(&path);
                    if let (Some(captures), true) = (captures, pattern.stars.len() < 2) {
                        prop_assert_eq!(captures.len(), pattern.names.len());
                    }
                }
            }
        }

        #[test]
        fn whole_segments_match_as_if_everything_was_tried(
            segments in segments(false),
            path in proptest::collection::vec("[abé]{1,3}", 0..6),
        ) {
            let pattern = Pattern::parse(&written(&segments), Stars::Anywhere).unwrap();
            let text = format!("/{}", path.join("/"));
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            prop_assert_eq!(
                pattern.captures(&text).is_some(),
                matches_plainly(&segments, &path),
                "{} on {}", written(&segments), text
            );
        }

        #[test]
        fn stars_in_one_segment_match_as_if_everything_was_tried(
            text in "[ab*]{1,8}", segment in "[ab]{0,10}",
        ) {
            prop_assume!(text != "*");
            let pattern = Pattern::parse(&format!("/{text}"), Stars::Anywhere).unwrap();
            prop_assert_eq!(
                pattern.captures(&format!("/{segment}")).is_some(),
                fits(&text, &segment)
            );
        }
    }
}
