//! Bytes → numbered lines of text: what both files have in common.
//!
//! A line ends with LF or CRLF, spaces around it do not count, and a byte order mark at the start of the
//! file is dropped. A line that is not UTF-8 or too long is refused alone. Lines that are empty or start
//! with `#` are skipped.

use super::{
    MAX_LINE_BYTES,
    diagnostic::{DiagnosticCode, Diagnostics, Fault},
};

/// One line that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u32,
    /// Without spaces around it; never empty, and no comment.
    pub(super) text: &'a str,
}

/// Returns the lines of a file that say something, and notes the faults of the others.
///
/// Of a file over `most` bytes the whole lines within them are read.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    most: usize,
    diagnostics: &mut Diagnostics,
) -> Vec<Line<'a>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let within = if bytes.len() > most {
        let end = bytes[..most].iter().rposition(|byte| *byte == b'\n');
        &bytes[..end.map_or(0, |at| at + 1)]
    } else {
        bytes
    };
    let mut lines = Vec::new();
    let mut number = 0;
    for raw in within.split_inclusive(|byte| *byte == b'\n') {
        number += 1;
        match text_of(raw) {
            Ok(text) if text.is_empty() || text.starts_with('#') => {}
            Ok(text) => lines.push(Line { number, text }),
            Err(fault) => diagnostics.refuse(number, fault),
        }
    }
    if within.len() < bytes.len() {
        let message = format!(
            "the file is larger than {most} bytes; this line and those after it are not in force, \
             so use fewer rules with wildcards"
        );
        let fault = Fault::new(DiagnosticCode::FileTooLarge, message);
        diagnostics.refuse(number + 1, fault);
    }
    lines
}

fn text_of(raw: &[u8]) -> Result<&str, Fault> {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    if raw.len() > MAX_LINE_BYTES {
        let message = format!(
            "the line is longer than {MAX_LINE_BYTES} bytes; is a line break missing in it?"
        );
        return Err(Fault::new(DiagnosticCode::LineTooLong, message));
    }
    match std::str::from_utf8(raw) {
        Ok(text) => Ok(text.trim_matches(is_space)),
        Err(_) => Err(Fault::new(
            DiagnosticCode::NotUtf8,
            "the line is not UTF-8; save the file as UTF-8",
        )),
    }
}

/// Returns whether a letter separates: white space, or a byte order mark that strayed in.
pub(super) fn is_space(letter: char) -> bool {
    letter.is_whitespace() || letter == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Numbered<'a> = Vec<(u32, &'a str)>;

    fn read_all(bytes: &[u8], most: usize) -> (Numbered<'_>, Numbered<'static>) {
        let mut diagnostics = Diagnostics::default();
        let lines = read(bytes, most, &mut diagnostics);
        (
            lines.iter().map(|line| (line.number, line.text)).collect(),
            diagnostics
                .finish()
                .iter()
                .map(|diagnostic| (diagnostic.line, diagnostic.code.as_str()))
                .collect(),
        )
    }

    #[test]
    fn lines_are_numbered_from_one_and_trimmed() {
        let (lines, faults) = read_all(
            b"\xef\xbb\xbf/a /b\r\n\r\n# note\n\t/c\t/d  \n   # note\nlast",
            1_000,
        );
        assert_eq!(lines, [(1, "/a /b"), (4, "/c\t/d"), (6, "last")]);
        assert_eq!(faults, []);
    }

    #[test]
    fn a_bad_line_is_refused_alone() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let longest = "y".repeat(MAX_LINE_BYTES);
        let mut bytes = b"/a\n/b\xff\n".to_vec();
        bytes.extend_from_slice(long.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(longest.as_bytes());
        let (lines, faults) = read_all(&bytes, 100_000);
        assert_eq!(lines, [(1, "/a"), (4, longest.as_str())]);
        assert_eq!(faults, [(2, "not-utf8"), (3, "line-too-long")]);
    }

    #[test]
    fn a_file_over_the_limit_is_read_up_to_it() {
        let (lines, faults) = read_all(b"/a\n/bb\n/c\n", 8);
        assert_eq!(lines, [(1, "/a"), (2, "/bb")]);
        assert_eq!(faults, [(3, "file-too-large")]);
        let (lines, faults) = read_all(b"/a\n/bb\n", 7);
        assert_eq!(lines.len(), 2);
        assert_eq!(faults, []);
        let (lines, faults) = read_all(b"no line ends within", 8);
        assert_eq!(lines, []);
        assert_eq!(faults, [(1, "file-too-large")]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_lines(bytes in proptest::collection::vec(any::<u8>(), 0..200), most in 0_usize..200) {
            let (lines, _) = read_all(&bytes, most);
            for (number, text) in lines {
                prop_assert!(number >= 1);
                prop_assert!(!text.is_empty() && !text.starts_with('#'));
            }
        }
    }
}
