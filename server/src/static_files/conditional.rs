//! Validators: what a representation is called, and whether the peer has it already (RFC 9110,
//! section 13).
//!
//! Pure: headers and validators in, a decision out. All of it is about a representation that is
//! there and would be answered with a success to GET or HEAD: section 13.2.1 lets preconditions
//! be looked at in no other case, so that a redirect, a 404 page or a refusal comes as it is.
//!
//! Nothing is allocated: tags are compared where they stand in the header.

use std::time::{Duration, UNIX_EPOCH};

use http::{
    HeaderMap, HeaderValue,
    header::{self, HeaderName},
};
use onsave_protocol::Sha256Digest;

/// Hex digits of a file's digest in its entity tag: 128 bits tell any two files apart.
const TAG_DIGITS: usize = 32;

/// Returns what names an object's bytes in an entity tag, without quotes.
pub(crate) fn object_tag(digest: &Sha256Digest) -> String {
    let mut hex = digest.to_hex();
    hex.truncate(TAG_DIGITS);
    hex
}

/// Returns a time in seconds since 1970 as `Last-Modified` has it (RFC 9110, section 5.6.7).
pub(crate) fn http_date(seconds: u64) -> Option<HeaderValue> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()
}

/// An entity tag (RFC 9110, section 8.8.3): its opaque part in its quotes, without `W/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntityTag<'a> {
    /// Names one sequence of bytes.
    Strong(&'a str),
    /// Names what is as good as the same, as a page that is compressed on its way does.
    Weak(&'a str),
}

/// What a representation is known by (RFC 9110, section 8.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validators<'a> {
    /// The tag that the answer carries as `ETag`.
    pub(crate) etag: Option<EntityTag<'a>>,
    /// The time that the answer carries as `Last-Modified`, in seconds since 1970.
    pub(crate) last_modified: Option<u64>,
}

/// What the preconditions of a request make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// They hold, or there are none: the answer is what it would be anyhow.
    Proceed,
    /// The peer has the representation: 304.
    NotModified,
    /// The representation is not the one that was meant: 412.
    Failed,
}

impl Precondition {
    /// Returns what the headers of a GET or HEAD mean for a representation, in the order of
    /// RFC 9110, section 13.2.2.
    ///
    /// A date that is malformed, or that stands in several lines, is ignored, as is every date
    /// where the representation has none (sections 13.1.3 and 13.1.4). Dates before 1970 count
    /// as malformed: no file of a site is that old. A list of tags counts up to its first
    /// fault; what cannot be read at all names nothing, yet it is there, and a date beside it is
    /// ignored all the same.
    pub(crate) fn evaluate(headers: &HeaderMap, validators: &Validators<'_>) -> Self {
        let etag = validators.etag;
        match listed(headers, &header::IF_MATCH, etag, Comparison::Strong) {
            Listed::No => return Self::Failed,
            Listed::Yes => {}
            Listed::Absent => {
                if modified_since(headers, &header::IF_UNMODIFIED_SINCE, validators) == Some(true) {
                    return Self::Failed;
                }
            }
        }
        match listed(headers, &header::IF_NONE_MATCH, etag, Comparison::Weak) {
            Listed::Yes => Self::NotModified,
            Listed::No => Self::Proceed,
            Listed::Absent => {
                match modified_since(headers, &header::IF_MODIFIED_SINCE, validators) {
                    Some(false) => Self::NotModified,
                    Some(true) | None => Self::Proceed,
                }
            }
        }
    }
}

/// Returns whether a `Range` beside these headers may be answered with a part, as far as
/// `If-Range` says (RFC 9110, section 13.1.5). Where it does not hold, the answer is the whole
/// representation, which is right for every peer.
///
/// A tag is compared strongly: bytes of two representations that are only as good as the same
/// must not be put together. A date never holds. Section 8.8.2.2 allows it only where the server
/// knows that nothing changed twice within that second, and two saves in one second are what this
/// server is for. No peer loses by it: who was sent a tag must not send a date. A malformed value,
/// or several of them, does not hold either.
pub(crate) fn if_range_holds(headers: &HeaderMap, validators: &Validators<'_>) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    let Some(value) = values.next() else {
        return true;
    };
    let (Some(EntityTag::Strong(etag)), None) = (validators.etag, values.next()) else {
        return false;
    };
    // Equal to a strong tag as a whole: neither weak, nor a list, nor a date.
    value.as_bytes() == etag.as_bytes()
}

