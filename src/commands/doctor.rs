//! `onsave doctor`: looks at everything that a publish needs, and says what to do about what is wrong.
//!
//! Unlike every other command it goes on with a configuration that has faults: they are findings.

use std::io::Write;

use super::CommandError;
use crate::{
    cli::DoctorArgs,
    config::{self, FlagLayer},
    doctor::{Report, Verdict, gather},
    error_report,
    surroundings::Surroundings,
    telemetry,
};

/// Prints what was found.
///
/// # Errors
///
/// [`CommandError::Unwell`] when something is broken; it was printed then.
pub(super) async fn run(
    args: &DoctorArgs,
    surroundings: &Surroundings,
    flags: &FlagLayer,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let examined = config::examine(surroundings, flags);
    let log = examined.parts.log.as_ref();
    let logging = log.map(|log| telemetry::start(log, surroundings));
    let mut facts = gather::gather(&examined, surroundings).await;
    if let Some(Err(error)) = logging {
        facts.config.log_fault = Some(error_report::with_causes(&error));
    }
    let report = Report::of(&facts);
    let text = if args.json {
        super::json_line(&report)
    } else {
        report.text()
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    match report.count(Verdict::Broken) {
        0 => Ok(()),
        broken => Err(CommandError::Unwell { broken }),
    }
}
