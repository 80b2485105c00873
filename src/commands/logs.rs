//! `onsave logs`: the last lines of a running daemon's log, and those that come.

use std::{fmt::Write as _, io::Write};

use jiff::tz::TimeZone;

use super::{CommandError, status};
use crate::{
    cli::LogsArgs, control::client::ControlClient, log_ring::LogLine, state_folder::SiteState,
};

/// Runs the command, and returns what to print; with `--follow`, prints by itself until the daemon
/// ends.
///
/// # Errors
///
/// [`CommandError`].
pub(super) async fn run(
    args: &LogsArgs,
    state: &SiteState,
    out: &mut dyn Write,
) -> Result<String, CommandError> {
    let mut client = ControlClient::connect(&state.control_socket()).await?;
    let zone = TimeZone::system();
    let shown = |line: &LogLine| {
        if args.json {
            super::json_line(line)
        } else {
            text(line, &zone)
        }
    };
    let lines = usize::from(args.lines);
    if args.follow {
        client
            .follow_logs::<CommandError>(lines, |line| {
                out.write_all(shown(&line).as_bytes())?;
                Ok(out.flush()?)
            })
            .await?;
        return Ok(String::new());
    }
    Ok(client.logs(lines).await?.iter().map(shown).collect())
}

/// One line for a person, without anything that a terminal would obey.
fn text(line: &LogLine, zone: &TimeZone) -> String {
    let mut text = format!(
        "{} {:>5} {}",
        status::time(line.unix_ms, zone),
        line.level.word(),
        line.message
    );
    for (name, value) in &line.fields {
        // Writing to a string cannot fail.
        let _infallible = write!(text, " {name}={value}");
    }
    let mut text = text.replace(char::is_control, " ");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::log_ring::LogLevel;

    #[test]
    fn a_person_sees_time_level_message_and_fields_in_one_line() {
        let fields = json!({"path": "a b", "send.ms": 5.5});
        let line = LogLine {
            number: 1,
            unix_ms: 1_777_000_000_000,
            level: LogLevel::Warn,
            target: "onsave::daemon".into(),
            message: "not\n\u{1b}[2Jpublished".into(),
            fields: fields.as_object().unwrap().clone(),
        };
        assert_eq!(
            text(&line, &TimeZone::UTC),
            "03:06:40  WARN not  [2Jpublished path=\"a b\" send.ms=5.5\n"
        );
    }
}
