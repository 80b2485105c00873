//! Ranges: which bytes of a representation a request asks for (RFC 9110, section 14), and how
//! several of them become one body (section 15.3.7.2).
//!
//! Pure: headers and a length in, byte ranges and a plan of pieces out. Reading the bytes and
//! looking at `If-Range` are others' work; a range counts only where `If-Range` holds and the
//! answer would otherwise be 200.
//!
//! What a greedy client can reach: ranges that overlap or touch become one, so that the parts
//! never hold more bytes than the whole; and more than [`MOST_RANGES`] ranges are not taken apart
//! at all, so that one request costs a bounded number of reads and part heads.

use std::iter;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header};
use onsave_protocol::Sha256Digest;

/// The most ranges that one request may name. Readers of PDF files and tools that fetch the
/// changed blocks of an archive ask for some dozens at once; who asks for more gets the whole.
pub(super) const MOST_RANGES: usize = 64;

/// A run of bytes of a representation: never empty, and never beyond its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteRange {
    first: u64,
    /// Included, as on the wire.
    last: u64,
}

impl ByteRange {
    /// Returns all of a representation of `length` bytes, when it has any.
    pub(super) const fn all(length: u64) -> Option<Self> {
        match length {
            0 => None,
            _ => Some(Self {
                first: 0,
                last: length - 1,
            }),
        }
    }

    /// Returns the first `count` bytes, and what is left of it then; `count` is no more than it has.
    pub(super) fn split(self, count: u64) -> (Self, Option<Self>) {
        let middle = self.first + count;
        let head = Self {
            last: middle - 1,
            ..self
        };
        let tail = Self {
            first: middle,
            ..self
        };
        (head, (middle <= self.last).then_some(tail))
    }

    /// Returns the offset of the last byte.
    pub(super) const fn last(self) -> u64 {
        self.last
    }

    /// Returns the offset of the first byte.
    pub(super) const fn first(self) -> u64 {
        self.first
    }

    /// Returns how many bytes it has: one at least.
    pub(super) const fn byte_count(self) -> u64 {
        self.last - self.first + 1
    }

    /// Returns the value of `Content-Range` for this part of a representation of `length` bytes
    /// (RFC 9110, section 14.4).
    pub(super) fn content_range(self, length: u64) -> HeaderValue {
        header_value(format!("bytes {}-{}/{length}", self.first, self.last))
    }
}

/// Returns the value of `Content-Range` in a 416: how long the representation is (RFC 9110,
/// section 15.5.17).
pub(super) fn unsatisfied_content_range(length: u64) -> HeaderValue {
    header_value(format!("bytes */{length}"))
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("letters, digits and signs are a header value")
}

/// What a request asks for of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ranges {
    /// All of it: 200.
    Whole,
    /// One part: 206 with `Content-Range`.
    One(ByteRange),
    /// Two parts or more, which neither overlap nor touch, in the order in which they were asked
    /// for: 206 as `multipart/byteranges`.
    Many(Vec<ByteRange>),
    /// Nothing that there is: 416.
    Unsatisfiable,
}

