//! The end of what a run wrote: lines, and the last of them in a ring that cannot grow.
//!
//! Pure. A line ends at a line feed or a carriage return, as progress displays write it; one that is
//! longer than [`MAX_LINE_BYTES`] is told in pieces.

use std::collections::VecDeque;

/// A generator that writes a whole bundle into one line is not to be held in memory for it.
const MAX_LINE_BYTES: usize = 4 * 1024;

/// What fits a terminal beside the message.
const KEPT_LINES: usize = 20;

/// All kept lines together.
const KEPT_BYTES: usize = 8 * 1024;

/// Bytes that become lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes in bytes; returns the lines that ended with them, without what moves a terminal's cursor.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut ended = Vec::new();
        for byte in bytes {
            let is_end = matches!(byte, b'\n' | b'\r');
            if !is_end {
                self.begun.push(*byte);
            }
            if is_end || self.begun.len() >= MAX_LINE_BYTES {
                ended.extend(self.rest());
            }
        }
        ended
    }

    /// Returns the line that was begun, unless it is empty.
    pub(crate) fn rest(&mut self) -> Option<String> {
        let line = plain(&String::from_utf8_lossy(&std::mem::take(&mut self.begun)));
        (!line.trim().is_empty()).then_some(line)
    }
}

/// Leaves out escape sequences and other control characters: colours are noise in a log.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.next_if_eq(&'[').is_some() => {
                // A control sequence ends with its first letter in this range.
                letters.by_ref().find(|letter| ('@'..='~').contains(letter));
            }
            '\t' => text.push(' '),
            letter if letter.is_control() => {}
            letter => text.push(letter),
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// The last lines of both outputs, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct LastLines {
    lines: VecDeque<String>,
    bytes: usize,
}

impl LastLines {
    /// Adds a line; the oldest ones go when there are too many.
    pub(crate) fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > KEPT_LINES || self.bytes > KEPT_BYTES {
            let oldest = self.lines.pop_front();
            self.bytes -= oldest.map_or(0, |line| line.len());
        }
    }

    /// Returns them, the oldest first.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_a_terminal_starts_over() {
        let mut lines = Lines::default();
        assert_eq!(
            lines.take(b"one\r\ntwo\n\n10 %\r20 %\rbeg"),
            ["one", "two", "10 %", "20 %"]
        );
        assert_eq!(lines.take(b"un\n"), ["begun"]);
        assert_eq!(lines.rest(), None);
        lines.take(b"the end");
        assert_eq!(lines.rest().as_deref(), Some("the end"));
    }

    #[test]
    fn colours_and_broken_text_are_told_plainly() {
        let mut lines = Lines::default();
        let told = lines.take(b"\x1b[1;31merror\x1b[0m: \x1b7bad\x07 \xff\tx \x1b[\n");
        assert_eq!(told, ["error: 7bad \u{fffd} x"]);
    }

    #[test]
    fn a_line_without_end_is_told_in_pieces() {
        let mut lines = Lines::default();
        let told = lines.take(&vec![b'x'; MAX_LINE_BYTES * 2 + 1]);
        assert_eq!(told.len(), 2);
        assert_eq!(lines.rest().as_deref(), Some("x"));
    }

    #[test]
    fn the_ring_holds_the_end_and_no_more() {
        let mut last = LastLines::default();
        for n in 0..100 {
            last.push(n.to_string());
        }
        let lines = last.into_lines();
        assert_eq!((lines.len(), lines[0].as_str()), (KEPT_LINES, "80"));
        let mut last = LastLines::default();
        for n in 0..5 {
            last.push(n.to_string().repeat(MAX_LINE_BYTES));
        }
        let lines = last.into_lines();
        assert_eq!(lines.len(), KEPT_BYTES / MAX_LINE_BYTES);
        assert!(lines[0].starts_with('3'));
    }
}
