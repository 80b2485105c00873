//! How an error is told at the terminal: what happened, why, and what to do next.
//!
//! ```text
//! error: failed to write /home/ann/site/onsave.toml
//! caused by: permission denied
//! hint: …
//! ```
//!
//! The printer walks the chain of causes; no error repeats its cause in its own words.

use std::{error::Error, io};

use crate::{commands::CommandError, exit_code::ExitCode};

/// Writes an error, its causes and a hint.
///
/// # Errors
///
/// When `out` cannot be written to.
pub fn write(out: &mut dyn io::Write, error: &dyn Error, hint: Option<&str>) -> io::Result<()> {
    writeln!(out, "error: {error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        writeln!(out, "caused by: {error}")?;
        cause = error.source();
    }
    if let Some(hint) = hint {
        writeln!(out, "hint: {hint}")?;
    }
    out.flush()
}

/// Returns an error and its causes as one text.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Returns the exit code of a command's outcome, after writing its error to `out`.
///
/// A reader that has left, as `head` does, has what it wanted: that is no error.
pub fn outcome(outcome: &Result<(), CommandError>, out: &mut dyn io::Write) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::Ok,
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::Ok
        }
        Err(error) => {
            // The exit code still tells, when standard error is gone.
            drop(write(out, error, error.hint().as_deref()));
            error.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_folder::StateError;

    #[test]
    fn the_chain_and_the_hint_are_told_once() {
        let error = CommandError::State(StateError::Read {
            path: "/s/secret".into(),
            source: io::Error::other("the disk is gone"),
        });
        let mut out = Vec::new();
        assert_eq!(outcome(&Err(error), &mut out), ExitCode::Failure);
        let expected = "error: failed to read /s/secret
caused by: the disk is gone
hint: make /s/secret readable for you
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        let mut out = Vec::new();
        assert_eq!(
            outcome(&Err(CommandError::Output(error)), &mut out),
            ExitCode::Ok
        );
        assert_eq!(out, b"");
    }
}
