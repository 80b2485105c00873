//! Log lines: where they go and what they look like.
//!
//! They go to standard error, so that standard output has the ready line alone.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt as _};

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// A log filter cannot be read, or logging was started before.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is malformed.
    #[error("the log filter {filter:?} is malformed")]
    Filter {
        /// The filter, as given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else of this process collects log lines already.
    #[error("logging was started before")]
    Started(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts logging for the whole process; `filter` is in `RUST_LOG`'s syntax.
///
/// # Errors
///
/// [`TelemetryError`].
pub fn start(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let parsed = parse(filter)?;
    let lines = fmt::Subscriber::builder()
        .with_env_filter(parsed)
        .with_writer(io::stderr);
    match format {
        LogFormat::Pretty => lines
            .with_ansi(io::stderr().is_terminal())
            .finish()
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
    .map_err(TelemetryError::Started)
}

/// Checks a log filter without starting anything.
///
/// # Errors
///
/// [`TelemetryError::Filter`].
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })
}