/// Returns whether the request should be done as far as `If-None-Match` says: it is absent, or
/// names neither `etag` (strong, in its quotes) nor everything.
///
/// Tags are compared weakly (RFC 9110, section 13.1.2): a proxy that compressed an answer may have
/// made its tag weak. A malformed header names nothing.
pub(crate) fn none_match_holds(headers: &HeaderMap, etag: &str) -> bool {
    let etag = Some(EntityTag::Strong(etag));
    match listed(headers, &header::IF_NONE_MATCH, etag, Comparison::Weak) {
        Listed::Absent | Listed::No => true,
        Listed::Yes => false,
    }
}

/// How two tags are compared (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy)]
enum Comparison {
    /// Equal, and neither is weak.
    Strong,
    /// Equal but for weakness.
    Weak,
}

/// Whether a header names a tag.
enum Listed {
    Absent,
    No,
    Yes,
}

/// Returns whether the lines of a header, which are one list together, name `etag` or everything.
fn listed(
    headers: &HeaderMap,
    name: &HeaderName,
    etag: Option<EntityTag<'_>>,
    comparison: Comparison,
) -> Listed {
    let mut found = Listed::Absent;
    for line in headers.get_all(name) {
        if names(line.as_bytes(), etag, comparison) {
            return Listed::Yes;
        }
        found = Listed::No;
    }
    found
}

fn names(list: &[u8], etag: Option<EntityTag<'_>>, comparison: Comparison) -> bool {
    if list.trim_ascii() == b"*" {
        // Any representation is meant, and there is one.
        return true;
    }
    let opaque = match (etag, comparison) {
        (Some(EntityTag::Strong(opaque)), _)
        | (Some(EntityTag::Weak(opaque)), Comparison::Weak) => opaque.as_bytes(),
        (Some(EntityTag::Weak(_)), Comparison::Strong) | (None, _) => return false,
    };
    let mut rest = list;
    while let Some((listed, is_weak, after)) = next_tag(rest) {
        let counts = match comparison {
            Comparison::Strong => !is_weak,
            Comparison::Weak => true,
        };
        if counts && listed == opaque {
            return true;
        }
        rest = after;
    }
    false
}

/// Returns the first tag of a list in its quotes, whether it is weak, and what follows it; nothing
/// at the end of the list or at a fault.
///
/// A tag may hold a comma, so that the list is read tag by tag and not split. Empty members are
/// skipped (RFC 9110, section 5.6.1.2).
fn next_tag(list: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let start = list
        .iter()
        .position(|byte| !matches!(byte, b',' | b' ' | b'\t'))?;
    let member = &list[start..];
    let (tag, is_weak) = match member.strip_prefix(b"W/") {
        Some(tag) => (tag, true),
        None => (member, false),
    };
    let inner = tag.strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| *byte == b'"')?;
    let (tag, after) = tag.split_at(end + 2);
    // Two tags have a comma between them.
    let is_separated = matches!(after.trim_ascii_start().first(), None | Some(b','));
    is_separated.then_some((tag, is_weak, after))
}

