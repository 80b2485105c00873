//! The part of a request's target behind the `?`: a few switches and numbers. Pure.

use crate::log_ring::KEPT_LINES;

/// Lines of the log that are told where nobody says how many.
const USUAL_LINES: usize = 200;

/// What `GET /v1/logs` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogsWanted {
    /// How many of the last lines.
    pub(super) lines: usize,
    /// Whether what comes is told too, as events.
    pub(super) follow: bool,
}

/// Returns what `GET /v1/logs` is asked for.
///
/// # Errors
///
/// What is allowed.
pub(super) fn logs(query: Option<&str>) -> Result<LogsWanted, String> {
    let mut wanted = LogsWanted {
        lines: USUAL_LINES,
        follow: false,
    };
    for (name, value) in pairs(query) {
        match (name, value) {
            ("lines", value) => wanted.lines = lines(name, value)?,
            ("follow", "" | "true") => wanted.follow = true,
            ("follow", "false") => wanted.follow = false,
            ("follow", _) => return Err("follow must be true or false".to_owned()),
            (name, _) => return Err(unknown(name)),
        }
    }
    Ok(wanted)
}

/// Returns how many lines of the log the events begin with; nothing where the log is not wanted.
///
/// # Errors
///
/// What is allowed.
pub(super) fn events(query: Option<&str>) -> Result<Option<usize>, String> {
    let mut wanted = None;
    for (name, value) in pairs(query) {
        match name {
            "logs" => wanted = Some(lines(name, value)?),
            name => return Err(unknown(name)),
        }
    }
    Ok(wanted)
}

/// Accepts no parameter at all.
///
/// # Errors
///
/// Which one is unknown.
pub(super) fn nothing(query: Option<&str>) -> Result<(), String> {
    match pairs(query).next() {
        None => Ok(()),
        Some((name, _)) => Err(unknown(name)),
    }
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.unwrap_or_default().split('&');
    parts
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
}

fn lines(name: &str, value: &str) -> Result<usize, String> {
    // A sign would be parsed too.
    let digits = Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .filter(|lines| *lines <= KEPT_LINES)
        .ok_or_else(|| format!("{name} must be a whole number from 0 to {KEPT_LINES}"))
}

fn unknown(name: &str) -> String {
    format!("this call has no parameter {name:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_take_a_number_and_a_switch() {
        let wanted = |lines, follow| Ok(LogsWanted { lines, follow });
        assert_eq!(logs(None), wanted(200, false));
        assert_eq!(logs(Some("")), wanted(200, false));
        assert_eq!(logs(Some("lines=3&follow")), wanted(3, true));
        assert_eq!(logs(Some("follow=false&lines=1000")), wanted(1000, false));
        for wrong in [
            "lines",
            "lines=",
            "lines=-1",
            "lines=+1",
            "lines=1001",
            "follow=1",
            "x=1",
        ] {
            assert!(logs(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn events_may_have_the_log() {
        assert_eq!(events(None), Ok(None));
        assert_eq!(events(Some("logs=0")), Ok(Some(0)));
        assert!(events(Some("lines=3")).is_err());
        assert_eq!(nothing(None), Ok(()));
        assert!(nothing(Some("a")).is_err());
    }
}
