//! Logging: the one place that knows `tracing-subscriber`.
//!
//! Log lines go to standard error; standard output belongs to what a command prints. `RUST_LOG`
//! wins over the configured filter, since whoever sets it is looking for something. Nothing here
//! decides what is logged at which level, and nothing here may ever see a secret.

use std::{fmt, io};

use jiff::Zoned;
use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        MakeWriter,
        format::{Writer, debug_fn},
        time::FormatTime,
    },
    layer::SubscriberExt as _,
};

use crate::{
    config::{LogConfig, LogFormat},
    log_ring::LogRing,
    surroundings::{Stream, Surroundings},
};

/// The variable that wins over the configured filter.
pub const FILTER_VARIABLE: &str = "RUST_LOG";

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The variable holds no filter.
    #[error("{FILTER_VARIABLE} is not a log filter")]
    Variable(#[source] FilterError),
    /// The configured filter is none; the configuration has checked it.
    #[error("log.filter is not a log filter")]
    Configured(#[source] FilterError),
    /// Another part of the process has already started it.
    #[error("logging has already been started")]
    AlreadyStarted,
}

/// A text is not a log filter.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} cannot be understood; a filter looks like \"info,onsave=debug\"")]
pub struct FilterError {
    text: String,
}

/// Returns whether `text` is a log filter.
///
/// # Errors
///
/// [`FilterError`] when it is none.
pub fn check_filter(text: &str) -> Result<(), FilterError> {
    parse_filter(text).map(drop)
}

/// Starts logging for the whole process.
///
/// # Errors
///
/// [`TelemetryError`].
pub fn start(log: &LogConfig, surroundings: &Surroundings) -> Result<(), TelemetryError> {
    let subscriber = subscriber(log, surroundings, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::AlreadyStarted)
}

/// As [`start`], and returns the last lines as they come.
///
/// # Errors
///
/// [`TelemetryError`].
pub fn start_kept(log: &LogConfig, surroundings: &Surroundings) -> Result<LogRing, TelemetryError> {
    let ring = LogRing::default();
    let subscriber = subscriber(log, surroundings, io::stderr)?.with(ring.clone());
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| TelemetryError::AlreadyStarted)?;
    Ok(ring)
}

/// Returns what [`start`] installs, writing to `writer`.
///
/// # Errors
///
/// [`TelemetryError`] when a filter is none.
pub fn subscriber<W>(
    log: &LogConfig,
    surroundings: &Surroundings,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = match surroundings.variable(FILTER_VARIABLE) {
        Some(text) => parse_filter(&text.to_string_lossy()).map_err(TelemetryError::Variable)?,
        None => parse_filter(&log.filter).map_err(TelemetryError::Configured)?,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    // The compact shape: one line for one event, which a publish is promised to be.
    let compact =
        |lines: tracing_subscriber::fmt::Layer<_, _, _, W>| lines.compact().with_target(false);
    Ok(match (log.format, surroundings.stderr) {
        (LogFormat::Pretty, Stream::Terminal) => Box::new(
            registry.with(
                compact(lines)
                    .with_ansi(is_coloured(surroundings))
                    .with_timer(TimeOfDay)
                    .fmt_fields(debug_fn(for_people)),
            ),
        ),
        (LogFormat::Pretty, Stream::Other) => {
            Box::new(registry.with(compact(lines).with_ansi(false)))
        }
        (LogFormat::Json, _) => Box::new(registry.with(lines.json().with_ansi(false))),
    })
}

/// The local time of day: who looks at a terminal knows the date.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        write!(out, "{}", Zoned::now().strftime("%H:%M:%S"))
    }
}

/// Writes a field for somebody who reads along: without the figures, which the message states.
///
/// The message comes first, so that every other field has something to stand apart from.
fn for_people(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let name = field.name();
    let is_figure = name.ends_with("_ms") || name.contains('.');
    match name {
        "message" => write!(out, "{value:?}"),
        _ if is_figure => Ok(()),
        _ => write!(out, " {name}={value:?}"),
    }
}