impl Ranges {
    /// Returns what a request asks for of a representation of `length` bytes.
    ///
    /// Whatever cannot be understood is ignored, as section 14.2 says, so that the whole is the
    /// answer: methods other than GET, units other than bytes, several `Range` lines, a range
    /// that ends before it starts, and more than [`MOST_RANGES`] of them. A position too large
    /// for 64 bits is beyond every end, and no mistake.
    ///
    /// An empty representation is always answered as a whole. No `Content-Range` can name a part
    /// of it, though a range such as `-5` may be asked of it; and a client that adds a range to
    /// every request is better off with an empty file than with an error.
    pub(super) fn requested(method: &Method, headers: &HeaderMap, length: u64) -> Self {
        let mut values = headers.get_all(header::RANGE).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Self::Whole;
        };
        if method != Method::GET || length == 0 {
            return Self::Whole;
        }
        let set = value.to_str().ok().and_then(byte_range_set);
        set.and_then(|set| Self::of_set(set, length))
            .unwrap_or(Self::Whole)
    }

    /// Returns what a range set means; nothing when it is malformed or too long.
    fn of_set(set: &str, length: u64) -> Option<Self> {
        let mut members = set
            .split(',')
            .map(|member| member.trim_matches([' ', '\t']))
            // Empty members of a list are skipped (section 5.6.1.2).
            .filter(|member| !member.is_empty());
        let first = Asked::parse(members.next()?)?.within(length);
        let Some(second) = members.next() else {
            // What nearly every client asks for allocates nothing.
            return Some(first.map_or(Self::Unsatisfiable, Self::One));
        };
        let mut satisfiable: Vec<ByteRange> = first.into_iter().collect();
        for (at, member) in iter::once(second).chain(members).enumerate() {
            if at + 1 == MOST_RANGES {
                return None;
            }
            satisfiable.extend(Asked::parse(member)?.within(length));
        }
        let ranges = coalesced(satisfiable);
        Some(match ranges[..] {
            [] => Self::Unsatisfiable,
            [range] => Self::One(range),
            [..] => Self::Many(ranges),
        })
    }
}

/// Returns the ranges of a header for the unit of bytes, whose name has no case.
fn byte_range_set(value: &str) -> Option<&str> {
    let (unit, set) = value.split_once('=')?;
    unit.eq_ignore_ascii_case("bytes").then_some(set)
}

/// One range as asked for (RFC 9110, section 14.1.2).
#[derive(Clone, Copy)]
enum Asked {
    /// From one offset to another, both included, or to the end.
    Span { first: u64, last: Option<u64> },
    /// So many bytes at the end.
    Suffix(u64),
}

impl Asked {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            return Some(Self::Suffix(position(last)?));
        }
        let first = position(first)?;
        if last.is_empty() {
            return Some(Self::Span { first, last: None });
        }
        let last = position(last)?;
        (first <= last).then_some(Self::Span {
            first,
            last: Some(last),
        })
    }

    /// Returns the part of it that a representation of `length` bytes has, if any.
    fn within(self, length: u64) -> Option<ByteRange> {
        let end = length.checked_sub(1)?;
        let (first, last) = match self {
            Self::Span { first, last } => (first, last.map_or(end, |last| last.min(end))),
            Self::Suffix(count) => (length.saturating_sub(count), end),
        };
        (first <= last).then_some(ByteRange { first, last })
    }
}

/// Returns a number of digits alone; one that is too large is the largest there is.
fn position(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Digits alone fail to parse in one way only.
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Makes one of ranges that overlap or touch; what is left stays in the order asked for, by the
/// first of those that became one (RFC 9110, section 15.3.7.2).
fn coalesced(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    if ranges.len() < 2 {
        return ranges;
    }
    let mut placed: Vec<(usize, ByteRange)> = ranges.into_iter().enumerate().collect();
    placed.sort_unstable_by_key(|(_, range)| range.first);
    placed.dedup_by(|(next_place, next), (place, range)| {
        // Neither sum can overflow: a range ends before the end of a representation.
        let is_apart = next.first > range.last + 1;
        if !is_apart {
            range.last = range.last.max(next.last);
            *place = (*place).min(*next_place);
        }
        !is_apart
    });
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, range)| range).collect()
}

/// A piece of a body, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// What stands between the parts.
    Text(Bytes),
    /// Bytes of the representation.
    Range(ByteRange),
}

impl Piece {
    /// Returns how many bytes it has.
    pub(super) const fn byte_count(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Range(range) => range.byte_count(),
        }
    }
}

/// A `multipart/byteranges` body before its bytes are read (RFC 9110, section 14.6; RFC 2046,
/// section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Multipart {
    /// The answer's `Content-Type`, which names the boundary.
    pub(super) content_type: HeaderValue,
    /// The answer's `Content-Length`: the bytes of all pieces.
    pub(super) content_length: u64,
    /// Heads and ranges in turn, and the end.
    pub(super) pieces: Vec<Piece>,
}

