//! The note of `--message`: refused where the list of deploys could not show it on one line, or the
//! server would not take it.
//!
//! What is refused is not repeated: it may be a whole file, or hold what a terminal obeys.

use std::ffi::OsStr;

use clap::{Arg, Command, Error, builder::TypedValueParser, error::ErrorKind};
use onsave_protocol::limits::MAX_NOTE_BYTES;

/// Reads a note.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoteParser;

impl TypedValueParser for NoteParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        _argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        checked(value).map_err(|problem| {
            let message = format!("the note of --message {problem}\n");
            Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

fn checked(value: &OsStr) -> Result<String, String> {
    let length = value.len();
    if length > MAX_NOTE_BYTES {
        return Err(format!(
            "is {length} bytes long; {MAX_NOTE_BYTES} are allowed"
        ));
    }
    let text = value.to_str().ok_or("must be UTF-8")?;
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters or line breaks".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    fn refusal(text: &str) -> Option<String> {
        let parsed = Cli::try_parse_from(["onsave", "publish", "-m", text]);
        parsed.err().map(|error| error.to_string())
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        assert_eq!(refusal("new prices, again"), None);
        assert_eq!(refusal(&"x".repeat(1_024)), None);
        for text in [&"x".repeat(1_025), "two\nlines", "\u{1b}[31m"] {
            assert!(refusal(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        let long = refusal(&"x".repeat(100_000)).unwrap();
        assert!(
            long.contains("100000 bytes long; 1024 are allowed"),
            "{long}"
        );
        assert!(long.len() < 300, "{} bytes", long.len());
        let escape = refusal("a\u{1b}[2Jb").unwrap();
        assert!(!escape.contains("[2J"), "{escape:?}");
    }
}
