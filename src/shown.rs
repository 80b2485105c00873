//! Names and texts from outside as they are shown: on one line, with nothing that a terminal obeys.
//!
//! A local name may hold line breaks and escape sequences. Printed raw, one would forge lines of the
//! log or move the cursor. Escaped is only what is a control character: all else is left readable.

use std::{
    fmt::{self, Write as _},
    path::Path,
};

/// A local path for a person; control characters are escaped as in Rust: `\n`, `\u{1b}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownPath<'a>(pub(crate) &'a Path);

/// A text for a person, escaped as [`ShownPath`] is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownText<'a>(pub(crate) &'a str);

impl fmt::Display for ShownPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownText(&self.0.to_string_lossy()).fmt(f)
    }
}

impl fmt::Display for ShownText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if character.is_control() {
                write!(f, "{}", character.escape_default())
            } else {
                f.write_char(character)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    use super::*;

    #[test]
    fn only_control_characters_are_escaped() {
        let shown = |name: &[u8]| ShownPath(Path::new(OsStr::from_bytes(name))).to_string();
        assert_eq!(
            shown("a b/bl\u{e5}\\n.html".as_bytes()),
            "a b/bl\u{e5}\\n.html"
        );
        assert_eq!(shown(b"a\nb\x1b[2J\x7f"), "a\\nb\\u{1b}[2J\\u{7f}");
        assert_eq!(shown("\u{9b}2J".as_bytes()), "\\u{9b}2J");
        assert_eq!(shown(b"a\xff\n"), "a\u{fffd}\\n");
    }
}