impl Multipart {
    /// Returns the body for these ranges of a representation of `length` bytes.
    ///
    /// `content_type` is what the whole would be answered with; each part says it. The answer
    /// itself must have no `Content-Range` then.
    ///
    /// The boundary is made of the first half of `digest`, that of the file: the same request has
    /// the same answer, and a file that held its own boundary would hold 128 bits of its own
    /// digest, which nobody can write.
    pub(super) fn plan(
        ranges: &[ByteRange],
        length: u64,
        content_type: &HeaderValue,
        digest: &Sha256Digest,
    ) -> Self {
        let hex = digest.to_hex();
        let boundary = &hex[..BOUNDARY_DIGITS];
        let head_bytes = content_type.len() + HEAD_BYTES;
        // One allocation, which all heads share.
        let mut text = BytesMut::with_capacity((ranges.len() + 1) * head_bytes);
        let mut pieces = Vec::with_capacity(2 * ranges.len() + 1);
        let mut content_length = 0;
        for range in ranges {
            if !pieces.is_empty() {
                text.put_slice(b"\r\n");
            }
            text.put_slice(b"--");
            text.put_slice(boundary.as_bytes());
            text.put_slice(b"\r\nContent-Type: ");
            text.put_slice(content_type.as_bytes());
            text.put_slice(b"\r\nContent-Range: ");
            text.put_slice(range.content_range(length).as_bytes());
            text.put_slice(b"\r\n\r\n");
            content_length += text.len() as u64 + range.byte_count();
            pieces.push(Piece::Text(text.split().freeze()));
            pieces.push(Piece::Range(*range));
        }
        text.put_slice(b"\r\n--");
        text.put_slice(boundary.as_bytes());
        text.put_slice(b"--\r\n");
        content_length += text.len() as u64;
        pieces.push(Piece::Text(text.freeze()));
        Self {
            content_type: header_value(format!("multipart/byteranges; boundary={boundary}")),
            content_length,
            pieces,
        }
    }
}

/// Hex digits in a boundary, of the 70 characters that RFC 2046 allows.
const BOUNDARY_DIGITS: usize = 32;

