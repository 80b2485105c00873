//! What `--json` prints when a command fails: one object, as when it succeeds.
//!
//! The same failure is told to people on standard error; what stands here is the same text.

use std::io::Write;

use serde::Serialize;

use super::CommandError;
use crate::{error_report, exit_code::ExitCode};

/// How a command failed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    status: Status,
    error: String,
    hint: Option<String>,
    exit_code: u8,
}

/// The failures that a script may want to tell apart by name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    Failed,
    Held,
    Strict,
}

/// Prints the object when `outcome` is a failure, and returns the outcome.
///
/// # Errors
///
/// Those of `outcome`: that is what has to be told, also when nothing can be printed.
pub(super) fn told(
    outcome: Result<(), CommandError>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    if let Err(error) = &outcome
        // An output that took no result takes no failure either, and may have taken a part.
        && !matches!(error, CommandError::Output(_))
        && let Err(unprintable) = print(error, out)
    {
        tracing::debug!(error = %unprintable, "the failure cannot be printed as JSON");
    }
    outcome
}

fn print(error: &CommandError, out: &mut dyn Write) -> std::io::Result<()> {
    let exit_code = error.exit_code();
    let failure = Failure {
        status: match exit_code {
            ExitCode::Held => Status::Held,
            ExitCode::Strict => Status::Strict,
            ExitCode::Ok
            | ExitCode::Failure
            | ExitCode::Usage
            | ExitCode::Configuration
            | ExitCode::Unreachable
            | ExitCode::Refused
            | ExitCode::SiteFolder
            | ExitCode::Unwell
            | ExitCode::AlreadyWatched
            | ExitCode::Build
            | ExitCode::Interrupted => Status::Failed,
        },
        error: error_report::with_causes(error),
        hint: error.hint(),
        exit_code: exit_code.number(),
    };
    out.write_all(super::json_line(&failure).as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::state_folder::StateError;

    fn printed(error: CommandError) -> serde_json::Value {
        let mut out = Vec::new();
        told(Err(error), &mut out).unwrap_err();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_failure_is_one_object_with_its_causes() {
        let object = printed(CommandError::State(StateError::Read {
            path: "/s/secret".into(),
            source: io::Error::other("the disk is gone"),
        }));
        let expected = serde_json::json!({
            "status": "failed",
            "error": "failed to read /s/secret: the disk is gone",
            "hint": "make /s/secret readable for you",
            "exitCode": 1,
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn what_a_script_tells_apart_has_its_status() {
        let held = printed(CommandError::Held { removes: 3, of: 4 });
        assert_eq!(
            (&held["status"], &held["exitCode"]),
            (&"held".into(), &6.into())
        );
        let strict = printed(CommandError::Strict { skipped: 1 });
        assert_eq!(
            (&strict["status"], &strict["exitCode"]),
            (&"strict".into(), &7.into())
        );
        let signals = printed(CommandError::Signals(io::Error::other("x")));
        assert_eq!(signals["hint"], serde_json::Value::Null);
    }

    #[test]
    fn a_success_and_a_broken_output_print_nothing_more() {
        let mut out = Vec::new();
        told(Ok(()), &mut out).unwrap();
        let error = CommandError::Output(io::ErrorKind::StorageFull.into());
        told(Err(error), &mut out).unwrap_err();
        assert_eq!(out, b"");
    }
}