/// Returns whether the representation changed after the date in a header, where the header is one
/// valid date and the representation has a date of its own.
fn modified_since(
    headers: &HeaderMap,
    name: &HeaderName,
    validators: &Validators<'_>,
) -> Option<bool> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let last_modified = validators.last_modified?;
    let date = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    let seconds = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(last_modified > seconds)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const DATE: &str = "Tue, 24 Nov 2026 10:00:00 GMT";
    const DATE_SECONDS: u64 = 1_795_514_400;
    const BEFORE: &str = "Tue, 24 Nov 2026 09:59:59 GMT";
    const AFTER: &str = "Tue, 24 Nov 2026 10:00:01 GMT";

    const PAGE: Validators<'_> = Validators {
        etag: Some(EntityTag::Strong("\"abc\"")),
        last_modified: Some(DATE_SECONDS),
    };

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn lists_of_tags() {
        let etag = "\"abc\"";
        for (list, holds) in [
            ("\"abc\"", false),
            ("W/\"abc\"", false),
            ("*", false),
            (" * ", false),
            ("\"x\", \"abc\"", false),
            ("\"x\",W/\"y\" , \"abc\"", false),
            ("\"x,\", \"abc\"", false),
            (",, \"x\",,\t\"abc\",", false),
            ("\"\", \"abc\"", false),
            ("\"\u{e5}\", \"abc\"", false),
            ("\"x\"", true),
            ("\"abcd\"", true),
            ("\"ABC\"", true),
            ("abc", true),
            ("\"abc", true),
            ("", true),
            (",", true),
            ("*, \"x\"", true),
            ("w/\"abc\"", true),
            ("W/abc", true),
            ("W/ \"abc\"", true),
            ("\"x\", abc, \"abc\"", true),
            ("\"x\"\"abc\"", true),
            ("\"x\" \"abc\"", true),
        ] {
            let headers = headers(&[(header::IF_NONE_MATCH, list)]);
            assert_eq!(none_match_holds(&headers, etag), holds, "{list:?}");
        }
        assert!(none_match_holds(&HeaderMap::new(), etag));
        let lines = [
            (header::IF_NONE_MATCH, "\"x\""),
            (header::IF_NONE_MATCH, "\"abc\""),
        ];
        assert!(!none_match_holds(&headers(&lines), etag));
    }

    #[test]
    fn the_tag_is_of_the_bytes() {
        let digest = Sha256Digest::of(b"abc");
        assert_eq!(object_tag(&digest), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn one_precondition() {
        use Precondition::{Failed, NotModified, Proceed};
        for (name, value, expected) in [
            (header::IF_MATCH, "\"abc\"", Proceed),
            (header::IF_MATCH, "\"x\", \"abc\"", Proceed),
            (header::IF_MATCH, "*", Proceed),
            (header::IF_MATCH, "W/\"abc\"", Failed),
            (header::IF_MATCH, "\"x\"", Failed),
            (header::IF_MATCH, "abc", Failed),
            (header::IF_MATCH, "", Failed),
            (header::IF_UNMODIFIED_SINCE, DATE, Proceed),
            (header::IF_UNMODIFIED_SINCE, AFTER, Proceed),
            (header::IF_UNMODIFIED_SINCE, BEFORE, Failed),
            (header::IF_UNMODIFIED_SINCE, "yesterday", Proceed),
            (header::IF_NONE_MATCH, "\"abc\"", NotModified),
            (header::IF_NONE_MATCH, "W/\"abc\"", NotModified),
            (header::IF_NONE_MATCH, "*", NotModified),
            (header::IF_NONE_MATCH, "\"x\"", Proceed),
            (header::IF_NONE_MATCH, "abc", Proceed),
            (header::IF_MODIFIED_SINCE, DATE, NotModified),
            (header::IF_MODIFIED_SINCE, AFTER, NotModified),
            (header::IF_MODIFIED_SINCE, BEFORE, Proceed),
            (header::IF_MODIFIED_SINCE, "", Proceed),
            (header::IF_MODIFIED_SINCE, "1795514400", Proceed),
            (
                header::IF_MODIFIED_SINCE,
                "Wed, 31 Dec 1969 23:59:59 GMT",
                Proceed,
            ),
            (
                header::IF_MODIFIED_SINCE,
                "Mon, 30 Feb 2026 10:00:00 GMT",
                Proceed,
            ),
            // The two outdated forms, which a server still has to read (section 5.6.7).
            (
                header::IF_MODIFIED_SINCE,
                "Tuesday, 24-Nov-26 10:00:00 GMT",
                NotModified,
            ),
            (
                header::IF_MODIFIED_SINCE,
                "Tue Nov 24 10:00:00 2026",
                NotModified,
            ),
            (
                header::IF_MODIFIED_SINCE,
                "Tue Nov 24 09:59:59 2026",
                Proceed,
            ),
            (
                header::IF_MODIFIED_SINCE,
                "Tue, 24 Nov 2026 10:00:00 GMT, Tue, 24 Nov 2026 10:00:01 GMT",
                Proceed,
            ),
        ] {
            let headers = headers(&[(name.clone(), value)]);
            let found = Precondition::evaluate(&headers, &PAGE);
            assert_eq!(found, expected, "{name}: {value}");
        }
        assert_eq!(Precondition::evaluate(&HeaderMap::new(), &PAGE), Proceed);
    }

    #[test]
    fn several_preconditions() {
        use Precondition::{Failed, NotModified, Proceed};
        let same = "\"abc\"";
        let other = "\"x\"";
        let (matches, none_match) = (header::IF_MATCH, header::IF_NONE_MATCH);
        let (unmodified, modified) = (header::IF_UNMODIFIED_SINCE, header::IF_MODIFIED_SINCE);
        for (first, second, expected) in [
            // A tag counts before a date.
            ((&matches, same), (&unmodified, BEFORE), Proceed),
            ((&none_match, other), (&modified, AFTER), Proceed),
            ((&none_match, "no tag"), (&modified, AFTER), Proceed),
            ((&none_match, same), (&modified, BEFORE), NotModified),
            // What failed is not asked further.
            ((&matches, other), (&none_match, same), Failed),
            ((&matches, other), (&unmodified, AFTER), Failed),
            ((&unmodified, BEFORE), (&modified, AFTER), Failed),
            ((&matches, same), (&none_match, same), NotModified),
            ((&unmodified, DATE), (&modified, DATE), NotModified),
            ((&unmodified, DATE), (&none_match, same), NotModified),
            // Lines of tags are one list; lines of dates are a mistake.
            ((&matches, other), (&matches, same), Proceed),
            ((&none_match, "\"x"), (&none_match, same), NotModified),
            ((&none_match, other), (&none_match, "*"), NotModified),
            ((&modified, AFTER), (&modified, AFTER), Proceed),
            ((&unmodified, BEFORE), (&unmodified, BEFORE), Proceed),
        ] {
            let lines = [(first.0.clone(), first.1), (second.0.clone(), second.1)];
            let found = Precondition::evaluate(&headers(&lines), &PAGE);
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn a_representation_without_validators() {
        let nothing = Validators {
            etag: None,
            last_modified: None,
        };
        for (name, value, expected) in [
            (header::IF_MATCH, "\"abc\"", Precondition::Failed),
            (header::IF_MATCH, "*", Precondition::Proceed),
            (header::IF_UNMODIFIED_SINCE, BEFORE, Precondition::Proceed),
            (header::IF_NONE_MATCH, "\"abc\"", Precondition::Proceed),
            (header::IF_NONE_MATCH, "*", Precondition::NotModified),
            (header::IF_MODIFIED_SINCE, AFTER, Precondition::Proceed),
        ] {
            let headers = headers(&[(name.clone(), value)]);
            let found = Precondition::evaluate(&headers, &nothing);
            assert_eq!(found, expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_weak_tag_matches_weakly_alone() {
        let weak = Validators {
            etag: Some(EntityTag::Weak("\"abc\"")),
            ..PAGE
        };
        for value in ["\"abc\"", "W/\"abc\""] {
            let of = |name| Precondition::evaluate(&headers(&[(name, value)]), &weak);
            assert_eq!(of(header::IF_MATCH), Precondition::Failed, "{value}");
            assert_eq!(
                of(header::IF_NONE_MATCH),
                Precondition::NotModified,
                "{value}"
            );
            assert!(!if_range_holds(
                &headers(&[(header::IF_RANGE, value)]),
                &weak
            ));
        }
    }

    #[test]
    fn ranges_hold_for_the_same_bytes_alone() {
        for (value, holds) in [
            ("\"abc\"", true),
            ("\"abcd\"", false),
            ("W/\"abc\"", false),
            ("abc", false),
            ("*", false),
            ("", false),
            ("\"abc\", \"abc\"", false),
            (DATE, false),
            (BEFORE, false),
            (AFTER, false),
        ] {
            let headers = headers(&[(header::IF_RANGE, value)]);
            assert_eq!(if_range_holds(&headers, &PAGE), holds, "{value}");
        }
        assert!(if_range_holds(&HeaderMap::new(), &PAGE));
        let twice = [(header::IF_RANGE, "\"abc\""), (header::IF_RANGE, "\"abc\"")];
        assert!(!if_range_holds(&headers(&twice), &PAGE));
        let untagged = Validators { etag: None, ..PAGE };
        let tagged = headers(&[(header::IF_RANGE, "\"abc\"")]);
        assert!(!if_range_holds(&tagged, &untagged));
        assert!(if_range_holds(&HeaderMap::new(), &untagged));
    }

    /// A condition as a client means it, before it is written into headers.
    #[derive(Debug, Clone)]
    enum Meant {
        Nothing,
        Anything,
        Tags(Vec<(bool, u8)>),
    }

    fn meant() -> impl Strategy<Value = Meant> {
        let tags = proptest::collection::vec((any::<bool>(), 0_u8..3), 0..4);
        prop_oneof![
            Just(Meant::Nothing),
            Just(Meant::Anything),
            tags.prop_map(Meant::Tags),
        ]
    }

    fn write(headers: &mut HeaderMap, name: &HeaderName, meant: &Meant) {
        let text = match meant {
            Meant::Nothing => return,
            Meant::Anything => "*".to_owned(),
            Meant::Tags(tags) => {
                let tags = tags.iter().map(|(weak, tag)| {
                    let prefix = if *weak { "W/" } else { "" };
                    format!("{prefix}\"{tag}\"")
                });
                tags.collect::<Vec<_>>().join(", ")
            }
        };
        headers.append(name, text.parse().unwrap());
    }

    /// Section 13.2.2 read aloud, over what was meant instead of over text.
    fn reference(
        (if_match, none_match): (&Meant, &Meant),
        (unmodified_since, modified_since): (Option<u64>, Option<u64>),
        (is_weak, tag): (bool, u8),
        last_modified: u64,
    ) -> Precondition {
        let is_unmodified = match if_match {
            Meant::Nothing => unmodified_since.is_none_or(|date| last_modified <= date),
            Meant::Anything => true,
            Meant::Tags(tags) => !is_weak && tags.contains(&(false, tag)),
        };
        if !is_unmodified {
            return Precondition::Failed;
        }
        let is_modified = match none_match {
            Meant::Nothing => modified_since.is_none_or(|date| last_modified > date),
            Meant::Anything => false,
            Meant::Tags(tags) => !tags.iter().any(|(_, listed)| *listed == tag),
        };
        if is_modified {
            Precondition::Proceed
        } else {
            Precondition::NotModified
        }
    }

    proptest! {
        #[test]
        fn conditions_mean_what_the_rfc_says(
            if_match in meant(),
            none_match in meant(),
            dates in (proptest::option::of(0_u64..4), proptest::option::of(0_u64..4)),
            own in (any::<bool>(), 0_u8..3),
            last_modified in 0_u64..4,
        ) {
            let mut headers = HeaderMap::new();
            write(&mut headers, &header::IF_MATCH, &if_match);
            write(&mut headers, &header::IF_NONE_MATCH, &none_match);
            for (name, seconds) in [
                (header::IF_UNMODIFIED_SINCE, dates.0),
                (header::IF_MODIFIED_SINCE, dates.1),
            ] {
                if let Some(seconds) = seconds {
                    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
                    headers.append(name, httpdate::fmt_http_date(time).parse().unwrap());
                }
            }
            let quoted = format!("\"{}\"", own.1);
            let etag = if own.0 { EntityTag::Weak(&quoted) } else { EntityTag::Strong(&quoted) };
            let validators = Validators { etag: Some(etag), last_modified: Some(last_modified) };
            prop_assert_eq!(
                Precondition::evaluate(&headers, &validators),
                reference((&if_match, &none_match), dates, own, last_modified)
            );
        }

        #[test]
        fn no_header_makes_it_panic(value in "[ -~\t\u{e5}]{0,40}|[\"W/,* ]{0,12}|.{3}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT") {
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else {
                return Ok(());
            };
            for name in [
                header::IF_MATCH,
                header::IF_UNMODIFIED_SINCE,
                header::IF_NONE_MATCH,
                header::IF_MODIFIED_SINCE,
                header::IF_RANGE,
            ] {
                let mut headers = HeaderMap::new();
                headers.append(name, value.clone());
                Precondition::evaluate(&headers, &PAGE);
                if_range_holds(&headers, &PAGE);
            }
        }
    }
}