/// About as many bytes as a part's head has beside its media type, with positions of ten digits.
const HEAD_BYTES: usize = BOUNDARY_DIGITS + 90;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requested(value: &str, length: u64) -> Ranges {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, value.parse().unwrap());
        Ranges::requested(&Method::GET, &headers, length)
    }

    /// `200`, `416`, or the ranges of a 206.
    fn shown(ranges: &Ranges) -> String {
        let show = |range: &ByteRange| format!("{}-{}", range.first, range.last);
        match ranges {
            Ranges::Whole => "200".into(),
            Ranges::One(range) => show(range),
            Ranges::Many(ranges) => ranges.iter().map(show).collect::<Vec<_>>().join(","),
            Ranges::Unsatisfiable => "416".into(),
        }
    }

    #[test]
    fn one_range_of_a_thousand_bytes() {
        for (value, expected) in [
            ("bytes=0-0", "0-0"),
            ("bytes=0-499", "0-499"),
            ("bytes=500-", "500-999"),
            ("bytes=0-", "0-999"),
            ("bytes=999-", "999-999"),
            ("bytes=999-999", "999-999"),
            ("bytes=990-2000", "990-999"),
            ("bytes=-1", "999-999"),
            ("bytes=-500", "500-999"),
            ("bytes=-1000", "0-999"),
            ("bytes=-1001", "0-999"),
            ("bytes=000000000000000000000001-2", "1-2"),
            ("BYTES=0-1", "0-1"),
            ("bytes= 0-1\t", "0-1"),
            ("bytes=,0-1, ,", "0-1"),
            ("bytes=5-99999999999999999999999999", "5-999"),
            ("bytes=-99999999999999999999999999", "0-999"),
            // Not there.
            ("bytes=1000-", "416"),
            ("bytes=1000-1000", "416"),
            ("bytes=5000-6000", "416"),
            ("bytes=-0", "416"),
            ("bytes=99999999999999999999999999-", "416"),
            (
                "bytes=99999999999999999999999999-99999999999999999999999998",
                "416",
            ),
            ("bytes=1000-,-0", "416"),
            // Not understood.
            ("bytes=1-0", "200"),
            ("bytes=", "200"),
            ("bytes", "200"),
            ("", "200"),
            ("bytes=,", "200"),
            ("bytes=-", "200"),
            ("bytes=5", "200"),
            ("bytes=a-b", "200"),
            ("bytes=0-x", "200"),
            ("bytes=0x1-2", "200"),
            ("bytes=+1-2", "200"),
            ("bytes=--1", "200"),
            ("bytes=1--2", "200"),
            ("bytes=1 -2", "200"),
            ("bytes=0-1-2", "200"),
            ("bytes 0-1", "200"),
            ("bytes =0-1", "200"),
            ("bytes=0-1;2-3", "200"),
            ("bytes:0-1", "200"),
            ("items=0-1", "200"),
            ("seconds=0-1", "200"),
            ("none", "200"),
        ] {
            assert_eq!(shown(&requested(value, 1000)), expected, "{value}");
        }
    }

    #[test]
    fn several_ranges_of_a_thousand_bytes() {
        for (value, expected) in [
            ("bytes=0-0,-1", "0-0,999-999"),
            ("bytes=0-9,20-29", "0-9,20-29"),
            ("bytes=0-9 ,\t20-29", "0-9,20-29"),
            ("bytes=20-29,0-9", "20-29,0-9"),
            ("bytes=0-9,10-19", "0-19"),
            ("bytes=10-19,0-9", "0-19"),
            ("bytes=0-9,11-19", "0-9,11-19"),
            ("bytes=0-50,20-29", "0-50"),
            ("bytes=20-29,0-50", "0-50"),
            ("bytes=0-9,0-9", "0-9"),
            ("bytes=0-9,0-9,0-9", "0-9"),
            ("bytes=500-,0-499", "0-999"),
            ("bytes=0-,0-,0-,0-", "0-999"),
            ("bytes=-10,995-", "990-999"),
            // One that joins two others stands where the first of them stood.
            ("bytes=500-509,20-29,0-9,10-19", "500-509,0-29"),
            ("bytes=20-29,500-509,0-19", "0-29,500-509"),
            // What is not there is left out.
            ("bytes=0-9,2000-", "0-9"),
            ("bytes=2000-,0-9", "0-9"),
            ("bytes=-0,0-9,20-29", "0-9,20-29"),
            // One mistake is enough.
            ("bytes=0-9,x", "200"),
            ("bytes=x,0-9", "200"),
            ("bytes=0-9,9-0", "200"),
            ("bytes=2000-,x", "200"),
        ] {
            assert_eq!(shown(&requested(value, 1000)), expected, "{value}");
        }
    }

    #[test]
    fn other_requests_are_for_the_whole() {
        let mut headers = HeaderMap::new();
        assert_eq!(
            Ranges::requested(&Method::GET, &headers, 10),
            Ranges::Whole,
            "no range"
        );
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
            let found = Ranges::requested(&method, &headers, 10);
            assert_eq!(found, Ranges::Whole, "{method}");
        }
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        let found = Ranges::requested(&Method::GET, &headers, 10);
        assert_eq!(found, Ranges::Whole, "two lines");
        headers.insert(
            header::RANGE,
            HeaderValue::from_bytes(b"bytes=0-1\xe5").unwrap(),
        );
        let found = Ranges::requested(&Method::GET, &headers, 10);
        assert_eq!(found, Ranges::Whole, "no text");
        for value in ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=-0", "bytes=7-"] {
            assert_eq!(requested(value, 0), Ranges::Whole, "empty: {value}");
        }
    }

    #[test]
    fn too_many_ranges_are_not_taken_apart() {
        let set = |count: usize| {
            let members = (0..count).map(|at| format!("{}-{}", at * 2, at * 2));
            format!("bytes={}", members.collect::<Vec<_>>().join(","))
        };
        let Ranges::Many(ranges) = requested(&set(MOST_RANGES), 1000) else {
            panic!("the most ranges are answered");
        };
        assert_eq!(ranges.len(), MOST_RANGES);
        assert_eq!(requested(&set(MOST_RANGES + 1), 1000), Ranges::Whole);
        // Also where they overlap, or are not there.
        let same = format!("bytes={}0-", "0-,".repeat(MOST_RANGES));
        assert_eq!(requested(&same, 1000), Ranges::Whole);
        let beyond = format!("bytes={}9999-", "9999-,".repeat(MOST_RANGES));
        assert_eq!(requested(&beyond, 1000), Ranges::Whole);
    }

    #[test]
    fn content_ranges() {
        let range = ByteRange { first: 0, last: 0 };
        assert_eq!(range.content_range(1), "bytes 0-0/1");
        let range = ByteRange {
            first: 500,
            last: 999,
        };
        assert_eq!(range.content_range(1234), "bytes 500-999/1234");
        assert_eq!(range.byte_count(), 500);
        assert_eq!(range.first(), 500);
        assert_eq!(unsatisfied_content_range(47022), "bytes */47022");
    }

    /// Returns a plan's body as it goes over the wire.
    fn body(multipart: &Multipart, content: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for piece in &multipart.pieces {
            match piece {
                Piece::Text(text) => body.extend_from_slice(text),
                Piece::Range(range) => {
                    let first = usize::try_from(range.first()).unwrap();
                    let count = usize::try_from(range.byte_count()).unwrap();
                    body.extend_from_slice(&content[first..first + count]);
                }
            }
        }
        body
    }

    #[test]
    fn a_body_of_two_parts() {
        let content = b"Hello, world";
        let Ranges::Many(ranges) = requested("bytes=0-0,-5", 12) else {
            panic!("two ranges");
        };
        let multipart = Multipart::plan(
            &ranges,
            12,
            &HeaderValue::from_static("text/plain; charset=utf-8"),
            &Sha256Digest::of(content),
        );
        let expected = "--4ae7c3b6ac0beff671efa8cf57386151\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Range: bytes 0-0/12\r\n\r\n\
            H\r\n\
            --4ae7c3b6ac0beff671efa8cf57386151\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Range: bytes 7-11/12\r\n\r\n\
            world\r\n\
            --4ae7c3b6ac0beff671efa8cf57386151--\r\n";
        let found = body(&multipart, content);
        assert_eq!(String::from_utf8(found).unwrap(), expected);
        assert_eq!(multipart.content_length, expected.len() as u64);
        assert_eq!(
            multipart.content_type,
            "multipart/byteranges; boundary=4ae7c3b6ac0beff671efa8cf57386151"
        );
    }

    /// Reads a multipart body as a client does: by its boundary, then each part's head.
    fn parts(body: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
        let text: String = body.iter().copied().map(char::from).collect();
        let delimiter = format!("--{boundary}");
        let (inner, epilogue) = text.rsplit_once(&format!("\r\n{delimiter}--")).unwrap();
        assert_eq!(epilogue, "\r\n");
        let inner = inner.strip_prefix(&format!("{delimiter}\r\n")).unwrap();
        inner
            .split(&format!("\r\n{delimiter}\r\n"))
            .map(|part| {
                let (head, bytes) = part.split_once("\r\n\r\n").unwrap();
                let (_, range) = head.split_once("\r\nContent-Range: ").unwrap();
                let bytes = bytes.chars().map(|c| u8::try_from(c).unwrap()).collect();
                (range.to_owned(), bytes)
            })
            .collect()
    }

    /// A range as a client means it: `None` on either side is left out.
    type Meant = (Option<u64>, Option<u64>);

    fn meant() -> impl Strategy<Value = Meant> {
        let span = (0_u64..60, proptest::option::of(0_u64..20));
        prop_oneof![
            span.prop_map(|(first, more)| (Some(first), more.map(|more| first + more))),
            (0_u64..60).prop_map(|count| (None, Some(count))),
        ]
    }

    /// Returns whether the byte at `at` of `length` was asked for.
    fn is_asked(meant: Meant, at: u64, length: u64) -> bool {
        match meant {
            (Some(first), last) => first <= at && last.is_none_or(|last| at <= last),
            (None, Some(count)) => at + count >= length,
            (None, None) => false,
        }
    }

    fn written(meant: &[Meant]) -> String {
        let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
        let members = meant
            .iter()
            .map(|(first, last)| format!("{}-{}", number(*first), number(*last)));
        format!("bytes={}", members.collect::<Vec<_>>().join(", "))
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_was_asked_for(
            asked in proptest::collection::vec(meant(), 1..8),
            length in 1_u64..50,
        ) {
            let found = requested(&written(&asked), length);
            let expected: Vec<u64> = (0..length)
                .filter(|at| asked.iter().any(|meant| is_asked(*meant, *at, length)))
                .collect();
            let ranges = match found {
                Ranges::Whole => return Err(TestCaseError::fail("a good set was ignored")),
                Ranges::One(range) => vec![range],
                Ranges::Many(ranges) => {
                    prop_assert!(ranges.len() > 1);
                    ranges
                }
                Ranges::Unsatisfiable => Vec::new(),
            };
            let mut sent: Vec<u64> = ranges
                .iter()
                .flat_map(|range| range.first()..range.first() + range.byte_count())
                .collect();
            sent.sort_unstable();
            // Each byte once, none beyond the end, and all that were asked for.
            prop_assert_eq!(sent, expected);
        }

        #[test]
        fn parts_keep_the_order_asked_for(
            asked in proptest::collection::vec(meant(), 2..8),
            length in 1_u64..50,
        ) {
            let Ranges::Many(ranges) = requested(&written(&asked), length) else {
                return Ok(());
            };
            // Where in the request each part was first asked for.
            let places: Vec<usize> = ranges
                .iter()
                .map(|range| {
                    asked
                        .iter()
                        .position(|meant| {
                            (range.first..=range.last).any(|at| is_asked(*meant, at, length))
                        })
                        .unwrap()
                })
                .collect();
            prop_assert!(places.is_sorted(), "{:?}", places);
        }

        #[test]
        fn a_client_reads_the_parts_back(
            asked in proptest::collection::vec(meant(), 2..8),
            content in proptest::collection::vec(any::<u8>(), 1..50),
        ) {
            let length = content.len() as u64;
            let Ranges::Many(ranges) = requested(&written(&asked), length) else {
                return Ok(());
            };
            let media_type = HeaderValue::from_static("image/png");
            let digest = Sha256Digest::of(&content);
            let multipart = Multipart::plan(&ranges, length, &media_type, &digest);
            let body = body(&multipart, &content);
            prop_assert_eq!(body.len() as u64, multipart.content_length);
            let named = multipart.content_type.to_str().unwrap();
            let boundary = named.strip_prefix("multipart/byteranges; boundary=").unwrap();
            let expected: Vec<(String, Vec<u8>)> = ranges
                .iter()
                .map(|range| {
                    let (first, last) = (range.first, range.last);
                    let bytes = (first..=last)
                        .map(|at| content[usize::try_from(at).unwrap()])
                        .collect();
                    (format!("bytes {first}-{last}/{length}"), bytes)
                })
                .collect();
            prop_assert_eq!(parts(&body, boundary), expected);
        }

        #[test]
        fn no_header_makes_it_panic(
            set in "[0-9, -]{0,30}|[ -~]{0,20}",
            length in any::<u64>(),
        ) {
            let found = requested(&format!("bytes={set}"), length);
            let ranges = match found {
                Ranges::One(range) => vec![range],
                Ranges::Many(ranges) => ranges,
                Ranges::Whole | Ranges::Unsatisfiable => Vec::new(),
            };
            for range in ranges {
                prop_assert!(range.first <= range.last && range.last < length);
            }
        }
    }
}
