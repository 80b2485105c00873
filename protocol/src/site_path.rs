//! The path of a file in the site: `/`-separated, relative, UTF-8.
//!
//! A [`SitePath`] is valid by construction; a path from outside becomes one or a refusal, and is
//! never repaired. Normalising to NFC is a separate, explicit step ([`nfc`]), taken by the client
//! when it reads local names.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::limits::{MAX_PATH_BYTES, MAX_SEGMENT_BYTES};

/// A valid path of a file in the site, such as `blog/a/index.html`.
///
/// Ordered by bytes. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SitePath(Arc<str>);

/// Why a text is not a site path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SitePathError {
    /// The path has no bytes.
    #[error("the path is empty")]
    Empty,
    /// The path starts with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// Two slashes in a row, or one at the end.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A segment is `.` or `..`.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    /// A NUL or another control character (Unicode `Cc`).
    #[error("the path has a control character")]
    ControlCharacter,
    /// A `\`, which some systems read as a separator.
    #[error("the path has a backslash")]
    Backslash,
    /// A segment over [`MAX_SEGMENT_BYTES`].
    #[error("a segment of the path is longer than {MAX_SEGMENT_BYTES} bytes")]
    SegmentTooLong,
    /// The path is over [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// The bytes are not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
}

impl SitePath {
    /// Returns the path, when `text` is one.
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks, as [`SitePathError`] lists them.
    pub fn parse(text: &str) -> Result<Self, SitePathError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    /// Checks whether `text` is a path, without making one of it.
    ///
    /// # Errors
    ///
    /// As [`SitePath::parse`].
    pub fn check(text: &str) -> Result<(), SitePathError> {
        check(text)
    }

    /// Returns the path, when `bytes` are UTF-8 and a valid path.
    ///
    /// # Errors
    ///
    /// As [`SitePath::parse`], and [`SitePathError::NotUtf8`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SitePathError> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| SitePathError::NotUtf8)?)
    }

    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the segments, outermost folder first.
    #[must_use]
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the file's name: the last segment.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Returns the folders that the path lies in, outermost first: `a`, `a/b` for `a/b/c`.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }

    /// Returns whether the path lies in `folder`, at any depth.
    #[must_use]
    pub fn is_inside(&self, folder: &str) -> bool {
        self.0
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Returns whether the text is in Unicode normal form C.
    #[must_use]
    pub fn is_nfc(&self) -> bool {
        match is_nfc_quick(self.0.chars()) {
            IsNormalized::Yes => true,
            IsNormalized::No => false,
            IsNormalized::Maybe => self.0.nfc().eq(self.0.chars()),
        }
    }
}

/// Returns `text` in Unicode normal form C, the form of site paths on the wire.
#[must_use]
pub fn nfc(text: &str) -> String {
    text.nfc().collect()
}

fn check(text: &str) -> Result<(), SitePathError> {
    if text.is_empty() {
        return Err(SitePathError::Empty);
    }
    if text.starts_with('/') {
        return Err(SitePathError::Absolute);
    }
    if text.len() > MAX_PATH_BYTES {
        return Err(SitePathError::TooLong);
    }
    if text.contains('\\') {
        return Err(SitePathError::Backslash);
    }
    if text.contains(char::is_control) {
        return Err(SitePathError::ControlCharacter);
    }
    for segment in text.split('/') {
        match segment {
            "" => return Err(SitePathError::EmptySegment),
            "." | ".." => return Err(SitePathError::DotSegment),
            _ if segment.len() > MAX_SEGMENT_BYTES => return Err(SitePathError::SegmentTooLong),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for SitePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SitePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for SitePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Lets a map keyed by site paths be asked and ranged over by plain text.
impl std::borrow::Borrow<str> for SitePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for SitePath {
    type Err = SitePathError;

    fn from_str(text: &str) -> Result<Self, SitePathError> {
        Self::parse(text)
    }
}

impl Serialize for SitePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SitePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| de::Error::custom(format!("{error}: {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attack_table() {
        use SitePathError::{
            Absolute, Backslash, ControlCharacter, DotSegment, Empty, EmptySegment, SegmentTooLong,
            TooLong,
        };
        let long_segment = "x".repeat(MAX_SEGMENT_BYTES + 1);
        let long_path = "abc/".repeat(1_024) + "x";
        for (text, refusal) in [
            ("", Empty),
            ("/", Absolute),
            ("/etc/passwd", Absolute),
            ("//host/share", Absolute),
            ("..", DotSegment),
            (".", DotSegment),
            ("../x", DotSegment),
            ("a/../../x", DotSegment),
            ("a/./x", DotSegment),
            ("a/..", DotSegment),
            ("a//b", EmptySegment),
            ("a/", EmptySegment),
            ("a\\..\\b", Backslash),
            ("..\\x", Backslash),
            ("a\0b", ControlCharacter),
            ("a\nb", ControlCharacter),
            ("a\u{7f}b", ControlCharacter),
            ("a\u{85}b", ControlCharacter),
            (long_segment.as_str(), SegmentTooLong),
            (long_path.as_str(), TooLong),
        ] {
            assert_eq!(SitePath::parse(text), Err(refusal), "{text:?}");
        }
        assert_eq!(
            SitePath::from_bytes(b"a/\xff.html"),
            Err(SitePathError::NotUtf8)
        );
    }

    #[test]
    fn ordinary_and_odd_names_are_paths() {
        for text in [
            "index.html",
            "blog/a/index.html",
            ".well-known/security.txt",
            "...",
            "a b/#?%2e%2e.html",
            "blåbær.png",
            &"y".repeat(MAX_SEGMENT_BYTES),
        ] {
            assert_eq!(SitePath::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn folders_are_listed_outermost_first() {
        let path = SitePath::parse("a/b/c.html").unwrap();
        assert_eq!(path.folders().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(path.file_name(), "c.html");
        assert!(path.is_inside("a"));
        assert!(path.is_inside("a/b"));
        assert!(!path.is_inside("a/b/c.html"));
        assert!(!SitePath::parse("ab/c").unwrap().is_inside("a"));
    }

    #[test]
    fn normal_forms_are_told_apart() {
        let composed = SitePath::parse("bl\u{e5}").unwrap();
        let decomposed = SitePath::parse("bla\u{30a}").unwrap();
        assert!(composed.is_nfc());
        assert!(!decomposed.is_nfc());
        assert_eq!(nfc(decomposed.as_str()), composed.as_str());
    }

    proptest! {
        #[test]
        fn no_site_path_escapes_its_root(text in "[a./\\\\%\u{0}-\u{20}\u{e5}]{0,24}") {
            if let Ok(path) = SitePath::parse(&text) {
                let mut depth = 0_i32;
                for part in std::path::Path::new(path.as_str()).components() {
                    match part {
                        std::path::Component::Normal(_) => depth += 1,
                        other => prop_assert!(false, "{other:?} in {text:?}"),
                    }
                }
                prop_assert_eq!(usize::try_from(depth).unwrap(), path.segments().count());
            }
        }

        #[test]
        fn json_round_trips_or_refuses(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let parsed: Result<SitePath, _> = serde_json::from_str(&json);
            prop_assert_eq!(parsed.is_ok(), SitePath::parse(&text).is_ok());
        }
    }
}
