//! Validators: what a representation is called, and whether the peer has it already.

use http::{HeaderMap, header};
use onsave_protocol::Sha256Digest;

/// Hex digits of a file's digest in its entity tag: 128 bits tell any two files apart.
const TAG_DIGITS: usize = 32;

/// Returns the strong entity tag of an object's bytes, in its quotes.
pub(crate) fn object_etag(digest: &Sha256Digest) -> String {
    let mut hex = digest.to_hex();
    hex.truncate(TAG_DIGITS);
    format!("\"{hex}\"")
}

/// Returns whether the request should be done as far as `If-None-Match` says: it is absent, or
/// names neither `etag` nor everything.
///
/// Tags are compared weakly (RFC 9110, section 13.1.2): a proxy that compressed an answer may have
/// made its tag weak. A malformed header names nothing.
pub(crate) fn none_match_holds(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .all(|list| !names(list, etag))
}

fn names(list: &str, etag: &str) -> bool {
    if list.trim() == "*" {
        return true;
    }
    // A tag may hold a comma, so that the list is read tag by tag and not split.
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let tag = rest.strip_prefix("W/").unwrap_or(rest);
        let Some(end) = tag.strip_prefix('"').and_then(|inner| inner.find('"')) else {
            return false;
        };
        let (tag, after) = tag.split_at(end + 2);
        if tag == etag {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
            ("\"x\"", true),
            ("\"abcd\"", true),
            ("abc", true),
            ("\"abc", true),
            ("", true),
            ("\"x\", abc, \"abc\"", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(list).unwrap());
            assert_eq!(none_match_holds(&headers, etag), holds, "{list:?}");
        }
        assert!(none_match_holds(&HeaderMap::new(), etag));
        let mut two = HeaderMap::new();
        two.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"x\""));
        two.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"abc\""));
        assert!(!none_match_holds(&two, etag));
    }

    #[test]
    fn the_tag_is_of_the_bytes() {
        let digest = Sha256Digest::of(b"abc");
        assert_eq!(object_etag(&digest), "\"ba7816bf8f01cfea414140de5dae2223\"");
    }
}
