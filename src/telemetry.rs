//! Logging: the one place that knows `tracing-subscriber`.
//!
//! Log lines go to standard error; standard output belongs to what a command prints. `RUST_LOG`
//! wins over the configured filter, since whoever sets it is looking for something. Nothing here
//! decides what is logged at which level, and nothing here may ever see a secret.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt as _};

use crate::{
    config::{LogConfig, LogFormat},
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
    Ok(match log.format {
        LogFormat::Pretty => Box::new(
            registry.with(
                // The compact shape: one line for one event, which a publish is promised to be.
                lines
                    .compact()
                    .with_ansi(is_coloured(surroundings))
                    .with_target(false),
            ),
        ),
        LogFormat::Json => Box::new(registry.with(lines.json().with_ansi(false))),
    })
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