fn parse_filter(text: &str) -> Result<EnvFilter, FilterError> {
    EnvFilter::try_new(text).map_err(|_| FilterError {
        text: text.to_owned(),
    })
}

/// See <https://no-color.org>.
fn is_coloured(surroundings: &Surroundings) -> bool {
    match surroundings.stderr {
        Stream::Terminal => surroundings.variable("NO_COLOR").is_none(),
        Stream::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Seek as _},
        sync::Arc,
    };

    use super::*;

    fn surroundings(stderr: Stream, variables: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            variables: variables
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            working_folder: "/".into(),
            home: None,
            host: "desk".to_owned(),
            stderr,
            program: None,
        }
    }

    fn log(format: LogFormat, filter: &str) -> LogConfig {
        LogConfig {
            format,
            filter: filter.to_owned(),
        }
    }

    /// The lines that one info and one debug event give.
    fn lines(log: &LogConfig, surroundings: &Surroundings) -> Vec<String> {
        let mut written = tempfile::tempfile().unwrap();
        let subscriber =
            subscriber(log, surroundings, Arc::new(written.try_clone().unwrap())).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(files.changed = 3, path = "a", "published");
            tracing::debug!("settled");
        });
        let mut text = String::new();
        written.rewind().unwrap();
        written.read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_filter_is_the_configured_one_unless_the_variable_says_another() {
        let plain = surroundings(Stream::Other, &[]);
        assert_eq!(lines(&log(LogFormat::Pretty, "info"), &plain).len(), 1);
        assert_eq!(lines(&log(LogFormat::Pretty, "error"), &plain).len(), 0);
        let asked = surroundings(Stream::Other, &[("RUST_LOG", "debug")]);
        assert_eq!(lines(&log(LogFormat::Pretty, "error"), &asked).len(), 2);
        let wrong = surroundings(Stream::Other, &[("RUST_LOG", "onsave=loud")]);
        let error = subscriber(&log(LogFormat::Pretty, "info"), &wrong, io::sink);
        assert!(matches!(error, Err(TelemetryError::Variable(_))));
    }

    #[test]
    fn only_a_terminal_is_coloured() {
        let coloured = |stderr, variables| {
            let lines = lines(
                &log(LogFormat::Pretty, "info"),
                &surroundings(stderr, variables),
            );
            lines[0].contains('\u{1b}')
        };
        assert!(coloured(Stream::Terminal, &[]));
        assert!(coloured(Stream::Terminal, &[("NO_COLOR", "")]));
        assert!(!coloured(Stream::Terminal, &[("NO_COLOR", "1")]));
        assert!(!coloured(Stream::Other, &[]));
    }

    #[test]
    fn a_terminal_gets_the_message_and_not_its_figures() {
        let log = log(LogFormat::Pretty, "info");
        let plain = [("NO_COLOR", "1")];
        let line = &lines(&log, &surroundings(Stream::Terminal, &plain))[0];
        assert!(
            line.trim_end().ends_with("INFO published path=\"a\""),
            "{line}"
        );
        let line = &lines(&log, &surroundings(Stream::Other, &[]))[0];
        assert!(line.contains("files.changed=3"), "{line}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let terminal = surroundings(Stream::Terminal, &[]);
        let lines = lines(&log(LogFormat::Json, "info"), &terminal);
        assert_eq!(lines.len(), 1);
        let event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(event["fields"]["message"], "published");
        assert_eq!(event["fields"]["files.changed"], 3);
    }

    #[test]
    fn a_filter_is_understood_or_refused() {
        for filter in ["info", "INFO", "off", "warn,onsave=debug", ""] {
            assert!(check_filter(filter).is_ok(), "{filter}");
        }
        for filter in ["onsave=loud", "=", "info,,onsave=9x"] {
            assert!(check_filter(filter).is_err(), "{filter}");
        }
    }
}
